internal import CaregProto
internal import Certificates
internal import Foundation
internal import Registry
internal import RegistryStore
internal import Signatures
internal import SwiftProtobuf

// Registry values as protocol messages.

extension Google_Protobuf_Timestamp {
    init(_ time: WallTime) {
        self.init()
        seconds = time.instant.secondsSince1970
        nanos = Int32(time.milliseconds - seconds * 1_000) * 1_000_000
    }

    /// The years 1 to 9999, in unix seconds.
    static let expressibleSeconds: ClosedRange<Int64> = -62_135_596_800...253_402_300_799

    /// Nil past the year 9999, which a Timestamp cannot tell.
    init?(_ instant: Instant) {
        guard Self.expressibleSeconds.contains(instant.secondsSince1970) else { return nil }
        self.init()
        seconds = instant.secondsSince1970
    }
}

extension Careg_V1_Edition {
    init(_ edition: Edition) {
        switch edition {
        case .standard: self = .standard
        case .professional: self = .professional
        case .platinum: self = .platinum
        }
    }
}

extension Edition {
    /// ARGUMENT_INVALID where none, or one that is not known, was given.
    init(_ edition: Careg_V1_Edition) throws {
        switch edition {
        case .standard: self = .standard
        case .professional: self = .professional
        case .platinum: self = .platinum
        case .unspecified, .UNRECOGNIZED:
            throw Refusal(
                .argumentInvalid, "Give an edition: standard, professional or platinum.",
                metadata: ["field": "edition"])
        }
    }
}

extension DeviceRegistration {
    /// Nil where none was given; ARGUMENT_INVALID for one that is not known.
    static func given(_ mode: Careg_V1_DeviceRegistration) throws -> DeviceRegistration? {
        switch mode {
        case .unspecified: nil
        case .automatic: .automatic
        case .pending: .pending
        case .explicit: .explicit
        case .UNRECOGNIZED:
            throw Refusal(
                .argumentInvalid, "Device registration is automatic, pending or explicit.",
                metadata: ["field": "device_registration"])
        }
    }
}

extension Careg_V1_DeviceRegistration {
    init(_ mode: DeviceRegistration) {
        switch mode {
        case .automatic: self = .automatic
        case .pending: self = .pending
        case .explicit: self = .explicit
        }
    }
}

extension Careg_V1_Status {
    init(_ status: CaStatus) {
        switch status {
        case .active: self = .active
        case .inactive: self = .inactive
        }
    }

    init(_ status: DeviceStatus) {
        switch status {
        case .active: self = .active
        case .inactive: self = .inactive
        case .pending: self = .pending
        case .deleted: self = .unspecified
        }
    }
}

extension Careg_V1_Instance {
    init(_ view: InstanceView) {
        self.init()
        id = view.record.id
        edition = Careg_V1_Edition(view.record.edition)
        createTime = Google_Protobuf_Timestamp(view.record.createTime)
        caCount = UInt32(clamping: view.tally.cas)
        deviceCount = UInt32(clamping: view.tally.devices)
        revision = view.record.revision.number
    }
}

extension Careg_V1_RegistrationCode {
    init(_ view: CodeView) {
        self.init()
        code = view.text
        instanceID = view.instanceID
        createTime = Google_Protobuf_Timestamp(view.record.createTime)
        expireTime = Google_Protobuf_Timestamp(view.record.expireTime)
        revision = view.record.revision.number
    }
}

/// How much of a certificate a resource carries.
enum CertificateDetail {
    /// Neither `der` nor `pem`: lists.
    case none
    /// `der` only: trust anchors.
    case der
    /// Both.
    case full
}

extension Careg_V1_CaCertificate {
    init(_ view: CaView, _ detail: CertificateDetail) throws {
        self.init()
        let record = view.record
        let certificate = try storedCertificate(record.der, table: "cas", id: record.id.number)
        sn = record.serialNumber.text
        instanceID = record.instanceID
        name = record.name
        status = Careg_V1_Status(record.status)
        fingerprint = record.fingerprint.hex
        subject = certificate.subject.description
        issuer = certificate.issuer.description
        if let time = Google_Protobuf_Timestamp(certificate.notBefore) { notBefore = time }
        if let time = Google_Protobuf_Timestamp(certificate.notAfter) { notAfter = time }
        (keyAlgorithm, keyBits) = Self.key(certificate.keyAlgorithm)
        deviceRegistration = Careg_V1_DeviceRegistration(record.deviceRegistration)
        switch detail {
        case .none: break
        case .der: der = Data(record.der)
        case .full:
            der = Data(record.der)
            pem = String(decoding: PEM.encode(record.der), as: UTF8.self)
        }
        registerTime = Google_Protobuf_Timestamp(record.registerTime)
        updateTime = Google_Protobuf_Timestamp(record.updateTime)
        deviceCount = UInt32(clamping: view.deviceCount)
        revision = record.revision.number
    }

