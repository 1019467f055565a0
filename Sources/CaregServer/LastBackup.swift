internal import Registry
internal import RegistryStore
internal import Synchronization

/// A backup that was sent whole.
struct BackupRecord: Equatable, Sendable {
    var time: WallTime
    var revision: Revision
    var byteCount: UInt64
}

/// The last backup of this history of the registry, kept in a small file of the state folder, so that a restart does not
/// forget it. Without the file nothing but this is lost.
final class LastBackup: Sendable {
    static let fileName = "last-backup"
    private static let title = "caregd last backup 1"
    private static let fileBytes = 1_024

    private let path: String
    private let historyID: String
    private let record: Mutex<BackupRecord?>
    private let writing = Mutex(())

    /// - Parameter historyID: a backup of another history says nothing of this one.
    init(stateFolder: String, historyID: String) {
        path = "\(stateFolder)/\(Self.fileName)"
        self.historyID = historyID
        let bytes = (try? Files.read(path, limit: Self.fileBytes)) ?? nil
        record = Mutex(bytes.flatMap { Self.parse($0, historyID: historyID) })
    }

    /// Nil where there was none.
    var last: BackupRecord? { record.withLock { $0 } }

    /// Notes a backup; one that ended later, of two at once, is the last.
    func note(_ backup: BackupRecord) {
        record.withLock { $0 = backup }
        // Apart from the record: the status must not wait for a disk. One writes at a time, and what is the last by then.
        writing.withLock { _ in
            guard let last else { return }
            // A full disk must not make a failure of a backup that has come over.
            try? Files.replace(path, with: Array(Self.text(last, historyID: historyID).utf8), mode: 0o600)
        }
    }

    static func text(_ backup: BackupRecord, historyID: String) -> String {
        let fields = [
            title, "history_id=\(historyID)", "revision=\(backup.revision.number)",
            "time_milliseconds=\(backup.time.milliseconds)", "bytes=\(backup.byteCount)",
        ]
        return fields.joined(separator: "\n") + "\n"
    }

    /// Nil where the bytes are not what ``text(_:historyID:)`` makes for this history.
    static func parse(_ bytes: [UInt8], historyID: String) -> BackupRecord? {
        guard let text = String(validating: bytes, as: UTF8.self) else { return nil }
        let lines = text.split(separator: "\n")
        guard lines.count == 5 else { return nil }
        func number<Number: FixedWidthInteger>(_ line: Int, _ name: String) -> Number? {
            guard lines[line].hasPrefix(name + "=") else { return nil }
            return Number(lines[line].dropFirst(name.count + 1))
        }
        guard let revision: UInt64 = number(2, "revision"), let time: Int64 = number(3, "time_milliseconds"),
            let byteCount: UInt64 = number(4, "bytes")
        else { return nil }
        let backup = BackupRecord(
            time: WallTime(milliseconds: time), revision: Revision(revision), byteCount: byteCount)
        return Self.text(backup, historyID: historyID) == text ? backup : nil
    }
}
