internal import Certificates
internal import Signatures
internal import Verification

/// What a CA certificate must be to become a trust anchor (RFC 5280 section 6.1.1 (d)).
enum CaRules {
    static let what = "The CA certificate's file"

    /// RSA of 2048 to 8192 bits with an odd exponent of at most 33 bits, or P-256, P-384, P-521 by named curve.
    static func checkKey(of certificate: Certificate, signatures: SignatureVerifier) throws(Refusal) {
        switch KeyRule.flaw(ofCaKey: certificate.keyAlgorithm) {
        case .tooWeak(let bits):
            throw Refusal(
                .keyTooWeak,
                "The CA's RSA key has \(bits) bits; \(KeyRule.leastModulusBits) to \(KeyRule.mostModulusBits) are taken.",
                metadata: ["key_bits": String(bits)])
        case .notSupported(let what):
            throw Refusal(
                .keyAlgorithmNotSupported,
                "The CA has \(what). Taken are RSA of 2048 to 8192 bits, and ECC on P-256, P-384 and P-521 by named curve."
            )
        case nil: break
        }
        guard signatures.hasSoundKey(certificate) else {
            throw Refusal(
                .keyAlgorithmNotSupported, "The CA's public key is not a point of its curve. The file may be damaged.")
        }
    }

    /// RFC 5280 sections 4.2.1.3, 4.2.1.9 and 4.2.1.12, and what makes any certificate malformed.
    static func checkIsCa(_ certificate: Certificate) throws(Refusal) {
        let extensions = certificate.extensions
        func refuse(_ why: String) throws(Refusal) {
            throw Refusal(.notACa, "This is not a CA certificate that can sign device certificates: \(why).")
        }
        if certificate.version != 3 { try refuse("it is of version \(certificate.version), not 3") }
        if extensions.basicConstraints?.isCA != true { try refuse("basicConstraints is without CA:TRUE") }
        if let usage = extensions.keyUsage, !usage.contains(.keyCertSign) {
            try refuse("keyUsage is without keyCertSign")
        }
        if extensions.allowsClientAuth == false { try refuse("extendedKeyUsage is without clientAuth") }
        if certificate.subject.isEmpty { try refuse("its subject is empty") }
        func malformed(_ why: String) throws(Refusal) {
            throw Refusal(.certificateMalformed, "The CA certificate cannot be used: \(why).")
        }
        if let unknown = extensions.unknownCritical { try malformed("its critical extension \(unknown) is not known") }
        if let duplicate = extensions.duplicate { try malformed("its extension \(duplicate) is there twice") }
        if !certificate.signatureAlgorithmsAgree {
            try malformed("its signature algorithms inside and outside differ")
        }
    }

    /// RFC 5280 section 4.1.2.5. A period that ends before it starts is over.
    static func checkValidity(of certificate: Certificate, at now: Instant) throws(Refusal) {
        if now > certificate.notAfter || certificate.notAfter < certificate.notBefore {
            throw Refusal(.caExpired, "The CA certificate has expired. Register its renewal.")
        }
        if now < certificate.notBefore {
            throw Refusal(
                .caNotYetValid, "The CA certificate is not valid yet. Wait, or check the clocks of both hosts.")
        }
    }

    /// The signature of a self-signed certificate: a file that was edited, for instance to dodge the rule on SNs, is told by it.
    /// SHA-1 is tolerated there, for nobody relies on it.
    static func checkSignature(of certificate: Certificate, signatures: SignatureVerifier) throws(Refusal) {
        let isSelfSigned = isSelfSigned(certificate)
        let hash = certificate.signatureAlgorithm.hash
        let isAllowed =
            switch certificate.signatureAlgorithm {
            case .rsaPKCS1, .rsaPSS, .ecdsa: hash.map { $0.isStrong || (isSelfSigned && $0 == .sha1) } ?? false
            // An issuer that is no anchor may sign with it.
            case .ed25519: !isSelfSigned
            case .unsupported: false
            }
        guard isAllowed else {
            throw Refusal(
                .algorithmNotAllowed,
                "The CA certificate is signed with an algorithm that is not taken. Sign it with SHA-256 or stronger.")
        }
        if isSelfSigned, !signatures.verifies(certificate, with: certificate) {
            throw Refusal(
                .signatureInvalid, "The CA certificate's own signature does not verify. The file was damaged or edited."
            )
        }
    }

