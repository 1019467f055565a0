internal import CEpoll
internal import Glibc
internal import Synchronization

/// The socket of one connection, and what its peer and its calls have to say to each other.
///
/// Owner of all that varies: the event loop's thread. Other threads touch the atomics and the gate only.
final class Connection: @unchecked Sendable {
    /// Why no more input is taken in.
    enum Pause {
        case none
        /// It had its turn: the others first.
        case turn
        /// As many calls as may be are in flight.
        case calls
        /// Its requests hold as many bytes as they may.
        case budget
        /// The peer has to read its answers first.
        case unsent
    }

    enum Phase {
        case open
        /// A protocol error was answered: the peer gets time to read why. What it still sends is thrown away.
        case lingering
        case closed
    }

    let loop: EventLoop
    let descriptor: Int32
    let token: UInt64
    let peer: PeerCredentials
    let label: String
    let usesReserve: Bool
    /// The peer, for handlers that answer in place.
    let caller: InPlaceCaller

    var state: ConnectionState<ServerCall>
    var phase = Phase.open
    var pause = Pause.none
    /// The peer has sent all that it will.
    var inputEnded = false
    /// Input that was read and waits for the pause to end.
    var unparsed: [UInt8] = []
    /// The call whose handler runs.
    var dispatching: ServerCall?
    /// Bytes of the shared request budgets that this connection has.
    var charged = 0
    /// The budget that they are of: the one of small requests, or the one of all.
    var isChargedSmall = true
    /// The budget in whose line the ticket is.
    var isTicketSmall = true
    /// Its place in the line for more.
    var ticket: UInt64?
    /// What it held when its share did not suffice.
    var heldAtPause = 0
    var output: [UInt8] = []
    var outputStart = 0
    /// What of the output is in the server's count.
    var countedUnsent = 0
    /// Posted answers that were applied since the last flush, in bytes.
    var appliedBytes = 0
    /// Calls of one method that were answered in place since the last flush, and are not told yet.
    private var answered = (method: 0, count: 0)
    /// Answers that wait to be made, the first one first.
    var roomWaiters: [RoomWaiter] = []
    /// It waits until all connections together leave less unsent.
    var isWaitingForRoom = false
    var readsAtShutdown = 0
    var interest: UInt32 = UInt32(cepoll_readable)
    var isDirty = false
    var isReady = false
    var isHungUp = false
    var lingeredBytes = 0
    var hasFinishedSending = false
    var inputNanoseconds: Int64 = 0
    var outputNanoseconds: Int64 = 0
    var frameNanoseconds: Int64 = 0
    var watchedFrame = 0
    var unreadByPeer = 0

    /// Answers on their way to the event loop, in bytes.
    let postedBytes = Atomic<Int>(0)
    /// Output that the socket did not take, in bytes, as of the last flush.
    let unsentBytes = Atomic<Int>(0)
    let someoneWantsRoom = Atomic<Bool>(false)
    let room = Gate()

    init(
        loop: EventLoop, descriptor: Int32, token: UInt64, peer: PeerCredentials, label: String, usesReserve: Bool
    ) {
        self.loop = loop
        self.descriptor = descriptor
        self.token = token
        self.peer = peer
        self.label = label
        self.usesReserve = usesReserve
        caller = InPlaceCaller(peer: peer, listener: label)
        state = ConnectionState(limits: loop.server.limits, methods: loop.server.methods)
    }

    var limits: ServerLimits { loop.server.limits }
    var pendingOutput: Int { output.count - outputStart }

    // MARK: Any thread

    /// Room for a message of a server stream. One that finds nothing before it always has room.
    func takeRoom(_ bytes: Int) -> Bool {
        let total =
            unsentBytes.load(ordering: .sequentiallyConsistent) + postedBytes.load(ordering: .sequentiallyConsistent)
        if total > 0 {
            guard total + bytes <= ServerLimits.streamWindowBytes else { return false }
            guard loop.server.unsentBytes.load(ordering: .relaxed) < limits.unsentBytes else { return false }
        }
        notePosted(bytes)
        return true
    }

