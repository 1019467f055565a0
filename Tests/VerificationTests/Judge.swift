import Certificates
import Signatures
import TestPKI
import Verification

/// What came of a question.
struct TestVerdict: Equatable {
    var reason: VerdictReason
    var detail: String
    /// Of a path that is trusted: the DER of its certificates, the anchor last.
    var path: [[UInt8]] = []
    var validity: ValidityPeriod?
}

/// A registry in memory, with a count of what it was asked.
struct TestRegistry: VerificationEnvironment {
    var registered: [TrustAnchor] = []
    let signatures = SignatureVerifier()
    private(set) var signatureChecks = 0

    mutating func anchors(named subject: [UInt8]) -> [TrustAnchor] {
        registered.filter { $0.certificate.subject.normalized == subject }
    }

    mutating func keyState(of certificate: Certificate) -> RegisteredKeyState {
        let same = registered.filter { $0.certificate.publicKeyInfoBytes == certificate.publicKeyInfoBytes }
        if same.isEmpty { return .notRegistered }
        return same.contains(where: \.isActive) ? .active : .inactive
    }

    mutating func signatureVerifies(_ certificate: Certificate, with issuer: Certificate) -> Bool {
        signatureChecks += 1
        return signatures.verifies(certificate, with: issuer)
    }

    mutating func hasSoundKey(_ certificate: Certificate) -> Bool { signatures.hasSoundKey(certificate) }
}

/// The verdict in a world. An anchor that does not even read is left out, for it could not have been registered.
func judge(_ world: World, limits: VerificationLimits = VerificationLimits()) -> TestVerdict {
    var registry = TestRegistry()
    for (index, anchor) in world.anchors.enumerated() {
        do {
            registry.registered.append(
                TrustAnchor(
                    number: UInt64(index + 1), certificate: try Certificate(der: anchor.der), isActive: anchor.isActive)
            )
        } catch {
            return TestVerdict(reason: .certificateMalformed, detail: "anchor \(index): \(error)")
        }
    }
    var certificates: [Certificate] = []
    for (index, der) in world.chain.enumerated() {
        do {
            certificates.append(try Certificate(der: der))
        } catch {
            return TestVerdict(reason: .certificateMalformed, detail: "certificate \(index): \(error)")
        }
    }
    guard let device = certificates.first else {
        return TestVerdict(reason: .certificateMalformed, detail: "no certificate")
    }
    var search = PathSearch(
        device: device, others: Array(certificates.dropFirst()), at: Instant(secondsSince1970: world.instant),
        limits: limits, environment: registry)
    do {
        var accepted: ValidatedPath?
        let outcome = try search.run { path in
            accepted = path
            return true
        }
        switch outcome {
        case .accepted:
            guard let accepted else {
                return TestVerdict(reason: .certificateTooLarge, detail: "accepted without a path")
            }
            let path = [device] + accepted.intermediates + [accepted.anchor.certificate]
            return TestVerdict(reason: .trusted, detail: "", path: path.map(\.der), validity: accepted.validity)
        case .refused(let flaws, _):
            guard let flaw = summary(of: flaws) else {
                return TestVerdict(reason: .certificateTooLarge, detail: "refused without a flaw")
            }
            return TestVerdict(reason: flaw.reason, detail: flaw.detail)
        }
    } catch {
        return TestVerdict(reason: .certificateTooLarge, detail: "thrown: \(error)")
    }
}
