internal import CEpoll
internal import Glibc
internal import Synchronization

/// A blocking ttrpc client: one call at a time; a second one waits for the first. `callEach` makes many at once.
///
/// A connection that was lost, or left in the middle of a stream, is made anew by the next call.
public final class Client: Sendable {
    /// How much later than the deadline the server's own answer to it may come.
    private static let grace: Duration = .milliseconds(250)
    private static let frameBytes = 4_194_304
    /// Requests without an answer: more than this would only wait at the server.
    private static let pipelineBytes = 1 << 20

    public let path: String
    private let connection: Mutex<ClientConnection?>

    /// Connects to the socket at the path.
    public init(path: String) throws(ClientError) {
        self.path = path
        connection = Mutex(try ClientConnection(path: path))
    }

    /// Makes a unary call, and returns the answer's payload.
    ///
    /// - Parameters:
    ///   - service: the full name, without a slash.
    ///   - method: its name in the service.
    ///   - payload: the request's message.
    ///   - timeout: is told to the server as well; nil for as long as the connection lives.
    public func call(
        service: String, method: String, payload: [UInt8], timeout: Duration?
    ) throws(ClientError) -> [UInt8] {
        let limit = timeout.map { ContinuousClock.now.advanced(by: $0 + Self.grace) }
        let request = try Self.request(service, method, payload, timeout: timeout)
        return try exchange { connection throws(ClientError) in
            let stream = try connection.send(request, flags: 0, until: limit)
            while true {
                let (header, data) = try connection.receive(until: limit)
                // Others are late answers to calls that were given up.
                guard header.stream == stream else { continue }
                guard header.type == FrameHeader.response else {
                    throw .protocolViolation("the answer to \(method) is a frame of type \(header.type)")
                }
                return try Self.payload(of: data)
            }
        }
    }

    /// What comes next, of many calls.
    public enum Supply<Request> {
        case request(Request)
        /// Nothing yet, without a wait.
        case notYet
        /// Nothing more.
        case end
    }

    /// Makes many unary calls of one method, several of them at once, and returns when all are answered.
    ///
    /// - Parameters:
    ///   - service: its full name.
    ///   - method: of that service, a unary one.
    ///   - outstanding: how many calls wait for their answers at most. All their requests together have 1 MiB at most,
    ///     unless one alone is larger.
    ///   - next: the next request's payload. It is asked as room comes, and whether it may wait for it: while calls are
    ///     under way it may not, so that their answers are taken.
    ///   - onAnswer: takes each answer as it comes, in any order, with the number of its request, from 0 on. False: no
    ///     more is asked for; what is under way is still answered. Neither closure may call this client.
    /// - Throws: ``ClientError`` where an answer will not come, or what the closures throw.
    public func callEach(
        service: String, method: String, outstanding: Int,
        next: (_ mayWait: Bool) throws -> Supply<[UInt8]>,
        onAnswer: (Int, Result<[UInt8], RPCFailure>) throws -> Bool
    ) throws {
        precondition(outstanding > 0, "calls without an answer are needed to get one")
        var thrown: (any Error)?
        try exchange { connection throws(ClientError) in
            var pending: [UInt32: (number: Int, byteCount: Int)] = [:]
            var pendingBytes = 0
            var number = 0
            var wantsMore = true
            while true {
                offers: while wantsMore, connection.isUsable, pending.count < outstanding,
                    pendingBytes < Self.pipelineBytes || pending.isEmpty
                {
                    let supply: Supply<[UInt8]>
                    do {
                        supply = try next(pending.isEmpty)
                    } catch {
                        thrown = error
                        return connection.abandon()
                    }
                    let payload: [UInt8]
                    switch supply {
                    case .request(let next): payload = next
                    case .notYet where pending.isEmpty: continue
                    case .notYet: break offers
                    case .end:
                        wantsMore = false
                        break offers
                    }
                    let request = try Self.request(service, method, payload, timeout: nil)
                    let stream = try connection.send(request, flags: 0, until: nil)
                    pending[stream] = (number, request.count)
                    pendingBytes += request.count
                    number += 1
                }
                if pending.isEmpty {
                    guard wantsMore else { return }
                    throw .connectionLost("the server closed the connection")
                }
                let (header, data) = try connection.receive(until: nil)
                guard let call = pending.removeValue(forKey: header.stream) else { continue }
                pendingBytes -= call.byteCount
                guard header.type == FrameHeader.response else {
                    throw .protocolViolation("the answer to \(method) is a frame of type \(header.type)")
                }
                let answer = try Self.answer(in: data)
                do {
                    if try !onAnswer(call.number, answer) { wantsMore = false }
                } catch {
                    thrown = error
                    return connection.abandon()
                }
            }
        }
        if let thrown { throw thrown }
    }

