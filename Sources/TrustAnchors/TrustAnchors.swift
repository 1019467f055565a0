/// Certificates as the files that TLS libraries read trust anchors from.
public enum TrustAnchors {
    /// A plain PEM bundle: one CERTIFICATE block each, in the order given.
    ///
    /// - Parameter ders: certificates, DER.
    /// - Returns: the file's bytes, empty for no certificate.
    public static func bundle(_ ders: [[UInt8]]) -> [UInt8] {
        ders.flatMap { PEMBlock.encode($0, label: "CERTIFICATE") }
    }

    /// The files of an OpenSSL hashed folder (`X509_LOOKUP_hash_dir`): a name `HASH.N` and TRUSTED CERTIFICATE text each.
    ///
    /// N counts from 0 over the certificates of one hash, in the order given, for OpenSSL stops at the first number
    /// that is missing. A certificate that is given twice, and one whose subject OpenSSL could not read, gets no file.
    ///
    /// - Parameter ders: certificates, DER.
    public static func hashedNames(for ders: [[UInt8]]) -> [(name: String, pem: [UInt8])] {
        var seen: Set<[UInt8]> = []
        var counts: [UInt32: Int] = [:]
        var files: [(name: String, pem: [UInt8])] = []
        for der in ders where seen.insert(der).inserted {
            guard let hash = subjectNameHash(der: der) else { continue }
            let number = counts[hash, default: 0]
            counts[hash] = number + 1
            files.append((name: "\(fileName(hash: hash)).\(number)", pem: TrustedCertificate.pem(der: der)))
        }
        return files
    }

    /// Whether a file name is one of a hashed folder: eight lowercase hex digits, a dot and a number.
    public static func isHashedName(_ name: String) -> Bool {
        let parts = name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].count == 8, !parts[1].isEmpty else { return false }
        let isHash = parts[0].allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
        return isHash && parts[1].allSatisfy { (0x30...0x39).contains($0) }
    }

    /// The hash that `openssl x509 -subject_hash` prints: `X509_NAME_hash_ex` of the subject.
    ///
    /// The first four bytes, little-endian, of the SHA-1 of the name's canonical encoding. It only finds files; whoever
    /// forges one gains nothing.
    ///
    /// - Parameter der: a certificate, DER.
    /// - Returns: nil where OpenSSL could not read the subject.
    public static func subjectNameHash(der: [UInt8]) -> UInt32? {
        guard let canonical = CanonicalName.subject(ofCertificate: der) else { return nil }
        let digest = SHA1.digest(of: canonical)
        return digest.prefix(4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }

    private static func fileName(hash: UInt32) -> String {
        let digits = String(hash, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }
}

/// A certificate with OpenSSL's trust settings (`X509_CERT_AUX`) behind it.
///
/// OpenSSL takes a CA certificate that is not self-signed as a trust anchor only in this form.
public enum TrustedCertificate {
    /// The label of its PEM block.
    public static let label = "TRUSTED CERTIFICATE"

    /// The PEM text of a certificate that is trusted for clientAuth.
    ///
    /// - Parameter der: a certificate, DER.
    public static func pem(der: [UInt8]) -> [UInt8] {
        PEMBlock.encode(der + clientAuthTrust, label: label)
    }

    /// X509_CERT_AUX ::= SEQUENCE { trust SEQUENCE OF OBJECT IDENTIFIER } with id-kp-clientAuth, 1.3.6.1.5.5.7.3.2.
    private static let clientAuthTrust: [UInt8] = [
        0x30, 0x0c, 0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02,
    ]
}
