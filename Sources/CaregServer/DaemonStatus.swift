internal import CaregProto
internal import Certificates
internal import Glibc
internal import Registry
internal import RegistryStore
internal import SwiftProtobuf
internal import Synchronization
internal import TTRPC
internal import TrustMap

/// Reads off how the daemon is: for GetStatus and for the metrics.
final class DaemonStatus: Sendable {
    let registry: Registry
    let facts: DaemonFacts
    let registryLimits: RegistryLimits
    let limits: ServiceLimits
    let sources: StatusSources
    let workplaces: Workplaces
    let feed: ChangeFeed
    let lastBackup: LastBackup
    let faults: FaultTally
    let startTime: WallTime
    private let startInstant = ContinuousClock.now
    private let clock: @Sendable () -> WallTime
    private let census: ExpiryCensus
    private let server = Mutex<Server?>(nil)

    init(
        registry: Registry, facts: DaemonFacts, registryLimits: RegistryLimits, limits: ServiceLimits,
        sources: StatusSources, workplaces: Workplaces, feed: ChangeFeed, lastBackup: LastBackup, faults: FaultTally,
        clock: @escaping @Sendable () -> WallTime
    ) {
        self.registry = registry
        self.facts = facts
        self.registryLimits = registryLimits
        self.limits = limits
        self.sources = sources
        self.workplaces = workplaces
        self.feed = feed
        self.lastBackup = lastBackup
        self.faults = faults
        self.clock = clock
        startTime = clock()
        census = ExpiryCensus(registry)
    }

    /// The server whose connections are told of; nil lets go of it.
    func attach(_ server: Server?) {
        self.server.withLock { $0 = server }
    }

    var connections: ServerStatistics { server.withLock { $0?.statistics } ?? ServerStatistics() }

    /// The Active CA certificates that end within some days.
    func expiring(withinDays days: Int64) throws -> [CaExpiry] {
        try census.ending(withinDays: days, at: clock().instant)
    }

    /// How the daemon is, now.
    func read() throws -> Careg_V1_DaemonStatus {
        let figures = try registry.figures()
        let connections = connections
        let storage = sources.storage()
        let maps = sources.trustMaps()
        let isDiskFull = registry.writer.statistics.isDiskFull
        var status = Careg_V1_DaemonStatus()
        status.version = facts.version
        status.region = figures.identity.region
        status.historyID = figures.identity.historyID
        status.revision = figures.revision.number
        status.startTime = Google_Protobuf_Timestamp(startTime)
        status.uptime = Google_Protobuf_Duration(startInstant.duration(to: .now))
        status.instanceCount = UInt32(clamping: figures.instances)
        status.caCount = UInt32(clamping: figures.tally.cas)
        status.activeCaCount = UInt32(clamping: figures.tally.activeCas)
        status.deviceCount = UInt32(clamping: figures.tally.devices)
        status.connectionCount = UInt32(clamping: connections.connections)
        status.watcherCount = UInt32(clamping: feed.watcherCount)
        status.diskFull = isDiskFull
        status.dataBytes = try storage?.dataBytes ?? UInt64(clamping: registry.neededBytes())
        status.freeBytes = storage?.freeBytes ?? 0
        status.limits = limitsInForce(figures, connections).map(Careg_V1_Limit.init)
        status.problems = problems(isDiskFull: isDiskFull, maps)
        status.processID = UInt32(clamping: getpid())
        status.stateDir = facts.stateFolder
        status.runtimeDir = facts.runtimeFolder
        status.trustMaps = maps.map(Careg_V1_TrustMapStatus.init)
        if let last = lastBackup.last { status.lastBackup = Careg_V1_LastBackup(last) }
        status.caExpiries = expiryCounts()
        return status
    }

    /// The counts in a line, for the service manager: how much there is, and whether all is well.
    func line() throws -> String {
        let figures = try registry.figures()
        let problems = problems(isDiskFull: registry.writer.statistics.isDiskFull, sources.trustMaps()).count
        let counts = [
            Self.counted(Int64(figures.instances), "instance"), Self.counted(figures.tally.cas, "CA certificate"),
            Self.counted(figures.tally.devices, "device certificate"),
            Self.counted(Int64(connections.connections), "connection"),
        ]
        let text =
            "region \(figures.identity.region), revision \(figures.revision.number): "
            + counts.joined(separator: ", ")
        return problems == 0 ? text : "\(text); \(Self.counted(Int64(problems), "problem")), see caregctl status"
    }

    private static func counted(_ count: Int64, _ noun: String) -> String {
        "\(count) \(noun)\(count == 1 ? "" : "s")"
    }

