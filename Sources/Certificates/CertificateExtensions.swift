/// The extensions of a certificate that mean something to path validation (RFC 5280 section 4.2).
public struct CertificateExtensions: Hashable, Sendable {
    /// basicConstraints.
    public struct BasicConstraints: Hashable, Sendable {
        public var isCA: Bool
        /// Intermediates that may follow, those that are not self-issued.
        public var pathLength: Int?
    }

    /// keyUsage: the named bits, bit 0 first.
    public struct KeyUsage: OptionSet, Hashable, Sendable {
        public let rawValue: UInt16

        /// Bit n of the BIT STRING is bit n here.
        public init(rawValue: UInt16) { self.rawValue = rawValue }

        public static let digitalSignature = KeyUsage(rawValue: 1 << 0)
        public static let keyAgreement = KeyUsage(rawValue: 1 << 4)
        public static let keyCertSign = KeyUsage(rawValue: 1 << 5)
    }

    public var basicConstraints: BasicConstraints?
    public var keyUsage: KeyUsage?
    /// Whether extendedKeyUsage holds clientAuth or anyExtendedKeyUsage; nil where there is none.
    public var allowsClientAuth: Bool?
    /// The subjectAltName's GeneralNames, without their SEQUENCE's header. Each was checked.
    public var subjectAltName: Range<Int>?
    /// The nameConstraints extension's value, whole. It was checked.
    public var nameConstraints: Range<Int>?
    public var subjectKeyIdentifier: Range<Int>?
    /// The keyIdentifier of authorityKeyIdentifier.
    public var authorityKeyIdentifier: Range<Int>?
    /// There is an authorityKeyIdentifier with an issuer and serial number.
    public var authorityIssuer: Range<Int>?
    public var authoritySerialNumber: Range<Int>?
    /// Dotted text of the first critical extension that is not known.
    public var unknownCritical: String?
    /// Dotted text of the first extension that is there twice (RFC 5280 section 4.2).
    public var duplicate: String?
    /// How many extensions there are.
    public var count = 0

    init() {}

    /// - Parameter content: the contents of the field `[3]`.
    init(_ bytes: Span<UInt8>, _ content: Range<Int>) throws(CertificateError) {
        var field = DERReader(content, .extensions)
        var list = field.inside(try field.next(bytes, tag: DERTag.sequence))
        try field.finish()
        guard !list.isAtEnd else { throw list.error(.emptySequence) }
        var seen = ExtensionNames(byteCount: content.count)
        while !list.isAtEnd {
            var one = list.inside(try list.next(bytes, tag: DERTag.sequence))
            let name = try one.objectIdentifier(bytes)
            var isCritical = false
            if let flag = try one.optional(bytes, tag: DERTag.boolean) {
                isCritical = try DERReader.boolean(bytes, flag, one)
            }
            let value = try one.next(bytes, tag: DERTag.octetString)
            try one.finish()
            count += 1
            if !seen.insert(name, in: bytes), duplicate == nil { duplicate = OID.text(bytes.copy(name)) }
            let isKnown = try read(bytes, name, value.content)
            if isCritical, !isKnown, unknownCritical == nil { unknownCritical = OID.text(bytes.copy(name)) }
        }
    }

    /// Reads an extension's value where it is one that is known. Of one that is there twice the first counts.
    private mutating func read(
        _ bytes: Span<UInt8>, _ name: Range<Int>, _ value: Range<Int>
    ) throws(CertificateError) -> Bool {
        switch KnownExtension(name, in: bytes) {
        case .basicConstraints:
            let constraints = try Self.basicConstraints(bytes, value)
            basicConstraints = basicConstraints ?? constraints
        case .keyUsage:
            let usage = try Self.keyUsage(bytes, value)
            keyUsage = keyUsage ?? usage
        case .extendedKeyUsage:
            let allows = try Self.allowsClientAuth(bytes, value)
            allowsClientAuth = allowsClientAuth ?? allows
        case .subjectAltName:
            var reader = DERReader(value, .subjectAltName)
            let list = try reader.next(bytes, tag: DERTag.sequence)
            try reader.finish()
            try GeneralName.check(bytes, list.content, .subjectAltName)
            subjectAltName = subjectAltName ?? list.content
        case .nameConstraints:
            _ = try NameConstraints(bytes, value)
            nameConstraints = nameConstraints ?? value
        case .subjectKeyIdentifier:
            var reader = DERReader(value, .subjectKeyIdentifier)
            let identifier = try reader.next(bytes, tag: DERTag.octetString)
            try reader.finish()
            subjectKeyIdentifier = subjectKeyIdentifier ?? identifier.content
        case .authorityKeyIdentifier:
            try readAuthorityKeyIdentifier(bytes, value)
        case .certificatePolicies, .policyMappings, .policyConstraints, .inhibitAnyPolicy:
            // Recognised and not processed: any policy will do, none is required.
            break
        case nil: return false
        }
        return true
    }

