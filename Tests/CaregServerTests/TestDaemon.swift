import CaregClient
import CaregProto
import Foundation
import Logging
import Registry
import RegistryStore
import SwiftProtobuf
import Synchronization
import TTRPC

@testable import CaregServer

/// The services of a new registry, behind sockets in a folder of its own.
final class TestDaemon: Sendable {
    let folder: URL
    let store: Store
    let registry: Registry
    let services: CaregServices
    let server: Server
    let log = LogRecord()

    init(
        limits: ServiceLimits = ServiceLimits(), access: AccessPolicy = AccessPolicy(),
        sources: StatusSources = StatusSources(),
        knownDevices: (any KnownDevices)? = nil
    ) throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "careg-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let historyID = String(repeating: "0a", count: 16)
        store = try Store(
            path: folder.appending(path: "data").path, creating: Store.Identity(region: "test", historyID: historyID))
        let clock: @Sendable () -> WallTime = {
            WallTime(milliseconds: Int64(Date().timeIntervalSince1970 * 1_000))
        }
        let commits = CommitSignal()
        registry = try Registry(
            store: store, limits: RegistryLimits(), clock: clock, randomBytes: { [UInt8](repeating: 7, count: $0) },
            onCommit: { commits.note($0) }, onFatal: { fatalError("\($0)") })
        let log = log
        let services = try CaregServices(
            registry: registry, commits: commits,
            facts: DaemonFacts(version: "0.0.0", stateFolder: folder.path, runtimeFolder: folder.path),
            registryLimits: RegistryLimits(), limits: limits, access: access, clock: clock,
            log: Logger(label: "test") { _ in LogRecord.Handler(record: log) }, sources: sources,
            knownDevices: knownDevices)
        self.services = services
        server = Server(
            limits: ServerLimits(), methods: services.methods, failure: { services.failure($0) },
            observe: { services.observe($0) })
        services.attach(server)
        try server.start(
            SocketRole.allCases.map { role in
                try Listener.bind(
                    path: Self.path(folder, role), mode: 0o600, label: role.rawValue, usesReserve: role == .admin)
            })
    }

    deinit {
        stop()
    }

    /// Ends it, at the end of a test that holds on to a client only.
    func stop() {
        services.stop()
        server.shutDown(within: .seconds(1))
        try? FileManager.default.removeItem(at: folder)
    }

    private static func path(_ folder: URL, _ role: SocketRole) -> String {
        folder.appending(path: role.rawValue).path
    }

    func client(_ role: SocketRole = .admin) throws -> CaregClient {
        try CaregClient(path: Self.path(folder, role), timeout: .seconds(20))
    }

    /// Makes one change after the other; returns the last revision.
    @discardableResult
    func createInstances(_ ids: String...) throws -> UInt64 {
        let client = try client()
        var revision: UInt64 = 0
        for id in ids {
            revision = try client.createInstance(
                .with {
                    $0.id = id
                    $0.edition = .platinum
                }
            ).instance.revision
        }
        return revision
    }
}

/// What was logged.
final class LogRecord: Sendable {
    private let lines = Mutex<[String]>([])

    var all: [String] { lines.withLock { $0 } }

    struct Handler: LogHandler {
        let record: LogRecord
        var metadata: Logger.Metadata = [:]
        var logLevel: Logger.Level = .trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let pairs = (event.metadata ?? [:]).map { "\($0.key)=\($0.value)" }.sorted().joined(separator: " ")
            record.lines.withLock { $0.append("\(event.level) \(event.message) \(pairs)") }
        }
    }
}

/// Runs a call that blocks beside the test.
final class Beside<Value: Sendable>: Sendable {
    private let result = Mutex<Result<Value, any Error>?>(nil)
    private let isDone = DispatchSemaphore(value: 0)

    init(_ body: @escaping @Sendable () throws -> Value) {
        Thread.detachNewThread {
            let result = Result { try body() }
            self.result.withLock { $0 = result }
            self.isDone.signal()
        }
    }

    func value(seconds: Double = 20) throws -> Value {
        guard isDone.wait(timeout: .now() + seconds) == .success, let result = result.withLock({ $0 }) else {
            throw Late()
        }
        return try result.get()
    }

    struct Late: Error {}
}

/// Things that come one by one.
final class Arrivals<Value: Sendable>: Sendable {
    private let values = Mutex<[Value]>([])
    private let arrived = DispatchSemaphore(value: 0)

    func add(_ value: Value) {
        values.withLock { $0.append(value) }
        arrived.signal()
    }

    func next(seconds: Double = 20) throws -> Value {
        guard arrived.wait(timeout: .now() + seconds) == .success else { throw Beside<Value>.Late() }
        return values.withLock { $0.removeFirst() }
    }
}

/// Waits until a condition holds, which nothing announces; bounded.
func eventually(seconds: Double = 10, _ condition: () throws -> Bool) rethrows -> Bool {
    let limit = ContinuousClock.now.advanced(by: .seconds(seconds))
    let never = DispatchSemaphore(value: 0)
    while try !condition() {
        if ContinuousClock.now > limit { return false }
        _ = never.wait(timeout: .now() + 0.002)
    }
    return true
}
