/// Tags of the types that certificates are made of (X.680 section 8.6), as the byte that DER writes.
enum DERTag {
    static let boolean: UInt8 = 0x01
    static let integer: UInt8 = 0x02
    static let bitString: UInt8 = 0x03
    static let octetString: UInt8 = 0x04
    static let null: UInt8 = 0x05
    static let objectIdentifier: UInt8 = 0x06
    static let utf8String: UInt8 = 0x0c
    static let numericString: UInt8 = 0x12
    static let printableString: UInt8 = 0x13
    static let teletexString: UInt8 = 0x14
    static let ia5String: UInt8 = 0x16
    static let utcTime: UInt8 = 0x17
    static let generalizedTime: UInt8 = 0x18
    static let visibleString: UInt8 = 0x1a
    static let universalString: UInt8 = 0x1c
    static let bmpString: UInt8 = 0x1e
    static let sequence: UInt8 = 0x30
    static let set: UInt8 = 0x31

    /// `[number]`, primitive.
    static func context(_ number: UInt8) -> UInt8 { 0x80 | number }
    /// `[number]`, constructed.
    static func constructedContext(_ number: UInt8) -> UInt8 { 0xa0 | number }
    static let constructedBit: UInt8 = 0x20
    static let classBits: UInt8 = 0xc0
    static let numberBits: UInt8 = 0x1f
}

/// One value: its tag, and where it stands.
struct DERElement {
    var tag: UInt8
    /// Offset of the tag.
    var start: Int
    /// Offsets of the contents.
    var content: Range<Int>

    /// Tag, length and contents.
    var range: Range<Int> { start..<content.upperBound }
}

/// Reads DER values one after the other, strictly (X.690 sections 10 and 11). It holds offsets only: the bytes are handed
/// to each call, and never copied.
struct DERReader {
    /// Values inside values: names hold none, and nothing that is looked at goes deeper.
    static let deepestNesting = 8

    private(set) var position: Int
    let end: Int
    let field: CertificateField

    init(_ range: Range<Int>, _ field: CertificateField) {
        position = range.lowerBound
        end = range.upperBound
        self.field = field
    }

    var isAtEnd: Bool { position == end }

    func error(_ problem: CertificateError.Problem, at offset: Int? = nil) -> CertificateError {
        CertificateError(offset: offset ?? position, field: field, problem: problem)
    }

    /// The tag that comes next, or nil at the end.
    func peek(_ bytes: Span<UInt8>) -> UInt8? {
        position < end ? bytes[position] : nil
    }

    /// The next value, whatever it is.
    mutating func next(_ bytes: Span<UInt8>) throws(CertificateError) -> DERElement {
        let start = position
        guard end - start >= 2 else { throw error(.truncated) }
        let tag = bytes[start]
        guard tag & DERTag.numberBits != DERTag.numberBits else { throw error(.highTagNumber) }
        var length = Int(bytes[start + 1])
        var content = start + 2
        if length >= 0x80 {
            let count = length & 0x7f
            guard count > 0 else { throw error(.indefiniteLength) }
            guard count <= 4 else { throw error(.lengthTooLarge) }
            guard end - content >= count else { throw error(.truncated) }
            length = 0
            for offset in content..<content + count {
                length = length << 8 | Int(bytes[offset])
            }
            guard length >= 0x80, length >> (8 * (count - 1)) != 0 else { throw error(.lengthNotMinimal) }
            content += count
        }
        guard length <= end - content else { throw error(.lengthTooLarge) }
        position = content + length
        return DERElement(tag: tag, start: start, content: content..<content + length)
    }

    /// The next value, which must have this tag.
    mutating func next(_ bytes: Span<UInt8>, tag: UInt8) throws(CertificateError) -> DERElement {
        guard let found = peek(bytes) else { throw error(.truncated) }
        guard found == tag else { throw error(.unexpectedTag) }
        return try next(bytes)
    }

    /// The next value where it has this tag; nothing is read otherwise.
    mutating func optional(_ bytes: Span<UInt8>, tag: UInt8) throws(CertificateError) -> DERElement? {
        peek(bytes) == tag ? try next(bytes) : nil
    }

    /// Nothing may follow.
    func finish() throws(CertificateError) {
        guard isAtEnd else { throw error(.trailingBytes) }
    }

    func inside(_ element: DERElement, _ field: CertificateField? = nil) -> DERReader {
        DERReader(element.content, field ?? self.field)
    }

    /// An INTEGER's contents in the fewest bytes (8.3.2).
    mutating func integer(_ bytes: Span<UInt8>) throws(CertificateError) -> Range<Int> {
        let element = try next(bytes, tag: DERTag.integer)
        try checkInteger(bytes, element.content)
        return element.content
    }

    func checkInteger(_ bytes: Span<UInt8>, _ content: Range<Int>) throws(CertificateError) {
        guard let first = content.first else { throw error(.integerNotMinimal, at: content.lowerBound) }
        guard content.count > 1 else { return }
        let second = bytes[content.lowerBound + 1]
        let isPadded = (bytes[first] == 0x00 && second < 0x80) || (bytes[first] == 0xff && second >= 0x80)
        if isPadded { throw error(.integerNotMinimal, at: first) }
    }

