import Certificates
import TestPKI
import Testing

/// Serial numbers of any size and sign, and how people write them.
@Suite struct SerialNumberTests {
    private static func read(_ contents: [UInt8]) throws -> SerialNumber {
        try Certificate(der: Entity.root().device { $0.serial = contents }.der).serialNumber
    }

    static let readings: [([UInt8], String)] = [
        ([0], "00"), ([1], "01"), ([0x7F], "7f"), ([0, 0x80], "80"), ([0, 0xFF], "ff"), ([1, 0], "0100"),
        ([0x0A, 0x1B], "0a1b"), ([0xFF], "-01"), ([0x80], "-80"), ([0xFF, 0x7F], "-81"), ([0xFF, 0], "-0100"),
        ([0x80, 0], "-8000"),
    ]

    @Test(arguments: readings) func aSerialNumberIsTheNumberItIs(contents: [UInt8], text: String) throws {
        let serialNumber = try Self.read(contents)
        #expect(serialNumber.text == text)
        #expect(try SerialNumber(text: text) == serialNumber)
    }

    @Test func minusOneIsNot255() throws {
        #expect(try Self.read([0xFF]) != Self.read([0, 0xFF]))
    }

    @Test func thePaddingOfTheTopBitDoesNotCount() throws {
        #expect(try Self.read([0] + [UInt8](repeating: 0xFF, count: 128)).byteCount == 128)
        #expect(try Self.read([UInt8](repeating: 0x7F, count: 129)).byteCount == 129)
        #expect(try Self.read([0]).byteCount == 1)
    }

    static let writings: [(String, String)] = [
        ("0A1B", "0a1b"), ("0a:1b", "0a1b"), ("0a 1b", "0a1b"), ("0x0a1b", "0a1b"), ("0X0A1B", "0a1b"),
        ("serial=0A1B", "0a1b"), ("000a1b", "0a1b"), ("a1b", "0a1b"), ("0", "00"), ("00:00", "00"), ("-01", "-01"),
        ("-0x1", "-01"),
    ]

    @Test(arguments: writings) func aSerialNumberIsWrittenInManyWays(written: String, text: String) throws {
        #expect(try SerialNumber(text: written).text == text)
    }

    @Test(arguments: ["", "g", "0x", "0a1b!", "--1", "1-2", "serial=", "0a,1b", "\u{0}", "١"])
    func whatIsNoSerialNumberIsRefused(written: String) {
        #expect(throws: SerialNumberTextError.self) { try SerialNumber(text: written) }
    }

    static let beginnings: [(typed: String, serialNumber: String, isFound: Bool)] = [
        ("0a1", "0a12", true), ("a12", "0a12", true), ("0a12", "0a12", true), ("0A:12", "0a12", true),
        ("0a", "0a12", true), ("0a12", "0a1234", true), ("12", "0a12", false), ("0a13", "0a12", false),
        ("0a123", "0a12", false), ("-0a", "-0a12", true), ("0a", "-0a12", false), ("-0a", "0a12", false),
        ("00", "00", true), ("7f", "7f0000", true),
    ]

    @Test(arguments: beginnings.indices) func aSerialNumberIsFoundByItsBeginning(index: Int) throws {
        let (typed, text, isFound) = Self.beginnings[index]
        let serialNumber = try SerialNumber(text: text)
        #expect(try SerialNumberPrefix(text: typed).matches(serialNumber) == isFound, "\(typed), \(text)")
    }

    @Test func aWholeSerialNumberIsFoundByItself() throws {
        var generator = SeededGenerator(seed: TestSeed.start(otherwise: 1))
        for _ in 0..<500 {
            let serialNumber = SerialNumber(
                isNegative: generator.oneIn(4), magnitude: generator.bytes(1 + generator.below(20)))
            let text = serialNumber.text
            #expect(try SerialNumber(text: text) == serialNumber)
            for count in 1...text.utf8.count where text.prefix(count) != "-" {
                let prefix = try SerialNumberPrefix(text: String(text.prefix(count)))
                #expect(prefix.matches(serialNumber), "\(text.prefix(count)), \(text)")
                #expect(!prefix.isBehind(serialNumber), "\(text.prefix(count)), \(text)")
            }
        }
    }
}
