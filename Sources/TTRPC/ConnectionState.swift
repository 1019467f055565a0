/// The protocol's side of one server connection: bytes in, actions out. It knows no socket and no clock.
///
/// `Call` is whatever the owner keeps for a call in flight.
struct ConnectionState<Call> {
    /// What the owner has to do next.
    enum Action {
        /// A request that is good. The owner answers it, or calls ``ConnectionState/begin(_:_:)`` and answers it later.
        case call(Request)
        /// An answer on a stream id that has no call in flight.
        case refuse(stream: UInt32, ProtocolFailure)
        /// The call in flight on this stream id ends with this failure; it is no longer in flight.
        case end(stream: UInt32, Call, ProtocolFailure)
        /// The answer, and then the end of the connection: nothing that comes after can be understood.
        case refuseAndClose(stream: UInt32, Call?, ProtocolFailure)
        /// A request needs this many bytes more than ``ConnectionState/allowance``. Raise it, and ask again.
        case reserve(bytes: Int)
        /// As many calls as may be are in flight: ask again when one has ended.
        case wait
        /// All input was taken in.
        case more
    }

    struct Request {
        let stream: UInt32
        /// The index in the method table.
        let method: Int
        /// Where the payload stands: in the frame's data, where that came in parts, else in the input.
        let payloadRange: Range<Int>
        /// The frame's data, where it came in parts.
        let data: [UInt8]?
        /// 0 where there is none; a negative one has expired already.
        let timeoutNanoseconds: Int64
        /// What it counts for in the budget of requests in flight, in bytes.
        let byteCount: Int
        /// Whether the client may still send Data frames on the stream.
        let isOpen: Bool

        /// Gives the payload where it stands.
        ///
        /// - Parameter input: what the request was read from.
        func withPayload<Result>(in input: Span<UInt8>, _ body: (Span<UInt8>) -> Result) -> Result {
            if let data { return body(data.span.extracting(payloadRange)) }
            return body(input.extracting(payloadRange))
        }

        /// A copy of the payload, for whoever keeps it.
        func payload(in input: Span<UInt8>) -> [UInt8] { withPayload(in: input) { $0.bytes(0..<$0.count) } }
    }

    private struct InFlight {
        let call: Call
        let byteCount: Int
        let isStream: Bool
        var isOpen: Bool
    }

    private enum Reading {
        case header
        case request(FrameHeader)
        case skipping(Int)
        case ended
    }

    /// How many bytes the connection may hold: unfinished frames and requests in flight.
    var allowance: Int
    /// How many calls may be in flight.
    var callLimit: Int
    /// How many it holds.
    private(set) var heldBytes = 0
    /// Frames whose header was read: it tells one unfinished frame from the next.
    private(set) var frameCount = 0
    private let limits: ServerLimits
    private let methods: MethodTable
    private var reading = Reading.header
    /// The beginning of a frame whose rest is still to come.
    private var unfinished: [UInt8] = []
    private var inFlight: [UInt32: InFlight] = [:]
    private var streamsInFlight = 0
    /// The method that was called last: most connections call one.
    private var lastMethod: Int?

    init(limits: ServerLimits, methods: MethodTable) {
        self.limits = limits
        self.methods = methods
        allowance = limits.guaranteedBytesPerConnection
        callLimit = limits.requestsPerConnection
    }

    var callCount: Int { inFlight.count }
    var calls: some Collection<Call> { inFlight.values.lazy.map(\.call) }
    func call(on stream: UInt32) -> Call? { inFlight[stream]?.call }

    /// Whether the peer owes the rest of a frame.
    var isInsideFrame: Bool {
        switch reading {
        case .header: !unfinished.isEmpty
        case .request, .skipping: true
        case .ended: false
        }
    }

    /// The call was not answered at once.
    mutating func begin(_ request: Request, _ call: Call) {
        let isStream = methods.methods[request.method].kind == .serverStream
        inFlight[request.stream] = InFlight(
            call: call, byteCount: request.byteCount, isStream: isStream, isOpen: request.isOpen)
        heldBytes += request.byteCount
        if isStream { streamsInFlight += 1 }
    }

    /// The call on the stream has its answer.
    @discardableResult mutating func end(_ stream: UInt32) -> Call? {
        guard let ended = inFlight.removeValue(forKey: stream) else { return nil }
        heldBytes -= ended.byteCount
        if ended.isStream { streamsInFlight -= 1 }
        return ended.call
    }

    /// Takes input from the position on, and moves the position. What is left, the owner hands in again.
    mutating func next(_ input: Span<UInt8>, _ position: inout Int) -> Action {
        while true {
            switch reading {
            case .ended:
                position = input.count
                return .more
            case .skipping(let count):
                let taken = min(count, input.count - position)
                position += taken
                guard taken == count else {
                    reading = .skipping(count - taken)
                    return .more
                }
                reading = .header
            case .request(let header):
                let taken = min(header.length - unfinished.count, input.count - position)
                unfinished.append(contentsOf: input.bytes(position..<position + taken))
                position += taken
                guard unfinished.count == header.length else { return .more }
                let data = unfinished
                unfinished = []
                reading = .header
                heldBytes -= header.length
                return decode(header, data.span, 0..<data.count, data: data)
            case .header:
                guard let action = frame(input, &position) else { continue }
                return action
            }
        }
    }

