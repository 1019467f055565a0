public import Certificates
public import Signatures

/// An instance, without its counters.
public struct InstanceRecord: Sendable {
    public var id: String
    public var number: InstanceNumber
    public var edition: Edition
    public var createTime: WallTime
    /// Of the last change of its own.
    public var revision: Revision
}

extension InstanceRecord: StoredRecord {
    func encode(into writer: inout RecordWriter) {
        writer.append(id)
        writer.append(number.number)
        writer.append(edition.rawValue)
        writer.append(createTime.milliseconds)
        writer.append(revision.number)
    }

    init(from reader: inout RecordReader) throws(RecordReader.Malformed) {
        id = try reader.text()
        number = InstanceNumber(try reader.integer())
        edition = try reader.enumeration()
        createTime = WallTime(milliseconds: try reader.integer())
        revision = Revision(try reader.integer())
    }
}

/// A registration code: its hash is the key, its beginning is all of it that is kept in the clear.
public struct CodeRecord: Sendable {
    /// The first 8 characters.
    public var prefix: String
    public var createTime: WallTime
    public var expireTime: WallTime
    /// Of the change that issued it.
    public var revision: Revision
    public var isUsed: Bool

    /// All fields.
    public init(prefix: String, createTime: WallTime, expireTime: WallTime, revision: Revision, isUsed: Bool) {
        self.prefix = prefix
        self.createTime = createTime
        self.expireTime = expireTime
        self.revision = revision
        self.isUsed = isUsed
    }
}

extension CodeRecord: StoredRecord {
    func encode(into writer: inout RecordWriter) {
        writer.append(prefix)
        writer.append(createTime.milliseconds)
        writer.append(expireTime.milliseconds)
        writer.append(revision.number)
        writer.append(UInt8(isUsed ? 1 : 0))
    }

    init(from reader: inout RecordReader) throws(RecordReader.Malformed) {
        prefix = try reader.text()
        createTime = WallTime(milliseconds: try reader.integer())
        expireTime = WallTime(milliseconds: try reader.integer())
        revision = Revision(try reader.integer())
        isUsed = try reader.integer(UInt8.self) != 0
    }
}

/// A registered CA certificate.
public struct CaRecord: Sendable {
    public var id: CaID
    public var instance: InstanceNumber
    public var instanceID: String
    public var serialNumber: SerialNumber
    public var name: String
    public var status: CaStatus
    public var deviceRegistration: DeviceRegistration
    public var registerTime: WallTime
    public var updateTime: WallTime
    /// Of its last change.
    public var revision: Revision
    /// SHA-256 of the DER.
    public var fingerprint: SHA256Digest
    /// SHA-256 of the SubjectPublicKeyInfo.
    public var keyHash: SHA256Digest
    /// SHA-256 of the normalized subject.
    public var subjectHash: SHA256Digest
    public var der: [UInt8]

    /// All fields.
    public init(
        id: CaID, instance: InstanceNumber, instanceID: String, serialNumber: SerialNumber, name: String,
        status: CaStatus, deviceRegistration: DeviceRegistration, registerTime: WallTime, updateTime: WallTime,
        revision: Revision, fingerprint: SHA256Digest, keyHash: SHA256Digest, subjectHash: SHA256Digest, der: [UInt8]
    ) {
        self.id = id
        self.instance = instance
        self.instanceID = instanceID
        self.serialNumber = serialNumber
        self.name = name
        self.status = status
        self.deviceRegistration = deviceRegistration
        self.registerTime = registerTime
        self.updateTime = updateTime
        self.revision = revision
        self.fingerprint = fingerprint
        self.keyHash = keyHash
        self.subjectHash = subjectHash
        self.der = der
    }
}

extension CaRecord: StoredRecord {
    func encode(into writer: inout RecordWriter) {
        writer.append(id.number)
        writer.append(instance.number)
        writer.append(instanceID)
        writer.append(serialNumber)
        writer.append(name)
        writer.append(status.rawValue)
        writer.append(deviceRegistration.rawValue)
        writer.append(registerTime.milliseconds)
        writer.append(updateTime.milliseconds)
        writer.append(revision.number)
        writer.append(fingerprint)
        writer.append(keyHash)
        writer.append(subjectHash)
        writer.append(der)
    }