    /// Empty where a record is damaged, which ``problems(isDiskFull:_:)`` tells of.
    private func expiryCounts() -> [Careg_V1_CaExpiryCount] {
        let counts = MetricsSampler.expiryDays.compactMap { days -> Careg_V1_CaExpiryCount? in
            guard let count = try? expiring(withinDays: days).count else { return nil }
            return .with {
                $0.withinDays = UInt32(clamping: days)
                $0.count = UInt32(clamping: count)
            }
        }
        return counts.count == MetricsSampler.expiryDays.count ? counts : []
    }

    // MARK: Problems

    private static let expiriesTold = 5

    private func problems(isDiskFull: Bool, _ maps: [TrustMapReport]) -> [String] {
        var problems: [String] = []
        if isDiskFull {
            problems.append(
                "The state folder's file system is full: changes are refused, verdicts go on. Make room; no restart is "
                    + "needed.")
        }
        let faultCount = faults.count
        if faultCount > 0 {
            let calls = faultCount == 1 ? "1 call" : "\(faultCount) calls"
            problems.append(
                "Since the daemon's start \(calls) failed for a fault of the disk or a damaged record. The daemon's log names "
                    + "it; “caregd check” finds damage, and a backup mends it.")
        }
        let notices = server.withLock { $0?.notices ?? [] }
        problems += notices.map { $0.prefix(1).uppercased() + $0.dropFirst() + "." }
        problems += sources.problems()
        for map in maps {
            if let problem = map.statistics.problem { problems.append("\(map.file): \(problem).") }
            if map.statistics.omitted > 0 {
                problems.append(
                    "\(map.file) holds all but \(map.statistics.omitted) device certificates: brokers ask the daemon about "
                        + "those.")
            }
        }
        do {
            problems += sentences(on: try expiring(withinDays: limits.expiryWarningDays))
        } catch {
            // Of a damaged registry the rest of the status is wanted all the more.
            problems.append(WireFailure(error).message)
        }
        return problems
    }

    private func sentences(on expiring: [CaExpiry]) -> [String] {
        let now = clock().instant
        var sentences = expiring.prefix(Self.expiriesTold).map { Self.sentence(on: $0, at: now) }
        if expiring.count > Self.expiriesTold {
            sentences.append(
                "\(expiring.count - Self.expiriesTold) more CA certificates end within \(limits.expiryWarningDays) days or "
                    + "have ended. List them with expires_before.")
        }
        return sentences
    }

    static func sentence(on expiry: CaExpiry, at now: Instant) -> String {
        let name = "The CA certificate with SN \(expiry.serialNumber.text) of the instance “\(expiry.instanceID)”"
        let seconds = expiry.notAfter.secondsSince1970 - now.secondsSince1970
        if seconds < 0 { return "\(name) has expired: its devices are refused. Register its successor." }
        let days = seconds / 86_400
        let when = days == 0 ? "today" : days == 1 ? "in 1 day" : "in \(days) days"
        return "\(name) expires \(when). Register its successor."
    }

    // MARK: Limits

    private func limitsInForce(_ figures: RegistryFigures, _ statistics: ServerStatistics) -> [LimitReport] {
        let wire = server.withLock { $0?.effectiveLimits } ?? TTRPC.ServerLimits()
        return [
            LimitReport("connections", wire.connections, used: statistics.connections),
            LimitReport("reserved_connections", wire.reservedConnections),
            LimitReport("requests_per_connection", wire.requestsPerConnection),
            LimitReport("request_bytes", wire.requestBytes),
            LimitReport("frame_bytes", wire.frameBytes),
            LimitReport("request_bytes_in_flight", wire.requestBytesInFlight, used: statistics.requestBytes),
            LimitReport("unsent_bytes", wire.unsentBytes, used: statistics.unsentBytes),
            LimitReport("stall_milliseconds", Int(clamping: Int64(wire.stall / .milliseconds(1)))),
            LimitReport("event_loops", wire.eventLoops),
            LimitReport("instances", registryLimits.instances, used: figures.instances),
            LimitReport("ca_certificates", registryLimits.caCertificates, used: Int(figures.tally.cas)),
            LimitReport("ca_certificates_per_instance", registryLimits.caCertificatesPerInstance),
            LimitReport("open_codes_per_instance", registryLimits.openCodesPerInstance),
            LimitReport("certificate_bytes", registryLimits.certificateBytes),
            LimitReport("chain_certificates", registryLimits.chainCertificates),
            LimitReport("chain_bytes", registryLimits.chainBytes),
            LimitReport("signature_checks", registryLimits.signatureChecks),
            LimitReport("path_steps", registryLimits.pathSteps),
            LimitReport("name_comparisons", registryLimits.nameComparisons),
            LimitReport("name_characters", registryLimits.nameCharacters),
            LimitReport("foreign_anchors", registryLimits.foreignAnchors),
            LimitReport("commands_per_commit", registryLimits.commandsPerCommit),
            LimitReport(
                "waiting_command_bytes", registryLimits.waitingCommandBytes,
                used: registry.writer.statistics.waitingBytes),
            LimitReport("code_lifetime_seconds", Int(registryLimits.codeLifetimeSeconds)),
            LimitReport("longest_code_lifetime_seconds", Int(registryLimits.longestCodeLifetimeSeconds)),
            LimitReport("walked_rows_per_page", registryLimits.walkedRowsPerPage),
            LimitReport("page_rows", limits.pageRows),
            LimitReport("verification_threads", limits.verificationThreads),
            LimitReport("query_threads", limits.queryThreads),
            LimitReport(
                "waiting_verifications", limits.waitingVerifications, used: workplaces.verification.waiting),
            LimitReport("waiting_queries", limits.waitingQueries, used: workplaces.queries.waiting),
            LimitReport("watchers", limits.watchers, used: feed.watcherCount),
            LimitReport("waiting_polls", limits.waitingPolls, used: feed.pollCount),
            LimitReport("backups", limits.backups, used: workplaces.backups.running),
            LimitReport("refusals_kept", limits.refusalsKept),
        ] + sources.limits()
    }
}

