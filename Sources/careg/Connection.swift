internal import CCareg
internal import CCaregSystem

/// How an exchange with the daemon ended.
enum ExchangeOutcome {
    case answered
    /// The daemon said why not, as a return value of careg_verify; the connection is good.
    case refused(CInt)
    /// The connection has ended.
    case broken
    /// No answer came in time.
    case silent
    /// The peer does not speak the protocol.
    case unintelligible
}

/// The memory of one connection: what it sends, and what it receives.
@safe struct ConnectionBuffer {
    /// Heads of a question: 200 bytes, and 6 for each certificate.
    private static var headBytes: Int { 1024 }
    private static var partCount: Int { 1 + 2 * Limits.chain }
    private static var partBytes: Int { unsafe partCount * MemoryLayout<iovec>.stride }
    static var byteCount: Int { headBytes + partBytes + Limits.answerBytes }

    let heads: UnsafeMutableRawBufferPointer
    let parts: UnsafeMutableBufferPointer<iovec>
    let answer: UnsafeMutableRawBufferPointer

    init(_ memory: UnsafeMutableRawPointer) {
        unsafe heads = unsafe UnsafeMutableRawBufferPointer(start: memory, count: Self.headBytes)
        unsafe parts = unsafe UnsafeMutableBufferPointer(
            start: (memory + Self.headBytes).assumingMemoryBound(to: iovec.self), count: Self.partCount)
        unsafe answer = unsafe UnsafeMutableRawBufferPointer(
            start: memory + Self.headBytes + Self.partBytes, count: Limits.answerBytes)
    }
}

/// One connection to broker.sock. Who has taken it, and nobody else, looks at it.
struct Connection: ~Copyable {
    /// Plus 1; 0: closed.
    private var descriptor: CInt = 0
    /// Streams that were begun; ids are odd, and begin anew with a connection.
    private var streams: UInt32 = 0

    private static let responseType: UInt8 = 2
    private static let frameHeadBytes = 10

    var isOpen: Bool { descriptor != 0 }

    mutating func open(_ descriptor: CInt) {
        self.descriptor = descriptor &+ 1
        streams = 0
    }

    /// Says that the descriptor is not this connection's any more, and that nobody has it.
    mutating func forget() {
        descriptor = 0
        streams = 0
    }

    // MARK: Exchange

    /// Sends a question, and waits for its answer.
    mutating func exchange(
        _ question: Question, _ buffer: ConnectionBuffer, deadline: UInt64
    ) -> (ExchangeOutcome, DaemonVerdict) {
        let nothing = DaemonVerdict()
        let now = careg_system_nanoseconds()
        guard now < deadline else { return (.silent, nothing) }
        // Ids are used up after two thousand million questions: a new connection has new ones.
        guard streams < UInt32(Int32.max) else { return (.broken, nothing) }
        let stream = streams &* 2 &+ 1
        streams &+= 1
        let count = question.encode(into: buffer, stream: stream, timeout: deadline &- now)
        if let failure = unsafe send(buffer.parts, count, deadline: deadline) { return (failure, nothing) }
        while true {
            if let failure = unsafe receive(buffer.answer, Self.frameHeadBytes, deadline: deadline) {
                return (failure, nothing)
            }
            let length = unsafe Self.bigEndian(buffer.answer, at: 0)
            let answered = unsafe Self.bigEndian(buffer.answer, at: 4)
            let type = unsafe buffer.answer[8]
            guard length <= Limits.frameBytes else { return (.unintelligible, nothing) }
            let isOurs = answered == stream && type == Self.responseType
            if unsafe !isOurs || Int(length) > buffer.answer.count {
                if let failure = unsafe skip(Int(length), buffer.answer, deadline: deadline) {
                    return (failure, nothing)
                }
                if isOurs { return (.unintelligible, nothing) }
                // A peer that always has another frame ready must not keep the caller.
                guard careg_system_nanoseconds() < deadline else { return (.silent, nothing) }
                continue
            }
            if let failure = unsafe receive(buffer.answer, Int(length), deadline: deadline) {
                return (failure, nothing)
            }
            return unsafe decodeAnswer(UnsafeRawBufferPointer(rebasing: buffer.answer[..<Int(length)]))
        }
    }

    private static func bigEndian(_ bytes: UnsafeMutableRawBufferPointer, at offset: Int) -> UInt32 {
        unsafe UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    /// - Returns: nil when all is sent.
    private func send(
        _ parts: UnsafeMutableBufferPointer<iovec>, _ count: Int, deadline: UInt64
    ) -> ExchangeOutcome? {
        var first = 0
        while first < count {
            let sent = unsafe careg_system_send(
                descriptor &- 1, parts.baseAddress.map { unsafe $0 + first }, count - first)
            if sent < 0 {
                if sent == -Int64(EINTR) { continue }
                guard sent == -Int64(EAGAIN) else { return .broken }
                if let failure = wait(forWriting: true, deadline: deadline) { return failure }
                continue
            }
            var left = Int(sent)
            while first < count, unsafe left >= parts[first].iov_len {
                unsafe left &-= parts[first].iov_len
                first &+= 1
            }
            if first < count, left > 0 {
                unsafe parts[first].iov_base = unsafe parts[first].iov_base.map { unsafe $0 + left }
                unsafe parts[first].iov_len &-= left
            }
        }
        return nil
    }

    /// - Returns: nil when `count` bytes stand at the beginning of the room.
    private func receive(
        _ room: UnsafeMutableRawBufferPointer, _ count: Int, deadline: UInt64
    ) -> ExchangeOutcome? {
        var filled = 0
        while filled < count {
            let read = unsafe careg_system_receive(
                descriptor &- 1, room.baseAddress.map { unsafe $0 + filled }, count - filled)
            if read > 0 {
                filled &+= Int(read)
            } else if read == -Int64(EAGAIN) {
                if let failure = wait(forWriting: false, deadline: deadline) { return failure }
            } else if read != -Int64(EINTR) {
                return .broken
            }
        }
        return nil
    }

    private func skip(_ count: Int, _ room: UnsafeMutableRawBufferPointer, deadline: UInt64) -> ExchangeOutcome? {
        var left = count
        while left > 0 {
            let part = min(left, room.count)
            if let failure = unsafe receive(room, part, deadline: deadline) { return failure }
            left &-= part
        }
        return nil
    }

    private func wait(forWriting: Bool, deadline: UInt64) -> ExchangeOutcome? {
        let now = careg_system_nanoseconds()
        guard now < deadline else { return .silent }
        let result = careg_system_wait(descriptor &- 1, forWriting ? 1 : 0, deadline &- now)
        // Whatever was said, the next call on the connection tells; an interruption is no failure.
        return result < 0 && result != -EINTR ? .broken : nil
    }
}
