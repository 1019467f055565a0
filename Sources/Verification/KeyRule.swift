public import Certificates

/// What is wrong with the public key of a CA certificate.
public enum KeyFlaw: Hashable, Sendable {
    /// An RSA key of fewer than 2048 bits.
    case tooWeak(bits: Int)
    /// Anything but RSA of 2048 to 8192 bits with an odd exponent of 3 to 33 bits, or P-256, P-384, P-521 by named curve.
    case notSupported(String)
}

/// Which keys may sign certificates here: checked before a key is used, for the cost of RSA is not bounded by OpenSSL.
public enum KeyRule {
    /// The shortest RSA modulus, in bits (NIST SP 800-57 part 1).
    public static let leastModulusBits = 2_048
    /// The longest RSA modulus, in bits.
    public static let mostModulusBits = 8_192
    /// The longest RSA exponent, in bits: more costs time and gains nothing.
    public static let mostExponentBits = 33

    /// What is wrong with a CA's key; nil where nothing is.
    public static func flaw(ofCaKey algorithm: KeyAlgorithm) -> KeyFlaw? {
        switch algorithm {
        case .rsa(let modulusBits, let exponentBits, let exponentIsOdd):
            if modulusBits < leastModulusBits { return .tooWeak(bits: modulusBits) }
            if modulusBits > mostModulusBits { return .notSupported("an RSA key of \(modulusBits) bits") }
            // The least odd exponent is 3, which has two bits: 1 would sign nothing.
            guard exponentIsOdd, exponentBits >= 2, exponentBits <= mostExponentBits else {
                return .notSupported("an RSA key whose exponent is even, 1, or of more than \(mostExponentBits) bits")
            }
            return nil
        case .p256, .p384, .p521: return nil
        case .ed25519: return .notSupported("an Ed25519 key")
        case .unsupported: return .notSupported("a key that is neither RSA nor on P-256, P-384 or P-521 by name")
        }
    }

    /// What is wrong with a device's key, in words; nil where nothing is. Ed25519 will do, for TLS takes it.
    static func flaw(ofDeviceKey algorithm: KeyAlgorithm) -> String? {
        if case .ed25519 = algorithm { return nil }
        return flaw(ofCaKey: algorithm)?.words
    }
}

extension KeyFlaw {
    /// What the key is, as the middle of a sentence.
    public var words: String {
        switch self {
        case .tooWeak(let bits): "an RSA key of \(bits) bits, fewer than \(KeyRule.leastModulusBits)"
        case .notSupported(let what): what
        }
    }
}

extension SignatureAlgorithm {
    /// Whether a certificate of a path may be signed so: RSA PKCS #1 or PSS, or ECDSA, with SHA-256, SHA-384 or SHA-512.
    public var isAllowedInPaths: Bool {
        switch self {
        case .rsaPKCS1(let hash), .rsaPSS(let hash, _), .ecdsa(let hash): hash.isStrong
        case .ed25519, .unsupported: false
        }
    }
}

extension HashAlgorithm {
    /// SHA-256 or more.
    public var isStrong: Bool {
        switch self {
        case .sha256, .sha384, .sha512: true
        case .md5, .sha1, .sha224: false
        }
    }
}
