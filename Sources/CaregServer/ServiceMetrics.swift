internal import CoreMetrics
internal import Registry
internal import RegistryStore
internal import Synchronization
internal import TTRPC
internal import Verification

/// What this room measures as it happens. What is read off at a scrape is in ``MetricsSampler``.
final class ServiceMetrics: Sendable {
    /// The label of instances beyond those that are told apart.
    static let otherInstances = "other"

    /// What is measured of one method. Owner of what varies: the lock of the metrics.
    private final class Calls: @unchecked Sendable {
        let times: HistogramSeries
        /// Most calls end so.
        let successes: CounterSeries
        var others: [Int32: CounterSeries] = [:]

        init(times: HistogramSeries, successes: CounterSeries) {
            self.times = times
            self.successes = successes
        }
    }

    private struct VerdictKey: Hashable {
        let instance: String
        let reason: VerdictReason
    }

    private struct Lazy {
        /// By the methods' places in the server's table.
        var calls: [Calls?] = []
        var verdicts: [VerdictKey: CounterSeries] = [:]
        var instances: Set<String> = []
        var lastRevision: Revision?
    }

    let registry: MetricsRegistry
    private let verdictInstances: Int
    private let lazy = Mutex(Lazy())
    private let commitChanges: Recorder
    /// Verdicts by what they cost.
    private let known: CounterSeries
    private let searched: CounterSeries
    private let firstSights: CounterSeries
    private let faults: Counter

    init(_ registry: MetricsRegistry, limits: ServiceLimits) {
        self.registry = registry
        verdictInstances = limits.verdictInstances
        registry.describe(Self.descriptions)
        commitChanges = Recorder(label: "careg_commit_changes", factory: registry)
        faults = Counter(label: "careg_faults_total", factory: registry)
        known = registry.counter("careg_verifies_total", [("by", "known")])
        searched = registry.counter("careg_verifies_total", [("by", "search")])
        firstSights = registry.counter("careg_verifies_total", [("by", "first_sight")])
    }

    /// A call of a known method has ended, or several have. On an event-loop thread.
    func count(_ record: CallRecord) {
        let calls = lazy.withLock { lazy in
            if record.methodIndex < lazy.calls.count, let known = lazy.calls[record.methodIndex] { return known }
            return addCalls(record, &lazy)
        }
        calls.times.record(Double(record.durationNanoseconds) / 1e9, count: record.count)
        if record.status == 0 { return calls.successes.increment(by: Int64(record.count)) }
        let counter = lazy.withLock { _ in
            if let known = calls.others[record.status] { return known }
            let counter = callCounter(record.method, record.status)
            calls.others[record.status] = counter
            return counter
        }
        counter.increment(by: Int64(record.count))
    }

    private func addCalls(_ record: CallRecord, _ lazy: inout Lazy) -> Calls {
        while lazy.calls.count <= record.methodIndex { lazy.calls.append(nil) }
        let calls = Calls(
            times: registry.times("careg_call_duration_seconds", [("method", record.method)]),
            successes: callCounter(record.method, 0))
        lazy.calls[record.methodIndex] = calls
        return calls
    }

    private func callCounter(_ method: String, _ status: Int32) -> CounterSeries {
        registry.counter("careg_calls_total", [("method", method), ("code", Self.name(ofCode: status))])
    }

    /// A verdict was told.
    func count(_ reason: VerdictReason, instanceID: String) {
        counter(of: reason, instanceID: instanceID).increment(by: 1)
    }

    /// A verdict was told of a known device: no path was searched.
    func countKnown() {
        known.increment(by: 1)
    }

    /// A verdict was told after a search for paths.
    func countSearched(registered: Bool) {
        (registered ? firstSights : searched).increment(by: 1)
    }

    /// What counts an instance's verdicts of a reason.
    func counter(of reason: VerdictReason, instanceID: String) -> CounterSeries {
        lazy.withLock { lazy in
            // Names that callers make up are no labels.
            var instance = reason == .instanceUnknown ? "" : instanceID
            if !instance.isEmpty, !lazy.instances.contains(instance) {
                if lazy.instances.count < verdictInstances {
                    lazy.instances.insert(instance)
                } else {
                    instance = Self.otherInstances
                }
            }
            let key = VerdictKey(instance: instance, reason: reason)
            if let known = lazy.verdicts[key] { return known }
            let counter = registry.counter(
                "careg_verdicts_total", [("instance", instance), ("reason", Self.name(of: reason))])
            lazy.verdicts[key] = counter
            return counter
        }
    }

    /// A call was refused.
    func count(_ refusal: Refusal) {
        Counter(
            label: "careg_refusals_total", dimensions: [("reason", refusal.reason.rawValue)], factory: registry
        ).increment()
        if refusal.reason == .limitReached {
            Counter(
                label: "careg_limits_reached_total",
                dimensions: [("limit", refusal.metadata["limit"] ?? "unnamed")], factory: registry
            ).increment()
        }
    }

    /// A call failed for a fault of ours.
    func countFault() {
        faults.increment()
    }

