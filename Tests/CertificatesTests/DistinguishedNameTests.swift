import Certificates
import TestPKI
import Testing

/// Names in text: RFC 4514, and nothing in them can forge a line.
@Suite struct DistinguishedNameTests {
    private static func subject(_ name: TestName) throws -> DistinguishedName {
        try Certificate(der: Entity.root().device { $0.subject = name.der }.der).subject
    }

    static let texts: [(TestName, String)] = [
        ("device", "CN=device"),
        (
            TestName(.printable(OID.country, "DE"), .utf8(OID.organization, "Acme"), .utf8(OID.commonName, "dev")),
            "CN=dev,O=Acme,C=DE"
        ),
        (TestName(.utf8(OID.commonName, "a,b")), "CN=a\\,b"),
        (TestName(.utf8(OID.commonName, "a+b\"c\\d<e>f;g")), "CN=a\\+b\\\"c\\\\d\\<e\\>f\\;g"),
        (TestName(.utf8(OID.commonName, "#a")), "CN=\\#a"),
        (TestName(.utf8(OID.commonName, " a ")), "CN=\\ a\\ "),
        (TestName(.utf8(OID.commonName, "Zürich")), "CN=Zürich"),
        (TestName(.bmp(OID.commonName, "Zürich")), "CN=Zürich"),
        (.empty, ""),
    ]

    @Test(arguments: texts) func aNameIsWrittenAsRFC4514Says(name: TestName, text: String) throws {
        #expect(try Self.subject(name).description == text)
    }

    @Test func theAttributesOfAPartAreJoinedByPlus() throws {
        let name = TestName(parts: [[.utf8(OID.commonName, "a"), .utf8(OID.organization, "b")]])
        let text = try Self.subject(name).description
        #expect(text == "CN=a+O=b" || text == "O=b+CN=a")
    }

    static let hostile: [TestName] = [
        "a\nforged", "a\r\nforged", "a\u{0}b", "\u{1B}[31mred", "\u{7F}", "\u{85}", "\u{9B}31m", "a\u{2028}b",
        "\u{202E}evil", TestName(.init(OID.commonName, tag: 0x0C, [0x0A, 0xFF, 0x00])),
        TestName(.init(OID.commonName, tag: 0x1E, [0, 10, 0])), TestName(.bmp(OID.commonName, "a\nb")),
        TestName(.init("1.2.3.4", tag: 0x0C, [10])), TestName(.init(OID.serialNumber, tag: 2, [10])),
    ]

    @Test(arguments: hostile) func aNameCannotForgeALine(name: TestName) throws {
        let subject = try Self.subject(name)
        for text in [subject.description, subject.displayCommonName] {
            for scalar in text.unicodeScalars {
                #expect(scalar.value >= 0x20 && !(0x7F...0x9F).contains(scalar.value), "\(text.debugDescription)")
                #expect(
                    scalar.value != 0x2028 && scalar.value != 0x2029 && scalar.value != 0x202E,
                    "\(text.debugDescription)")
            }
        }
    }

    static let several = [
        TestName(parts: [[.utf8(OID.commonName, "a"), .utf8(OID.organization, "b")]]),
        TestName(parts: [
            [.utf8(OID.organization, "O")], [.utf8(OID.commonName, "Å"), .printable(OID.serialNumber, "1")],
        ]),
        TestName(parts: [
            [.printable(OID.commonName, "A  b"), .utf8(OID.organization, "B")], [.utf8(OID.country, "DE")],
        ]),
        TestName(.utf8(OID.commonName, String(repeating: "й", count: 900)), .utf8(OID.organization, "й")),
        TestName(.utf8(OID.organization, String(repeating: "й", count: 700)), .utf8(OID.commonName, "Й")),
    ]

    @Test(arguments: texts.map(\.0) + hostile + several)
    func aNormalizedNameHasAPartForEachOfItsPartsAndBeginsWithThoseOfItsSuperiors(name: TestName) throws {
        let subject = try Self.subject(name)
        let parts = subject.normalizedSets
        #expect(parts.count == name.parts.count)
        for count in 0...parts.count {
            let superior = try Self.subject(TestName(parts: Array(name.parts.prefix(count))))
            // Each part is normalized as if it stood alone, as long as the budget lasts.
            #expect(parts.starts(with: superior.normalizedSets))
            #expect(subject.normalized.starts(with: superior.normalized))
        }
    }

    @Test func theAttributesOfAPartAreInOrderOnceTheyAreFolded() throws {
        // DER puts capitals first: the order of the bytes is not that of what is compared.
        let one = TestName(parts: [[.utf8(OID.commonName, "a"), .utf8(OID.commonName, "B")]])
        let other = TestName(parts: [[.utf8(OID.commonName, "A"), .utf8(OID.commonName, "b")]])
        let third = TestName(parts: [[.utf8(OID.commonName, "A"), .utf8(OID.commonName, "c")]])
        #expect(try Self.subject(one).normalized == Self.subject(other).normalized)
        #expect(try Self.subject(one).normalized != Self.subject(third).normalized)
    }

    @Test func commonNamesAreFoundInTheirOrder() throws {
        let name = TestName(
            .utf8(OID.commonName, "one"), .utf8(OID.organization, "x"), .init(OID.commonName, tag: 2, [1]),
            .printable(OID.commonName, "two"))
        #expect(try Self.subject(name).commonNames == ["one", nil, "two"])
        #expect(try Self.subject(TestName(.utf8(OID.organization, "x"))).commonNames == [])
    }

    static let sameNames: [(TestName, TestName)] = [
        (TestName(.utf8(OID.commonName, "A  b ")), TestName(.printable(OID.commonName, "a B"))),
        (TestName(.bmp(OID.commonName, "ZÜRICH")), TestName(.utf8(OID.commonName, "zürich"))),
    ]

    @Test(arguments: sameNames) func sameNamesAreNormalizedToTheSameBytes(one: TestName, other: TestName) throws {
        #expect(try Self.subject(one).normalized == Self.subject(other).normalized)
        #expect(try Self.subject(one).isWithin(Self.subject(other)))
    }

    static let differentNames: [(TestName, TestName)] = [
        ("a", "b"), ("ab", "a b"), ("a", TestName(.utf8(OID.organization, "a"))), ("a", .empty),
        (
            TestName(.utf8(OID.commonName, "a"), .utf8(OID.commonName, "b")),
            TestName(.utf8(OID.commonName, "b"), .utf8(OID.commonName, "a"))
        ),
    ]

    @Test(arguments: differentNames) func differentNamesAreNormalizedToDifferentBytes(one: TestName, other: TestName)
        throws
    {
        #expect(try Self.subject(one).normalized != Self.subject(other).normalized)
    }

    @Test func aNameLiesWithinItsOwnBeginnings() throws {
        let country = TestName(.printable(OID.country, "DE"))
        let organization = country.adding(.utf8(OID.organization, "Acme"))
        #expect(try Self.subject(organization).isWithin(Self.subject(country)))
        #expect(try Self.subject(organization).isWithin(Self.subject(.empty)))
        #expect(try !Self.subject(country).isWithin(Self.subject(organization)))
        #expect(try !Self.subject(TestName(.printable(OID.country, "DEX"))).isWithin(Self.subject(country)))
    }
}
