/// A Name (RFC 5280 section 4.1.2.4) out of a certificate that was read: relative distinguished names, the largest
/// container first.
public struct DistinguishedName: Sendable, Hashable {
    /// The Name's DER, whole.
    public let der: [UInt8]

    init(_ der: [UInt8]) {
        self.der = der
    }

    /// There is no relative distinguished name in it.
    public var isEmpty: Bool { der.count <= 2 }

    /// The texts of all CommonNames, in their order; nil for one that is no text.
    public var commonNames: [String?] { values(of: OID.commonName) }

    /// The last CommonName, with what could forge a line escaped; empty where there is none.
    public var displayCommonName: String {
        for case let text?? in commonNames.reversed().map(Optional.some) { return NameText.escapingControls(text) }
        return ""
    }

    /// The texts of the emailAddress attributes; nil for one that is no text.
    public var emailAddresses: [String?] { values(of: OID.emailAddress) }

    /// The texts of all attributes of a type.
    private func values(of type: [UInt8]) -> [String?] {
        var values: [String?] = []
        visitAttributes { attribute, _ in
            if der[attribute.type].elementsEqual(type) { values.append(NameText.decode(attribute.value, der)) }
        }
        return values
    }

    struct Attribute {
        var type: Range<Int>
        var value: DERElement
    }

    /// The attributes of each relative distinguished name. The bytes were checked when the certificate was read.
    var attributeSets: [[Attribute]] {
        var sets: [[Attribute]] = []
        visitAttributes { attribute, isFirst in
            if isFirst { sets.append([attribute]) } else { sets[sets.count - 1].append(attribute) }
        }
        return sets
    }

    private func visitAttributes(_ visit: (_ attribute: Attribute, _ isFirst: Bool) -> Void) {
        let bytes = der.span
        var reader = DERReader(0..<bytes.count, .subject)
        _ = try? reader.name(bytes, visit)
    }
}

extension DistinguishedName {
    /// Bytes that are equal exactly where two names are, as RFC 5280 section 7.1 compares: the string type does not count,
    /// nor do case and blanks at the ends and in rows, nor the order within a set.
    ///
    /// Text that does not fit its type is compared as it is; so is what is left of a name in another script once it is longer
    /// than any name may be (RFC 5280 appendix A), for folding takes its time.
    public var normalized: [UInt8] {
        var budget = NameText.normalizationBudget
        var bytes: [UInt8] = []
        bytes.reserveCapacity(2 * der.count)
        /// Where the attributes of the set that is being written begin.
        var starts: [Int] = []
        visitAttributes { attribute, isFirst in
            if isFirst {
                Self.endSet(of: starts, &bytes)
                starts.removeAll(keepingCapacity: true)
                Self.appendSize(0, to: &bytes)
            }
            starts.append(bytes.count)
            appendNormalized(attribute, to: &bytes, &budget)
        }
        Self.endSet(of: starts, &bytes)
        return bytes
    }

    /// Puts the attributes of the last set in order, and the size of them all before the first.
    private static func endSet(of starts: [Int], _ bytes: inout [UInt8]) {
        guard let first = starts.first else { return }
        if starts.count > 1 {
            let attributes = zip(starts, starts.dropFirst() + [bytes.count]).map { Array(bytes[$0..<$1]) }
            let inOrder = attributes.sorted { $0.lexicographicallyPrecedes($1) }
            bytes.replaceSubrange(first..., with: inOrder.joined())
        }
        setSize(bytes.count - first, at: first - 4, of: &bytes)
    }

    /// The normalized relative distinguished names.
    public var normalizedSets: [[UInt8]] {
        let bytes = normalized
        var sets: [[UInt8]] = []
        var start = 0
        while start < bytes.count {
            let content = start + 4
            let size = bytes[start..<content].reduce(0) { $0 << 8 | Int($1) }
            sets.append(Array(bytes[content..<content + size]))
            start = content + size
        }
        return sets
    }

    private func appendNormalized(_ attribute: Attribute, to bytes: inout [UInt8], _ budget: inout Int) {
        Self.appendSized(der[attribute.type], to: &bytes)
        if let text = NameText.foldedBytes(attribute.value, der, &budget) {
            bytes.append(DERTag.utf8String)
            Self.appendSized(text, to: &bytes)
        } else {
            bytes.append(attribute.value.tag)
            Self.appendSized(der[attribute.value.content], to: &bytes)
        }
    }

    private static func appendSized(_ part: some Collection<UInt8>, to bytes: inout [UInt8]) {
        appendSize(part.count, to: &bytes)
        bytes.append(contentsOf: part)
    }

