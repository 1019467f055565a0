internal import CEpoll
internal import Synchronization

/// What became of a message for a server stream.
public enum SendOutcome: Hashable, Sendable {
    /// It is on its way, in order.
    case sent
    /// It was not taken: the peer reads too slowly. Come back when ``ServerCall/onWritable(_:)`` calls.
    case full
    /// The stream is over; so it will stay.
    case over
}

/// One call that a peer made.
///
/// The method's handler gets it on an event-loop thread, and must not block. It answers at once, or later from any
/// thread. What is answered after the call is over is dropped.
public final class ServerCall: Sendable {
    public let peer: PeerCredentials
    /// The label of the ``Listener`` that the peer connected to.
    public let listener: String
    /// The full name of the service.
    public let service: String
    public let method: String
    /// When the peer stops waiting; nil where it did not say.
    public let deadline: ContinuousClock.Instant?
    /// The same on the monotonic clock; 0 where there is none.
    let expiryNanoseconds: Int64
    let stream: UInt32
    let kind: Method.Kind
    /// The method's place in the table.
    let methodIndex: Int
    let connection: Connection
    /// When the whole request was there, on the monotonic clock; 0 where nobody observes.
    let startNanoseconds: Int64

    private enum Phase {
        static let open: UInt8 = 0
        /// The owner has answered.
        static let answered: UInt8 = 1
        /// It ended from outside.
        static let over: UInt8 = 2
    }

    private struct Callbacks {
        var onWritable: (@Sendable () -> Void)?
        var onOver: (@Sendable () -> Void)?
    }

    private let phase = Atomic<UInt8>(Phase.open)
    private let wantsRoom = Atomic<Bool>(false)
    /// Room that is kept for the answer, in bytes.
    private let takenBytes = Atomic<Int>(0)
    private let callbacks = Mutex(Callbacks())
    private let heldPayload: Mutex<[UInt8]>

    init(
        _ request: ConnectionState<ServerCall>.Request, payload: [UInt8], _ method: Method, on connection: Connection,
        startNanoseconds: Int64
    ) {
        heldPayload = Mutex(payload)
        methodIndex = request.method
        peer = connection.peer
        listener = connection.label
        service = method.service
        self.method = method.name
        kind = method.kind
        stream = request.stream
        self.connection = connection
        self.startNanoseconds = startNanoseconds
        if request.timeoutNanoseconds > 0 {
            let timeout = min(request.timeoutNanoseconds, Self.longestTimeout)
            deadline = ContinuousClock.now.advanced(by: .nanoseconds(timeout))
            expiryNanoseconds = cepoll_monotonic_nanoseconds() + timeout
        } else {
            deadline = nil
            expiryNanoseconds = 0
        }
    }

    /// A hundred years: what is longer would overflow a clock.
    static let longestTimeout: Int64 = 100 * 365 * 86_400 * 1_000_000_000

    /// The request's message.
    public var payload: [UInt8] { heldPayload.withLock { $0 } }

    /// The request's message, which the call lets go: it may live for long, and the message is large.
    public func takePayload() -> [UInt8] {
        heldPayload.withLock { payload in
            defer { payload = [] }
            return payload
        }
    }

    /// Time since the whole request was there; zero where nobody observes the server's calls.
    public var age: Duration {
        startNanoseconds == 0 ? .zero : .nanoseconds(cepoll_monotonic_nanoseconds() - startNanoseconds)
    }

    /// The call expired, its connection is gone, or it was answered: an answer would be dropped.
    public var isOver: Bool { phase.load(ordering: .acquiring) != Phase.open }

    /// Answers a unary call. Exactly one answer counts: the first.
    public func respond(_ payload: [UInt8]) {
        guard kind == .unary, markAnswered() else { return }
        connection.loop.deliver(.response(payload), for: self)
    }

    /// Refuses a unary call, or ends a server stream with this status.
    public func fail(_ failure: RPCFailure) {
        guard markAnswered() else { return }
        connection.loop.deliver(.failure(failure), for: self)
    }

    /// Ends a server stream, after all messages that were sent.
    public func finish() {
        guard kind == .serverStream, markAnswered() else { return }
        connection.loop.deliver(.finish, for: self)
    }

    /// Sends a message on a server stream, where there is room. Messages of one sender arrive in order.
    ///
    /// One that fits in no frame ends the stream with ``ProtocolFailure/responseTooLarge(limit:)``.
    public func send(_ payload: [UInt8]) -> SendOutcome {
        guard kind == .serverStream, !isOver else { return .over }
        let server = connection.loop.server
        guard payload.count <= server.limits.frameBytes else {
            fail(server.failure(.responseTooLarge(limit: server.limits.frameBytes)))
            return .over
        }
        if !connection.takeRoom(payload.count) {
            // First say that room is wanted, then look again: room that came in between is not missed.
            wantsRoom.store(true, ordering: .sequentiallyConsistent)
            connection.someoneWantsRoom.store(true, ordering: .sequentiallyConsistent)
            guard connection.takeRoom(payload.count) else { return isOver ? .over : .full }
            wantsRoom.store(false, ordering: .relaxed)
        }
        connection.loop.deliver(.message(payload), for: self)
        return .sent
    }

