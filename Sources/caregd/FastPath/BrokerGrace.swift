internal import Glibc
internal import RegistryStore
internal import TrustMap

/// What a state folder remembers of the trust maps that brokers may hold, so that a daemon that finds one it cannot mark
/// knows how long to keep its hands off the registry.
///
/// A map that was deleted while a daemon was down, or is in another runtime folder, cannot be marked superseded; brokers
/// that hold it believe it until its heartbeat is too old.
struct BrokerGrace {
    /// What the file of the last daemon says.
    struct Record: Equatable {
        var boot: String
        var stalenessMilliseconds: UInt64
        var maps: [String]
        /// Monotonic milliseconds of a clean stop; nil where there was none.
        var stopMilliseconds: UInt64?

        var text: String {
            var lines = ["boot=\(boot)", "staleness_milliseconds=\(stalenessMilliseconds)"]
            lines += maps.map { "map=\($0)" }
            if let stopMilliseconds { lines.append("stop_milliseconds=\(stopMilliseconds)") }
            return lines.joined(separator: "\n") + "\n"
        }

        init(boot: String, stalenessMilliseconds: UInt64, maps: [String], stopMilliseconds: UInt64? = nil) {
            self.boot = boot
            self.stalenessMilliseconds = stalenessMilliseconds
            self.maps = maps
            self.stopMilliseconds = stopMilliseconds
        }

        init?(text: String) {
            self.init(boot: "", stalenessMilliseconds: 0, maps: [])
            for line in text.split(separator: "\n") {
                let parts = line.split(separator: "=", maxSplits: 1).map(String.init)
                guard parts.count == 2 else { return nil }
                switch parts[0] {
                case "boot": boot = parts[1]
                case "staleness_milliseconds":
                    guard let number = UInt64(parts[1]) else { return nil }
                    stalenessMilliseconds = number
                case "stop_milliseconds": stopMilliseconds = UInt64(parts[1])
                case "map": maps.append(parts[1])
                default: break
                }
            }
        }
    }

    /// A file of more bytes is not ours.
    private static let maximumBytes = 1 << 20

    let file: String
    let boot: String
    /// When brokers have let go of what could not be marked: monotonic milliseconds.
    let endMilliseconds: UInt64?
    /// What could not be marked.
    private let unmarked: [String]

    /// Marks every map that a former daemon may have left.
    ///
    /// - Parameter own: where this daemon's maps will be.
    init(stateFolder: String, own: [String], stalenessMilliseconds: Int) {
        file = stateFolder + "/brokers"
        boot = Self.bootID
        let bytes = try? Files.read(file, limit: Self.maximumBytes)
        let record = bytes.flatMap { $0 }.flatMap { Record(text: String(decoding: $0, as: UTF8.self)) }
        var end: UInt64?
        var unmarked: [String] = []
        for map in Set((record?.maps ?? []) + own) {
            let found = TrustMapWriter.markSuperseded(path: map)
            if found == .superseded { continue }
            if let record, record.maps.contains(map) {
                // Another boot's heartbeat is stale whatever its age is.
                guard record.boot == boot || boot.isEmpty else { continue }
                let last = record.stopMilliseconds ?? Self.nowMilliseconds
                end = max(end ?? 0, last + record.stalenessMilliseconds)
                unmarked.append(map)
            } else if found != .none {
                end = max(end ?? 0, Self.nowMilliseconds + UInt64(stalenessMilliseconds))
                unmarked.append(map)
            }
        }
        self.unmarked = unmarked
        endMilliseconds = end.flatMap { $0 > Self.nowMilliseconds ? $0 : nil }
    }

    /// Notes the maps that brokers may hold from now on, and those that they may still hold.
    ///
    /// - Parameter isStopping: no heartbeat will follow.
    func note(maps: [String], stalenessMilliseconds: Int, isStopping: Bool) throws(FileFault) {
        let record = Record(
            boot: boot, stalenessMilliseconds: UInt64(stalenessMilliseconds), maps: maps + held(besides: maps),
            stopMilliseconds: isStopping ? Self.nowMilliseconds : nil)
        try Files.replace(file, with: Array(record.text.utf8), mode: 0o600)
    }

    private func held(besides maps: [String]) -> [String] {
        guard let endMilliseconds, Self.nowMilliseconds < endMilliseconds else { return [] }
        return unmarked.filter { !maps.contains($0) }
    }

    static var nowMilliseconds: UInt64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000 + UInt64(time.tv_nsec) / 1_000_000
    }

    private static var bootID: String {
        guard let bytes = try? Files.read("/proc/sys/kernel/random/boot_id", limit: 256) else { return "" }
        return String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }
}
