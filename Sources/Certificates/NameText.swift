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

    /// The folded text of a value as UTF-8; nil where it is no text. Plain ASCII, as nearly all names are, takes no detour.
    static func foldedBytes(_ value: DERElement, _ der: [UInt8]) -> [UInt8]? {
        let content = der[value.content]
        switch value.tag {
        case DERTag.utf8String, DERTag.printableString, DERTag.ia5String, DERTag.numericString, DERTag.visibleString:
            if let folded = foldASCII(content) { return folded }
        default: break
        }
        return decode(value, der).map { Array(fold($0.precomposedStringWithCompatibilityMapping).utf8) }
    }

    /// Nil where there is something other than ASCII.
    private static func foldASCII(_ content: ArraySlice<UInt8>) -> [UInt8]? {
        var folded: [UInt8] = []
        folded.reserveCapacity(content.count)
        var isBlankPending = false
        for byte in content {
            guard byte < 0x80 else { return nil }
            if byte == 0x20 || (0x09...0x0d).contains(byte) {
                isBlankPending = !folded.isEmpty
                continue
            }
            if isBlankPending { folded.append(0x20) }
            isBlankPending = false
            folded.append((0x41...0x5a).contains(byte) ? byte | 0x20 : byte)
        }
        return folded
    }

    /// Text, in normalization form KC, as it is compared: in lower case, without blanks at the ends, one blank for each row of
    /// them (RFC 5280 section 7.1, RFC 4518 section 2).
    static func fold(_ text: String) -> String {
        var folded = ""
        var isBlankPending = false
        for scalar in text.unicodeScalars {
            if scalar == " " || (0x09...0x0d).contains(scalar.value) {
                isBlankPending = !folded.isEmpty
                continue
            }
            if isBlankPending { folded.unicodeScalars.append(" ") }
            isBlankPending = false
            if scalar.isASCII {
                folded.unicodeScalars.append(
                    ("A"..."Z").contains(scalar) ? Unicode.Scalar(UInt8(scalar.value) + 0x20) : scalar)
            } else {
                folded.append(scalar.properties.lowercaseMapping)
            }
        }
        return folded
    }

    /// Whether a scalar may stand in a line of output as it is.
    private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned: false
        default: true
        }
    }

    private static func appendHexPairs(_ scalar: Unicode.Scalar, to text: inout String) {
        for byte in String(scalar).utf8 { text += "\\" + Hex.text([byte]) }
    }

    /// Text with what could forge a line or hide written as `\` and two hex digits a byte of UTF-8.
    static func escapingControls(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            if isPlain(scalar) {
                escaped.unicodeScalars.append(scalar)
            } else {
                appendHexPairs(scalar, to: &escaped)
            }
        }
        return escaped
    }

    /// Text as RFC 4514 section 2.4 writes it, and what could forge a line or hide escaped as well.
    static func escapingForRFC4514(_ text: String) -> String {
        var escaped = ""
        let scalars = Array(text.unicodeScalars)
        for (index, scalar) in scalars.enumerated() {
            switch scalar {
            case "\"", "+", ",", ";", "<", ">", "\\":
                escaped += "\\" + String(scalar)
            case " " where index == 0 || index == scalars.count - 1, "#" where index == 0:
                escaped += "\\" + String(scalar)
            default:
                if isPlain(scalar) {
                    escaped.unicodeScalars.append(scalar)
                } else {
                    appendHexPairs(scalar, to: &escaped)
                }
            }
        }
        return escaped
    }
}