    init(from reader: inout RecordReader) throws(RecordReader.Malformed) {
        id = CaID(try reader.integer())
        instance = InstanceNumber(try reader.integer())
        instanceID = try reader.text()
        serialNumber = try reader.serialNumber()
        name = try reader.text()
        status = try reader.enumeration()
        deviceRegistration = try reader.enumeration()
        registerTime = WallTime(milliseconds: try reader.integer())
        updateTime = WallTime(milliseconds: try reader.integer())
        revision = Revision(try reader.integer())
        fingerprint = try reader.digest()
        keyHash = try reader.digest()
        subjectHash = try reader.digest()
        der = try reader.byteString()
    }
}

/// A device that an instance knows, or a tombstone of one.
public struct DeviceRecord: Sendable {
    public var id: DeviceID
    public var instance: InstanceNumber
    /// The CA record that it is listed under.
    public var ca: CaID
    /// The path that it was found trusted on.
    public var path: PathID
    /// SHA-256 of the SubjectPublicKeyInfo that signed it: with the serial number, its identity in the instance.
    public var signingKeyHash: SHA256Digest
    public var serialNumber: SerialNumber
    public var status: DeviceStatus
    public var registerTime: WallTime
    public var updateTime: WallTime
    /// Of its last change.
    public var revision: Revision
    /// SHA-256 of the DER that was first seen.
    public var fingerprint: SHA256Digest
    /// SHA-256 of the TBSCertificate: the same for every signature over it.
    public var contentHash: SHA256Digest
    /// The certificate that was first seen; empty in a tombstone.
    public var der: [UInt8]

    /// All fields.
    public init(
        id: DeviceID, instance: InstanceNumber, ca: CaID, path: PathID, signingKeyHash: SHA256Digest,
        serialNumber: SerialNumber, status: DeviceStatus, registerTime: WallTime, updateTime: WallTime,
        revision: Revision, fingerprint: SHA256Digest, contentHash: SHA256Digest, der: [UInt8]
    ) {
        self.id = id
        self.instance = instance
        self.ca = ca
        self.path = path
        self.signingKeyHash = signingKeyHash
        self.serialNumber = serialNumber
        self.status = status
        self.registerTime = registerTime
        self.updateTime = updateTime
        self.revision = revision
        self.fingerprint = fingerprint
        self.contentHash = contentHash
        self.der = der
    }
}

extension DeviceRecord: StoredRecord {
    func encode(into writer: inout RecordWriter) {
        writer.append(id.number)
        writer.append(instance.number)
        writer.append(ca.number)
        writer.append(path.number)
        writer.append(signingKeyHash)
        writer.append(serialNumber)
        writer.append(status.rawValue)
        writer.append(registerTime.milliseconds)
        writer.append(updateTime.milliseconds)
        writer.append(revision.number)
        writer.append(fingerprint)
        writer.append(contentHash)
        writer.append(der)
    }

    init(from reader: inout RecordReader) throws(RecordReader.Malformed) {
        id = DeviceID(try reader.integer())
        instance = InstanceNumber(try reader.integer())
        ca = CaID(try reader.integer())
        path = PathID(try reader.integer())
        signingKeyHash = try reader.digest()
        serialNumber = try reader.serialNumber()
        status = try reader.enumeration()
        registerTime = WallTime(milliseconds: try reader.integer())
        updateTime = WallTime(milliseconds: try reader.integer())
        revision = Revision(try reader.integer())
        fingerprint = try reader.digest()
        contentHash = try reader.digest()
        der = try reader.byteString()
    }
}

/// A path from device certificates up to a registered CA certificate, kept once for all devices on it.
public struct PathRecord: Sendable, Equatable {
    public var instance: InstanceNumber
    /// The CA record that it ends at.
    public var ca: CaID
    /// SHA-256 of each intermediate's DER, the device's issuer first.
    public var intermediates: [SHA256Digest]
    /// SHA-256 of each intermediate's SubjectPublicKeyInfo, in the same order.
    public var intermediateKeys: [SHA256Digest]
    /// The time that all certificates of the path but the device's have in common; both ends belong to it.
    public var notBefore: Instant
    public var notAfter: Instant