    /// A commit was made; its changes are the revisions since the one before.
    func noteCommit(_ revision: Revision) {
        let changes = lazy.withLock { lazy in
            defer { lazy.lastRevision = revision }
            return lazy.lastRevision.map { revision.number &- $0.number }
        }
        if let changes { commitChanges.record(Int64(clamping: changes)) }
    }

    /// From where on the changes of a commit are counted.
    func beginCommits(at revision: Revision) {
        lazy.withLock { if $0.lastRevision == nil { $0.lastRevision = revision } }
    }

    static func name(of reason: VerdictReason) -> String {
        var name = ""
        for character in "\(reason)" {
            if character.isUppercase { name += "_" }
            name += character.uppercased()
        }
        return name
    }

    /// The name that gRPC gives to a code.
    static func name(ofCode code: Int32) -> String {
        let names = [
            "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
            "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
            "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
        ]
        return names.indices.contains(Int(code)) ? names[Int(code)] : "UNKNOWN"
    }
}

extension ServiceMetrics {
    private static let sizes: [Double] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000]

    /// Every family that is shown.
    static let descriptions: [MetricDescription] = [
        // As it happens
        counter("careg_calls_total", "Calls that have ended, by method and gRPC code."),
        histogram(
            "careg_call_duration_seconds", HistogramSeries.defaultBounds,
            "Time from a whole request to its answer; for a stream, to its end."),
        counter("careg_verdicts_total", "Verdicts, by instance and reason."),
        counter(
            "careg_verifies_total",
            "Verdicts by what decided: known, the trust map; search, a search for paths; first_sight, one that registered the device."
        ),
        counter("careg_refusals_total", "Refused calls, by ErrorInfo reason."),
        counter("careg_limits_reached_total", "Calls refused because a limit was reached, by limit."),
        counter("careg_faults_total", "Calls that failed for a fault of the daemon or its disk."),
        histogram("careg_commit_changes", sizes, "Changes in one commit."),
        // The registry
        gauge("careg_build_info", "Always 1; the labels say which daemon this is."),
        gauge("careg_start_time_seconds", "When the daemon started, in seconds since 1970."),
        gauge("careg_revision", "The last committed change."),
        gauge("careg_instances", "Instances of the region."),
        gauge("careg_ca_certificates", "Registered CA certificates, by status."),
        gauge("careg_device_certificates", "Known device certificates, by status; deleted: tombstones."),
        gauge(
            "careg_ca_certificates_expiring",
            "Active CA certificates that end within so many days; 0: those that have ended."),
        // The writer
        counter("careg_commits_total", "Commits that changed something."),
        counter("careg_commands_total", "Commands that the writer decided."),
        counter("careg_command_refusals_total", "Commands that the writer refused."),
        counter("careg_command_faults_total", "Commands that could not be written."),
        gauge("careg_largest_commit_changes", "Changes in the largest commit so far."),
        gauge("careg_writer_waiting_commands", "Commands that wait for the writer."),
        gauge("careg_disk_full", "1 while writes are refused for want of room."),
        gauge("careg_data_bytes", "Size of the data file."),
        gauge("careg_free_bytes", "Free on the state folder's file system."),
        // The wire
        gauge("careg_connections", "Open connections."),
        gauge("careg_calls_in_flight", "Calls that wait for their answer."),
        gauge("careg_request_bytes", "Bytes of requests in flight beyond what each connection is guaranteed."),
        gauge("careg_unsent_bytes", "Bytes of answers that peers have not taken."),
        counter("careg_connections_accepted_total", "Connections accepted."),
        counter("careg_connections_refused_total", "Connections closed at once, for there were too many."),
        counter("careg_connections_cut_off_total", "Connections cut off for a stall."),
        counter("careg_requests_refused_total", "Requests that the transport itself refused."),
        // This room
        gauge("careg_verifications_waiting", "Calls that wait for a verification thread."),
        gauge("careg_queries_waiting", "Calls that wait for a query thread."),
        gauge("careg_watchers", "Open Watch streams."),
        gauge("careg_watcher_lag_revisions", "Revisions that the slowest Watch stream has not been sent yet."),
        gauge("careg_polls_waiting", "Polls that wait for a change."),
        gauge("careg_backups_running", "Backups under way."),
        // The fast path
        gauge("careg_trust_map_devices", "Device certificates in a trust map."),
        gauge("careg_trust_map_slots", "Slots for device certificates in a trust map."),
        gauge("careg_trust_map_bytes", "Size of a trust map."),
        gauge("careg_trust_map_revision", "The revision that a trust map was brought to."),
        gauge("careg_trust_map_omitted_devices", "Device certificates that found no room in a trust map."),
        gauge("careg_trust_map_heartbeat_age_seconds", "Time since the last heartbeat of a trust map."),
    ]

    private static func counter(_ name: String, _ help: String) -> MetricDescription {
        MetricDescription(name: name, kind: .counter, help: help)
    }

    private static func gauge(_ name: String, _ help: String) -> MetricDescription {
        MetricDescription(name: name, kind: .gauge, help: help)
    }

    private static func histogram(_ name: String, _ bounds: [Double], _ help: String) -> MetricDescription {
        MetricDescription(name: name, kind: .histogram(bounds: bounds), help: help)
    }
}
