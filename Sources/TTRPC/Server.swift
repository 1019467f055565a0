internal import CEpoll
internal import Synchronization

/// A ttrpc server on Unix sockets.
public final class Server: Sendable {
    /// The limits as they are kept: fewer connections than asked for, where the process may open too few descriptors.
    public let effectiveLimits: ServerLimits
    /// What was lowered, a sentence each.
    public let notices: [String]
    private let core: ServerCore

    /// - Parameters:
    ///   - limits: what peers may take. Where this process can keep less, ``effectiveLimits`` and ``notices`` say so.
    ///   - methods: what is served; each service's full name and method once.
    ///   - failure: says how each refusal of the transport itself reads. Called on event-loop threads.
    ///   - observe: gets each call of a known method when it has ended. Called on event-loop threads.
    public init(
        limits: ServerLimits, methods: [Method],
        failure: @escaping @Sendable (ProtocolFailure) -> RPCFailure,
        observe: (@Sendable (CallRecord) -> Void)? = nil
    ) {
        let descriptors = Int(min(cepoll_descriptor_limit(), UInt64(UInt32.max)))
        (effectiveLimits, notices) = limits.fitted(toDescriptors: descriptors)
        core = ServerCore(
            limits: effectiveLimits, methods: MethodTable(methods), failure: failure, observe: observe)
    }

    /// Serves the sockets, on threads of its own, until ``shutDown(within:)``. Once only.
    public func start(_ listeners: [Listener]) throws(SocketError) {
        try core.start(listeners)
    }

    /// Stops serving, and returns when all connections are closed.
    ///
    /// No new connection is taken; streams end and new requests are refused with ``ProtocolFailure/shuttingDown``;
    /// calls in flight are answered. After the time, what is left is cut off. Not on an event-loop thread.
    public func shutDown(within time: Duration) {
        core.shutDown(within: time)
    }

    public var statistics: ServerStatistics { core.statistics }

    /// Asks every event loop for a sign of life.
    ///
    /// - Parameter answer: called once by each loop when it comes round; not at all by one that hangs.
    /// - Returns: how many loops were asked.
    public func probe(_ answer: @escaping @Sendable () -> Void) -> Int {
        core.probe(answer)
    }
}

/// What the event loops of a server share.
final class ServerCore: Sendable {
    /// How long the loops may take to end after they cut off what was left.
    private static let abortNanoseconds: Int64 = 1_000_000_000

    let limits: ServerLimits
    let methods: MethodTable
    let failure: @Sendable (ProtocolFailure) -> RPCFailure
    let observe: (@Sendable (CallRecord) -> Void)?
    let budget: RequestBudget
    /// The same for connections whose requests are small: what stalls in the middle of large ones does not hold them up.
    let smallBudget: RequestBudget

    /// Answers that no socket has taken yet, in bytes: those on their way to an event loop among them.
    let unsentBytes = Atomic<Int>(0)
    /// Those that a socket has refused, in bytes.
    let unreadBytes = Atomic<Int>(0)
    /// Connections that wait until all together leave less unsent.
    let shortOfRoom = Atomic<Int>(0)
    let callsInFlight = Atomic<Int>(0)
    let refusedConnections = Atomic<Int>(0)
    let refusedRequests = Atomic<Int>(0)
    let cutOff = Atomic<Int>(0)
    private let accepted = Atomic<Int>(0)
    private let open = Atomic<Int>(0)
    private let openWithoutReserve = Atomic<Int>(0)
    private let runningLoops = Atomic<Int>(0)
    private let loopEnd = Gate()
    /// Set once, by `start`; emptied when they have ended.
    private let loops = Mutex(Loops())

    private struct Loops {
        var list: [EventLoop] = []
        var isStarted = false
        var isStopping = false
    }

    init(
        limits: ServerLimits, methods: MethodTable, failure: @escaping @Sendable (ProtocolFailure) -> RPCFailure,
        observe: (@Sendable (CallRecord) -> Void)?
    ) {
        self.limits = limits
        self.methods = methods
        self.failure = failure
        self.observe = observe
        budget = RequestBudget(limits)
        smallBudget = RequestBudget(
            capacity: limits.smallSharedRequestBytes, unparsedCapacity: limits.unparsedBytes, prefersSmall: true)
    }

    func start(_ listeners: [Listener]) throws(SocketError) {
        let isFirst = loops.withLock { loops in
            defer { loops.isStarted = true }
            return !loops.isStarted
        }
        guard isFirst else { throw .alreadyStarted }
        var list: [EventLoop] = []
        for _ in 0..<limits.eventLoops { list.append(try EventLoop(server: self)) }
        if let first = list.first { first.acceptor = try Acceptor(listeners, on: first) }
        loops.withLock { $0.list = list }
        for loop in list {
            runningLoops.add(1, ordering: .sequentiallyConsistent)
            do {
                try loop.start()
            } catch {
                runningLoops.subtract(1, ordering: .sequentiallyConsistent)
                shutDown(within: .zero)
                throw error
            }
        }
    }

