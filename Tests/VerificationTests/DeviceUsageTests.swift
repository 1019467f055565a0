import TestPKI
import Testing
import Verification

/// What a device certificate has to be good for (RFC 5280 sections 4.2.1.3 and 4.2.1.12).
@Suite struct DeviceUsageTests {
    private static func device(_ change: @escaping @Sendable (inout CertificateRecipe) -> Void) -> World {
        let root = Entity.root()
        return World(root, chain: [root.device(changing: change)])
    }

    private static func usage(_ bits: TestExtension.Usage..., expected: VerdictReason) -> Situation {
        Situation("keyUsage \(bits)", expected) {
            device {
                $0.set(TestExtension(OID.keyUsage, critical: true, DER.namedBits(bits.map(\.rawValue))))
            }
        }
    }

    static let keyUsages: [Situation] = [
        Situation("no keyUsage", .trusted) { device { $0.remove(OID.keyUsage) } },
        usage(.digitalSignature, expected: .trusted),
        usage(.keyAgreement, expected: .trusted),
        usage(.digitalSignature, .keyEncipherment, expected: .trusted),
        usage(.keyAgreement, .encipherOnly, expected: .trusted),
        usage(.keyAgreement, .decipherOnly, expected: .trusted),
        usage(.digitalSignature, .decipherOnly, expected: .trusted),
        usage(.digitalSignature, .cRLSign, expected: .trusted),
        usage(.digitalSignature, .keyCertSign, expected: .usageNotAllowed),
        usage(.nonRepudiation, expected: .usageNotAllowed),
        Situation("a path length without cA", .usageNotAllowed) {
            device {
                $0.set(TestExtension(OID.basicConstraints, critical: true, DER.sequence(DER.integer(0))))
            }
        },
        usage(.keyEncipherment, expected: .usageNotAllowed),
        usage(.dataEncipherment, expected: .usageNotAllowed),
        usage(.keyEncipherment, .dataEncipherment, .nonRepudiation, expected: .usageNotAllowed),
        usage(.keyCertSign, expected: .usageNotAllowed),
        usage(.cRLSign, expected: .usageNotAllowed),
        usage(.encipherOnly, expected: .usageNotAllowed),
        usage(.decipherOnly, expected: .usageNotAllowed),
        Situation("keyUsage without any bit", .usageNotAllowed, .certificateMalformed) {
            device { $0.set(.keyUsage()) }
        },
        Situation("keyUsage that is not critical counts as well", .usageNotAllowed) {
            device { $0.set(.keyUsage(.keyEncipherment, critical: false)) }
        },
    ]

    @Test(arguments: keyUsages) func keyUsageAllowsClientAuthentication(situation: Situation) {
        expectVerdict(situation)
    }

    private static func purposes(device: [String]?, intermediate: [String]? = nil, anchor: [String]? = nil) -> World {
        func apply(_ purposes: [String]?, to recipe: inout CertificateRecipe) {
            recipe.remove(OID.extKeyUsage)
            guard let purposes else { return }
            recipe.set(TestExtension(OID.extKeyUsage, DER.sequence(of: purposes.map(DER.objectIdentifier))))
        }
        let root = Entity.root { apply(anchor, to: &$0) }
        let middle = root.authority(key: .p256(2)) { apply(intermediate, to: &$0) }
        return World(root, chain: [middle.device { apply(device, to: &$0) }, middle])
    }

    private static let client = [OID.clientAuth]
    private static let server = [OID.serverAuth]
    private static let any = [OID.anyExtendedKeyUsage]

