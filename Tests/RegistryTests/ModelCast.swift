import Certificates
import Registry
import RegistryStore
import Signatures
import TestPKI

/// The certificates that the random test plays with.
struct ModelCast {
    /// A CA certificate that may be registered.
    struct Authority {
        let entity: Entity
        let sn: SerialNumber

        var keyName: String { entity.key.name }
        var subject: [UInt8] { entity.name }
        var issuer: [UInt8] { entity.recipe.issuer }
        var signerName: String { entity.signer.name }
    }

    /// A device certificate, with the intermediates that lead up from it.
    struct Device {
        let entity: Entity
        let serial: SerialNumber
        let notAfter: Int64
        /// The same for certificates that differ in nothing but their signature.
        let content: Int
        /// Indices of authorities, the device's issuer first.
        let intermediates: [Int]

        var issuer: [UInt8] { entity.recipe.issuer }
        var signerName: String { entity.signer.name }
    }

    let authorities: [Authority]
    let devices: [Device]

    init() {
        var entities: [Entity] = []
        for key in 1...4 {
            for variant in 0...2 {
                entities.append(
                    authority(key, serial: [UInt8(key), UInt8(variant)]) { recipe in
                        recipe.setValidity(TestTime.notBefore, TestTime.notAfter - Int64(variant) * 1_000)
                    })
            }
        }
        // Numbers that others have, too.
        entities.append(authority(1, serial: [0x77]))
        entities.append(authority(2, serial: [0x77]))
        entities.append(authority(3, serial: [1, 0]))
        entities.append(authority(4, serial: [0]))
        let roots = entities.count
        entities.append(entities[0].authority("Line 11", key: .p256(11)) { $0.serial = [11] })
        entities.append(entities[3].authority("Line 12", key: .p256(12)) { $0.serial = [12] })
        entities.append(entities[roots].authority("Line 13", key: .p256(13)) { $0.serial = [13] })
        authorities = entities.map { Authority(entity: $0, sn: $0.serialNumber) }

        let issuers: [(index: Int, intermediates: [Int])] = [
            (0, []), (3, []), (6, []), (9, []), (roots, [roots]), (roots + 1, [roots + 1]),
            (roots + 2, [roots + 2, roots]),
        ]
        var devices: [Device] = []
        var content = 0
        for (index, intermediates) in issuers {
            for serial: [UInt8] in [[5], [0xff], [0]] {
                func add(_ entity: Entity, _ notAfter: Int64) {
                    devices.append(
                        Device(
                            entity: entity, serial: entity.serialNumber, notAfter: notAfter, content: content,
                            intermediates: intermediates))
                }
                let notAfter = TestTime.notAfter - Int64(serial[0]) * 100
                let first = entities[index].device("device", key: .p256(901)) { recipe in
                    recipe.serial = serial
                    recipe.setValidity(TestTime.notBefore, notAfter)
                }
                add(first, notAfter)
                add(first.changed { $0.changeSignature = ECDSATwin.of }, notAfter)
                content += 1
                add(entities[index].device("reissued", key: .p256(902)) { $0.serial = serial }, TestTime.notAfter)
                content += 1
            }
        }
        self.devices = devices
    }
}