    /// Takes room for a large answer, so that what is unread stays within the limits, here and everywhere.
    ///
    /// It is counted with what is on its way, and given back with ``dropPosted(_:)``.
    func takeAnswerRoom(_ bytes: Int) -> Bool {
        var posted = postedBytes.load(ordering: .sequentiallyConsistent)
        var isTaken = false
        while !isTaken {
            let own = unsentBytes.load(ordering: .sequentiallyConsistent) + posted
            guard own == 0 || own + bytes <= limits.shareOfUnsentBytes else { return false }
            (isTaken, posted) = postedBytes.compareExchange(
                expected: posted, desired: posted + bytes, ordering: .sequentiallyConsistent)
        }
        let limit = limits.unsentBytesForAnswers(usesReserve: usesReserve)
        if loop.server.takeUnsent(bytes, whereBelow: limit) { return true }
        postedBytes.subtract(bytes, ordering: .sequentiallyConsistent)
        return false
    }

    fileprivate func hasOwnRoom(_ bytes: Int, planned: Int) -> Bool {
        let own =
            planned + unsentBytes.load(ordering: .sequentiallyConsistent)
            + postedBytes.load(ordering: .sequentiallyConsistent)
        return own == 0 || own + bytes <= limits.shareOfUnsentBytes
    }

    fileprivate var hasServerRoom: Bool {
        loop.server.unsentBytes.load(ordering: .sequentiallyConsistent)
            < limits.unsentBytesForAnswers(usesReserve: usesReserve)
    }

    /// An answer is on its way to the event loop.
    func notePosted(_ bytes: Int) {
        postedBytes.add(bytes, ordering: .sequentiallyConsistent)
        loop.server.changeUnsent(by: bytes)
    }

    /// It came too late, or was not made.
    func dropPosted(_ bytes: Int) {
        guard bytes > 0 else { return }
        postedBytes.subtract(bytes, ordering: .sequentiallyConsistent)
        loop.server.changeUnsent(by: -bytes)
    }

    // MARK: Input

    /// The socket is readable. One read each time: epoll tells again, and the others get their turn.
    ///
    /// - Returns: whether anything was taken in.
    @discardableResult func readable() -> Bool {
        switch phase {
        case .closed: return false
        case .lingering:
            drain()
            return false
        case .open:
            guard pause == .none, unparsed.isEmpty, !inputEnded else { return false }
            var capacity = loop.readBytesOfTurn
            if loop.server.budget.isTight { capacity = min(capacity, max(512, limits.guaranteedBytesPerConnection)) }
            let count = loop.receive(descriptor, atMost: capacity)
            guard count > 0 else {
                inputFailed(count)
                return false
            }
            inputNanoseconds = loop.now
            loop.withInput(count) { takeIn($0) }
            return true
        }
    }

    private func inputFailed(_ result: Int) {
        if result == -Int(EAGAIN) { return }
        guard result == 0, !isHungUp else { return close() }
        inputEnded = true
        loop.markDirty(self)
    }

    private func drain() {
        let count = loop.receive(descriptor, atMost: ServerLimits.readBytes)
        if count == -Int(EAGAIN) { return }
        lingeredBytes += max(0, count)
        if count < 0 || isHungUp || lingeredBytes > ServerLimits.lingerBytes { return close() }
        // Half-closed: it still gets to read why.
        if count == 0 { inputEnded = true }
    }

    /// Goes on with what waited.
    func resume() {
        guard phase == .open else { return }
        pause = .none
        let input = unparsed
        unparsed = []
        loop.server.budget.changeUnparsed(by: -input.count)
        inputNanoseconds = loop.now
        takeIn(input.span)
        loop.markDirty(self)
    }

