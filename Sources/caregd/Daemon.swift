internal import CaregServer
internal import Dispatch
internal import Foundation
internal import Logging
internal import Registry
internal import RegistryStore
internal import Signatures
internal import Synchronization
internal import TTRPC
internal import TrustMap

/// The daemon from its start to its end.
///
/// At the start everything is fatal, and said in a sentence; later nothing is, but a commit of which it is not known
/// whether it is on disk.
final class Daemon {
    /// Calls in flight have so long to be answered when the daemon ends.
    private static let drainTime = Duration.seconds(3)
    /// The whole end takes no longer: what was answered is on disk by then.
    private static let endSeconds = 4.7
    private static let tendMilliseconds = 200
    private static let metricsSeconds = 15
    private static let statusSeconds = 2

    private let configuration: DaemonConfiguration
    private let folders: Folders
    private let logger: Logger
    private let manager: ServiceManager
    private let runtime: RuntimeFolder
    private let state: StateFolder
    private let store: Store
    private let fastPath: FastPath
    private let grace: BrokerGrace
    private let hold = WriterHold()
    private let registry: Registry
    private let services: CaregServices
    private let server: Server
    private let listeners: [Listener]
    private let liveness = Liveness()
    private let tender = DispatchQueue(label: "caregd.tender", qos: .utility)
    /// Set once, when the daemon begins to end.
    private let ending = Flag()

    /// Makes everything ready but the threads that serve. Listens when it returns: what connects is served soon.
    init(folders: Folders, configuration: DaemonConfiguration, environment: [String: String]) throws {
        self.folders = folders
        self.configuration = configuration
        logger = Self.startLog(configuration, environment: environment)
        manager = ServiceManager(environment: environment)
        ProcessSetup.allowDescriptors(forConnections: configuration.limits.server.connections)
        let inherited = try InheritedSockets.take(from: environment)
        let access = configuration.access
        (state, store) = try Self.openRegistry(folders, region: configuration.region)
        runtime = try RuntimeFolder(path: folders.runtime, isPrivate: folders.isRuntimePrivate)
        // The brokers' before any of their maps: who finds no answer in a new map waits for one at the socket.
        let brokerListener = try Self.bind(.broker, folders, configuration, inherited: inherited)
        let staleness = configuration.limits.trustMapStalenessMilliseconds
        // Before any mutation: brokers that hold a former map must not believe it any more.
        grace = BrokerGrace(
            stateFolder: folders.state, own: ["\(folders.runtime)/trust.map"], stalenessMilliseconds: staleness)
        let fastPath: FastPath
        do {
            fastPath = try FastPath(
                settings: FastPath.Settings(
                    runtimeFolder: folders.runtime, group: configuration.brokerGroup,
                    maximumDevices: configuration.limits.trustMapDevices, stalenessMilliseconds: staleness),
                restrictions: access.restrictedGroups, restricted: access.restrictedInstances, store: store,
                logger: logger)
        } catch {
            // What it puts there it reads from the registry.
            let what =
                error is StoreFault
                ? "the registry in \(folders.state) cannot be read" : "the runtime folder cannot be prepared"
            throw StartFailure(error, doing: what)
        }
        self.fastPath = fastPath

        let commits = CommitSignal()
        let log = logger
        let clock = { @Sendable in WallTime.now }
        do {
            registry = try Registry(
                store: store, limits: configuration.limits.registry, clock: clock,
                randomBytes: { try SystemRandom.bytes($0) }, mirrors: [fastPath], onCommit: { commits.note($0) },
                onFatal: { fault in
                    // Whether the last commit is on disk is not known: no answer may leave, and no other change be made.
                    log.critical("a commit failed; the daemon ends without an answer", metadata: ["fault": "\(fault)"])
                    Foundation._exit(StartFailure.Exit.inputOutput.rawValue)
                })
        } catch {
            throw StartFailure(error, doing: "the registry in \(folders.state) cannot be served")
        }
        services = try Self.makeServices(
            registry: registry, commits: commits, folders: folders, configuration: configuration, access: access,
            clock: clock, log: logger, fastPath: fastPath,
            sources: Self.sources(folders, state: state, fastPath: fastPath, hold: hold, limits: configuration.limits))
        let services = services
        server = Server(
            limits: configuration.limits.server, methods: services.methods, failure: { services.failure($0) },
            observe: { services.observe($0) })
        services.attach(server)
        for notice in server.notices { logger.warning("a limit was lowered", metadata: ["notice": "\(notice)"]) }
        for problem in fastPath.problems {
            logger.warning("the fast path is not whole", metadata: ["problem": "\(problem)"])
        }
        // Where the admin's accepts, all is ready.
        listeners = [brokerListener, try Self.bind(.admin, folders, configuration, inherited: inherited)]
    }

