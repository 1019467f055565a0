internal import Dispatch
public import RegistryStore
internal import Synchronization
public import Threads

/// A change that is on disk, with the records that it is about, for those who mirror the registry.
public struct CommittedChange: Sendable {
    public var entry: ChangeRecord
    public var instance: InstanceNumber?
    public var ca: CaID?
    public var device: DeviceID?
}

/// Something that follows the registry: the anchors folder, the trust map.
///
/// Called by the writer after each commit, in revision order, before any answer of that commit leaves. Must not throw: a
/// mirror that cannot follow says so in its own status, and is rebuilt from the tables.
public protocol Mirror: Sendable {
    /// Brings the mirror to the state of `snapshot`, which holds exactly `changes` more than it has seen.
    func apply(_ changes: [CommittedChange], _ snapshot: Snapshot)
}

/// What a command works with while it decides, inside the write transaction.
public struct CommandContext {
    /// The tables.
    public let store: StoreTransaction
    /// When the command is decided; the same for all commands of one commit.
    public let now: WallTime
    /// Who asked.
    public let caller: Caller
    /// The method of the protocol that was called.
    public let method: String
    fileprivate let journal: Journal

    /// Appends the one entry of this command to the change log.
    ///
    /// - Returns: the revision that the command makes. Ask ``nextRevision()`` for it beforehand.
    func record(
        _ kind: ChangeKind, instance: InstanceRecord, ca: CaRecord? = nil, device: DeviceRecord? = nil
    ) throws -> Revision {
        let entry = ChangeRecord(
            kind: kind, time: now, method: method, caller: caller, instanceID: instance.id, ca: ca, device: device)
        let written = try store.append(entry)
        journal.changes.append(
            CommittedChange(entry: written, instance: instance.number, ca: ca?.id, device: device?.id))
        return written.revision
    }

    /// Compacts the change log, and tells of it there.
    func compactLog(before horizon: WallTime, leastRemoved: Int) throws -> StoreTransaction.CompactionReport {
        let cover = ChangeRecord(kind: .logCompacted, time: now, method: method, caller: caller, instanceID: "")
        let (report, entry) = try store.compactLog(
            before: horizon, rows: LogRetention.rowsPerCommit, minimum: leastRemoved, cover: cover)
        if let entry { journal.changes.append(CommittedChange(entry: entry)) }
        return report
    }

    /// The revision that ``record(_:instance:ca:device:)`` will make.
    func nextRevision() throws -> Revision {
        try store.revision().next
    }
}

/// The changes of the commit under way.
private final class Journal {
    var changes: [CommittedChange] = []
}

/// The one writer: takes commands in the order in which they come, and decides as many of them in one LMDB transaction as
/// have come while the last one was committed.
///
/// A command that refuses must do so before it writes. A fault in one command of several aborts the transaction, and each
/// of them is then decided alone, so that nobody pays for another's fault.
public final class Writer: Sendable {
    private let store: Store
    private let limits: RegistryLimits
    private let clock: @Sendable () -> WallTime
    private let mirrors: [any Mirror]
    private let onCommit: @Sendable (Revision) -> Void
    private let onFatal: @Sendable (StoreFault) -> Void
    private let turns = Turns()
    private let wake = DispatchSemaphore(value: 0)
    private let state = Mutex(State())
    private let held = Atomic<Int>(0)

    private struct State {
        var pending: [any Command] = []
        var pendingBytes = 0
        /// The writer itself, while there is work for its thread: it outlives its owner by that.
        var scheduled: Writer?
        var statistics = Statistics()
    }

    /// What the writer has done so far.
    public struct Statistics: Sendable {
        public var commits: UInt64 = 0
        public var commands: UInt64 = 0
        public var refusals: UInt64 = 0
        public var faults: UInt64 = 0
        /// Commands in the largest commit.
        public var largestGroup = 0
        /// Commands that wait now.
        public var waiting = 0
        /// What these hold of memory.
        public var waitingBytes = 0
        /// The last commit failed for want of room.
        public var isDiskFull = false
    }

