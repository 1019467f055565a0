/// Text from certificates and operators, made safe to print.
///
/// Nothing in it can begin a line, move the cursor, colour, or turn the reading direction: what could is written as
/// `\u{…}`.
enum TerminalText {
    /// Every line escaped on its own: text that is meant to have lines.
    static func escapeLines(_ text: String) -> String {
        text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false)
            .map { escape(String($0)) }.joined(separator: "\n")
    }

    static func escape(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            if mustEscape(scalar) {
                escaped += "\\u{" + String(scalar.value, radix: 16) + "}"
            } else {
                escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    /// Control and format characters (bidi controls, zero-width ones and tags are among them), line and paragraph
    /// separators, private and unassigned code points, and the replacement character that invalid text becomes.
    static func mustEscape(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII { return scalar.value < 0x20 || scalar.value == 0x7f }
        if scalar == "\u{fffd}" { return true }
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned: return true
        case .spaceSeparator: return scalar != " "
        default: return scalar.properties.isDefaultIgnorableCodePoint
        }
    }

    /// How many columns a terminal gives the text: none for combining marks, two for wide characters.
    static func width(_ text: String) -> Int {
        text.unicodeScalars.reduce(0) { $0 + width($1) }
    }

    /// The text, or its beginning with `…` behind it, in this many columns at most.
    static func cut(_ text: String, columns: Int) -> String {
        guard width(text) > columns else { return text }
        var left = max(0, columns - 1)
        var kept = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            left -= width(scalar)
            if left < 0 { break }
            kept.append(scalar)
        }
        return String(kept) + "…"
    }

    private static func width(_ scalar: Unicode.Scalar) -> Int {
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .enclosingMark: return 0
        default: break
        }
        switch scalar.value {
        case 0x1100...0x115f, 0x2e80...0x303e, 0x3041...0xa4cf, 0xac00...0xd7a3, 0xf900...0xfaff, 0xfe30...0xfe6f,
            0xff00...0xff60, 0xffe0...0xffe6, 0x1f300...0x1f64f, 0x1f900...0x1f9ff, 0x20000...0x3fffd:
            return 2
        default: return 1
        }
    }
}