    // MARK: Start

    private static func startLog(_ configuration: DaemonConfiguration, environment: [String: String]) -> Logger {
        LogLines.level.withLock { $0 = configuration.logLevel }
        let style = LogLines.style(environment: environment, isTerminal: isatty(STDERR_FILENO) == 1)
        LoggingSystem.bootstrap { _ in LogLines(style: style) }
        return Logger(label: "caregd")
    }

    private static func openRegistry(_ folders: Folders, region: String?) throws -> (StateFolder, Store) {
        do {
            let folder = try StateFolder(path: folders.state, creates: true)
            let store = try folder.openRegistry(
                region: region, newHistoryID: { hexText(try SystemRandom.bytes(16)) },
                isSound: { WalkOutcome.isSound($0) }, isReadable: { ProbeCommand.survives($0) })
            return (folder, store)
        } catch {
            throw StartFailure(error, doing: "the registry in \(folders.state) cannot be opened")
        }
    }

    private static func sources(
        _ folders: Folders, state: StateFolder, fastPath: FastPath, hold: WriterHold, limits: DaemonLimits
    ) -> StatusSources {
        var sources = StatusSources()
        sources.trustMaps = {
            fastPath.reports.map { TrustMapReport(file: $0.file, statistics: $0.statistics, isFilled: $0.isFilled) }
        }
        sources.storage = {
            StorageReport(
                dataBytes: ProcessSetup.size(of: state.dataFile), freeBytes: ProcessSetup.freeBytes(of: folders.state))
        }
        sources.problems = { fastPath.problems + [hold.problem].compactMap { $0 } }
        sources.limits = {
            let devices = fastPath.reports.first { $0.file == "trust.map" }?.statistics.devices
            return [
                LimitReport(name: "trust_map_devices", value: UInt64(limits.trustMapDevices), used: devices),
                LimitReport(
                    name: "trust_map_staleness_milliseconds", value: UInt64(limits.trustMapStalenessMilliseconds),
                    used: nil),
                LimitReport(
                    name: "audit_retention_seconds", value: UInt64(limits.auditRetentionSeconds), used: nil),
                LimitReport(
                    name: "expired_code_memory_seconds", value: UInt64(limits.registry.expiredCodeMemorySeconds),
                    used: nil),
            ]
        }
        return sources
    }

    private static func makeServices(
        registry: Registry, commits: CommitSignal, folders: Folders, configuration: DaemonConfiguration,
        access: AccessPolicy, clock: @escaping @Sendable () -> WallTime, log: Logger, fastPath: FastPath,
        sources: StatusSources
    ) throws -> CaregServices {
        do {
            return try CaregServices(
                registry: registry, commits: commits,
                facts: DaemonFacts(
                    version: Caregd.version, stateFolder: folders.state, runtimeFolder: folders.runtime),
                registryLimits: configuration.limits.registry, limits: configuration.limits.services, access: access,
                clock: clock, log: log, sources: sources, knownDevices: fastPath)
        } catch {
            throw StartFailure(error, doing: "the registry cannot be read")
        }
    }

