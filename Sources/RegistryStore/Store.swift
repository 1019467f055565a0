internal import LMDB
internal import Signatures
internal import Synchronization

/// The tables of one registry in one LMDB environment.
///
/// Reads run on any thread, each in its own snapshot. Writes take turns; there is one writer by design
/// (see the Registry room), and LMDB would make a second one wait.
public final class Store: Sendable {
    /// The version of the tables' layout. A registry of a newer one is refused, not misread.
    ///
    /// 2: the change log may hold entries that stand for others. A registry of version 1 is one of version 2 that has none,
    /// and says 2 from its first compaction on.
    public static let schemaVersion: UInt32 = 2

    let environment: Environment
    let tables: Tables
    /// The number of the last commit that may have changed an instance or a CA record: raised before anybody can see it.
    private let lastAuthorityCommit = Atomic<UInt64>(0)
    /// Tells this store from others that the process has opened.
    private let number = stores.add(1, ordering: .relaxed).newValue

    private static let stores = Atomic<UInt64>(0)
    /// Whether all commits are made here. Of another process's nobody says what they change.
    private let isTheWriter: Bool

    /// Which region this registry is of, and which history it tells.
    public struct Identity: Sendable, Equatable {
        public var region: String
        /// 16 random bytes in hex; new after a restore.
        public var historyID: String
        public var schemaVersion: UInt32

        /// All fields.
        public init(region: String, historyID: String, schemaVersion: UInt32 = Store.schemaVersion) {
            self.region = region
            self.historyID = historyID
            self.schemaVersion = schemaVersion
        }
    }

    /// All tables, one handle each.
    struct Tables: Sendable {
        let meta: SealedTable<MetaRecord>
        let instances: SealedTable<InstanceRecord>
        let codes: SealedTable<CodeRecord>
        let cas: SealedTable<CaRecord>
        let casBySerialNumber: SealedTable<NumberRecord>
        let casBySerialHash: SealedTable<NumberRecord>
        let casByInstance: SealedTable<NumberRecord>
        let casByFingerprint: SealedTable<NumberRecord>
        let casByKey: SealedTable<NumberRecord>
        let casBySubject: SealedTable<NumberRecord>
        let devices: SealedTable<DeviceRecord>
        let devicesByIdentity: SealedTable<NumberRecord>
        let devicesByContent: SealedTable<NumberRecord>
        let devicesByCa: SealedTable<ListedDevice>
        let paths: SealedTable<PathRecord>
        let pathsByContent: SealedTable<NumberRecord>
        let intermediates: SealedTable<IntermediateRecord>
        let tallies: SealedTable<Tally>
        let changes: SealedTable<ChangeRecord>

        init(_ environment: Environment, creates: Bool) throws {
            meta = try SealedTable("meta", in: environment, creates: creates)
            instances = try SealedTable("instances", in: environment, creates: creates)
            codes = try SealedTable("codes", in: environment, creates: creates)
            cas = try SealedTable("cas", in: environment, creates: creates)
            casBySerialNumber = try SealedTable("cas_by_sn", in: environment, creates: creates)
            casBySerialHash = try SealedTable("cas_by_sn_hash", in: environment, creates: creates)
            casByInstance = try SealedTable("cas_by_instance", in: environment, creates: creates)
            casByFingerprint = try SealedTable("cas_by_fingerprint", in: environment, creates: creates)
            casByKey = try SealedTable("cas_by_key", in: environment, creates: creates)
            casBySubject = try SealedTable("cas_by_subject", in: environment, creates: creates)
            devices = try SealedTable("devices", in: environment, creates: creates)
            devicesByIdentity = try SealedTable("devices_by_identity", in: environment, creates: creates)
            devicesByContent = try SealedTable("devices_by_content", in: environment, creates: creates)
            devicesByCa = try SealedTable("devices_by_ca", in: environment, creates: creates)
            paths = try SealedTable("paths", in: environment, creates: creates)
            pathsByContent = try SealedTable("paths_by_content", in: environment, creates: creates)
            intermediates = try SealedTable("intermediates", in: environment, creates: creates)
            tallies = try SealedTable("tallies", in: environment, creates: creates)
            changes = try SealedTable("changes", in: environment, creates: creates)
        }
    }

    /// Opens the data file `path`.
    ///
    /// - Parameters:
    ///   - creating: where given, an environment without tables becomes a new registry of this identity.
    ///   - isReadOnly: for `check` and for reading a backup.
    /// - Throws: ``StoreFault``.
    public init(path: String, creating identity: Identity?, isReadOnly: Bool = false) throws {
        isTheWriter = !isReadOnly
        environment = try faulting { () throws(LMDBError) in
            try Environment(path: path, isReadOnly: isReadOnly)
        }
        let environment = environment
        let isNew = try faulting { () throws(LMDBError) in try environment.table("meta", creates: false) } == nil
        tables = try Tables(environment, creates: isNew && identity != nil && !isReadOnly)
        if isNew, let identity {
            try write { transaction in try transaction.putIdentity(identity) }
        }
        if !isReadOnly {
            try faulting { () throws(LMDBError) in try environment.clearStaleReaders() }
        }
    }

