import Foundation
import Glibc
import Synchronization

/// A Verify that a peer of the library has sent.
struct SeenQuestion: Sendable, Equatable {
    var service = ""
    var method = ""
    var timeout: UInt64 = 0
    var instance = ""
    var chain: [[UInt8]] = []
    var stream: UInt32 = 0
}

/// What stands at broker.sock in these tests: it answers as it is told.
final class FakeDaemon: Sendable {
    enum Reply: Sendable {
        /// A Response frame with this data on the question's stream.
        case response([UInt8])
        /// These bytes, as they are.
        case raw([UInt8])
        /// Nothing, and the connection stays open.
        case silence
        /// The end of the connection.
        case end
    }

    private struct State {
        var questions: [SeenQuestion] = []
        var connections: [Int32] = []
        var accepted = 0
        var isOver = false
    }

    private let listener: Int32
    private let path: String
    private let state = Mutex(State())
    private let answer: @Sendable (SeenQuestion, Int) -> Reply

    /// - Parameter answer: of a question and its number, from 0.
    init(_ place: Place, answer: @escaping @Sendable (SeenQuestion, Int) -> Reply) throws {
        path = place.path("broker.sock")
        self.answer = answer
        unsafe unlink(path)
        listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe bind(listener, $0, size) }
        }
        guard result == 0, listen(listener, 128) == 0 else { throw TestFailure("bind: errno \(errno)") }
        let thread = Thread { [self] in accept() }
        thread.start()
    }

    var questions: [SeenQuestion] { state.withLock { $0.questions } }
    var connectionCount: Int { state.withLock { $0.accepted } }

    /// Nobody listens any more, and connections end: as when a daemon was killed.
    func stop() {
        unsafe unlink(path)
        let connections = state.withLock { state in
            state.isOver = true
            defer { state.connections = [] }
            return state.connections
        }
        shutdown(listener, Int32(SHUT_RDWR))
        for connection in connections { shutdown(connection, Int32(SHUT_RDWR)) }
    }

    private func accept() {
        while true {
            let connection = Glibc.accept(listener, nil, nil)
            let isOver = state.withLock { state in
                if connection >= 0, !state.isOver {
                    state.connections.append(connection)
                    state.accepted += 1
                }
                return state.isOver
            }
            if connection < 0 || isOver {
                if connection >= 0 { close(connection) }
                close(listener)
                return
            }
            let thread = Thread { [self] in
                serve(connection)
                state.withLock { state in state.connections.removeAll { $0 == connection } }
                close(connection)
            }
            thread.start()
        }
    }

    private func serve(_ connection: Int32) {
        while let head = read(connection, 10) {
            let length = head[..<4].reduce(0) { $0 << 8 | Int($1) }
            let stream = head[4..<8].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            guard head[8] == 1, let body = read(connection, length) else { return }
            let question = parse(body, stream: stream)
            let number = state.withLock { state in
                state.questions.append(question)
                return state.questions.count - 1
            }
            switch answer(question, number) {
            case .response(let data): write(connection, frame(data, stream: stream))
            case .raw(let bytes): write(connection, bytes)
            case .silence: continue
            case .end: return
            }
        }
    }

    private func read(_ connection: Int32, _ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var filled = 0
        while filled < count {
            let read = unsafe bytes.withUnsafeMutableBytes { buffer in
                unsafe recv(connection, buffer.baseAddress.map { unsafe $0 + filled }, count - filled, 0)
            }
            guard read > 0 else { return nil }
            filled += read
        }
        return bytes
    }

    private func write(_ connection: Int32, _ bytes: [UInt8]) {
        var sent = 0
        while sent < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe send(
                    connection, buffer.baseAddress.map { unsafe $0 + sent }, buffer.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            sent += count
        }
    }

    private func parse(_ body: [UInt8], stream: UInt32) -> SeenQuestion {
        var question = SeenQuestion()
        question.stream = stream
        for (number, value) in Protobuf.fields(body) {
            switch (number, value) {
            case (1, .bytes(let bytes)): question.service = String(decoding: bytes, as: UTF8.self)
            case (2, .bytes(let bytes)): question.method = String(decoding: bytes, as: UTF8.self)
            case (4, .number(let number)): question.timeout = number
            case (3, .bytes(let payload)):
                for (number, value) in Protobuf.fields(payload) {
                    guard case .bytes(let bytes) = value else { continue }
                    if number == 1 { question.instance = String(decoding: bytes, as: UTF8.self) }
                    if number == 2 { question.chain.append(bytes) }
                }
            default: break
            }
        }
        return question
    }
}

func frame(_ data: [UInt8], stream: UInt32, type: UInt8 = 2) -> [UInt8] {
    bigEndian(UInt32(data.count)) + bigEndian(stream) + [type, 0] + data
}

private func bigEndian(_ value: UInt32) -> [UInt8] {
    [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
}

/// Protobuf written a second time, as plainly as can be: what the library's own is compared with.
enum Protobuf {
    enum Value: Equatable {
        case number(UInt64)
        case bytes([UInt8])
    }

    static func varint(_ value: UInt64) -> [UInt8] {
        value < 0x80 ? [UInt8(value)] : [UInt8(value & 0x7f) | 0x80] + varint(value >> 7)
    }

    static func field(_ number: UInt64, _ value: UInt64) -> [UInt8] { varint(number << 3) + varint(value) }

    static func field(_ number: UInt64, _ bytes: [UInt8]) -> [UInt8] {
        varint(number << 3 | 2) + varint(UInt64(bytes.count)) + bytes
    }

    static func fields(_ bytes: [UInt8]) -> [(UInt64, Value)] {
        var fields: [(UInt64, Value)] = []
        var rest = bytes[...]
        func next() -> UInt64 {
            var value: UInt64 = 0
            var shift: UInt64 = 0
            while let byte = rest.popFirst() {
                value |= UInt64(byte & 0x7f) << shift
                shift += 7
                if byte < 0x80 { break }
            }
            return value
        }
        while !rest.isEmpty {
            let key = next()
            if key & 7 == 0 {
                fields.append((key >> 3, .number(next())))
            } else {
                let count = Int(next())
                fields.append((key >> 3, .bytes(Array(rest.prefix(count)))))
                rest = rest.dropFirst(count)
            }
        }
        return fields
    }

    /// A Response to Verify.
    static func verdict(
        trusted: Bool? = nil, reason: UInt64, serial: String = "", validUntil: UInt64? = nil, revision: UInt64 = 0
    ) -> [UInt8] {
        var verdict: [UInt8] = []
        if trusted ?? (reason == 1) { verdict += field(1, 1) }
        verdict += field(2, reason)
        if !serial.isEmpty { verdict += field(3, Array(serial.utf8)) }
        verdict += field(4, Array("0102".utf8)) + field(5, Array(repeating: 0x61, count: 64))
        if let validUntil { verdict += field(6, field(1, validUntil)) }
        if revision != 0 { verdict += field(7, revision) }
        verdict += field(9, Array("some detail".utf8))
        return field(2, field(1, verdict))
    }

    /// A Response that fails.
    static func failure(_ code: UInt64) -> [UInt8] { field(1, field(1, code) + field(2, Array("no".utf8))) }
}
