import Certificates
import Fuzzer
import TestPKI

/// Makes certificates of an input: well encoded ones that say what the input says, and some with other bytes here and there.
struct CertificateSource {
    private var pieces: Pieces

    init(_ input: [UInt8]) {
        pieces = Pieces(input)
    }

    private static let names: [TestName] = [
        "R", "A", "B", "C", "a", .empty, TestName(.teletex(TestPKI.OID.commonName, [0xe4, 0x41])),
        TestName(.utf8(TestPKI.OID.country, "x"), .utf8(TestPKI.OID.emailAddress, "u@a.test")),
    ]
    // Encoded once: to make them each time would take longer than the search.
    private static let encodedNames = names.map(\.der)
    private static let keys = [
        TestKey.p256(1), .p256(2), .p256(3), .p384(4), .rsa2048, .ed25519(5), .rsa1024, .secp256k1(6),
    ].map(\.spki)
    private static let good = SigningScheme.ecdsa(.sha256)
    private static let goodIdentifier = good.algorithmIdentifier
    private static let weakIdentifier = SigningScheme.rsa(.sha1).algorithmIdentifier
    private static let texts = ["a.test", ".a.test", "b.a.test", "u@a.test", "x://a.test/", "", "*.a.test", "R"]

    /// Different ones, as the registry hands them on.
    mutating func certificates(upTo most: Int) -> [Certificate] {
        var certificates: [Certificate] = []
        for _ in 0..<pieces.number(below: most + 1) {
            guard let certificate = certificate(), !certificates.contains(certificate) else { continue }
            certificates.append(certificate)
        }
        return certificates
    }

    mutating func certificate() -> Certificate? {
        let (subject, issuer) = (pieces.pick(Self.encodedNames), pieces.pick(Self.encodedNames))
        var recipe = CertificateRecipe(issuer: issuer, subject: subject, spki: pieces.pick(Self.keys))
        recipe.serial = [pieces.byte() & 0x7f]
        let kind = pieces.byte()
        if kind & 0x0f == 1 { recipe.setValidity(0, TestTime.now - 1) }
        if kind & 0x0f == 2 { recipe.setValidity(TestTime.now + 1, TestTime.notAfter) }
        if kind & 0x0f == 3 { recipe.makeVersion1() }
        if kind & 0x10 == 0 { recipe.extensions.append(.basicConstraints()) }
        for _ in 0..<kind >> 5 { recipe.extensions.append(anExtension()) }
        let identifier = kind & 0x0f == 4 ? Self.weakIdentifier : Self.goodIdentifier
        recipe.innerAlgorithm = identifier
        var der = DER.sequence(recipe.tbs(scheme: Self.good), identifier, DER.bitString([pieces.byte()]))
        for _ in 0..<max(0, pieces.number(below: 8) - 5) {
            der[(Int(pieces.byte()) << 8 | Int(pieces.byte())) % der.count] = pieces.byte()
        }
        return try? Certificate(der: der)
    }

    private mutating func anExtension() -> TestExtension {
        let isCritical = pieces.byte() & 1 == 0
        switch pieces.number(below: 11) {
        case 0: return .basicConstraints(isCA: isCritical, pathLength: pieces.number(below: 4))
        case 1: return .keyUsage(.keyCertSign, .digitalSignature)
        case 2: return .keyUsage(isCritical ? .keyCertSign : .digitalSignature)
        case 3: return .extKeyUsage(isCritical ? TestPKI.OID.clientAuth : TestPKI.OID.serverAuth)
        case 4: return .subjectAltName(generalName(), generalName())
        case 5: return .nameConstraints(permitted: [generalName(), generalName()])
        case 6: return .nameConstraints(permitted: isCritical ? nil : [generalName()], excluded: [generalName()])
        case 7: return .subjectKeyIdentifier([pieces.byte() & 3])
        case 8: return .authorityKeyIdentifier([pieces.byte() & 3])
        case 9: return .unknown(critical: isCritical)
        default: return TestExtension("2.5.29.\(pieces.byte() & 63)", critical: isCritical, pieces.some())
        }
    }

    private mutating func generalName() -> TestGeneralName {
        switch pieces.number(below: 7) {
        case 0: .email(pieces.pick(Self.texts))
        case 1: .dns(pieces.pick(Self.texts))
        case 2: .uri(pieces.pick(Self.texts))
        case 3: .ip([10, 0, 0, pieces.byte()])
        case 4: .ip([10, 0, 0, 0, 255, 255, 255, pieces.byte()])
        case 5: .directory(pieces.pick(Self.names))
        default: .raw(pieces.some())
        }
    }
}
