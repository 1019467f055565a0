/// A name in the canonical encoding that OpenSSL hashes and compares: `x509_name_canon` in crypto/x509/x_name.c.
///
/// Text of any string type becomes a UTF8String in lower case (ASCII only), without blanks at its ends and with one
/// blank for each run inside; each SET is sorted again as DER wants it; the outer SEQUENCE's header is left out.
enum CanonicalName {
    /// The canonical encoding of a certificate's subject.
    ///
    /// - Returns: nil where the bytes are no certificate, or the subject's text does not fit its type.
    static func subject(ofCertificate der: [UInt8]) -> [UInt8]? {
        var outer = ElementReader(der[...])
        guard let certificate = outer.next(tag: Tag.sequence) else { return nil }
        var inner = ElementReader(certificate)
        guard let toBeSigned = inner.next(tag: Tag.sequence) else { return nil }
        var fields = ElementReader(toBeSigned)
        if fields.peek == Tag.version, fields.next(tag: Tag.version) == nil { return nil }
        // serialNumber, signature, issuer, validity.
        for tag in [Tag.integer, Tag.sequence, Tag.sequence, Tag.sequence] where fields.next(tag: tag) == nil {
            return nil
        }
        guard let subject = fields.next(tag: Tag.sequence) else { return nil }
        return encode(name: subject)
    }

    /// The canonical encoding of a name.
    ///
    /// - Parameter name: the contents of the name's SEQUENCE.
    static func encode(name: ArraySlice<UInt8>) -> [UInt8]? {
        var canonical: [UInt8] = []
        var sets = ElementReader(name)
        while !sets.isAtEnd {
            guard let set = sets.next(tag: Tag.set) else { return nil }
            var attributes = ElementReader(set)
            var encoded: [[UInt8]] = []
            while !attributes.isAtEnd {
                guard let attribute = attributes.next(tag: Tag.sequence), let one = encode(attribute: attribute) else {
                    return nil
                }
                encoded.append(one)
            }
            encoded.sort { $0.lexicographicallyPrecedes($1) }
            canonical += element(Tag.set, encoded.flatMap { $0 })
        }
        return canonical
    }

    private static func encode(attribute: ArraySlice<UInt8>) -> [UInt8]? {
        var fields = ElementReader(attribute)
        guard let type = fields.next(tag: Tag.objectIdentifier), let tag = fields.peek,
            let value = fields.next(tag: tag), fields.isAtEnd
        else { return nil }
        guard let width = CharacterWidth(tag: tag) else {
            guard Tag.copied.contains(tag) else { return nil }
            return element(Tag.sequence, element(Tag.objectIdentifier, Array(type)) + element(tag, Array(value)))
        }
        guard let text = width.utf8(of: value) else { return nil }
        let folded = element(Tag.utf8String, fold(text))
        return element(Tag.sequence, element(Tag.objectIdentifier, Array(type)) + folded)
    }

    /// Blanks and case as `asn1_string_canon` treats them.
    private static func fold(_ text: [UInt8]) -> [UInt8] {
        var folded: [UInt8] = []
        var pendingBlank = false
        for byte in text {
            if byte == 0x20 || (0x09...0x0d).contains(byte) {
                pendingBlank = !folded.isEmpty
                continue
            }
            if pendingBlank { folded.append(0x20) }
            pendingBlank = false
            folded.append((0x41...0x5a).contains(byte) ? byte + 0x20 : byte)
        }
        return folded
    }

    private static func element(_ tag: UInt8, _ contents: [UInt8]) -> [UInt8] {
        var length: [UInt8] = []
        var rest = contents.count
        repeat {
            length.insert(UInt8(truncatingIfNeeded: rest), at: 0)
            rest >>= 8
        } while rest > 0
        if contents.count > 0x7f { length.insert(0x80 | UInt8(length.count), at: 0) }
        return [tag] + length + contents
    }
}

/// How many bytes a character of a string type has, as OpenSSL reads it.
private enum CharacterWidth {
    case utf8
    case one
    case two
    case four

    /// Nil for the types that are no text to OpenSSL.
    init?(tag: UInt8) {
        switch tag {
        case Tag.utf8String: self = .utf8
        // PrintableString, T61String, IA5String: all read as Latin-1.
        case 0x13, 0x14, 0x16: self = .one
        case 0x1e: self = .two
        case 0x1c: self = .four
        default: return nil
        }
    }

    func utf8(of value: ArraySlice<UInt8>) -> [UInt8]? {
        let byteCount: Int
        switch self {
        case .utf8: return String(validating: value, as: UTF8.self).map { Array($0.utf8) }
        case .one: byteCount = 1
        case .two: byteCount = 2
        case .four: byteCount = 4
        }
        guard value.count % byteCount == 0 else { return nil }
        var text: [UInt8] = []
        for start in stride(from: value.startIndex, to: value.endIndex, by: byteCount) {
            let code = value[start..<start + byteCount].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            guard let scalar = Unicode.Scalar(code) else { return nil }
            text.append(contentsOf: UTF8.encode(scalar).map(Array.init) ?? [])
        }
        return text
    }
}

private enum Tag {
    static let integer: UInt8 = 0x02
    static let objectIdentifier: UInt8 = 0x06
    static let utf8String: UInt8 = 0x0c
    static let sequence: UInt8 = 0x30
    static let set: UInt8 = 0x31
    static let version: UInt8 = 0xa0
    /// Types of attribute values that are hashed as they are: BIT STRING, SEQUENCE, NumericString. OpenSSL reads no
    /// certificate with yet another type in a name (`B_ASN1_PRINTABLE`).
    static let copied: Set<UInt8> = [0x03, 0x30, 0x12]
}

/// Walks DER elements that a registry has already judged: only lengths are checked here.
private struct ElementReader {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) {
        rest = bytes
    }

    var isAtEnd: Bool { rest.isEmpty }

    var peek: UInt8? { rest.first }

    /// The contents of the next element; nil where it has another tag or does not fit.
    mutating func next(tag: UInt8) -> ArraySlice<UInt8>? {
        guard rest.first == tag, rest.count >= 2 else { return nil }
        var bytes = rest.dropFirst()
        guard let first = bytes.popFirst() else { return nil }
        var length = Int(first)
        if first > 0x7f {
            let byteCount = Int(first & 0x7f)
            guard (1...4).contains(byteCount), bytes.count >= byteCount else { return nil }
            length = bytes.prefix(byteCount).reduce(0) { $0 << 8 | Int($1) }
            bytes = bytes.dropFirst(byteCount)
        }
        guard bytes.count >= length else { return nil }
        rest = bytes.dropFirst(length)
        return bytes.prefix(length)
    }
}
