internal import COpenSSL
public import Certificates

/// Checks signatures on certificates. Keys and contexts are kept, so that an issuer's second check costs the arithmetic only.
///
/// For one thread: each has its own. It decides nothing but whether the numbers fit; which algorithms and keys may be used is
/// asked before.
public final class SignatureVerifier {
    /// Issuers' keys that are kept.
    public static let maximumKeys = 512

    private struct KeyName: Hashable {
        var publicKeyInfo: ArraySlice<UInt8>
        var algorithm: SignatureAlgorithm

        // The end of a key tells it from the few others that are kept: no need to walk all of its bytes. Whoever makes keys
        // that end alike makes a search through them as long as the list, and that is short.
        func hash(into hasher: inout Hasher) {
            for byte in publicKeyInfo.suffix(8) { hasher.combine(byte) }
        }
    }

    private var keys: [KeyName: VerificationKey] = [:]
    private var digests: [HashAlgorithm: Digester] = [:]
    private var curves: [KeyAlgorithm: Curve] = [:]

    /// Has no keys yet.
    public init() {}

    /// Whether the signature of `certificate` verifies with the key of `issuer`.
    ///
    /// False as well where the signature's algorithm does not belong to the key, or the key is none (a point off its curve).
    public func verifies(_ certificate: Certificate, with issuer: Certificate) -> Bool {
        guard Self.fits(certificate.signatureAlgorithm, issuer.keyAlgorithm),
            let key = key(of: issuer, for: certificate.signatureAlgorithm)
        else { return false }
        if case .ed25519 = certificate.signatureAlgorithm {
            return key.verifiesMessage(certificate.der, signature: certificate.signature, over: certificate.toBeSigned)
        }
        guard let hash = certificate.signatureAlgorithm.hash else { return false }
        let message = certificate.toBeSignedBytes
        let digest =
            hash == .sha256 ? SHA256Digest(hashing: message).bytes : digester(hash)?.digest(message) ?? []
        return !digest.isEmpty && key.verifies(digest, certificate.der[certificate.signature])
    }

    /// The key identifier that a public key has by method 1 of RFC 5280 section 4.2.1.2: 20 bytes; empty where OpenSSL has no
    /// SHA-1.
    ///
    /// - Parameter key: the bits of the subjectPublicKey.
    public static func keyIdentifier(ofKey key: ArraySlice<UInt8>) -> [UInt8] {
        Digester(.sha1)?.digest(key) ?? []
    }

    /// Whether a certificate's own public key is a key: a point of its curve, where it is on one.
    public func hasSoundKey(_ certificate: Certificate) -> Bool {
        switch certificate.keyAlgorithm {
        case .p256, .p384, .p521:
            if curves[certificate.keyAlgorithm] == nil {
                curves[certificate.keyAlgorithm] = Curve(certificate.keyAlgorithm)
            }
            return curves[certificate.keyAlgorithm]?.holds(certificate.der[certificate.publicKey]) ?? false
        case .rsa, .ed25519: return true
        case .unsupported: return false
        }
    }

    private static func fits(_ signature: SignatureAlgorithm, _ key: KeyAlgorithm) -> Bool {
        switch (signature, key) {
        case (.rsaPKCS1, .rsa), (.rsaPSS, .rsa), (.ecdsa, .p256), (.ecdsa, .p384), (.ecdsa, .p521),
            (.ed25519, .ed25519):
            true
        default: false
        }
    }

    private func key(of issuer: Certificate, for algorithm: SignatureAlgorithm) -> VerificationKey? {
        let name = KeyName(publicKeyInfo: issuer.publicKeyInfoBytes, algorithm: algorithm)
        if let key = keys[name] { return key }
        guard let key = VerificationKey(publicKeyInfo: issuer.publicKeyInfoBytes, algorithm) else { return nil }
        // Whoever sends many keys makes others load theirs again: that costs time, and time only.
        if keys.count >= Self.maximumKeys { keys.removeAll(keepingCapacity: true) }
        keys[KeyName(publicKeyInfo: ArraySlice(Array(issuer.publicKeyInfoBytes)), algorithm: algorithm)] = key
        return key
    }

    private func digester(_ hash: HashAlgorithm) -> Digester? {
        if let digester = digests[hash] { return digester }
        let digester = Digester(hash)
        digests[hash] = digester
        return digester
    }
}

extension SignatureAlgorithm {
    /// The digest that it names.
    public var hash: HashAlgorithm? {
        switch self {
        case .rsaPKCS1(let hash), .rsaPSS(let hash, _), .ecdsa(let hash): hash
        case .ed25519, .unsupported: nil
        }
    }
}

extension HashAlgorithm {
    fileprivate var openSSLName: String {
        switch self {
        case .md5: "MD5"
        case .sha1: "SHA1"
        case .sha224: "SHA224"
        case .sha256: "SHA256"
        case .sha384: "SHA384"
        case .sha512: "SHA512"
        }
    }
}

/// A fetched digest with its context.
@safe private final class Digester {
    private let algorithm: OpaquePointer
    private let context: OpaquePointer

    init?(_ hash: HashAlgorithm) {
        guard let algorithm = unsafe EVP_MD_fetch(nil, hash.openSSLName, nil) else { return nil }
        guard let context = unsafe EVP_MD_CTX_new() else {
            unsafe EVP_MD_free(algorithm)
            return nil
        }
        unsafe self.algorithm = unsafe algorithm
        unsafe self.context = unsafe context
    }

    deinit {
        unsafe EVP_MD_CTX_free(context)
        unsafe EVP_MD_free(algorithm)
    }

