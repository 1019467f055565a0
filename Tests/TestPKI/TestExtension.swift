/// An extension, right or wrong.
public struct TestExtension: Hashable, Sendable {
    /// The type in dotted decimals.
    public var type: String
    public var isCritical: Bool
    /// What stands inside the OCTET STRING.
    public var value: [UInt8]
    /// The whole Extension, where it should be something else than these fields say.
    public var raw: [UInt8]?

    public init(_ type: String, critical isCritical: Bool = false, _ value: [UInt8], raw: [UInt8]? = nil) {
        self.type = type
        self.isCritical = isCritical
        self.value = value
        self.raw = raw
    }

    /// Extension.
    public var der: [UInt8] {
        if let raw { return raw }
        return DER.sequence(
            DER.objectIdentifier(type), isCritical ? DER.boolean(true) : [], DER.octetString(value))
    }

    /// BasicConstraints; `isCA` nil leaves the field out, as DER wants FALSE.
    public static func basicConstraints(isCA: Bool? = true, pathLength: Int? = nil, critical: Bool = true)
        -> TestExtension
    {
        var fields: [[UInt8]] = []
        if let isCA { fields.append(DER.boolean(isCA)) }
        if let pathLength { fields.append(DER.integer(pathLength)) }
        return TestExtension(OID.basicConstraints, critical: critical, DER.sequence(of: fields))
    }

    /// A bit of KeyUsage by its number (RFC 5280 section 4.2.1.3).
    public enum Usage: Int, Sendable {
        case digitalSignature
        case nonRepudiation
        case keyEncipherment
        case dataEncipherment
        case keyAgreement
        case keyCertSign
        case cRLSign
        case encipherOnly
        case decipherOnly
    }

    public static func keyUsage(_ bits: Usage..., critical: Bool = true) -> TestExtension {
        TestExtension(OID.keyUsage, critical: critical, DER.namedBits(bits.map(\.rawValue)))
    }

    public static func extKeyUsage(_ purposes: String..., critical: Bool = false) -> TestExtension {
        TestExtension(OID.extKeyUsage, critical: critical, DER.sequence(of: purposes.map(DER.objectIdentifier)))
    }

    public static func subjectAltName(_ names: TestGeneralName..., critical: Bool = false) -> TestExtension {
        TestExtension(OID.subjectAltName, critical: critical, DER.sequence(of: names.map(\.der)))
    }

    public static func subjectKeyIdentifier(_ identifier: [UInt8], critical: Bool = false) -> TestExtension {
        TestExtension(OID.subjectKeyIdentifier, critical: critical, DER.octetString(identifier))
    }

    /// AuthorityKeyIdentifier, with whichever of its fields is given.
    public static func authorityKeyIdentifier(
        _ identifier: [UInt8]?, issuer: TestName? = nil, serial: [UInt8]? = nil, critical: Bool = false
    ) -> TestExtension {
        var fields: [[UInt8]] = []
        if let identifier { fields.append(DER.implicit(0, identifier)) }
        if let issuer { fields.append(DER.element(0xA1, DER.explicit(4, issuer.der))) }
        if let serial { fields.append(DER.implicit(2, serial)) }
        return TestExtension(OID.authorityKeyIdentifier, critical: critical, DER.sequence(of: fields))
    }

    /// NameConstraints; nil leaves a list out, an empty list writes it with nothing in it.
    public static func nameConstraints(
        permitted: [TestGeneralName]? = nil, excluded: [TestGeneralName]? = nil, critical: Bool = true
    ) -> TestExtension {
        nameConstraints(
            permittedSubtrees: permitted.map { $0.map { DER.sequence($0.der) } },
            excludedSubtrees: excluded.map { $0.map { DER.sequence($0.der) } }, critical: critical)
    }

    /// NameConstraints of whole GeneralSubtree values.
    public static func nameConstraints(
        permittedSubtrees: [[UInt8]]?, excludedSubtrees: [[UInt8]]?, critical: Bool = true
    ) -> TestExtension {
        var fields: [[UInt8]] = []
        if let permittedSubtrees { fields.append(DER.element(0xA0, permittedSubtrees.flatMap(\.self))) }
        if let excludedSubtrees { fields.append(DER.element(0xA1, excludedSubtrees.flatMap(\.self))) }
        return TestExtension(OID.nameConstraints, critical: critical, DER.sequence(of: fields))
    }

    public static func certificatePolicies(_ policies: String..., critical: Bool = false) -> TestExtension {
        TestExtension(
            OID.certificatePolicies, critical: critical,
            DER.sequence(of: policies.map { DER.sequence(DER.objectIdentifier($0)) }))
    }

    /// An extension that nobody knows.
    public static func unknown(critical: Bool, type: String = OID.unknownExtension) -> TestExtension {
        TestExtension(type, critical: critical, DER.utf8String("unknown"))
    }
}

/// A GeneralName, in a subjectAltName or as the base of a constraint.
public enum TestGeneralName: Hashable, Sendable {
    case dns(String)
    case email(String)
    case uri(String)
    /// 4 or 16 bytes in a name, 8 or 32 in a constraint.
    case ip([UInt8])
    case directory(TestName)
    /// otherName of a type in dotted decimals, with this value.
    case other(String, [UInt8])
    case registeredID(String)
    /// Anything at all.
    case raw([UInt8])

    /// GeneralName.
    public var der: [UInt8] {
        switch self {
        case .other(let type, let value): DER.element(0xA0, DER.objectIdentifier(type) + DER.explicit(0, value))
        case .email(let text): DER.implicit(1, Array(text.utf8))
        case .dns(let text): DER.implicit(2, Array(text.utf8))
        case .directory(let name): DER.explicit(4, name.der)
        case .uri(let text): DER.implicit(6, Array(text.utf8))
        case .ip(let bytes): DER.implicit(7, bytes)
        case .registeredID(let type): DER.implicit(8, DER.contents(DER.objectIdentifier(type)))
        case .raw(let bytes): bytes
        }
    }
}
