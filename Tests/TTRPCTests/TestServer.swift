import Foundation
import Glibc
import TTRPC

/// A server with methods that answer, wait, fail and stream, at a socket in a folder of its own.
final class TestServer: Sendable {
    let server: Server
    let path: String
    let folder: URL
    let calls = CallLog()

    init(
        limits: ServerLimits = ServerLimits(), observe: (@Sendable (CallRecord) -> Void)? = nil,
        extra: [Method] = []
    ) throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "ttrpc-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        path = folder.appending(path: "s").path
        let calls = calls
        server = Server(
            limits: limits, methods: Self.methods(calls) + extra, failure: Self.failure, observe: observe)
        let main = try Listener.bind(path: path, mode: 0o600, label: "main", usesReserve: true)
        let second = try Listener.bind(path: path + "2", mode: 0o600, label: "second", usesReserve: false)
        try server.start([main, second])
    }

    /// Everything that was counted is given back.
    func isAtRest(connections: Int = 0) -> Bool {
        let now = server.statistics
        return now.connections == connections && now.callsInFlight == 0 && now.requestBytes == 0
            && now.unsentBytes == 0
    }

    deinit {
        server.shutDown(within: .zero)
        // The methods have the log, and its calls have the server, which has the methods.
        calls.removeAll()
        try? FileManager.default.removeItem(at: folder)
    }

    private static func methods(_ calls: CallLog) -> [Method] {
        [
            Method(service: "test.Service", name: "Echo", kind: .unary) { $0.respond($0.payload) },
            Method(service: "test.Service", name: "EchoLater", kind: .unary) { call in
                DispatchQueue.global().async { call.respond(call.payload) }
            },
            Method(service: "test.Service", name: "Hold", kind: .unary) { calls.add($0) },
            Method(service: "test.Service", name: "Fail", kind: .unary) { call in
                call.fail(
                    RPCFailure(
                        code: 5, message: "no such thing",
                        details: [.init(typeURL: "type.googleapis.com/test.Info", value: [1, 2, 3])]))
            },
            // As many bytes as the payload's text says.
            Method(service: "test.Service", name: "Large", kind: .unary) { call in
                let count = Int(String(decoding: call.payload, as: UTF8.self)) ?? 0
                call.respond([UInt8](repeating: 0x61, count: count))
            },
            Method(service: "test.Service", name: "Who", kind: .unary) { call in
                call.respond(Array("\(call.listener) \(call.peer.userID) \(call.peer.processID)".utf8))
            },
            // The same, made on another thread, where and when there is room for it.
            Method(service: "test.Service", name: "LargeLater", kind: .unary) { answerWhereThereIsRoom($0) },
            Method(service: "test.Service", name: "HoldShort", kind: .unary, requestBytes: 1000) { calls.add($0) },
            Method(service: "test.Service", name: "Watch", kind: .serverStream) { calls.add($0) },
            Method(service: "test.Service", name: "Count", kind: .serverStream) { call in
                for number in 1...3 { _ = call.send([UInt8(number)]) }
                call.finish()
            },
        ]
    }

    private static func answerWhereThereIsRoom(_ call: ServerCall) {
        let count = Int(String(decoding: call.payload, as: UTF8.self)) ?? 0
        DispatchQueue.global().async {
            guard call.takeRoom(forAnswerOf: count, retry: { answerWhereThereIsRoom(call) }) else { return }
            call.respond([UInt8](repeating: 0x61, count: count))
        }
    }

    static func failure(_ failure: ProtocolFailure) -> RPCFailure {
        let code: Int32 =
            switch failure {
            case .streamInvalid, .requestMalformed: 3
            case .frameTooLarge, .requestTooLarge, .responseTooLarge, .tooManyRequests: 8
            case .serviceUnknown, .methodUnknown: 12
            case .deadlineExceeded: 4
            case .shuttingDown: 14
            }
        return RPCFailure(code: code, message: "\(failure)")
    }
}

/// The calls that were given to a handler and not answered yet.
final class CallLog: Sendable {
    private let calls = Locked<[ServerCall]>([])
    private let arrived = DispatchSemaphore(value: 0)

    func add(_ call: ServerCall) {
        calls.withLock { $0.append(call) }
        arrived.signal()
    }

    func removeAll() { calls.withLock { $0.removeAll() } }

    /// The next call.
    func next(seconds: Double = 10) throws -> ServerCall {
        guard arrived.wait(timeout: .now() + seconds) == .success else {
            throw RawClientError(description: "no call came in \(seconds) s")
        }
        return calls.withLock { $0.removeFirst() }
    }
}

/// A value behind a lock that the thread sanitizer sees.
final class Locked<Value: Sendable>: Sendable {
    private let lock = NSLock()
    nonisolated(unsafe) private var value: Value

    init(_ value: Value) { unsafe self.value = value }

    func withLock<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
        try lock.withLock { try unsafe body(&value) }
    }
}

/// Whether a sanitizer is in this process: it slows down time, and takes a lot of memory.
let isSanitized = unsafe dlsym(nil, "__tsan_init") != nil || dlsym(nil, "__asan_init") != nil

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
