internal import Foundation

/// The text of attribute values in names.
enum NameText {
    /// The text of a value; nil where its type is no string type, or the bytes do not fit the type.
    static func decode(_ value: DERElement, _ der: [UInt8]) -> String? {
        let content = der[value.content]
        switch value.tag {
        case DERTag.utf8String:
            return String(validating: content, as: UTF8.self)
        case DERTag.printableString, DERTag.ia5String, DERTag.numericString, DERTag.visibleString:
            return content.allSatisfy { $0 < 0x80 } ? String(decoding: content, as: UTF8.self) : nil
        case DERTag.teletexString:
            // Read as Latin-1, as all the world does.
            var text = ""
            for byte in content { text.unicodeScalars.append(Unicode.Scalar(byte)) }
            return text
        case DERTag.bmpString: return wide(content, width: 2)
        case DERTag.universalString: return wide(content, width: 4)
        default: return nil
        }
    }

    private static func wide(_ content: ArraySlice<UInt8>, width: Int) -> String? {
        guard content.count.isMultiple(of: width) else { return nil }
        var text = ""
        for start in stride(from: content.startIndex, to: content.endIndex, by: width) {
            let code = content[start..<start + width].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            guard let scalar = Unicode.Scalar(code) else { return nil }
            text.unicodeScalars.append(scalar)
        }
        return text
    }

    /// The text of a value as names are compared, as UTF-8 (RFC 5280 section 7.1, RFC 4518 section 2); nil where it is no text.
    /// Plain ASCII, as nearly all names are, takes no detour.
    ///
    /// - Parameter budget: what may still be spent on normalization. A text that would take more is compared as it is.
    static func foldedBytes(_ value: DERElement, _ der: [UInt8], _ budget: inout Int) -> [UInt8]? {
        let content = der[value.content]
        switch value.tag {
        case DERTag.utf8String, DERTag.printableString, DERTag.ia5String, DERTag.numericString, DERTag.visibleString:
            if let folded = foldASCII(content) { return folded }
        default: break
        }
        guard let text = decode(value, der) else { return nil }
        return fold(text, &budget) ?? [unfoldedMark] + text.utf8
    }

    /// For one name: some 600 characters of another script; the bounds of RFC 5280 appendix A allow fewer. Normalization takes
    /// up to 3 µs a character.
    static let normalizationBudget = 4_096
    private static let costPerScalar = 4
    /// No UTF-8 begins so: what was not folded equals nothing that was.
    private static let unfoldedMark: UInt8 = 0xff

    /// Nil where there is something other than ASCII.
    private static func foldASCII(_ content: ArraySlice<UInt8>) -> [UInt8]? {
        var folded = Collapsed()
        for byte in content {
            guard byte < 0x80 else { return nil }
            switch byte {
            case 0x20, 0x09...0x0d: folded.appendBlank()
            case 0x00...0x1f, 0x7f: break
            case 0x41...0x5a: folded.append(byte | 0x20)
            default: folded.append(byte)
            }
        }
        return folded.bytes
    }

    /// Maps, folds case, normalizes to form KC, and collapses blanks: the steps of RFC 4518 section 2.
    private static func fold(_ text: String, _ budget: inout Int) -> [UInt8]? {
        var folded = Collapsed()
        for scalar in text.unicodeScalars {
            guard scalar.value < alone.count else {
                return mapped(text, &budget)?.reduce(into: Collapsed()) { $0.append(anyOf: $1) }.bytes
            }
            for byte in alone[Int(scalar.value)] { folded.append(anyOf: byte) }
        }
        return folded.bytes
    }

    /// What the scalars before the combining ones become. Their neighbours do not change it, so that texts of them, as
    /// nearly all names are that are not ASCII, need no normalization.
    private static let alone = (0..<UInt32(0x300)).compactMap(Unicode.Scalar.init).map { scalar in
        var budget = normalizationBudget
        return mapped(String(scalar), &budget) ?? []
    }

    /// Text mapped, with its case folded, in normalization form KC; nil where the budget is used up.
    private static func mapped(_ text: String, _ budget: inout Int) -> [UInt8]? {
        guard text.unicodeScalars.count * costPerScalar <= budget else { return exhaust(&budget) }
        var normalized: [UInt8] = []
        var piece = ""
        var count = 0
        var total = 0
        for scalar in text.unicodeScalars {
            if count >= longestPiece || (count >= shortestPiece && standsApart(scalar)) {
                normalized.append(contentsOf: compatible(piece).utf8)
                total += count
                guard total * costPerScalar + normalized.count <= budget else { return exhaust(&budget) }
                (piece, count) = ("", 0)
            }
            count += 1
            switch mapping(of: scalar) {
            case .nothing: break
            case .blank: piece.unicodeScalars.append(" ")
            case .folded:
                // Full case folding, as upper case and then lower case: ß is ss, and a final sigma is a sigma.
                for upper in scalar.properties.uppercaseMapping.unicodeScalars {
                    piece.append(upper.properties.lowercaseMapping)
                }
            }
        }
        normalized.append(contentsOf: compatible(piece).utf8)
        total += count
        guard total * costPerScalar + normalized.count <= budget else { return exhaust(&budget) }
        budget -= total * costPerScalar + normalized.count
        return normalized
    }

