internal import CLMDB
internal import Glibc
internal import Synchronization

/// An LMDB environment: one data file, many tables, any number of readers beside one writer.
///
/// Opened with LMDB's safe defaults: every commit is on disk when it returns. The address space is reserved once and never
/// resized, because resizing under live readers is unsafe. Safe to share among threads; a write transaction belongs to
/// the thread that began it.
@safe public final class Environment: Sendable {
    /// Upper bound of the reserved address space: 1 TiB, halved until the system grants it.
    public static let largestMapBytes = 1 << 40
    /// Lower bound: what is tried last.
    public static let smallestMapBytes = 1 << 30
    /// Readers at once, over all threads.
    public static let maximumReaders: UInt32 = 512
    /// Named tables.
    public static let maximumTables: UInt32 = 64

    // LMDB synchronises the environment by itself; the pointer never changes after init.
    nonisolated(unsafe) let handle: OpaquePointer
    private let idleReaders = Mutex<[ReaderHandle]>([])

    /// A reset read transaction that waits to be renewed. It belongs to whoever popped it (MDB_NOTLS).
    @safe struct ReaderHandle: @unchecked Sendable {
        let transaction: OpaquePointer
    }

    /// Opens the data file `path`, with its lock file `path-lock` beside it.
    ///
    /// - Parameters:
    ///   - path: the data file; created (mode 0600) where it is missing and `isReadOnly` is false.
    ///   - isReadOnly: refuses write transactions; the file must exist.
    /// - Throws: ``LMDBError``.
    public init(path: String, isReadOnly: Bool = false) throws(LMDBError) {
        var size = Self.largestMapBytes
        var opened: OpaquePointer?
        while true {
            do throws(LMDBError) {
                unsafe opened = try Self.open(path: path, mapBytes: size, isReadOnly: isReadOnly)
                break
            } catch LMDBError.system(errno: ENOMEM, operation: .open) where size > Self.smallestMapBytes {
                size /= 2
            }
        }
        guard let opened = unsafe opened else { throw LMDBError.system(errno: EINVAL, operation: .open) }
        unsafe handle = opened
    }

    private static func open(path: String, mapBytes: Int, isReadOnly: Bool) throws(LMDBError) -> OpaquePointer {
        var created: OpaquePointer?
        try unsafe LMDBError.check(mdb_env_create(&created), .open)
        guard let environment = unsafe created else { throw LMDBError.system(errno: ENOMEM, operation: .open) }
        do throws(LMDBError) {
            try unsafe LMDBError.check(mdb_env_set_mapsize(environment, mapBytes), .open)
            try unsafe LMDBError.check(mdb_env_set_maxreaders(environment, maximumReaders), .open)
            try unsafe LMDBError.check(mdb_env_set_maxdbs(environment, maximumTables), .open)
            var flags = UInt32(bitPattern: MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD)
            if isReadOnly { flags |= UInt32(bitPattern: MDB_RDONLY) }
            try unsafe LMDBError.check(mdb_env_open(environment, path, flags, 0o600), .open)
        } catch {
            unsafe mdb_env_close(environment)
            throw error
        }
        return unsafe environment
    }

    deinit {
        for reader in idleReaders.withLock({ $0 }) {
            unsafe mdb_txn_abort(reader.transaction)
        }
        unsafe mdb_env_close(handle)
    }

    /// Opens a table, and creates it where `creates` says so and it is missing.
    ///
    /// - Returns: nil where it is missing and `creates` is false.
    public func table(_ name: String, creates: Bool) throws(LMDBError) -> Table? {
        var transaction: OpaquePointer?
        let flags = creates ? 0 : UInt32(bitPattern: MDB_RDONLY)
        try unsafe LMDBError.check(mdb_txn_begin(handle, nil, flags, &transaction), .begin)
        var identifier: MDB_dbi = 0
        let code = unsafe mdb_dbi_open(transaction, name, creates ? UInt32(bitPattern: MDB_CREATE) : 0, &identifier)
        if code != MDB_SUCCESS {
            unsafe mdb_txn_abort(transaction)
            if code == MDB_NOTFOUND { return nil }
            throw LMDBError(code, .openTable)
        }
        try unsafe LMDBError.check(mdb_txn_commit(transaction), .commit)
        return Table(identifier: identifier)
    }