    private func takeIn(_ input: Span<UInt8>) {
        var position = 0
        parse(input, &position)
        guard phase != .closed else { return }
        if phase == .open && position < input.count {
            unparsed = input.bytes(position..<input.count)
            loop.server.budget.changeUnparsed(by: unparsed.count)
        }
        giveBack()
        loop.markDirty(self)
    }

    private func parse(_ input: Span<UInt8>, _ position: inout Int) {
        var actions = 0
        while phase == .open {
            if actions == loop.callsPerTurn {
                pause = .turn
                loop.markReady(self)
                return
            }
            if mustWaitForPeer() {
                pause = .unsent
                return
            }
            guard phase == .open else { return }
            actions += 1
            state.callLimit = callLimit
            switch state.next(input, &position) {
            case .more: return
            case .wait:
                pause = .calls
                return
            case .reserve(let bytes):
                guard reserve(bytes) else {
                    pause = .budget
                    return
                }
            case .call(let request): loop.dispatch(request, input, on: self)
            case .refuse(let stream, let failure):
                loop.server.refusedRequests.add(1, ordering: .relaxed)
                append(loop.server.failure(failure), on: stream)
            case .end(let stream, let call, let failure):
                let refusal = loop.server.failure(failure)
                append(refusal, on: stream)
                loop.forget(call, status: refusal.code)
            case .refuseAndClose(let stream, let call, let failure):
                let refusal = loop.server.failure(failure)
                append(refusal, on: stream)
                if let call { loop.forget(call, status: refusal.code) }
                phase = .lingering
                endCalls()
                loop.markDirty(self)
            }
        }
    }

    /// Whether the peer has to read before it may ask for more.
    private func mustWaitForPeer() -> Bool {
        let isMuchUnsent = loop.server.unsentBytes.load(ordering: .relaxed) >= limits.unsentBytes / 2
        let window =
            isMuchUnsent ? ServerLimits.streamWindowBytesWhereMuchIsUnsent : ServerLimits.streamWindowBytes
        if pendingOutput >= window { write() }
        return isBlockedByUnsent
    }

    /// How many calls may be in flight here: all of them, or a few where all connections have too many.
    private var callLimit: Int {
        let isCrowded = loop.server.callsInFlight.load(ordering: .relaxed) >= limits.requestsInFlight
        return min(limits.requestsPerConnection, isCrowded ? ServerLimits.guaranteedCalls : .max)
    }

    var isBlockedByUnsent: Bool {
        let pending = pendingOutput
        if pending >= limits.shareOfUnsentBytes { return true }
        // What the socket has refused before, while all connections together leave too much.
        return countedUnsent > 0 && loop.server.unsentBytes.load(ordering: .relaxed) >= limits.unsentBytes
    }

    private func reserve(_ bytes: Int) -> Bool {
        // Beyond its share, a connection waits for its own calls to end.
        guard charged + bytes <= limits.shareOfRequestBytes || (charged == 0 && bytes <= limits.sharedRequestBytes)
        else {
            heldAtPause = state.heldBytes
            return false
        }
        let isSmall =
            charged + bytes <= limits.smallRequestBytes && (charged == 0 || isChargedSmall)
        if let ticket, isTicketSmall != isSmall {
            budget(isTicketSmall).leave(ticket)
            self.ticket = nil
        }
        isTicketSmall = isSmall
        // What grows beyond a small request moves over with all that it has.
        let moved = isChargedSmall != isSmall ? charged : 0
        let isTaken = budget(isSmall).take(moved + bytes, ticket: &ticket) { [loop, token] in
            loop.post(.budget(token))
        }
        guard isTaken else { return false }
        if moved > 0 { budget(isChargedSmall).give(moved) }
        isChargedSmall = isSmall
        charged += bytes
        state.allowance += bytes
        return true
    }