    /// Makes a server-streaming call, and returns when the stream has ended.
    ///
    /// - Parameters:
    ///   - service: the full name, without a slash.
    ///   - method: its name in the service.
    ///   - payload: the request's message.
    ///   - onMessage: false ends the stream, and so does an error, which is thrown on. It must not call this client.
    /// - Throws: ``ClientError``, or what `onMessage` throws.
    public func stream(
        service: String, method: String, payload: [UInt8], onMessage: ([UInt8]) throws -> Bool
    ) throws {
        let request = try Self.request(service, method, payload, timeout: nil)
        var thrown: (any Error)?
        try exchange { connection throws(ClientError) in
            let stream = try connection.send(request, flags: FrameHeader.remoteClosed, until: nil)
            while true {
                let (header, data) = try connection.receive(until: nil)
                guard header.stream == stream else { continue }
                switch header.type {
                case FrameHeader.response:
                    _ = try Self.payload(of: data)
                    return
                case FrameHeader.data:
                    if header.flags & FrameHeader.noData == 0 {
                        do {
                            guard try onMessage(data) else { return connection.abandon() }
                        } catch {
                            thrown = error
                            return connection.abandon()
                        }
                    }
                    if header.flags & FrameHeader.remoteClosed != 0 { return }
                default: throw .protocolViolation("\(method) answers with a frame of type \(header.type)")
                }
            }
        }
        if let thrown { throw thrown }
    }

    private func exchange<Result: Sendable>(
        _ body: (ClientConnection) throws(ClientError) -> Result
    ) throws(ClientError) -> Result {
        try connection.withLock { held throws(ClientError) in
            let connection: ClientConnection
            if let held, held.isUsable { connection = held } else { connection = try ClientConnection(path: path) }
            held = connection
            do throws(ClientError) {
                let result = try body(connection)
                if !connection.isUsable { held = nil }
                return result
            } catch {
                switch error {
                case .refused, .timedOut: break
                case .connect, .connectionLost, .protocolViolation: held = nil
                }
                throw error
            }
        }
    }

    private static func request(
        _ service: String, _ method: String, _ payload: [UInt8], timeout: Duration?
    ) throws(ClientError) -> [UInt8] {
        var request: [UInt8] = []
        AnswerFrame.appendField(1, Array(service.utf8), to: &request)
        AnswerFrame.appendField(2, Array(method.utf8), to: &request)
        if !payload.isEmpty { AnswerFrame.appendField(3, payload, to: &request) }
        if let timeout {
            // 0 would mean: none.
            request.append(0x20)
            AnswerFrame.appendVarint(UInt64(max(1, timeout.nanoseconds)), to: &request)
        }
        guard request.count <= frameBytes else {
            throw .protocolViolation("a request of \(request.count) bytes fits in no frame (\(frameBytes) at most)")
        }
        return request
    }

    private static func payload(of data: [UInt8]) throws(ClientError) -> [UInt8] {
        switch try answer(in: data) {
        case .success(let payload): return payload
        case .failure(let failure): throw .refused(failure)
        }
    }

    private static func answer(in data: [UInt8]) throws(ClientError) -> Result<[UInt8], RPCFailure> {
        guard let response = try? ResponseEnvelope(data.span) else {
            throw .protocolViolation("a Response does not decode")
        }
        if let failure = response.failure { return .failure(failure) }
        return .success(response.payload)
    }
}

/// The socket of a client. Owner: whoever holds the client's lock.
private final class ClientConnection {
    private static let frameBytes = 4_194_304
    private static let readBytes = 65_536

    private let descriptor: Int32
    private var nextStream: UInt32 = 1
    private var input: [UInt8] = []
    private var inputStart = 0
    /// False when a frame was left half written, or a stream half read.
    private(set) var isUsable = true

