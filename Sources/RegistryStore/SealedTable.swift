internal import LMDB
internal import Signatures

/// What a row of a table holds.
protocol StoredRecord {
    func encode(into writer: inout RecordWriter)
    init(from reader: inout RecordReader) throws(RecordReader.Malformed)
}

/// A table whose rows are sealed: each value ends in 8 bytes of SHA-256 over the table's name, the key and the value, so
/// that a flipped bit in either, or a row in the wrong table, is found when the row is read.
struct SealedTable<Record: StoredRecord>: Sendable {
    static var sealBytes: Int { 8 }

    let name: String
    let table: Table
    private let nameBytes: [UInt8]

    init(_ name: String, in environment: Environment, creates: Bool) throws {
        self.name = name
        nameBytes = Array(name.utf8)
        guard let table = try faulting({ () throws(LMDBError) in try environment.table(name, creates: creates) }) else {
            throw StoreFault.damaged(table: name, key: [], finding: .missing)
        }
        self.table = table
    }

    func get(_ transaction: Transaction, _ key: [UInt8]) throws -> Record? {
        if let value = try faulting({ () throws(LMDBError) in try transaction.get(table, key) }) {
            return try open(Row(key: key, value: value))
        }
        // Found only from the row before it: a damaged key leads astray who looks for it.
        if let next = try soundPlace(transaction, key).next, next.key == key { throw disorder(at: next) }
        return nil
    }

    /// The row that another table named: its absence is damage.
    func require(_ transaction: Transaction, _ key: [UInt8]) throws -> Record {
        guard let record = try get(transaction, key) else {
            throw StoreFault.damaged(table: name, key: key, finding: .missing)
        }
        return record
    }

    func put(_ transaction: WriteTransaction, _ key: [UInt8], _ record: Record) throws {
        let value = seal(key, record)
        try faulting { () throws(LMDBError) in try transaction.put(table, key, value) }
    }

    func insert(_ transaction: WriteTransaction, _ key: [UInt8], _ record: Record) throws {
        let value = seal(key, record)
        do throws(LMDBError) {
            try transaction.insert(table, key, value)
        } catch .keyExists {
            throw StoreFault.damaged(table: name, key: key, finding: .unexpected)
        } catch {
            throw StoreFault.storage(error)
        }
    }

    func append(_ transaction: WriteTransaction, _ key: [UInt8], _ record: Record) throws {
        let value = seal(key, record)
        try faulting { () throws(LMDBError) in try transaction.append(table, key, value) }
    }

    /// Deletes a row that is known to be there.
    func delete(_ transaction: WriteTransaction, _ key: [UInt8]) throws {
        guard try faulting({ () throws(LMDBError) in try transaction.delete(table, key) }) else {
            throw StoreFault.damaged(table: name, key: key, finding: .missing)
        }
    }

    func count(_ transaction: Transaction) throws -> Int {
        try faulting { () throws(LMDBError) in try transaction.count(table) }
    }

    /// Rows from `start` on whose keys begin with `prefix`, until `body` returns false.
    func scan(
        _ transaction: Transaction, prefix: [UInt8], from start: [UInt8]? = nil,
        _ body: (_ key: [UInt8], _ record: Record) throws -> Bool
    ) throws {
        try scanRows(transaction, prefix: prefix, from: start) { row in try body(row.key, open(row)) }
    }

    /// The same without a look into the values, for callers that open each by themselves.
    func scanRows(
        _ transaction: Transaction, prefix: [UInt8], from start: [UInt8]? = nil, _ body: (Row) throws -> Bool
    ) throws {
        let start = start ?? prefix
        if !start.isEmpty {
            // Most of those who look for something new find nothing: then they are done.
            guard let next = try soundPlace(transaction, start).next, next.key.starts(with: prefix) else { return }
        }
        do {
            try transaction.scan(table, from: start) { row in
                guard row.key.starts(with: prefix) else {
                    // A row whose key was damaged is not where the rows end.
                    try requireSeal(row)
                    return false
                }
                return try body(row)
            }
        } catch let error as LMDBError {
            throw StoreFault.storage(error)
        }
    }

    func last(_ transaction: Transaction, notAbove key: [UInt8]) throws -> (key: [UInt8], record: Record)? {
        let place = try soundPlace(transaction, key)
        guard let row = place.next?.key == key ? place.next : place.below else { return nil }
        return (row.key, try open(row))
    }

    /// Whether a row's own key leads to it, as those of all rows of a sound table do.
    func isFound(_ transaction: Transaction, _ row: Row) throws -> Bool {
        try faulting { () throws(LMDBError) in try transaction.get(table, row.key) } == row.value
    }

    /// Where a key is or would be, from two rows that are sound and in order.
    ///
    /// A damaged key leads a search astray. It then ends beside that very row, or, if the key is in a page that only leads
    /// to others, where the key does not belong: so that what is missing is believed between sound neighbours only.
    private func soundPlace(_ transaction: Transaction, _ key: [UInt8]) throws -> Place {
        let place = try faulting { () throws(LMDBError) in try transaction.place(table, of: key) }
        if let below = place.below {
            try requireSeal(below)
            guard below.key.lexicographicallyPrecedes(key) else { throw disorder(at: below) }
        }
        if let next = place.next {
            try requireSeal(next)
            guard !next.key.lexicographicallyPrecedes(key) else { throw disorder(at: next) }
        }
        return place
    }

    private func disorder(at row: Row) -> StoreFault {
        .damaged(table: name, key: row.key, finding: .order)
    }

    private func requireSeal(_ row: Row) throws(StoreFault) {
        let contentBytes = row.value.count - Self.sealBytes
        guard contentBytes >= 0,
            integer(bigEndian: row.value[contentBytes...]) == mark(row.key, row.value[..<contentBytes])
        else { throw StoreFault.damaged(table: name, key: row.key, finding: .checksum) }
    }

    func open(_ row: Row) throws -> Record {
        try requireSeal(row)
        var reader = RecordReader(row.value.dropLast(Self.sealBytes))
        do throws(RecordReader.Malformed) {
            let record = try Record(from: &reader)
            try reader.end()
            return record
        } catch {
            throw StoreFault.damaged(table: name, key: row.key, finding: .encoding)
        }
    }

    private func seal(_ key: [UInt8], _ record: Record) -> [UInt8] {
        var writer = RecordWriter()
        record.encode(into: &writer)
        let mark = mark(key, writer.bytes[...])
        writer.append(mark)
        return writer.bytes
    }

    /// The seal, as a number: SHA-256 of the table's name, 0, two bytes of the key's length, the key, and the content.
    private func mark(_ key: [UInt8], _ content: ArraySlice<UInt8>) -> UInt64 {
        var hasher = SHA256Hasher()
        hasher.update(nameBytes.span)
        let size: [3 of UInt8] = [
            0, UInt8(truncatingIfNeeded: key.count >> 8), UInt8(truncatingIfNeeded: key.count),
        ]
        hasher.update(size.span)
        hasher.update(key.span)
        hasher.update(content.span)
        return hasher.finish().firstWord
    }
}

/// Turns LMDB's errors into the store's.
@discardableResult
func faulting<Result>(_ body: () throws(LMDBError) -> Result) throws(StoreFault) -> Result {
    do throws(LMDBError) {
        return try body()
    } catch {
        throw .storage(error)
    }
}
