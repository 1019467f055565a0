import TestPKI
import Testing
import Verification

/// Extensions that are unknown, doubled or out of place, and certificate versions (RFC 5280 sections 4.1.2.1, 4.2 and 6.1.5).
@Suite struct ExtensionTests {
    typealias Change = @Sendable (inout CertificateRecipe) -> Void

    private static func world(
        device: Change = { _ in }, intermediate: Change = { _ in }, anchor: Change = { _ in }
    ) -> World {
        let root = Entity.root(changing: anchor)
        let middle = root.authority(key: .p256(2), changing: intermediate)
        return World(root, chain: [middle.device(changing: device), middle])
    }

    /// The same change on each of the three certificates.
    private static func everywhere(_ name: String, _ expected: VerdictReason..., change: @escaping Change)
        -> [Situation]
    {
        [
            Situation("\(name), on the device", expected) { world(device: change) },
            Situation("\(name), on the intermediate", expected) { world(intermediate: change) },
            Situation("\(name), on the anchor", expected) { world(anchor: change) },
        ]
    }

    private static func doubled(_ value: TestExtension) -> Change {
        { recipe in
            recipe.remove(value.type)
            recipe.extensions += [value, value]
        }
    }

    static let unknown: [Situation] = [
        everywhere("an unknown critical extension", .certificateMalformed) { $0.set(.unknown(critical: true)) },
        everywhere("an unknown extension", .trusted) { $0.set(.unknown(critical: false)) },
        everywhere("an unknown extension whose criticality is written out", .trusted) {
            $0.set(
                TestExtension(
                    OID.unknownExtension, [],
                    raw: DER.sequence(
                        DER.objectIdentifier(OID.unknownExtension), DER.boolean(false), DER.octetString([1]))))
        },
        everywhere("an unknown extension whose value is no DER", .trusted) {
            $0.set(TestExtension(OID.unknownExtension, [0x30, 0x80, 0xFF]))
        },
        everywhere("an unknown extension without a value", .trusted) {
            $0.set(TestExtension(OID.unknownExtension, []))
        },
        everywhere("an unknown extension twice", .certificateMalformed, change: doubled(.unknown(critical: false))),
        everywhere("two unknown extensions", .trusted) {
            $0.extensions += [.unknown(critical: false), .unknown(critical: false, type: "1.3.6.1.4.1.55555.1.2")]
        },
        everywhere("an unknown extension whose identifier is a known one's beginning", .certificateMalformed) {
            $0.extensions.append(TestExtension("2.5.29", critical: true, DER.null))
        },
        everywhere("an unknown extension whose identifier begins like a known one's", .certificateMalformed) {
            $0.extensions.append(TestExtension("2.5.29.15.1", critical: true, DER.null))
        },
        everywhere("critical CRL distribution points", .certificateMalformed) {
            $0.set(TestExtension(OID.crlDistributionPoints, critical: true, DER.sequence(DER.sequence())))
        },
        everywhere("critical authority information access", .certificateMalformed) {
            $0.set(TestExtension(OID.authorityInfoAccess, critical: true, DER.sequence(DER.sequence())))
        },
        everywhere("a critical issuer alternative name", .certificateMalformed) {
            $0.set(TestExtension(OID.issuerAltName, critical: true, DER.sequence(TestGeneralName.dns("a.test").der)))
        },
        everywhere("a critical private key usage period", .certificateMalformed) {
            $0.set(TestExtension(OID.privateKeyUsagePeriod, critical: true, DER.sequence()))
        },
        everywhere("CRL distribution points", .trusted) {
            $0.set(TestExtension(OID.crlDistributionPoints, DER.sequence(DER.sequence())))
        },
    ].flatMap(\.self)

    @Test(arguments: unknown) func whatIsNotKnownMustNotBeCritical(situation: Situation) { expectVerdict(situation) }

