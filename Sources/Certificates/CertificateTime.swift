/// The validity period of a certificate (RFC 5280 section 4.1.2.5). Both ends belong to it.
public struct ValidityPeriod: Hashable, Sendable {
    public var notBefore: Instant
    public var notAfter: Instant

    /// Both ends.
    public init(notBefore: Instant, notAfter: Instant) {
        self.notBefore = notBefore
        self.notAfter = notAfter
    }
}

extension DERReader {
    /// A Time: `YYMMDDHHMMSSZ` as UTCTime, `YYYYMMDDHHMMSSZ` as GeneralizedTime (RFC 5280 sections 4.1.2.5.1 and .2).
    ///
    /// GeneralizedTime before 2050 is taken: what it means is not in doubt.
    mutating func time(_ bytes: Span<UInt8>) throws(CertificateError) -> Instant {
        let element = try next(bytes)
        let yearDigits: Int
        switch element.tag {
        case DERTag.utcTime: yearDigits = 2
        case DERTag.generalizedTime: yearDigits = 4
        default: throw error(.unexpectedTag, at: element.start)
        }
        let invalid = error(.time, at: element.start)
        guard element.content.count == yearDigits + 11, bytes[element.content.upperBound - 1] == UInt8(ascii: "Z")
        else { throw invalid }
        var offset = element.content.lowerBound
        func number(_ digits: Int) -> Int? {
            var value = 0
            for position in offset..<offset + digits {
                guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[position]) else { return nil }
                value = value * 10 + Int(bytes[position] - UInt8(ascii: "0"))
            }
            return value
        }
        var fields: [6 of Int] = [0, 0, 0, 0, 0, 0]
        for index in 0..<6 {
            let digits = index == 0 ? yearDigits : 2
            guard let value = number(digits) else { throw invalid }
            fields[index] = value
            offset += digits
        }
        var year = fields[0]
        if yearDigits == 2 { year += year >= 50 ? 1900 : 2000 }
        guard
            let instant = Instant(
                year: year, month: fields[1], day: fields[2], hour: fields[3], minute: fields[4], second: fields[5])
        else { throw invalid }
        return instant
    }
}

extension Instant {
    /// A moment of the proleptic Gregorian calendar, UTC; nil where there is no such day or time.
    public init?(year: Int, month: Int, day: Int, hour: Int, minute: Int, second: Int) {
        guard (0...9999).contains(year), (1...12).contains(month), (0...23).contains(hour),
            (0...59).contains(minute), (0...59).contains(second)
        else { return nil }
        let isLeap = year.isMultiple(of: 4) && (!year.isMultiple(of: 100) || year.isMultiple(of: 400))
        let lastDay =
            switch month {
            case 2: isLeap ? 29 : 28
            case 4, 6, 9, 11: 30
            default: 31
            }
        guard (1...lastDay).contains(day) else { return nil }
        // Days since 1970-01-01, with years that begin in March: February's length then matters last.
        let shifted = month <= 2 ? year - 1 : year
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        let days = era * 146_097 + dayOfEra - 719_468
        self.init(secondsSince1970: Int64(days * 86_400 + hour * 3_600 + minute * 60 + second))
    }
}
