import TestPKI
import Testing
import Verification

/// Which names are the same name (RFC 5280 section 7.1).
@Suite struct NameChainingTests {
    /// An anchor of one name, and a device certificate whose issuer field says the other.
    private static func world(anchor: [UInt8], issuer: [UInt8]) -> World {
        let root = Entity.root { recipe in
            recipe.subject = anchor
            recipe.issuer = anchor
        }
        let device = root.device { $0.issuer = issuer }
        return World(root, chain: [device])
    }

    private static func same(_ name: String, _ one: TestName, _ other: TestName) -> [Situation] {
        [
            Situation(name, .trusted) { world(anchor: one.der, issuer: other.der) },
            Situation(name + ", the other way round", .trusted) { world(anchor: other.der, issuer: one.der) },
        ]
    }

    private static func different(_ name: String, _ one: TestName, _ other: TestName) -> [Situation] {
        [
            Situation(name, .caUnknown, .chainInvalid) { world(anchor: one.der, issuer: other.der) },
            Situation(name + ", the other way round", .caUnknown, .chainInvalid) {
                world(anchor: other.der, issuer: one.der)
            },
        ]
    }

    private static func cn(_ attribute: (String) -> TestName.Attribute) -> TestName {
        TestName(attribute(OID.commonName))
    }

    static let sameNames: [Situation] = [
        same("UTF8String and PrintableString", cn { .utf8($0, "Acme CA") }, cn { .printable($0, "Acme CA") }),
        same("UTF8String and IA5String", cn { .utf8($0, "Acme CA") }, cn { .ia5($0, "Acme CA") }),
        same("UTF8String and BMPString", cn { .utf8($0, "Acme CA") }, cn { .bmp($0, "Acme CA") }),
        same("UTF8String and UniversalString", cn { .utf8($0, "Acme CA") }, cn { .universal($0, "Acme CA") }),
        same("UTF8String and TeletexString", cn { .utf8($0, "Acme CA") }, cn { .teletex($0, Array("Acme CA".utf8)) }),
        same(
            "BMPString and UniversalString beyond ASCII", cn { .bmp($0, "Zürich ☂") }, cn { .universal($0, "Zürich ☂") }
        ),
        same("UTF8String and BMPString beyond ASCII", cn { .utf8($0, "Zürich") }, cn { .bmp($0, "Zürich") }),
        same("upper and lower case", cn { .utf8($0, "ACME ca") }, cn { .utf8($0, "Acme CA") }),
        same("upper and lower case of other types", cn { .printable($0, "ACME ca") }, cn { .utf8($0, "Acme CA") }),
        same("upper and lower case beyond ASCII", cn { .utf8($0, "ZÜRICH Ж") }, cn { .utf8($0, "zürich ж") }),
        same("several blanks inside", cn { .utf8($0, "Acme   CA") }, cn { .utf8($0, "Acme CA") }),
        same("blanks around", cn { .utf8($0, "  Acme CA ") }, cn { .utf8($0, "Acme CA") }),
        same("composed and decomposed letters", cn { .utf8($0, "Z\u{FC}rich") }, cn { .utf8($0, "Zu\u{308}rich") }),
        same(
            "a domain component in another case",
            TestName(.ia5(OID.domainComponent, "Example"), .ia5(OID.domainComponent, "COM")),
            TestName(.ia5(OID.domainComponent, "example"), .ia5(OID.domainComponent, "com"))),
        same(
            "an e-mail attribute in another case", TestName(.ia5(OID.emailAddress, "CA@Example.com")),
            TestName(.ia5(OID.emailAddress, "ca@example.com"))),
        same(
            "several attributes, each in its part",
            TestName(.printable(OID.country, "DE"), .utf8(OID.organization, "Acme"), .utf8(OID.commonName, "CA")),
            TestName(
                .printable(OID.country, "de"), .printable(OID.organization, "ACME"), .printable(OID.commonName, "ca"))),
        same(
            "a part of several attributes whose order in DER differs",
            TestName(parts: [[.utf8(OID.commonName, "a  b"), .utf8(OID.organization, "zzz")]]),
            TestName(parts: [[.utf8(OID.commonName, "a b"), .utf8(OID.organization, "zzz")]])),
        same(
            "a part of two attributes of one type",
            TestName(parts: [[.utf8(OID.organizationalUnit, "one"), .utf8(OID.organizationalUnit, "TWO")]]),
            TestName(parts: [[.printable(OID.organizationalUnit, "ONE"), .utf8(OID.organizationalUnit, "two")]])),
        same(
            "an attribute that is no text, byte by byte", TestName(.init(OID.serialNumber, tag: 2, [1, 2])),
            TestName(.init(OID.serialNumber, tag: 2, [1, 2]))),
        same(
            "bytes that are no UTF-8", cn { .init($0, tag: 0x0C, [0x41, 0xFF, 0xC0]) },
            cn { .init($0, tag: 0x0C, [0x41, 0xFF, 0xC0]) }),
        same(
            "characters that PrintableString does not have", cn { .printable($0, "ca@*_&") },
            cn { .printable($0, "ca@*_&") }),
        same(
            "a BMPString of odd length", cn { .init($0, tag: 0x1E, [0, 65, 0]) },
            cn { .init($0, tag: 0x1E, [0, 65, 0]) }),
        same("an empty value", cn { .utf8($0, "") }, cn { .utf8($0, "") }),
        same(
            "a very long name", cn { .utf8($0, String(repeating: "x", count: 4_000)) },
            cn { .utf8($0, String(repeating: "X", count: 4_000)) }),
    ].flatMap(\.self)

