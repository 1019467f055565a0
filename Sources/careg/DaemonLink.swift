internal import CCareg
internal import CCaregSystem
internal import Synchronization

/// What a handle knows of the daemon: its connections, and how long to leave it alone.
///
/// The state lies in memory that a forked child finds zeroed, so that no lock that another thread of the parent held is
/// held for ever in the child, and no connection is used by two processes. Zeros are the state of a new link. Where the
/// kernel cannot do that, the process id tells.
@safe struct DaemonLink {
    private let state: UnsafeMutablePointer<LinkState>
    /// Counts connections that became free: what waiting callers wait on.
    private let releases: UnsafeMutablePointer<Atomic<UInt32>>
    /// Of each connection: 1 while a caller has it.
    private let taken: UnsafeMutablePointer<Atomic<UInt32>>
    private let connections: UnsafeMutablePointer<Connection>
    /// The connections' descriptors, plus 1: a child closes its copies of the parent's by them. Not wiped.
    private let descriptors: UnsafeMutablePointer<Atomic<CInt>>
    /// What tells these sockets from others that may have got their numbers, by `careg_system_socket_identity`.
    private let identities: UnsafeMutablePointer<Atomic<UInt64>>
    private let buffers: UnsafeMutableRawPointer

    /// Bytes of the memory that is wiped, and where in it things stand behind the state.
    private static var wipedBytes: Int { 4096 }
    private static var releasesOffset: Int { 512 }
    private static var takenOffset: Int { 768 }
    private static var connectionOffset: Int { 1024 }

    private struct LinkState: ~Copyable {
        /// The process that uses the link; 0: nobody yet. With the highest bit: being set up by that process.
        let owner = Atomic<UInt32>(0)
        /// Whoever moves over to another map.
        let isMoving = Atomic<UInt32>(0)
        /// Callers that wait for a connection to be free.
        let waiters = Atomic<UInt32>(0)
        /// Failures since the last answer, and CLOCK_MONOTONIC of the last one and of the end of the quiet after it.
        let failures = Atomic<UInt32>(0)
        let failedAt = Atomic<UInt64>(0)
        let quietUntil = Atomic<UInt64>(0)
        /// The same, for calls that waited in vain.
        let silentUntil = Atomic<UInt64>(0)
    }

    private static let isBeingSetUp: UInt32 = 1 << 31

    /// nil where there is no memory.
    static func make() -> DaemonLink? {
        guard let wiped = unsafe careg_system_wiped_on_fork(wipedBytes) else { return nil }
        let descriptorBytes = Limits.connections * MemoryLayout<Atomic<CInt>>.stride
        guard let descriptors = unsafe calloc(1, descriptorBytes) else {
            unsafe careg_system_unmap(wiped, wipedBytes)
            return nil
        }
        guard let identities = unsafe calloc(Limits.connections, MemoryLayout<Atomic<UInt64>>.stride) else {
            unsafe CCaregSystem.free(descriptors)
            unsafe careg_system_unmap(wiped, wipedBytes)
            return nil
        }
        guard let buffers = unsafe calloc(Limits.connections, ConnectionBuffer.byteCount) else {
            unsafe CCaregSystem.free(identities)
            unsafe CCaregSystem.free(descriptors)
            unsafe careg_system_unmap(wiped, wipedBytes)
            return nil
        }
        // Zeros are what all of these begin with.
        return unsafe DaemonLink(
            state: wiped.assumingMemoryBound(to: LinkState.self),
            releases: (wiped + releasesOffset).assumingMemoryBound(to: Atomic<UInt32>.self),
            taken: (wiped + takenOffset).assumingMemoryBound(to: Atomic<UInt32>.self),
            connections: (wiped + connectionOffset).assumingMemoryBound(to: Connection.self),
            descriptors: descriptors.assumingMemoryBound(to: Atomic<CInt>.self),
            identities: identities.assumingMemoryBound(to: Atomic<UInt64>.self), buffers: buffers)
    }

    func free() {
        for index in 0..<Limits.connections { closeDescriptor(index) }
        unsafe careg_system_unmap(UnsafeRawPointer(state), Self.wipedBytes)
        unsafe CCaregSystem.free(descriptors)
        unsafe CCaregSystem.free(identities)
        unsafe CCaregSystem.free(buffers)
    }