    private static func key(_ algorithm: KeyAlgorithm) -> (Careg_V1_KeyAlgorithm, UInt32) {
        switch algorithm {
        case .rsa(let modulusBits, _, _): (.rsa, UInt32(clamping: modulusBits))
        case .p256: (.ecc, 256)
        case .p384: (.ecc, 384)
        case .p521: (.ecc, 521)
        case .ed25519, .unsupported: (.unspecified, 0)
        }
    }
}

extension Careg_V1_DeviceCertificate {
    init(_ view: DeviceView, _ detail: CertificateDetail) throws {
        self.init()
        let record = view.record
        let certificate = try storedCertificate(record.der, table: "devices", id: record.id.number)
        caSn = view.caSerialNumber.text
        sn = record.serialNumber.text
        instanceID = view.instanceID
        fingerprint = record.fingerprint.hex
        status = Careg_V1_Status(record.status)
        subject = certificate.subject.description
        commonName = certificate.subject.displayCommonName
        if let time = Google_Protobuf_Timestamp(certificate.notBefore) { notBefore = time }
        if let time = Google_Protobuf_Timestamp(certificate.notAfter) { notAfter = time }
        if detail == .full {
            der = Data(record.der)
            pem = String(decoding: PEM.encode(record.der), as: UTF8.self)
        }
        registerTime = Google_Protobuf_Timestamp(record.registerTime)
        updateTime = Google_Protobuf_Timestamp(record.updateTime)
        revision = record.revision.number
    }
}

extension Careg_V1_ChangeType {
    init(_ kind: ChangeKind) {
        switch kind {
        case .instanceCreated: self = .instanceCreated
        case .instanceUpdated: self = .instanceUpdated
        case .instanceDeleted: self = .instanceDeleted
        case .codeIssued: self = .codeIssued
        case .codeRevoked: self = .codeRevoked
        case .caRegistered: self = .caRegistered
        case .caUpdated: self = .caUpdated
        case .caActivated: self = .caActivated
        case .caUnregistered: self = .caUnregistered
        case .caDeleted: self = .caDeleted
        case .deviceRegistered: self = .deviceRegistered
        case .deviceActivated: self = .deviceActivated
        case .deviceDeactivated: self = .deviceDeactivated
        case .deviceDeleted: self = .deviceDeleted
        case .registryRestored: self = .registryRestored
        case .registrationsCompacted: self = .registrationsCompacted
        case .logCompacted: self = .logCompacted
        }
    }
}

extension Careg_V1_Change {
    init(_ entry: ChangeRecord) {
        self.init()
        revision = entry.revision.number
        time = Google_Protobuf_Timestamp(entry.time)
        type = Careg_V1_ChangeType(entry.kind)
        instanceID = entry.instanceID
        caSn = entry.caSerialNumber
        deviceSn = entry.deviceSerialNumber
        fingerprint = entry.fingerprint?.hex ?? ""
        status = Careg_V1_Status(entry)
    }
}

extension Careg_V1_AuditRecord {
    init(_ entry: ChangeRecord) {
        self.init()
        revision = entry.revision.number
        time = Google_Protobuf_Timestamp(entry.time)
        method = entry.method
        type = Careg_V1_ChangeType(entry.kind)
        callerUid = entry.caller.userID
        callerGid = entry.caller.groupID
        callerPid = entry.caller.processID
        instanceID = entry.instanceID
        caSn = entry.caSerialNumber
        deviceSn = entry.deviceSerialNumber
        fingerprint = entry.fingerprint?.hex ?? ""
        status = Careg_V1_Status(entry)
        hash = entry.hash.hex
        if let run = entry.run {
            firstRevision = run.first.number
            recordCount = run.count
        }
    }
}

extension Careg_V1_Status {
    fileprivate init(_ entry: ChangeRecord) {
        if entry.deviceSerialNumber.isEmpty {
            self = CaStatus(rawValue: entry.status).map { Careg_V1_Status($0) } ?? .unspecified
        } else {
            self = DeviceStatus(rawValue: entry.status).map { Careg_V1_Status($0) } ?? .unspecified
        }
    }
}

// How large a resource is on the wire, at most: what has no small bound of its own is counted, the rest is rounded up.

extension Careg_V1_CaCertificate {
    var sizeEstimate: Int { 2_048 + subject.utf8.count + issuer.utf8.count + der.count + pem.utf8.count }
}

extension Careg_V1_DeviceCertificate {
    var sizeEstimate: Int { 2_048 + subject.utf8.count + commonName.utf8.count + der.count + pem.utf8.count }
}
