import Certificates
import TestPKI
import Testing

/// Long texts in names are normalized piece by piece: neither does that change what they are compared as, nor is one slow.
@Suite struct LongNameTests {
    private func normalized(_ attribute: TestName.Attribute) throws -> [UInt8] {
        try Certificate(der: Entity.root(TestName(attribute)).der).subject.normalized
    }

    private static let organization = TestPKI.OID.organization

    /// The same text in two ways of writing it, some hundred times in a row.
    @Test(
        arguments: [
            ("\u{E9}", "e\u{301}"), ("\u{1E69}", "s\u{307}\u{323}"), ("\u{AC01}", "\u{1100}\u{1161}\u{11A8}"),
            ("\u{3C3}", "\u{3A3}"), ("\u{439}", "\u{438}\u{306}"), ("\u{FF76}\u{FF9E}", "\u{30AC}"),
            ("\u{390}", "\u{3B9}\u{308}\u{301}"), ("\u{FDFA}", "\u{FDFA}\u{200B}"),
        ], [1, 63, 64, 65, 90])
    func longTextsAreEqualHoweverTheyAreComposed(pair: (String, String), count: Int) throws {
        // A letter after every thirty, so that no row of parts is longer than any text is.
        func text(_ part: String) -> String {
            (0..<count).map { part + ($0 % 30 == 29 ? "a" : "") }.joined()
        }
        let one = try normalized(.utf8(Self.organization, text(pair.0)))
        let areEqual = try normalized(.utf8(Self.organization, text(pair.1))) == one
        #expect(areEqual)
        let isLonger = try normalized(.utf8(Self.organization, text(pair.0) + "b")) != one
        #expect(isLonger)
    }

    @Test func everyLatinLetterIsComparedAsAloneAndAmongOthers() throws {
        for value in UInt32(0x80)..<0x300 {
            let scalar = try #require(Unicode.Scalar(value))
            let latin = try normalized(.utf8(Self.organization, "a\(scalar)b")).dropFirst(Self.headerBytes)
            // A Greek letter takes the text another way; what it is then is the same but for that letter.
            let mixed = try normalized(.utf8(Self.organization, "a\(scalar)b\u{3B1}")).dropFirst(Self.headerBytes)
            #expect(mixed.elementsEqual(latin + "\u{3B1}".utf8), "\(value)")
        }
    }

    /// The sizes, the type and the tag that stand before the text of a name of one attribute.
    private static let headerBytes = 16

    /// RFC 5280 appendix A: no attribute of a name is longer than 128 characters, but for some that nobody uses.
    @Test func whatIsLongerThanAnyNameMayBeIsComparedAsItIs() throws {
        let long = String(repeating: "\u{44F}", count: 2_000)
        let one = try normalized(.utf8(Self.organization, long))
        #expect(try normalized(.bmp(Self.organization, long)) == one, "the string type does not count")
        #expect(try normalized(.utf8(Self.organization, long.uppercased())) != one)
        let short = String(long.prefix(500))
        let folded = try normalized(.utf8(Self.organization, short))
        #expect(try normalized(.bmp(Self.organization, short.uppercased())) == folded)
    }

    static let large: [(String, TestName.Attribute)] = [
        ("composed of three", .bmp(organization, String(repeating: "\u{390}", count: 32_000))),
        ("compatibility forms of 18 letters", .bmp(organization, String(repeating: "\u{FDFA}", count: 32_000))),
        ("accents only", .bmp(organization, String(repeating: "\u{301}", count: 32_000))),
        ("accents out of order", .bmp(organization, String(repeating: "\u{345}\u{301}\u{316}", count: 10_000))),
        ("parts of syllables", .bmp(organization, String(repeating: "\u{1100}\u{1161}", count: 16_000))),
        ("no pieces at all", .universal(organization, String(repeating: "\u{1D15E}", count: 16_000))),
        ("Latin-1", .teletex(organization, [UInt8](repeating: 0xDF, count: 64_000))),
        ("control characters", .utf8(organization, String(repeating: "\u{1}", count: 64_000))),
    ]

    @Test(arguments: large) func aNameOfAnyTextIsComparedAndWrittenAtOnce(name: String, attribute: TestName.Attribute)
        throws
    {
        let subject = try Certificate(der: Entity.root(TestName(attribute)).der).subject
        let time = ContinuousClock().measure {
            _ = subject.normalized
            _ = subject.description
            _ = subject.displayCommonName
        }
        // Some ten milliseconds where it counts; this is a debug build on a busy machine.
        #expect(time < .seconds(3), "\(name): \(time)")
    }

    @Test func anEndlessObjectIdentifierIsWrittenAsItsBytes() throws {
        let type = [UInt8](repeating: 1, count: 200)
        let attribute = DER.sequence(DER.element(6, type), DER.utf8String("a"))
        let certificate = try Certificate(
            der: Entity.root { $0.subject = DER.sequence(DER.unsortedSet(of: [attribute])) }.der)
        #expect(certificate.subject.description == "oid:" + String(repeating: "01", count: 200) + "=#0c0161")
    }
}
