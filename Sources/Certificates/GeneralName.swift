/// A GeneralName (RFC 5280 section 4.2.1.6).
public enum GeneralName: Hashable, Sendable {
    /// An e-mail address, IA5.
    case email([UInt8])
    /// A DNS name, IA5.
    case dns([UInt8])
    case uri([UInt8])
    /// 4 or 16 bytes in a certificate; twice as many, an address and its mask, in a constraint.
    case ipAddress([UInt8])
    case directory(DistinguishedName)
    /// otherName, x400Address, ediPartyName, registeredID: by the number of its tag.
    case other(UInt8)

    /// The number of the form's tag: a constraint speaks of the names of its own form only.
    var form: UInt8 {
        switch self {
        case .email: 1
        case .dns: 2
        case .uri: 6
        case .ipAddress: 7
        case .directory: 4
        case .other(let number): number
        }
    }
}

extension GeneralName {
    /// Whether an IP address has its right size: in a name, or in a constraint, where it is followed by a mask.
    enum Place {
        case name
        case constraint
    }

    /// Reads one GeneralName.
    static func read(
        _ reader: inout DERReader, _ bytes: Span<UInt8>, in place: Place
    ) throws(CertificateError) -> GeneralName {
        let element = try check(&reader, bytes, in: place)
        let content = element.content
        return switch element.tag {
        case DERTag.context(1): .email(bytes.copy(content))
        case DERTag.context(2): .dns(bytes.copy(content))
        case DERTag.context(6): .uri(bytes.copy(content))
        case DERTag.context(7): .ipAddress(bytes.copy(content))
        case DERTag.constructedContext(4): .directory(DistinguishedName(bytes.copy(content)))
        default: .other(element.tag & DERTag.numberBits)
        }
    }

    /// Reads past one GeneralName, and copies nothing: a certificate may hold tens of thousands.
    private static func check(
        _ reader: inout DERReader, _ bytes: Span<UInt8>, in place: Place
    ) throws(CertificateError) -> DERElement {
        let element = try reader.next(bytes)
        let content = element.content
        switch element.tag {
        case DERTag.context(1), DERTag.context(2), DERTag.context(6):
            for offset in content where bytes[offset] >= 0x80 { throw reader.error(.text, at: offset) }
        case DERTag.context(7):
            let isMasked = place == .constraint
            let size = isMasked ? content.count / 2 : content.count
            guard size == 4 || size == 16, !isMasked || content.count.isMultiple(of: 2),
                !isMasked || isContiguous(mask: content.dropFirst(size), bytes)
            else { throw reader.error(.addressLength, at: element.start) }
        case DERTag.constructedContext(4):
            var inner = reader.inside(element)
            _ = try inner.name(bytes)
            try inner.finish()
        case DERTag.constructedContext(0):
            var inner = reader.inside(element)
            _ = try inner.objectIdentifier(bytes)
            let value = try inner.next(bytes, tag: DERTag.constructedContext(0))
            try inner.finish()
            try reader.checkUnknown(bytes, value)
        case DERTag.constructedContext(3), DERTag.constructedContext(5):
            try reader.checkUnknown(bytes, element)
        case DERTag.context(8):
            try reader.checkObjectIdentifier(bytes, content)
        default: throw reader.error(.unexpectedTag, at: element.start)
        }
        return element
    }

    /// RFC 5280 section 4.2.1.10 asks for a mask in the style of CIDR: ones, then zeros.
    private static func isContiguous(mask: Range<Int>, _ bytes: Span<UInt8>) -> Bool {
        var hasEnded = false
        for offset in mask {
            let byte = bytes[offset]
            if hasEnded { if byte != 0 { return false } else { continue } }
            if byte == 0xff { continue }
            guard (~byte &+ 1) & ~byte == 0 else { return false }
            hasEnded = true
        }
        return true
    }

    /// Checks GeneralNames: at least one, and each well-formed.
    static func check(
        _ bytes: Span<UInt8>, _ content: Range<Int>, _ field: CertificateField
    ) throws(CertificateError) {
        var reader = DERReader(content, field)
        guard !reader.isAtEnd else { throw reader.error(.emptySequence) }
        while !reader.isAtEnd { _ = try check(&reader, bytes, in: .name) }
    }
}

extension Certificate {
    /// The names of subjectAltName, in their order.
    public var subjectAltNames: [GeneralName] {
        guard let content = extensions.subjectAltName else { return [] }
        let der = der
        let bytes = der.span
        var reader = DERReader(content, .subjectAltName)
        var names: [GeneralName] = []
        while !reader.isAtEnd {
            // They were read once, when the certificate was.
            guard let name = try? GeneralName.read(&reader, bytes, in: .name) else { return names }
            names.append(name)
        }
        return names
    }

    /// The nameConstraints, where there are some.
    public var nameConstraints: NameConstraints? {
        guard let value = extensions.nameConstraints else { return nil }
        let der = der
        return try? NameConstraints(der.span, value)
    }
}

/// The value of a nameConstraints extension (RFC 5280 section 4.2.1.10).
public struct NameConstraints: Hashable, Sendable {
    public struct Subtree: Hashable, Sendable {
        public var base: GeneralName
        /// The number of the form's tag.
        public var form: UInt8
        /// It has a minimum other than 0, or a maximum, which RFC 5280 does not use: nobody can say what it means.
        public var hasDistances: Bool
    }

    public var permitted: [Subtree] = []
    public var excluded: [Subtree] = []

    init(_ bytes: Span<UInt8>, _ value: Range<Int>) throws(CertificateError) {
        var outer = DERReader(value, .nameConstraints)
        var reader = outer.inside(try outer.next(bytes, tag: DERTag.sequence))
        try outer.finish()
        guard !reader.isAtEnd else { throw reader.error(.emptySequence) }
        if let list = try reader.optional(bytes, tag: DERTag.constructedContext(0)) {
            permitted = try Self.subtrees(bytes, list.content)
        }
        if let list = try reader.optional(bytes, tag: DERTag.constructedContext(1)) {
            excluded = try Self.subtrees(bytes, list.content)
        }
        try reader.finish()
    }

    private static func subtrees(_ bytes: Span<UInt8>, _ content: Range<Int>) throws(CertificateError) -> [Subtree] {
        var list = DERReader(content, .nameConstraints)
        guard !list.isAtEnd else { throw list.error(.emptySequence) }
        var subtrees: [Subtree] = []
        while !list.isAtEnd {
            var reader = list.inside(try list.next(bytes, tag: DERTag.sequence))
            let base = try GeneralName.read(&reader, bytes, in: .constraint)
            var subtree = Subtree(base: base, form: base.form, hasDistances: false)
            if let minimum = try reader.optional(bytes, tag: DERTag.context(0)) {
                try reader.checkInteger(bytes, minimum.content)
                if try DERReader.smallInteger(bytes, minimum.content, reader) != 0 { subtree.hasDistances = true }
            }
            if let maximum = try reader.optional(bytes, tag: DERTag.context(1)) {
                try reader.checkInteger(bytes, maximum.content)
                subtree.hasDistances = true
            }
            try reader.finish()
            subtrees.append(subtree)
        }
        return subtrees
    }
}