    private func budget(_ isSmall: Bool) -> RequestBudget {
        isSmall ? loop.server.smallBudget : loop.server.budget
    }

    /// Gives back what of the shared budget is no longer held; and takes what is held beyond it, for a request is out of
    /// the count while its handler runs.
    func giveBack() {
        let surplus = charged - max(0, state.heldBytes - limits.guaranteedBytesPerConnection)
        guard surplus != 0 else { return }
        charged -= surplus
        state.allowance -= surplus
        let budget = budget(isChargedSmall)
        if surplus > 0 { budget.give(surplus) } else { budget.charge(-surplus) }
    }

    // MARK: Output

    func append(_ failure: RPCFailure, on stream: UInt32) {
        takeSpareBuffer()
        AnswerFrame.appendFailure(failure, stream: stream, limit: limits.frameBytes, to: &output)
        loop.markDirty(self)
    }

    func takeSpareBuffer() {
        if output.capacity == 0 { output = loop.takeSpareBuffer() }
    }

    /// Writes what the socket takes.
    func write() {
        guard phase != .closed else { return }
        tellAnswered()
        while outputStart < output.count {
            let result = unsafe output.withUnsafeBytes { bytes in
                // Safe: the rest of the array, for the duration of the call.
                let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[outputStart...])
                return unsafe Int(cepoll_socket_send(descriptor, rest.baseAddress, rest.count))
            }
            if result == -Int(EAGAIN) { break }
            guard result > 0 else { return close() }
            outputStart += result
            outputNanoseconds = loop.now
        }
        if outputStart == output.count {
            // Taken out first: a buffer that two hold cannot be emptied in place.
            let buffer = exchange(&output, with: [])
            loop.keepSpareBuffer(buffer)
            outputStart = 0
        } else if outputStart > ServerLimits.spareBufferBytes {
            output.removeFirst(outputStart)
            outputStart = 0
        }
        count()
    }

    private func count() {
        let pending = pendingOutput
        let change = pending - countedUnsent - appliedBytes
        if pending != countedUnsent {
            if countedUnsent == 0 { outputNanoseconds = loop.now }
            loop.server.unreadBytes.add(pending - countedUnsent, ordering: .relaxed)
            countedUnsent = pending
            unsentBytes.store(pending, ordering: .sequentiallyConsistent)
        }
        if appliedBytes > 0 {
            postedBytes.subtract(appliedBytes, ordering: .sequentiallyConsistent)
            appliedBytes = 0
        }
        if change != 0 { loop.server.changeUnsent(by: change) }
    }

    /// A call was answered in place.
    func noteAnswered(_ method: Int) {
        if answered.count > 0, answered.method != method { tellAnswered() }
        answered = (method, answered.count + 1)
    }

    /// Tells what was answered in place, before the peer reads it.
    private func tellAnswered() {
        guard answered.count > 0 else { return }
        loop.record(answered.method, count: answered.count, since: inputNanoseconds)
        answered.count = 0
    }

    /// The end of a turn: writes, tells who waits for room, and looks whether all is done.
    func flush() {
        guard phase != .closed else { return }
        write()
        guard phase != .closed else { return }
        if someoneWantsRoom.load(ordering: .sequentiallyConsistent)
            && countedUnsent < ServerLimits.streamWindowBytes / 2
            && someoneWantsRoom.exchange(false, ordering: .sequentiallyConsistent)
        {
            for call in Array(state.calls) { call.roomCame() }
            room.open()
        }
        if !roomWaiters.isEmpty { wakeRoomWaiters() }
        if isResumable { loop.markReady(self) }
        if phase == .lingering && pendingOutput == 0 {
            if inputEnded { return close() }
            finishSending()
        }
        if isDone {
            guard loop.isDraining, !inputEnded, readsAtShutdown < ServerLimits.readsAtShutdown else { return close() }
            // What was sent before gets an answer.
            readsAtShutdown += 1
            guard readable() else { return close() }
            guard phase != .closed else { return }
        }
        updateInterest()
    }

    private func finishSending() {
        guard !hasFinishedSending else { return }
        hasFinishedSending = true
        _ = cepoll_socket_finish_sending(descriptor)
        loop.setTimer(at: loop.now + ServerLimits.linger.nanoseconds, token: token, stream: 0)
    }

    /// Nothing is in flight, and nothing more will be.
    private var isDone: Bool {
        phase == .open && (inputEnded || loop.isDraining) && state.callCount == 0 && pendingOutput == 0
            && pause == .none && unparsed.isEmpty
    }

    /// Whether the reason for the pause is gone. Those in the line for the budget are woken by it.
    private var isResumable: Bool {
        switch pause {
        case .none, .turn: false
        case .calls: state.callCount < callLimit
        case .budget: ticket == nil && state.heldBytes < heldAtPause
        case .unsent: countedUnsent < limits.shareOfUnsentBytes / 2 && !isBlockedByUnsent
        }
    }

    private func updateInterest() {
        let reads = !inputEnded && (phase == .lingering || pause == .none || pause == .turn)
        var wanted: UInt32 = reads ? UInt32(cepoll_readable) : 0
        if pendingOutput > 0 { wanted |= UInt32(cepoll_writable) }
        if pendingOutput > 0 || state.isInsideFrame { loop.watchForStalls() }
        guard wanted != interest else { return }
        interest = wanted
        _ = cepoll_change(loop.epoll, descriptor, wanted, token)
    }

    // MARK: The end

    /// Ends all calls in flight from outside.
    func endCalls() {
        for call in Array(state.calls) {
            state.end(call.stream)
            loop.forget(call, status: EventLoop.cancelled)
        }
        if let dispatching {
            self.dispatching = nil
            loop.record(dispatching, status: EventLoop.cancelled)
            dispatching.markOver()
        }
    }

    func close() {
        guard phase != .closed else { return }
        phase = .closed
        endCalls()
        output = []
        outputStart = 0
        count()
        loop.server.budget.changeUnparsed(by: -unparsed.count)
        unparsed = []
        roomWaiters = []
        loop.stopWaitingForRoom(self)
        if let ticket { budget(isTicketSmall).leave(ticket) }
        if charged > 0 { budget(isChargedSmall).give(charged) }
        charged = 0
        ticket = nil
        room.open()
        loop.remove(self)
    }
}