    init(path: String) throws(ClientError) {
        let bytes = Array(path.utf8)
        let result = unsafe bytes.withUnsafeBufferPointer {
            unsafe cepoll_socket_connect($0.baseAddress, $0.count)
        }
        guard result >= 0 else { throw .connect(path: path, errno: -result) }
        descriptor = result
    }

    deinit { cepoll_close(descriptor) }

    func abandon() { isUsable = false }

    /// Sends a Request frame; returns its stream id.
    func send(_ request: [UInt8], flags: UInt8, until limit: ContinuousClock.Instant?) throws(ClientError) -> UInt32 {
        let stream = nextStream
        nextStream &+= 2
        var frame: [UInt8] = []
        frame.reserveCapacity(FrameHeader.byteCount + request.count)
        FrameHeader(length: request.count, stream: stream, type: FrameHeader.request, flags: flags).append(to: &frame)
        frame.append(contentsOf: request)
        var sent = 0
        while sent < frame.count {
            let result = unsafe frame.withUnsafeBytes { bytes in
                // Safe: the rest of the array, for the duration of the call.
                let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[sent...])
                return unsafe Int(cepoll_socket_send(descriptor, rest.baseAddress, rest.count))
            }
            switch result {
            case -Int(EAGAIN):
                do throws(ClientError) {
                    // A server that has answers for us may read no more before they are taken.
                    if try !takeInput() { try wait(for: [.reading, .writing], until: limit) }
                } catch {
                    isUsable = false
                    throw error
                }
            case ..<0:
                isUsable = false
                // The server may have said why before it hung up: what it said is read next.
                guard result == -Int(EPIPE) || result == -Int(ECONNRESET) else {
                    throw .connectionLost(errorText(Int32(-result)))
                }
                return stream
            default: sent += result
            }
        }
        return stream
    }

    /// The next frame.
    func receive(until limit: ContinuousClock.Instant?) throws(ClientError) -> (FrameHeader, [UInt8]) {
        while input.count - inputStart < FrameHeader.byteCount { try fill(until: limit) }
        let header = FrameHeader(input.span, at: inputStart)
        guard header.length <= Self.frameBytes else {
            throw .protocolViolation("a frame of \(header.length) bytes, \(Self.frameBytes) at most may be")
        }
        let whole = FrameHeader.byteCount + header.length
        while input.count - inputStart < whole { try fill(until: limit) }
        let data = Array(input[inputStart + FrameHeader.byteCount..<inputStart + whole])
        inputStart += whole
        if inputStart == input.count {
            input.removeAll(keepingCapacity: true)
            inputStart = 0
        }
        return (header, data)
    }

    private func fill(until limit: ContinuousClock.Instant?) throws(ClientError) {
        if try !takeInput() { try wait(for: .reading, until: limit) }
    }

    /// Reads what is there; false where nothing is.
    private func takeInput() throws(ClientError) -> Bool {
        if inputStart > 0 {
            input.removeFirst(inputStart)
            inputStart = 0
        }
        let descriptor = descriptor
        var result = 0
        let received = unsafe [UInt8](unsafeUninitializedCapacity: Self.readBytes) { bytes, count in
            result = unsafe Int(cepoll_socket_receive(descriptor, bytes.baseAddress, bytes.count))
            count = max(0, result)
        }
        switch result {
        case -Int(EAGAIN): return false
        case ..<0: throw .connectionLost(errorText(Int32(-result)))
        case 0: throw .connectionLost("the server closed the connection")
        default:
            input.append(contentsOf: received)
            return true
        }
    }

    /// What a descriptor can be waited for.
    private struct Readiness: OptionSet {
        let rawValue: UInt32
        static let reading = Readiness(rawValue: UInt32(cepoll_readable))
        static let writing = Readiness(rawValue: UInt32(cepoll_writable))
    }

    private func wait(for readiness: Readiness, until limit: ContinuousClock.Instant?) throws(ClientError) {
        var milliseconds: Int32 = -1
        if let limit {
            let left = ContinuousClock.now.duration(to: limit)
            guard left > .zero else { throw .timedOut }
            milliseconds = Int32(min(left.nanoseconds / 1_000_000 + 1, 60_000))
        }
        let result = cepoll_socket_poll(descriptor, readiness.rawValue, milliseconds)
        guard result >= 0 || result == -EINTR else { throw .connectionLost(errorText(-result)) }
    }
}
