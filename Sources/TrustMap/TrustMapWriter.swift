import CTrustMap
import Glibc
import Synchronization

/// How large a map begins, how large it may become, and who may read it.
public struct TrustMapConfiguration: Sendable {
    /// Where readers look for the map: `…/trust.map`.
    public var path: String
    /// The file's group; nil: the daemon's own.
    public var group: UInt32?
    /// Device slots to begin with; rounded up to a power of two.
    public var deviceSlots: UInt32 = 1 << 14
    /// Devices that the map holds at most; 16 million, as contract section 10 has it.
    public var maximumDevices: UInt32 = 16_000_000
    /// Paths to begin with.
    public var pathSlots: UInt32 = 1 << 10
    /// Instances to begin with; rounded up to a power of two.
    public var instanceSlots: UInt32 = 1 << 8
    /// No reader goes on longer than this without a heartbeat, whatever its own limit is; milliseconds.
    public var longestStalenessMilliseconds: UInt32 = 60_000

    /// The defaults, at a path.
    public init(path: String) { self.path = path }
}

/// What an operator sees of a map.
public struct TrustMapStatistics: Sendable, Equatable {
    public var generation: UInt64
    public var devices: UInt64
    public var deviceSlots: UInt32
    public var paths: Int
    public var instances: Int
    public var bytes: UInt64
    public var revision: UInt64
    /// Age of the last heartbeat, nanoseconds.
    public var heartbeatAge: UInt64
    /// Devices that found no room: brokers ask about them.
    public var omitted: UInt64
    /// Why the map is not as large as it should be, for people; nil where all is well.
    public var problem: String?
}

/// What a starting daemon did with the map that it found.
public enum FoundMap: Sendable, Equatable {
    /// There is none. After an unclean stop brokers may still hold one that was deleted: wait for the staleness.
    case none
    /// Brokers that hold it ask from now on. It may be of an older layout.
    case superseded
    /// Not to be marked, for the reason given: brokers that hold it may go on until it is stale.
    case unmarkable(TrustMapFault)
}

/// The daemon's side of the fast path: the trust map of a group of brokers, kept in step with the registry.
///
/// What is said in `update` is seen by every reader that begins after it has returned. All methods may be called
/// from any thread; they take turns.
public final class TrustMapWriter: Sendable {
    /// How many device slots are copied before writers get their turn; some hundred microseconds.
    private static let slotsPerTurn: UInt32 = 4096

    private let configuration: TrustMapConfiguration
    private let tables: Mutex<MapTables>
    /// The map that readers are to use. Apart from the tables, so that a question never waits for a change.
    private let live: Mutex<MapFile>
    /// One growth at a time; the problem that the last one met.
    private let growth = Mutex<(isRunning: Bool, problem: TrustMapFault?)>((false, nil))
    /// Held while a growth is under way.
    private let growing = Mutex<Void>(())

    /// Makes an empty map, marks the one that stands at the path superseded, and takes its place.
    ///
    /// Readers may use it at once: what it does not hold yet, they ask about. Fill it with `update`.
    public init(_ configuration: TrustMapConfiguration) throws(TrustMapFault) {
        self.configuration = configuration
        let capacity = MapCapacity(
            instances: powerOfTwo(atLeast: configuration.instanceSlots), paths: max(1, configuration.pathSlots),
            strings: max(1, configuration.pathSlots) * 64, devices: powerOfTwo(atLeast: configuration.deviceSlots))
        let generation = Self.generation(at: configuration.path) &+ 1
        let file = try MapFile(
            creating: Self.provisionalPath(configuration.path), capacity: capacity, group: configuration.group,
            generation: generation, longestStalenessMilliseconds: configuration.longestStalenessMilliseconds)
        // Readers of a map that cannot be marked go on until it is stale; whoever starts a daemon has asked before.
        _ = Self.markSuperseded(path: configuration.path)
        do {
            try Self.publish(configuration.path)
        } catch {
            unsafe unlink(Self.provisionalPath(configuration.path))
            throw error
        }
        tables = Mutex(MapTables(file, maximumDevices: configuration.maximumDevices))
        live = Mutex(file)
    }

    // MARK: Changes

