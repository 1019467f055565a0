/// A certificate's serial number (RFC 5280 section 4.1.2.2): an integer of any size and sign.
public struct SerialNumber: Hashable, Sendable {
    /// The registry takes serial numbers of up to this many bytes.
    public static let maximumByteCount = 128

    public let isNegative: Bool
    /// The absolute value, big-endian, without leading zeros; `[0]` for zero.
    public let magnitude: [UInt8]

    /// Leading zeros of the magnitude do not count, and zero has no sign.
    public init(isNegative: Bool, magnitude: [UInt8]) {
        let significant = magnitude.drop { $0 == 0 }
        self.magnitude = significant.isEmpty ? [0] : Array(significant)
        self.isNegative = isNegative && !significant.isEmpty
    }

    /// From the contents of a DER INTEGER: two's complement, big-endian.
    public init(derContents content: [UInt8]) {
        guard let first = content.first, first >= 0x80 else {
            self.init(isNegative: false, magnitude: content)
            return
        }
        var magnitude = content.map { ~$0 }
        for index in magnitude.indices.reversed() {
            magnitude[index] &+= 1
            if magnitude[index] != 0 { break }
        }
        // -2^(8n) overflows into one more byte.
        if magnitude.allSatisfy({ $0 == 0 }) { magnitude.insert(1, at: 0) }
        self.init(isNegative: true, magnitude: magnitude)
    }

    /// Bytes of the number itself: the 00 that DER puts before a set top bit does not count.
    public var byteCount: Int { magnitude.count }

    /// Lowercase hex, two digits a byte, no separators; `00` for zero, `-` before a negative number.
    public var text: String {
        (isNegative ? "-" : "") + Hex.text(magnitude)
    }
}

/// A text is no serial number.
public struct SerialNumberTextError: Error, Hashable, Sendable {
    /// The first character that does not belong, counted from 0; nil where there are no digits.
    public var offset: Int?
}

extension SerialNumber {
    /// A serial number as people write it: hex digits in either case, with `:` or blanks between them, `0x` or `serial=`
    /// before them, leading zeros, and `-` before a negative one.
    public init(text: String) throws(SerialNumberTextError) {
        let (isNegative, digits) = try Hex.digits(of: text)
        var nibbles = digits
        if !nibbles.count.isMultiple(of: 2) { nibbles.insert(0, at: 0) }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(nibbles.count / 2)
        for index in stride(from: 0, to: nibbles.count, by: 2) {
            bytes.append(nibbles[index] << 4 | nibbles[index + 1])
        }
        self.init(isNegative: isNegative, magnitude: bytes)
    }
}

/// A serial number or its beginning, as an operator types it.
///
/// What was typed may be the beginning of the text as it is listed (`0a1` finds `0a12`), or a whole number written with
/// fewer or more leading zeros than that (`a12` finds `0a12` alone).
public struct SerialNumberPrefix: Hashable, Sendable {
    /// Serial numbers, by magnitude, that begin with certain digits: a range in the order of their hex text.
    public struct Range: Hashable, Sendable {
        /// Magnitudes of the range are not below this one, in byte order.
        public let lowerBound: [UInt8]
        fileprivate let digits: [UInt8]
        fileprivate let isWhole: Bool

        /// Every serial number.
        public static let all = Range(lowerBound: [], digits: [], isWhole: false)

        /// Whether a non-negative serial number lies in the range.
        public func contains(_ serialNumber: SerialNumber) -> Bool {
            fits(serialNumber.magnitude)
        }

        fileprivate func fits(_ magnitude: [UInt8]) -> Bool {
            if isWhole { return magnitude == lowerBound }
            guard digits.count <= 2 * magnitude.count else { return false }
            for (index, digit) in digits.enumerated() {
                let byte = magnitude[index / 2]
                guard digit == (index.isMultiple(of: 2) ? byte >> 4 : byte & 15) else { return false }
            }
            return true
        }
    }