/// The Active CA certificates that end soon. Finding them reads all of them, so what was found is kept while it holds.
final class ExpiryCensus: Sendable {
    /// How far ahead is looked.
    static let horizonDays: Int64 = 91
    /// The share of time that counting may take: after one that took a second, the next comes 20 seconds later.
    private static let restPerWork = 20

    private struct State {
        var ending: [CaExpiry] = []
        var revision: Revision?
        var takenAt = Instant(secondsSince1970: 0)
        var nextAt = ContinuousClock.now
    }

    private let registry: Registry
    private let state = Mutex(State())

    init(_ registry: Registry) {
        self.registry = registry
    }

    /// Those that end within some days, the first to end first; those that have ended are among them.
    func ending(withinDays days: Int64, at now: Instant) throws -> [CaExpiry] {
        precondition(days <= Self.horizonDays, "the census does not look so far ahead")
        let limit = Instant(secondsSince1970: now.secondsSince1970 + days * 86_400)
        // The lock is held while it counts: whoever comes meanwhile needs the same result.
        return try state.withLock { state in
            if try !holds(&state, at: now), state.revision == nil || ContinuousClock.now >= state.nextAt {
                try take(&state, at: now)
            }
            return Array(state.ending.prefix { $0.notAfter < limit })
        }
    }

    private func take(_ state: inout State, at now: Instant) throws {
        let start = ContinuousClock.now
        let revision = try registry.read { try $0.revision() }
        let horizon = Instant(secondsSince1970: now.secondsSince1970 + (Self.horizonDays + 1) * 86_400)
        state.ending = try registry.casEnding(before: horizon)
        state.revision = revision
        state.takenAt = now
        let end = ContinuousClock.now
        state.nextAt = end + start.duration(to: end) * Self.restPerWork
    }

    /// Whether what was found is still all: no CA certificate has changed, and the horizon has not come nearer by a day.
    private func holds(_ state: inout State, at now: Instant) throws -> Bool {
        guard let revision = state.revision,
            (0..<86_400).contains(now.secondsSince1970 - state.takenAt.secondsSince1970)
        else { return false }
        let page = try registry.changes(after: revision, limit: 1) { entry in
            switch entry.kind {
            case .caRegistered, .caActivated, .caUnregistered, .caDeleted, .registryRestored: true
            case .instanceCreated, .instanceUpdated, .instanceDeleted, .codeIssued, .codeRevoked, .caUpdated,
                .deviceRegistered, .deviceActivated, .deviceDeactivated, .deviceDeleted, .registrationsCompacted,
                .logCompacted:
                false
            }
        }
        guard page.entries.isEmpty, page.reached == page.last else { return false }
        state.revision = page.reached
        return true
    }
}

extension Google_Protobuf_Duration {
    init(_ duration: Duration) {
        self.init()
        seconds = duration.components.seconds
        nanos = Int32(clamping: duration.components.attoseconds / 1_000_000_000)
    }
}

extension Careg_V1_Limit {
    init(_ report: LimitReport) {
        self.init()
        name = report.name
        value = report.value
        if let count = report.used { used = count }
    }
}

extension Careg_V1_LastBackup {
    init(_ record: BackupRecord) {
        self.init()
        time = Google_Protobuf_Timestamp(record.time)
        revision = record.revision.number
        bytes = record.byteCount
    }
}

extension Careg_V1_TrustMapStatus {
    init(_ report: TrustMapReport) {
        self.init()
        let statistics = report.statistics
        file = report.file
        generation = statistics.generation
        entries = statistics.devices
        capacity = UInt64(statistics.deviceSlots)
        bytes = statistics.bytes
        revision = statistics.revision
        complete = report.isFilled && statistics.omitted == 0
        problem = statistics.problem ?? ""
        heartbeatAge = Google_Protobuf_Duration(.nanoseconds(Int64(clamping: statistics.heartbeatAge)))
    }
}
