import Certificates
import Foundation
import Registry
import RegistryStore
import Signatures
import Synchronization
import TestPKI
import Testing

/// A registry on a data file of its own, with a clock and a generator that the test sets.
///
/// Commands are handed in and the writer is flushed: no test waits for a clock.
final class Bench {
    static let caller = Caller(userID: 1_001, groupID: 1_002, processID: 1_003)

    let folder: String
    let limits: RegistryLimits
    let mirrors: [any Mirror]
    let clock: TestClock
    /// Faults that would have ended the process.
    let fatal = Collected<StoreFault>()
    let commits = Collected<Revision>()
    private(set) var dataFile: String
    private(set) var store: Store
    private(set) var registry: Registry
    /// One for all, as a thread of the daemon has: what it keeps must be what stands.
    let tools = VerificationTools()
    private var copies = 0
    private let random: TestRandom

    init(
        limits: RegistryLimits = RegistryLimits(), mirrors: [any Mirror] = [], seed: UInt64 = 1,
        now: Int64 = TestTime.now
    ) throws {
        var template = Array("/tmp/careg-registry-XXXXXX".utf8CString)
        try #require(unsafe mkdtemp(&template) != nil)
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        self.limits = limits
        self.mirrors = mirrors
        clock = TestClock(now)
        random = TestRandom(seed: seed)
        dataFile = folder + "/registry.mdb"
        store = try Store(path: dataFile, creating: .init(region: "test", historyID: String(repeating: "a", count: 32)))
        registry = try Self.registry(store, limits, mirrors, clock, random, fatal, commits)
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    private static func registry(
        _ store: Store, _ limits: RegistryLimits, _ mirrors: [any Mirror], _ clock: TestClock, _ random: TestRandom,
        _ fatal: Collected<StoreFault>, _ commits: Collected<Revision>
    ) throws -> Registry {
        try Registry(
            store: store, limits: limits, clock: { clock.now }, randomBytes: { random.bytes($0) }, mirrors: mirrors,
            onCommit: { commits.append($0) }, onFatal: { fatal.append($0) })
    }

    /// Opens the registry again, on a copy of the data file: what is not in the file is lost, as it is in a crash. The old
    /// one stays open beside it, so that nothing of an orderly end can help.
    func crashAndReopen() throws {
        copies += 1
        let copy = folder + "/registry-\(copies).mdb"
        try registry.writer.betweenCommits { try FileManager.default.copyItem(atPath: dataFile, toPath: copy) }
        try open(copy)
    }

    /// Opens another data file from now on.
    func open(_ path: String) throws {
        dataFile = path
        store = try Store(path: path, creating: nil)
        registry = try Self.registry(store, limits, mirrors, clock, random, fatal, commits)
    }

    /// A copy of the registry as `caregctl backup` makes it.
    func backup(to name: String) throws -> String {
        let path = "\(folder)/\(name)"
        let file = newFile(path)
        try #require(file >= 0)
        defer { close(file) }
        try store.copy(to: file)
        return path
    }

    // MARK: Calls

    /// Hands a command in, has it committed, and gives its answer.
    func call<Value: Sendable>(
        _ body: (Registry, @escaping @Sendable (Result<Value, any Error>) -> Void) -> Void
    ) throws -> Value {
        let answer = Answer<Value>()
        body(registry) { answer.set($0) }
        registry.writer.flush()
        return try answer.get()
    }

    /// Hands commands in while no commit can come between, so that one commit holds them all.
    func inOneCommit(_ body: (Registry) throws -> Void) rethrows {
        try registry.writer.betweenCommits { try body(registry) }
        registry.writer.flush()
    }

    func revision() throws -> UInt64 { try registry.read { try $0.revision().number } }

    @discardableResult
    func createInstance(_ id: String, _ edition: Edition = .professional) throws -> InstanceView {
        try call { $0.createInstance(id: id, edition: edition, caller: Self.caller, completion: $1) }
    }

    @discardableResult
    func updateInstance(_ id: String, _ edition: Edition) throws -> InstanceView {
        try call { $0.updateInstance(id: id, edition: edition, caller: Self.caller, completion: $1) }
    }

    @discardableResult
    func deleteInstance(_ id: String) throws -> InstanceView {
        try call { $0.deleteInstance(id: id, caller: Self.caller, completion: $1) }
    }

    func issueCode(_ instance: String, seconds: Int64? = nil) throws -> CodeView {
        try call { $0.issueCode(instanceID: instance, lifetime: seconds, caller: Self.caller, completion: $1) }
    }

    @discardableResult
    func revokeCode(_ instance: String, _ prefix: String) throws -> CodeView {
        try call { $0.revokeCode(instanceID: instance, prefix: prefix, caller: Self.caller, completion: $1) }
    }

    func openCodes(_ instance: String) throws -> [CodeView] {
        try registry.codes(of: instance, after: nil, pageSize: 1_000).rows
    }

    /// Registers what stands in an upload, right or wrong.
    @discardableResult
    func register(_ upload: CaUpload) throws -> CaView {
        try call { $0.registerCa(upload, signatures: SignatureVerifier(), caller: Self.caller, completion: $1) }
    }

    /// Registers a CA certificate the whole way: code, verification certificate, registration.
    @discardableResult
    func register(_ authority: Entity, with instance: String, _ mode: DeviceRegistration = .automatic) throws -> CaView
    {
        let code = try issueCode(instance).text
        return try register(upload(authority, instance, code: code, mode))
    }

    func upload(
        _ authority: Entity, _ instance: String, code: String, _ mode: DeviceRegistration = .automatic,
        name: String = ""
    ) -> CaUpload {
        CaUpload(
            instanceID: instance, caCertificate: authority.der,
            verificationCertificate: authority.verification(code).der, name: name, deviceRegistration: mode)
    }

    @discardableResult
    func activate(_ ca: Entity) throws -> CaView {
        try call { $0.activateCa(ca.serialNumber, caller: Self.caller, completion: $1) }
    }

    @discardableResult
    func unregister(_ ca: Entity) throws -> CaView {
        try call { $0.unregisterCa(ca.serialNumber, caller: Self.caller, completion: $1) }
    }

    @discardableResult
    func delete(_ ca: Entity) throws -> CaView {
        try call { $0.deleteCa(ca.serialNumber, caller: Self.caller, completion: $1) }
    }

    @discardableResult
    func update(_ ca: Entity, name: String? = nil, _ mode: DeviceRegistration? = nil) throws -> CaView {
        try call { registry, completion in
            registry.updateCa(
                ca.serialNumber, name: name, deviceRegistration: mode, caller: Self.caller, completion: completion)
        }
    }

    func ca(_ ca: Entity) throws -> CaView {
        try registry.ca(ca.serialNumber, signatures: SignatureVerifier()).view
    }

    @discardableResult
    func registerDevice(_ device: Entity, _ chain: Entity..., with instance: String) throws -> DeviceView {
        let upload = DeviceUpload(instanceID: instance, certificate: device.der, chain: chain.map(\.der))
        return try call {
            $0.registerDevice(upload, tools: tools, caller: Self.caller, completion: $1)
        }
    }

    @discardableResult
    func activateDevice(_ device: Entity, under ca: Entity) throws -> DeviceView {
        let selector = DeviceSelector(ca: ca.serialNumber, serialNumber: device.serialNumber, fingerprint: nil)
        return try call { $0.activateDevice(selector, caller: Self.caller, completion: $1) }
    }

    @discardableResult
    func deactivateDevice(_ device: Entity, under ca: Entity) throws -> DeviceView {
        let selector = DeviceSelector(ca: ca.serialNumber, serialNumber: device.serialNumber, fingerprint: nil)
        return try call { $0.deactivateDevice(selector, caller: Self.caller, completion: $1) }
    }

    @discardableResult
    func deleteDevice(_ device: Entity, under ca: Entity, fingerprint: SHA256Digest? = nil) throws -> DeviceView {
        let selector = DeviceSelector(ca: ca.serialNumber, serialNumber: device.serialNumber, fingerprint: fingerprint)
        return try call { $0.deleteDevice(selector, caller: Self.caller, completion: $1) }
    }

    func devices(under ca: Entity) throws -> [DeviceView] {
        try registry.devices(of: ca.serialNumber, DeviceFilter(), after: nil, pageSize: 1_000).rows
    }

    func verify(
        _ chain: Entity..., with instance: String, dryRun: Bool = false, at: Int64? = nil,
        tools: VerificationTools? = nil
    ) throws -> Verdict {
        let question = VerifyQuestion(
            instanceID: instance, chain: chain.map(\.der), isDryRun: dryRun,
            at: at.map { Instant(secondsSince1970: $0) }, hearsOf: nil)
        return try call {
            $0.verify(question, tools: tools ?? self.tools, caller: Self.caller, completion: $1)
        }
    }

    /// Every entry of the change log.
    func log() throws -> [ChangeRecord] {
        var entries: [ChangeRecord] = []
        try registry.read { snapshot in
            try snapshot.changes(after: Revision(0)) {
                entries.append($0)
                return true
            }
        }
        return entries
    }

    /// Expects a refusal that leaves everything as it was.
    @discardableResult
    func refused<Value>(
        _ reason: RefusalReason, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Value
    ) throws -> Refusal {
        let before = try revision()
        let refusal = try #require(throws: Refusal.self, sourceLocation: sourceLocation) { _ = try body() }
        #expect(refusal.reason == reason, "\(refusal.message)", sourceLocation: sourceLocation)
        #expect(try revision() == before, "a refusal makes no revision", sourceLocation: sourceLocation)
        #expect(refusal.message.count > 20, "a sentence that a person can act on", sourceLocation: sourceLocation)
        return refusal
    }

    /// Expects a whole registry.
    func expectSound(sourceLocation: SourceLocation = #_sourceLocation) throws {
        let report = try store.check()
        #expect(report.isSound, "\(report.findings.prefix(5))", sourceLocation: sourceLocation)
        #expect(fatal.all.isEmpty, "\(fatal.all)", sourceLocation: sourceLocation)
    }
}

private func newFile(_ path: String) -> Int32 {
    unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
}

/// A clock that stands until it is moved.
final class TestClock: Sendable {
    private let time: Mutex<WallTime>