    private static func bind(
        _ role: SocketRole, _ folders: Folders, _ configuration: DaemonConfiguration,
        inherited: [SocketRole: Listener]
    ) throws(StartFailure) -> Listener {
        if let listener = inherited[role] { return listener }
        let path = "\(folders.runtime)/\(role.rawValue).sock"
        let group = role == .admin ? configuration.adminGroup : configuration.brokerGroup
        let listener: Listener
        do throws(SocketError) {
            // Until it has its group, nobody but this user gets in.
            listener = try Listener.bind(
                path: path, mode: group == nil ? 0o660 : 0o600, label: role.rawValue, usesReserve: role == .admin)
        } catch {
            throw StartFailure(.unavailable, "\(role.rawValue).sock cannot be made: \(error)")
        }
        if let group {
            guard unsafe chown(path, uid_t.max, group) == 0, unsafe chmod(path, 0o660) == 0 else {
                let fault = FileFault(call: "chown", path: path, code: errno)
                throw StartFailure(.configuration, "\(role.rawValue).sock cannot be given to group \(group): \(fault)")
            }
        }
        return listener
    }

    // MARK: Serving

    /// Serves until SIGTERM or SIGINT.
    ///
    /// - Parameter reload: reads the configuration again.
    func serve(reload: () throws(StartFailure) -> DaemonConfiguration) throws {
        noteMaps(isStopping: false)
        if let end = grace.endMilliseconds {
            logger.warning(
                "changes wait: brokers may still hold the trust map of a former daemon",
                metadata: ["milliseconds": "\(end - min(end, BrokerGrace.nowMilliseconds))"])
            hold.begin(registry.writer, untilMilliseconds: end)
        }
        do throws(SocketError) {
            try server.start(listeners)
        } catch {
            throw StartFailure(.system, "the sockets cannot be served: \(error)")
        }
        startThreads()
        let revision = try? registry.read { try $0.revision() }
        logger.info(
            "serving",
            metadata: [
                "state_folder": "\(folders.state)", "runtime_folder": "\(folders.runtime)",
                "revision": "\(revision?.number ?? 0)", "version": "\(Caregd.version)",
            ])
        tellStatus()
        manager.ready()
        while true {
            switch ProcessSetup.nextSignal() {
            case SIGHUP: self.reload(reload)
            default: return end()
            }
        }
    }

    private func startThreads() {
        let hold = hold
        liveness.start(
            manager: manager, fastPath: fastPath, registry: registry, server: server,
            isWriterHeld: { hold.problem != nil })
        let (fastPath, registry, tender) = (fastPath, registry, tender)
        // More often than a map can fill up: a quarter of it is free when it begins to grow.
        let ending = ending
        liveness.every(milliseconds: Self.tendMilliseconds, on: tender) {
            if fastPath.needsTending { fastPath.tend(registry, mayGoOn: { !ending.isSet }) }
        }
        compactLogRegularly()
        if let path = configuration.metricsTextfile {
            let (services, logger) = (services, logger)
            liveness.every(milliseconds: Self.metricsSeconds * 1_000, on: DispatchQueue(label: "caregd.metrics")) {
                do {
                    try writeVolatile(Array(services.metricsText.utf8), to: path, group: nil, mode: 0o644)
                } catch {
                    logger.warning("the metrics file cannot be written", metadata: ["error": "\(error)"])
                }
            }
        }
    }

    /// Takes automatic device registrations out of the change log once they have the configured age: ten times in that age,
    /// and once an hour at the least.
    private func compactLogRegularly() {
        let seconds = configuration.limits.auditRetentionSeconds
        guard seconds > 0 else { return }
        let caller = Caller(userID: getuid(), groupID: getgid(), processID: getpid())
        let (registry, hold, ending, logger) = (registry, hold, ending, logger)
        let isAtWork = Flag()
        liveness.every(
            milliseconds: min(3_600, max(1, seconds / 10)) * 1_000, on: DispatchQueue(label: "caregd.retention")
        ) {
            // While changes wait, this one need not.
            guard hold.problem == nil, !isAtWork.exchange(true) else { return }
            let horizon = WallTime(milliseconds: WallTime.now.milliseconds - Int64(seconds) * 1_000)
            registry.compactLog(before: horizon, caller: caller, mayGoOn: { !ending.isSet }) { result in
                _ = isAtWork.exchange(false)
                switch result {
                case .success(0): break
                case .success(let count):
                    logger.notice(
                        "the change log was compacted", metadata: ["automatic_registrations_removed": "\(count)"])
                case .failure(let error):
                    logger.warning("the change log could not be compacted", metadata: ["error": "\(error)"])
                }
            }
        }
    }