/// A call whose answer is not made yet, because there is no room for it.
struct RoomWaiter: Sendable {
    let call: ServerCall
    let bytes: Int
    let retry: @Sendable () -> Void
}

extension Connection {
    /// Takes in who waits for room. What there is may have come in between.
    func awaitRoom(_ waiter: RoomWaiter) {
        guard phase == .open else { return }
        // Calls that have ended in the meantime must not pile up.
        if roomWaiters.count > 2 * state.callCount + 16 { roomWaiters.removeAll(where: \.call.isOver) }
        roomWaiters.append(waiter)
        wakeRoomWaiters()
    }

    /// Wakes as many of those who wait as there is room for.
    func wakeRoomWaiters() {
        roomWaiters.removeAll(where: \.call.isOver)
        var planned = 0
        while let first = roomWaiters.first, hasOwnRoom(first.bytes, planned: planned) {
            if !hasServerRoom {
                if planned > 0 { return }
                // First say that this one waits, then look again: room that came in between is not missed.
                loop.waitForRoom(self)
                guard hasServerRoom else { return }
            }
            planned += first.bytes
            roomWaiters.removeFirst()
            first.retry()
        }
    }
}

extension Duration {
    /// Whole nanoseconds, at most a hundred years.
    var nanoseconds: Int64 {
        let (seconds, attoseconds) = components
        guard seconds < ServerCall.longestTimeout / 1_000_000_000 else { return ServerCall.longestTimeout }
        return max(0, seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }
}