    /// Applies what one commit of the registry has changed, as one change: no reader sees half of it.
    ///
    /// - Parameters:
    ///   - revision: the registry's revision that the map then shows; nil while an empty map is being filled.
    ///   - body: says what has changed; keep it short, for readers of changed statuses wait or ask meanwhile.
    public func update<Result: Sendable>(revision: UInt64?, _ body: (borrowing TrustMapUpdate) -> Result) -> Result {
        tables.withLock { tables in
            let result = body(TrustMapUpdate(tables))
            tables.finish(revision: revision)
            return result
        }
    }

    /// Says that the daemon lives. Call it several times within the shortest staleness limit, from any thread.
    public func heartbeat() {
        tables.withLock { tables in
            tables.current.beat()
            guard tables.isUnpublished, !tables.isRetired else { return }
            do {
                try Self.publish(configuration.path)
                tables.notePublished()
            } catch {
                // The next beat tries again; `statistics` tells the problem.
            }
        }
    }

    /// Ends the map: its readers ask from now on, and no growth that is under way takes its place any more. Nothing that
    /// is said in `update` later reaches a reader.
    ///
    /// Waits for such a growth, which by then only has its pages allocated.
    public func retire() {
        tables.withLock { $0.retire() }
        growing.withLock { _ in }
    }

    // MARK: Growth

    /// Whether `grow` should be called, on a thread that has the time.
    public var needsGrowth: Bool {
        tables.withLock { $0.needsGrowth } && growth.withLock { !$0.isRunning }
    }

    /// Makes a larger map, fills it while changes go on, and lets it take this one's place.
    ///
    /// - Returns: false where the map is as large as it may be, or is growing already.
    /// - Throws: why there is no larger map; the old one stays, and `statistics` tells the problem until a growth
    ///   succeeds.
    public func grow() throws(TrustMapFault) -> Bool {
        guard growth.withLock({ beginGrowth(&$0.isRunning) }) else { return false }
        do {
            let hasGrown = try growing.withLock { _ throws(TrustMapFault) in try growNow() }
            growth.withLock { $0 = (false, nil) }
            return hasGrown
        } catch {
            tables.withLock { $0.dropSuccessor() }
            growth.withLock { $0 = (false, error) }
            throw error
        }
    }

    private func beginGrowth(_ isRunning: inout Bool) -> Bool {
        if isRunning { return false }
        isRunning = true
        return true
    }

    private func growNow() throws(TrustMapFault) -> Bool {
        // Whoever has retired it may use the provisional path by now.
        let (capacity, generation) = tables.withLock {
            ($0.isRetired ? nil : $0.grownCapacity(), $0.current.view.generation)
        }
        guard let capacity else { return false }
        // Allocating its pages takes a while: outside the lock.
        let successor = try MapFile(
            creating: Self.provisionalPath(configuration.path), capacity: capacity, group: configuration.group,
            generation: generation &+ 1, longestStalenessMilliseconds: configuration.longestStalenessMilliseconds)
        tables.withLock { $0.begin(successor: successor) }
        while !tables.withLock({ $0.isRetired || $0.copyDevices(slots: Self.slotsPerTurn) }) {}
        var hasGrown = true
        let failure = tables.withLock { tables -> TrustMapFault? in
            guard !tables.isRetired else {
                unsafe unlink(Self.provisionalPath(configuration.path))
                tables.dropSuccessor()
                hasGrown = false
                return nil
            }
            successor.beat()
            tables.supersede()
            do throws(TrustMapFault) {
                try Self.publish(configuration.path)
            } catch let failure {
                // Readers of the superseded map ask until a heartbeat has given the larger one its name.
                adopt(successor, tables, isPublished: false)
                return failure
            }
            adopt(successor, tables, isPublished: true)
            return nil
        }
        if let failure { throw failure }
        return hasGrown
    }

    private func adopt(_ successor: MapFile, _ tables: MapTables, isPublished: Bool) {
        tables.adoptSuccessor(isPublished: isPublished)
        live.withLock { $0 = successor }
    }

    // MARK: The daemon's own questions