    /// Reads a header; and the frame behind it, where it is whole. Nil where there is nothing to tell.
    private mutating func frame(_ input: Span<UInt8>, _ position: inout Int) -> Action? {
        let header: FrameHeader
        let start: Int
        if unfinished.isEmpty && input.count - position >= FrameHeader.byteCount {
            header = FrameHeader(input, at: position)
            start = position + FrameHeader.byteCount
        } else {
            let taken = min(FrameHeader.byteCount - unfinished.count, input.count - position)
            unfinished.append(contentsOf: input.bytes(position..<position + taken))
            position += taken
            guard unfinished.count == FrameHeader.byteCount else { return .more }
            header = FrameHeader(unfinished.span, at: 0)
            start = position
        }
        if let action = admit(header) {
            // Only these two leave the frame for another time.
            if case .reserve = action { return action }
            if case .wait = action { return action }
            unfinished = []
            position = start
            frameCount += 1
            return action
        }
        unfinished = []
        position = start
        frameCount += 1
        guard case .header = reading else { return nil }
        if input.count - start >= header.length {
            position = start + header.length
            return decode(header, input, start..<position, data: nil)
        }
        heldBytes += header.length
        unfinished.reserveCapacity(header.length)
        reading = .request(header)
        return nil
    }

    /// What the header alone decides. Nil where the frame is a request to be read, or one to be skipped in silence.
    private mutating func admit(_ header: FrameHeader) -> Action? {
        let stream = header.stream
        guard header.length <= limits.frameBytes else {
            reading = .ended
            return .refuseAndClose(stream: stream, end(stream), .frameTooLarge(limit: limits.frameBytes))
        }
        guard header.type == FrameHeader.request else {
            reading = .skipping(header.length)
            return header.type == FrameHeader.data ? data(header) : nil
        }
        if !inFlight.isEmpty, inFlight[stream] != nil {
            reading = .skipping(header.length)
            return ended(stream, "stream id \(stream) is in flight")
        }
        guard stream % 2 == 1 else {
            reading = .skipping(header.length)
            return .refuse(stream: stream, .streamInvalid("stream id \(stream) is even"))
        }
        guard header.length <= limits.requestBytes else {
            reading = .skipping(header.length)
            return .refuse(stream: stream, .requestTooLarge(limit: limits.requestBytes))
        }
        if inFlight.count >= callLimit {
            // Streams may never end: to wait for one would be to wait for ever.
            guard streamsInFlight == inFlight.count else { return .wait }
            reading = .skipping(header.length)
            return .refuse(stream: stream, .tooManyRequests(limit: callLimit))
        }
        let needed = heldBytes + header.length - allowance
        return needed > 0 ? .reserve(bytes: needed) : nil
    }

    private mutating func data(_ header: FrameHeader) -> Action? {
        let stream = header.stream
        guard let call = inFlight[stream] else {
            return .refuse(stream: stream, .streamInvalid("no call is in flight on stream id \(stream)"))
        }
        // Clients that open a stream for sending close it with an empty Data frame.
        if call.isStream && call.isOpen && header.length == 0 && header.flags & FrameHeader.remoteClosed != 0 {
            inFlight[stream]?.isOpen = false
            return nil
        }
        return ended(stream, "the call on stream id \(stream) takes no data")
    }

    private mutating func ended(_ stream: UInt32, _ why: String) -> Action? {
        end(stream).map { .end(stream: stream, $0, .streamInvalid(why)) }
    }

    private mutating func method(_ service: Span<UInt8>, _ name: Span<UInt8>) -> Int? {
        if let lastMethod, methods.method(lastMethod, is: service, name) { return lastMethod }
        guard let method = methods.index(service: service, name: name) else { return nil }
        lastMethod = method
        return method
    }

    private mutating func decode(
        _ header: FrameHeader, _ bytes: Span<UInt8>, _ range: Range<Int>, data: [UInt8]?
    ) -> Action {
        let stream = header.stream
        guard let envelope = try? RequestEnvelope(bytes, range) else {
            return .refuse(stream: stream, .requestMalformed)
        }
        guard let method = method(bytes.extracting(envelope.service), bytes.extracting(envelope.method)) else {
            guard let service = bytes.text(envelope.service), let name = bytes.text(envelope.method) else {
                return .refuse(stream: stream, .requestMalformed)
            }
            guard methods.knows(service: service) else { return .refuse(stream: stream, .serviceUnknown(service)) }
            return .refuse(stream: stream, .methodUnknown(service: service, method: name))
        }
        let longest = methods.requestBytes(of: method, limits)
        guard header.length <= longest else { return .refuse(stream: stream, .requestTooLarge(limit: longest)) }
        return .call(
            Request(
                stream: stream, method: method, payloadRange: envelope.payload, data: data,
                timeoutNanoseconds: envelope.timeoutNanoseconds, byteCount: header.length,
                isOpen: header.flags & FrameHeader.remoteClosed == 0))
    }
}
