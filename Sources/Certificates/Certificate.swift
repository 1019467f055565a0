/// An X.509 certificate (RFC 5280 section 4.1) that was read strictly, as DER.
///
/// Reading decides only what the bytes say; whether a certificate may be used is decided by rules. Tolerated on reading,
/// for such certificates are about and what they mean is not in doubt: a written-out DEFAULT, GeneralizedTime before 2050,
/// and text in a name that does not fit its type. The contents of extensions that are not known are not looked at.
///
/// It never changes; it is a class because paths hand it on at every step, and a reference is cheaper to hand on than its
/// dozen fields.
public final class Certificate: Sendable {
    /// The certificate, whole.
    public let der: [UInt8]
    /// TBSCertificate: what the signature is over.
    public let toBeSigned: Range<Int>
    /// 1, 2 or 3.
    public let version: Int
    public let serialNumber: SerialNumber
    public let validity: ValidityPeriod
    /// The SubjectPublicKeyInfo, whole.
    public let publicKeyInfo: Range<Int>
    /// The bytes of its BIT STRING.
    public let publicKey: Range<Int>
    public let keyAlgorithm: KeyAlgorithm
    /// Of the signature field outside.
    public let signatureAlgorithm: SignatureAlgorithm
    /// Whether the field inside says the same, byte by byte (RFC 5280 section 4.1.1.2).
    public let signatureAlgorithmsAgree: Bool
    /// The bytes of the signature's BIT STRING.
    public let signature: Range<Int>
    public let extensions: CertificateExtensions

    private let issuerRange: Range<Int>
    private let subjectRange: Range<Int>

    public var notBefore: Instant { validity.notBefore }
    public var notAfter: Instant { validity.notAfter }
    public var issuer: DistinguishedName { DistinguishedName(Array(der[issuerRange])) }
    public var subject: DistinguishedName { DistinguishedName(Array(der[subjectRange])) }

    /// The SubjectPublicKeyInfo's bytes: the same for two certificates exactly where their keys are written the same.
    public var publicKeyInfoBytes: ArraySlice<UInt8> { der[publicKeyInfo] }
    /// What the signature is over.
    public var toBeSignedBytes: ArraySlice<UInt8> { der[toBeSigned] }

    /// Issuer and subject are the same name, byte by byte or as RFC 5280 section 7.1 compares.
    public var isSelfIssued: Bool {
        der[issuerRange] == der[subjectRange] || issuer.normalized == subject.normalized
    }

    /// Reads one certificate; nothing may follow.
    ///
    /// - Throws: where and why the bytes are none.
    public init(der: [UInt8]) throws(CertificateError) {
        let bytes = der.span
        var file = DERReader(0..<bytes.count, .certificate)
        var outer = file.inside(try file.next(bytes, tag: DERTag.sequence))
        try file.finish()
        let tbs = try outer.next(bytes, tag: DERTag.sequence)
        var algorithmReader = DERReader(outer.position..<outer.end, .signatureAlgorithm)
        let algorithm = try algorithmReader.algorithmIdentifier(bytes)
        var signatureReader = DERReader(algorithmReader.position..<outer.end, .signatureValue)
        signature = try signatureReader.byteBitString(bytes)
        try signatureReader.finish()

        let fields = try CertificateFields(bytes, tbs.content)
        toBeSigned = tbs.range
        version = fields.version
        serialNumber = SerialNumber(derContents: bytes.copy(fields.serialNumber))
        validity = fields.validity
        issuerRange = fields.issuer
        subjectRange = fields.subject
        publicKeyInfo = fields.key.range
        publicKey = fields.key.key
        keyAlgorithm = fields.key.algorithm
        signatureAlgorithm = SignatureAlgorithm(algorithm, bytes)
        signatureAlgorithmsAgree = equal(algorithm.range, fields.signature.range, in: bytes)
        extensions = fields.extensions
        self.der = der
    }
}