    /// Looks for a device as readers in other processes do: without waiting for a change that is under way.
    ///
    /// - Parameters:
    ///   - instanceID: the bytes of the instance's id.
    ///   - now: unix seconds; nil for the host's clock.
    ///   - body: called once where readers are told a yes.
    /// - Returns: false where they are told no, or to ask.
    public func withTrust(
        in fingerprint: MapFingerprint, of instanceID: Span<UInt8>, at now: Int64? = nil,
        _ body: (borrowing TrustMapTrust) -> Void
    ) -> Bool {
        guard let id = MapInstanceID(instanceID) else { return false }
        let file = live.withLock { $0 }
        let view = file.view
        guard let instance = view.findInstance(id) else { return false }
        let place = MapPlace(slot: view.firstSlot(of: fingerprint, instance: instance), isHint: false)
        let reading = view.read(fingerprint, instance: instance, at: place, now: now ?? unixSeconds())
        guard reading.outcome == .decided, reading.reason == TRUST_MAP_WORD_TRUSTED,
            let serial = unsafe view.serial(ofPath: reading.path)
        else { return false }
        // Safe: the text never changes within a file, and the file is mapped as long as it is held.
        withExtendedLifetime(file) {
            body(
                TrustMapTrust(
                    anchorSerialNumber: unsafe Span(_unsafeElements: serial.bindMemory(to: UInt8.self)),
                    validUntil: reading.validUntil == 0 ? nil : reading.validUntil, revision: reading.revision))
        }
        return true
    }

    // MARK: For people

    public var statistics: TrustMapStatistics {
        let problem = growth.withLock { $0.problem }
        return tables.withLock { tables in
            let view = tables.current.view
            let now = monotonicNanoseconds()
            return TrustMapStatistics(
                generation: view.generation, devices: tables.deviceCount, deviceSlots: view.deviceCapacity,
                paths: tables.pathCount, instances: tables.instanceCount, bytes: UInt64(view.byteCount),
                revision: view.revision, heartbeatAge: now &- min(now, view.heartbeat), omitted: tables.omittedCount,
                problem: problem?.description)
        }
    }

    // MARK: Files

    /// Marks the map at a path superseded, whatever its layout: its readers ask from now on.
    ///
    /// A starting daemon does so before it takes any mutation.
    public static func markSuperseded(path: String) -> FoundMap {
        let file = unsafe open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else {
            let code = errno
            return code == ENOENT ? .none : .unmarkable(.system(call: "open", path: path, code: code))
        }
        defer { close(file) }
        var status = stat()
        guard unsafe fstat(file, &status) == 0 else {
            return .unmarkable(.system(call: "fstat", path: path, code: errno))
        }
        // A file that is shorter than the frozen part of the header is no reader's map.
        guard status.st_size >= 16 else { return .unmarkable(.foreign(path: path)) }
        guard let mapped = unsafe mmap(nil, 16, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0),
            unsafe mapped != MAP_FAILED
        else { return .unmarkable(.system(call: "mmap", path: path, code: errno)) }
        defer { unsafe munmap(mapped, 16) }
        guard unsafe mapped.load(as: UInt64.self) == TRUST_MAP_MAGIC else {
            return .unmarkable(.foreign(path: path))
        }
        unsafe (mapped + Int(TRUST_MAP_OFFSET_STATE)).assumingMemoryBound(to: Atomic<UInt32>.self).pointee
            .store(UInt32(TRUST_MAP_STATE_SUPERSEDED), ordering: .releasing)
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        return .superseded
    }

    private static func provisionalPath(_ path: String) -> String { path + ".new" }

    private static func publish(_ path: String) throws(TrustMapFault) {
        guard unsafe rename(provisionalPath(path), path) == 0 else {
            throw .system(call: "rename", path: path, code: errno)
        }
    }

    /// The generation of the map at a path, 0 where none can be read.
    private static func generation(at path: String) -> UInt64 {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else { return 0 }
        defer { close(file) }
        var header = [UInt64](repeating: 0, count: 3)
        guard unsafe pread(file, &header, 24, 0) == 24, header[0] == TRUST_MAP_MAGIC else { return 0 }
        return header[2]
    }
}

/// The smallest power of two that is not below a number; 2 to the 31 at most.
func powerOfTwo(atLeast number: UInt32) -> UInt32 {
    var power: UInt32 = 1
    while power < number, power < 1 << 31 { power *= 2 }
    return power
}