    private func closeDescriptor(_ index: Int) {
        let former = unsafe descriptors[index].exchange(0, ordering: .acquiringAndReleasing)
        let identity = unsafe identities[index].load(ordering: .acquiring)
        if former > 0 { careg_system_close_socket(former &- 1, identity) }
    }

    // MARK: Processes

    /// Makes the link this process's own: a forked child drops what it has inherited.
    private func own() {
        let process = careg_system_process()
        while true {
            let owner = unsafe state.pointee.owner.load(ordering: .acquiring)
            if owner == process { return }
            if owner == process | Self.isBeingSetUp {
                // Another thread of this process is at it; it waits for nobody.
                careg_system_yield()
                continue
            }
            let (isOurs, _) = unsafe state.pointee.owner.compareExchange(
                expected: owner, desired: process | Self.isBeingSetUp, ordering: .acquiringAndReleasing)
            guard isOurs else { continue }
            for index in 0..<Limits.connections {
                // Only this process's copy is closed: the parent's connection lives.
                closeDescriptor(index)
                unsafe connections[index].forget()
                unsafe taken[index].store(0, ordering: .relaxed)
            }
            unsafe state.pointee.isMoving.store(0, ordering: .relaxed)
            unsafe state.pointee.waiters.store(0, ordering: .relaxed)
            unsafe state.pointee.failures.store(0, ordering: .relaxed)
            unsafe state.pointee.quietUntil.store(0, ordering: .relaxed)
            unsafe state.pointee.silentUntil.store(0, ordering: .relaxed)
            unsafe state.pointee.owner.store(process, ordering: .releasing)
            return
        }
    }

    // MARK: Moving over

    /// - Returns: false where another thread is at it.
    func tryMoving() -> Bool {
        own()
        return unsafe state.pointee.isMoving.compareExchange(
            expected: 0, desired: 1, ordering: .acquiringAndReleasing
        ).exchanged
    }

    func endMoving() { unsafe state.pointee.isMoving.store(0, ordering: .releasing) }

    // MARK: Quiet

    /// Whether the daemon is to be left alone.
    ///
    /// - Parameters:
    ///   - signOfLife: CLOCK_MONOTONIC of the daemon's last one; 0: none is known.
    ///   - isExpected: a daemon is about to serve. That there was none a moment ago says nothing then; that it kept callers
    ///     waiting does.
    func isQuiet(at now: UInt64, signOfLife: UInt64, isExpected: Bool) -> Bool {
        own()
        guard unsafe state.pointee.failures.load(ordering: .acquiring) != 0 else { return false }
        if isExpected { return unsafe now < state.pointee.silentUntil.load(ordering: .relaxed) }
        if unsafe signOfLife > state.pointee.failedAt.load(ordering: .relaxed) { return false }
        return unsafe now < state.pointee.quietUntil.load(ordering: .relaxed)
    }

    private func noteAnswer() {
        if unsafe state.pointee.failures.load(ordering: .relaxed) != 0 {
            unsafe state.pointee.failures.store(0, ordering: .releasing)
        }
    }

    /// Leaves the daemon alone for some time.
    ///
    /// - Parameter cost: how long callers have waited in vain, nanoseconds; 0 where the daemon refused at once.
    func noteFailure(at now: UInt64, cost: UInt64) {
        let failures = unsafe state.pointee.failures.load(ordering: .relaxed)
        var quiet = Limits.firstQuiet &<< UInt64(min(failures, 10))
        if quiet > Limits.longestQuiet { quiet = Limits.longestQuiet }
        if cost != 0 { quiet = max(quiet, min(cost &* Limits.silenceFactor, Limits.longestSilence)) }
        unsafe state.pointee.failedAt.store(now, ordering: .relaxed)
        unsafe state.pointee.quietUntil.store(now &+ quiet, ordering: .relaxed)
        if cost != 0 { unsafe state.pointee.silentUntil.store(now &+ quiet, ordering: .relaxed) }
        unsafe state.pointee.failures.store(min(failures &+ 1, 1000), ordering: .releasing)
    }

    // MARK: Asking