    /// Tells the service manager how much there is, from now on whenever that has changed.
    private func tellStatus() {
        guard manager.isThere else { return }
        let (manager, services) = (manager, services)
        let last = Mutex("")
        let tell = { @Sendable in
            let line = (try? services.statusLine) ?? "the registry cannot be read: see caregctl status"
            let isNew = last.withLock { last in
                defer { last = line }
                return line != last
            }
            if isNew { manager.status(line) }
        }
        tell()
        liveness.every(milliseconds: Self.statusSeconds * 1_000, on: DispatchQueue(label: "caregd.status"), tell)
    }

    private func noteMaps(isStopping: Bool) {
        do throws(FileFault) {
            try grace.note(
                // At the end no map is made any more; until then one that there was no room for may come.
                maps: isStopping ? fastPath.presentMapPaths : fastPath.mapPaths,
                stalenessMilliseconds: configuration.limits.trustMapStalenessMilliseconds,
                isStopping: isStopping)
        } catch {
            logger.warning("the state folder cannot be written", metadata: ["error": "\(error)"])
        }
    }

    private func reload(_ load: () throws(StartFailure) -> DaemonConfiguration) {
        manager.reloading()
        defer { manager.ready() }
        do {
            let fresh = try load()
            let access = fresh.access
            LogLines.level.withLock { $0 = fresh.logLevel }
            // The rules first: what they take away is taken away at once, and files follow.
            services.setAccess(access)
            follow(access)
            logger.notice("the log level and the access rules were read again")
            for setting in fresh.listing where !Self.isReloaded(setting.key) {
                guard let present = configuration.listing.first(where: { $0.key == setting.key }),
                    present.value != setting.value
                else { continue }
                logger.warning("a changed key waits for a restart", metadata: ["key": "\(setting.key)"])
            }
        } catch {
            logger.error("the configuration was not read again", metadata: ["error": "\(error)"])
        }
    }

    /// Brings the files of the fast path under other rules, between two commits.
    private func follow(_ access: AccessPolicy) {
        let (restrictions, restricted) = (access.restrictedGroups, access.restrictedInstances)
        let (registry, fastPath, logger) = (registry, fastPath, logger)
        let work = { @Sendable in
            do {
                try registry.writer.betweenCommits {
                    try registry.read { snapshot in
                        try fastPath.setRestrictions(restrictions, restricted: restricted, snapshot: snapshot)
                    }
                }
            } catch {
                logger.error("the fast path cannot follow the access rules", metadata: ["error": "\(error)"])
            }
        }
        if hold.problem == nil {
            work()
            noteMaps(isStopping: false)
        } else {
            // The writer is kept for a while; the signals are not.
            DispatchQueue.global().async(execute: work)
        }
    }

    private static func isReloaded(_ key: String) -> Bool {
        key == ConfigurationKey.logLevel.name || key == ConfigurationKey.access.name
    }

    // MARK: End

    private func end() {
        manager.stopping()
        logger.info("ending")
        ending.set()
        // What hangs does not keep the process: all that was answered is on disk whenever it ends.
        DispatchQueue.global().asyncAfter(deadline: .now() + Self.endSeconds) { [logger] in
            logger.warning("ended before everything was answered")
            Foundation._exit(0)
        }
        services.stop()
        server.shutDown(within: Self.drainTime)
        if hold.problem == nil { registry.writer.flush() }
        liveness.stop()
        noteMaps(isStopping: true)
        do {
            if hold.problem == nil { try state.noteRevision(of: store) }
        } catch {
            logger.warning("the state folder cannot be written", metadata: ["error": "\(error)"])
        }
        logger.info("ended")
        // Not by return: threads that still compute would meet what is being taken down.
        Foundation._exit(0)
    }
}

/// A flag that threads share.
private final class Flag: Sendable {
    private let flag = Atomic<Bool>(false)

    var isSet: Bool { flag.load(ordering: .relaxed) }

    func set() {
        flag.store(true, ordering: .relaxed)
    }

    /// - Returns: what it was before.
    func exchange(_ value: Bool) -> Bool {
        flag.exchange(value, ordering: .acquiringAndReleasing)
    }
}
