/// Writes DER, and whatever else a test wants to look like it: nothing here stops a caller from writing wrong bytes.
public enum DER {
    /// One element: tag byte, minimal definite length, contents.
    public static func element(_ tag: UInt8, _ contents: [UInt8]) -> [UInt8] {
        [tag] + length(contents.count) + contents
    }

    /// One element whose length is written in `lengthBytes` bytes after the first one, minimal or not.
    public static func element(_ tag: UInt8, _ contents: [UInt8], lengthBytes: Int) -> [UInt8] {
        var bytes: [UInt8] = [tag, 0x80 | UInt8(lengthBytes)]
        for index in (0..<lengthBytes).reversed() {
            bytes.append(index < 8 ? UInt8(truncatingIfNeeded: contents.count >> (8 * index)) : 0)
        }
        return bytes + contents
    }

    /// One element of indefinite length (BER, never DER).
    public static func indefinite(_ tag: UInt8, _ contents: [UInt8]) -> [UInt8] { [tag, 0x80] + contents + [0, 0] }

    /// A definite length in the fewest bytes.
    public static func length(_ count: Int) -> [UInt8] {
        if count < 0x80 { return [UInt8(count)] }
        var bytes: [UInt8] = []
        var rest = count
        while rest > 0 {
            bytes.insert(UInt8(rest & 0xFF), at: 0)
            rest >>= 8
        }
        return [0x80 | UInt8(bytes.count)] + bytes
    }

    /// SEQUENCE of the elements given, in that order.
    public static func sequence(_ elements: [UInt8]...) -> [UInt8] { element(0x30, elements.flatMap(\.self)) }

    /// SEQUENCE OF.
    public static func sequence(of elements: [[UInt8]]) -> [UInt8] { element(0x30, elements.flatMap(\.self)) }

    /// SET OF, in DER's order.
    public static func set(of elements: [[UInt8]]) -> [UInt8] {
        element(0x31, elements.sorted { $0.lexicographicallyPrecedes($1) }.flatMap(\.self))
    }

    /// SET OF, in the order given.
    public static func unsortedSet(of elements: [[UInt8]]) -> [UInt8] { element(0x31, elements.flatMap(\.self)) }

    /// INTEGER in its shortest form.
    public static func integer(_ value: Int) -> [UInt8] {
        var bytes = (0..<8).reversed().map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
        while bytes.count > 1, (bytes[0] == 0 && bytes[1] < 0x80) || (bytes[0] == 0xFF && bytes[1] >= 0x80) {
            bytes.removeFirst()
        }
        return element(2, bytes)
    }

    /// INTEGER from an unsigned big-endian number.
    public static func integer(unsigned magnitude: [UInt8]) -> [UInt8] {
        var bytes = Array(magnitude.drop { $0 == 0 })
        if bytes.first.map({ $0 >= 0x80 }) ?? true { bytes.insert(0, at: 0) }
        return element(2, bytes)
    }

    /// INTEGER with these contents, canonical or not.
    public static func integer(contents: [UInt8]) -> [UInt8] { element(2, contents) }

    public static func boolean(_ value: Bool) -> [UInt8] { [1, 1, value ? 0xFF : 0] }

    public static let null: [UInt8] = [5, 0]

    /// OBJECT IDENTIFIER from dotted decimals.
    public static func objectIdentifier(_ dotted: String) -> [UInt8] {
        let arcs = dotted.split(separator: ".").compactMap { UInt64($0) }
        precondition(arcs.count >= 2, "an object identifier has two arcs at least")
        var contents = base128(arcs[0] * 40 + arcs[1])
        for arc in arcs.dropFirst(2) { contents += base128(arc) }
        return element(6, contents)
    }

    private static func base128(_ value: UInt64) -> [UInt8] {
        var bytes = [UInt8(value & 0x7F)]
        var rest = value >> 7
        while rest > 0 {
            bytes.insert(UInt8(rest & 0x7F) | 0x80, at: 0)
            rest >>= 7
        }
        return bytes
    }

    public static func octetString(_ contents: [UInt8]) -> [UInt8] { element(4, contents) }

    public static func bitString(_ contents: [UInt8], unusedBits: UInt8 = 0) -> [UInt8] {
        element(3, [unusedBits] + contents)
    }

    /// BIT STRING of named bits: trailing zero bits removed (X.690 11.2.2).
    public static func namedBits(_ bits: [Int]) -> [UInt8] {
        guard let last = bits.max() else { return [3, 1, 0] }
        var contents = [UInt8](repeating: 0, count: last / 8 + 1)
        for bit in bits { contents[bit / 8] |= 0x80 >> UInt8(bit % 8) }
        return bitString(contents, unusedBits: UInt8(7 - last % 8))
    }

    public static func utf8String(_ text: String) -> [UInt8] { element(0x0C, Array(text.utf8)) }

    public static func printableString(_ text: String) -> [UInt8] { element(0x13, Array(text.utf8)) }

    public static func ia5String(_ text: String) -> [UInt8] { element(0x16, Array(text.utf8)) }

    /// [number] EXPLICIT.
    public static func explicit(_ number: UInt8, _ contents: [UInt8]) -> [UInt8] { element(0xA0 | number, contents) }

    /// [number] IMPLICIT of a primitive type, without the inner tag.
    public static func implicit(_ number: UInt8, _ contents: [UInt8]) -> [UInt8] { element(0x80 | number, contents) }

    /// UTCTime with this text.
    public static func utcTime(_ text: String) -> [UInt8] { element(0x17, Array(text.utf8)) }

    /// GeneralizedTime with this text.
    public static func generalizedTime(_ text: String) -> [UInt8] { element(0x18, Array(text.utf8)) }

    /// A time as RFC 5280 section 4.1.2.5 wants it: UTCTime through 2049, GeneralizedTime from 2050.
    public static func time(_ secondsSince1970: Int64) -> [UInt8] {
        let text = TestTime.text(secondsSince1970)
        return text < "20500101000000Z" && text >= "19500101000000Z"
            ? utcTime(String(text.dropFirst(2))) : generalizedTime(text)
    }

    /// The contents of the element at the beginning of `bytes`, which must be well formed.
    public static func contents(_ bytes: [UInt8]) -> [UInt8] {
        let header = headerLength(bytes)
        return Array(bytes[header..<elementLength(bytes)])
    }

    /// Bytes that the element at the beginning of `bytes` takes, header included.
    public static func elementLength(_ bytes: [UInt8]) -> Int {
        let first = Int(bytes[1])
        guard first >= 0x80 else { return 2 + first }
        let count = bytes[2..<(2 + first - 0x80)].reduce(0) { $0 << 8 | Int($1) }
        return 2 + (first - 0x80) + count
    }

    /// Bytes of tag and length at the beginning of `bytes`.
    public static func headerLength(_ bytes: [UInt8]) -> Int { bytes[1] < 0x80 ? 2 : 2 + Int(bytes[1]) - 0x80 }

    /// The elements that stand one after another in `bytes`, each with its header.
    public static func elements(_ bytes: [UInt8]) -> [[UInt8]] {
        var list: [[UInt8]] = []
        var rest = bytes
        while !rest.isEmpty {
            let count = elementLength(rest)
            list.append(Array(rest[..<count]))
            rest.removeFirst(count)
        }
        return list
    }
}
