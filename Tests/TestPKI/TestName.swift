/// A distinguished name, attribute by attribute, in whatever string types a test wants.
public struct TestName: Hashable, Sendable, ExpressibleByStringInterpolation {
    /// One attribute: its type in dotted decimals, and the tag and bytes of its value.
    public struct Attribute: Hashable, Sendable {
        public var type: String
        public var tag: UInt8
        public var value: [UInt8]

        public init(_ type: String, tag: UInt8, _ value: [UInt8]) {
            self.type = type
            self.tag = tag
            self.value = value
        }

        public static func utf8(_ type: String, _ text: String) -> Attribute {
            Attribute(type, tag: 0x0C, Array(text.utf8))
        }

        public static func printable(_ type: String, _ text: String) -> Attribute {
            Attribute(type, tag: 0x13, Array(text.utf8))
        }

        public static func ia5(_ type: String, _ text: String) -> Attribute {
            Attribute(type, tag: 0x16, Array(text.utf8))
        }

        /// TeletexString, read as Latin-1 by those who read it at all.
        public static func teletex(_ type: String, _ bytes: [UInt8]) -> Attribute { Attribute(type, tag: 0x14, bytes) }

        /// BMPString: two bytes a character, big-endian.
        public static func bmp(_ type: String, _ text: String) -> Attribute {
            Attribute(type, tag: 0x1E, text.utf16.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] })
        }

        /// UniversalString: four bytes a character, big-endian.
        public static func universal(_ type: String, _ text: String) -> Attribute {
            Attribute(
                type, tag: 0x1C,
                text.unicodeScalars.flatMap { scalar in
                    (0..<4).reversed().map { UInt8(truncatingIfNeeded: scalar.value >> (8 * UInt32($0))) }
                })
        }

        /// AttributeTypeAndValue.
        public var der: [UInt8] { DER.sequence(DER.objectIdentifier(type), DER.element(tag, value)) }
    }

    /// Relative distinguished names, first to last.
    public var parts: [[Attribute]]

    public init(parts: [[Attribute]]) {
        self.parts = parts
    }

    /// One attribute in each relative distinguished name.
    public init(_ attributes: Attribute...) {
        parts = attributes.map { [$0] }
    }

    /// A CommonName in UTF8String.
    public init(stringLiteral text: String) {
        parts = [[.utf8(OID.commonName, text)]]
    }

    /// A CommonName in UTF8String.
    public init(commonName text: String) {
        self.init(stringLiteral: text)
    }

    /// The name without any attribute.
    public static let empty = TestName(parts: [])

    /// The same name with one more attribute at its end.
    public func adding(_ attribute: Attribute) -> TestName { TestName(parts: parts + [[attribute]]) }

    /// Name, with each SET in DER's order.
    public var der: [UInt8] { DER.sequence(of: parts.map { DER.set(of: $0.map(\.der)) }) }

    /// Name, with each SET in the order in which the attributes stand.
    public var derUnsorted: [UInt8] { DER.sequence(of: parts.map { DER.unsortedSet(of: $0.map(\.der)) }) }
}
