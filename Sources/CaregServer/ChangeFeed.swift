internal import CaregProto
internal import Dispatch
internal import Registry
public import RegistryStore
internal import SwiftProtobuf
internal import Synchronization
internal import TTRPC

/// Tells of commits. The registry needs it before the services are there, and the services need the registry.
public final class CommitSignal: Sendable {
    private let listeners = Mutex<[@Sendable (Revision) -> Void]>([])

    /// Nobody listens yet.
    public init() {}

    /// A commit is on disk, and the mirrors have followed. Before anything else is committed: must be short.
    public func note(_ revision: Revision) {
        for listener in listeners.withLock({ $0 }) { listener(revision) }
    }

    func listen(_ listener: @escaping @Sendable (Revision) -> Void) {
        listeners.withLock { $0.append(listener) }
    }
}

/// Whose polls and streams count together.
extension Contender {
    init(_ peer: PeerCredentials) {
        self.init(userID: peer.userID, processID: peer.processID)
    }
}

/// Brings committed changes to those who wait for them: Poll and Watch.
///
/// Owner of all that varies: its queue. The writer only leaves word that there is something new, so that no watcher, however
/// slow, holds up a commit.
final class ChangeFeed: @unchecked Sendable {
    /// A stream of changes.
    private final class Watcher {
        let call: StreamCall<Careg_V1_WatchResponse>
        let contender: Contender
        var position: Revision
        /// The first message, which says where the stream begins, was sent.
        var hasBegun = false
        /// The peer has to read before it is sent more.
        var isBlocked = false
        var isScheduled = false

        init(_ call: StreamCall<Careg_V1_WatchResponse>, from position: Revision) {
            self.call = call
            contender = Contender(call.wire.peer)
            self.position = position
        }
    }

    /// A Poll that waits.
    private struct WaitingPoll {
        let poll: Poll
        var position: Revision
        let deadline: DispatchTime
        let contender: Contender
    }

    /// What a Poll asks for.
    struct Poll: Sendable {
        let call: Call<Careg_V1_PollResponse>
        var since: Revision
        var historyID: String
        var limit: Int
        var waitMilliseconds: Int64
    }

    private let registry: Registry
    private let historyID: String
    private let limits: ServiceLimits
    private let queue = DispatchQueue(label: "caregd.changes")
    private let newest: Atomic<UInt64>
    private let isPumpScheduled = Atomic<Bool>(false)
    private let watcherTotal = Atomic<Int>(0)
    private let pollTotal = Atomic<Int>(0)

    private var tail: ChangeTail
    private var watchers: [UInt64: Watcher] = [:]
    private var polls: [UInt64: WaitingPoll] = [:]
    private var shares: [Contender: (watchers: Int, polls: Int)] = [:]
    private var lastNumber: UInt64 = 0
    private var alarm: (any DispatchSourceTimer)?
    private var alarmTime: DispatchTime?
    private var isStopped = false
    /// The rules in force since the last ``recheck(_:)``; nil: those that every call came under.
    private var latestAccess: (@Sendable (ServerCall) throws -> Access)?

    init(_ registry: Registry, identity: Store.Identity, from revision: Revision, limits: ServiceLimits) {
        self.registry = registry
        historyID = identity.historyID
        self.limits = limits
        newest = Atomic(revision.number)
        tail = ChangeTail(after: revision, capacity: limits.keptChanges)
    }

    // MARK: Any thread

    var watcherCount: Int { watcherTotal.load(ordering: .relaxed) }
    var pollCount: Int { pollTotal.load(ordering: .relaxed) }

    /// How many revisions the slowest watcher is behind. Waits for the feed's queue: not for an event loop.
    var watcherLag: UInt64 {
        queue.sync {
            let newest = newest.load(ordering: .acquiring)
            return watchers.values.map { newest - min(newest, $0.position.number) }.max() ?? 0
        }
    }

    func noteCommit(_ revision: Revision) {
        newest.store(revision.number, ordering: .releasing)
        if !isPumpScheduled.exchange(true, ordering: .acquiringAndReleasing) {
            queue.async { self.pump() }
        }
    }

    /// Answers a Poll from the change log, or lets it wait. Reads tables: on a thread that has the time.
    func poll(_ poll: Poll) {
        if poll.call.wire.isOver { return }
        do {
            let page = try registry.changes(after: poll.since, of: poll.historyID, limit: poll.limit) {
                $0.isFor(poll.call.access)
            }
            guard page.entries.isEmpty, page.reached == page.last, poll.waitMilliseconds > 0 else {
                return answer(poll, page.entries, reached: page.reached)
            }
            queue.async { self.admit(poll, at: page.reached) }
        } catch {
            poll.call.fail(error)
        }
    }

    func watch(_ call: StreamCall<Careg_V1_WatchResponse>, since: Revision, historyID: String) {
        queue.async { self.admit(call, since: since, historyID: historyID) }
    }

