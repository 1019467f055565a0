internal import CLMDB
internal import Glibc

/// A snapshot for reading. Good inside ``Environment/read(_:)`` only: its use after that traps.
///
/// Not for sharing among threads.
@safe public class Transaction {
    private let pointer: OpaquePointer
    private var isOpen = true

    init(handle: OpaquePointer) {
        unsafe pointer = unsafe handle
    }

    fileprivate var handle: OpaquePointer {
        precondition(isOpen, "a transaction was used after its end")
        return unsafe pointer
    }

    func end() {
        isOpen = false
    }

    /// The number of the last commit that it shows; in the write transaction, the number that its own commit will have.
    public var number: UInt64 { unsafe UInt64(mdb_txn_id(handle)) }

    /// The value at `key`, copied, or nil.
    public func get(_ table: Table, _ key: [UInt8]) throws(LMDBError) -> [UInt8]? {
        try unsafe lookUp(handle, table, key)
    }

    /// The number of rows of a table.
    public func count(_ table: Table) throws(LMDBError) -> Int {
        try unsafe rowCount(handle, table)
    }

    /// Calls `body` with each row from `start` on, in ascending order of key, until it returns false.
    public func scan(_ table: Table, from start: [UInt8], _ body: (Row) throws -> Bool) throws {
        try unsafe walk(handle, table, from: start, body)
    }

    /// Where `key` is, or would be.
    public func place(_ table: Table, of key: [UInt8]) throws(LMDBError) -> Place {
        try unsafe findPlace(handle, table, of: key)
    }
}

/// The rows on both sides of a key.
public struct Place: Sendable {
    /// The row before the key; nil where it would be the first.
    public var below: Row?
    /// The row at the key, or else the one after it; nil where it would be the last.
    public var next: Row?
}

/// A key with its value, copied out of the data file.
public struct Row: Sendable {
    public var key: [UInt8]
    public var value: [UInt8]

    /// Both fields.
    public init(key: [UInt8], value: [UInt8]) {
        self.key = key
        self.value = value
    }
}

/// The write transaction. It reads what it has written. Good inside ``Environment/write(_:)`` only.
@safe public final class WriteTransaction: Transaction {
    private var touched: Set<UInt32> = []

    /// Whether a row of a table was put or deleted.
    public func hasTouched(_ table: Table) -> Bool { touched.contains(table.identifier) }

    /// Puts a row, over an old one where there is one.
    public func put(_ table: Table, _ key: [UInt8], _ value: [UInt8]) throws(LMDBError) {
        try put(table, key, value, flags: 0)
    }

    /// Puts a new row.
    ///
    /// - Throws: ``LMDBError/keyExists`` where the key is there already.
    public func insert(_ table: Table, _ key: [UInt8], _ value: [UInt8]) throws(LMDBError) {
        try put(table, key, value, flags: UInt32(bitPattern: MDB_NOOVERWRITE))
    }

    /// Puts a row whose key is above all others: no search, and pages are filled.
    public func append(_ table: Table, _ key: [UInt8], _ value: [UInt8]) throws(LMDBError) {
        try put(table, key, value, flags: UInt32(bitPattern: MDB_APPEND))
    }

    /// Deletes the row at `key`.
    ///
    /// - Returns: whether there was one.
    @discardableResult
    public func delete(_ table: Table, _ key: [UInt8]) throws(LMDBError) -> Bool {
        try checkKey(key)
        touched.insert(table.identifier)
        let code = unsafe key.withUnsafeBytes { bytes in
            var wanted = unsafe value(of: bytes)
            return unsafe mdb_del(handle, table.identifier, &wanted, nil)
        }
        if code == MDB_NOTFOUND { return false }
        try LMDBError.check(code, .delete)
        return true
    }

    private func put(_ table: Table, _ key: [UInt8], _ bytes: [UInt8], flags: UInt32) throws(LMDBError) {
        try checkKey(key)
        touched.insert(table.identifier)
        let code = unsafe key.withUnsafeBytes { keyBytes in
            unsafe bytes.withUnsafeBytes { valueBytes in
                var wanted = unsafe value(of: keyBytes)
                var content = unsafe value(of: valueBytes)
                return unsafe mdb_put(handle, table.identifier, &wanted, &content, flags)
            }
        }
        try LMDBError.check(code, .put)
    }
}