    static let extendedKeyUsages: [Situation] = [
        Situation("no extendedKeyUsage anywhere", .trusted) { purposes(device: nil) },
        Situation("device for clients", .trusted) { purposes(device: client) },
        Situation("device for any", .trusted) { purposes(device: any) },
        Situation("device for servers and clients", .trusted) { purposes(device: server + client) },
        Situation("device for servers and any", .trusted) { purposes(device: server + any) },
        Situation("device for servers", .usageNotAllowed) { purposes(device: server) },
        Situation("device for code signing and something unknown", .usageNotAllowed) {
            purposes(device: [OID.codeSigning, "1.3.6.1.4.1.55555.2"])
        },
        Situation("device for something that begins like clients", .usageNotAllowed) {
            purposes(device: [OID.clientAuth + ".1"])
        },
        Situation("device for something that is the beginning of any", .usageNotAllowed) {
            purposes(device: ["2.5.29.37"])
        },
        Situation("intermediate for clients", .trusted) { purposes(device: client, intermediate: client) },
        Situation("intermediate for any", .trusted) { purposes(device: client, intermediate: any) },
        Situation("intermediate for servers", .usageNotAllowed, detail: ["Intermediate"]) {
            purposes(device: client, intermediate: server)
        },
        Situation("intermediate for servers, device for none in particular", .usageNotAllowed) {
            purposes(device: nil, intermediate: server)
        },
        Situation("intermediate for servers, device for any", .usageNotAllowed) {
            purposes(device: any, intermediate: server)
        },
        Situation("intermediate for clients, device for servers", .usageNotAllowed) {
            purposes(device: server, intermediate: client)
        },
        Situation("intermediate for clients, device for none in particular", .trusted) {
            purposes(device: nil, intermediate: client)
        },
        Situation("anchor for clients", .trusted) { purposes(device: client, anchor: client) },
        Situation("anchor for any", .trusted) { purposes(device: client, anchor: any) },
        Situation("anchor for servers", .usageNotAllowed) { purposes(device: client, anchor: server) },
        Situation("anchor for clients, intermediate for servers", .usageNotAllowed) {
            purposes(device: client, intermediate: server, anchor: client)
        },
        Situation("device for clients, critically", .trusted) {
            device { $0.set(.extKeyUsage(OID.clientAuth, critical: true)) }
        },
        Situation("device for servers, critically", .usageNotAllowed) {
            device { $0.set(.extKeyUsage(OID.serverAuth, critical: true)) }
        },
        Situation("extendedKeyUsage without a purpose", .certificateMalformed, .usageNotAllowed) {
            device { $0.set(.extKeyUsage()) }
        },
    ]

    @Test(arguments: extendedKeyUsages) func everyCertificateIsGoodForClients(situation: Situation) {
        expectVerdict(situation)
    }

    static let notDevices: [Situation] = [
        Situation("a CA certificate as the device's", .usageNotAllowed) {
            let root = Entity.root()
            return World(
                root, chain: [root.authority(key: .p256(2)) { $0.set(.keyUsage(.digitalSignature, .keyCertSign)) }])
        },
        Situation("a CA certificate without keyUsage as the device's", .usageNotAllowed) {
            let root = Entity.root()
            return World(root, chain: [root.authority(key: .p256(2)) { $0.remove(OID.keyUsage) }])
        },
        Situation("the anchor itself as the device's", .usageNotAllowed) {
            let root = Entity.root()
            return World(root, chain: [root])
        },
        Situation("an anchor that is good for signing as the device's", .usageNotAllowed) {
            let root = Entity.root { $0.set(.keyUsage(.digitalSignature, .keyCertSign)) }
            return World(root, chain: [root])
        },
        Situation("device with empty basicConstraints", .trusted) { device { $0.set(.basicConstraints(isCA: nil)) } },
        Situation("device with CA:FALSE written out", .trusted) { device { $0.set(.basicConstraints(isCA: false)) } },
        Situation("device with CA:FALSE, not critical", .trusted) {
            device { $0.set(.basicConstraints(isCA: nil, critical: false)) }
        },
        Situation("device of version 1", .trusted) { device { $0.makeVersion1() } },
        Situation("device of version 3 without extensions", .trusted) { device { $0.extensions = [] } },
    ]

    @Test(arguments: notDevices) func aCAIsNoDevice(situation: Situation) { expectVerdict(situation) }
}
