public import Logging
public import Registry
public import RegistryStore
public import TTRPC

/// The services of careg.v1, ready to be served.
///
/// The daemon wires them so:
///
///     let commits = CommitSignal()
///     let registry = Registry(…, onCommit: { commits.note($0) }, …)
///     let services = try CaregServices(registry: registry, commits: commits, …)
///     let server = Server(
///         limits: …, methods: services.methods, failure: { services.failure($0) }, observe: { services.observe($0) })
///     services.attach(server)
///     try server.start(listeners)          // labels: SocketRole.admin.rawValue, SocketRole.broker.rawValue
///
/// and ends, on a thread of its own, with
///
///     services.stop()
///     server.shutDown(within: …)
///     registry.writer.flush()
public struct CaregServices: Sendable {
    /// Every method of the three services.
    public let methods: [TTRPC.Method]
    private let feed: ChangeFeed
    private let status: DaemonStatus
    private let journal: CallJournal
    private let metrics: ServiceMetrics
    private let sampler: MetricsSampler
    private let policy: PolicyInForce

    /// - Parameters:
    ///   - commits: what the registry's `onCommit` notes.
    ///   - registryLimits: those that the registry was made with, to be told.
    ///   - clock: the host's clock.
    ///   - metrics: where everything is measured; the daemon may bootstrap it as swift-metrics' backend.
    ///   - knownDevices: the devices that are trusted without a look at a table or a signature; nil: none.
    /// - Throws: ``RegistryStore/StoreFault``, ``Threads/ThreadError``.
    public init(
        registry: Registry, commits: CommitSignal, facts: DaemonFacts, registryLimits: RegistryLimits,
        limits: ServiceLimits = ServiceLimits(), access: AccessPolicy = AccessPolicy(),
        clock: @escaping @Sendable () -> WallTime, log: Logger, metrics: MetricsRegistry = MetricsRegistry(),
        sources: StatusSources = StatusSources(), knownDevices: (any KnownDevices)? = nil
    ) throws {
        let figures = try registry.figures()
        let measures = ServiceMetrics(metrics, limits: limits)
        let workplaces = try Workplaces(limits)
        let feed = ChangeFeed(registry, identity: figures.identity, from: figures.revision, limits: limits)
        let lastBackup = LastBackup(stateFolder: facts.stateFolder, historyID: figures.identity.historyID)
        let journal = CallJournal(clock: clock, log: log, limits: limits, metrics: measures)
        let status = DaemonStatus(
            registry: registry, facts: facts, registryLimits: registryLimits, limits: limits, sources: sources,
            workplaces: workplaces, feed: feed, lastBackup: lastBackup, faults: journal.faults,
            clock: clock)
        measures.beginCommits(at: figures.revision)
        // The registry holds who listens, and the feed holds the registry.
        commits.listen { [weak feed] revision in
            measures.noteCommit(revision)
            feed?.noteCommit(revision)
        }
        let sampler = MetricsSampler(metrics, status: status)
        let policy = PolicyInForce(access)
        let knownVerify = knownDevices.map { KnownVerify(devices: $0, policy: policy, metrics: measures) }
        methods = ServiceMethods(policy: policy, journal: journal, workplaces: workplaces).all(
            registry: RegistryService(registry: registry, limits: limits),
            verifier: VerifierService(
                registry: registry, limits: limits, feed: feed, metrics: measures, known: knownVerify),
            admin: AdminService(
                registry: registry, limits: limits, status: status, sampler: sampler, refusals: journal.refusals),
            backup: BackupService(
                registry: registry, limits: limits, stateFolder: facts.stateFolder, sources: sources,
                running: workplaces.backups, last: lastBackup, clock: clock))
        self.feed = feed
        self.status = status
        self.journal = journal
        self.metrics = measures
        self.sampler = sampler
        self.policy = policy
    }

    /// Puts another policy in force, for calls that begin after this has returned. Polls and Watch streams under way whose
    /// callers have other access by it are ended.
    public func setAccess(_ access: AccessPolicy) {
        policy.current = access
        feed.recheck { wire in try access.access(of: wire, to: .verifier) }
    }

    /// What GetMetrics answers. Reads tables: not for an event loop.
    public var metricsText: String {
        get throws { try sampler.text() }
    }

    /// The counts and whether all is well, in a line. Reads tables: not for an event loop.
    public var statusLine: String {
        get throws { try status.line() }
    }

    /// The server that serves the methods, for the status and the metrics.
    public func attach(_ server: Server) {
        status.attach(server)
    }

    /// How a refusal of the transport reads.
    public func failure(_ failure: ProtocolFailure) -> RPCFailure {
        let refusal = Refusal(failure)
        metrics.count(refusal)
        return RPCFailure(WireFailure(refusal))
    }

    /// A call has ended.
    public func observe(_ record: CallRecord) {
        metrics.count(record)
    }

    /// Answers the Polls that wait, and ends the Watch streams. Calls are still answered. Not on an event loop.
    public func stop() {
        feed.stop()
        status.attach(nil)
    }
}
