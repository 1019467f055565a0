internal import CoreMetrics
internal import Registry
internal import RegistryStore
internal import Synchronization
internal import TTRPC
internal import TrustMap

/// Puts what others count into the metrics, when they are asked for.
final class MetricsSampler: Sendable {
    /// Days for which the CA certificates that end are counted; 0: those that have ended.
    static let expiryDays: [Int64] = [0, 7, 30, 90]

    private let metrics: MetricsRegistry
    private let status: DaemonStatus
    /// What counters that are kept elsewhere said last: a counter can only be told how much more it is.
    private let lastCounts = Mutex<[String: UInt64]>([:])

    init(_ metrics: MetricsRegistry, status: DaemonStatus) {
        self.metrics = metrics
        self.status = status
    }

    /// All metrics, as they are now.
    func text() throws -> String {
        try sampleRegistry()
        sampleWriter()
        sampleWire()
        sampleThisRoom()
        sampleTrustMaps()
        return PrometheusText.encode(metrics)
    }

    private func sampleRegistry() throws {
        let figures = try status.registry.figures()
        set(
            "careg_build_info", 1,
            [
                ("version", status.facts.version), ("region", figures.identity.region),
                ("history_id", figures.identity.historyID),
            ])
        set("careg_start_time_seconds", Double(status.startTime.milliseconds) / 1_000)
        set("careg_revision", Double(figures.revision.number))
        set("careg_instances", Double(figures.instances))
        set("careg_ca_certificates", Double(figures.tally.activeCas), [("status", "active")])
        set("careg_ca_certificates", Double(figures.tally.inactiveCas), [("status", "inactive")])
        for status in DeviceStatus.allCases {
            set("careg_device_certificates", Double(figures.tally[status]), [("status", "\(status)")])
        }
        for days in Self.expiryDays {
            // Where a record is damaged they cannot be counted, and the status says so.
            guard let count = try? status.expiring(withinDays: days).count else { break }
            set("careg_ca_certificates_expiring", Double(count), [("days", String(days))])
        }
    }

    private func sampleWriter() {
        let statistics = status.registry.writer.statistics
        count("careg_commits_total", statistics.commits)
        count("careg_commands_total", statistics.commands)
        count("careg_command_refusals_total", statistics.refusals)
        count("careg_command_faults_total", statistics.faults)
        set("careg_largest_commit_changes", Double(statistics.largestGroup))
        set("careg_writer_waiting_commands", Double(statistics.waiting))
        set("careg_disk_full", statistics.isDiskFull ? 1 : 0)
        if let storage = status.sources.storage() {
            set("careg_data_bytes", Double(storage.dataBytes))
            set("careg_free_bytes", Double(storage.freeBytes))
        }
    }

    private func sampleWire() {
        let statistics = status.connections
        set("careg_connections", Double(statistics.connections))
        set("careg_calls_in_flight", Double(statistics.callsInFlight))
        set("careg_request_bytes", Double(statistics.requestBytes))
        set("careg_unsent_bytes", Double(statistics.unsentBytes))
        count("careg_connections_accepted_total", UInt64(clamping: statistics.accepted))
        count("careg_connections_refused_total", UInt64(clamping: statistics.refusedConnections))
        count("careg_connections_cut_off_total", UInt64(clamping: statistics.cutOff))
        count("careg_requests_refused_total", UInt64(clamping: statistics.refusedRequests))
    }

    private func sampleThisRoom() {
        set("careg_verifications_waiting", Double(status.workplaces.verification.waiting))
        set("careg_queries_waiting", Double(status.workplaces.queries.waiting))
        set("careg_watchers", Double(status.feed.watcherCount))
        set("careg_watcher_lag_revisions", Double(status.feed.watcherLag))
        set("careg_polls_waiting", Double(status.feed.pollCount))
        set("careg_backups_running", Double(status.workplaces.backups.running))
    }

    private func sampleTrustMaps() {
        for map in status.sources.trustMaps() {
            let labels = [("file", map.file)]
            set("careg_trust_map_devices", Double(map.statistics.devices), labels)
            set("careg_trust_map_slots", Double(map.statistics.deviceSlots), labels)
            set("careg_trust_map_bytes", Double(map.statistics.bytes), labels)
            set("careg_trust_map_revision", Double(map.statistics.revision), labels)
            set("careg_trust_map_omitted_devices", Double(map.statistics.omitted), labels)
            set("careg_trust_map_heartbeat_age_seconds", Double(map.statistics.heartbeatAge) / 1e9, labels)
        }
    }

    private func set(_ name: String, _ value: Double, _ labels: [(String, String)] = []) {
        Meter(label: name, dimensions: labels, factory: metrics).set(value)
    }

    private func count(_ name: String, _ total: UInt64) {
        lastCounts.withLock { last in
            let before = last[name] ?? 0
            guard total > before || last[name] == nil else { return }
            Counter(label: name, factory: metrics).increment(by: Int64(clamping: total - before))
            last[name] = total
        }
    }
}
