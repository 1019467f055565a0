internal import CaregServer
internal import Registry
internal import TTRPC

/// All limits of the daemon.
struct DaemonLimits: Sendable {
    var registry = RegistryLimits()
    var server = ServerLimits()
    var services = ServiceLimits()
    /// Devices that the trust map holds at most.
    var trustMapDevices = 16_000_000
    /// No reader of the trust map goes on longer without a heartbeat, in milliseconds.
    var trustMapStalenessMilliseconds = 60_000
    /// Automatic device registrations older than this, in seconds, are compacted in the change log; 0: never.
    var auditRetentionSeconds = 0
}

extension DaemonLimits {
    fileprivate var stallMilliseconds: Int {
        get { Int(server.stall / .milliseconds(1)) }
        set { server.stall = .milliseconds(newValue) }
    }

    fileprivate var codeLifetimeSeconds: Int {
        get { Int(registry.codeLifetimeSeconds) }
        set { registry.codeLifetimeSeconds = Int64(newValue) }
    }

    fileprivate var longestCodeLifetimeSeconds: Int {
        get { Int(registry.longestCodeLifetimeSeconds) }
        set { registry.longestCodeLifetimeSeconds = Int64(newValue) }
    }

    fileprivate var expiredCodeMemorySeconds: Int {
        get { Int(registry.expiredCodeMemorySeconds) }
        set { registry.expiredCodeMemorySeconds = Int64(newValue) }
    }
}

/// A limit: its name everywhere (file, environment, status), what it may be, and where it is kept.
struct LimitKey: Sendable {
    let name: String
    let range: ClosedRange<Int>
    let place: any WritableKeyPath<DaemonLimits, Int> & Sendable

    private init(
        _ name: String, _ range: ClosedRange<Int>, _ place: any WritableKeyPath<DaemonLimits, Int> & Sendable
    ) {
        self.name = name
        self.range = range
        self.place = place
    }

    /// Every limit there is. A name ends in its unit, where it has one.
    static let all: [LimitKey] = [
        LimitKey("instances", 1...1_000_000, \.registry.instances),
        LimitKey("ca_certificates", 1...1_000_000, \.registry.caCertificates),
        LimitKey("ca_certificates_per_instance", 1...100_000, \.registry.caCertificatesPerInstance),
        LimitKey("open_codes_per_instance", 1...100_000, \.registry.openCodesPerInstance),
        LimitKey("code_lifetime_seconds", 1...315_360_000, \.codeLifetimeSeconds),
        LimitKey("longest_code_lifetime_seconds", 1...315_360_000, \.longestCodeLifetimeSeconds),
        LimitKey("expired_code_memory_seconds", 0...315_360_000, \.expiredCodeMemorySeconds),
        LimitKey("name_characters", 1...1_024, \.registry.nameCharacters),
        LimitKey("certificate_bytes", 1_024...262_144, \.registry.certificateBytes),
        LimitKey("chain_certificates", 1...64, \.registry.chainCertificates),
        LimitKey("chain_bytes", 1_024...1_048_576, \.registry.chainBytes),
        LimitKey("signature_checks", 1...10_000, \.registry.signatureChecks),
        LimitKey("path_steps", 16...10_000_000, \.registry.pathSteps),
        LimitKey("name_comparisons", 16...10_000_000, \.registry.nameComparisons),
        LimitKey("foreign_anchors", 0...10_000, \.registry.foreignAnchors),
        LimitKey("page_rows", 1...1_000, \.registry.pageRows),
        LimitKey("walked_rows_per_page", 1_000...1_000_000, \.registry.walkedRowsPerPage),
        LimitKey("commands_per_commit", 1...100_000, \.registry.commandsPerCommit),
        LimitKey("waiting_command_bytes", 65_536...1_073_741_824, \.registry.waitingCommandBytes),
        LimitKey("connections", 4...100_000, \.server.connections),
        LimitKey("reserved_connections", 0...1_024, \.server.reservedConnections),
        LimitKey("requests_per_connection", 1...65_536, \.server.requestsPerConnection),
        LimitKey("request_bytes", 65_536...4_194_304, \.server.requestBytes),
        LimitKey("frame_bytes", 1_048_576...4_194_304, \.server.frameBytes),
        LimitKey("request_bytes_in_flight", 1_048_576...1_073_741_824, \.server.requestBytesInFlight),
        LimitKey("unsent_bytes", 1_048_576...1_073_741_824, \.server.unsentBytes),
        LimitKey("stall_milliseconds", 100...3_600_000, \.stallMilliseconds),
        LimitKey("event_loops", 1...256, \.server.eventLoops),
        LimitKey("verification_threads", 1...192, \.services.verificationThreads),
        LimitKey("query_threads", 1...192, \.services.queryThreads),
        LimitKey("waiting_verifications", 1...1_000_000, \.services.waitingVerifications),
        LimitKey("waiting_queries", 1...1_000_000, \.services.waitingQueries),
        LimitKey("watchers", 1...100_000, \.services.watchers),
        LimitKey("waiting_polls", 1...100_000, \.services.waitingPolls),
        LimitKey("backups", 1...64, \.services.backups),
        LimitKey("refusals_kept", 0...1_000_000, \.services.refusalsKept),
        LimitKey("audit_retention_seconds", 0...3_155_760_000, \.auditRetentionSeconds),
        LimitKey("trust_map_devices", 1_024...1_000_000_000, \.trustMapDevices),
        LimitKey("trust_map_staleness_milliseconds", 1_000...3_600_000, \.trustMapStalenessMilliseconds),
    ]
}

