import CEpoll
import Foundation
import TTRPC

/// A frame as it is on the wire.
struct RawFrame: Equatable, CustomStringConvertible {
    var stream: UInt32
    var type: UInt8
    var flags: UInt8 = 0
    var data: [UInt8] = []

    var encoded: [UInt8] {
        let length = UInt32(data.count)
        return [length, stream].flatMap { number in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> $0) } }
            + [type, flags] + data
    }

    /// The status code of a Response; 0 for success.
    var status: Int {
        guard type == 2, data.first == 0x0a else { return type == 2 ? 0 : -1 }
        // Field 1 of a Status is its code, and is always written first.
        let start = data.dropFirst().firstIndex { $0 < 0x80 }.map { $0 + 1 } ?? data.count
        return start + 1 < data.count && data[start] == 0x08 ? Int(data[start + 1]) : -1
    }

    /// The payload of a Response that succeeded.
    var payload: [UInt8]? {
        if data.isEmpty { return [] }
        guard data.first == 0x12, let end = data.dropFirst().firstIndex(where: { $0 < 0x80 }) else { return nil }
        return Array(data[(end + 1)...])
    }

    var description: String {
        "frame(stream \(stream), type \(type), flags \(flags), \(data.count) bytes: \(data.prefix(80)))"
    }
}

func varint(_ value: UInt64) -> [UInt8] {
    var rest = value
    var bytes: [UInt8] = []
    while rest >= 0x80 {
        bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
        rest >>= 7
    }
    return bytes + [UInt8(rest)]
}

func field(_ number: UInt64, _ bytes: [UInt8]) -> [UInt8] {
    varint(number << 3 | 2) + varint(UInt64(bytes.count)) + bytes
}

func requestData(
    _ method: String, _ payload: [UInt8] = [], service: String = "test.Service", timeout: Int64? = nil
) -> [UInt8] {
    field(1, Array(service.utf8)) + field(2, Array(method.utf8)) + (payload.isEmpty ? [] : field(3, payload))
        + (timeout.map { [0x20] + varint(UInt64(bitPattern: $0)) } ?? [])
}

func requestFrame(
    _ stream: UInt32, _ method: String, _ payload: [UInt8] = [], flags: UInt8 = 0, timeout: Int64? = nil
) -> RawFrame {
    RawFrame(stream: stream, type: 1, flags: flags, data: requestData(method, payload, timeout: timeout))
}

struct RawClientError: Error, CustomStringConvertible {
    let description: String
}

/// Raw bytes over a Unix socket, with a bound on every wait.
final class RawClient {
    private let descriptor: Int32
    private var input: [UInt8] = []

    init(_ path: String) throws {
        let bytes = Array(path.utf8)
        descriptor = unsafe bytes.withUnsafeBufferPointer { unsafe cepoll_socket_connect($0.baseAddress, $0.count) }
        guard descriptor >= 0 else { throw RawClientError(description: "connect: errno \(-descriptor)") }
    }

    deinit { cepoll_close(descriptor) }

    func send(_ frames: RawFrame...) throws { try send(bytes: frames.flatMap(\.encoded)) }

    func send(bytes: [UInt8]) throws {
        guard try sendSome(bytes, seconds: 10) == bytes.count else {
            throw RawClientError(description: "the server takes no more")
        }
    }

    /// Sends until the server has taken nothing for a time; returns how much it took.
    func sendSome(_ bytes: [UInt8], seconds: Double) throws -> Int {
        var sent = 0
        while sent < bytes.count {
            let result = unsafe bytes.withUnsafeBytes { bytes in
                let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[sent...])
                return unsafe Int(cepoll_socket_send(descriptor, rest.baseAddress, rest.count))
            }
            if result == -11 {
                if cepoll_socket_poll(descriptor, UInt32(cepoll_writable), Int32(seconds * 1000)) == 0 { return sent }
            } else {
                guard result > 0 else { throw RawClientError(description: "send: errno \(-result)") }
                sent += result
            }
        }
        return sent
    }

    /// Sends what the socket takes at once.
    func sendNow(_ bytes: [UInt8]) throws -> Int { try sendSome(bytes, seconds: 0) }

    func finishSending() { _ = cepoll_socket_finish_sending(descriptor) }

    /// The next frame; nil at the end of the connection.
    func frame(seconds: Double = 10) throws -> RawFrame? {
        while true {
            if input.count >= 10 {
                let length = input[..<4].reduce(0) { $0 << 8 | Int($1) }
                if input.count >= 10 + length {
                    let stream = input[4..<8].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
                    let frame = RawFrame(
                        stream: stream, type: input[8], flags: input[9], data: Array(input[10..<10 + length]))
                    input.removeFirst(10 + length)
                    return frame
                }
            }
            guard try fill(seconds: seconds) else { return nil }
        }
    }

    /// The next frame, which has to be there.
    func answer(seconds: Double = 10) throws -> RawFrame {
        guard let frame = try frame(seconds: seconds) else {
            throw RawClientError(description: "the server closed the connection")
        }
        return frame
    }

    /// Whether something is there, or comes in the time: a frame, or the end of the connection.
    func hasInput(seconds: Double) -> Bool {
        !input.isEmpty || cepoll_socket_poll(descriptor, UInt32(cepoll_readable), Int32(seconds * 1000)) != 0
    }

    /// How much of what was sent the server has not read.
    var unreadByServer: Int { Int(cepoll_socket_unread_by_peer(descriptor)) }

    /// Waits for the end of the connection, whichever way it comes.
    func waitForEnd(seconds: Double = 10) throws {
        do {
            _ = try readToEnd(seconds: seconds)
        } catch let error as RawClientError where error.description.contains("errno 104") {
            // The server had not read everything.
        }
    }

    /// Reads to the end of the connection; returns how much that was.
    func readToEnd(seconds: Double = 10) throws -> Int {
        while try fill(seconds: seconds) {}
        return input.count
    }

    /// Reads once; returns how much that was.
    func readSome(seconds: Double = 10) throws -> Int {
        let before = input.count
        _ = try fill(seconds: seconds)
        return input.count - before
    }

    private func fill(seconds: Double) throws -> Bool {
        guard cepoll_socket_poll(descriptor, UInt32(cepoll_readable), Int32(seconds * 1000)) != 0 else {
            throw RawClientError(description: "nothing came in \(seconds) s")
        }
        var result = 0
        let descriptor = descriptor
        let received = unsafe [UInt8](unsafeUninitializedCapacity: 65_536) { bytes, count in
            result = unsafe Int(cepoll_socket_receive(descriptor, bytes.baseAddress, bytes.count))
            count = max(0, result)
        }
        guard result >= 0 || result == -11 else { throw RawClientError(description: "receive: errno \(-result)") }
        input += received
        return result != 0
    }
}
