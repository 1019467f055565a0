internal import Foundation
internal import Glibc

/// Why a state folder cannot be worked on. Each reads as a sentence that says what to do.
public enum StateFault: Error, Sendable, CustomStringConvertible {
    case folderMissing(String)
    case notAFolder(String)
    case foreignOwner(String, owner: UInt32)
    case locked(String)
    case noRegistry(String)
    case dataMissing(String)
    case dataEmpty(String)
    case dataForeign(String)
    case dataCut(String, bytes: Int, needed: Int)
    case dataUnreadable(String)
    case markerDamaged(String)
    case otherHistory(String)
    case older(String, revision: Revision, expected: Revision)
    case otherRegion(String, found: String, wanted: String)
    case newerSchema(String, version: UInt32)
    case copyUnusable(String, why: String)
    case file(FileFault)

    private static let mend = "put its data file back, or bring back a backup with: caregd restore FILE"

    /// A sentence that says what to do.
    public var description: String {
        switch self {
        case .folderMissing(let path): "there is no state folder \(path)"
        case .notAFolder(let path): "the state folder \(path) is not a folder"
        case .foreignOwner(let path, let owner):
            "the state folder \(path) belongs to user \(owner): run caregd as that user, or give it another folder"
        case .locked(let path):
            "another caregd works on the state folder \(path): stop it first, or give this one another folder"
        case .noRegistry(let path): "there is no registry in \(path)"
        case .dataMissing(let path):
            "the registry's data file is missing from \(path), and no new registry is made in its place: \(Self.mend); a new "
                + "registry begins in an empty folder"
        case .dataEmpty(let path): "the registry's data file in \(path) is empty: \(Self.mend)"
        case .dataForeign(let path): "the data file in \(path) is not a registry: \(Self.mend)"
        case .dataCut(let path, let bytes, let needed):
            "the registry's data file in \(path) is cut: it has \(bytes) bytes of \(needed), and what it holds is not "
                + "whole: \(Self.mend)"
        case .dataUnreadable(let path):
            "the registry's data file in \(path) is damaged in its structure, and reading it ends the process: look at it "
                + "with: caregd check; \(Self.mend)"
        case .markerDamaged(let path):
            "the file \(path), which says what registry this folder holds, cannot be read: put it back, or bring back a "
                + "backup with: caregd restore FILE"
        case .otherHistory(let path):
            "the data file in \(path) is of another registry, or of another history of it, than was kept here: "
                + "put the right one back, or take it over as a backup with: caregd restore FILE"
        case .older(let path, let revision, let expected):
            "the data file in \(path) ends at revision \(revision.number), and the registry here was at "
                + "\(expected.number) already: it is an old copy. Put the right one back, or take it over as a backup "
                + "with: caregd restore FILE"
        case .otherRegion(let path, let found, let wanted):
            "the registry in \(path) is of region \(found), and region \(wanted) was asked for: start it with "
                + "--region \(found), or give region \(wanted) a state folder of its own"
        case .newerSchema(let path, let version):
            "the registry in \(path) has schema version \(version), and this caregd knows \(Store.schemaVersion): "
                + "run the newer caregd"
        case .copyUnusable(let path, let why): "\(path) cannot be restored: \(why). Nothing was changed"
        case .file(let fault): fault.description
        }
    }
}

/// What a state folder says of its registry beside the data file, so that one whose data file is gone is never taken for
/// an empty folder.
public struct RegistryMarker: Sendable, Equatable {
    public var region: String
    public var historyID: String
    /// The registry has been there at least.
    public var revision: Revision
    /// The history of a copy that is about to take the data file's place.
    public var incomingHistoryID: String?

    /// All fields.
    public init(region: String, historyID: String, revision: Revision, incomingHistoryID: String? = nil) {
        self.region = region
        self.historyID = historyID
        self.revision = revision
        self.incomingHistoryID = incomingHistoryID
    }

    private static let title = "caregd registry 1"

    var text: String {
        var lines = [Self.title, "region=\(region)", "history_id=\(historyID)", "revision=\(revision.number)"]
        if let incomingHistoryID { lines.append("incoming_history_id=\(incomingHistoryID)") }
        return lines.joined(separator: "\n") + "\n"
    }

    init?(text: String) {
        let lines = text.split(separator: "\n")
        guard lines.first.map(String.init) == Self.title else { return nil }
        var fields: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { return nil }
            fields[String(parts[0])] = String(parts[1])
        }
        guard let region = fields["region"], let historyID = fields["history_id"],
            let number = fields["revision"].flatMap({ UInt64($0) })
        else { return nil }
        self.init(
            region: region, historyID: historyID, revision: Revision(number),
            incomingHistoryID: fields["incoming_history_id"])
    }
}