    /// Runs `body` in a consistent snapshot.
    public func read<Result>(_ body: (Snapshot) throws -> Result) throws -> Result {
        do {
            return try environment.read { transaction in
                // Asked after the snapshot was opened: it is raised before a commit can be seen.
                atomicMemoryFence(ordering: .sequentiallyConsistent)
                let commit = lastAuthorityCommit.load(ordering: .sequentiallyConsistent)
                let isKnown = isTheWriter && commit <= transaction.number
                let epoch = isKnown ? AuthorityEpoch(store: number, commit: commit) : nil
                return try body(Snapshot(tables: tables, transaction: transaction, authorityEpoch: epoch))
            }
        } catch let error as LMDBError {
            throw StoreFault.storage(error)
        }
    }

    /// Runs `body` in the write transaction; when this returns, what it wrote is on disk. What it throws aborts.
    public func write<Result>(_ body: (StoreTransaction) throws -> Result) throws -> Result {
        do {
            return try environment.write { transaction in
                let writing = try StoreTransaction(tables: tables, transaction: transaction)
                let result = try body(writing)
                try writing.flush()
                if transaction.hasTouched(tables.instances.table) || transaction.hasTouched(tables.cas.table) {
                    lastAuthorityCommit.store(transaction.number, ordering: .sequentiallyConsistent)
                    atomicMemoryFence(ordering: .sequentiallyConsistent)
                }
                return result
            }
        } catch let error as LMDBError {
            throw StoreFault.storage(error)
        }
    }

    /// The bytes that the data file must have at least, by the last commit's own account.
    public func neededBytes() throws -> Int {
        try faulting { () throws(LMDBError) in try environment.extent().neededBytes }
    }

    /// Writes a compacted, consistent copy to a file descriptor.
    public func copy(to descriptor: Int32) throws {
        try faulting { () throws(LMDBError) in try environment.copyCompacted(to: descriptor) }
    }
}

/// The time between two changes of instances or CA records.
public struct AuthorityEpoch: Sendable, Equatable {
    let store: UInt64
    let commit: UInt64
}

/// What the registry held at one moment. Good inside ``Store/read(_:)`` only.
public struct Snapshot {
    let tables: Store.Tables
    let transaction: Transaction
    /// Two snapshots of one epoch show the same instances and the same CA records. Nil where that cannot be told: such a
    /// change is being committed, this is the write transaction, or another process writes.
    public let authorityEpoch: AuthorityEpoch?

    /// The number of the last commit that it shows; in the write transaction, of the one to come.
    public var commit: UInt64 { transaction.number }

    /// Which registry this is.
    public func identity() throws -> Store.Identity {
        let schema: UInt32 = integer(bigEndian: try meta(.schemaVersion))
        return Store.Identity(
            region: String(decoding: try meta(.region), as: UTF8.self),
            historyID: String(decoding: try meta(.historyID), as: UTF8.self), schemaVersion: schema)
    }

    /// The last committed change.
    public func revision() throws -> Revision {
        try logHead().revision
    }

    /// The revision and the hash of the last change; those of no change where there is none.
    ///
    /// Where its entry is damaged, they are what was noted beside the log: one entry that cannot be read must not keep
    /// everything from being read and written.
    func logHead() throws -> LogHead {
        do {
            guard let last = try lastChange() else { return LogHead() }
            return LogHead(revision: last.revision, hash: last.hash)
        } catch let fault as StoreFault {
            guard case .damaged(tables.changes.name, let key, _) = fault, let noted = try notedHead(),
                bigEndianBytes(noted.revision.number) == key
            else { throw fault }
            return noted
        }
    }

    /// What was noted of the last change; nil in a registry that an older caregd wrote last.
    func notedHead() throws -> LogHead? {
        guard let value = try tables.meta.get(transaction, Array(MetaKey.logHead.rawValue.utf8))?.value,
            value.count == 8 + SHA256Digest.byteCount,
            let hash = SHA256Digest(bytes: Array(value.suffix(SHA256Digest.byteCount)))
        else { return nil }
        return LogHead(revision: Revision(integer(bigEndian: value.prefix(8))), hash: hash)
    }

    func meta(_ key: MetaKey) throws -> [UInt8] {
        try tables.meta.require(transaction, Array(key.rawValue.utf8)).value
    }
}

/// Where the change log ends.
struct LogHead: Equatable {
    var revision = Revision(0)
    var hash = ChangeRecord.chainStart
}

enum MetaKey: String {
    case schemaVersion = "schema_version"
    case region
    case historyID = "history_id"
    case lastIdentifier = "last_identifier"
    case lastInstanceNumber = "last_instance_number"
    case compaction
    case logHead = "log_head"
}

