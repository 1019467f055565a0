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

    var state: ConnectionState<ServerCall>
    var phase = Phase.open
    var pause = Pause.none
    /// The peer has sent all that it will.
    var inputEnded = false
    /// Input that was read and waits for the pause to end.
    var unparsed: [UInt8] = []
    /// The call whose handler runs.
    var dispatching: ServerCall?
    /// Bytes of the shared request budget that this connection has.
    var charged = 0
    /// Its place in the line for more.
    var ticket: UInt64?
    var output: [UInt8] = []
    var outputStart = 0
    /// What of the output is in the server's count.
    var countedUnsent = 0
    /// Stream messages that were applied since the last flush, in bytes.
    var appliedBytes = 0
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

    /// Stream messages on their way to the event loop, in bytes.
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
        postedBytes.add(bytes, ordering: .sequentiallyConsistent)
        return true
    }

    // MARK: Input

    /// The socket is readable. One read each time: epoll tells again, and the others get their turn.
    func readable() {
        switch phase {
        case .closed: return
        case .lingering: drain()
        case .open:
            guard pause == .none, unparsed.isEmpty, !inputEnded else { return }
            let isTight = loop.server.budget.isTight
            let capacity = isTight ? min(ServerLimits.readBytes, max(512, limits.guaranteedBytesPerConnection)) : nil
            let count = loop.receive(descriptor, atMost: capacity ?? ServerLimits.readBytes)
            guard count > 0 else { return inputFailed(count) }
            inputNanoseconds = loop.now
            loop.withInput(count) { takeIn($0) }
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
        if count <= 0 || lingeredBytes > ServerLimits.lingerBytes { close() }
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
        guard phase == .open else { return }
        if position < input.count {
            unparsed = input.bytes(position..<input.count)
            loop.server.budget.changeUnparsed(by: unparsed.count)
        }
        giveBack()
        loop.markDirty(self)
    }

    private func parse(_ input: Span<UInt8>, _ position: inout Int) {
        var actions = 0
        while phase == .open {
            if actions == ServerLimits.callsPerTurn {
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
            case .call(let request): loop.dispatch(request, on: self)
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
        if pendingOutput >= ServerLimits.streamWindowBytes { write() }
        return isBlockedByUnsent
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
        else { return false }
        guard loop.server.budget.take(bytes, ticket: &ticket) else {
            loop.waitForBudget(self)
            return false
        }
        charged += bytes
        state.allowance += bytes
        return true
    }

    /// Gives back what of the shared budget is no longer held.
    func giveBack() {
        let needed = max(0, state.heldBytes - limits.guaranteedBytesPerConnection)
        guard needed < charged else { return }
        let surplus = charged - needed
        charged = needed
        state.allowance -= surplus
        if loop.server.budget.give(surplus) { loop.server.wakeForBudget() }
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
            loop.keepSpareBuffer(output)
            output = []
            outputStart = 0
        } else if outputStart > ServerLimits.spareBufferBytes {
            output.removeFirst(outputStart)
            outputStart = 0
        }
        count()
    }

    private func count() {
        let pending = pendingOutput
        if pending != countedUnsent {
            if countedUnsent == 0 { outputNanoseconds = loop.now }
            loop.server.unsentBytes.add(pending - countedUnsent, ordering: .relaxed)
            countedUnsent = pending
            unsentBytes.store(pending, ordering: .sequentiallyConsistent)
        }
        if appliedBytes > 0 {
            postedBytes.subtract(appliedBytes, ordering: .sequentiallyConsistent)
            appliedBytes = 0
        }
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
        if isResumable { loop.markReady(self) }
        if phase == .lingering && pendingOutput == 0 && !hasFinishedSending {
            hasFinishedSending = true
            _ = cepoll_socket_finish_sending(descriptor)
            loop.setTimer(at: loop.now + ServerLimits.linger.nanoseconds, token: token, stream: 0)
        }
        let isLast = inputEnded || loop.isDraining
        if phase == .open && isLast && state.callCount == 0 && pendingOutput == 0 && pause == .none && unparsed.isEmpty
        {
            return close()
        }
        updateInterest()
    }

    /// Whether the reason for the pause is gone. Those who wait for the budget are woken by it.
    private var isResumable: Bool {
        switch pause {
        case .none, .turn: false
        case .calls: state.callCount < limits.requestsPerConnection
        case .budget: ticket == nil
        case .unsent: countedUnsent < limits.shareOfUnsentBytes / 2 && !isBlockedByUnsent
        }
    }

    private func updateInterest() {
        let reads = phase == .lingering || (!inputEnded && (pause == .none || pause == .turn))
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
        var othersWait = false
        if let ticket { othersWait = loop.server.budget.leave(ticket) }
        if charged > 0 { othersWait = loop.server.budget.give(charged) || othersWait }
        charged = 0
        ticket = nil
        if othersWait { loop.server.wakeForBudget() }
        room.open()
        loop.remove(self)
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
