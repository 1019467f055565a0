internal import COpenSSL

/// SHA-256 as fast as OpenSSL has it: an algorithm that was fetched once, and a context that is used again.
@safe final class ReusedDigest {
    private let context: OpaquePointer
    private let algorithm: OpaquePointer
    private(set) var bytes = [UInt8](repeating: 0, count: 32)

    init() throws {
        guard let algorithm = unsafe EVP_MD_fetch(nil, "SHA256", nil), let context = unsafe EVP_MD_CTX_new() else {
            throw BenchFailure("no SHA-256")
        }
        unsafe self.algorithm = unsafe algorithm
        unsafe self.context = unsafe context
    }

    deinit {
        unsafe EVP_MD_CTX_free(context)
        unsafe EVP_MD_free(algorithm)
    }

    func digest(_ message: [UInt8]) {
        let isDone =
            unsafe EVP_DigestInit_ex2(context, algorithm, nil) == 1
            && EVP_DigestUpdate(context, message, message.count) == 1
            && EVP_DigestFinal_ex(context, &bytes, nil) == 1
        precondition(isDone)
    }
}
