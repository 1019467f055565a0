/// How a signature is made.
public enum SigningScheme: Hashable, Sendable {
    /// RSASSA-PKCS1-v1_5.
    case rsa(TestHash)
    /// RSASSA-PSS; the salt's length is in bytes, the mask is MGF1 over a digest of its own.
    case pss(TestHash, saltLength: Int, maskHash: TestHash)
    case ecdsa(TestHash)
    case ed25519
    /// DSA with SHA-256.
    case dsa

    /// RSASSA-PSS as RFC 4055 and TLS use it: the same digest everywhere, the salt as long as the digest.
    public static func pss(_ hash: TestHash) -> SigningScheme {
        .pss(hash, saltLength: hash.byteCount, maskHash: hash)
    }

    /// The message digest, where the scheme has one.
    public var hash: TestHash? {
        switch self {
        case .rsa(let hash), .ecdsa(let hash), .pss(let hash, _, _): hash
        case .dsa: .sha256
        case .ed25519: nil
        }
    }

    /// AlgorithmIdentifier, as the RFCs want it written.
    public var algorithmIdentifier: [UInt8] {
        switch self {
        case .rsa(let hash): DER.sequence(DER.objectIdentifier(rsaIdentifier(hash)), DER.null)
        case .pss(let hash, let saltLength, let maskHash):
            DER.sequence(
                DER.objectIdentifier(OID.rsaPSS),
                SigningScheme.pssParameters(hash: hash, maskHash: maskHash, saltLength: saltLength))
        case .ecdsa(let hash): DER.sequence(DER.objectIdentifier(ecdsaIdentifier(hash)))
        case .ed25519: DER.sequence(DER.objectIdentifier(OID.ed25519))
        case .dsa: DER.sequence(DER.objectIdentifier(OID.dsaWithSHA256))
        }
    }

    /// RSASSA-PSS-params (RFC 4055 section 3.1); `trailer` is left out where it is nil, as the default is.
    public static func pssParameters(
        hash: TestHash, maskHash: TestHash, saltLength: Int, trailer: Int? = nil, digestParameters: [UInt8] = DER.null
    ) -> [UInt8] {
        let hashAlgorithm = DER.sequence(DER.objectIdentifier(hash.objectIdentifier), digestParameters)
        let maskAlgorithm = DER.sequence(DER.objectIdentifier(maskHash.objectIdentifier), digestParameters)
        var fields: [[UInt8]] = []
        if hash != .sha1 { fields.append(DER.explicit(0, hashAlgorithm)) }
        if maskHash != .sha1 {
            fields.append(DER.explicit(1, DER.sequence(DER.objectIdentifier(OID.mgf1), maskAlgorithm)))
        }
        if saltLength != 20 { fields.append(DER.explicit(2, DER.integer(saltLength))) }
        if let trailer { fields.append(DER.explicit(3, DER.integer(trailer))) }
        return DER.sequence(of: fields)
    }
}

private func rsaIdentifier(_ hash: TestHash) -> String {
    switch hash {
    case .md5: "1.2.840.113549.1.1.4"
    case .sha1: "1.2.840.113549.1.1.5"
    case .sha224: "1.2.840.113549.1.1.14"
    case .sha256: "1.2.840.113549.1.1.11"
    case .sha384: "1.2.840.113549.1.1.12"
    case .sha512: "1.2.840.113549.1.1.13"
    }
}

private func ecdsaIdentifier(_ hash: TestHash) -> String {
    switch hash {
    case .md5: preconditionFailure("there is no ecdsa-with-MD5")
    case .sha1: "1.2.840.10045.4.1"
    case .sha224: "1.2.840.10045.4.3.1"
    case .sha256: "1.2.840.10045.4.3.2"
    case .sha384: "1.2.840.10045.4.3.3"
    case .sha512: "1.2.840.10045.4.3.4"
    }
}
