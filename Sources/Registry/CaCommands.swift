public import Certificates
public import RegistryStore

/// A CA record with the number of its devices.
public struct CaView: Sendable {
    public var record: CaRecord
    public var deviceCount: Int64

    /// Both fields.
    public init(record: CaRecord, deviceCount: Int64) {
        self.record = record
        self.deviceCount = deviceCount
    }
}

extension Registry {
    /// UpdateCaCertificate: CA_NOT_FOUND, ARGUMENT_INVALID. What is nil stays as it is.
    public func updateCa(
        _ serialNumber: SerialNumber, name: String?, deviceRegistration: DeviceRegistration?, caller: Caller,
        completion: @escaping @Sendable (Result<CaView, any Error>) -> Void
    ) {
        let limits = limits
        change(serialNumber, .caUpdated, method: "UpdateCaCertificate", caller: caller) { record in
            if let name {
                try requireName(name, limits: limits)
                record.name = name
            }
            if let deviceRegistration { record.deviceRegistration = deviceRegistration }
        } completion: {
            completion($0)
        }
    }

    /// ActivateCaCertificate: CA_NOT_FOUND. Devices that were deactivated one by one stay so.
    public func activateCa(
        _ serialNumber: SerialNumber, caller: Caller,
        completion: @escaping @Sendable (Result<CaView, any Error>) -> Void
    ) {
        change(serialNumber, .caActivated, method: "ActivateCaCertificate", caller: caller) {
            $0.status = .active
        } completion: {
            completion($0)
        }
    }

    /// UnregisterCaCertificate: CA_NOT_FOUND. The SN and the ownership stay.
    public func unregisterCa(
        _ serialNumber: SerialNumber, caller: Caller,
        completion: @escaping @Sendable (Result<CaView, any Error>) -> Void
    ) {
        change(serialNumber, .caUnregistered, method: "UnregisterCaCertificate", caller: caller) {
            $0.status = .inactive
        } completion: {
            completion($0)
        }
    }

    // What leaves the record as it is makes no revision: the calls are idempotent.
    private func change(
        _ serialNumber: SerialNumber, _ kind: ChangeKind, method: String, caller: Caller,
        _ mutate: @escaping @Sendable (inout CaRecord) throws -> Void,
        completion: @escaping @Sendable (Result<CaView, any Error>) -> Void
    ) {
        writer.submit(method: method, caller: caller) { context in
            let snapshot = context.store.snapshot
            let old = try snapshot.requireCa(serialNumber)
            var record = old
            try mutate(&record)
            let deviceCount = try context.store.tally(of: old.id).devices
            if (record.name, record.status, record.deviceRegistration)
                == (old.name, old.status, old.deviceRegistration)
            {
                return CaView(record: old, deviceCount: deviceCount)
            }
            let instance = try snapshot.requireInstance(of: old)
            record.updateTime = context.now
            record.revision = try context.nextRevision()
            try context.store.update(old, to: record)
            _ = try context.record(kind, instance: instance, ca: record)
            return CaView(record: record, deviceCount: deviceCount)
        } completion: {
            completion($0)
        }
    }

    /// DeleteCaCertificate: CA_NOT_FOUND.
    ///
    /// Its device records and tombstones are deleted for good, unless another CA record of the instance has the same key:
    /// then they move to it.
    public func deleteCa(
        _ serialNumber: SerialNumber, caller: Caller,
        completion: @escaping @Sendable (Result<CaView, any Error>) -> Void
    ) {
        writer.submit(method: "DeleteCaCertificate", caller: caller) { context in
            let snapshot = context.store.snapshot
            var record = try snapshot.requireCa(serialNumber)
            let instance = try snapshot.requireInstance(of: record)
            let deviceCount = try context.store.tally(of: record.id).devices
            let heirs = try snapshot.cas(keyHash: record.keyHash).filter {
                $0.id != record.id && $0.instance == record.instance
            }
            if let heir = heirs.first(where: { $0.status == .active }) ?? heirs.first {
                try context.moveDevices(from: record, to: heir)
            } else {
                try context.deleteDevices(of: record)
            }
            try context.store.delete(record)
            record.updateTime = context.now
            record.revision = try context.record(.caDeleted, instance: instance, ca: record)
            return CaView(record: record, deviceCount: deviceCount)
        } completion: {
            completion($0)
        }
    }
}