    /// Where to look, in ascending order, without overlap. Those of negative numbers look the same: the sign is apart.
    public let ranges: [Range]
    /// Bytes of the number that was typed, without leading zeros.
    public let byteCount: Int
    private let isNegative: Bool

    /// - Throws: ``SerialNumberTextError`` where the text holds something else than a serial number's digits.
    public init(text: String) throws(SerialNumberTextError) {
        let (isNegative, digits) = try Hex.digits(of: text)
        self.isNegative = isNegative
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            bytes.append(digits[index] << 4 | (index + 1 < digits.count ? digits[index + 1] : 0))
        }
        let beginning = Range(lowerBound: bytes, digits: digits, isWhole: false)
        let whole = try SerialNumber(text: text)
        let wholeRange = Range(lowerBound: whole.magnitude, digits: [], isWhole: true)
        byteCount = whole.byteCount
        if digits.count > 2, digits.starts(with: [0, 0]) {
            // No number of a list begins so: only a whole one with more zeros is meant.
            ranges = [wholeRange]
        } else if beginning.fits(whole.magnitude) {
            ranges = [beginning]
        } else {
            ranges =
                whole.magnitude.lexicographicallyPrecedes(bytes) ? [wholeRange, beginning] : [beginning, wholeRange]
        }
    }

    /// Whether a serial number is the one that was typed, or begins so.
    public func matches(_ serialNumber: SerialNumber) -> Bool {
        serialNumber.isNegative == isNegative && ranges.contains { $0.fits(serialNumber.magnitude) }
    }

    /// Whether this and every later serial number of a list lies behind all that can match: lists ascend by hex text, the
    /// negative ones last.
    public func isBehind(_ serialNumber: SerialNumber) -> Bool {
        if serialNumber.isNegative != isNegative { return serialNumber.isNegative }
        return ranges.allSatisfy { range in
            !range.fits(serialNumber.magnitude)
                && range.lowerBound.lexicographicallyPrecedes(serialNumber.magnitude)
        }
    }
}

/// Hexadecimal text.
enum Hex {
    private static let characters = Array("0123456789abcdef".utf8)

    /// Lowercase, two digits a byte.
    static func text(_ bytes: some Sequence<UInt8>) -> String {
        var text: [UInt8] = []
        text.reserveCapacity(2 * bytes.underestimatedCount)
        for byte in bytes {
            text.append(characters[Int(byte >> 4)])
            text.append(characters[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    static func digit(_ character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    /// The digits of a serial number as people write it, as values 0 to 15.
    static func digits(of text: String) throws(SerialNumberTextError) -> (isNegative: Bool, digits: [UInt8]) {
        let characters = Array(text.utf8)
        func isBlank(_ character: UInt8) -> Bool { [0x20, 0x09, 0x0a, 0x0d].contains(character) }
        var position = 0
        func skipBlanks() {
            while position < characters.count, isBlank(characters[position]) { position += 1 }
        }
        func skip(_ word: String) -> Bool {
            let wanted = Array(word.utf8)
            let found = characters[position...].prefix(wanted.count).map { $0 | 0x20 }
            guard found == wanted.map({ $0 | 0x20 }) else { return false }
            position += wanted.count
            return true
        }
        skipBlanks()
        if skip("serial=") { skipBlanks() }
        var isNegative = false
        if position < characters.count, characters[position] == UInt8(ascii: "-") {
            isNegative = true
            position += 1
        }
        if skip("0x") { skipBlanks() }
        var digits: [UInt8] = []
        for offset in position..<characters.count {
            let character = characters[offset]
            if let digit = digit(character) {
                digits.append(digit)
            } else if !isBlank(character), character != UInt8(ascii: ":") {
                throw SerialNumberTextError(offset: offset)
            }
        }
        guard !digits.isEmpty else { throw SerialNumberTextError(offset: nil) }
        return (isNegative, digits)
    }
}