    /// - Parameters:
    ///   - onCommit: told the revision after each commit, once the mirrors have followed.
    ///   - onFatal: told of a commit that failed for another reason than want of room: what the disk holds is then not
    ///     known, and the process must end.
    /// - Throws: there is no thread for it.
    public init(
        store: Store, limits: RegistryLimits, clock: @escaping @Sendable () -> WallTime, mirrors: [any Mirror],
        onCommit: @escaping @Sendable (Revision) -> Void, onFatal: @escaping @Sendable (StoreFault) -> Void
    ) throws(ThreadError) {
        self.store = store
        self.limits = limits
        self.clock = clock
        self.mirrors = mirrors
        self.onCommit = onCommit
        self.onFatal = onFatal
        // In a storm of new devices a commit holds hundreds of them: those who wait for an event loop go first.
        try startThread("writer", .yielding(niceness: 0)) { [wake, weak self] in
            while true {
                wake.wait()
                guard let self else { return }
                self.work()
            }
        }
    }

    deinit { wake.signal() }

    /// Figures for the status and the metrics.
    public var statistics: Statistics {
        state.withLock { state in
            var statistics = state.statistics
            statistics.waiting = state.pending.count
            statistics.waitingBytes = state.pendingBytes
            return statistics
        }
    }

    /// Hands in a command.
    ///
    /// `completion` is called once: after the commit and the mirrors, before the next commit, on whatever thread committed;
    /// at once, with LIMIT_REACHED, where too much waits.
    ///
    /// - Parameter bytes: what the command holds, beside its closures.
    func submit<Outcome: Sendable>(
        method: String, caller: Caller, bytes: Int = 0,
        decide: @escaping @Sendable (CommandContext) throws -> Outcome,
        completion: @escaping @Sendable (Result<Outcome, any Error>) -> Void
    ) {
        let command = DecidedCommand(
            method: method, caller: caller, bytes: bytes + Self.commandBytes, decide: decide, completion: completion)
        let mustSchedule: Bool? = state.withLock { state in
            guard state.pendingBytes + command.bytes <= limits.waitingCommandBytes else { return nil }
            state.pending.append(command)
            state.pendingBytes += command.bytes
            defer { state.scheduled = self }
            return state.scheduled == nil
        }
        guard let mustSchedule else {
            return completion(
                .failure(
                    Refusal(
                        .limitReached,
                        "Too many changes wait for the disk. Try again in a moment; where it lasts, the disk is too slow.",
                        metadata: ["limit": "waiting_command_bytes"])))
        }
        if mustSchedule { wake.signal() }
    }

    /// What a command holds at least.
    private static let commandBytes = 256

    /// Whether there is room for a command that need not be.
    func hasRoomToSpare(bytes: Int) -> Bool {
        state.withLock { $0.pendingBytes + bytes + Self.commandBytes <= limits.waitingCommandBytes / 2 }
    }

    /// Waits until all that was handed in so far is done.
    public func flush() {
        turns.take {
            while commitNext() {}
        }
    }

    /// Runs `body`, which takes its time, before the next commit: until then nothing is decided, and ``isHeld``.
    public func hold(_ body: () -> Void) {
        held.add(1, ordering: .sequentiallyConsistent)
        defer { held.subtract(1, ordering: .sequentiallyConsistent) }
        turns.take(body)
    }

    /// Commands wait for longer than for a commit.
    public var isHeld: Bool { held.load(ordering: .sequentiallyConsistent) > 0 }

    /// Runs `body` between two commits, on this thread.
    public func betweenCommits<Result>(_ body: () throws -> Result) rethrows -> Result {
        try turns.take(body)
    }

    // A turn for each commit: whoever wants the time between two of them gets it, however many commands wait.
    private func work() {
        while turns.take(commitNext) {}
    }