    /// Runs `body` in a read transaction: one consistent snapshot, which ends with the call.
    public func read<Result>(_ body: (Transaction) throws -> Result) throws -> Result {
        let reader = try renewedReader()
        let transaction = unsafe Transaction(handle: reader.transaction)
        defer {
            transaction.end()
            unsafe mdb_txn_reset(reader.transaction)
            idleReaders.withLock { $0.append(reader) }
        }
        return try body(transaction)
    }

    private func renewedReader() throws(LMDBError) -> ReaderHandle {
        if let idle = idleReaders.withLock({ $0.popLast() }) {
            let code = unsafe mdb_txn_renew(idle.transaction)
            if code == MDB_SUCCESS { return idle }
            unsafe mdb_txn_abort(idle.transaction)
            throw LMDBError(code, .begin)
        }
        var transaction: OpaquePointer?
        try unsafe LMDBError.check(mdb_txn_begin(handle, nil, UInt32(bitPattern: MDB_RDONLY), &transaction), .begin)
        guard let transaction = unsafe transaction else { throw LMDBError.system(errno: ENOMEM, operation: .begin) }
        return unsafe ReaderHandle(transaction: transaction)
    }

    /// Runs `body` in the write transaction and commits. Whatever it throws aborts, and nothing has changed.
    ///
    /// Waits while another write transaction is open. When it returns, the changes are on disk. A commit that throws
    /// ``LMDBError/system(errno:operation:)`` leaves it open whether they are.
    public func write<Result>(_ body: (WriteTransaction) throws -> Result) throws -> Result {
        var begun: OpaquePointer?
        try unsafe LMDBError.check(mdb_txn_begin(handle, nil, 0, &begun), .begin)
        guard let handle = unsafe begun else { throw LMDBError.system(errno: ENOMEM, operation: .begin) }
        let transaction = unsafe WriteTransaction(handle: handle)
        defer { transaction.end() }
        let result: Result
        do {
            result = try body(transaction)
        } catch {
            unsafe mdb_txn_abort(handle)
            throw error
        }
        let code = unsafe mdb_txn_commit(handle)
        if code != MDB_SUCCESS {
            // Even for want of room: where the meta page could not be written, nobody knows which one the disk holds.
            throw isUnusable() ? .system(errno: code, operation: .commit) : LMDBError(code, .commit)
        }
        return result
    }

    /// Whether LMDB takes no more write transactions, since it failed to write a meta page.
    private func isUnusable() -> Bool {
        var probe: OpaquePointer?
        let code = unsafe mdb_txn_begin(handle, nil, 0, &probe)
        if code == MDB_SUCCESS { unsafe mdb_txn_abort(probe) }
        return code == MDB_PANIC
    }

    /// Writes a compacted, consistent copy to a file descriptor. Pins the pages of its snapshot until it returns.
    public func copyCompacted(to descriptor: Int32) throws(LMDBError) {
        try unsafe LMDBError.check(mdb_env_copyfd2(handle, descriptor, UInt32(bitPattern: MDB_CP_COMPACT)), .copy)
    }

    /// The size of the file that its pages need, and the size of a page, in bytes.
    public func extent() throws(LMDBError) -> (neededBytes: Int, pageBytes: Int) {
        var information = unsafe MDB_envinfo()
        var statistics = MDB_stat()
        try unsafe LMDBError.check(mdb_env_info(handle, &information), .statistics)
        try unsafe LMDBError.check(mdb_env_stat(handle, &statistics), .statistics)
        let pageBytes = Int(statistics.ms_psize)
        return unsafe ((Int(information.me_last_pgno) + 1) * pageBytes, pageBytes)
    }

    /// Frees the slots of readers whose process has died.
    public func clearStaleReaders() throws(LMDBError) {
        var dead: Int32 = 0
        try unsafe LMDBError.check(mdb_reader_check(handle, &dead), .statistics)
    }
}

/// A table of an environment: keys in ascending byte order, one value each.
public struct Table: Sendable {
    let identifier: UInt32
}