    static let known: [Situation] = [
        everywhere("critical certificate policies", .trusted) {
            $0.set(.certificatePolicies("1.2.3.4", critical: true))
        },
        everywhere("any policy", .trusted) { $0.set(.certificatePolicies(OID.anyPolicy)) },
        everywhere("critical policy mappings", .trusted) {
            $0.set(
                TestExtension(
                    OID.policyMappings, critical: true,
                    DER.sequence(DER.sequence(DER.objectIdentifier("1.2.3.4"), DER.objectIdentifier("1.2.3.5")))))
        },
        everywhere("a critical constraint that asks for a policy", .trusted) {
            $0.set(TestExtension(OID.policyConstraints, critical: true, DER.sequence(DER.implicit(0, [0]))))
        },
        everywhere("critical inhibition of any policy", .trusted) {
            $0.set(TestExtension(OID.inhibitAnyPolicy, critical: true, DER.integer(0)))
        },
        everywhere("a critical subject key identifier", .trusted) {
            $0.set(.subjectKeyIdentifier([1, 2, 3], critical: true))
        },
        everywhere("a critical authority key identifier", .trusted) {
            $0.set(.authorityKeyIdentifier([1, 2, 3], critical: true))
        },
        everywhere("a critical subject alternative name", .trusted) {
            $0.set(.subjectAltName(.dns("a.test"), critical: true))
        },
        everywhere("the extensions in another order", .trusted) { $0.extensions.reverse() },
        everywhere("a subject key identifier of 2,000 bytes", .trusted) {
            $0.set(.subjectKeyIdentifier([UInt8](repeating: 7, count: 2_000)))
        },
        everywhere("an authority key identifier without any field", .trusted) { $0.set(.authorityKeyIdentifier(nil)) },
        everywhere("an authority key identifier with issuer and serial number", .trusted) {
            $0.set(.authorityKeyIdentifier([9], issuer: "Nobody", serial: [9]))
        },
    ].flatMap(\.self)

    @Test(arguments: known) func whatIsKnownMayBeCritical(situation: Situation) { expectVerdict(situation) }

    static let twice: [Situation] = [
        everywhere(
            "keyUsage twice", .certificateMalformed, change: doubled(.keyUsage(.digitalSignature, .keyCertSign))),
        everywhere("extendedKeyUsage twice", .certificateMalformed, change: doubled(.extKeyUsage(OID.clientAuth))),
        everywhere(
            "basicConstraints twice", .certificateMalformed, .usageNotAllowed, change: doubled(.basicConstraints())),
        everywhere("subjectAltName twice", .certificateMalformed, change: doubled(.subjectAltName(.dns("a.test")))),
        everywhere(
            "nameConstraints twice", .certificateMalformed,
            change: doubled(.nameConstraints(permitted: [.email("a.test")]))),
        everywhere("subjectKeyIdentifier twice", .certificateMalformed, change: doubled(.subjectKeyIdentifier([1]))),
        everywhere(
            "authorityKeyIdentifier twice", .certificateMalformed, change: doubled(.authorityKeyIdentifier([1]))),
        everywhere(
            "certificatePolicies twice", .certificateMalformed, change: doubled(.certificatePolicies(OID.anyPolicy))),
        everywhere("one extension twice, once critical", .certificateMalformed) {
            $0.extensions += [.unknown(critical: false), .unknown(critical: true)]
        },
    ].flatMap(\.self)

    @Test(arguments: twice) func noExtensionStandsTwice(situation: Situation) { expectVerdict(situation) }

    private static func version(_ number: Int) -> [UInt8] { DER.explicit(0, DER.integer(number)) }

    static let versions: [Situation] = [
        Situation("version 1 without extensions", .trusted) { world(device: { $0.makeVersion1() }) },
        Situation("version 1 written out", .trusted) {
            world(device: {
                $0.makeVersion1()
                $0.version = version(0)
            })
        },
        Situation("version 1 with extensions", .certificateMalformed) { world(device: { $0.version = [] }) },
        Situation("version 1 written out, with extensions", .certificateMalformed) {
            world(device: { $0.version = version(0) })
        },
        Situation("version 2 without extensions", .trusted) {
            world(device: {
                $0.makeVersion1()
                $0.version = version(1)
            })
        },
        Situation("version 2 with unique identifiers", .trusted) {
            world(device: {
                $0.makeVersion1()
                $0.version = version(1)
                $0.uniqueIdentifiers = DER.implicit(1, [0, 1]) + DER.implicit(2, [0, 2])
            })
        },
        Situation("version 2 with extensions", .certificateMalformed) { world(device: { $0.version = version(1) }) },
        Situation("version 3 with unique identifiers", .trusted) {
            world(device: { $0.uniqueIdentifiers = DER.implicit(1, [0, 1]) + DER.implicit(2, [0, 2]) })
        },
        Situation("version 1 with unique identifiers", .certificateMalformed) {
            world(device: {
                $0.makeVersion1()
                $0.uniqueIdentifiers = DER.implicit(1, [0, 1])
            })
        },
        Situation("version 4", .certificateMalformed) { world(device: { $0.version = version(3) }) },
        Situation("version below zero", .certificateMalformed) { world(device: { $0.version = version(-1) }) },
        Situation("intermediate of version 4", .certificateMalformed) {
            world(intermediate: { $0.version = version(3) })
        },
        Situation("an extensions field without extensions", .certificateMalformed) {
            world(device: { $0.extensionsField = DER.explicit(3, DER.sequence()) })
        },
    ]

