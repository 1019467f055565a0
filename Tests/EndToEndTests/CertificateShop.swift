import Foundation
import Glibc
import Synchronization
import Testing

/// A key and the certificate that goes with it, as files.
struct Authority: Sendable {
    let key: String
    let certificate: String
    /// As the registry writes it: lowercase hex, two digits a byte.
    let serialNumber: String
}

/// Runs openssl; a failure of it is a failure of the test.
@discardableResult
func openssl(_ arguments: [String]) throws -> ProgramResult {
    let result = try run("openssl", arguments)
    guard result.exit == 0 else { throw TestFailure("\(result)") }
    return result
}

@discardableResult
func openssl(_ arguments: String...) throws -> ProgramResult { try openssl(arguments) }

/// Makes certificates with the openssl program, by the recipes that users follow.
final class CertificateShop: Sendable {
    let folder: String
    private let counter = Mutex(0)

    init() throws { folder = try makeTemporaryFolder() }

    deinit { removeTemporaryFolder(folder) }

    func path(_ name: String) -> String { "\(folder)/\(name)" }

    /// A file name that no other call gets.
    func freshPath(_ suffix: String) -> String {
        let number = counter.withLock { value in
            value += 1
            return value
        }
        return path("\(number).\(suffix)")
    }

    func write(_ text: String, suffix: String = "txt") throws -> String { try write(Data(text.utf8), suffix: suffix) }

    func write(_ bytes: Data, suffix: String = "bin") throws -> String {
        let file = freshPath(suffix)
        try bytes.write(to: URL(fileURLWithPath: file))
        return file
    }

