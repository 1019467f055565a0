internal import Certificates
internal import Foundation
internal import Registry
internal import RegistryStore
internal import Signatures

/// A temporary folder with certificates that the openssl program made, and registries that hold them.
final class Workshop {
    enum KeyKind: String {
        case rsa
        case p256
    }

    struct Authority {
        var key: String
        var certificate: String
    }

    let folder: String
    private var counter = 0

    init() throws {
        var template = Array("/tmp/caregbench-XXXXXX".utf8CString)
        guard unsafe mkdtemp(&template) != nil else { throw BenchFailure("no temporary folder: errno \(errno)") }
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    func cleanUp() { try? FileManager.default.removeItem(atPath: folder) }

    func path(_ ending: String) -> String {
        counter += 1
        return "\(folder)/\(counter).\(ending)"
    }

    @discardableResult
    func run(_ program: String, _ arguments: [String]) throws -> Data {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [program] + arguments
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw BenchFailure("\(program) \(arguments.joined(separator: " ")) ended with \(process.terminationStatus)")
        }
        return data
    }

    func key(_ kind: KeyKind) throws -> String {
        let file = path("key")
        switch kind {
        case .rsa: try run("openssl", ["genrsa", "-out", file, "2048"])
        case .p256: try run("openssl", ["ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out", file])
        }
        return file
    }

    func authority(_ kind: KeyKind, name: String) throws -> Authority {
        let key = try key(kind)
        let certificate = path("crt")
        try run(
            "openssl",
            [
                "req", "-new", "-x509", "-days", "3650", "-config", "/etc/ssl/openssl.cnf", "-extensions", "v3_ca",
                "-key", key, "-out", certificate, "-subj", "/O=caregbench/CN=\(name)",
            ])
        return Authority(key: key, certificate: certificate)
    }

    /// The DER of a certificate of about 900 bytes, as a device's usually is.
    func device(_ name: String, by authority: Authority, serial: String? = nil) throws -> [UInt8] {
        let request = path("csr")
        let extensions = path("ext")
        let certificate = path("der")
        let padding = (0..<10).map { "DNS:\(name)-interface-\($0).fleet.plant.example" }.joined(separator: ",")
        try """
        basicConstraints=CA:FALSE
        keyUsage=digitalSignature
        extendedKeyUsage=clientAuth
        subjectAltName=\(padding)
        """.write(toFile: extensions, atomically: true, encoding: .utf8)
        try run(
            "openssl",
            ["req", "-new", "-key", try key(.p256), "-subj", "/O=caregbench/OU=fleet/CN=\(name)", "-out", request])
        try run(
            "openssl",
            [
                "x509", "-req", "-in", request, "-CA", authority.certificate, "-CAkey", authority.key, "-set_serial",
                serial ?? "0x\(String(UInt64.random(in: .min ... .max) | 1 << 62, radix: 16))", "-days", "300",
                "-sha256",
                "-extfile", extensions, "-outform", "DER", "-out", certificate,
            ])
        return Array(try Data(contentsOf: URL(fileURLWithPath: certificate)))
    }

    func proof(code: String, by authority: Authority) throws -> [UInt8] {
        let request = path("csr")
        let certificate = path("crt")
        try run("openssl", ["req", "-new", "-key", try key(.p256), "-subj", "/CN=\(code)", "-out", request])
        try run(
            "openssl",
            [
                "x509", "-req", "-in", request, "-CA", authority.certificate, "-CAkey", authority.key, "-set_serial",
                "7", "-days", "300", "-sha256", "-out", certificate,
            ])
        return Array(try Data(contentsOf: URL(fileURLWithPath: certificate)))
    }

    func bytes(of file: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: file))) }

    /// A registry in this process, with the instance `bench`.
    func registry() throws -> BenchRegistry { try BenchRegistry(path: path("mdb"), workshop: self) }

    /// A program beside this one.
    static func program(_ name: String) -> String {
        let own =
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        return URL(fileURLWithPath: own).deletingLastPathComponent().appendingPathComponent(name).path
    }
}

/// A registry in this process: what the daemon holds, without the wire.
final class BenchRegistry {
    static let instance = "bench"
    static let caller = Caller(userID: 0, groupID: 0, processID: 1)

    let store: Store
    let registry: Registry
    private let workshop: Workshop

    private static let historyID = String(repeating: "0", count: 32)

    convenience init(path: String, workshop: Workshop) throws {
        let identity = Store.Identity(region: "bench", historyID: Self.historyID)
        try self.init(try Store(path: path, creating: identity), workshop)
    }

    /// In a state folder, for a daemon to go on with.
    convenience init(in state: StateFolder, workshop: Workshop) throws {
        let store = try state.openRegistry(
            region: nil, newHistoryID: { Self.historyID }, isSound: { _ in true })
        try self.init(store, workshop)
    }

    private init(_ store: Store, _ workshop: Workshop) throws {
        self.workshop = workshop
        self.store = store
        registry = try Registry(
            store: store, limits: RegistryLimits(),
            clock: { WallTime(milliseconds: Int64(Date().timeIntervalSince1970 * 1_000)) },
            randomBytes: { try SystemRandom.bytes($0) }, onFatal: { fault in preconditionFailure("\(fault)") })
        _ = try wait {
            registry.createInstance(id: Self.instance, edition: .platinum, caller: Self.caller, completion: $0)
        }
    }

    /// Waits for a command's answer.
    func wait<Value: Sendable>(
        _ submit: (@escaping @Sendable (Result<Value, any Error>) -> Void) -> Void
    ) throws -> Value {
        let outcome = Outcome<Value>()
        submit { outcome.set($0) }
        return try outcome.wait()
    }

    @discardableResult
    func register(_ authority: Workshop.Authority) throws -> CaRecord {
        let code: CodeView = try wait {
            registry.issueCode(instanceID: Self.instance, lifetime: nil, caller: Self.caller, completion: $0)
        }
        let upload = CaUpload(
            instanceID: Self.instance, caCertificate: try workshop.bytes(of: authority.certificate),
            verificationCertificate: try workshop.proof(code: code.text, by: authority), name: "",
            deviceRegistration: .automatic)
        let view: CaView = try wait {
            registry.registerCa(upload, signatures: SignatureVerifier(), caller: Self.caller, completion: $0)
        }
        return view.record
    }

    func verify(_ chain: [[UInt8]], tools: VerificationTools, isDryRun: Bool) throws -> Verdict {
        let question = VerifyQuestion(
            instanceID: Self.instance, chain: chain, isDryRun: isDryRun, at: nil, hearsOf: [])
        return try wait {
            registry.verify(question, tools: tools, caller: Self.caller, completion: $0)
        }
    }
}

extension BenchRegistry {
    /// How long it takes to find a device's record by its SN, each in a snapshot of its own: the mean over all of `serials`.
    func microsecondsPerShow(of serials: [SerialNumber], under ca: CaRecord) throws -> Double {
        let selectors = serials.map { DeviceSelector(ca: ca.serialNumber, serialNumber: $0, fingerprint: nil) }
        return try nanosecondsPerCall(selectors.count) { index in
            _ = try registry.read { try $0.requireDevice(selectors[index]) }
        } / 1_000
    }
}
