import Foundation
import Glibc

/// One frame of the ttrpc protocol.
struct WireFrame: Equatable {
    static let request: UInt8 = 1
    static let response: UInt8 = 2
    static let data: UInt8 = 3

    var stream: UInt32
    var type: UInt8
    var flags: UInt8
    var body: [UInt8]
}

/// A Response of the ttrpc protocol, taken apart.
struct WireResponse {
    let code: Int
    let message: String
    let reason: String?
    let domain: String?
    let metadata: [String: String]
    let payload: ProtobufMessage

    init(_ frame: WireFrame) throws {
        guard frame.type == WireFrame.response else { throw TestFailure("no response: \(frame)") }
        let response = try ProtobufMessage(frame.body)
        let status = try response.message(1)
        code = Int(status.integer(1))
        message = status.text(2)
        var errorInfo: ProtobufMessage?
        for detail in try status.messages(3) where detail.text(1) == "type.googleapis.com/google.rpc.ErrorInfo" {
            errorInfo = try detail.message(2)
        }
        reason = errorInfo?.text(1)
        domain = errorInfo?.text(2)
        var entries: [String: String] = [:]
        for entry in try errorInfo?.messages(3) ?? [] { entries[entry.text(1)] = entry.text(2) }
        metadata = entries
        payload = try response.message(2)
    }
}

/// A client that writes frames byte by byte, right and wrong ones.
final class WireClient {
    static let registry = "careg.v1.RegistryService"
    static let verifier = "careg.v1.VerifierService"
    static let admin = "careg.v1.AdminService"

    private let descriptor: Int32
    private var nextStream: UInt32 = 1

    init(path: String) throws {
        guard let descriptor = Self.connect(path: path) else { throw TestFailure("\(path) does not accept") }
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    static func accepts(path: String) -> Bool {
        guard let descriptor = connect(path: path) else { return false }
        close(descriptor)
        return true
    }

    private static func connect(path: String) -> Int32? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { target in
            unsafe target.copyBytes(from: bytes.prefix(target.count - 1))
        }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                unsafe Glibc.connect(descriptor, generic, size)
            }
        }
        guard result == 0 else {
            close(descriptor)
            return nil
        }
        return descriptor
    }

    func takeStream() -> UInt32 {
        defer { nextStream += 2 }
        return nextStream
    }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe Glibc.send(
                    descriptor, buffer.baseAddress.map { unsafe $0 + sent }, buffer.count - sent,
                    Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw TestFailure("send: errno \(errno)") }
            sent += count
        }
    }

    func send(_ frame: WireFrame) throws {
        let length = UInt32(frame.body.count)
        try send(Self.bigEndian(length) + Self.bigEndian(frame.stream) + [frame.type, frame.flags] + frame.body)
    }

    /// Sends a Request frame and gives its stream id.
    @discardableResult
    func sendRequest(
        _ service: String, _ method: String, _ payload: ProtobufMessage.Builder = .init(), flags: UInt8 = 0,
        stream: UInt32? = nil, timeoutNanoseconds: UInt64 = 0
    ) throws -> UInt32 {
        let stream = stream ?? takeStream()
        let request = ProtobufMessage.Builder().text(1, service).text(2, method).bytes(3, payload.encoded)
            .integer(4, timeoutNanoseconds)
        try send(WireFrame(stream: stream, type: WireFrame.request, flags: flags, body: request.encoded))
        return stream
    }

    /// Half-closes the connection: nothing more will be sent.
    func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// The next frame; nil at the end of the connection.
    func receive(seconds: Int = 20) throws -> WireFrame? {
        let deadline = Date(timeIntervalSinceNow: Double(isSanitized ? 10 * seconds : seconds))
        guard let header = try read(10, until: deadline) else { return nil }
        let length = header[..<4].reduce(0) { $0 << 8 | Int($1) }
        let stream = header[4..<8].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        guard let body = try read(length, until: deadline) else { throw TestFailure("a frame ends early") }
        return WireFrame(stream: stream, type: header[8], flags: header[9], body: body)
    }

    /// The next frame where there must be one.
    func frame(seconds: Int = 20) throws -> WireFrame {
        guard let frame = try receive(seconds: seconds) else { throw TestFailure("the connection was closed") }
        return frame
    }

    /// Whether a frame or the end of the connection is there within the time.
    func hasInput(milliseconds: Int32) -> Bool {
        var polled = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&polled, 1, milliseconds) > 0
    }

    /// A unary call from its Request to its Response.
    func call(
        _ service: String, _ method: String, _ payload: ProtobufMessage.Builder = .init(), flags: UInt8 = 0
    ) throws -> WireResponse {
        let stream = try sendRequest(service, method, payload, flags: flags)
        let answer = try frame()
        guard answer.stream == stream else { throw TestFailure("an answer for stream \(answer.stream): \(answer)") }
        return try WireResponse(answer)
    }

    private func read(_ count: Int, until deadline: Date) throws -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var filled = 0
        while filled < count {
            let left = deadline.timeIntervalSinceNow
            guard left > 0, hasInput(milliseconds: Int32(left * 1000) + 1) else {
                throw TestFailure("no frame in time")
            }
            let read = unsafe bytes.withUnsafeMutableBytes { buffer in
                unsafe Glibc.recv(descriptor, buffer.baseAddress.map { unsafe $0 + filled }, count - filled, 0)
            }
            if read == 0, filled == 0 { return nil }
            guard read > 0 else { throw TestFailure("recv: errno \(errno), after \(filled) of \(count) bytes") }
            filled += read
        }
        return bytes
    }

    private static func bigEndian(_ value: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
    }
}
