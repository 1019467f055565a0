/// A digest algorithm that a signature algorithm may name.
public enum HashAlgorithm: UInt8, Hashable, Sendable {
    case md5 = 1
    case sha1
    case sha224
    case sha256
    case sha384
    case sha512
}

/// What an AlgorithmIdentifier in a certificate's signature fields says (RFC 5280 section 4.1.1.2, RFC 4055, RFC 5758,
/// RFC 8410).
///
/// Parsing decides only what the identifier means; whether it may be used is a rule of Verification.
public enum SignatureAlgorithm: Hashable, Sendable {
    /// RSASSA-PKCS1-v1_5.
    case rsaPKCS1(HashAlgorithm)
    /// RSASSA-PSS with MGF1 over the same digest and trailer field 1; the salt length is in bytes.
    case rsaPSS(HashAlgorithm, saltLength: Int)
    /// ECDSA with a DER-encoded Ecdsa-Sig-Value.
    case ecdsa(HashAlgorithm)
    /// Pure Ed25519. No certificate authority may use it here: section 5.3 of the contract.
    case ed25519
    /// Anything else, well-formed but not known.
    case unsupported
}

/// What a SubjectPublicKeyInfo says of its key (RFC 3279 section 2.3, RFC 5480, RFC 8410).
public enum KeyAlgorithm: Hashable, Sendable {
    /// An RSA key: bits of the modulus, bits of the public exponent, and whether that exponent is odd.
    case rsa(modulusBits: Int, exponentBits: Int, exponentIsOdd: Bool)
    /// A key on P-256, by named curve.
    case p256
    /// A key on P-384, by named curve.
    case p384
    /// A key on P-521, by named curve.
    case p521
    case ed25519
    /// Any other algorithm or curve, explicit curve parameters among them.
    case unsupported
}