    private static func basicConstraints(
        _ bytes: Span<UInt8>, _ value: Range<Int>
    ) throws(CertificateError) -> BasicConstraints {
        var outer = DERReader(value, .basicConstraints)
        var reader = outer.inside(try outer.next(bytes, tag: DERTag.sequence))
        try outer.finish()
        var constraints = BasicConstraints(isCA: false, pathLength: nil)
        if let flag = try reader.optional(bytes, tag: DERTag.boolean) {
            constraints.isCA = try DERReader.boolean(bytes, flag, reader)
        }
        if !reader.isAtEnd { constraints.pathLength = try reader.smallInteger(bytes) }
        try reader.finish()
        return constraints
    }

    private static func keyUsage(_ bytes: Span<UInt8>, _ value: Range<Int>) throws(CertificateError) -> KeyUsage {
        var reader = DERReader(value, .keyUsage)
        let (unused, content) = try reader.bitString(bytes)
        try reader.finish()
        // Named bits end in a one (11.2.2).
        if let last = content.last {
            guard bytes[last] >> UInt8(unused) & 1 == 1 else { throw reader.error(.bitStringTrailingZeros, at: last) }
        }
        var usage: UInt16 = 0
        for (index, offset) in content.prefix(2).enumerated() {
            for bit in 0..<8 where bytes[offset] & (0x80 >> UInt8(bit)) != 0 { usage |= 1 << UInt16(index * 8 + bit) }
        }
        return KeyUsage(rawValue: usage)
    }

    private static func allowsClientAuth(_ bytes: Span<UInt8>, _ value: Range<Int>) throws(CertificateError) -> Bool {
        var outer = DERReader(value, .extendedKeyUsage)
        var reader = outer.inside(try outer.next(bytes, tag: DERTag.sequence))
        try outer.finish()
        guard !reader.isAtEnd else { throw reader.error(.emptySequence) }
        var allows = false
        while !reader.isAtEnd {
            let purpose = try reader.objectIdentifier(bytes)
            if equal(purpose, OID.clientAuth, in: bytes) || equal(purpose, OID.anyExtendedKeyUsage, in: bytes) {
                allows = true
            }
        }
        return allows
    }

    private mutating func readAuthorityKeyIdentifier(
        _ bytes: Span<UInt8>, _ value: Range<Int>
    ) throws(CertificateError) {
        var outer = DERReader(value, .authorityKeyIdentifier)
        var reader = outer.inside(try outer.next(bytes, tag: DERTag.sequence))
        try outer.finish()
        if let identifier = try reader.optional(bytes, tag: DERTag.context(0)) {
            authorityKeyIdentifier = authorityKeyIdentifier ?? identifier.content
        }
        if let names = try reader.optional(bytes, tag: DERTag.constructedContext(1)) {
            try GeneralName.check(bytes, names.content, .authorityKeyIdentifier)
            authorityIssuer = authorityIssuer ?? names.content
        }
        if let serial = try reader.optional(bytes, tag: DERTag.context(2)) {
            try reader.checkInteger(bytes, serial.content)
            authoritySerialNumber = authoritySerialNumber ?? serial.content
        }
        try reader.finish()
    }
}

/// The names of the extensions that were seen. A certificate may hold thousands of them, so a long list is hashed.
private struct ExtensionNames {
    private var list: [16 of Range<Int>] = .init(repeating: 0..<0)
    private var listed = 0
    private var packed: Set<UInt64> = []
    private var long: Set<[UInt8]> = []
    private let byteCount: Int
    /// Of an extension with a name that is packed, and no value.
    private static let leastBytes = 7

    /// - Parameter byteCount: how long the extensions are together.
    init(byteCount: Int) {
        self.byteCount = byteCount
    }

    /// False where the name was there already.
    mutating func insert(_ name: Range<Int>, in bytes: Span<UInt8>) -> Bool {
        if listed < list.count {
            for index in 0..<listed where equal(list[index], name, in: bytes) { return false }
            list[listed] = name
            listed += 1
            guard listed == list.count else { return true }
            packed.reserveCapacity(byteCount / Self.leastBytes)
            for index in list.indices { _ = hash(list[index], in: bytes) }
            return true
        }
        return hash(name, in: bytes)
    }

    /// The more of them a certificate holds, the shorter they are: short ones are hashed without a copy.
    private mutating func hash(_ name: Range<Int>, in bytes: Span<UInt8>) -> Bool {
        guard name.count < 8 else { return long.insert(bytes.copy(name)).inserted }
        // The one in front keeps names of different lengths apart.
        return packed.insert(name.reduce(1) { $0 << 8 | UInt64(bytes[$1]) }).inserted
    }
}
