internal import CEpoll
internal import Glibc
internal import Synchronization
internal import Threads

/// One thread with its epoll: it reads, decodes, calls the handlers, and writes, for the connections that it has.
///
/// Owner of all that varies: its thread. Others leave what they have in the inbox, under its lock.
@safe final class EventLoop: @unchecked Sendable {
    enum Message: Sendable {
        /// `posted`: how many bytes of it are in the count of what is on its way.
        case answer(ServerCall, Answer, posted: Int)
        case connection(descriptor: Int32, label: String, usesReserve: Bool)
        /// There are request bytes for the connection of this token.
        case budget(UInt64)
        /// Calls have ended where there were too many.
        case calls
        /// An answer waits to be made until there is room.
        case awaitRoom(RoomWaiter)
        /// There is room for answers.
        case room
        /// Somebody asks whether the loop goes round.
        case probe(@Sendable () -> Void)
        case drain
        case abort
    }

    private struct Inbox {
        var messages: [Message] = []
        var isSignalled = false
        var isClosed = false
    }

    /// The gRPC code of a call whose caller is gone.
    static let cancelled: Int32 = 1
    static let wakeToken = UInt64.max
    static let listenerTokens = UInt64(UInt32.max) << 32
    private static let eventsPerTurn = 128

    let server: ServerCore
    let epoll: Int32
    private let wake: Int32
    private let inbox = Mutex(Inbox())
    private let thread = Atomic<UInt>(0)
    private let input: UnsafeMutableRawBufferPointer
    /// Where one answer is made before it is appended to its connection's: room for the frame's header, and the payload.
    private let scratch: UnsafeMutableBufferPointer<UInt8>

    private(set) var now: Int64 = 0
    private(set) var isDraining = false
    var connections: [Connection?] = []
    private var generations: [UInt32] = []
    private var freeSlots: [Int] = []
    private var connectionCount = 0
    private var dirty: [Connection] = []
    private var ready: [Connection] = []
    private var waitingForRoom: [Connection] = []
    private var hasRelieved = false
    /// Calls that were answered in place in this turn.
    private var answeredInTurn = 0
    private(set) var readBytesOfTurn = ServerLimits.readBytes
    private(set) var callsPerTurn = ServerLimits.callsPerTurn
    private var deadlines = Deadlines()
    private var stallCheck: Int64?
    private var spareBuffers: [[UInt8]] = []
    var acceptor: Acceptor?

    init(server: ServerCore) throws(SocketError) {
        self.server = server
        epoll = cepoll_create()
        wake = cepoll_eventfd_create()
        unsafe input = .allocate(byteCount: ServerLimits.readBytes, alignment: 16)
        unsafe scratch = .allocate(capacity: AnswerFrame.headerBytes + Method.inPlaceAnswerBytes)
        guard epoll >= 0 else { throw .system(operation: "epoll_create1", errno: -epoll) }
        guard wake >= 0 else { throw .system(operation: "eventfd", errno: -wake) }
        let result = cepoll_add(epoll, wake, UInt32(cepoll_readable), Self.wakeToken)
        guard result == 0 else { throw .system(operation: "epoll_ctl", errno: -result) }
    }

    deinit {
        unsafe input.deallocate()
        unsafe scratch.deallocate()
        if epoll >= 0 { cepoll_close(epoll) }
        if wake >= 0 { cepoll_close(wake) }
    }

    var isCurrent: Bool { thread.load(ordering: .relaxed) == UInt(pthread_self()) }

    // MARK: Any thread

    func start() throws(SocketError) {
        do throws(ThreadError) {
            try startThread("event loop") { self.run() }
        } catch {
            throw .system(operation: "pthread_create", errno: error.errno)
        }
    }

    /// False where the loop has ended.
    @discardableResult func post(_ message: Message) -> Bool {
        let (isTaken, mustSignal) = inbox.withLock { inbox in
            if inbox.isClosed { return (false, false) }
            inbox.messages.append(message)
            defer { inbox.isSignalled = true }
            return (true, !inbox.isSignalled)
        }
        if mustSignal { cepoll_eventfd_signal(wake) }
        return isTaken
    }

    func deliver(_ answer: Answer, for call: ServerCall) {
        // A message was counted when its room was taken.
        var posted = answer.messageBytes
        if case .response(let payload) = answer, !isCurrent {
            posted = payload.count
            call.exchangeRoom(for: posted)
        } else {
            call.giveRoomBack()
        }
        if isCurrent { apply(answer, for: call, posted: posted) } else { post(.answer(call, answer, posted: posted)) }
    }

