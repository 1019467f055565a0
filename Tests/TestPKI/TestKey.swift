import COpenSSL
import Synchronization

/// A digest by name.
public enum TestHash: String, Hashable, Sendable, CaseIterable {
    case md5 = "MD5"
    case sha1 = "SHA1"
    case sha224 = "SHA224"
    case sha256 = "SHA256"
    case sha384 = "SHA384"
    case sha512 = "SHA512"

    /// The digest's object identifier.
    public var objectIdentifier: String {
        switch self {
        case .md5: "1.2.840.113549.2.5"
        case .sha1: "1.3.14.3.2.26"
        case .sha224: "2.16.840.1.101.3.4.2.4"
        case .sha256: "2.16.840.1.101.3.4.2.1"
        case .sha384: "2.16.840.1.101.3.4.2.2"
        case .sha512: "2.16.840.1.101.3.4.2.3"
        }
    }

    public var byteCount: Int {
        switch self {
        case .md5: 16
        case .sha1: 20
        case .sha224: 28
        case .sha256: 32
        case .sha384: 48
        case .sha512: 64
        }
    }
}

/// A fixed private key: the same one in every run.
///
/// The `EVP_PKEY` is made once and only read afterwards, which OpenSSL allows from several threads at once.
@safe public final class TestKey: @unchecked Sendable, Hashable {
    public enum Kind: Hashable, Sendable {
        case rsa
        case p256
        case p384
        case p521
        case secp256k1
        case ed25519
        case dsa
    }

    public let kind: Kind
    public let name: String
    /// SubjectPublicKeyInfo.
    public let spki: [UInt8]
    private let pkey: OpaquePointer

    private init(kind: Kind, name: String, pkcs8: [UInt8]) {
        self.kind = kind
        self.name = name
        var loaded: OpaquePointer?
        unsafe pkcs8.withUnsafeBufferPointer { buffer in
            var pointer = buffer.baseAddress
            unsafe loaded = d2i_AutoPrivateKey(nil, &pointer, buffer.count)
        }
        guard let key = unsafe loaded else { preconditionFailure("test key \(name) does not load") }
        unsafe pkey = key
        let count = unsafe i2d_PUBKEY(key, nil)
        var bytes = [UInt8](repeating: 0, count: Int(count))
        unsafe bytes.withUnsafeMutableBufferPointer { buffer in
            var pointer = buffer.baseAddress
            unsafe _ = i2d_PUBKEY(key, &pointer)
        }
        spki = bytes
    }

    deinit { unsafe EVP_PKEY_free(pkey) }

    public static func == (left: TestKey, right: TestKey) -> Bool { left.spki == right.spki }

    public func hash(into hasher: inout Hasher) { hasher.combine(spki) }

    // MARK: Keys

    public static let rsa1024 = TestKey(kind: .rsa, name: "rsa1024", pkcs8: base64(KeyConstants.rsa1024))
    public static let rsa2047 = TestKey(kind: .rsa, name: "rsa2047", pkcs8: base64(KeyConstants.rsa2047))
    public static let rsa2048 = TestKey(kind: .rsa, name: "rsa2048", pkcs8: base64(KeyConstants.rsa2048))
    public static let otherRSA2048 = TestKey(kind: .rsa, name: "otherRSA2048", pkcs8: base64(KeyConstants.otherRSA2048))
    public static let rsa2048Exponent3 = TestKey(
        kind: .rsa, name: "rsa2048Exponent3", pkcs8: base64(KeyConstants.rsa2048Exponent3))
    /// Public exponent 2^32 + 1.
    public static let rsa2048Exponent33Bits = TestKey(
        kind: .rsa, name: "rsa2048Exponent33Bits", pkcs8: base64(KeyConstants.rsa2048Exponent33Bits))
    /// Public exponent 2^33 + 1.
    public static let rsa2048Exponent34Bits = TestKey(
        kind: .rsa, name: "rsa2048Exponent34Bits", pkcs8: base64(KeyConstants.rsa2048Exponent34Bits))
    public static let rsa3072 = TestKey(kind: .rsa, name: "rsa3072", pkcs8: base64(KeyConstants.rsa3072))
    public static let rsa4096 = TestKey(kind: .rsa, name: "rsa4096", pkcs8: base64(KeyConstants.rsa4096))
    public static let rsa8192 = TestKey(kind: .rsa, name: "rsa8192", pkcs8: base64(KeyConstants.rsa8192))
    public static let dsa2048 = TestKey(kind: .dsa, name: "dsa2048", pkcs8: base64(KeyConstants.dsa2048))

    /// The P-256 key of this number.
    public static func p256(_ number: Int) -> TestKey { elliptic(.p256, OID.prime256v1, 32, number) }