    /// Sends a message on a server stream as soon as there is room. False when the stream is over.
    ///
    /// Blocks: never call it on an event-loop thread, that is in a handler or a callback.
    public func sendWaiting(_ payload: [UInt8]) -> Bool {
        precondition(!connection.loop.isCurrent, "sendWaiting would block an event loop")
        while true {
            let turn = connection.room.turn
            switch send(payload) {
            case .sent: return true
            case .over: return false
            case .full: connection.room.wait(since: turn)
            }
        }
    }

    /// Whether there is room for a large answer, so that it is worth making now.
    ///
    /// A peer may ask for much more than it reads. Whoever makes large answers of small requests asks this before the
    /// work, and so keeps what nobody has read within ``ServerLimits/unsentBytes``.
    ///
    /// - Parameters:
    ///   - bytes: how large the answer may become.
    ///   - retry: called once, on the event-loop thread, when it is worth to ask again; not at all where the call is
    ///     over by then. Must not block.
    /// - Returns: true: go on, the room is kept until the answer is there. False: `retry` goes on.
    public func takeRoom(forAnswerOf bytes: Int, retry: @escaping @Sendable () -> Void) -> Bool {
        if isOver { return true }
        guard connection.takeAnswerRoom(bytes) else {
            return !connection.loop.awaitRoom(.init(call: self, bytes: bytes, retry: retry))
        }
        takenBytes.add(bytes, ordering: .sequentiallyConsistent)
        // Who ended the call in between may not have seen these bytes.
        if phase.load(ordering: .sequentiallyConsistent) != Phase.open { giveRoomBack() }
        return true
    }

    /// The answer is there, and takes the place of the room that was kept for it: at no time are both counted.
    func exchangeRoom(for bytes: Int) {
        connection.notePosted(bytes - takenBytes.exchange(0, ordering: .sequentiallyConsistent))
    }

    /// The answer needs no room any more, or will not come.
    func giveRoomBack() {
        guard takenBytes.load(ordering: .sequentiallyConsistent) > 0 else { return }
        connection.dropPosted(takenBytes.exchange(0, ordering: .sequentiallyConsistent))
    }

    /// Calls the body, on the event-loop thread, each time there is room again after ``send(_:)`` said `.full`.
    ///
    /// To be said before the first message is sent.
    public func onWritable(_ body: @escaping @Sendable () -> Void) {
        callbacks.withLock { $0.onWritable = body }
    }

    /// Calls the body once if the call ends otherwise than by the owner's own answer: it expired, its connection is
    /// gone, the peer broke the protocol, or the server shuts down. At once where that has been.
    public func onOver(_ body: @escaping @Sendable () -> Void) {
        let isLate = callbacks.withLock { callbacks in
            if phase.load(ordering: .acquiring) == Phase.open {
                callbacks.onOver = body
                return false
            }
            return phase.load(ordering: .acquiring) == Phase.over
        }
        if isLate { body() }
    }

    private func markAnswered() -> Bool {
        guard
            phase.compareExchange(
                expected: Phase.open, desired: Phase.answered, ordering: .sequentiallyConsistent
            ).exchanged
        else { return false }
        release()
        return true
    }

    /// The call ended from outside. On the event-loop thread.
    func markOver() {
        guard
            phase.compareExchange(
                expected: Phase.open, desired: Phase.over, ordering: .sequentiallyConsistent
            ).exchanged
        else { return }
        giveRoomBack()
        release()?()
    }

    /// Drops the callbacks, which hold the owner's objects; wakes a sender that waits.
    @discardableResult private func release() -> (@Sendable () -> Void)? {
        let onOver = callbacks.withLock { callbacks in
            let onOver = callbacks.onOver
            callbacks = Callbacks()
            return onOver
        }
        if kind == .serverStream { connection.room.open() }
        return onOver
    }

    /// There is room on the connection. On the event-loop thread.
    func roomCame() {
        guard wantsRoom.exchange(false, ordering: .sequentiallyConsistent) else { return }
        connection.room.open()
        let body = callbacks.withLock { $0.onWritable }
        body?()
    }
}

/// What a call's owner has to say.
enum Answer: Sendable {
    case response([UInt8])
    case failure(RPCFailure)
    case message([UInt8])
    case finish

    /// The bytes of a stream's message.
    var messageBytes: Int {
        if case .message(let payload) = self { payload.count } else { 0 }
    }
}
