public import Certificates
public import RegistryStore
public import Signatures

/// Which device record a call means.
public struct DeviceSelector: Sendable {
    /// SN of the CA certificate that it is listed under.
    public var ca: SerialNumber
    public var serialNumber: SerialNumber
    /// Where the two fit several.
    public var fingerprint: SHA256Digest?

    /// All fields.
    public init(ca: SerialNumber, serialNumber: SerialNumber, fingerprint: SHA256Digest?) {
        self.ca = ca
        self.serialNumber = serialNumber
        self.fingerprint = fingerprint
    }
}

/// A device record with the SN that it is listed under.
public struct DeviceView: Sendable {
    public var record: DeviceRecord
    public var caSerialNumber: SerialNumber
    public var instanceID: String

    /// All fields.
    public init(record: DeviceRecord, ca: CaRecord) {
        self.record = record
        caSerialNumber = ca.serialNumber
        instanceID = ca.instanceID
    }
}

extension Snapshot {
    /// The one device record that a selector fits; tombstones are not there.
    ///
    /// - Throws: ``Refusal`` CA_NOT_FOUND, DEVICE_NOT_FOUND, ARGUMENT_INVALID where several fit.
    public func requireDevice(_ selector: DeviceSelector) throws -> (device: DeviceRecord, ca: CaRecord) {
        let ca = try requireCa(selector.ca)
        let names = ["ca_sn": selector.ca.text, "sn": selector.serialNumber.text]
        let listed = try devices(of: ca.id, serialNumber: selector.serialNumber).filter { $0.status != .deleted }
        let fits = listed.filter { selector.fingerprint == nil || $0.fingerprint == selector.fingerprint }
        guard let device = fits.first else {
            throw Refusal(
                .deviceNotFound,
                "No device certificate with SN \(selector.serialNumber.text) "
                    + (listed.isEmpty ? "" : "and that fingerprint ")
                    + "is registered under the CA certificate with SN \(selector.ca.text).",
                metadata: names)
        }
        guard fits.count == 1 else {
            let fingerprints = fits.map(\.fingerprint.hex).sorted()
            throw Refusal(
                .argumentInvalid,
                "\(fits.count) device certificates under this CA certificate have the SN \(selector.serialNumber.text), "
                    + "from different issuers. Give the fingerprint of the one that is meant.",
                metadata: names.merging(["fingerprints": fingerprints.joined(separator: ",")]) { $1 })
        }
        return (device, ca)
    }
}

extension Registry {
    /// ActivateDeviceCertificate: CA_NOT_FOUND, DEVICE_NOT_FOUND, ARGUMENT_INVALID.
    public func activateDevice(
        _ selector: DeviceSelector, caller: Caller,
        completion: @escaping @Sendable (Result<DeviceView, any Error>) -> Void
    ) {
        change(selector, to: .active, .deviceActivated, "ActivateDeviceCertificate", caller, completion)
    }

    /// DeactivateDeviceCertificate: CA_NOT_FOUND, DEVICE_NOT_FOUND, ARGUMENT_INVALID.
    public func deactivateDevice(
        _ selector: DeviceSelector, caller: Caller,
        completion: @escaping @Sendable (Result<DeviceView, any Error>) -> Void
    ) {
        change(selector, to: .inactive, .deviceDeactivated, "DeactivateDeviceCertificate", caller, completion)
    }

    /// DeleteDeviceCertificate: CA_NOT_FOUND, DEVICE_NOT_FOUND, ARGUMENT_INVALID. A tombstone stays.
    public func deleteDevice(
        _ selector: DeviceSelector, caller: Caller,
        completion: @escaping @Sendable (Result<DeviceView, any Error>) -> Void
    ) {
        change(selector, to: .deleted, .deviceDeleted, "DeleteDeviceCertificate", caller, completion)
    }

    private func change(
        _ selector: DeviceSelector, to status: DeviceStatus, _ kind: ChangeKind, _ method: String, _ caller: Caller,
        _ completion: @escaping @Sendable (Result<DeviceView, any Error>) -> Void
    ) {
        writer.submit(method: method, caller: caller) { context in
            let snapshot = context.store.snapshot
            let (old, ca) = try snapshot.requireDevice(selector)
            if old.status == status { return DeviceView(record: old, ca: ca) }
            let instance = try snapshot.requireInstance(of: ca)
            var record = old
            record.status = status
            record.updateTime = context.now
            record.revision = try context.nextRevision()
            var kept = record
            if status == .deleted { kept.der = [] }
            try context.store.update(old, to: kept)
            _ = try context.record(kind, instance: instance, ca: ca, device: record)
            // As it was when it was deleted: the certificate is in the answer for the last time.
            if status == .deleted { record.status = old.status }
            return DeviceView(record: record, ca: ca)
        } completion: {
            completion($0)
        }
    }
}
