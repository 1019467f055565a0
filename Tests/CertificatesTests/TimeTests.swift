import Certificates
import TestPKI
import Testing

/// Times are written as RFC 5280 section 4.1.2.5 says, and in no other way.
@Suite struct TimeTests {
    private static func certificate(notBefore: [UInt8], notAfter: [UInt8]? = nil) -> [UInt8] {
        Entity.root().device { recipe in
            recipe.notBefore = notBefore
            if let notAfter { recipe.notAfter = notAfter }
        }.der
    }

    static let good: [([UInt8], Int64)] = [
        (DER.utcTime("700101000000Z"), 0),
        (DER.utcTime("691231235959Z"), -1),
        (DER.utcTime("500101000000Z"), TestTime.seconds(1950, 1, 1)),
        (DER.utcTime("491231235959Z"), TestTime.seconds(2049, 12, 31, 23, 59, 59)),
        (DER.utcTime("000229000000Z"), TestTime.seconds(2000, 2, 29)),
        (DER.utcTime("240229120000Z"), TestTime.seconds(2024, 2, 29, 12)),
        (DER.generalizedTime("20500101000000Z"), TestTime.seconds(2050, 1, 1)),
        (DER.generalizedTime("20200101000000Z"), TestTime.seconds(2020, 1, 1)),
        (DER.generalizedTime("19000101000000Z"), TestTime.seconds(1900, 1, 1)),
        (DER.generalizedTime("24000229235959Z"), TestTime.seconds(2400, 2, 29, 23, 59, 59)),
        (DER.generalizedTime("99991231235959Z"), 253_402_300_799),
        (DER.generalizedTime("00010101000000Z"), TestTime.seconds(1, 1, 1)),
    ]

    @Test(arguments: good) func aTimeIsReadToTheSecond(time: [UInt8], seconds: Int64) throws {
        let first = try Certificate(der: Self.certificate(notBefore: time))
        #expect(first.notBefore.secondsSince1970 == seconds)
        let last = try Certificate(der: Self.certificate(notBefore: time, notAfter: time))
        #expect(last.notAfter.secondsSince1970 == seconds)
    }

    static let bad: [[UInt8]] = [
        DER.utcTime("2001010000Z"),
        DER.utcTime("200101000000"),
        DER.utcTime("200101000000z"),
        DER.utcTime("200101000000+0000"),
        DER.utcTime("200101000000-0100"),
        DER.utcTime("20010100000000Z"),
        DER.utcTime("200101000000.0Z"),
        DER.utcTime("200001000000Z"),
        DER.utcTime("201301000000Z"),
        DER.utcTime("200100000000Z"),
        DER.utcTime("200132000000Z"),
        DER.utcTime("200431000000Z"),
        DER.utcTime("210229000000Z"),
        DER.utcTime("200101240000Z"),
        DER.utcTime("200101006000Z"),
        DER.utcTime("200101000060Z"),
        DER.utcTime("200101000061Z"),
        DER.utcTime("2 0101000000Z"),
        DER.utcTime("-10101000000Z"),
        DER.utcTime("+10101000000Z"),
        DER.utcTime("2001010000 0Z"),
        DER.utcTime(""),
        DER.utcTime("Z"),
        DER.utcTime("200101000000Z\u{0}"),
        DER.utcTime("2001010000\u{B2}\u{B2}Z"),
        DER.generalizedTime("202001010000Z"),
        DER.generalizedTime("20200101000000"),
        DER.generalizedTime("20200101000000.5Z"),
        DER.generalizedTime("20200101000000,5Z"),
        DER.generalizedTime("20200101000000.Z"),
        DER.generalizedTime("20200101000000+0000"),
        DER.generalizedTime("2020010100Z"),
        DER.generalizedTime("21000229000000Z"),
        DER.generalizedTime("19000229000000Z"),
        DER.generalizedTime("20201301000000Z"),
        DER.generalizedTime("20200101240000Z"),
        DER.generalizedTime("20161231235960Z"),
        DER.generalizedTime("120200101000000Z"),
        DER.generalizedTime("202001010000000Z"),
        DER.generalizedTime(" 0200101000000Z"),
        DER.element(0x13, Array("200101000000Z".utf8)),
        DER.element(0x37, DER.utcTime("200101000000Z")),
        DER.integer(0),
        DER.null,
        [0x17, 0x80] + Array("200101000000Z".utf8) + [0, 0],
        DER.element(0x17, Array("200101000000Z".utf8), lengthBytes: 1),
    ]

    @Test(arguments: bad) func aTimeInAnotherFormIsRefused(time: [UInt8]) {
        for der in [
            Self.certificate(notBefore: time),
            Self.certificate(notBefore: DER.utcTime("200101000000Z"), notAfter: time),
        ] {
            do {
                let certificate = try Certificate(der: der)
                Issue.record("\(time) was read as \(certificate.validity)")
            } catch {
                #expect(error.field == .validity, "\(error)")
            }
        }
    }

    @Test func theFirstAndTheLastSecondOfEveryMonthAreThemselves() throws {
        // One certificate for each month: its first and its last day.
        for month in 0..<(12 * 12) {
            let year = Int64(1996 + month / 12)
            let number = Int64(month % 12 + 1)
            let next = number == 12 ? TestTime.seconds(year + 1, 1, 1) : TestTime.seconds(year, number + 1, 1)
            let first = TestTime.seconds(year, number, 1)
            let certificate = try Certificate(
                der: Self.certificate(notBefore: DER.time(first), notAfter: DER.time(next - 1)))
            #expect(certificate.notBefore.secondsSince1970 == first)
            #expect(certificate.notAfter.secondsSince1970 == next - 1)
        }
    }
}