    /// False where the loop has ended.
    func awaitRoom(_ waiter: RoomWaiter) -> Bool {
        guard isCurrent else { return post(.awaitRoom(waiter)) }
        waiter.call.connection.awaitRoom(waiter)
        return true
    }

    // MARK: The loop

    private func run() {
        thread.store(UInt(pthread_self()), ordering: .relaxed)
        var events = [cepoll_event](repeating: cepoll_event(), count: Self.eventsPerTurn)
        now = cepoll_monotonic_nanoseconds()
        while !(isDraining && connectionCount == 0) {
            let count = unsafe events.withUnsafeMutableBufferPointer { unsafe wait($0) }
            now = cepoll_monotonic_nanoseconds()
            divideTurn(among: Int(max(0, count)) + ready.count)
            for index in 0..<max(0, count) { handle(events[index]) }
            takeReady()
            expire()
            checkForStalls()
            acceptor?.retry()
            flushDirty()
            relieve()
        }
        end()
    }

    /// Waits for events. Where many calls were answered just now, more are on their way: to fall asleep and be woken, on
    /// another processor than the peer's, would cost as much as a dozen calls.
    private func wait(_ events: UnsafeMutableBufferPointer<cepoll_event>) -> Int {
        let looks = answeredInTurn >= ServerLimits.callsOfBusyTurn ? ServerLimits.looksBeforeSleep : 0
        answeredInTurn = 0
        for _ in 0..<looks {
            let count = unsafe Int(cepoll_wait(epoll, events.baseAddress, Int32(events.count), 0))
            if count != 0 { return count }
        }
        return unsafe Int(cepoll_wait(epoll, events.baseAddress, Int32(events.count), waitMilliseconds()))
    }

    private func handle(_ event: cepoll_event) {
        if event.token == Self.wakeToken {
            cepoll_eventfd_clear(wake)
            takeMessages()
        } else if event.token >= Self.listenerTokens {
            acceptor?.accept(Int(event.token - Self.listenerTokens))
        } else if let connection = connection(event.token) {
            if event.events & UInt32(cepoll_hung_up) != 0 {
                connection.isHungUp = true
                // Nobody is there any more, and nothing that was sent is to be read.
                if connection.interest & UInt32(cepoll_readable) == 0 { return connection.close() }
            }
            if event.events & UInt32(cepoll_readable) != 0 { connection.readable() }
            // Its place in the list stays, and is passed over.
            connection.isDirty = false
            connection.flush()
        }
    }

    private func takeMessages() {
        let messages = inbox.withLock { inbox in
            inbox.isSignalled = false
            let messages = inbox.messages
            inbox.messages = []
            return messages
        }
        for message in messages {
            switch message {
            case .answer(let call, let answer, let posted): apply(answer, for: call, posted: posted)
            case .connection(let descriptor, let label, let usesReserve):
                add(descriptor, label: label, usesReserve: usesReserve)
            case .budget(let token):
                if let connection = connection(token), connection.pause == .budget { markReady(connection) }
            case .calls:
                for case let connection? in connections where connection.pause == .calls { markDirty(connection) }
            case .awaitRoom(let waiter): waiter.call.connection.awaitRoom(waiter)
            case .room: roomCame()
            case .probe(let answer): answer()
            case .drain: drain()
            case .abort:
                isDraining = true
                closeListeners()
                for case let connection? in connections {
                    connection.flush()
                    connection.close()
                }
            }
        }
    }

    /// Where many have something to say, each has a short turn: so everybody is heard soon.
    private func divideTurn(among count: Int) {
        let count = max(1, count)
        readBytesOfTurn = min(
            ServerLimits.readBytes, max(ServerLimits.leastReadBytes, ServerLimits.readBytesOfAll / count))
        callsPerTurn = min(
            ServerLimits.callsPerTurn, max(ServerLimits.leastCallsPerTurn, ServerLimits.callsOfAllPerTurn / count))
    }

    private func takeReady() {
        let turn = ready
        ready.removeAll(keepingCapacity: true)
        for connection in turn {
            connection.isReady = false
            connection.resume()
        }
    }

