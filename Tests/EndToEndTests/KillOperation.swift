import Signatures
import TestPKI

/// The certificates of one plot of the kill test.
struct KillCast: Sendable {
    /// A certificate with what the registry says of it.
    struct Certificate: Sendable {
        let entity: Entity
        let serialNumber: String
        let fingerprint: String

        init(_ entity: Entity) {
            self.entity = entity
            serialNumber = entity.recipe.serial.map { byte in
                let digits = String(byte, radix: 16)
                return digits.count == 1 ? "0" + digits : digits
            }.joined()
            fingerprint = SHA256Digest(hashing: entity.der).hex
        }
    }

    static let authorityCount = 2
    static let deviceCount = 3

    let authorities: [Certificate]
    /// Those of each authority.
    let devices: [[Certificate]]

    init(plot: Int) {
        let roots = (0..<Self.authorityCount).map { index in
            Entity.root("Plot \(plot) CA \(index)", key: .p256(1_000 + plot * Self.authorityCount + index))
        }
        authorities = roots.map { Certificate($0) }
        devices = roots.map { root in
            (0..<Self.deviceCount).map { Certificate(root.device("device \($0)")) }
        }
    }

    /// Proof of possession as `openssl x509 -req` makes it: version 1, another key's, signed by the CA's key.
    func verification(of authority: Int, code: String) -> [UInt8] {
        authorities[authority].entity.issue(TestName(commonName: code), key: .p256(950), []) { $0.makeVersion1() }.der
    }
}

/// What the kill test asks the daemon for. CA certificates and devices are indices of the plot's cast.
enum KillOperation: Sendable, Hashable {
    case createInstance(edition: UInt64)
    case updateInstance(edition: UInt64)
    case deleteInstance
    case issueCode
    case revokeCode(prefix: String)
    case registerCa(Int, code: String, name: String, mode: UInt64)
    case updateCa(Int, name: String, mode: UInt64)
    case activateCa(Int)
    case unregisterCa(Int)
    case deleteCa(Int)
    case registerDevice(Int, Int)
    case activateDevice(Int, Int)
    case deactivateDevice(Int, Int)
    case deleteDevice(Int, Int)
    case verify(Int, Int)

    var method: String {
        switch self {
        case .createInstance: "CreateInstance"
        case .updateInstance: "UpdateInstance"
        case .deleteInstance: "DeleteInstance"
        case .issueCode: "IssueRegistrationCode"
        case .revokeCode: "RevokeRegistrationCode"
        case .registerCa: "RegisterCaCertificate"
        case .updateCa: "UpdateCaCertificate"
        case .activateCa: "ActivateCaCertificate"
        case .unregisterCa: "UnregisterCaCertificate"
        case .deleteCa: "DeleteCaCertificate"
        case .registerDevice: "RegisterDeviceCertificate"
        case .activateDevice: "ActivateDeviceCertificate"
        case .deactivateDevice: "DeactivateDeviceCertificate"
        case .deleteDevice: "DeleteDeviceCertificate"
        case .verify: "Verify"
        }
    }

    /// Number of the ChangeType that it leaves in the log.
    var changeType: UInt64 {
        switch self {
        case .createInstance: 1
        case .updateInstance: 2
        case .deleteInstance: 3
        case .issueCode: 4
        case .revokeCode: 5
        case .registerCa: 6
        case .updateCa: 7
        case .activateCa: 8
        case .unregisterCa: 9
        case .deleteCa: 10
        case .registerDevice, .verify: 11
        case .activateDevice: 12
        case .deactivateDevice: 13
        case .deleteDevice: 14
        }
    }

    var service: String {
        if case .verify = self { WireClient.verifier } else { WireClient.registry }
    }

    func request(_ instance: String, _ cast: KillCast) -> ProtobufMessage.Builder {
        let empty = ProtobufMessage.Builder()
        switch self {
        case .createInstance(let edition), .updateInstance(let edition):
            return empty.text(1, instance).integer(2, edition)
        case .deleteInstance, .issueCode: return empty.text(1, instance)
        case .revokeCode(let prefix): return empty.text(1, instance).text(2, prefix)
        case .registerCa(let ca, let code, let name, let mode):
            return empty.text(1, instance).bytes(2, cast.authorities[ca].entity.der)
                .bytes(3, cast.verification(of: ca, code: code)).text(4, name).integer(5, mode)
        case .updateCa(let ca, let name, let mode):
            return empty.text(1, cast.authorities[ca].serialNumber).text(2, name).integer(3, mode)
        case .activateCa(let ca), .unregisterCa(let ca), .deleteCa(let ca):
            return empty.text(1, cast.authorities[ca].serialNumber)
        case .registerDevice(let ca, let device):
            return empty.text(1, instance).bytes(2, cast.devices[ca][device].entity.der)
        case .activateDevice(let ca, let device), .deactivateDevice(let ca, let device),
            .deleteDevice(let ca, let device):
            return empty.text(1, cast.authorities[ca].serialNumber).text(2, cast.devices[ca][device].serialNumber)
        case .verify(let ca, let device):
            return empty.text(1, instance).bytes(2, cast.devices[ca][device].entity.der)
        }
    }
}

/// One entry of the change log, as a change must leave it.
struct KillEntry: Sendable, Hashable {
    var type: UInt64
    var method: String
    var instance: String
    var ca = ""
    var device = ""
    var fingerprint = ""
    var status: UInt64 = 0

    /// An AuditRecord.
    init(_ record: ProtobufMessage) {
        type = record.integer(4)
        method = record.text(3)
        instance = record.text(8)
        ca = record.text(9)
        device = record.text(10)
        fingerprint = record.text(11)
        status = record.integer(12)
    }

    init(_ operation: KillOperation, instance: String, _ cast: KillCast, status: UInt64) {
        type = operation.changeType
        method = operation.method
        self.instance = instance
        self.status = status
        switch operation {
        case .createInstance, .updateInstance, .deleteInstance, .issueCode, .revokeCode: break
        case .registerCa(let index, _, _, _), .updateCa(let index, _, _), .activateCa(let index),
            .unregisterCa(let index), .deleteCa(let index):
            ca = cast.authorities[index].serialNumber
            fingerprint = cast.authorities[index].fingerprint
        case .registerDevice(let index, let number), .activateDevice(let index, let number),
            .deactivateDevice(let index, let number), .deleteDevice(let index, let number),
            .verify(let index, let number):
            ca = cast.authorities[index].serialNumber
            device = cast.devices[index][number].serialNumber
            fingerprint = cast.devices[index][number].fingerprint
        }
    }
}