    /// Ends the polls and streams whose callers may have other access now; asked again, they get what they may have.
    ///
    /// - Parameter access: what a caller may have now; throws for nothing.
    func recheck(_ access: @escaping @Sendable (ServerCall) throws -> Access) {
        queue.async { [self] in
            latestAccess = access
            for (number, waiting) in polls where !holds(waiting.poll.call.access, of: waiting.poll.call.wire, access) {
                _ = removePoll(number)
                answer(waiting.poll, [], reached: waiting.position)
            }
            for (number, watcher) in watchers where !holds(watcher.call.access, of: watcher.call.wire, access) {
                removeWatcher(number)?.call.fail(Self.changedAccess)
            }
        }
    }

    private static let changedAccess = Refusal(
        .callerNotAllowed, "The daemon's access rules have changed. Begin again.")

    private func holds(
        _ given: Access, of wire: ServerCall, _ access: (ServerCall) throws -> Access
    ) -> Bool {
        do {
            return try access(wire) == given
        } catch {
            return false
        }
    }

    /// Answers the polls that wait, and ends the streams. Who comes later does not wait.
    func stop() {
        queue.sync {
            isStopped = true
            for number in Array(polls.keys) {
                if let waiting = removePoll(number) { answer(waiting.poll, [], reached: waiting.position) }
            }
            for number in Array(watchers.keys) {
                removeWatcher(number)?.call.fail(Refusal(ProtocolFailure.shuttingDown))
            }
            alarm?.cancel()
            alarm = nil
        }
    }

    // MARK: On the queue

    private func pump() {
        // An exchange, not a store: what was noted before it is seen after it.
        _ = isPumpScheduled.exchange(false, ordering: .acquiringAndReleasing)
        let newest = Revision(newest.load(ordering: .acquiring))
        if watchers.isEmpty && polls.isEmpty {
            return tail.clear(after: max(newest, tail.last))
        }
        do {
            try tail.follow(registry, historyID: historyID, rows: limits.pageRows)
        } catch {
            // Those who wait read the log by themselves, and are told what is wrong with it.
            tail.clear(after: newest)
        }
        for number in Array(polls.keys) { retry(number) }
        for number in Array(watchers.keys) { serve(number) }
    }

    /// Changes after a revision, from memory where they are kept there.
    private func changes(after position: Revision, limit: Int, _ access: Access) throws -> ChangePage {
        if let page = tail.changes(after: position, limit: limit, where: { $0.isFor(access) }) { return page }
        return try registry.changes(after: position, limit: limit) { $0.isFor(access) }
    }

    // MARK: Poll

    private func admit(_ poll: Poll, at position: Revision) {
        if poll.call.wire.isOver { return }
        do {
            guard !isStopped, hasKeptAccess(poll.call.access, poll.call.wire) else {
                return answer(poll, [], reached: position)
            }
            // What was committed in between is not waited for.
            let page = try changes(after: position, limit: poll.limit, poll.call.access)
            guard page.entries.isEmpty else { return answer(poll, page.entries, reached: page.reached) }
            try park(poll, at: page.reached)
        } catch {
            poll.call.fail(error)
        }
    }

    /// Whether what a caller was given when the call came is still what it may have.
    private func hasKeptAccess(_ access: Access, _ wire: ServerCall) -> Bool {
        latestAccess.map { holds(access, of: wire, $0) } ?? true
    }

    private func park(_ poll: Poll, at position: Revision) throws {
        let contender = Contender(poll.call.wire.peer)
        guard polls.count < limits.waitingPolls,
            shares[contender, default: (0, 0)].polls < max(1, limits.waitingPolls / 2)
        else {
            throw Refusal(
                .limitReached,
                "Too many Polls wait already: \(limits.waitingPolls) at most, half of them of one caller. Use Watch.",
                metadata: ["limit": "waiting_polls"])
        }
        lastNumber += 1
        let number = lastNumber
        let deadline = DispatchTime.now() + .milliseconds(Int(clamping: poll.waitMilliseconds))
        polls[number] = WaitingPoll(poll: poll, position: position, deadline: deadline, contender: contender)
        shares[contender, default: (0, 0)].polls += 1
        pollTotal.store(polls.count, ordering: .relaxed)
        setAlarm(at: deadline)
        poll.call.wire.onOver { [weak self] in
            guard let self else { return }
            queue.async { _ = self.removePoll(number) }
        }
    }

    /// Looks whether a Poll has something to tell now.
    private func retry(_ number: UInt64) {
        guard let waiting = polls[number] else { return }
        do {
            let page = try changes(after: waiting.position, limit: waiting.poll.limit, waiting.poll.call.access)
            polls[number]?.position = page.reached
            if page.entries.isEmpty { return }
            _ = removePoll(number)
            answer(waiting.poll, page.entries, reached: page.reached)
        } catch {
            _ = removePoll(number)
            waiting.poll.call.fail(error)
        }
    }

    private func answer(_ poll: Poll, _ entries: [ChangeRecord], reached: Revision) {
        poll.call.succeed(
            .with {
                $0.historyID = historyID
                $0.changes = entries.map(Careg_V1_Change.init)
                $0.revision = reached.number
            })
    }