    private func flushDirty() {
        // A flush may call back, and whoever is called may answer on another connection: that one joins the list.
        var index = 0
        while index < dirty.count {
            let connection = dirty[index]
            index += 1
            guard connection.isDirty else { continue }
            connection.isDirty = false
            connection.flush()
        }
        dirty.removeAll(keepingCapacity: true)
    }

    private func waitMilliseconds() -> Int32 {
        guard ready.isEmpty, dirty.isEmpty, !hasRelieved else { return 0 }
        var next = Int64.max
        if let moment = deadlines.first { next = min(next, moment) }
        if let stallCheck { next = min(next, stallCheck) }
        if let moment = acceptor?.retryNanoseconds { next = min(next, moment) }
        guard next < .max else { return -1 }
        return Int32(min(max(0, (next - now + 999_999) / 1_000_000), 60_000))
    }

    // MARK: Calls

    func dispatch(
        _ request: ConnectionState<ServerCall>.Request, _ input: Span<UInt8>, on connection: Connection
    ) {
        if isDraining { return connection.append(server.failure(.shuttingDown), on: request.stream) }
        if request.timeoutNanoseconds >= 0, let handler = server.methods.inPlace[request.method],
            answer(request, input, by: handler, on: connection)
        {
            answeredInTurn += 1
            return connection.noteAnswered(request.method)
        }
        let method = server.methods.methods[request.method]
        let start = server.observe == nil ? 0 : cepoll_monotonic_nanoseconds()
        let call = ServerCall(
            request, payload: request.payload(in: input), method, on: connection, startNanoseconds: start)
        if request.timeoutNanoseconds < 0 {
            let refusal = server.failure(.deadlineExceeded)
            connection.append(refusal, on: request.stream)
            return record(call, status: refusal.code)
        }
        connection.dispatching = call
        method.handler(call)
        guard connection.dispatching === call else { return }
        connection.dispatching = nil
        guard connection.phase == .open else { return }
        connection.state.begin(request, call)
        server.callsInFlight.add(1, ordering: .relaxed)
        if call.expiryNanoseconds > 0 {
            setTimer(at: call.expiryNanoseconds, token: connection.token, stream: request.stream)
        }
    }

    /// False where the handler has no answer.
    private func answer(
        _ request: ConnectionState<ServerCall>.Request, _ input: Span<UInt8>, by handler: InPlaceHandler,
        on connection: Connection
    ) -> Bool {
        let room = unsafe UnsafeMutableBufferPointer(rebasing: scratch[AnswerFrame.headerBytes...])
        var answer = unsafe OutputSpan(buffer: room, initializedCount: 0)
        let isAnswered = request.withPayload(in: input) { handler($0, connection.caller, &answer) }
        // Safe: the span does not outlive its buffer, and nobody else uses that meanwhile.
        let count = unsafe answer.finalize(for: room)
        guard isAnswered else { return false }
        connection.takeSpareBuffer()
        unsafe AnswerFrame.appendResponse(
            in: scratch, payloadBytes: count, stream: request.stream, to: &connection.output)
        return true
    }

    /// Calls that were answered in place are told together.
    func record(_ method: Int, count: Int, since nanoseconds: Int64) {
        guard let observe = server.observe else { return }
        let title = server.methods.titles[method]
        observe(
            CallRecord(
                service: title.service, method: title.name, methodIndex: method, status: 0,
                durationNanoseconds: cepoll_monotonic_nanoseconds() - nanoseconds, count: count))
    }

    /// Takes an answer of a call's owner, where the call still waits for one.
    private func apply(_ answer: Answer, for call: ServerCall, posted: Int) {
        let connection = call.connection
        let isDispatching = connection.dispatching === call
        guard connection.phase == .open, isDispatching || connection.state.call(on: call.stream) === call else {
            return connection.dropPosted(posted)
        }
        connection.appliedBytes += posted
        connection.takeSpareBuffer()
        markDirty(connection)
        var status: Int32 = 0
        switch answer {
        case .message(let payload):
            return AnswerFrame.appendData(payload, stream: call.stream, to: &connection.output)
        case .response(let payload):
            let limit = server.limits.frameBytes
            if !AnswerFrame.appendResponse(payload, stream: call.stream, limit: limit, to: &connection.output) {
                let failure = server.failure(.responseTooLarge(limit: limit))
                connection.append(failure, on: call.stream)
                status = failure.code
            }
        case .failure(let failure):
            connection.append(failure, on: call.stream)
            status = failure.code
        case .finish: AnswerFrame.appendEndOfStream(call.stream, to: &connection.output)
        }
        if isDispatching {
            connection.dispatching = nil
            record(call, status: status)
        } else {
            connection.state.end(call.stream)
            forget(call, status: status)
            connection.giveBack()
        }
    }