    init(_ seconds: Int64) { time = Mutex(WallTime(milliseconds: seconds * 1_000)) }

    var now: WallTime {
        get { time.withLock { $0 } }
        set { time.withLock { $0 = newValue } }
    }

    func advance(milliseconds: Int64) { time.withLock { $0.milliseconds += milliseconds } }

    func advance(seconds: Int64) { advance(milliseconds: seconds * 1_000) }
}

/// Random bytes that follow from a seed.
private final class TestRandom: Sendable {
    private let generator: Mutex<SeededGenerator>

    init(seed: UInt64) { generator = Mutex(SeededGenerator(seed: seed)) }

    func bytes(_ count: Int) -> [UInt8] { generator.withLock { $0.bytes(count) } }
}

/// Where several threads put what they have.
final class Collected<Element: Sendable>: Sendable {
    private let elements = Mutex<[Element]>([])

    func append(_ element: Element) { elements.withLock { $0.append(element) } }

    var all: [Element] { elements.withLock { $0 } }
}

/// The one answer of a command.
final class Answer<Value: Sendable>: Sendable {
    private let result = Mutex<Result<Value, any Error>?>(nil)

    func set(_ answer: Result<Value, any Error>) {
        result.withLock { result in
            if result != nil { Issue.record("a command was answered twice") }
            result = answer
        }
    }

    func get() throws -> Value {
        guard let result = result.withLock({ $0 }) else { throw Unanswered() }
        return try result.get()
    }

    struct Unanswered: Error {}
}

extension Entity {
    var serialNumber: SerialNumber { SerialNumber(derContents: recipe.serial) }

    var fingerprint: SHA256Digest { SHA256Digest(hashing: der) }

    /// A verification certificate as `openssl x509 -req` makes it: version 1, another key's, signed by this CA's key.
    func verification(
        _ code: String, key: TestKey = .p256(950), changing change: Entity.Change = { _ in }
    ) -> Entity {
        issue(TestName(commonName: code), key: key, []) { recipe in
            recipe.makeVersion1()
            change(&recipe)
        }
    }
}

/// A self-signed CA certificate with a number of its own.
func authority(_ number: Int, serial: [UInt8]? = nil, changing change: Entity.Change = { _ in }) -> Entity {
    .root("Root \(number)", key: .p256(number)) { recipe in
        if let serial { recipe.serial = serial }
        change(&recipe)
    }
}