    private static func appendSize(_ size: Int, to bytes: inout [UInt8]) {
        for index in 0..<4 { bytes.append(sizeByte(index, of: size)) }
    }

    private static func setSize(_ size: Int, at offset: Int, of bytes: inout [UInt8]) {
        for index in 0..<4 { bytes[offset + index] = sizeByte(index, of: size) }
    }

    private static func sizeByte(_ index: Int, of size: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: size >> (24 - 8 * index))
    }

    /// Whether this name lies in the subtree of another one: it begins with its relative distinguished names
    /// (RFC 5280 section 4.2.1.10).
    public func isWithin(_ base: DistinguishedName) -> Bool {
        let (own, wanted) = (normalizedSets, base.normalizedSets)
        return own.count >= wanted.count && zip(own, wanted).allSatisfy { $0 == $1 }
    }
}

extension DistinguishedName: CustomStringConvertible {
    /// RFC 4514, the smallest container first. What could forge a line is escaped, as pairs of hex digits.
    public var description: String {
        attributeSets.reversed().map { set in set.map(text(of:)).joined(separator: "+") }.joined(separator: ",")
    }

    private func text(of attribute: Attribute) -> String {
        let name = AttributeName.short(Array(der[attribute.type]))
        guard let name, let text = NameText.decode(attribute.value, der) else {
            return (name ?? OID.text(der[attribute.type])) + "=#" + Hex.text(der[attribute.value.range])
        }
        return name + "=" + NameText.escapingForRFC4514(text)
    }
}

/// Short names of attribute types: those of RFC 4514 section 3, and others that every tool prints.
private enum AttributeName {
    private static let names: [[UInt8]: String] = [
        [0x55, 0x04, 0x03]: "CN", [0x55, 0x04, 0x07]: "L", [0x55, 0x04, 0x08]: "ST", [0x55, 0x04, 0x0a]: "O",
        [0x55, 0x04, 0x0b]: "OU", [0x55, 0x04, 0x06]: "C", [0x55, 0x04, 0x09]: "STREET",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19]: "DC",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01]: "UID",
        [0x55, 0x04, 0x04]: "SN", [0x55, 0x04, 0x05]: "serialNumber", [0x55, 0x04, 0x0c]: "title",
        [0x55, 0x04, 0x2a]: "GN", [0x55, 0x04, 0x2b]: "initials", [0x55, 0x04, 0x2c]: "generationQualifier",
        [0x55, 0x04, 0x2e]: "dnQualifier", [0x55, 0x04, 0x41]: "pseudonym",
        [0x55, 0x04, 0x61]: "organizationIdentifier",
        OID.emailAddress: "emailAddress",
    ]

    static func short(_ type: [UInt8]) -> String? { names[type] }
}

extension DERReader {
    /// A Name: the range of the whole of it. Each set holds at least one attribute, in the order of DER (RFC 5280
    /// appendix A.1, X.690 11.6).
    ///
    /// - Parameter visit: is given each attribute, and whether a set begins with it.
    mutating func name(
        _ bytes: Span<UInt8>, _ visit: (_ attribute: DistinguishedName.Attribute, _ isFirst: Bool) -> Void = { _, _ in }
    ) throws(CertificateError) -> Range<Int> {
        let start = position
        var sequence = inside(try next(bytes, tag: DERTag.sequence))
        while !sequence.isAtEnd {
            var set = sequence.inside(try sequence.next(bytes, tag: DERTag.set))
            guard !set.isAtEnd else { throw set.error(.emptySequence) }
            var previous: Range<Int>?
            while !set.isAtEnd {
                let element = try set.next(bytes, tag: DERTag.sequence)
                if let previous, !isOrdered(previous, element.range, bytes) {
                    throw set.error(.setNotSorted, at: element.start)
                }
                var attribute = set.inside(element)
                let type = try attribute.objectIdentifier(bytes)
                let value = try attribute.next(bytes)
                try attribute.checkUnknown(bytes, value)
                try attribute.finish()
                visit(DistinguishedName.Attribute(type: type, value: value), previous == nil)
                previous = element.range
            }
        }
        return start..<position
    }

    /// The order of a SET OF: encodings as byte strings, the shorter one padded with zeros (X.690 11.6).
    private func isOrdered(_ left: Range<Int>, _ right: Range<Int>, _ bytes: Span<UInt8>) -> Bool {
        for index in 0..<max(left.count, right.count) {
            let leftByte = index < left.count ? bytes[left.lowerBound + index] : 0
            let rightByte = index < right.count ? bytes[right.lowerBound + index] : 0
            if leftByte != rightByte { return leftByte < rightByte }
        }
        return true
    }
}
