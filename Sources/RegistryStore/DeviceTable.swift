public import Certificates
public import Signatures

/// Where a page of a device list ended.
public struct DeviceCursor: Sendable, Equatable {
    public var serialNumber: SerialNumber
    public var id: DeviceID

    /// The row that was last seen.
    public init(serialNumber: SerialNumber, id: DeviceID) {
        self.serialNumber = serialNumber
        self.id = id
    }
}

extension Snapshot {
    /// A device record by its id.
    public func device(_ id: DeviceID) throws -> DeviceRecord? {
        guard let record = try tables.devices.get(transaction, id.key) else { return nil }
        guard record.id == id else { throw damaged(tables.devices, id.key, .disagreement) }
        return record
    }

    /// The record of a device, tombstones included.
    ///
    /// Two tables are asked. Where one knows the device and the other does not, that is a fault: a barred device must
    /// never look unknown and register itself again.
    ///
    /// - Parameters:
    ///   - signingKeyHash: SHA-256 of the SubjectPublicKeyInfo that signed it.
    ///   - contentHash: SHA-256 of its TBSCertificate.
    public func device(
        signingKeyHash: SHA256Digest, serialNumber: SerialNumber, contentHash: SHA256Digest, of instance: InstanceNumber
    ) throws -> DeviceRecord? {
        try device(
            signingKeyHash: signingKeyHash, serialNumber: serialNumber, of: instance,
            sameContent: try devices(contentHash: contentHash, of: instance))
    }

    /// The same, for callers that have asked for ``devices(contentHash:of:)`` already.
    public func device(
        signingKeyHash: SHA256Digest, serialNumber: SerialNumber, of instance: InstanceNumber,
        sameContent: @autoclosure () throws -> [DeviceRecord]
    ) throws -> DeviceRecord? {
        let key = Self.identityKey(instance, signingKeyHash, serialNumber)
        if let row = try tables.devicesByIdentity.get(transaction, key) {
            return try requireDevice(DeviceID(row.number)) {
                $0.instance == instance && $0.signingKeyHash == signingKeyHash && $0.serialNumber == serialNumber
            }
        }
        if try sameContent().contains(where: { $0.signingKeyHash == signingKeyHash && $0.serialNumber == serialNumber })
        {
            throw damaged(tables.devicesByIdentity, key, .missing)
        }
        return nil
    }

    /// The device records of an instance with a TBSCertificate: more than one where several keys signed the same.
    public func devices(contentHash: SHA256Digest, of instance: InstanceNumber) throws -> [DeviceRecord] {
        var ids: [DeviceID] = []
        let prefix = instance.key + contentHash.bytes
        try tables.devicesByContent.scan(transaction, prefix: prefix) { key, row in
            guard key.suffix(8).elementsEqual(bigEndianBytes(row.number)) else {
                throw damaged(tables.devicesByContent, key, .disagreement)
            }
            ids.append(DeviceID(row.number))
            return true
        }
        return try ids.map { id in
            let record = try requireDevice(id) { $0.instance == instance && $0.contentHash == contentHash }
            let key = Self.identityKey(instance, record.signingKeyHash, record.serialNumber)
            guard try tables.devicesByIdentity.get(transaction, key)?.number == id.number else {
                throw damaged(tables.devicesByIdentity, key, .missing)
            }
            return record
        }
    }

    /// The device records under a CA record with a serial number, tombstones included.
    public func devices(of ca: CaID, serialNumber: SerialNumber) throws -> [DeviceRecord] {
        var ids: [DeviceID] = []
        try tables.devicesByCa.scan(transaction, prefix: ca.key + serialNumber.orderedKey) { _, row in
            ids.append(row.id)
            return true
        }
        return try ids.map { id in
            try requireDevice(id) { $0.ca == ca && $0.serialNumber == serialNumber }
        }
    }

    /// The rows of a CA record's device list in ascending order of serial number, tombstones included, those after
    /// `cursor`, until `body` returns false. `body` opens the records that it needs with ``requireDevice(_:under:)``.
    ///
    /// - Parameter start: magnitude to begin at; what sorts before it is not walked.
    public func deviceList(
        of ca: CaID, from start: SerialNumber? = nil, after cursor: DeviceCursor? = nil,
        _ body: (_ id: DeviceID, _ status: DeviceStatus) throws -> Bool
    ) throws {
        var first = ca.key
        if let cursor {
            first = Self.listKey(ca, cursor.serialNumber, cursor.id) + [0]
        } else if let start {
            first = ca.key + start.orderedKey.dropLast(2)
        }
        try tables.devicesByCa.scan(transaction, prefix: ca.key, from: first) { key, row in
            guard key.suffix(8).elementsEqual(row.id.key) else {
                throw damaged(tables.devicesByCa, key, .disagreement)
            }
            return try body(row.id, row.status)
        }
    }