    @Test(arguments: versions) func aVersionHasItsFields(situation: Situation) { expectVerdict(situation) }

    static let serialNumbers: [Situation] =
        [
            everywhere("serial number 0", .trusted) { $0.serial = [0] },
            everywhere("serial number of 20 bytes", .trusted) { $0.serial = [UInt8](repeating: 0x7F, count: 20) },
            everywhere("serial number of 128 bytes", .trusted) { $0.serial = [UInt8](repeating: 0x7F, count: 128) },
            everywhere("serial number of 128 bytes behind a zero", .trusted) {
                $0.serial = [0] + [UInt8](repeating: 0xFF, count: 128)
            },
            everywhere("serial number of 129 bytes", .certificateMalformed) {
                $0.serial = [UInt8](repeating: 0x7F, count: 129)
            },
        ].flatMap(\.self) + [
            Situation("negative serial number of a device", .trusted) { world(device: { $0.serial = [0xFF] }) },
            Situation("negative serial number of 128 bytes", .trusted) {
                world(device: { $0.serial = [0x80] + [UInt8](repeating: 0, count: 127) })
            },
            Situation("negative serial number of an intermediate", .trusted) {
                world(intermediate: { $0.serial = [0x80] })
            },
            Situation("padded serial number", .certificateMalformed) { world(device: { $0.serial = [0, 1] }) },
            Situation("padded negative serial number", .certificateMalformed) {
                world(device: { $0.serial = [0xFF, 0x80] })
            },
            Situation("serial number without bytes", .certificateMalformed) { world(device: { $0.serial = [] }) },
        ]

    @Test(arguments: serialNumbers) func aSerialNumberMayBeOfAnyKindButNotOfAnyLength(situation: Situation) {
        expectVerdict(situation)
    }

    static let elsewhere: [Situation] = [
        Situation("a certificate beside the path with an unknown critical extension", .trusted) {
            beside { $0.set(.unknown(critical: true)) }
        },
        Situation("a certificate beside the path with an extension twice", .trusted) {
            beside { $0.extensions += [.unknown(critical: false), .unknown(critical: false)] }
        },
        Situation("a certificate beside the path that has expired", .trusted) { beside { $0.setValidity(0, 1) } },
        Situation("a certificate beside the path signed with MD5", .trusted) {
            let root = Entity.root()
            let middle = root.authority(key: .p256(2))
            let old = Entity.root("Old", key: .rsa1024) { $0.scheme = .rsa(.md5) }
            return World(root, chain: [middle.device(), old, middle])
        },
        Situation("bytes beside the path that are no certificate", .certificateMalformed) {
            let root = Entity.root()
            var world = World(root, chain: [root.device()])
            world.chain.append([1, 2, 3])
            return world
        },
        Situation("an element without bytes beside the path", .certificateMalformed) {
            let root = Entity.root()
            var world = World(root, chain: [root.device()])
            world.chain.append([])
            return world
        },
        Situation("a certificate beside the path with a byte after its end", .certificateMalformed) {
            beside { $0.changeCertificate = { $0 + [0] } }
        },
        Situation("a device certificate with a byte after its end", .certificateMalformed) {
            world(device: { $0.changeCertificate = { $0 + [0] } })
        },
        Situation("an intermediate with a byte after its end", .certificateMalformed) {
            world(intermediate: { $0.changeCertificate = { $0 + [0] } })
        },
    ]

    private static func beside(_ change: @escaping Change) -> World {
        let root = Entity.root()
        let middle = root.authority(key: .p256(2))
        let stranger = root.authority("Stranger", key: .p256(3), changing: change)
        return World(root, chain: [middle.device(), stranger, middle])
    }

    @Test(arguments: elsewhere) func aCertificateBesideThePathOnlyHasToBeOne(situation: Situation) {
        expectVerdict(situation)
    }
}
