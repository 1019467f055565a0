internal import CaregProto
internal import Dispatch
internal import Foundation
internal import Registry
internal import RegistryStore
internal import Signatures
internal import SwiftProtobuf
internal import Synchronization
internal import TTRPC

/// Backup: a consistent, compacted copy, first in a file without a name in the state folder, then in messages.
///
/// First the file, because a copy pins the pages of its snapshot: a slow reader would make the registry grow.
struct BackupService: Sendable {
    let registry: Registry
    let limits: ServiceLimits
    let stateFolder: String
    let sources: StatusSources
    let running: BackupCounter
    let last: LastBackup
    let clock: @Sendable () -> WallTime

    /// Blocks for as long as the peer reads.
    func backup(_ request: Careg_V1_BackupRequest, _ call: StreamCall<Careg_V1_BackupResponse>) throws {
        guard running.begin(atMost: limits.backups) else {
            throw Refusal(
                .limitReached, "\(limits.backups) backups run already. Try again when one has ended.",
                metadata: ["limit": "backups"])
        }
        let sent: BackupRecord?
        do {
            // Before the stream's end: whoever has read it may begin another one, and finds this one noted.
            defer { running.end() }
            sent = try send(call)
        }
        guard let sent else { return }
        last.note(sent)
        call.wire.finish()
    }

    /// Makes a copy, and sends it; nil where the peer has gone.
    private func send(_ call: StreamCall<Careg_V1_BackupResponse>) throws -> BackupRecord? {
        try requireRoom()
        let copy = try BackupCopy(of: registry, in: stateFolder) { call.wire.isOver }
        guard let copy else { return nil }
        var offset = 0
        while offset < copy.byteCount {
            let data = try copy.read(at: offset, count: limits.backupMessageBytes)
            let message = Careg_V1_BackupResponse.with {
                $0.data = data
                $0.offset = UInt64(offset)
                $0.totalBytes = UInt64(copy.byteCount)
                $0.revision = copy.revision.number
                if offset + data.count == copy.byteCount { $0.sha256 = copy.digest.hex }
            }
            guard call.wire.sendWaiting(try message.serializedBytes()) else { return nil }
            offset += data.count
        }
        return BackupRecord(time: clock(), revision: copy.revision, byteCount: UInt64(copy.byteCount))
    }

    /// Better no backup than a full disk: then every change would be refused.
    private func requireRoom() throws {
        guard let storage = sources.storage() else { return }
        let needed = UInt64(clamping: try registry.neededBytes())
        guard storage.freeBytes / 10 * 9 > needed else { throw Self.diskFull }
    }

    fileprivate static let diskFull = Refusal(
        .diskFull, "The state folder's file system has no room for a copy of the registry. Make room and try again.")
}

/// How many backups run.
final class BackupCounter: Sendable {
    private let count = Atomic<Int>(0)

    var running: Int { count.load(ordering: .relaxed) }

    func begin(atMost limit: Int) -> Bool {
        let before = count.add(1, ordering: .acquiringAndReleasing).oldValue
        if before < limit { return true }
        end()
        return false
    }

    func end() {
        count.subtract(1, ordering: .acquiringAndReleasing)
    }
}

/// A whole copy of the registry in a file that has no name any more: it is gone with the last handle, whatever happens.
struct BackupCopy {
    private let file: FileHandle
    let byteCount: Int
    let revision: Revision
    let digest: SHA256Digest

    private static let pieceBytes = 262_144

    /// Nil where it was given up.
    ///
    /// The copy's snapshot begins between two commits, so that its revision is known. LMDB begins it before it writes the
    /// first byte: when that is there, commits go on.
    init?(of registry: Registry, in folder: String, isGivenUp: @escaping () -> Bool) throws {
        let file = try Self.namelessFile(in: folder)
        let pipe = Pipe()
        let source = pipe.fileHandleForReading
        let outcome = CopyOutcome()
        let (revision, first) = try registry.writer.betweenCommits {
            outcome.start(registry, to: pipe.fileHandleForWriting)
            return (try registry.read { try $0.revision() }, try Self.piece(of: source))
        }
        var hasher = SHA256Hasher()
        var piece = first
        var byteCount = 0
        var fault: (any Error)?
        while !piece.isEmpty, !isGivenUp() {
            do {
                try file.write(contentsOf: piece)
            } catch {
                fault = Self.refusal(for: error)
                break
            }
            hasher.update(Array(piece).span)
            byteCount += piece.count
            piece = try Self.piece(of: source)
        }
        // LMDB, which may want to write more, ends when nobody reads.
        try source.close()
        let isWhole = piece.isEmpty
        let copyFault = outcome.wait()
        if let fault { throw fault }
        guard isWhole else { return nil }
        if let copyFault { throw copyFault }
        self.file = file
        self.byteCount = byteCount
        self.revision = revision
        digest = hasher.finish()
    }

    /// Bytes of the copy: fewer than asked for at its end only.
    func read(at offset: Int, count: Int) throws -> Data {
        try file.seek(toOffset: UInt64(offset))
        guard let data = try file.read(upToCount: count), !data.isEmpty else {
            throw CocoaError(.fileReadCorruptFile)
        }
        return data
    }

    private static func piece(of source: FileHandle) throws -> Data {
        try source.read(upToCount: pieceBytes) ?? Data()
    }

    private static func namelessFile(in folder: String) throws -> FileHandle {
        let path = "\(folder)/backup-\(UUID().uuidString).tmp"
        guard FileManager.default.createFile(atPath: path, contents: nil, attributes: [.posixPermissions: 0o600])
        else { throw refusal(for: CocoaError(.fileWriteUnknown)) }
        // Empty yet: a crash between the two leaves nothing of the registry behind.
        defer { try? FileManager.default.removeItem(atPath: path) }
        return try FileHandle(forUpdating: URL(fileURLWithPath: path))
    }

    private static func refusal(for error: any Error) -> any Error {
        (error as? CocoaError)?.code == .fileWriteOutOfSpace ? BackupService.diskFull : error
    }
}

/// What became of LMDB's side of a copy, which runs on a thread of its own.
private final class CopyOutcome: Sendable {
    private let queue = DispatchQueue(label: "caregd.backup", qos: .utility)
    private let fault = Mutex<(any Error)?>(nil)

    func start(_ registry: Registry, to target: FileHandle) {
        queue.async {
            do {
                try registry.copy(to: target.fileDescriptor)
            } catch {
                self.fault.withLock { $0 = error }
            }
            // The reader's end of file.
            try? target.close()
        }
    }

    /// Waits for the end; what went wrong, or nil.
    func wait() -> (any Error)? {
        queue.sync {}
        return fault.withLock { $0 }
    }
}
