import Certificates
import Verification

/// A registry whose signatures are a bit: what a path is made of is found by chance, as no signature would be.
struct FuzzRegistry: VerificationEnvironment {
    var anchors: [TrustAnchor]

    init(_ certificates: [Certificate]) {
        anchors = certificates.enumerated().map { number, certificate in
            TrustAnchor(
                number: UInt64(number), certificate: certificate, isActive: certificate.signatureBits & 2 == 0,
                preference: Int(certificate.signatureBits & 4))
        }
    }

    static func isSigned(_ certificate: Certificate, _ issuer: Certificate) -> Bool {
        let isOfThisKey = issuer.publicKeyInfoBytes.last.map { $0 & 1 } == certificate.signatureBits >> 4 & 1
        return certificate.signatureBits & 1 == 0 || isOfThisKey
    }

    mutating func anchors(named subject: [UInt8]) -> [TrustAnchor] {
        anchors.filter { $0.certificate.subject.normalized == subject }
    }

    mutating func keyState(of certificate: Certificate) -> RegisteredKeyState {
        let same = anchors.filter { $0.certificate.publicKeyInfoBytes == certificate.publicKeyInfoBytes }
        if same.isEmpty { return .notRegistered }
        return same.contains(where: \.isActive) ? .active : .inactive
    }

    mutating func signatureVerifies(_ certificate: Certificate, with issuer: Certificate) -> Bool {
        Self.isSigned(certificate, issuer)
    }

    mutating func hasSoundKey(_ certificate: Certificate) -> Bool { certificate.signatureBits & 8 == 0 }
}

extension Certificate {
    fileprivate var signatureBits: UInt8 { der[signature].last ?? 0 }
}