/// A key of the configuration.
struct ConfigurationKey: Sendable {
    let name: String
    let help: String

    static let region = ConfigurationKey(
        name: "region", help: "the region of a new registry, and what an old one must be of")
    static let logLevel = ConfigurationKey(
        name: "log_level", help: "trace, debug, info, notice, warning, error or critical; SIGHUP reads it again")
    static let adminGroup = ConfigurationKey(name: "admin_group", help: "the group of admin.sock: a name or a number")
    static let brokerGroup = ConfigurationKey(
        name: "broker_group", help: "the group of broker.sock, trust.map and anchors: a name or a number")
    static let metricsTextfile = ConfigurationKey(
        name: "metrics_textfile", help: "a file of Prometheus text, written anew every 15 seconds; empty: none")
    static let access = ConfigurationKey(
        name: "access", help: "who may call what; may stand more than once; SIGHUP reads it again")

    /// Every key there is, limits included.
    static let all: [ConfigurationKey] =
        [region, logLevel, adminGroup, brokerGroup, metricsTextfile, access]
        + LimitKey.all.map { limit in
            ConfigurationKey(
                name: limit.name, help: "a whole number from \(limit.range.lowerBound) to \(limit.range.upperBound)")
        }

    static func named(_ name: String) -> ConfigurationKey? {
        all.first { $0.name == name }
    }

    /// Components as the layers of swift-configuration want them.
    var components: [String] { name.split(separator: ".").map(String.init) }

    /// The variable of the environment that sets it.
    var variable: String { "CAREGD_" + name.uppercased().map { $0 == "." ? "_" : String($0) }.joined() }

    /// The name that a wrong one was probably meant to be: at a distance of a third of its length at most.
    static func nearest(to name: String) -> String? {
        let candidates = all.map { (name: $0.name, distance: editDistance(name, $0.name)) }
        guard let best = candidates.min(by: { $0.distance < $1.distance }) else { return nil }
        if best.distance <= max(2, name.utf8.count / 3) { return best.name }
        // The last part alone: somebody left out what stands before it.
        return all.first { $0.name.hasSuffix("." + name) }?.name
    }
}

/// Levenshtein's distance over bytes; of long texts only the beginning counts.
func editDistance(_ left: String, _ right: String) -> Int {
    let left = Array(left.utf8.prefix(80))
    let right = Array(right.utf8.prefix(80))
    var row = Array(0...right.count)
    for (index, byte) in left.enumerated() {
        var diagonal = row[0]
        row[0] = index + 1
        for column in right.indices {
            let substituted = diagonal + (byte == right[column] ? 0 : 1)
            diagonal = row[column + 1]
            row[column + 1] = min(substituted, row[column] + 1, diagonal + 1)
        }
    }
    return row[right.count]
}