    /// A call that was in flight is so no longer.
    func forget(_ call: ServerCall, status: Int32) {
        server.callEnded()
        call.markOver()
        record(call, status: status)
        if call.deadline != nil {
            deadlines.noteStale { entry in
                guard let connection = connection(entry.token) else { return false }
                return entry.stream == 0
                    || connection.state.call(on: entry.stream)?.expiryNanoseconds == entry.nanoseconds
            }
        }
    }

    func record(_ call: ServerCall, status: Int32) {
        guard let observe = server.observe else { return }
        observe(
            CallRecord(
                service: call.service, method: call.method, methodIndex: call.methodIndex, status: status,
                durationNanoseconds: cepoll_monotonic_nanoseconds() - call.startNanoseconds))
    }

    // MARK: Time

    var timerCount: Int { deadlines.count }

    func setTimer(at nanoseconds: Int64, token: UInt64, stream: UInt32) {
        deadlines.insert(.init(nanoseconds: nanoseconds, token: token, stream: stream))
    }

    private func expire() {
        while let entry = deadlines.popFirst(dueAt: now) {
            guard let connection = connection(entry.token) else { continue }
            if entry.stream == 0 {
                connection.close()
                continue
            }
            // The stream id may have a new call, with an entry of its own.
            guard let call = connection.state.call(on: entry.stream), call.expiryNanoseconds == entry.nanoseconds
            else { continue }
            connection.state.end(entry.stream)
            let failure = server.failure(.deadlineExceeded)
            connection.append(failure, on: entry.stream)
            forget(call, status: failure.code)
            connection.giveBack()
        }
    }

    private var stallCheckInterval: Int64 { min(max(server.limits.stall.nanoseconds / 8, 5_000_000), 1_000_000_000) }

    func watchForStalls() {
        // Others wait for what the stalled ones have: then it is looked at more often.
        if stallCheck == nil { stallCheck = now + (isBudgetShort ? stallCheckInterval / 4 : stallCheckInterval) }
    }

    private var isBudgetShort: Bool { server.budget.isShort || server.smallBudget.isShort }

    private func checkForStalls() {
        guard let moment = stallCheck, moment <= now else { return }
        stallCheck = nil
        let isShort = isBudgetShort
        let isRoomShort = server.shortOfRoom.load(ordering: .relaxed) > 0
        for case let connection? in connections {
            if connection.isStalled(at: now, isShort: isShort, isRoomShort: isRoomShort) {
                server.cutOff.add(1, ordering: .relaxed)
                connection.close()
            } else if connection.countedUnsent > 0 || connection.state.isInsideFrame {
                watchForStalls()
            }
        }
    }

    // MARK: Connections

    func connection(_ token: UInt64) -> Connection? {
        let slot = Int(token & 0xffff_ffff)
        guard slot < connections.count, let connection = connections[slot], connection.token == token else {
            return nil
        }
        return connection
    }

    private func add(_ descriptor: Int32, label: String, usesReserve: Bool) {
        guard !isDraining, let peer = PeerCredentials(ofPeerOf: descriptor) else {
            cepoll_close(descriptor)
            return server.connectionClosed(usesReserve: usesReserve)
        }
        if freeSlots.isEmpty {
            freeSlots.append(connections.count)
            connections.append(nil)
            generations.append(0)
        }
        let slot = freeSlots.removeLast()
        generations[slot] = (generations[slot] + 1) & 0x7fff_ffff
        let token = UInt64(generations[slot]) << 32 | UInt64(slot)
        let connection = Connection(
            loop: self, descriptor: descriptor, token: token, peer: peer, label: label, usesReserve: usesReserve)
        connections[slot] = connection
        connectionCount += 1
        if cepoll_add(epoll, descriptor, connection.interest, token) != 0 { connection.close() }
    }

    func remove(_ connection: Connection) {
        let slot = Int(connection.token & 0xffff_ffff)
        connections[slot] = nil
        freeSlots.append(slot)
        connectionCount -= 1
        _ = cepoll_remove(epoll, connection.descriptor)
        cepoll_close(connection.descriptor)
        server.connectionClosed(usesReserve: connection.usesReserve)
    }