    /// Decides the commands that wait, as many as one commit may hold. False where none waits.
    private func commitNext() -> Bool {
        let batch = state.withLock { state in
            let batch = Array(state.pending.prefix(limits.commandsPerCommit))
            state.pending.removeFirst(batch.count)
            for command in batch { state.pendingBytes -= command.bytes }
            if batch.isEmpty { state.scheduled = nil }
            return batch
        }
        if batch.isEmpty { return false }
        do {
            try commit(batch)
        } catch {
            for command in batch {
                commitAlone(command, after: error, isOnlyOne: batch.count == 1)
            }
        }
        return true
    }

    private func commitAlone(_ command: any Command, after fault: any Error, isOnlyOne: Bool) {
        var fault = fault
        if !isOnlyOne {
            do {
                return try commit([command])
            } catch {
                fault = error
            }
        }
        note { statistics in
            statistics.faults += 1
            if let fault = fault as? StoreFault, fault.isDiskFull { statistics.isDiskFull = true }
        }
        command.fail(fault)
    }

    private func commit(_ batch: [any Command]) throws {
        let journal = Journal()
        let now = clock()
        do {
            try store.write { transaction in
                for command in batch {
                    let context = CommandContext(
                        store: transaction, now: now, caller: command.caller, method: command.method, journal: journal)
                    let before = journal.changes.count
                    try command.decide(in: context)
                    yieldProcessor()
                    precondition(
                        !command.isRefused || journal.changes.count == before, "a command refused after it wrote")
                }
            }
        } catch let fault as StoreFault where fault.leavesCommitOpen {
            onFatal(fault)
            throw fault
        }
        note { statistics in
            statistics.commits += journal.changes.isEmpty ? 0 : 1
            statistics.commands += UInt64(batch.count)
            statistics.refusals += UInt64(batch.count { $0.isRefused })
            statistics.largestGroup = max(statistics.largestGroup, journal.changes.count)
            if !journal.changes.isEmpty { statistics.isDiskFull = false }
        }
        if let last = journal.changes.last {
            follow(journal.changes)
            onCommit(last.entry.revision)
        }
        for command in batch {
            command.complete()
            yieldProcessor()
        }
    }

    private func follow(_ changes: [CommittedChange]) {
        if mirrors.isEmpty { return }
        do {
            try store.read { snapshot in
                for mirror in mirrors {
                    mirror.apply(changes, snapshot)
                }
            }
        } catch let fault as StoreFault {
            // The change is on disk and cannot be taken back; a mirror that may be behind must not be believed.
            onFatal(fault)
        } catch {
            preconditionFailure("a mirror does not throw: \(error)")
        }
    }

    private func note(_ change: (inout Statistics) -> Void) {
        state.withLock { change(&$0.statistics) }
    }
}

/// A command with its answer, whatever the answer's type.
private protocol Command: AnyObject, Sendable {
    var method: String { get }
    var caller: Caller { get }
    var bytes: Int { get }
    var isRefused: Bool { get }
    func decide(in context: CommandContext) throws
    func complete()
    func fail(_ error: any Error)
}

private final class DecidedCommand<Outcome: Sendable>: Command {
    let method: String
    let caller: Caller
    let bytes: Int
    private let body: @Sendable (CommandContext) throws -> Outcome
    private let completion: @Sendable (Result<Outcome, any Error>) -> Void
    private let result = Mutex<Result<Outcome, any Error>?>(nil)

    init(
        method: String, caller: Caller, bytes: Int,
        decide: @escaping @Sendable (CommandContext) throws -> Outcome,
        completion: @escaping @Sendable (Result<Outcome, any Error>) -> Void
    ) {
        self.method = method
        self.caller = caller
        self.bytes = bytes
        body = decide
        self.completion = completion
    }

    var isRefused: Bool {
        result.withLock { result in
            if case .failure = result { true } else { false }
        }
    }

    func decide(in context: CommandContext) throws {
        do {
            let outcome = try body(context)
            result.withLock { $0 = .success(outcome) }
        } catch let refusal as Refusal {
            result.withLock { $0 = .failure(refusal) }
        }
    }

    func complete() {
        if let result = result.withLock({ $0 }) { completion(result) }
    }

    func fail(_ error: any Error) {
        completion(.failure(error))
    }
}