/// The open write transaction. Good inside ``Store/write(_:)`` only.
///
/// Counters and the last given identifier are kept in memory and written once, when the transaction ends.
public final class StoreTransaction {
    let tables: Store.Tables
    let transaction: WriteTransaction
    private var tallyChanges: [TallyOwner: Tally] = [:]
    private var lastIdentifier: UInt64?
    private var lastChangeHash: SHA256Digest?
    private var lastRevision: Revision?

    init(tables: Store.Tables, transaction: WriteTransaction) throws {
        self.tables = tables
        self.transaction = transaction
    }

    /// The same, to read from: it shows what was written so far, except for the tallies.
    public var snapshot: Snapshot { Snapshot(tables: tables, transaction: transaction, authorityEpoch: nil) }

    /// The revision of the last change, of this transaction or before it.
    public func revision() throws -> Revision {
        if let lastRevision { return lastRevision }
        let revision = try snapshot.revision()
        lastRevision = revision
        return revision
    }

    /// Appends an entry to the change log as the next revision.
    ///
    /// - Parameter entry: its `revision` and `hash` are set here.
    /// - Returns: the entry as it was written.
    @discardableResult
    public func append(_ entry: ChangeRecord) throws -> ChangeRecord {
        try append(entry, as: try revision().next)
    }

    func append(_ entry: ChangeRecord, as revision: Revision) throws -> ChangeRecord {
        let previous = try lastChangeHash ?? snapshot.logHead().hash
        var entry = entry
        entry.revision = revision
        entry.hash = entry.chainHash(after: previous)
        try tables.changes.append(transaction, bigEndianBytes(revision.number), entry)
        lastChangeHash = entry.hash
        lastRevision = revision
        return entry
    }

    /// A number that no record has had.
    func newIdentifier() throws -> UInt64 {
        let last: UInt64 = try lastIdentifier ?? integer(bigEndian: snapshot.meta(.lastIdentifier))
        lastIdentifier = last + 1
        return last + 1
    }

    func newInstanceNumber() throws -> InstanceNumber {
        let last: UInt32 = integer(bigEndian: try snapshot.meta(.lastInstanceNumber))
        try put(.lastInstanceNumber, bigEndianBytes(last + 1))
        return InstanceNumber(last + 1)
    }

    /// Adds to a tally when the transaction ends.
    func count(_ owner: TallyOwner, _ change: (inout Tally) -> Void) {
        change(&tallyChanges[owner, default: Tally()])
    }

    /// A tally with what this transaction has changed in it.
    func tally(_ owner: TallyOwner) throws -> Tally {
        try snapshot.tally(owner) + (tallyChanges[owner] ?? Tally())
    }

    /// Takes a tally out: its owner is gone.
    func dropTally(_ owner: TallyOwner) throws {
        tallyChanges[owner] = nil
        if try tables.tallies.get(transaction, owner.key) != nil {
            try tables.tallies.delete(transaction, owner.key)
        }
    }

    func putIdentity(_ identity: Store.Identity) throws {
        try put(.schemaVersion, bigEndianBytes(identity.schemaVersion))
        try put(.region, Array(identity.region.utf8))
        try put(.historyID, Array(identity.historyID.utf8))
        try put(.lastIdentifier, bigEndianBytes(UInt64(0)))
        try put(.lastInstanceNumber, bigEndianBytes(UInt32(0)))
    }

    func put(_ key: MetaKey, _ value: [UInt8]) throws {
        try tables.meta.put(transaction, Array(key.rawValue.utf8), MetaRecord(value))
    }

    func flush() throws {
        for (owner, change) in tallyChanges where change != Tally() {
            try tables.tallies.put(transaction, owner.key, try snapshot.tally(owner) + change)
        }
        tallyChanges = [:]
        if let lastChangeHash, let lastRevision {
            try put(.logHead, bigEndianBytes(lastRevision.number) + lastChangeHash.bytes)
        }
        if let lastIdentifier {
            try put(.lastIdentifier, bigEndianBytes(lastIdentifier))
        }
    }
}

extension Snapshot {
    func tally(_ owner: TallyOwner) throws -> Tally {
        try tables.tallies.get(transaction, owner.key) ?? Tally()
    }

    /// What the whole region holds.
    public func regionTally() throws -> Tally {
        try tally(.region)
    }

    /// What an instance holds.
    public func tally(of instance: InstanceNumber) throws -> Tally {
        try tally(.instance(instance))
    }

    /// The devices under a CA record.
    public func tally(of ca: CaID) throws -> Tally {
        try tally(.ca(ca))
    }
}

extension StoreTransaction {
    /// What an instance holds, with what this transaction has changed.
    public func tally(of instance: InstanceNumber) throws -> Tally {
        try tally(.instance(instance))
    }

    /// The devices under a CA record, with what this transaction has changed.
    public func tally(of ca: CaID) throws -> Tally {
        try tally(.ca(ca))
    }
}