    static let differentNames: [Situation] = [
        different("another text", "Acme CA", "Acme CB"),
        different("blanks inside against none", "Acme CA", "AcmeCA"),
        different("a beginning", "Acme", "Acme CA"),
        different("NUL and more after the text", "Acme", "Acme\u{0}x"),
        different(
            "another attribute type", TestName(.utf8(OID.commonName, "Acme")), TestName(.utf8(OID.organization, "Acme"))
        ),
        different(
            "the parts in another order", TestName(.utf8(OID.organization, "a"), .utf8(OID.commonName, "b")),
            TestName(.utf8(OID.commonName, "b"), .utf8(OID.organization, "a"))),
        different(
            "two parts against one part of two attributes",
            TestName(.utf8(OID.organization, "a"), .utf8(OID.commonName, "b")),
            TestName(parts: [[.utf8(OID.organization, "a"), .utf8(OID.commonName, "b")]])),
        different(
            "one part more", TestName(.utf8(OID.organization, "a"), .utf8(OID.commonName, "b")),
            TestName(.utf8(OID.organization, "a"))),
        different(
            "one attribute more in a part",
            TestName(parts: [[.utf8(OID.organization, "a"), .utf8(OID.commonName, "b")]]),
            TestName(parts: [[.utf8(OID.organization, "a")]])),
        different(
            "the same attribute once and twice in a part",
            TestName(parts: [[.utf8(OID.organization, "a"), .printable(OID.organization, "a")]]),
            TestName(parts: [[.utf8(OID.organization, "a")]])),
        different(
            "other bytes that are no text", TestName(.init(OID.serialNumber, tag: 2, [1, 2])),
            TestName(.init(OID.serialNumber, tag: 2, [1, 3]))),
        different(
            "other bytes that are no UTF-8", TestName(.init(OID.commonName, tag: 0x0C, [0x41, 0xFF])),
            TestName(.init(OID.commonName, tag: 0x0C, [0x41, 0xFE]))),
        different(
            "bytes that are no UTF-8 against the replacement character",
            TestName(.init(OID.commonName, tag: 0x0C, [0xFF])),
            "\u{FFFD}"),
        different(
            "a value that would end its neighbour", TestName(.utf8(OID.organization, "a\u{0}CN=b")),
            TestName(.utf8(OID.organization, "a"), .utf8(OID.commonName, "b"))),
        different("letters that only look alike", "Acme", "\u{410}cme"),
        different(
            "BMPString bytes that would be the same as UTF8String",
            TestName(.init(OID.commonName, tag: 0x1E, Array("Acme".utf8))),
            "Acme"),
    ].flatMap(\.self)

    @Test(arguments: sameNames) func theSameNameInOtherWordsChains(situation: Situation) { expectVerdict(situation) }

    @Test(arguments: differentNames) func anotherNameDoesNotChain(situation: Situation) { expectVerdict(situation) }

    @Test func aDeviceWithoutSubjectIsTrusted() {
        expectVerdict(
            Situation("no subject", .trusted) {
                let root = Entity.root()
                let device = root.device(.empty) { $0.set(.subjectAltName(.dns("device.example"), critical: true)) }
                return World(root, chain: [device])
            })
    }

    /// RFC 5280 section 4.1.2.4: an issuer has a name, and so has a CA (section 4.1.2.6).
    @Test func anIssuerWithoutANameIsNone() {
        expectVerdict(
            Situation("an anchor without a name", .certificateMalformed, .chainInvalid, .caUnknown) {
                let root = Entity.root(.empty)
                return World(root, chain: [root.device()])
            })
        expectVerdict(
            Situation("an intermediate without a name", .certificateMalformed, .chainInvalid, .caUnknown) {
                let root = Entity.root()
                let middle = root.authority(.empty, key: .p256(2))
                return World(root, chain: [middle.device(), middle])
            })
    }

    @Test func aNameWithinTheChainFollowsTheSameRules() {
        expectVerdict(
            Situation("intermediate named in another case", .trusted) {
                let root = Entity.root()
                let middle = root.authority("Middle  CA", key: .p256(2))
                let device = middle.device { $0.issuer = TestName(.printable(OID.commonName, "MIDDLE CA")).der }
                return World(root, chain: [device, middle])
            })
    }

    @Test func anAttributeTypeIsNotTakenForItsPrefix() {
        expectVerdict(
            Situation("attribute types of one beginning", .caUnknown, .chainInvalid) {
                Self.world(anchor: TestName(.utf8("2.5.4.3", "x")).der, issuer: TestName(.utf8("2.5.4.3.1", "x")).der)
            })
    }
}