/// ARGUMENT_INVALID for a name that is too long.
func requireName(_ name: String, limits: RegistryLimits) throws {
    guard name.unicodeScalars.count <= limits.nameCharacters else {
        throw Refusal(
            .argumentInvalid, "A name has \(limits.nameCharacters) characters at most.", metadata: ["field": "name"])
    }
}

extension CommandContext {
    /// A period in which nothing lies.
    private static var noTime: (Instant, Instant) {
        (Instant(secondsSince1970: 1), Instant(secondsSince1970: 0))
    }

    /// Rows that are collected before they are changed: a cursor must not walk what is being changed.
    private static var chunk: Int { 1_000 }

    func deleteDevices(of ca: CaRecord) throws {
        while true {
            let devices = try nextDevices(of: ca)
            if devices.isEmpty { return }
            for device in devices {
                try store.delete(device)
            }
        }
    }

    /// Lists the devices of one CA record under another one with the same key: its signatures are the same, its rules may
    /// not be. Where it permits less, or has another name, the moved paths are good at no time: then paths are searched anew.
    func moveDevices(from ca: CaRecord, to heir: CaRecord) throws {
        let validity = try CertificateFacts(heir)
        let isAsWide = validity.permitsAll(that: try CertificateFacts(ca))
        while true {
            let devices = try nextDevices(of: ca)
            if devices.isEmpty { return }
            for old in devices {
                let path = try store.snapshot.path(old.path)
                let certificates = try path.intermediates.map { try store.snapshot.intermediate($0) }
                var moved = path
                moved.ca = heir.id
                (moved.notBefore, moved.notAfter) = try validity.window(with: certificates)
                if !isAsWide { (moved.notBefore, moved.notAfter) = Self.noTime }
                var device = old
                device.ca = heir.id
                device.path = try store.intern(moved, certificates: certificates).id
                try store.update(old, to: device)
            }
        }
    }

    private func nextDevices(of ca: CaRecord) throws -> [DeviceRecord] {
        var ids: [DeviceID] = []
        try store.snapshot.deviceList(of: ca.id) { id, _ in
            ids.append(id)
            return ids.count < Self.chunk
        }
        return try ids.map { try store.snapshot.requireDevice($0, under: ca.id) }
    }
}

/// The validity of a registered CA certificate, for the windows of the paths that end at it.
struct CertificateFacts {
    let certificate: Certificate

    /// A registered certificate was parsed when it came, so that one which does not parse now is damage.
    init(_ ca: CaRecord) throws {
        certificate = try storedCertificate(ca.der, table: "cas", id: ca.id.number)
    }

    /// Whether every path that ends at another CA certificate with this key may end at this one as well, time left out.
    func permitsAll(that other: CertificateFacts) -> Bool {
        let own = certificate.extensions
        let others = other.certificate.extensions
        guard certificate.subject.normalized == other.certificate.subject.normalized else { return false }
        if let names = own.nameConstraints {
            guard let otherNames = others.nameConstraints,
                certificate.der[names] == other.certificate.der[otherNames]
            else { return false }
        }
        guard let length = own.basicConstraints?.pathLength else { return true }
        return others.basicConstraints?.pathLength.map { $0 <= length } ?? false
    }

    /// The time that the CA certificate and the intermediates have in common.
    func window(with intermediates: [[UInt8]]) throws -> (Instant, Instant) {
        var notBefore = certificate.notBefore
        var notAfter = certificate.notAfter
        for der in intermediates {
            let intermediate = try storedCertificate(der, table: "intermediates", id: 0)
            notBefore = max(notBefore, intermediate.notBefore)
            notAfter = min(notAfter, intermediate.notAfter)
        }
        return (notBefore, notAfter)
    }
}

/// Parses a certificate that the registry stored itself.
public func storedCertificate(_ der: [UInt8], table: String, id: UInt64) throws -> Certificate {
    do {
        return try Certificate(der: der)
    } catch {
        throw StoreFault.damaged(table: table, key: bigEndianBytes(id), finding: .encoding)
    }
}
