public import Signatures

extension Snapshot {
    /// A path by its id: a device record names it, so it must be there.
    public func path(_ id: PathID) throws -> PathRecord {
        try tables.paths.require(transaction, id.key)
    }

    /// The certificate of an intermediate that a path names.
    public func intermediate(_ hash: SHA256Digest) throws -> [UInt8] {
        let record = try tables.intermediates.require(transaction, hash.bytes)
        guard SHA256Digest(hashing: record.der) == hash else {
            throw damaged(tables.intermediates, hash.bytes, .disagreement)
        }
        return record.der
    }

    /// All paths, until `body` returns false.
    public func paths(_ body: (PathID, PathRecord) throws -> Bool) throws {
        try tables.paths.scan(transaction, prefix: []) { key, record in
            try body(PathID(integer(bigEndian: key)), record)
        }
    }
}

extension StoreTransaction {
    /// The id of a path, which is stored where it is not there yet.
    ///
    /// A path lives as long as a device record names it. The caller inserts or moves such a record in the same
    /// transaction.
    ///
    /// - Parameter certificates: DER of the path's intermediates, in the path's order.
    public func intern(_ path: PathRecord, certificates: [[UInt8]]) throws -> (id: PathID, isNew: Bool) {
        let content = contentKey(path)
        if let known = try tables.pathsByContent.get(transaction, content) {
            let id = PathID(known.number)
            guard try snapshot.path(id) == path else {
                throw snapshot.damaged(tables.pathsByContent, content, .disagreement)
            }
            return (id, false)
        }
        let id = PathID(try newIdentifier())
        try tables.paths.insert(transaction, id.key, path)
        try tables.pathsByContent.insert(transaction, content, NumberRecord(id.number))
        for (hash, der) in zip(path.intermediates, certificates) {
            var record =
                try tables.intermediates.get(transaction, hash.bytes) ?? IntermediateRecord(der: der, pathCount: 0)
            record.pathCount += 1
            try tables.intermediates.put(transaction, hash.bytes, record)
        }
        return (id, true)
    }

    /// Takes a path out that no device record names any more.
    func deletePath(_ id: PathID) throws {
        let path = try snapshot.path(id)
        try tables.paths.delete(transaction, id.key)
        try tables.pathsByContent.delete(transaction, contentKey(path))
        for hash in path.intermediates {
            var record = try tables.intermediates.require(transaction, hash.bytes)
            if record.pathCount > 1 {
                record.pathCount -= 1
                try tables.intermediates.put(transaction, hash.bytes, record)
            } else {
                try tables.intermediates.delete(transaction, hash.bytes)
            }
        }
        try dropTally(.path(id))
    }

    private func contentKey(_ path: PathRecord) -> [UInt8] {
        Self.contentKey(path)
    }

    static func contentKey(_ path: PathRecord) -> [UInt8] {
        var writer = RecordWriter()
        path.encode(into: &writer)
        return SHA256Digest(hashing: writer.bytes).bytes
    }
}