    private static func exhaust(_ budget: inout Int) -> [UInt8]? {
        budget = 0
        return nil
    }

    /// Normalization form KC, in two steps: the function for both leaves what it took apart in parts here and there, so that
    /// narrow kana with their marks would not equal the wide ones.
    private static func compatible(_ text: String) -> String {
        text.decomposedStringWithCompatibilityMapping.precomposedStringWithCanonicalMapping
    }

    // Text is normalized piece by piece, for the time that a text takes grows with the square of its length. A piece ends, from
    // the first number of scalars on, before a scalar that has nothing to do with what came before. A text without such
    // scalars, hundreds of accents in a row, is none: it is cut at the second number.
    private static let shortestPiece = 64
    private static let longestPiece = 256

    /// Whether a scalar is sure to be no combining one, and neither composes nor is reordered with those before it: neither a
    /// mark, nor the second or third part of a Hangul syllable, nor one of the narrow and wide forms, which hold both.
    private static func standsApart(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x1160...0x11ff, 0x3130...0x318f, 0xd7b0...0xd7ff, 0xff00...0xffef: return false
        case 0...0xffff: break
        default: return false
        }
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark: return false
        default: return true
        }
    }

    private enum Mapping {
        case nothing
        case blank
        case folded
    }

    /// RFC 4518 section 2.2.
    private static func mapping(of scalar: Unicode.Scalar) -> Mapping {
        switch scalar.value {
        case 0x09...0x0d, 0x85: return .blank
        case 0xad, 0x34f, 0x1806, 0x180b...0x180d, 0x200b, 0xfe00...0xfe0f, 0xfffc: return .nothing
        default: break
        }
        switch scalar.properties.generalCategory {
        case .control, .format: return .nothing
        case .spaceSeparator, .lineSeparator, .paragraphSeparator: return .blank
        default: return .folded
        }
    }

    /// Text without blanks at its ends, one blank for each row of them inside.
    private struct Collapsed {
        private(set) var bytes: [UInt8] = []
        private var isBlankPending = false

        mutating func appendBlank() { isBlankPending = !bytes.isEmpty }

        mutating func append(anyOf byte: UInt8) {
            if byte == 0x20 { appendBlank() } else { append(byte) }
        }

        mutating func append(_ byte: UInt8) {
            if isBlankPending { bytes.append(0x20) }
            isBlankPending = false
            bytes.append(byte)
        }
    }

    /// Whether a scalar may stand in a line of output as it is.
    private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned: false
        default: true
        }
    }

    /// A scalar as it is where it is plain, and as `\` and two hex digits a byte of UTF-8 where it could forge a line or hide.
    private static func append(_ scalar: Unicode.Scalar, to text: inout [UInt8]) {
        if scalar.isASCII ? (0x20...0x7e).contains(scalar.value) : isPlain(scalar) {
            text.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
        } else {
            for byte in UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter {
                text.append(UInt8(ascii: "\\"))
                text.append(contentsOf: Hex.text([byte]).utf8)
            }
        }
    }

    /// Text with what could forge a line or hide written as `\` and two hex digits a byte of UTF-8.
    static func escapingControls(_ text: String) -> String {
        var escaped: [UInt8] = []
        for scalar in text.unicodeScalars { append(scalar, to: &escaped) }
        return String(decoding: escaped, as: UTF8.self)
    }

    /// Text as RFC 4514 section 2.4 writes it, and what could forge a line or hide escaped as well.
    static func escapingForRFC4514(_ text: String) -> String {
        var escaped: [UInt8] = []
        let scalars = text.unicodeScalars
        for index in scalars.indices {
            let isFirst = index == scalars.startIndex
            switch scalars[index] {
            case "\"", "+", ",", ";", "<", ">", "\\": escaped.append(UInt8(ascii: "\\"))
            case " " where isFirst || scalars.index(after: index) == scalars.endIndex, "#" where isFirst:
                escaped.append(UInt8(ascii: "\\"))
            default: break
            }
            append(scalars[index], to: &escaped)
        }
        return String(decoding: escaped, as: UTF8.self)
    }
}