    func shutDown(within time: Duration) {
        let list = loops.withLock { loops in
            loops.isStopping = true
            return loops.list
        }
        precondition(!list.contains { $0.isCurrent }, "shutDown would wait for its own event loop")
        let limit = cepoll_monotonic_nanoseconds() + time.nanoseconds
        for loop in list { loop.post(.drain) }
        guard !waitForLoops(until: limit) else { return }
        for loop in list { loop.post(.abort) }
        _ = waitForLoops(until: cepoll_monotonic_nanoseconds() + Self.abortNanoseconds)
    }

    private func waitForLoops(until limit: Int64) -> Bool {
        while true {
            let turn = loopEnd.turn
            if runningLoops.load(ordering: .sequentiallyConsistent) == 0 { return true }
            guard loopEnd.wait(since: turn, untilNanoseconds: limit) else { return false }
        }
    }

    func probe(_ answer: @escaping @Sendable () -> Void) -> Int {
        loops.withLock { $0.isStopping ? [] : $0.list }.count { $0.post(.probe(answer)) }
    }

    func loopEnded() {
        let before = runningLoops.subtract(1, ordering: .sequentiallyConsistent).oldValue
        if before == 1 { loops.withLock { $0.list = [] } }
        loopEnd.open()
    }

    private func tellLoops(_ message: EventLoop.Message) {
        for loop in loops.withLock({ $0.list }) { loop.post(message) }
    }

    // MARK: Connections

    /// Counts a connection, where one more may be. On the acceptor's thread only.
    func admit(usesReserve: Bool) -> Bool {
        guard open.load(ordering: .relaxed) < limits.connections else { return false }
        if !usesReserve {
            let most = limits.connections - limits.reservedConnections
            guard openWithoutReserve.load(ordering: .relaxed) < most else { return false }
            openWithoutReserve.add(1, ordering: .relaxed)
        }
        open.add(1, ordering: .relaxed)
        return true
    }

    /// Hands a connection to the loops in turn.
    func place(_ descriptor: Int32, _ listener: Listener) {
        let number = accepted.add(1, ordering: .relaxed).oldValue
        let loop = loops.withLock { loops in
            loops.isStopping || loops.list.isEmpty ? nil : loops.list[number % loops.list.count]
        }
        let message = EventLoop.Message.connection(
            descriptor: descriptor, label: listener.label, usesReserve: listener.usesReserve)
        if loop?.post(message) == true { return }
        cepoll_close(descriptor)
        connectionClosed(usesReserve: listener.usesReserve)
    }

    func connectionClosed(usesReserve: Bool) {
        open.subtract(1, ordering: .relaxed)
        if !usesReserve { openWithoutReserve.subtract(1, ordering: .relaxed) }
    }

    // MARK: Limits of all connections together

    func callEnded() {
        let before = callsInFlight.subtract(1, ordering: .sequentiallyConsistent).oldValue
        // Not at once: who was paused would come and go with each call.
        if before == max(1, limits.requestsInFlight / 8 * 7) { tellLoops(.calls) }
    }

    /// Counts bytes as unsent, where those that are so already are fewer than that.
    func takeUnsent(_ bytes: Int, whereBelow limit: Int) -> Bool {
        var unsent = unsentBytes.load(ordering: .sequentiallyConsistent)
        var isTaken = false
        while !isTaken {
            guard unsent < limit else { return false }
            (isTaken, unsent) = unsentBytes.compareExchange(
                expected: unsent, desired: unsent + bytes, ordering: .sequentiallyConsistent)
        }
        return true
    }

    func changeUnsent(by bytes: Int) {
        let (before, after) = unsentBytes.add(bytes, ordering: .sequentiallyConsistent)
        guard bytes < 0, shortOfRoom.load(ordering: .sequentiallyConsistent) > 0 else { return }
        for usesReserve in [false, true] {
            let limit = limits.unsentBytesForAnswers(usesReserve: usesReserve)
            if before >= limit && after < limit { return tellLoops(.room) }
        }
    }

    var statistics: ServerStatistics {
        var statistics = ServerStatistics()
        statistics.connections = open.load(ordering: .relaxed)
        statistics.callsInFlight = callsInFlight.load(ordering: .relaxed)
        statistics.requestBytes = budget.usedBytes + smallBudget.usedBytes
        statistics.unsentBytes = unsentBytes.load(ordering: .relaxed)
        statistics.accepted = accepted.load(ordering: .relaxed)
        statistics.refusedConnections = refusedConnections.load(ordering: .relaxed)
        statistics.cutOff = cutOff.load(ordering: .relaxed)
        statistics.refusedRequests = refusedRequests.load(ordering: .relaxed)
        return statistics
    }
}