    private func removePoll(_ number: UInt64) -> WaitingPoll? {
        guard let waiting = polls.removeValue(forKey: number) else { return nil }
        give(back: waiting.contender) { $0.polls -= 1 }
        pollTotal.store(polls.count, ordering: .relaxed)
        return waiting
    }

    private func give(back contender: Contender, _ change: (inout (watchers: Int, polls: Int)) -> Void) {
        guard var share = shares[contender] else { return }
        change(&share)
        shares[contender] = share.watchers == 0 && share.polls == 0 ? nil : share
    }

    // MARK: Time

    private func setAlarm(at time: DispatchTime) {
        if let alarmTime, alarmTime <= time { return }
        if alarm == nil {
            let timer = DispatchSource.makeTimerSource(queue: queue)
            timer.setEventHandler { [weak self] in self?.ring() }
            timer.schedule(deadline: time)
            timer.activate()
            alarm = timer
        } else {
            alarm?.schedule(deadline: time)
        }
        alarmTime = time
    }

    private func ring() {
        alarmTime = nil
        let now = DispatchTime.now()
        for (number, waiting) in polls where waiting.deadline <= now {
            _ = removePoll(number)
            answer(waiting.poll, [], reached: waiting.position)
        }
        if let next = polls.values.map(\.deadline).min() { setAlarm(at: next) }
    }

    // MARK: Watch

    private func admit(_ call: StreamCall<Careg_V1_WatchResponse>, since: Revision, historyID: String) {
        if call.wire.isOver { return }
        let watcher = Watcher(call, from: since)
        do {
            guard !isStopped else { throw Refusal(ProtocolFailure.shuttingDown) }
            guard hasKeptAccess(call.access, call.wire) else { throw Self.changedAccess }
            try registry.requireKept(since, of: historyID)
            guard watchers.count < limits.watchers,
                shares[watcher.contender, default: (0, 0)].watchers < max(1, limits.watchers / 2)
            else {
                throw Refusal(
                    .limitReached,
                    "Too many Watch streams are open: \(limits.watchers) at most, half of them of one caller.",
                    metadata: ["limit": "watchers"])
            }
        } catch {
            return call.fail(error)
        }
        lastNumber += 1
        let number = lastNumber
        watchers[number] = watcher
        shares[watcher.contender, default: (0, 0)].watchers += 1
        watcherTotal.store(watchers.count, ordering: .relaxed)
        call.wire.onWritable { [weak self] in
            guard let self else { return }
            queue.async { self.unblock(number) }
        }
        call.wire.onOver { [weak self] in
            guard let self else { return }
            queue.async { _ = self.removeWatcher(number) }
        }
        serve(number)
    }

    private func unblock(_ number: UInt64) {
        watchers[number]?.isBlocked = false
        serve(number)
    }

    /// Sends a watcher what it lacks, so much that the others get their turn soon.
    private func serve(_ number: UInt64) {
        guard let watcher = watchers[number], !watcher.isBlocked else { return }
        do {
            if !watcher.hasBegun {
                guard send(watcher, number, try Self.message(historyID, nil, watcher.position)) else { return }
                watcher.hasBegun = true
            }
            let page = try changes(after: watcher.position, limit: limits.changesPerTurn, watcher.call.access)
            for entry in page.entries {
                let message = try tail.message(of: entry) ?? Self.message(historyID, entry, entry.revision)
                guard send(watcher, number, message) else { return }
                watcher.position = entry.revision
            }
            watcher.position = page.reached
        } catch {
            removeWatcher(number)?.call.fail(error)
            return
        }
        guard watcher.position.number < newest.load(ordering: .acquiring), !watcher.isScheduled else { return }
        watcher.isScheduled = true
        queue.async {
            self.watchers[number]?.isScheduled = false
            self.serve(number)
        }
    }

    /// False where the watcher has to wait, or is gone.
    private func send(_ watcher: Watcher, _ number: UInt64, _ message: [UInt8]) -> Bool {
        switch watcher.call.wire.send(message) {
        case .sent: return true
        case .full: watcher.isBlocked = true
        case .over: _ = removeWatcher(number)
        }
        return false
    }

    @discardableResult
    private func removeWatcher(_ number: UInt64) -> Watcher? {
        guard let watcher = watchers.removeValue(forKey: number) else { return nil }
        give(back: watcher.contender) { $0.watchers -= 1 }
        watcherTotal.store(watchers.count, ordering: .relaxed)
        return watcher
    }

    static func message(_ historyID: String, _ entry: ChangeRecord?, _ revision: Revision) throws -> [UInt8] {
        try Careg_V1_WatchResponse.with {
            $0.historyID = historyID
            if let entry { $0.change = Careg_V1_Change(entry) }
            $0.revision = revision.number
        }.serializedBytes()
    }
}

extension ChangeRecord {
    /// Whether a caller is told of it. What is about no instance, a restore, is for all.
    func isFor(_ access: Access) -> Bool {
        instanceID.isEmpty || access.covers(instanceID)
    }
}
