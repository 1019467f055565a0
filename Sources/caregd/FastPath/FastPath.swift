internal import Foundation
internal import Logging
internal import Registry
internal import RegistryStore
internal import Synchronization
internal import TrustMap

/// All that brokers read without asking: `trust.map` and `anchors/`, and those of each group that is restricted to some
/// instances, `trust.GROUP.map` and `anchors.GROUP/`, where GROUP is the group's number.
final class FastPath: Mirror {
    struct Settings: Sendable {
        var runtimeFolder: String
        var group: UInt32?
        var maximumDevices: Int
        var stalenessMilliseconds: Int
    }

    /// The instances of each group that is restricted.
    typealias Restrictions = [UInt32: Set<String>]

    private struct Part: Sendable {
        var group: UInt32?
        var map: TrustMapMirror
        var anchors: AnchorsFolder
    }

    private let settings: Settings
    private let logger: Logger
    private let parts: Mutex<[Part]>
    /// The map of all instances that are not restricted: it is there from first to last.
    let firstMap: TrustMapMirror
    /// The other maps of `parts`, for questions: they do not wait while the parts are being changed.
    let otherMaps: Mutex<[TrustMapMirror]>
    /// When what failed is tried again: monotonic milliseconds.
    private let retry = Mutex<UInt64>(0)
    /// Groups whose files could not be made when the rules changed, and why.
    private let unserved = Mutex<[UInt32: String]>([:])
    private static let retryMilliseconds: UInt64 = 5_000

    /// Makes the maps, empty, and the anchors, complete.
    init(settings: Settings, restrictions: Restrictions, restricted: Set<String>, store: Store, logger: Logger) throws {
        self.settings = settings
        self.logger = logger
        let parts = try store.read { snapshot in
            var parts = [try Self.part(settings, group: nil, scope: .allBut(restricted), snapshot)]
            for (group, instances) in restrictions.sorted(by: { $0.key < $1.key }) {
                parts.append(try Self.part(settings, of: group, instances, snapshot))
            }
            return parts
        }
        self.parts = Mutex(parts)
        firstMap = parts[0].map
        otherMaps = Mutex(parts.dropFirst().map(\.map))
        removeLeftovers()
    }

    /// What a group that is restricted has for itself. The daemon may give files to its own groups only.
    private static func part(
        _ settings: Settings, of group: UInt32, _ instances: Set<String>, _ snapshot: Snapshot
    ) throws -> Part {
        do {
            return try part(settings, group: group, scope: .only(instances), snapshot)
        } catch {
            if geteuid() == 0 || Accounts.isOwn(group: group) { throw error }
            throw StartFailure(
                .configuration,
                "an access rule names group \(group), and caregd may give no files to it: make this user a member of it "
                    + "(usermod --append --groups), and restart")
        }
    }

    private static func part(
        _ settings: Settings, group: UInt32?, scope: InstanceScope, _ snapshot: Snapshot
    ) throws -> Part {
        let suffix = group.map { ".\($0)" } ?? ""
        let fileName = "trust\(suffix).map"
        var configuration = TrustMapConfiguration(path: "\(settings.runtimeFolder)/\(fileName)")
        configuration.group = group ?? settings.group
        configuration.maximumDevices = UInt32(clamping: settings.maximumDevices)
        configuration.longestStalenessMilliseconds = UInt32(clamping: settings.stalenessMilliseconds)
        let map = try TrustMapMirror(
            configuration: configuration, fileName: fileName, scope: scope, snapshot: snapshot)
        map.makeMap(devices: UInt64(max(0, try snapshot.regionTally().devices)))
        let anchors = try AnchorsFolder(
            path: "\(settings.runtimeFolder)/anchors\(suffix)", group: group ?? settings.group, scope: scope,
            snapshot: snapshot)
        return Part(group: group, map: map, anchors: anchors)
    }