    /// All fields.
    public init(
        instance: InstanceNumber, ca: CaID, intermediates: [SHA256Digest], intermediateKeys: [SHA256Digest],
        notBefore: Instant, notAfter: Instant
    ) {
        self.instance = instance
        self.ca = ca
        self.intermediates = intermediates
        self.intermediateKeys = intermediateKeys
        self.notBefore = notBefore
        self.notAfter = notAfter
    }
}

extension PathRecord: StoredRecord {
    func encode(into writer: inout RecordWriter) {
        writer.append(instance.number)
        writer.append(ca.number)
        writer.append(UInt8(intermediates.count))
        for (certificate, key) in zip(intermediates, intermediateKeys) {
            writer.append(certificate)
            writer.append(key)
        }
        writer.append(notBefore.secondsSince1970)
        writer.append(notAfter.secondsSince1970)
    }

    init(from reader: inout RecordReader) throws(RecordReader.Malformed) {
        instance = InstanceNumber(try reader.integer())
        ca = CaID(try reader.integer())
        intermediates = []
        intermediateKeys = []
        for _ in 0..<(try reader.integer(UInt8.self)) {
            intermediates.append(try reader.digest())
            intermediateKeys.append(try reader.digest())
        }
        notBefore = Instant(secondsSince1970: try reader.integer())
        notAfter = Instant(secondsSince1970: try reader.integer())
    }
}

/// An intermediate certificate, kept once for all paths through it.
struct IntermediateRecord: StoredRecord {
    var der: [UInt8]
    var pathCount: UInt32

    init(der: [UInt8], pathCount: UInt32) {
        self.der = der
        self.pathCount = pathCount
    }

    func encode(into writer: inout RecordWriter) {
        writer.append(der)
        writer.append(pathCount)
    }

    init(from reader: inout RecordReader) throws(RecordReader.Malformed) {
        der = try reader.byteString()
        pathCount = try reader.integer()
    }
}

/// An index row that names a record by its number.
struct NumberRecord: StoredRecord {
    var number: UInt64

    init(_ number: UInt64) {
        self.number = number
    }

    func encode(into writer: inout RecordWriter) {
        writer.append(number)
    }

    init(from reader: inout RecordReader) throws(RecordReader.Malformed) {
        number = try reader.integer()
    }
}

/// An index row of a device in its CA's list: what a status filter needs is here, so that it opens no record in vain.
struct ListedDevice: StoredRecord {
    var id: DeviceID
    var status: DeviceStatus

    init(id: DeviceID, status: DeviceStatus) {
        self.id = id
        self.status = status
    }

    func encode(into writer: inout RecordWriter) {
        writer.append(id.number)
        writer.append(status.rawValue)
    }

    init(from reader: inout RecordReader) throws(RecordReader.Malformed) {
        id = DeviceID(try reader.integer())
        status = try reader.enumeration()
    }
}

/// One fact about the registry as a whole.
struct MetaRecord: StoredRecord {
    var value: [UInt8]

    init(_ value: [UInt8]) {
        self.value = value
    }

    func encode(into writer: inout RecordWriter) {
        writer.append(value)
    }

    init(from reader: inout RecordReader) throws(RecordReader.Malformed) {
        value = try reader.byteString()
    }
}

extension RecordWriter {
    mutating func append(_ digest: SHA256Digest) {
        append(digest.bytes)
    }

    mutating func append(_ serialNumber: SerialNumber) {
        append(UInt8(serialNumber.isNegative ? 1 : 0))
        append(serialNumber.magnitude)
    }
}

extension RecordReader {
    mutating func digest() throws(Malformed) -> SHA256Digest {
        guard let digest = SHA256Digest(bytes: try byteString(count: SHA256Digest.byteCount)) else { throw Malformed() }
        return digest
    }

    mutating func serialNumber() throws(Malformed) -> SerialNumber {
        let isNegative = try integer(UInt8.self) != 0
        return SerialNumber(isNegative: isNegative, magnitude: try byteString())
    }
}
