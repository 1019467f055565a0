internal import Certificates
internal import RegistryStore
internal import Signatures
internal import Verification

/// The CA records that a search has met, so that the one that it ends at is not read again.
final class MetAuthorities {
    fileprivate var authorities: [RegisteredAuthority] = []

    /// The record of an anchor that the search was given.
    func record(of anchor: TrustAnchor) throws -> CaRecord {
        guard let authority = authorities.first(where: { $0.anchor.number == anchor.number }) else {
            throw StoreFault.damaged(table: "cas", key: bigEndianBytes(anchor.number), finding: .missing)
        }
        return authority.record
    }
}

/// The CA records of one instance, as path validation asks for them.
struct InstanceAnchors: VerificationEnvironment {
    let snapshot: Snapshot
    let instance: InstanceRecord
    let tools: VerificationTools
    let met = MetAuthorities()

    mutating func anchors(named subject: [UInt8]) throws -> [TrustAnchor] {
        let found = try tools.authorities.authorities(named: subject, of: instance.number, in: snapshot)
        met.authorities += found
        return found.map(\.anchor)
    }

    mutating func keyState(of certificate: Certificate) throws -> RegisteredKeyState {
        try snapshot.keyState(SHA256Digest(hashing: certificate.publicKeyInfoBytes), of: instance.number)
    }

    mutating func signatureVerifies(_ certificate: Certificate, with issuer: Certificate) -> Bool {
        tools.signatures.verifies(certificate, with: issuer)
    }

    mutating func hasSoundKey(_ certificate: Certificate) -> Bool {
        tools.signatures.hasSoundKey(certificate)
    }
}

/// The CA records of all other instances, to tell whose a device is: Active or not does not matter for that.
struct ForeignAnchors: VerificationEnvironment {
    let snapshot: Snapshot
    let instance: InstanceRecord
    let signatures: SignatureVerifier
    let limit: Int
    /// Those that may be told of; nil: all.
    let instances: Set<String>?

    mutating func anchors(named subject: [UInt8]) throws -> [TrustAnchor] {
        try snapshot.cas(subjectHash: SHA256Digest(hashing: subject), limit: limit)
            .filter { $0.instance != instance.number && instances?.contains($0.instanceID) ?? true }
            .map { record in
                var anchor = try TrustAnchor(record)
                anchor.isActive = true
                return anchor
            }
    }

    mutating func keyState(of certificate: Certificate) throws -> RegisteredKeyState { .notRegistered }

    mutating func signatureVerifies(_ certificate: Certificate, with issuer: Certificate) -> Bool {
        signatures.verifies(certificate, with: issuer)
    }

    mutating func hasSoundKey(_ certificate: Certificate) -> Bool {
        signatures.hasSoundKey(certificate)
    }
}

extension TrustAnchor {
    /// Where several CA certificates would do, the one that lets more devices in comes first.
    init(_ record: CaRecord) throws {
        self.init(
            number: record.id.number,
            certificate: try storedCertificate(record.der, table: "cas", id: record.id.number),
            isActive: record.status == .active, preference: Int(record.deviceRegistration.rawValue))
    }
}

extension RegistryLimits {
    var verification: VerificationLimits {
        VerificationLimits(
            signatureChecks: signatureChecks, pathSteps: pathSteps, nameComparisons: nameComparisons)
    }
}