    func markDirty(_ connection: Connection) {
        guard !connection.isDirty, connection.phase != .closed else { return }
        connection.isDirty = true
        dirty.append(connection)
    }

    func markReady(_ connection: Connection) {
        guard !connection.isReady, connection.phase == .open else { return }
        connection.isReady = true
        ready.append(connection)
    }

    // MARK: Room for answers

    func waitForRoom(_ connection: Connection) {
        guard !connection.isWaitingForRoom, connection.phase == .open else { return }
        connection.isWaitingForRoom = true
        waitingForRoom.append(connection)
        server.shortOfRoom.add(1, ordering: .sequentiallyConsistent)
        watchForStalls()
    }

    func stopWaitingForRoom(_ connection: Connection) {
        guard connection.isWaitingForRoom else { return }
        connection.isWaitingForRoom = false
        waitingForRoom.removeAll { $0 === connection }
        server.shortOfRoom.subtract(1, ordering: .sequentiallyConsistent)
    }

    private func roomCame() {
        let waiting = waitingForRoom
        waitingForRoom = []
        for connection in waiting where connection.isWaitingForRoom {
            connection.isWaitingForRoom = false
            server.shortOfRoom.subtract(1, ordering: .sequentiallyConsistent)
            connection.wakeRoomWaiters()
        }
    }

    /// Where far too much is unread, cuts off who has read nothing for the longest time: the last resort.
    ///
    /// A connection's even share is left to it, and so is one that has just read. One in each turn: what was on its way to
    /// it is dropped in the next.
    private func relieve() {
        hasRelieved = false
        let (unread, limits) = (server.unreadBytes.load(ordering: .relaxed), server.limits)
        guard unread >= 2 * limits.unsentBytes else { return }
        let latest = now - ServerLimits.reliefPatience.nanoseconds
        let hoarder = connections.lazy.compactMap { $0 }
            .filter { $0.countedUnsent > limits.evenShareOfUnsentBytes && $0.outputNanoseconds <= latest }
            .min { $0.outputNanoseconds < $1.outputNanoseconds }
        guard let hoarder else {
            // Somebody may be by then.
            stallCheck = min(stallCheck ?? .max, now + ServerLimits.reliefPatience.nanoseconds)
            return
        }
        hasRelieved = true
        server.cutOff.add(1, ordering: .relaxed)
        hoarder.close()
    }

    // MARK: Buffers

    func receive(_ descriptor: Int32, atMost capacity: Int) -> Int {
        unsafe Int(cepoll_socket_receive(descriptor, input.baseAddress, min(capacity, input.count)))
    }

    /// What was received last. Nothing is received while the body runs: only the loop's turn does that.
    func withInput(_ count: Int, _ body: (Span<UInt8>) -> Void) {
        let bytes = unsafe UnsafeRawBufferPointer(rebasing: input[..<count]).bindMemory(to: UInt8.self)
        body(unsafe Span(_unsafeElements: bytes))
    }

    func takeSpareBuffer() -> [UInt8] { spareBuffers.popLast() ?? [] }

    func keepSpareBuffer(_ buffer: consuming [UInt8]) {
        let capacity = buffer.capacity
        guard capacity > 0, capacity <= ServerLimits.spareBufferBytes else { return }
        guard spareBuffers.count < ServerLimits.spareBuffers else { return }
        buffer.removeAll(keepingCapacity: true)
        spareBuffers.append(buffer)
    }

    // MARK: The end

    private func drain() {
        isDraining = true
        closeListeners()
        for case let connection? in connections {
            // What was sent before is read, so that it gets an answer.
            connection.readable()
            for call in Array(connection.state.calls) where call.kind == .serverStream {
                connection.state.end(call.stream)
                let failure = server.failure(.shuttingDown)
                connection.append(failure, on: call.stream)
                forget(call, status: failure.code)
            }
            markDirty(connection)
        }
    }

    private func closeListeners() {
        acceptor?.close()
        acceptor = nil
    }

    private func end() {
        let rest = inbox.withLock { inbox in
            inbox.isClosed = true
            let rest = inbox.messages
            inbox.messages = []
            return rest
        }
        for case .connection(let descriptor, _, let usesReserve) in rest {
            cepoll_close(descriptor)
            server.connectionClosed(usesReserve: usesReserve)
        }
        connections = []
        dirty = []
        ready = []
        waitingForRoom = []
        // A thread that begins later may have the same name.
        thread.store(0, ordering: .relaxed)
        server.loopEnded()
    }
}