extension Certificate {
    /// The serial number alone, of a certificate that was read before: nothing else is looked at.
    public static func serialNumber(inKnown der: [UInt8]) -> SerialNumber? {
        let bytes = der.span
        return serialNumberContents(inKnown: bytes).map { SerialNumber(derContents: bytes.copy($0)) }
    }

    /// Where the contents of the serial number's INTEGER stand, in a certificate that was read before.
    public static func serialNumberContents(inKnown bytes: Span<UInt8>) -> Range<Int>? {
        var file = DERReader(0..<bytes.count, .certificate)
        guard let outer = try? file.next(bytes, tag: DERTag.sequence) else { return nil }
        var certificate = file.inside(outer)
        guard let tbs = try? certificate.next(bytes, tag: DERTag.sequence) else { return nil }
        var fields = certificate.inside(tbs, .serialNumber)
        if fields.peek(bytes) == DERTag.constructedContext(0) { _ = try? fields.next(bytes) }
        return try? fields.integer(bytes)
    }
}

extension Certificate: Hashable {
    public static func == (left: Certificate, right: Certificate) -> Bool { left.der == right.der }
    public func hash(into hasher: inout Hasher) { hasher.combine(der) }
}

/// The fields of a TBSCertificate, in their order.
private struct CertificateFields {
    var version = 1
    var serialNumber: Range<Int>
    var signature: AlgorithmIdentifier
    var issuer: Range<Int>
    var validity: ValidityPeriod
    var subject: Range<Int>
    var key: PublicKeyInfo
    var extensions = CertificateExtensions()

    init(_ bytes: Span<UInt8>, _ content: Range<Int>) throws(CertificateError) {
        var reader = DERReader(content, .tbsCertificate)
        if let field = try reader.optional(bytes, tag: DERTag.constructedContext(0)) {
            var inner = reader.inside(field, .version)
            let number = try inner.smallInteger(bytes)
            try inner.finish()
            guard number <= 2 else { throw inner.error(.integerOutOfRange, at: field.start) }
            version = number + 1
        }
        var serialReader = DERReader(reader.position..<reader.end, .serialNumber)
        serialNumber = try serialReader.integer(bytes)
        var signatureReader = DERReader(serialReader.position..<reader.end, .signature)
        signature = try signatureReader.algorithmIdentifier(bytes)
        var issuerReader = DERReader(signatureReader.position..<reader.end, .issuer)
        issuer = try issuerReader.name(bytes)
        var validityReader = DERReader(issuerReader.position..<reader.end, .validity)
        var period = validityReader.inside(try validityReader.next(bytes, tag: DERTag.sequence))
        validity = ValidityPeriod(notBefore: try period.time(bytes), notAfter: try period.time(bytes))
        try period.finish()
        var subjectReader = DERReader(validityReader.position..<reader.end, .subject)
        subject = try subjectReader.name(bytes)
        var keyReader = DERReader(subjectReader.position..<reader.end, .subjectPublicKeyInfo)
        key = try keyReader.publicKeyInfo(bytes)

        var rest = DERReader(keyReader.position..<reader.end, .tbsCertificate)
        for (tag, field) in [
            (DERTag.context(1), CertificateField.issuerUniqueID), (DERTag.context(2), .subjectUniqueID),
        ] where rest.peek(bytes) == tag {
            guard version >= 2 else { throw rest.error(.notInThisVersion) }
            var unique = DERReader(rest.position..<rest.end, field)
            _ = try unique.bitString(bytes, tag: tag)
            rest = DERReader(unique.position..<rest.end, .tbsCertificate)
        }
        if rest.peek(bytes) == DERTag.constructedContext(3) {
            guard version == 3 else { throw rest.error(.notInThisVersion) }
            let field = try rest.next(bytes)
            extensions = try CertificateExtensions(bytes, field.content)
        }
        try rest.finish()
    }
}

extension Span where Element == UInt8 {
    /// A copy of a range.
    func copy(_ range: Range<Int>) -> [UInt8] {
        var copy: [UInt8] = []
        copy.reserveCapacity(range.count)
        for offset in range { copy.append(self[offset]) }
        return copy
    }
}
