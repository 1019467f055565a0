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
    static func foldedBytes(_ value: DERElement, _ der: [UInt8]) -> [UInt8]? {
        let content = der[value.content]
        switch value.tag {
        case DERTag.utf8String, DERTag.printableString, DERTag.ia5String, DERTag.numericString, DERTag.visibleString:
            if let folded = foldASCII(content) { return folded }
        default: break
        }
        return decode(value, der).map(fold)
    }

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
    private static func fold(_ text: String) -> [UInt8] {
        var mapped = ""
        for scalar in text.unicodeScalars {
            switch mapping(of: scalar) {
            case .nothing: break
            case .blank: mapped.unicodeScalars.append(" ")
            case .folded:
                // Full case folding, as upper case and then lower case: ß is ss, and a final sigma is a sigma.
                for upper in scalar.properties.uppercaseMapping.unicodeScalars {
                    mapped.append(upper.properties.lowercaseMapping)
                }
            }
        }
        var folded = Collapsed()
        for byte in mapped.precomposedStringWithCompatibilityMapping.utf8 {
            if byte == 0x20 { folded.appendBlank() } else { folded.append(byte) }
        }
        return folded.bytes
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