/// A folder that holds one registry, locked against every other caregd for as long as this object lives.
///
/// - `registry.mdb` and `registry.mdb-lock`: LMDB's;
/// - `registry.id`: the ``RegistryMarker``, written after the data file is durable;
/// - `last-backup`: when the registry was backed up, for the status alone;
/// - `caregd.lock`: who works on the folder holds a lock on it;
/// - `replaced-TIME/`: what `caregd restore` has replaced.
public final class StateFolder: Sendable {
    /// Where it is.
    public let path: String
    private let lock: Int32

    /// The longest marker file that is read.
    private static let markerBytes = 4_096

    /// Locks the folder.
    ///
    /// - Parameter creates: makes it, with its parents, where it is missing.
    /// - Throws: ``StateFault``.
    public init(path: String, creates: Bool) throws(StateFault) {
        self.path = path
        var status = stat()
        if unsafe stat(path, &status) != 0 {
            guard errno == ENOENT else { throw .file(FileFault(call: "stat", path: path, code: errno)) }
            guard creates else { throw .folderMissing(path) }
            try faultingFile { () throws(FileFault) in try Files.makeFolders(path, mode: 0o700) }
            guard unsafe stat(path, &status) == 0 else {
                throw .file(FileFault(call: "stat", path: path, code: errno))
            }
        }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw .notAFolder(path) }
        guard status.st_uid == geteuid() || status.st_uid == 0 else {
            throw .foreignOwner(path, owner: status.st_uid)
        }
        if status.st_uid == geteuid(), status.st_mode & 0o077 != 0 {
            // The registry is nobody else's to read, whoever made the folder.
            guard unsafe chmod(path, 0o700) == 0 else {
                throw .file(FileFault(call: "chmod", path: path, code: errno))
            }
        }
        let lockPath = path + "/caregd.lock"
        lock = unsafe open(lockPath, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard lock >= 0 else { throw .file(FileFault(call: "open", path: lockPath, code: errno)) }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            close(lock)
            throw code == EWOULDBLOCK ? .locked(path) : .file(FileFault(call: "flock", path: lockPath, code: code))
        }
    }

    deinit {
        close(lock)
    }

    /// LMDB's data file.
    public var dataFile: String { path + "/registry.mdb" }
    var markerFile: String { path + "/registry.id" }

    /// What stands beside the data file; nil where there is nothing.
    public func marker() throws(StateFault) -> RegistryMarker? {
        let bytes: [UInt8]?
        do throws(FileFault) {
            bytes = try Files.read(markerFile, limit: Self.markerBytes)
        } catch {
            throw .file(error)
        }
        guard let bytes else { return nil }
        guard let text = String(validating: bytes, as: UTF8.self), let marker = RegistryMarker(text: text) else {
            throw .markerDamaged(markerFile)
        }
        return marker
    }

    /// Puts the marker, whole or not at all.
    public func put(_ marker: RegistryMarker) throws(StateFault) {
        try faultingFile { () throws(FileFault) in
            try Files.replace(markerFile, with: Array(marker.text.utf8), mode: 0o600)
        }
    }

    /// Checks that the folder holds a registry whose data file may be opened.
    ///
    /// - Parameter isSound: walks a data file in a process of its own, where the file is shorter than its last commit.
    /// - Throws: ``StateFault``.
    public func requireDataFile(isSound: (String) -> Bool) throws(StateFault) {
        guard try hasDataFile(isSound: isSound) else { throw .noRegistry(path) }
    }

    /// - Returns: false where there is no registry and never was one.
    private func hasDataFile(isSound: (String) -> Bool) throws(StateFault) -> Bool {
        let condition = try faultingFile { () throws(FileFault) in try DataFile.condition(path: dataFile) }
        switch condition {
        case .whole: return true
        case .missing:
            guard try marker() != nil || hasTraces() else { return false }
            throw .dataMissing(path)
        case .empty: throw .dataEmpty(path)
        case .foreign: throw .dataForeign(path)
        case .short(let bytes, let needed):
            guard isSound(dataFile) else { throw .dataCut(path, bytes: bytes, needed: needed) }
            return true
        }
    }

    /// What only a registry leaves in its folder: its data file, and perhaps its marker, are gone.
    private func hasTraces() -> Bool {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        let lock = (dataFile as NSString).lastPathComponent + "-lock"
        return names.contains { $0 == lock || $0 == "brokers" || $0.hasPrefix("replaced-") }
    }

    /// Opens the registry of this folder, and makes a new one where there never was one.
    ///
    /// - Parameters:
    ///   - region: what it must be of; nil: whatever it is, `default` for a new one.
    ///   - newHistoryID: 32 hex digits for a new registry.
    ///   - isSound: as in ``requireDataFile(isSound:)``.
    ///   - isReadable: whether reading what a start reads ends otherwise than in a signal; tried in a process of its own.
    /// - Throws: ``StateFault``, ``StoreFault``.
    public func openRegistry(
        region: String?, newHistoryID: () throws -> String, isSound: (String) -> Bool,
        isReadable: (String) -> Bool = { _ in true }
    ) throws -> Store {
        if try hasDataFile(isSound: isSound) {
            guard isReadable(dataFile) else { throw StateFault.dataUnreadable(path) }
        } else {
            try create(Store.Identity(region: region ?? Self.defaultRegion, historyID: try newHistoryID()))
        }
        // Before its tables are opened: a newer schema may have others.
        guard let identity = try Store.identity(ofFile: dataFile) else { throw StateFault.dataForeign(path) }
        try requireUsable(identity, region: region)
        let store = try Store(path: dataFile, creating: nil)
        try settleMarker(identity, revision: try store.read { try $0.revision() })
        return store
    }

    /// Opens the registry of this folder to read it, and changes nothing.
    ///
    /// - Throws: ``StateFault``, ``StoreFault``.
    public func readRegistry(isSound: (String) -> Bool) throws -> Store {
        try requireDataFile(isSound: isSound)
        guard let identity = try Store.identity(ofFile: dataFile) else { throw StateFault.dataForeign(path) }
        try requireUsable(identity, region: nil)
        return try Store(path: dataFile, creating: nil, isReadOnly: true)
    }

    /// The region of a registry that nobody gave another one.
    public static let defaultRegion = "default"

    func requireUsable(_ identity: Store.Identity, region: String?) throws(StateFault) {
        guard identity.schemaVersion <= Store.schemaVersion else {
            throw .newerSchema(path, version: identity.schemaVersion)
        }
        if let region, identity.region != region {
            throw .otherRegion(path, found: identity.region, wanted: region)
        }
    }

    /// Makes the data file beside its place, so that what stands in its place is never half a registry.
    private func create(_ identity: Store.Identity) throws {
        let provisional = dataFile + ".new"
        for leftover in [provisional, provisional + "-lock"] {
            unsafe unlink(leftover)
        }
        do {
            _ = try Store(path: provisional, creating: identity)
        }
        unsafe unlink(provisional + "-lock")
        do throws(FileFault) {
            try Files.synchronize(provisional)
            try Files.rename(provisional, to: dataFile)
            try Files.synchronize(path)
        } catch {
            throw StateFault.file(error)
        }
    }

    /// Compares the marker with what the data file says, and writes it where it is not there yet.
    private func settleMarker(_ identity: Store.Identity, revision: Revision) throws(StateFault) {
        if let settled = try settledMarker(identity, revision: revision) { try put(settled) }
    }

    /// Compares the marker with what a data file says of itself, as a start does, and changes nothing.
    ///
    /// - Throws: ``StateFault`` where a start would refuse the file.
    public func requireKept(_ identity: Store.Identity, revision: Revision) throws(StateFault) {
        _ = try settledMarker(identity, revision: revision)
    }

    /// - Returns: the marker as it should be; nil where it is so.
    private func settledMarker(_ identity: Store.Identity, revision: Revision) throws(StateFault) -> RegistryMarker? {
        var settled = RegistryMarker(region: identity.region, historyID: identity.historyID, revision: revision)
        if let marker = try marker() {
            guard marker.region == identity.region else {
                throw .otherRegion(path, found: identity.region, wanted: marker.region)
            }
            if marker.historyID == identity.historyID {
                guard revision >= marker.revision else {
                    throw .older(path, revision: revision, expected: marker.revision)
                }
                if marker.incomingHistoryID == nil { return nil }
            } else if marker.incomingHistoryID != identity.historyID {
                throw .otherHistory(path)
            }
            settled.revision = max(revision, marker.historyID == identity.historyID ? marker.revision : revision)
        }
        return settled
    }

    /// Notes how far the registry has come, when nothing more will be written.
    public func noteRevision(of store: Store) throws {
        let (identity, revision) = try store.read { (try $0.identity(), try $0.revision()) }
        try put(RegistryMarker(region: identity.region, historyID: identity.historyID, revision: revision))
    }
}

func faultingFile<Result>(_ body: () throws(FileFault) -> Result) throws(StateFault) -> Result {
    do throws(FileFault) {
        return try body()
    } catch {
        throw .file(error)
    }
}
