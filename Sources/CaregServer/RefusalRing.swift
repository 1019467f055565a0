internal import Certificates
internal import Logging
internal import Registry
public import RegistryStore
internal import Synchronization
internal import TTRPC

/// A call that was denied, or a change that was refused.
public struct RefusalRecord: Sendable {
    /// 1 for the first since the daemon's start.
    public internal(set) var number: UInt64 = 0
    public var time: WallTime
    public var caller: Caller
    public var method: String
    /// An ErrorInfo reason.
    public var reason: String
}

/// The last refusals, in memory. They are no changes: they move no revision and are in no log on disk, so that nobody can
/// fill the disk by being refused.
final class RefusalRing: Sendable {
    private struct State {
        var records: [RefusalRecord] = []
        /// Where the next one goes, once the ring is full.
        var next = 0
        var total: UInt64 = 0
    }

    private let capacity: Int
    private let state = Mutex(State())

    init(capacity: Int) {
        self.capacity = max(1, capacity)
    }

    func append(_ record: RefusalRecord) {
        state.withLock { state in
            state.total += 1
            var record = record
            record.number = state.total
            if state.records.count < capacity {
                state.records.append(record)
            } else {
                state.records[state.next] = record
                state.next = (state.next + 1) % capacity
            }
        }
    }

    /// The oldest first.
    var records: [RefusalRecord] {
        state.withLock { Array($0.records[$0.next...] + $0.records[..<$0.next]) }
    }

    /// A page of those after a number.
    struct Page {
        /// The oldest first.
        var rows: ArraySlice<RefusalRecord>
        /// There are more after the last of them.
        var hasMore: Bool
        /// How many there are after the number, on all pages.
        var totalSize: Int
    }

    /// Those after `number`: at most `size` of them, beginning after `cursor`.
    func page(after number: UInt64, from cursor: UInt64, size: Int) -> Page {
        let all = records.drop { $0.number <= number }
        let left = all.drop { $0.number <= cursor }
        return Page(rows: left.prefix(size), hasMore: left.count > size, totalSize: all.count)
    }
}

/// Lets so many lines through in a second, and counts the others.
final class LineThrottle: Sendable {
    private struct State {
        var second = Int64.min
        var lines = 0
        var withheld: UInt64 = 0
    }

    private let linesPerSecond: Int
    private let state = Mutex(State())

    init(linesPerSecond: Int) {
        self.linesPerSecond = linesPerSecond
    }

    /// How many lines were withheld since the last one that was let through; nil where this one is withheld too.
    func admit(at now: WallTime) -> UInt64? {
        state.withLock { state in
            let second = now.instant.secondsSince1970
            if second != state.second {
                state.second = second
                state.lines = 0
            }
            guard state.lines < linesPerSecond else {
                state.withheld += 1
                return nil
            }
            state.lines += 1
            defer { state.withheld = 0 }
            return state.withheld
        }
    }
}

/// How many calls failed since the daemon's start for a fault of the daemon, its disk or a record. A full disk is none.
final class FaultTally: Sendable {
    private let number = Atomic<Int>(0)

    var count: Int { number.load(ordering: .relaxed) }

    func note(_ fault: any Error) {
        if let fault = fault as? StoreFault, fault.isDiskFull { return }
        number.add(1, ordering: .relaxed)
    }
}

/// Takes down what did not go well: refusals in the ring, refusals and faults in the log, and all of it in the metrics.
/// With the log level debug, each call is a line; but for verdicts on known devices, which are answered in place.
struct CallJournal: Sendable {
    let clock: @Sendable () -> WallTime
    let log: Logger
    let refusals: RefusalRing
    let metrics: ServiceMetrics
    let faults = FaultTally()
    private let refusalLines: LineThrottle
    private let faultLines: LineThrottle
    private let requests = RequestCount()

    /// Calls since the start, but for those that were answered in place.
    private final class RequestCount: Sendable {
        let last = Atomic<UInt64>(0)
    }

    init(clock: @escaping @Sendable () -> WallTime, log: Logger, limits: ServiceLimits, metrics: ServiceMetrics) {
        self.clock = clock
        self.log = log
        self.metrics = metrics
        refusals = RefusalRing(capacity: limits.refusalsKept)
        refusalLines = LineThrottle(linesPerSecond: limits.refusalLinesPerSecond)
        faultLines = LineThrottle(linesPerSecond: limits.refusalLinesPerSecond)
    }

    func nextRequest() -> UInt64 {
        requests.last.wrappingAdd(1, ordering: .relaxed).newValue
    }

    /// What went well is in the log for those who look for something.
    func noteAnswer(_ context: CallContext, of wire: ServerCall) {
        log.debug("call answered", metadata: Self.metadata(context, wire))
    }

    /// What is merely not found by a reader is no event: such a refusal is told to those only who look for something.
    func note(_ error: any Error, _ context: CallContext, of wire: ServerCall) {
        if let refusal = error as? Refusal {
            metrics.count(refusal)
            if context.changes || refusal.reason == .callerNotAllowed {
                note(refusal, context, wire)
            } else {
                log.debug("call refused", metadata: Self.metadata(context, wire, reason: refusal.reason))
            }
        } else {
            note(fault: error, context, wire)
        }
    }

    private func note(_ refusal: Refusal, _ context: CallContext, _ wire: ServerCall) {
        let now = clock()
        refusals.append(
            RefusalRecord(
                time: now, caller: Caller(wire.peer), method: context.method, reason: refusal.reason.rawValue))
        guard let withheld = refusalLines.admit(at: now) else { return }
        let metadata = Self.metadata(context, wire, reason: refusal.reason, withheld: withheld)
        if refusal.reason == .callerNotAllowed {
            log.warning("caller denied", metadata: metadata)
        } else {
            log.notice("change refused", metadata: metadata)
        }
    }

    private func note(fault: any Error, _ context: CallContext, _ wire: ServerCall) {
        metrics.countFault()
        faults.note(fault)
        guard let withheld = faultLines.admit(at: clock()) else { return }
        var metadata = Self.metadata(context, wire, withheld: withheld)
        metadata["error"] = "\(fault)"
        log.error("call failed", metadata: metadata)
    }

    private static func metadata(
        _ context: CallContext, _ wire: ServerCall, reason: RefusalReason? = nil, withheld: UInt64 = 0
    ) -> Logger.Metadata {
        let caller = Caller(wire.peer)
        var metadata: Logger.Metadata = [
            "request": "\(context.request)", "method": "\(context.method)", "socket": "\(wire.listener)",
            "uid": "\(caller.userID)", "gid": "\(caller.groupID)", "pid": "\(caller.processID)",
            "microseconds": "\(Int64(wire.age / .microseconds(1)))",
        ]
        if let reason { metadata["reason"] = "\(reason.rawValue)" }
        if withheld > 0 { metadata["withheld"] = "\(withheld)" }
        return metadata
    }
}
