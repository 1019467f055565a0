extension Snapshot {
    /// The last entry of the change log.
    public func lastChange() throws -> ChangeRecord? {
        try tables.changes.last(transaction, notAbove: bigEndianBytes(UInt64.max))?.record
    }

    /// All entries that are kept.
    public func changeCount() throws -> Int {
        try tables.changes.count(transaction)
    }

    /// Entries after a revision, in order, until `body` returns false.
    public func changes(after revision: Revision, _ body: (ChangeRecord) throws -> Bool) throws {
        guard revision.number < UInt64.max else { return }
        try tables.changes.scan(transaction, prefix: [], from: bigEndianBytes(revision.number + 1)) { key, entry in
            guard bigEndianBytes(entry.revision.number) == key else {
                throw StoreFault.damaged(table: tables.changes.name, key: key, finding: .disagreement)
            }
            return try body(entry)
        }
    }

    /// The entry of a revision.
    public func change(at revision: Revision) throws -> ChangeRecord? {
        try tables.changes.get(transaction, bigEndianBytes(revision.number))
    }
}
