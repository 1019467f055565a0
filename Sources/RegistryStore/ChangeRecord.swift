internal import Certificates
public import Signatures

/// What a change did. The raw values are on disk.
public enum ChangeKind: UInt8, Sendable, CaseIterable {
    case instanceCreated = 1
    case instanceUpdated
    case instanceDeleted
    case codeIssued
    case codeRevoked
    case caRegistered
    case caUpdated
    case caActivated
    case caUnregistered
    case caDeleted
    case deviceRegistered
    case deviceActivated
    case deviceDeactivated
    case deviceDeleted
    case registryRestored
    /// Stands for several automatic device registrations that were taken out of the log.
    case registrationsCompacted
    /// Automatic device registrations were taken out of the log.
    case logCompacted
}

/// One entry of the change log: what was changed, by whom, and when. It holds ids, serial numbers and fingerprints, never
/// certificates or subjects, so that it may outlive a delete.
public struct ChangeRecord: Sendable {
    public var revision: Revision
    public var time: WallTime
    public var kind: ChangeKind
    /// The method of the protocol that was called.
    public var method: String
    public var caller: Caller
    public var instanceID: String
    /// Text of the CA certificate's serial number; empty where none is concerned.
    public var caSerialNumber: String
    /// Text of the device certificate's serial number; empty where none is concerned.
    public var deviceSerialNumber: String
    /// Of the certificate concerned.
    public var fingerprint: SHA256Digest?
    /// Raw value of the ``DeviceStatus`` or ``CaStatus`` after the change; 0 where there is none.
    public var status: UInt8
    /// What an entry that stands for several others stands for.
    public var run: CompactedRun?
    /// SHA-256 over the hash of the entry before and this entry.
    public var hash: SHA256Digest

    /// Entries that follow each other and were taken out of the log. The entry that stands for them has the revision, the
    /// time and the hash of the last of them, so that the chain goes on from it.
    public struct CompactedRun: Sendable, Equatable {
        /// The revision of the first of them.
        public var first: Revision
        /// How many they were.
        public var count: UInt32
        /// The hash of the entry before the first of them.
        public var hashBefore: SHA256Digest
        /// The revision of the ``ChangeKind/logCompacted`` entry that covers this one.
        public var coveredBy: Revision
    }

    /// The hash before the first entry.
    public static let chainStart = SHA256Digest(hashing: Array("careg change log 1".utf8))

    /// The hash that this entry has after `previous`.
    public func chainHash(after previous: SHA256Digest) -> SHA256Digest {
        var writer = RecordWriter()
        encodeContent(into: &writer)
        return SHA256Digest(hashing: previous.bytes + writer.bytes)
    }

    private func encodeContent(into writer: inout RecordWriter) {
        writer.append(revision.number)
        writer.append(time.milliseconds)
        writer.append(kind.rawValue)
        writer.append(method)
        writer.append(caller.userID)
        writer.append(caller.groupID)
        writer.append(caller.processID)
        writer.append(instanceID)
        writer.append(caSerialNumber)
        writer.append(deviceSerialNumber)
        writer.append(fingerprint?.bytes ?? [])
        writer.append(status)
        guard let run else { return }
        writer.append(run.first.number)
        writer.append(run.count)
        writer.append(run.hashBefore)
        writer.append(run.coveredBy.number)
    }
}

extension ChangeRecord: StoredRecord {
    func encode(into writer: inout RecordWriter) {
        encodeContent(into: &writer)
        writer.append(hash)
    }

    init(from reader: inout RecordReader) throws(RecordReader.Malformed) {
        revision = Revision(try reader.integer())
        time = WallTime(milliseconds: try reader.integer())
        kind = try reader.enumeration()
        method = try reader.text()
        caller = Caller(
            userID: try reader.integer(), groupID: try reader.integer(), processID: try reader.integer())
        instanceID = try reader.text()
        caSerialNumber = try reader.text()
        deviceSerialNumber = try reader.text()
        let print = try reader.byteString()
        guard print.isEmpty || print.count == SHA256Digest.byteCount else { throw RecordReader.Malformed() }
        fingerprint = SHA256Digest(bytes: print)
        status = try reader.integer()
        if kind == .registrationsCompacted {
            run = CompactedRun(
                first: Revision(try reader.integer()), count: try reader.integer(), hashBefore: try reader.digest(),
                coveredBy: Revision(try reader.integer()))
        }
        hash = try reader.digest()
    }
}

extension ChangeRecord {
    /// An entry that is not in the log yet: appending gives it its revision and hash.
    public init(
        kind: ChangeKind, time: WallTime, method: String, caller: Caller, instanceID: String, ca: CaRecord? = nil,
        device: DeviceRecord? = nil
    ) {
        revision = Revision(0)
        self.time = time
        self.kind = kind
        self.method = method
        self.caller = caller
        self.instanceID = instanceID
        caSerialNumber = ca?.serialNumber.text ?? ""
        deviceSerialNumber = device?.serialNumber.text ?? ""
        fingerprint = device?.fingerprint ?? ca?.fingerprint
        switch kind {
        case .caDeleted, .deviceDeleted: status = 0
        default: status = device?.status.rawValue ?? ca?.status.rawValue ?? 0
        }
        hash = Self.chainStart
    }
}
