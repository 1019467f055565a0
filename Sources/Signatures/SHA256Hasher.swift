internal import COpenSSL

/// SHA-256 over bytes that come piece by piece.
@safe public final class SHA256Hasher {
    private let context: OpaquePointer

    /// Nil where OpenSSL has no memory left.
    public init?() {
        guard let context = unsafe EVP_MD_CTX_new() else { return nil }
        guard unsafe EVP_DigestInit_ex2(context, EVP_sha256(), nil) == 1 else {
            unsafe EVP_MD_CTX_free(context)
            return nil
        }
        unsafe self.context = unsafe context
    }

    deinit {
        unsafe EVP_MD_CTX_free(context)
    }

    /// Takes the next bytes.
    public func update(_ bytes: [UInt8]) {
        // Safe: reads the array, for the duration of the call.
        _ = unsafe bytes.withUnsafeBufferPointer { unsafe EVP_DigestUpdate(context, $0.baseAddress, $0.count) }
    }

    /// The digest of all that came; nil where OpenSSL has failed. Once only.
    public func finish() -> SHA256Digest? {
        var digest = [UInt8](repeating: 0, count: SHA256Digest.byteCount)
        // Safe: writes 32 bytes.
        let isDone = unsafe digest.withUnsafeMutableBufferPointer { target in
            unsafe EVP_DigestFinal_ex(context, target.baseAddress, nil) == 1
        }
        return isDone ? SHA256Digest(bytes: digest) : nil
    }
}