    /// Asks the daemon once, and a second time, by a new connection, where one that lay idle turns out to be dead.
    ///
    /// - Parameter hasTurn: false where time was over before a connection was free: that says nothing of the daemon.
    /// - Returns: a return value of careg_verify; `out` is set for `CAREG_ANSWERED`, before the connection is free again.
    func ask(
        _ question: Question, socketPath: UnsafePointer<CChar>, deadline: UInt64, hasTurn: inout Bool,
        _ take: (DaemonVerdict) -> Void
    ) -> CInt {
        own()
        guard let index = acquire(until: deadline) else {
            hasTurn = false
            return CAREG_E_TIMEOUT
        }
        defer { release(index) }
        while true {
            let isUsed = unsafe connections[index].isOpen
            if !isUsed {
                let code = unsafe connect(index, socketPath, deadline: deadline)
                if code != CAREG_ANSWERED { return code }
            }
            let buffer = unsafe ConnectionBuffer(buffers + index * ConnectionBuffer.byteCount)
            let (outcome, verdict) = unsafe connections[index].exchange(question, buffer, deadline: deadline)
            switch outcome {
            case .answered:
                noteAnswer()
                take(verdict)
                return CAREG_ANSWERED
            case .refused(let code):
                return code
            case .broken:
                disconnect(index)
                // It may have ended while it lay idle, with the daemon that it belonged to.
                guard isUsed else { return CAREG_E_UNAVAILABLE }
            case .silent:
                disconnect(index)
                return CAREG_E_TIMEOUT
            case .unintelligible:
                disconnect(index)
                return CAREG_E_PROTOCOL
            }
        }
    }

    private func connect(_ index: Int, _ path: UnsafePointer<CChar>, deadline: UInt64) -> CInt {
        while true {
            let result = unsafe careg_system_connect(path)
            if result >= 0 {
                unsafe identities[index].store(careg_system_socket_identity(result), ordering: .releasing)
                unsafe descriptors[index].store(result &+ 1, ordering: .releasing)
                unsafe connections[index].open(result)
                return CAREG_ANSWERED
            }
            switch -result {
            case EACCES, EPERM: return CAREG_E_DENIED
            case ENOMEM, ENOBUFS, EMFILE, ENFILE: return CAREG_E_MEMORY
            case EAGAIN:
                // The daemon's queue is full for the moment.
                let now = careg_system_nanoseconds()
                guard now < deadline else { return CAREG_E_TIMEOUT }
                careg_system_pause(min(Limits.firstPause, deadline &- now))
            case EINTR: continue
            default: return CAREG_E_UNAVAILABLE
            }
        }
    }

    private func disconnect(_ index: Int) {
        unsafe connections[index].forget()
        closeDescriptor(index)
    }

    // MARK: Free connections

    private func tryTaking(_ index: Int) -> Bool {
        unsafe taken[index].compareExchange(expected: 0, desired: 1, ordering: .acquiringAndReleasing).exchanged
    }

    private func giveBack(_ index: Int) { unsafe taken[index].store(0, ordering: .releasing) }

    /// A connection of this caller's own for a while: an open one before one that is not.
    ///
    /// - Returns: nil where time is over.
    private func acquire(until deadline: UInt64) -> Int? {
        while true {
            let seen = unsafe releases.pointee.load(ordering: .acquiring)
            var closed: Int?
            for index in 0..<Limits.connections {
                guard tryTaking(index) else { continue }
                if unsafe connections[index].isOpen {
                    if let closed { giveBack(closed) }
                    return index
                }
                if closed == nil {
                    closed = index
                } else {
                    giveBack(index)
                }
            }
            if let closed { return closed }
            let now = careg_system_nanoseconds()
            guard now < deadline else { return nil }
            unsafe state.pointee.waiters.add(1, ordering: .sequentiallyConsistent)
            unsafe careg_system_wait_while(UnsafeRawPointer(releases), seen, deadline &- now)
            unsafe state.pointee.waiters.subtract(1, ordering: .sequentiallyConsistent)
        }
    }

    private func release(_ index: Int) {
        giveBack(index)
        unsafe releases.pointee.add(1, ordering: .sequentiallyConsistent)
        if unsafe state.pointee.waiters.load(ordering: .sequentiallyConsistent) != 0 {
            unsafe careg_system_wake_one(UnsafeRawPointer(releases))
        }
    }
}
