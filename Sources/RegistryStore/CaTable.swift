public import Certificates
public import Signatures

extension Snapshot {
    /// A CA record by its id.
    public func ca(_ id: CaID) throws -> CaRecord? {
        guard let record = try tables.cas.get(transaction, id.key) else { return nil }
        guard record.id == id else { throw damaged(tables.cas, id.key, .disagreement) }
        return record
    }

    /// A CA record by its serial number. Two tables are asked, so that a damaged key is a fault and never a CA certificate
    /// that nobody knows.
    public func ca(_ serialNumber: SerialNumber) throws -> CaRecord? {
        guard !serialNumber.isNegative, serialNumber.byteCount <= SerialNumber.maximumByteCount else { return nil }
        let key = serialNumber.magnitude
        let byNumber = try tables.casBySerialNumber.get(transaction, key)
        let byHash = try tables.casBySerialHash.get(transaction, SHA256Digest(hashing: key).bytes)
        guard byNumber?.number == byHash?.number else {
            throw damaged(tables.casBySerialNumber, key, .disagreement)
        }
        guard let number = byNumber?.number else { return nil }
        return try requireCa(CaID(number)) { $0.serialNumber == serialNumber }
    }

    /// A CA record by the SHA-256 of its certificate.
    public func ca(fingerprint: SHA256Digest) throws -> CaRecord? {
        guard let row = try tables.casByFingerprint.get(transaction, fingerprint.bytes) else { return nil }
        return try requireCa(CaID(row.number)) { $0.fingerprint == fingerprint }
    }

    /// The CA records with a public key, in the whole region.
    public func cas(keyHash: SHA256Digest) throws -> [CaRecord] {
        var ids: [CaID] = []
        try tables.casByKey.scan(transaction, prefix: keyHash.bytes) { key, _ in
            ids.append(CaID(integer(bigEndian: key.suffix(8))))
            return true
        }
        return try ids.map { id in try requireCa(id) { $0.keyHash == keyHash } }
    }

    /// The CA records of an instance with a subject.
    public func cas(subjectHash: SHA256Digest, of instance: InstanceNumber) throws -> [CaRecord] {
        try cas(subjectPrefix: subjectHash.bytes + instance.key, limit: .max) {
            $0.subjectHash == subjectHash && $0.instance == instance
        }
    }

    /// CA records of any instance with a subject: `limit` at most, since tenants may all use the same one.
    public func cas(subjectHash: SHA256Digest, limit: Int) throws -> [CaRecord] {
        try cas(subjectPrefix: subjectHash.bytes, limit: limit) { $0.subjectHash == subjectHash }
    }

    private func cas(
        subjectPrefix: [UInt8], limit: Int, agrees: (CaRecord) -> Bool
    ) throws -> [CaRecord] {
        var ids: [CaID] = []
        try tables.casBySubject.scan(transaction, prefix: subjectPrefix) { key, _ in
            ids.append(CaID(integer(bigEndian: key.suffix(8))))
            return ids.count < limit
        }
        return try ids.map { id in try requireCa(id, agrees: agrees) }
    }

    /// CA records in ascending order of serial number, those after `cursor`, until `body` returns false.
    ///
    /// - Parameters:
    ///   - instance: nil for all instances.
    ///   - start: where to begin; what a prefix of a serial number's bytes allows to skip is not walked.
    public func cas(
        of instance: InstanceNumber?, from start: [UInt8] = [], after cursor: SerialNumber?,
        _ body: (CaRecord) throws -> Bool
    ) throws {
        let prefix = instance?.key ?? []
        let table = instance == nil ? tables.casBySerialNumber : tables.casByInstance
        let first = max(start, cursor.map { $0.magnitude + [0] } ?? [], by: lexicographicallyPrecedes)
        try table.scan(transaction, prefix: prefix, from: prefix + first) { key, row in
            try body(
                requireCa(CaID(row.number)) {
                    $0.serialNumber.magnitude.elementsEqual(key.dropFirst(prefix.count))
                        && (instance == nil || $0.instance == instance)
                })
        }
    }

    /// The number of CA certificates of the region.
    public func caCount() throws -> Int {
        try tables.cas.count(transaction)
    }

    func requireCa(_ id: CaID, agrees: (CaRecord) -> Bool) throws -> CaRecord {
        let record = try tables.cas.require(transaction, id.key)
        guard record.id == id, agrees(record) else { throw damaged(tables.cas, id.key, .disagreement) }
        return record
    }

    func damaged<Record>(
        _ table: SealedTable<Record>, _ key: [UInt8], _ finding: StoreFault.Finding
    ) -> StoreFault {
        StoreFault.damaged(table: table.name, key: key, finding: finding)
    }
}

private func lexicographicallyPrecedes(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    left.lexicographicallyPrecedes(right)
}

private func max(_ left: [UInt8], _ right: [UInt8], by precedes: ([UInt8], [UInt8]) -> Bool) -> [UInt8] {
    precedes(left, right) ? right : left
}

extension StoreTransaction {
    /// A new CA record's id.
    public func newCaID() throws -> CaID {
        CaID(try newIdentifier())
    }

    /// Adds a CA record whose serial number and certificate are not there yet.
    public func insert(_ record: CaRecord) throws {
        try tables.cas.insert(transaction, record.id.key, record)
        for index in tables.indexRows(of: record) {
            try index.table.insert(transaction, index.key, NumberRecord(index.number))
        }
        count(record, by: 1)
    }

    /// Puts a CA record that is there already, as `old` says. Its certificate and its owner never change.
    public func update(_ old: CaRecord, to record: CaRecord) throws {
        try tables.cas.put(transaction, record.id.key, record)
        count(old, by: -1)
        count(record, by: 1)
    }

    /// Deletes a CA record. Its devices must have been deleted or moved before.
    public func delete(_ record: CaRecord) throws {
        for index in tables.indexRows(of: record) {
            try index.table.delete(transaction, index.key)
        }
        try tables.cas.delete(transaction, record.id.key)
        count(record, by: -1)
        try dropTally(.ca(record.id))
    }

    private func count(_ record: CaRecord, by change: Int64) {
        count(.region) { $0[record.status] += change }
        count(.instance(record.instance)) { $0[record.status] += change }
    }
}

extension Store.Tables {
    struct IndexRow {
        var table: SealedTable<NumberRecord>
        var key: [UInt8]
        var number: UInt64
    }

    /// The rows of all indexes that lead to a CA record.
    func indexRows(of record: CaRecord) -> [IndexRow] {
        let magnitude = record.serialNumber.magnitude
        let id = record.id.number
        let instance = UInt64(record.instance.number)
        return [
            IndexRow(table: casBySerialNumber, key: magnitude, number: id),
            IndexRow(table: casBySerialHash, key: SHA256Digest(hashing: magnitude).bytes, number: id),
            IndexRow(table: casByInstance, key: record.instance.key + magnitude, number: id),
            IndexRow(table: casByFingerprint, key: record.fingerprint.bytes, number: id),
            IndexRow(table: casByKey, key: record.keyHash.bytes + record.id.key, number: instance),
            IndexRow(
                table: casBySubject, key: record.subjectHash.bytes + record.instance.key + record.id.key,
                number: instance),
        ]
    }
}