    /// A small non-negative INTEGER.
    mutating func smallInteger(_ bytes: Span<UInt8>) throws(CertificateError) -> Int {
        let content = try integer(bytes)
        return try Self.smallInteger(bytes, content, self)
    }

    static func smallInteger(
        _ bytes: Span<UInt8>, _ content: Range<Int>, _ reader: DERReader
    ) throws(CertificateError) -> Int {
        guard bytes[content.lowerBound] < 0x80 else {
            throw reader.error(.integerOutOfRange, at: content.lowerBound)
        }
        var value = 0
        for offset in content {
            // Larger than any count can be: it limits nothing any more.
            if value > Int(Int32.max) >> 8 { return Int(Int32.max) }
            value = value << 8 | Int(bytes[offset])
        }
        return value
    }

    static func boolean(
        _ bytes: Span<UInt8>, _ element: DERElement, _ reader: DERReader
    ) throws(CertificateError) -> Bool {
        guard element.content.count == 1 else { throw reader.error(.booleanNotCanonical, at: element.start) }
        switch bytes[element.content.lowerBound] {
        case 0x00: return false
        case 0xff: return true
        default: throw reader.error(.booleanNotCanonical, at: element.content.lowerBound)
        }
    }

    /// A BIT STRING's unused bits and the offsets of its bytes.
    mutating func bitString(
        _ bytes: Span<UInt8>, tag: UInt8 = DERTag.bitString
    ) throws(CertificateError) -> (unusedBits: Int, content: Range<Int>) {
        let element = try next(bytes, tag: tag)
        guard let first = element.content.first else { throw error(.truncated, at: element.start) }
        let unused = Int(bytes[first])
        let content = first + 1..<element.content.upperBound
        guard unused <= 7, unused == 0 || !content.isEmpty else { throw error(.bitStringUnusedBits, at: first) }
        if unused > 0, bytes[content.upperBound - 1] & UInt8((1 << unused) - 1) != 0 {
            throw error(.bitStringUnusedBits, at: first)
        }
        return (unused, content)
    }

    /// A BIT STRING of whole bytes.
    mutating func byteBitString(_ bytes: Span<UInt8>) throws(CertificateError) -> Range<Int> {
        let start = position
        let (unused, content) = try bitString(bytes)
        guard unused == 0 else { throw error(.bitStringUnusedBits, at: start) }
        return content
    }

    /// An OBJECT IDENTIFIER's contents (8.19).
    mutating func objectIdentifier(_ bytes: Span<UInt8>) throws(CertificateError) -> Range<Int> {
        let element = try next(bytes, tag: DERTag.objectIdentifier)
        try checkObjectIdentifier(bytes, element.content)
        return element.content
    }

    func checkObjectIdentifier(_ bytes: Span<UInt8>, _ content: Range<Int>) throws(CertificateError) {
        var isFirstOfArc = true
        for offset in content {
            if isFirstOfArc, bytes[offset] == 0x80 { throw error(.objectIdentifierNotMinimal, at: offset) }
            isFirstOfArc = bytes[offset] < 0x80
        }
        guard !content.isEmpty, isFirstOfArc else {
            throw error(.objectIdentifierNotMinimal, at: content.lowerBound)
        }
    }

    /// Checks a value whose meaning is not known: it must be DER all the way down, as far as that can be told.
    func checkUnknown(
        _ bytes: Span<UInt8>, _ element: DERElement, depth: Int = 0
    ) throws(CertificateError) {
        guard depth < Self.deepestNesting else { throw error(.tooDeep, at: element.start) }
        let isUniversal = element.tag & DERTag.classBits == 0
        if element.tag & DERTag.constructedBit != 0 {
            let isContainer = element.tag == DERTag.sequence || element.tag == DERTag.set
            if isUniversal, !isContainer, !Self.constructedTypes.contains(element.tag & DERTag.numberBits) {
                throw error(.constructedString, at: element.start)
            }
            var inner = DERReader(element.content, field)
            while !inner.isAtEnd {
                try checkUnknown(bytes, try inner.next(bytes), depth: depth + 1)
            }
        } else if isUniversal {
            var reader = DERReader(element.range, field)
            switch element.tag {
            case DERTag.boolean: _ = try Self.boolean(bytes, element, self)
            case DERTag.integer: try checkInteger(bytes, element.content)
            case DERTag.bitString: _ = try reader.bitString(bytes)
            case DERTag.objectIdentifier: try checkObjectIdentifier(bytes, element.content)
            case 0x10, 0x11: throw error(.unexpectedTag, at: element.start)
            default: break
            }
        }
    }

    // EXTERNAL and EMBEDDED PDV are always constructed.
    private static let constructedTypes: [UInt8] = [0x08, 0x0b, 0x10, 0x11]
}

/// Whether two ranges hold the same bytes.
func equal(_ left: Range<Int>, _ right: Range<Int>, in bytes: Span<UInt8>) -> Bool {
    guard left.count == right.count else { return false }
    for index in 0..<left.count where bytes[left.lowerBound + index] != bytes[right.lowerBound + index] {
        return false
    }
    return true
}

/// Whether a range holds these bytes.
func equal(_ range: Range<Int>, _ wanted: [UInt8], in bytes: Span<UInt8>) -> Bool {
    guard range.count == wanted.count else { return false }
    for index in 0..<wanted.count where bytes[range.lowerBound + index] != wanted[index] {
        return false
    }
    return true
}