    /// The digest; empty where OpenSSL has failed.
    func digest(_ message: ArraySlice<UInt8>) -> [UInt8] {
        var length: UInt32 = 0
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        // Safe: reads the slice, writes at most EVP_MAX_MD_SIZE bytes.
        let isDone = unsafe message.withUnsafeBufferPointer { source in
            unsafe digest.withUnsafeMutableBufferPointer { target in
                unsafe EVP_DigestInit_ex2(context, algorithm, nil) == 1
                    && EVP_DigestUpdate(context, source.baseAddress, source.count) == 1
                    && EVP_DigestFinal_ex(context, target.baseAddress, &length) == 1
            }
        }
        return isDone ? Array(digest.prefix(Int(length))) : []
    }
}

/// A public key, ready to check signatures of one algorithm.
@safe private final class VerificationKey {
    private let key: OpaquePointer
    /// nil for Ed25519, which signs messages and not digests.
    private let context: OpaquePointer?

    init?(publicKeyInfo: ArraySlice<UInt8>, _ algorithm: SignatureAlgorithm) {
        let loaded = unsafe publicKeyInfo.withUnsafeBufferPointer { bytes in
            // Safe: d2i reads at most as many bytes as it is told, and moves the local pointer.
            var position = bytes.baseAddress
            return unsafe d2i_PUBKEY(nil, &position, bytes.count)
        }
        guard let loaded = unsafe loaded else {
            ERR_clear_error()
            return nil
        }
        unsafe key = unsafe loaded
        guard let hash = algorithm.hash else {
            unsafe context = nil
            return
        }
        guard let context = unsafe EVP_PKEY_CTX_new_from_pkey(nil, loaded, nil) else {
            unsafe EVP_PKEY_free(loaded)
            unsafe self.context = nil
            return nil
        }
        unsafe self.context = unsafe context
        guard unsafe Self.prepare(context, algorithm, hash) else {
            ERR_clear_error()
            return nil
        }
    }

    private static func prepare(
        _ context: OpaquePointer, _ algorithm: SignatureAlgorithm, _ hash: HashAlgorithm
    ) -> Bool {
        guard unsafe EVP_PKEY_verify_init(context) == 1 else { return false }
        switch algorithm {
        case .rsaPKCS1:
            guard unsafe EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1 else { return false }
        case .rsaPSS(_, let saltLength):
            guard unsafe EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1,
                unsafe EVP_PKEY_CTX_set_rsa_pss_saltlen(context, Int32(clamping: saltLength)) == 1
            else { return false }
        case .ecdsa: break
        case .ed25519, .unsupported: return false
        }
        guard let digest = unsafe EVP_get_digestbyname(hash.openSSLName) else { return false }
        return unsafe EVP_PKEY_CTX_set_signature_md(context, digest) == 1
    }

    deinit {
        unsafe EVP_PKEY_CTX_free(context)
        unsafe EVP_PKEY_free(key)
    }

    func verifies(_ digest: [UInt8], _ signature: ArraySlice<UInt8>) -> Bool {
        guard let context = unsafe context else { return false }
        // Safe: both buffers are read for the duration of the call.
        let result = unsafe signature.withUnsafeBufferPointer { signature in
            unsafe digest.withUnsafeBufferPointer { digest in
                unsafe EVP_PKEY_verify(
                    context, signature.baseAddress, signature.count, digest.baseAddress, digest.count)
            }
        }
        if result != 1 { ERR_clear_error() }
        return result == 1
    }

    func verifiesMessage(_ der: [UInt8], signature: Range<Int>, over message: Range<Int>) -> Bool {
        guard let context = unsafe EVP_MD_CTX_new() else { return false }
        defer { unsafe EVP_MD_CTX_free(context) }
        // Safe: both ranges lie in the array, which is read for the duration of the call.
        let result = unsafe der.withUnsafeBufferPointer { bytes in
            guard unsafe EVP_DigestVerifyInit(context, nil, nil, nil, key) == 1, let base = bytes.baseAddress
            else { return Int32(0) }
            return unsafe EVP_DigestVerify(
                context, base + signature.lowerBound, signature.count, base + message.lowerBound, message.count)
        }
        if result != 1 { ERR_clear_error() }
        return result == 1
    }
}

/// A curve, to tell its points.
@safe private final class Curve {
    private let group: OpaquePointer
    private let point: OpaquePointer

    init?(_ algorithm: KeyAlgorithm) {
        let identifier: Int32
        switch algorithm {
        case .p256: identifier = NID_X9_62_prime256v1
        case .p384: identifier = NID_secp384r1
        case .p521: identifier = NID_secp521r1
        case .rsa, .ed25519, .unsupported: return nil
        }
        guard let group = unsafe EC_GROUP_new_by_curve_name(identifier) else { return nil }
        guard let point = unsafe EC_POINT_new(group) else {
            unsafe EC_GROUP_free(group)
            return nil
        }
        unsafe self.group = unsafe group
        unsafe self.point = unsafe point
    }

    deinit {
        unsafe EC_POINT_free(point)
        unsafe EC_GROUP_free(group)
    }

    /// Whether bytes are an encoded point of the curve, other than the one at infinity.
    func holds(_ encoded: ArraySlice<UInt8>) -> Bool {
        // Safe: reads the slice for the duration of the call.
        let result = unsafe encoded.withUnsafeBufferPointer {
            unsafe EC_POINT_oct2point(group, point, $0.baseAddress, $0.count, nil)
        }
        if result != 1 { ERR_clear_error() }
        return unsafe result == 1 && EC_POINT_is_at_infinity(group, point) == 0
    }
}
