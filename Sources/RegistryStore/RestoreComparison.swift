internal import Certificates
internal import Signatures

/// What a restore changes, told line by line before it is done.
public struct RestoreComparison {
    private let former: Snapshot
    private let incoming: Snapshot
    private let emit: (String) -> Void

    /// Tells every status and every tombstone that differs.
    ///
    /// - Parameters:
    ///   - former: what stands now.
    ///   - incoming: what is to take its place.
    ///   - emit: gets one line each.
    public static func run(former: Store, incoming: Store, emit: (String) -> Void) throws {
        try former.read { former in
            try incoming.read { incoming in
                try withoutActuallyEscaping(emit) { emit in
                    let comparison = RestoreComparison(former: former, incoming: incoming, emit: emit)
                    try comparison.instances()
                    try comparison.cas()
                    try comparison.devices()
                }
            }
        }
    }

    private func instances() throws {
        try former.instances(after: nil) { record in
            if try incoming.instance(record.id) == nil { emit("instance \(record.id): is no more") }
            return true
        }
        try incoming.instances(after: nil) { record in
            if try former.instance(record.id) == nil { emit("instance \(record.id): is back") }
            return true
        }
    }

    private func cas() throws {
        try former.cas(of: nil, after: nil) { record in
            let other = try incoming.ca(fingerprint: record.fingerprint)
            let after = other?.instanceID == record.instanceID ? other?.status.word : nil
            tell("ca \(record.serialNumber.text) of instance \(record.instanceID)", record.status.word, after)
            return true
        }
        try incoming.cas(of: nil, after: nil) { record in
            let other = try former.ca(fingerprint: record.fingerprint)
            if other?.instanceID != record.instanceID {
                tell("ca \(record.serialNumber.text) of instance \(record.instanceID)", nil, record.status.word)
            }
            return true
        }
    }

    private func devices() throws {
        try former.devices(from: DeviceID(0)) { record in
            let after = try counterpart(of: record, from: former, in: incoming)?.status.word
            try tell(subject(record, in: former), record.status.word, after)
            return true
        }
        try incoming.devices(from: DeviceID(0)) { record in
            if try counterpart(of: record, from: incoming, in: former) == nil {
                try tell(subject(record, in: incoming), nil, record.status.word)
            }
            return true
        }
    }

    /// The record of the same device in the other registry, whose numbers are its own.
    private func counterpart(
        of record: DeviceRecord, from snapshot: Snapshot, in other: Snapshot
    ) throws -> DeviceRecord? {
        guard let id = try snapshot.ca(record.ca)?.instanceID, let instance = try other.instance(id) else { return nil }
        return try other.device(
            signingKeyHash: record.signingKeyHash, serialNumber: record.serialNumber, contentHash: record.contentHash,
            of: instance.number)
    }

    private func subject(_ record: DeviceRecord, in snapshot: Snapshot) throws -> String {
        let ca = try snapshot.ca(record.ca)
        return "device \(record.serialNumber.text) of ca \(ca?.serialNumber.text ?? "?") of instance "
            + (ca?.instanceID ?? "?")
    }

    private func tell(_ subject: String, _ before: String?, _ after: String?) {
        if before != after { emit("\(subject): \(before ?? "unknown") -> \(after ?? "unknown")") }
    }
}

extension CaStatus {
    fileprivate var word: String {
        switch self {
        case .active: "active"
        case .inactive: "inactive"
        }
    }
}

extension DeviceStatus {
    fileprivate var word: String {
        switch self {
        case .active: "active"
        case .inactive: "inactive"
        case .pending: "pending"
        case .deleted: "deleted"
        }
    }
}