    func read(_ file: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: file)) }

    func readText(_ file: String) throws -> String { String(decoding: try read(file), as: UTF8.self) }

    // MARK: Keys

    func rsaKey(bits: Int = 2048) throws -> String {
        let file = freshPath("key")
        try openssl("genrsa", "-out", file, "\(bits)")
        return file
    }

    func eccKey(curve: String = "prime256v1") throws -> String {
        let file = freshPath("key")
        try openssl("ecparam", "-genkey", "-name", curve, "-out", file)
        return file
    }

    func ed25519Key() throws -> String {
        let file = freshPath("key")
        try openssl("genpkey", "-algorithm", "ed25519", "-out", file)
        return file
    }

    // MARK: CA certificates

    /// A self-signed CA certificate the way that the users' guide makes RSA ones: request, then self-signature.
    func rsaAuthority(_ name: String, bits: Int = 2048) throws -> Authority {
        let key = try rsaKey(bits: bits)
        let request = try self.request(key: key, subject: "/CN=\(name)")
        let certificate = freshPath("crt")
        try openssl(
            "x509", "-req", "-extfile", "/etc/ssl/openssl.cnf", "-extensions", "v3_ca", "-in", request,
            "-out", certificate, "-signkey", key, "-CAcreateserial", "-days", "3650")
        return try authority(key: key, certificate: certificate)
    }

    /// A self-signed CA certificate the way that the users' guide makes ECC ones.
    ///
    /// - Parameter key: a key to use again; a fresh P-256 one where it is left out.
    func eccAuthority(
        _ name: String, subject: String? = nil, key: String? = nil, serial: String? = nil
    ) throws -> Authority {
        let key = try key ?? eccKey()
        let certificate = freshPath("crt")
        try openssl(
            [
                "req", "-new", "-x509", "-days", "3650", "-config", "/etc/ssl/openssl.cnf", "-extensions", "v3_ca",
                "-key", key, "-out", certificate, "-utf8", "-subj", subject ?? "/CN=\(name)",
            ] + (serial.map { ["-set_serial", $0] } ?? []))
        return try authority(key: key, certificate: certificate)
    }

    /// A CA certificate issued by another CA.
    func intermediate(_ name: String, under issuer: Authority, extensions: String = "") throws -> Authority {
        let key = try eccKey()
        let certificate = try issue(
            key: key, subject: "/CN=\(name)", by: issuer,
            extensions: """
                basicConstraints=critical,CA:TRUE
                keyUsage=critical,keyCertSign,cRLSign
                subjectKeyIdentifier=hash
                authorityKeyIdentifier=keyid
                \(extensions)
                """)
        return try authority(key: key, certificate: certificate)
    }

    func authority(key: String, certificate: String) throws -> Authority {
        Authority(key: key, certificate: certificate, serialNumber: try serialNumber(of: certificate))
    }

    // MARK: What a CA issues

    /// The verification certificate for a registration code.
    func verification(code: String, by issuer: Authority, key: String? = nil) throws -> String {
        let request = try self.request(key: try key ?? eccKey(), subject: "/CN=\(code)")
        let certificate = freshPath("crt")
        try openssl(
            "x509", "-req", "-in", request, "-CA", issuer.certificate, "-CAkey", issuer.key, "-CAcreateserial",
            "-CAserial", path("serial"), "-out", certificate, "-days", "300", "-sha512")
        return certificate
    }

    /// A device certificate, as users make them: version 1, no extensions.
    func device(
        _ name: String, by issuer: Authority, key: String? = nil, serial: String? = nil, extensions: String? = nil,
        days: Int = 300
    ) throws -> String {
        try issue(
            key: try key ?? eccKey(), subject: "/CN=\(name)", by: issuer, serial: serial, extensions: extensions,
            days: days)
    }

    /// A certificate for a key by a CA.
    ///
    /// - Parameter extensions: lines of an openssl configuration; version 1 where they are left out.
    func issue(
        key: String, subject: String, by issuer: Authority, serial: String? = nil, extensions: String? = nil,
        days: Int = 300
    ) throws -> String {
        let request = try self.request(key: key, subject: subject)
        let certificate = freshPath("crt")
        var arguments = [
            "x509", "-req", "-in", request, "-CA", issuer.certificate, "-CAkey", issuer.key, "-out", certificate,
            "-days", "\(days)", "-sha256",
        ]
        if let serial {
            arguments += ["-set_serial", serial]
        } else {
            arguments += ["-CAcreateserial", "-CAserial", path("serial")]
        }
        if let extensions { arguments += ["-extfile", try write(extensions, suffix: "cnf")] }
        try openssl(arguments)
        return certificate
    }

    /// A certificate of a period that is chosen: `openssl ca` alone takes both ends, as `YYYYMMDDHHMMSSZ`.
    ///
    /// - Parameter issuer: nil for a self-signed one.
    func issue(
        key: String, subject: String, by issuer: Authority?, from start: String, to end: String, extensions: String
    ) throws -> String {
        let request = try self.request(key: key, subject: subject)
        let certificate = freshPath("crt")
        let database = try write("")
        let configuration = try write(
            """
            [ca]
            default_ca = this
            [this]
            database = \(database)
            new_certs_dir = \(folder)
            rand_serial = yes
            default_md = sha256
            policy = anything
            email_in_dn = no
            unique_subject = no
            [anything]
            commonName = supplied
            [extensions]
            \(extensions)
            """, suffix: "cnf")
        var arguments = [
            "ca", "-batch", "-notext", "-config", configuration, "-extensions", "extensions", "-in", request,
            "-out", certificate, "-startdate", start, "-enddate", end,
        ]
        if let issuer {
            arguments += ["-cert", issuer.certificate, "-keyfile", issuer.key]
        } else {
            arguments += ["-selfsign", "-keyfile", key]
        }
        try openssl(arguments)
        return certificate
    }

    private func request(key: String, subject: String) throws -> String {
        let file = freshPath("csr")
        try openssl("req", "-new", "-key", key, "-out", file, "-utf8", "-subj", subject)
        return file
    }

    // MARK: Files

    /// The DER of a PEM certificate, as openssl converts it.
    func der(of certificate: String) throws -> Data {
        let file = freshPath("der")
        try openssl("x509", "-in", certificate, "-outform", "der", "-out", file)
        return try read(file)
    }

    func serialNumber(of certificate: String) throws -> String {
        // openssl breaks long numbers over several lines, each with a backslash at its end.
        let line = try openssl("x509", "-in", certificate, "-noout", "-serial").text
        var digits = line.dropFirst("serial=".count).lowercased().filter { $0.isHexDigit || $0 == "-" }
        let sign = digits.hasPrefix("-") ? String(digits.removeFirst()) : ""
        if digits.count % 2 == 1 { digits = "0" + digits }
        return sign + digits
    }
}

extension Daemon {
    func createInstance(_ id: String, edition: String = "professional") throws {
        try json("instance", "create", id, "--edition", edition)
    }

    func issueCode(_ instance: String, _ options: String...) throws -> String {
        let issued = try json(["code", "issue", instance] + options)
        return try #require(issued["code"]?.text, "no code: \(issued)")
    }

    /// The first characters of the codes that are open.
    func openCodes(_ instance: String) throws -> [String] {
        try (json("code", "list", instance)["registrationCodes"]?.elements ?? []).compactMap { $0["code"]?.text }
    }

    /// Registers a CA certificate the whole way: code, verification certificate, registration.
    @discardableResult
    func register(
        _ authority: Authority, with instance: String, from shop: CertificateShop, _ options: String...
    ) throws -> JSONValue {
        let verification = try shop.verification(code: try issueCode(instance), by: authority)
        return try json(
            [
                "ca", "register", "--instance", instance, "--ca", authority.certificate,
                "--verification", verification,
            ] + options)
    }
}
