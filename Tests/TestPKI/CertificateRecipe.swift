/// What goes into a certificate, field by field; every field holds the bytes that will stand there, right or wrong.
public struct CertificateRecipe: Sendable {
    /// The version field, tag included; empty for version 1.
    public var version: [UInt8] = DER.explicit(0, DER.integer(2))
    /// Contents of the serial number's INTEGER.
    public var serial: [UInt8] = [1]
    /// AlgorithmIdentifier inside the part that is signed; nil: what the signature is made with.
    public var innerAlgorithm: [UInt8]?
    /// AlgorithmIdentifier outside; nil: what the signature is made with.
    public var outerAlgorithm: [UInt8]?
    /// Name.
    public var issuer: [UInt8]
    /// UTCTime or GeneralizedTime.
    public var notBefore: [UInt8] = DER.time(TestTime.notBefore)
    public var notAfter: [UInt8] = DER.time(TestTime.notAfter)
    /// Validity, where it should be something else than the two times.
    public var validity: [UInt8]?
    /// Name.
    public var subject: [UInt8]
    public var spki: [UInt8]
    /// Whatever stands between the key and the extensions: the unique identifiers.
    public var uniqueIdentifiers: [UInt8] = []
    public var extensions: [TestExtension] = []
    /// The extensions field with its [3], where it should be something else than the list; empty for none.
    public var extensionsField: [UInt8]?
    /// Bytes after the last field of TBSCertificate, inside it.
    public var afterFields: [UInt8] = []
    /// The serial number's whole element, where it should not be an INTEGER of `serial`.
    public var serialElement: [UInt8]?
    /// How the signature is made; nil: the signing key's default.
    public var scheme: SigningScheme?
    /// Changes TBSCertificate before it is signed.
    public var changeTBS: @Sendable ([UInt8]) -> [UInt8] = { $0 }
    /// Changes the signature's bytes after it was made.
    public var changeSignature: @Sendable ([UInt8]) -> [UInt8] = { $0 }
    /// The signature's whole element, where it should not be a BIT STRING of the signature.
    public var signatureElement: [UInt8]?
    /// Changes the certificate at the very end.
    public var changeCertificate: @Sendable ([UInt8]) -> [UInt8] = { $0 }

    public init(issuer: [UInt8], subject: [UInt8], spki: [UInt8]) {
        self.issuer = issuer
        self.subject = subject
        self.spki = spki
    }

    /// Version 1: no version field, no extensions.
    public mutating func makeVersion1() {
        version = []
        extensions = []
        extensionsField = []
    }

    /// Both times, written as RFC 5280 wants them.
    public mutating func setValidity(_ notBefore: Int64, _ notAfter: Int64) {
        self.notBefore = DER.time(notBefore)
        self.notAfter = DER.time(notAfter)
    }

    /// Puts the extension in the place of the one of its type, or at the end.
    public mutating func set(_ newExtension: TestExtension) {
        if let index = extensions.firstIndex(where: { $0.type == newExtension.type }) {
            extensions[index] = newExtension
        } else {
            extensions.append(newExtension)
        }
    }

    /// Takes away every extension of the type.
    public mutating func remove(_ type: String) {
        extensions.removeAll { $0.type == type }
    }

    /// TBSCertificate.
    public func tbs(scheme: SigningScheme) -> [UInt8] {
        let written = extensionsField ?? (extensions.isEmpty ? [] : Self.field(of: extensions))
        return changeTBS(
            DER.sequence(
                version, serialElement ?? DER.integer(contents: serial), innerAlgorithm ?? scheme.algorithmIdentifier,
                issuer, validity ?? DER.sequence(notBefore, notAfter), subject, spki, uniqueIdentifiers, written,
                afterFields))
    }

    /// The extensions field, [3] included.
    public static func field(of extensions: [TestExtension]) -> [UInt8] {
        DER.explicit(3, DER.sequence(of: extensions.map(\.der)))
    }

    /// The certificate, signed with the key.
    public func certificate(signedBy key: TestKey) -> [UInt8] {
        let scheme = scheme ?? key.defaultScheme
        let tbs = tbs(scheme: scheme)
        let signature = signatureElement ?? DER.bitString(changeSignature(key.sign(tbs, scheme)))
        return changeCertificate(DER.sequence(tbs, outerAlgorithm ?? scheme.algorithmIdentifier, signature))
    }
}