    /// The record that a row of a CA's device list names.
    public func requireDevice(_ id: DeviceID, under ca: CaID) throws -> DeviceRecord {
        try requireDevice(id) { $0.ca == ca }
    }

    /// All device records from `start` on, until `body` returns false.
    public func devices(from start: DeviceID, _ body: (DeviceRecord) throws -> Bool) throws {
        try tables.devices.scan(transaction, prefix: [], from: start.key) { _, record in try body(record) }
    }

    func requireDevice(_ id: DeviceID, agrees: (DeviceRecord) -> Bool) throws -> DeviceRecord {
        let record = try tables.devices.require(transaction, id.key)
        guard record.id == id, agrees(record) else { throw damaged(tables.devices, id.key, .disagreement) }
        return record
    }

    static func identityKey(
        _ instance: InstanceNumber, _ signingKeyHash: SHA256Digest, _ serialNumber: SerialNumber
    ) -> [UInt8] {
        var key = instance.key
        key.reserveCapacity(key.count + SHA256Digest.byteCount + 1 + serialNumber.byteCount)
        key += signingKeyHash.bytes
        key.append(serialNumber.isNegative ? 1 : 0)
        key += serialNumber.magnitude
        return key
    }

    static func contentKey(_ record: DeviceRecord) -> [UInt8] {
        record.instance.key + record.contentHash.bytes + record.id.key
    }

    static func listKey(_ ca: CaID, _ serialNumber: SerialNumber, _ id: DeviceID) -> [UInt8] {
        ca.key + serialNumber.orderedKey + id.key
    }
}

extension StoreTransaction {
    /// A new device record's id.
    public func newDeviceID() throws -> DeviceID {
        DeviceID(try newIdentifier())
    }

    /// Adds a device record whose identity is not there yet.
    public func insert(_ record: DeviceRecord) throws {
        try tables.devices.insert(transaction, record.id.key, record)
        let identity = Snapshot.identityKey(record.instance, record.signingKeyHash, record.serialNumber)
        try tables.devicesByIdentity.insert(transaction, identity, NumberRecord(record.id.number))
        try tables.devicesByContent.insert(transaction, Snapshot.contentKey(record), NumberRecord(record.id.number))
        try list(record)
    }

    /// Puts a device record that is there already, as `old` says. Its identity never changes; all else may.
    public func update(_ old: DeviceRecord, to record: DeviceRecord) throws {
        try unlist(old)
        if old.contentHash != record.contentHash {
            try tables.devicesByContent.delete(transaction, Snapshot.contentKey(old))
            try tables.devicesByContent.insert(
                transaction, Snapshot.contentKey(record), NumberRecord(record.id.number))
        }
        try tables.devices.put(transaction, record.id.key, record)
        try list(record)
        try releasePath(old.path)
    }

    /// Deletes a device record for good, without a tombstone.
    public func delete(_ record: DeviceRecord) throws {
        try unlist(record)
        let identity = Snapshot.identityKey(record.instance, record.signingKeyHash, record.serialNumber)
        try tables.devicesByIdentity.delete(transaction, identity)
        try tables.devicesByContent.delete(transaction, Snapshot.contentKey(record))
        try tables.devices.delete(transaction, record.id.key)
        try releasePath(record.path)
    }

    private func list(_ record: DeviceRecord) throws {
        let key = Snapshot.listKey(record.ca, record.serialNumber, record.id)
        try tables.devicesByCa.insert(transaction, key, ListedDevice(id: record.id, status: record.status))
        count(record, by: 1)
    }

    private func unlist(_ record: DeviceRecord) throws {
        try tables.devicesByCa.delete(transaction, Snapshot.listKey(record.ca, record.serialNumber, record.id))
        count(record, by: -1)
    }

    private func releasePath(_ id: PathID) throws {
        if try tally(.path(id)).deviceRecords == 0 {
            try deletePath(id)
        }
    }

    private func count(_ record: DeviceRecord, by change: Int64) {
        for owner in TallyOwner.owners(of: record) {
            count(owner) { $0[record.status] += change }
        }
    }
}
