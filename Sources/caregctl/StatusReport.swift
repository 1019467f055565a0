internal import CaregProto
internal import Foundation
internal import SwiftProtobuf

/// What an operator should know of the daemon's status at a glance: what is not well, and what to do about it.
struct StatusReport {
    /// A limit of which so much is used is near.
    private static let nearPercent: UInt64 = 80
    /// A backup every day, with room for one that starts late.
    private static let backupSeconds: Int64 = 26 * 3_600
    /// A map whose heartbeat is older is left by brokers soon.
    private static let heartbeatSeconds: Int64 = 2

    let status: Careg_V1_DaemonStatus
    let now: Date

    /// Sentences on what is not well: those of the daemon first. Empty where all is well.
    var concerns: [String] {
        status.problems + trustMapConcerns + limitConcerns + roomConcerns + backupConcerns
    }

    /// `all is well`, or how much is not.
    var verdict: Cell {
        let count = concerns.count
        return count == 0
            ? Cell("all is well", .good) : Cell("not all is well: \(Readable.count(count, "concern"))", .bad)
    }

    private var trustMapConcerns: [String] {
        if status.trustMaps.isEmpty {
            return ["There is no trust map: brokers ask the daemon about each device. The daemon's log says why."]
        }
        return status.trustMaps.filter { $0.hasHeartbeatAge && $0.heartbeatAge.seconds >= Self.heartbeatSeconds }.map {
            "\($0.file) is stale: its last heartbeat was \(Readable.duration(seconds: $0.heartbeatAge.seconds)) ago, and "
                + "brokers stop trusting it. Is the host overloaded or was it frozen?"
        }
    }

    private var limitConcerns: [String] {
        status.limits.filter { $0.hasUsed && $0.value > 0 && $0.used >= Self.near($0.value) }.map { limit in
            let percent = Double(limit.used) / Double(limit.value) * 100
            let what = limit.used >= limit.value ? "is reached" : "is near"
            return "The limit \(limit.name) \(what): \(limit.used) of \(limit.value) are in use (\(Int(percent)) %). "
                + "Raise it in caregd.conf, or find what takes so much."
        }
    }

    /// The least that is near.
    private static func near(_ value: UInt64) -> UInt64 {
        value / 100 * nearPercent + (value % 100 * nearPercent + 99) / 100
    }

    private var roomConcerns: [String] {
        guard !status.diskFull, status.freeBytes > 0, status.freeBytes < status.dataBytes else { return [] }
        return [
            "The state folder's file system has \(Readable.bytes(status.freeBytes)) free: a backup needs up to "
                + "\(Readable.bytes(status.dataBytes)) there. Make room."
        ]
    }

    private var backupConcerns: [String] {
        let mend = "Take one with: caregctl backup FILE, or see: systemctl status caregd-backup.timer"
        guard status.hasLastBackup else {
            // A new daemon's timer has its first day.
            guard status.revision > 0, status.uptime.seconds >= Self.backupSeconds else { return [] }
            return ["No backup was ever taken of this registry. \(mend)"]
        }
        guard let age = backupAge, age >= Self.backupSeconds, status.revision > status.lastBackup.revision else {
            return []
        }
        let changes = Readable.count(status.revision - status.lastBackup.revision, "change")
        return ["The last backup is \(Readable.duration(seconds: age)) old, and \(changes) came since. \(mend)"]
    }

    private var backupAge: Int64? {
        guard status.hasLastBackup else { return nil }
        return max(0, Int64(now.timeIntervalSince1970) - status.lastBackup.time.seconds)
    }

    // MARK: Values

    /// When the last backup was taken, and what came since.
    var backup: Cell {
        guard status.hasLastBackup else { return Cell("none yet", .waiting) }
        let backup = status.lastBackup
        let behind = status.revision - min(status.revision, backup.revision)
        let since = behind == 0 ? "nothing has changed since" : Readable.count(behind, "change") + " since"
        return Cell("\(Readable.time(backup.time, now: now)), revision \(backup.revision), \(since)")
    }

    /// How many CA certificates end soon; nil where the daemon does not say.
    var expiries: Cell? {
        guard let ended = status.caExpiries.first(where: { $0.withinDays == 0 }) else { return nil }
        let soon = status.caExpiries.filter { $0.withinDays > 0 }
        guard status.caExpiries.contains(where: { $0.count > 0 }), let last = soon.last else {
            let horizon = soon.last?.withinDays ?? 0
            return Cell("none within \(horizon) days")
        }
        let counts = soon.map { "\($0.count - min($0.count, ended.count)) within \($0.withinDays) days" }
        let text = (["\(ended.count) expired"] + counts).joined(separator: ", ")
        return Cell(text, last.count > 0 ? .waiting : .plain)
    }
}