    /// The P-384 key of this number.
    public static func p384(_ number: Int) -> TestKey { elliptic(.p384, OID.secp384r1, 48, number) }

    /// The P-521 key of this number.
    public static func p521(_ number: Int) -> TestKey { elliptic(.p521, OID.secp521r1, 66, number) }

    /// The secp256k1 key of this number.
    public static func secp256k1(_ number: Int) -> TestKey { elliptic(.secp256k1, OID.secp256k1, 32, number) }

    /// The Ed25519 key of this number.
    public static func ed25519(_ number: Int) -> TestKey {
        cached("ed25519 \(number)") { name in
            var generator = SeededGenerator(seed: UInt64(number))
            let pkcs8 = DER.sequence(
                DER.integer(0), DER.sequence(DER.objectIdentifier(OID.ed25519)),
                DER.octetString(DER.octetString(generator.bytes(32))))
            return TestKey(kind: .ed25519, name: name, pkcs8: pkcs8)
        }
    }

    /// A key whose private scalar follows from its number; OpenSSL computes the public point.
    private static func elliptic(_ kind: Kind, _ curve: String, _ byteCount: Int, _ number: Int) -> TestKey {
        cached("\(kind) \(number)") { name in
            var generator = SeededGenerator(seed: UInt64(number))
            // A first byte of zero keeps the scalar below the order of every curve.
            let scalar = [0] + generator.bytes(byteCount - 1)
            let pkcs8 = DER.sequence(
                DER.integer(0), DER.sequence(DER.objectIdentifier(OID.ecPublicKey), DER.objectIdentifier(curve)),
                DER.octetString(DER.sequence(DER.integer(1), DER.octetString(scalar))))
            return TestKey(kind: kind, name: name, pkcs8: pkcs8)
        }
    }

    private static let cache = Mutex<[String: TestKey]>([:])

    private static func cached(_ name: String, _ make: (String) -> TestKey) -> TestKey {
        cache.withLock { keys in
            if let key = keys[name] { return key }
            let key = make(name)
            keys[name] = key
            return key
        }
    }

    // MARK: Signing

    /// What this key signs with where a test does not say otherwise.
    public var defaultScheme: SigningScheme {
        switch kind {
        case .rsa: .rsa(.sha256)
        case .p256, .secp256k1: .ecdsa(.sha256)
        case .p384: .ecdsa(.sha384)
        case .p521: .ecdsa(.sha512)
        case .ed25519: .ed25519
        case .dsa: .dsa
        }
    }

    /// Signs the message; the signature is as it stands in the BIT STRING of a certificate.
    public func sign(_ message: [UInt8], _ scheme: SigningScheme) -> [UInt8] {
        guard let context = unsafe EVP_MD_CTX_new() else { preconditionFailure("no memory") }
        defer { unsafe EVP_MD_CTX_free(context) }
        var digest: OpaquePointer?
        if let hash = scheme.hash { unsafe digest = EVP_get_digestbyname(hash.rawValue) }
        var keyContext: OpaquePointer?
        guard unsafe EVP_DigestSignInit(context, &keyContext, digest, nil, pkey) == 1 else {
            preconditionFailure("\(name) cannot sign with \(scheme)")
        }
        if case .pss(_, let saltLength, let maskHash) = scheme {
            unsafe EVP_PKEY_CTX_set_rsa_padding(keyContext, RSA_PKCS1_PSS_PADDING)
            unsafe EVP_PKEY_CTX_set_rsa_pss_saltlen(keyContext, Int32(saltLength))
            unsafe EVP_PKEY_CTX_set_rsa_mgf1_md(keyContext, EVP_get_digestbyname(maskHash.rawValue))
        }
        var count = 0
        var signed = unsafe EVP_DigestSign(context, nil, &count, message, message.count)
        var signature = [UInt8](repeating: 0, count: count)
        if signed == 1 { unsafe signed = EVP_DigestSign(context, &signature, &count, message, message.count) }
        precondition(signed == 1, "\(name) cannot sign with \(scheme)")
        return Array(signature[..<count])
    }
}

private func base64(_ text: String) -> [UInt8] {
    var bytes: [UInt8] = []
    var bits: UInt32 = 0
    var count = 0
    for character in text.utf8 {
        let value: UInt32
        switch character {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = UInt32(character - 65)
        case UInt8(ascii: "a")...UInt8(ascii: "z"): value = UInt32(character - 97 + 26)
        case UInt8(ascii: "0")...UInt8(ascii: "9"): value = UInt32(character - 48 + 52)
        case UInt8(ascii: "+"): value = 62
        case UInt8(ascii: "/"): value = 63
        default: continue
        }
        bits = bits << 6 | value
        count += 6
        if count >= 8 {
            count -= 8
            bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
        }
    }
    return bytes
}