    /// Files of groups that are restricted no more.
    private func removeLeftovers() {
        let folder = settings.runtimeFolder
        let groups = Set(parts.withLock { $0.compactMap(\.group) }.map(String.init))
        for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] {
            let words = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
            if words.count == 3, words[0] == "trust", words[2] == "map", !groups.contains(words[1]) {
                _ = TrustMapWriter.markSuperseded(path: "\(folder)/\(name)")
                try? removeFile("\(folder)/\(name)")
            } else if words.count == 2, words[0] == "anchors", UInt32(words[1]) != nil, !groups.contains(words[1]) {
                try? FileManager.default.removeItem(atPath: "\(folder)/\(name)")
            }
        }
    }

    /// The maps that brokers may hold, or may come to hold, by their paths.
    var mapPaths: [String] { paths { _ in true } }

    /// The maps that there are now.
    var presentMapPaths: [String] { paths { $0.map.hasMap } }

    private func paths(where isWanted: (Part) -> Bool) -> [String] {
        parts.withLock { $0.filter(isWanted).map { "\(settings.runtimeFolder)/\($0.map.fileName)" } }
    }

    /// Takes other rules, in the snapshot of the last commit, while no commit is under way.
    ///
    /// - Throws: the first thing that failed; all else was done, and brokers ask where a map could not follow.
    func setRestrictions(_ restrictions: Restrictions, restricted: Set<String>, snapshot: Snapshot) throws {
        let devices = UInt64(max(0, (try? snapshot.regionTally().devices) ?? 0))
        var failure: (any Error)?
        func attempt(_ body: () throws -> Void) {
            do { try body() } catch { failure = failure ?? error }
        }
        parts.withLock { parts in
            var kept: [Part] = []
            for part in parts {
                let scope: InstanceScope
                if let group = part.group {
                    guard let instances = restrictions[group] else {
                        part.map.removeMap()
                        part.anchors.remove()
                        continue
                    }
                    scope = .only(instances)
                } else {
                    scope = .allBut(restricted)
                }
                attempt { try part.map.setScope(scope, snapshot: snapshot, devices: devices) }
                attempt { try part.anchors.rebuild(scope: scope, snapshot: snapshot) }
                kept.append(part)
            }
            var unserved: [UInt32: String] = [:]
            for (group, instances) in restrictions where !kept.contains(where: { $0.group == group }) {
                do {
                    kept.append(try Self.part(settings, of: group, instances, snapshot))
                } catch {
                    // Its brokers ask: the rules are in force whatever becomes of the files.
                    unserved[group] = "\(error)"
                    logger.error("the fast path cannot follow the access rules", metadata: ["error": "\(error)"])
                }
            }
            self.unserved.withLock { $0 = unserved }
            parts = kept
            otherMaps.withLock { $0 = kept.map(\.map).filter { $0 !== firstMap } }
        }
        removeLeftovers()
        if let failure { throw failure }
    }

    func apply(_ changes: [CommittedChange], _ snapshot: Snapshot) {
        // The maps first: a session that must end is told before a handshake that must fail.
        let parts = parts.withLock { $0 }
        for part in parts { part.map.apply(changes, snapshot) }
        for part in parts { part.anchors.apply(changes, snapshot) }
    }

    func heartbeat() {
        // Not by `parts`: they may be under change for a while, and a beat that is late makes every broker ask.
        firstMap.heartbeat()
        for map in otherMaps.withLock({ $0 }) { map.heartbeat() }
    }

    /// What is not well, a sentence each.
    var problems: [String] {
        parts.withLock { $0 }.flatMap { [$0.map.problem, $0.anchors.problem].compactMap { $0 } }
            + unserved.withLock { $0.sorted { $0.key < $1.key }.map(\.value) }
    }

    var reports: [(file: String, statistics: TrustMapStatistics, isFilled: Bool)] {
        parts.withLock { $0 }.compactMap { part in
            part.map.report.map { (part.map.fileName, $0.statistics, $0.isFilled) }
        }
    }

    /// Fills and grows the maps and mends the anchors, on a thread that has the time.
    func tend(_ registry: Registry, mayGoOn: () -> Bool) {
        for part in parts.withLock({ $0 }) {
            do {
                if part.map.needsTending { try part.map.tend(registry, mayGoOn: mayGoOn) }
                if part.anchors.problem != nil {
                    try registry.writer.betweenCommits { try registry.read { part.anchors.mend($0) } }
                }
            } catch {
                logger.error("the fast path cannot be filled", metadata: ["error": "\(error)"])
            }
        }
        // What is still not as it should be waits for room, or for somebody to mend it.
        if needsWork { retry.withLock { $0 = BrokerGrace.nowMilliseconds + Self.retryMilliseconds } }
    }

    /// Whether ``tend(_:mayGoOn:)`` has anything to do now.
    var needsTending: Bool {
        needsWork && retry.withLock { $0 } <= BrokerGrace.nowMilliseconds
    }

    private var needsWork: Bool {
        parts.withLock { $0 }.contains { $0.map.needsTending || $0.anchors.problem != nil }
    }
}