    /// Issuer and subject are the same, and the authority key identifier, where there is one, is its own. A key-rollover
    /// certificate, signed with the former key of the same name, is another thing.
    static func isSelfSigned(_ certificate: Certificate) -> Bool {
        guard certificate.isSelfIssued else { return false }
        let extensions = certificate.extensions
        if let authority = extensions.authorityKeyIdentifier {
            guard let own = extensions.subjectKeyIdentifier else {
                // RFC 5280 section 4.2.1.2, method 1: what its own would be.
                return certificate.der[authority].elementsEqual(
                    SignatureVerifier.keyIdentifier(ofKey: certificate.der[certificate.publicKey]))
            }
            return certificate.der[authority] == certificate.der[own]
        }
        if let serial = extensions.authoritySerialNumber {
            return SerialNumber(derContents: Array(certificate.der[serial])) == certificate.serialNumber
        }
        return true
    }

    /// 128 bytes at most (RFC 5280 section 4.1.2.2 asks for 20), not negative. Zero is good.
    static func checkSerialNumber(of certificate: Certificate) throws(Refusal) {
        let serialNumber = certificate.serialNumber
        guard serialNumber.byteCount <= SerialNumber.maximumByteCount else {
            throw Refusal(
                .snTooLong,
                "The CA certificate's serial number has \(serialNumber.byteCount) bytes; "
                    + "\(SerialNumber.maximumByteCount) at most are taken.")
        }
        guard !serialNumber.isNegative else {
            throw Refusal(.snInvalid, "The CA certificate's serial number is negative.")
        }
    }
}

/// The proof of possession: what a verification certificate must be, besides its code.
///
/// Only the proof counts, not what the certificate could be used for: any version, key, serial number, key usage and
/// basicConstraints will do.
enum ProofRules {
    static func check(
        _ proof: Certificate, of ca: Certificate, at now: Instant, signatures: SignatureVerifier
    ) throws(Refusal) {
        guard proof.issuer.normalized == ca.subject.normalized else {
            throw Refusal(
                .verificationNotSignedByCa,
                "The verification certificate was issued by \(quoted(proof.issuer.description)), and not by this CA, "
                    + "\(quoted(ca.subject.description)).")
        }
        switch proof.signatureAlgorithm {
        case .rsaPKCS1(let hash), .rsaPSS(let hash, _), .ecdsa(let hash):
            guard hash.isStrong else { throw weakAlgorithm }
        // The CA's key is RSA or ECC, so that this one cannot be its signature.
        case .ed25519, .unsupported: throw weakAlgorithm
        }
        guard proof.signatureAlgorithmsAgree, signatures.verifies(proof, with: ca) else {
            throw Refusal(
                .verificationNotSignedByCa,
                "The verification certificate's signature does not verify with the CA's key. Sign it with the private key of "
                    + "this CA certificate.")
        }
        if now > proof.notAfter {
            throw Refusal(.verificationExpired, "The verification certificate has expired. Sign a new one.")
        }
        if now < proof.notBefore {
            throw Refusal(
                .verificationNotYetValid,
                "The verification certificate is not valid yet. Wait, or check the clocks of both hosts.")
        }
        if let unknown = proof.extensions.unknownCritical {
            throw Refusal(
                .certificateMalformed, "The verification certificate's critical extension \(unknown) is not known.")
        }
        if let duplicate = proof.extensions.duplicate {
            throw Refusal(
                .certificateMalformed, "The verification certificate's extension \(duplicate) is there twice.")
        }
    }

    private static let weakAlgorithm = Refusal(
        .algorithmNotAllowed,
        "The verification certificate is signed with an algorithm that is not taken. Sign it with SHA-256 or stronger.")
}
