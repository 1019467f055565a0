import COpenSSL

/// OpenSSL's own answer: `X509_verify_cert` for TLS clients, with every registered certificate as an anchor.
public enum OpenSSLOracle {
    public enum Answer: Equatable, Sendable {
        case trusted
        /// `d2i_X509` does not read one of the certificates.
        case unreadable
        /// Why not, in OpenSSL's words.
        case refused(String)

        public var isTrusted: Bool { self == .trusted }
    }

    /// X509_PURPOSE_SSL_CLIENT of openssl/x509v3.h.
    private static let purposeSSLClient: Int32 = 1

    /// Inactive anchors are left out: OpenSSL knows nothing of them.
    public static func verify(_ world: World) -> Answer {
        guard let store = unsafe X509_STORE_new(), let context = unsafe X509_STORE_CTX_new(),
            let untrusted = unsafe OPENSSL_sk_new_null()
        else { preconditionFailure("no memory") }
        var certificates: [OpaquePointer] = unsafe []
        defer {
            unsafe X509_STORE_CTX_free(context)
            unsafe OPENSSL_sk_free(untrusted)
            while let certificate = unsafe certificates.popLast() { unsafe X509_free(certificate) }
            unsafe X509_STORE_free(store)
        }
        for anchor in world.anchors where anchor.isActive {
            guard let certificate = unsafe read(anchor.der) else { return .unreadable }
            unsafe certificates.append(certificate)
            unsafe X509_STORE_add_cert(store, certificate)
        }
        var device: OpaquePointer?
        for der in world.chain {
            guard let certificate = unsafe read(der) else { return .unreadable }
            unsafe certificates.append(certificate)
            if unsafe device == nil {
                unsafe device = certificate
            } else {
                unsafe OPENSSL_sk_push(untrusted, UnsafeRawPointer(certificate))
            }
        }
        guard unsafe X509_STORE_CTX_init(context, store, device, untrusted) == 1,
            let parameters = unsafe X509_STORE_CTX_get0_param(context)
        else { preconditionFailure("no context") }
        unsafe X509_VERIFY_PARAM_set_time(parameters, time_t(world.instant))
        unsafe X509_VERIFY_PARAM_set_flags(parameters, UInt(X509_V_FLAG_PARTIAL_CHAIN))
        unsafe X509_STORE_CTX_set_purpose(context, purposeSSLClient)
        defer { ERR_clear_error() }
        if unsafe X509_verify_cert(context) == 1 { return .trusted }
        let code = unsafe X509_STORE_CTX_get_error(context)
        return .refused(unsafe String(cString: X509_verify_cert_error_string(Int(code))))
    }

    private static func read(_ der: [UInt8]) -> OpaquePointer? {
        unsafe der.withUnsafeBufferPointer { buffer in
            var pointer = buffer.baseAddress
            return unsafe d2i_X509(nil, &pointer, buffer.count)
        }
    }
}