// LMDB reads through these pointers and never writes: the buffers outlive the calls.
private func value(of bytes: UnsafeRawBufferPointer) -> MDB_val {
    unsafe MDB_val(mv_size: bytes.count, mv_data: UnsafeMutableRawPointer(mutating: bytes.baseAddress))
}

private func checkKey(_ key: [UInt8]) throws(LMDBError) {
    guard (1...511).contains(key.count) else { throw LMDBError.keyLength(key.count) }
}

// Copied at once: the memory belongs to the data file and is good until the transaction ends only.
private func bytes(of value: MDB_val) -> [UInt8] {
    unsafe [UInt8](UnsafeRawBufferPointer(start: value.mv_data, count: value.mv_size))
}

private func lookUp(_ transaction: OpaquePointer, _ table: Table, _ key: [UInt8]) throws(LMDBError) -> [UInt8]? {
    try checkKey(key)
    var found = unsafe MDB_val()
    let code = unsafe key.withUnsafeBytes { keyBytes in
        var wanted = unsafe value(of: keyBytes)
        return unsafe mdb_get(transaction, table.identifier, &wanted, &found)
    }
    if code == MDB_NOTFOUND { return nil }
    try LMDBError.check(code, .get)
    return unsafe bytes(of: found)
}

private func rowCount(_ transaction: OpaquePointer, _ table: Table) throws(LMDBError) -> Int {
    var statistics = MDB_stat()
    try unsafe LMDBError.check(mdb_stat(transaction, table.identifier, &statistics), .statistics)
    return Int(statistics.ms_entries)
}

private func walk(
    _ transaction: OpaquePointer, _ table: Table, from start: [UInt8], _ body: (Row) throws -> Bool
) throws {
    var opened: OpaquePointer?
    try unsafe LMDBError.check(mdb_cursor_open(transaction, table.identifier, &opened), .cursor)
    defer { unsafe mdb_cursor_close(opened) }
    var key = unsafe MDB_val()
    var content = unsafe MDB_val()
    var code: Int32
    if start.isEmpty {
        code = unsafe mdb_cursor_get(opened, &key, &content, MDB_FIRST)
    } else {
        try checkKey(start)
        code = unsafe start.withUnsafeBytes { startBytes in
            unsafe key = unsafe value(of: startBytes)
            return unsafe mdb_cursor_get(opened, &key, &content, MDB_SET_RANGE)
        }
    }
    while code == MDB_SUCCESS {
        let row = unsafe Row(key: bytes(of: key), value: bytes(of: content))
        if try !body(row) { return }
        code = unsafe mdb_cursor_get(opened, &key, &content, MDB_NEXT)
    }
    if code != MDB_NOTFOUND { throw LMDBError(code, .cursor) }
}

private func findPlace(_ transaction: OpaquePointer, _ table: Table, of wanted: [UInt8]) throws(LMDBError) -> Place {
    try checkKey(wanted)
    var opened: OpaquePointer?
    try unsafe LMDBError.check(mdb_cursor_open(transaction, table.identifier, &opened), .cursor)
    defer { unsafe mdb_cursor_close(opened) }
    var key = unsafe MDB_val()
    var content = unsafe MDB_val()
    var place = Place()
    var code = unsafe wanted.withUnsafeBytes { wantedBytes in
        unsafe key = unsafe value(of: wantedBytes)
        return unsafe mdb_cursor_get(opened, &key, &content, MDB_SET_RANGE)
    }
    if code == MDB_SUCCESS {
        place.next = unsafe Row(key: bytes(of: key), value: bytes(of: content))
    } else if code != MDB_NOTFOUND {
        throw LMDBError(code, .cursor)
    }
    code = unsafe mdb_cursor_get(opened, &key, &content, code == MDB_NOTFOUND ? MDB_LAST : MDB_PREV)
    if code == MDB_SUCCESS {
        place.below = unsafe Row(key: bytes(of: key), value: bytes(of: content))
    } else if code != MDB_NOTFOUND {
        throw LMDBError(code, .cursor)
    }
    return place
}
