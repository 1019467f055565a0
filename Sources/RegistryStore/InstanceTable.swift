extension Snapshot {
    /// An instance by its id.
    public func instance(_ id: String) throws -> InstanceRecord? {
        guard !id.isEmpty else { return nil }
        return try tables.instances.get(transaction, Array(id.utf8))
    }

    /// All instances of the region.
    public func instanceCount() throws -> Int {
        try tables.instances.count(transaction)
    }

    /// Instances in ascending order of id, those after `cursor`, until `body` returns false.
    public func instances(after cursor: String?, _ body: (InstanceRecord) throws -> Bool) throws {
        let start = cursor.map { Array($0.utf8) + [0] }
        try tables.instances.scan(transaction, prefix: [], from: start) { _, record in try body(record) }
    }
}

extension StoreTransaction {
    /// Adds an instance that is not there yet.
    public func insertInstance(
        id: String, edition: Edition, createTime: WallTime, revision: Revision
    ) throws -> InstanceRecord {
        let record = InstanceRecord(
            id: id, number: try newInstanceNumber(), edition: edition, createTime: createTime, revision: revision)
        try tables.instances.insert(transaction, Array(id.utf8), record)
        return record
    }

    /// Puts an instance that is there already.
    public func update(_ record: InstanceRecord) throws {
        try tables.instances.put(transaction, Array(record.id.utf8), record)
    }

    /// Deletes an instance that holds no CA certificate, and its codes with it.
    public func delete(_ record: InstanceRecord) throws {
        try deleteCodes(of: record.number)
        try dropTally(.instance(record.number))
        try tables.instances.delete(transaction, Array(record.id.utf8))
    }
}
