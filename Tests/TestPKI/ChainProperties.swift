extension ChainGenerator {
    /// Everything that one certificate of a chain can have out of the ordinary.
    public static let properties: [ChainProperty] =
        validity + basicConstraints + usages + extensions + signatures + schemes + authorityKeys + keys + names
        + identifiers + fields
        + dnsConstraints + otherConstraints + encodings + chains

    private typealias Surroundings = ChainProperty.Surroundings

    private static func property(
        _ name: String, _ clause: String, _ places: ChainProperty.Place...,
        change: @escaping @Sendable (inout CertificateRecipe) -> Void
    ) -> ChainProperty {
        ChainProperty(name: name, clause: clause, places: places.isEmpty ? ChainProperty.Place.allCases : places) {
            recipe, _ in
            change(&recipe)
        }
    }

    private static let now = TestTime.now

    // MARK: Validity

    private static let validity: [ChainProperty] = [
        property("validity: expired", "RFC 5280 4.1.2.5") { $0.setValidity(0, now - 1) },
        property("validity: not yet", "RFC 5280 4.1.2.5") { $0.setValidity(now + 1, TestTime.notAfter) },
        property("validity: first second", "RFC 5280 4.1.2.5") { $0.setValidity(now, TestTime.notAfter) },
        property("validity: last second", "RFC 5280 4.1.2.5") { $0.setValidity(TestTime.notBefore, now) },
        property("validity: reversed", "RFC 5280 4.1.2.5") { $0.setValidity(now + 60, now - 60) },
        property("validity: no end", "RFC 5280 4.1.2.5") { $0.notAfter = DER.generalizedTime("99991231235959Z") },
        property("validity: GeneralizedTime before 2050", "RFC 5280 4.1.2.5") {
            $0.notBefore = DER.generalizedTime("20200101000000Z")
            $0.notAfter = DER.generalizedTime("20400101000000Z")
        },
        property("validity: UTCTime without seconds", "RFC 5280 4.1.2.5.1") {
            $0.notBefore = DER.utcTime("2001010000Z")
        },
        property("validity: UTCTime with an offset", "RFC 5280 4.1.2.5.1") {
            $0.notBefore = DER.utcTime("200101000000+0100")
        },
        property("validity: fractions of a second", "RFC 5280 4.1.2.5.2") {
            $0.notBefore = DER.generalizedTime("20200101000000.5Z")
        },
    ]

    // MARK: Authorities

    private static let basicConstraints: [ChainProperty] = [
        property("basicConstraints: none", "RFC 5280 6.1.4 (k)", .intermediate) { $0.remove(OID.basicConstraints) },
        property("basicConstraints: empty", "RFC 5280 6.1.4 (k)", .intermediate, .device) {
            $0.set(.basicConstraints(isCA: nil))
        },
        property("basicConstraints: FALSE written out", "X.690 11.5", .intermediate, .device) {
            $0.set(.basicConstraints(isCA: false))
        },
        property("basicConstraints: not critical", "RFC 5280 4.2.1.9", .anchor, .intermediate) {
            $0.set(.basicConstraints(critical: false))
        },
        property("basicConstraints: TRUE on a device", "RFC 5280 4.2.1.9", .device) { $0.set(.basicConstraints()) },
        ChainProperty(
            name: "path length: just enough", clause: "RFC 5280 6.1.4 (m)", places: [.anchor, .intermediate]
        ) { recipe, surroundings in
            recipe.set(.basicConstraints(pathLength: surroundings.intermediatesBelow))
        },
        ChainProperty(
            name: "path length: one too small", clause: "RFC 5280 6.1.4 (l)", places: [.anchor, .intermediate]
        ) { recipe, surroundings in
            guard surroundings.intermediatesBelow > 0 else { return recipe.set(.basicConstraints(pathLength: 0)) }
            recipe.set(.basicConstraints(pathLength: surroundings.intermediatesBelow - 1))
        },
        property("path length: on a device", "RFC 5280 4.2.1.9", .device) {
            $0.set(.basicConstraints(isCA: nil, pathLength: 0))
        },
        property("path length: huge", "RFC 5280 4.2.1.9", .anchor, .intermediate) {
            $0.set(.basicConstraints(pathLength: 1 << 40))
        },
    ]

    private static let usages: [ChainProperty] = [
        property("keyUsage: none", "RFC 5280 4.2.1.3") { $0.remove(OID.keyUsage) },
        property("keyUsage: no keyCertSign", "RFC 5280 6.1.4 (n)", .intermediate) { $0.set(.keyUsage(.cRLSign)) },
        property("keyUsage: not critical, no keyCertSign", "RFC 5280 6.1.4 (n)", .intermediate) {
            $0.set(.keyUsage(.digitalSignature, critical: false))
        },
        property("keyUsage: keyCertSign alone", "RFC 5280 4.2.1.3", .anchor, .intermediate) {
            $0.set(.keyUsage(.keyCertSign))
        },
        property("keyUsage: keyAgreement alone", "RFC 5280 4.2.1.3", .device) { $0.set(.keyUsage(.keyAgreement)) },
        property("keyUsage: keyEncipherment alone", "RFC 5280 4.2.1.3", .device) {
            $0.set(.keyUsage(.keyEncipherment))
        },
        property("keyUsage: nonRepudiation alone", "RFC 5280 4.2.1.3", .device) { $0.set(.keyUsage(.nonRepudiation)) },
        property("keyUsage: keyCertSign on a device", "RFC 5280 4.2.1.3", .device) {
            $0.set(.keyUsage(.digitalSignature, .keyCertSign))
        },
        property("keyUsage: no bit", "RFC 5280 4.2.1.3", .device) { $0.set(.keyUsage()) },
        property("extKeyUsage: none", "RFC 5280 4.2.1.12") { $0.remove(OID.extKeyUsage) },
        property("extKeyUsage: clients", "RFC 5280 4.2.1.12") { $0.set(.extKeyUsage(OID.clientAuth)) },
        property("extKeyUsage: servers", "RFC 5280 4.2.1.12", .intermediate, .device) {
            $0.set(.extKeyUsage(OID.serverAuth))
        },
        property("extKeyUsage: any", "RFC 5280 4.2.1.12") { $0.set(.extKeyUsage(OID.anyExtendedKeyUsage)) },
        property("extKeyUsage: any and servers", "RFC 5280 4.2.1.12") {
            $0.set(.extKeyUsage(OID.serverAuth, OID.anyExtendedKeyUsage))
        },
        property("extKeyUsage: servers and clients", "RFC 5280 4.2.1.12") {
            $0.set(.extKeyUsage(OID.serverAuth, OID.clientAuth, critical: true))
        },
        property("extKeyUsage: something unknown", "RFC 5280 4.2.1.12", .intermediate, .device) {
            $0.set(.extKeyUsage("1.2.3.4"))
        },
        property("extKeyUsage: empty", "RFC 5280 4.2.1.12") { $0.set(.extKeyUsage()) },
    ]

    // MARK: Extensions

    private static let extensions: [ChainProperty] = [
        property("extension: unknown", "RFC 5280 4.2") { $0.set(.unknown(critical: false)) },
        property("extension: unknown, critical", "RFC 5280 4.2") { $0.set(.unknown(critical: true)) },
        property("extension: unknown, twice", "RFC 5280 4.2") {
            $0.extensions += [.unknown(critical: false), .unknown(critical: false)]
        },
        property("extension: known, twice", "RFC 5280 4.2") {
            $0.remove(OID.subjectKeyIdentifier)
            $0.extensions += [.subjectKeyIdentifier([1]), .subjectKeyIdentifier([1])]
        },
        property("extension: critical policies", "RFC 5280 4.2.1.4") {
            $0.set(.certificatePolicies("1.2.3.4", critical: true))
        },
        property("extension: critical policy constraints", "RFC 5280 4.2.1.11") {
            $0.set(TestExtension(OID.policyConstraints, critical: true, DER.sequence(DER.implicit(0, [0]))))
        },
        property("extension: critical inhibition of any policy", "RFC 5280 4.2.1.14") {
            $0.set(TestExtension(OID.inhibitAnyPolicy, critical: true, DER.integer(0)))
        },
        property("extension: critical CRL distribution points", "RFC 5280 4.2.1.13") {
            let point = DER.sequence(DER.explicit(0, DER.explicit(0, TestGeneralName.uri("http://a.test/crl").der)))
            $0.set(TestExtension(OID.crlDistributionPoints, critical: true, DER.sequence(point)))
        },
        property("extension: critical issuer alternative name", "RFC 5280 4.2.1.7") {
            $0.set(TestExtension(OID.issuerAltName, critical: true, DER.sequence(TestGeneralName.dns("a.test").der)))
        },
        property("extension: the list is empty", "RFC 5280 4.1") {
            $0.extensionsField = DER.explicit(3, DER.sequence())
        },
        property("extension: none at all", "RFC 5280 4.1", .device, .intermediate) { $0.extensions = [] },
        property("extension: criticality FALSE written out", "X.690 11.5") {
            $0.extensions.append(
                TestExtension(
                    "1.2.3", [],
                    raw: DER.sequence(DER.objectIdentifier("1.2.3"), DER.boolean(false), DER.octetString([1]))))
        },
        property("extension: criticality 01", "X.690 11.1") {
            $0.extensions.append(
                TestExtension(
                    "1.2.3", [], raw: DER.sequence(DER.objectIdentifier("1.2.3"), [1, 1, 1], DER.octetString([1]))))
            $0.extensions.removeAll { $0.type == OID.unknownExtension }
        },
    ]

    // MARK: Signatures and keys

    private static let signatures: [ChainProperty] = [
        property("signature: another bit", "RFC 5280 6.1.3 (a) (1)", .device, .intermediate) {
            $0.changeSignature = { $0.dropLast() + [$0[$0.count - 1] ^ 1] }
        },
        property("signature: a byte behind it", "RFC 5280 6.1.3 (a) (1)", .device, .intermediate) {
            $0.changeSignature = { $0 + [0] }
        },
        property("signature: none", "RFC 5280 6.1.3 (a) (1)", .device, .intermediate) {
            $0.changeSignature = { _ in [] }
        },
        property("signature: of the anchor, another bit", "RFC 5280 6.1.1 (d)", .anchor) {
            $0.changeSignature = { $0.dropLast() + [$0[$0.count - 1] ^ 1] }
        },
        property("signature: another algorithm inside", "RFC 5280 4.1.1.2") {
            $0.innerAlgorithm = SigningScheme.rsa(.sha512).algorithmIdentifier
        },
        property("signature: another algorithm outside", "RFC 5280 4.1.1.2") {
            $0.outerAlgorithm = SigningScheme.rsa(.sha512).algorithmIdentifier
        },
        property("signature: unused bits", "RFC 5280 4.1.1.3") {
            let element = DER.bitString([UInt8](repeating: 0xF0, count: 70), unusedBits: 4)
            $0.signatureElement = element
        },
    ]

    /// The certificate signed with a scheme that fits its signer; nil for none that does.
    private static func signed(
        _ name: String, _ clause: String, _ places: ChainProperty.Place...,
        scheme: @escaping @Sendable (TestKey.Kind) -> SigningScheme?
    ) -> ChainProperty {
        ChainProperty(name: name, clause: clause, places: places) { recipe, surroundings in
            recipe.scheme = scheme(surroundings.signer.kind) ?? recipe.scheme
        }
    }

    private static let schemes: [ChainProperty] = [
        signed("signature: SHA-1", "weak digests", .device, .intermediate) { $0 == .rsa ? .rsa(.sha1) : .ecdsa(.sha1) },
        signed("signature: SHA-1, of the anchor", "RFC 5280 6.1.1 (d)", .anchor) {
            $0 == .rsa ? .rsa(.sha1) : .ecdsa(.sha1)
        },
        signed("signature: SHA-224", "weak digests", .device, .intermediate) {
            $0 == .rsa ? .rsa(.sha224) : .ecdsa(.sha224)
        },
        signed("signature: MD5", "weak digests", .device, .intermediate) { $0 == .rsa ? .rsa(.md5) : nil },
        signed("signature: SHA-384", "RFC 5758", .device, .intermediate) {
            $0 == .rsa ? .rsa(.sha384) : .ecdsa(.sha384)
        },
        signed("signature: SHA-512", "RFC 5758", .device, .intermediate) {
            $0 == .rsa ? .rsa(.sha512) : .ecdsa(.sha512)
        },
        signed("signature: PSS", "RFC 4055", .device, .intermediate) { $0 == .rsa ? .pss(.sha256) : nil },
        signed("signature: PSS without salt", "RFC 4055", .device, .intermediate) {
            $0 == .rsa ? .pss(.sha384, saltLength: 0, maskHash: .sha384) : nil
        },
        signed("signature: PSS with SHA-1", "weak digests", .device, .intermediate) {
            $0 == .rsa ? .pss(.sha1) : nil
        },
    ]

    private static func authorityKey(_ name: String, _ clause: String, _ key: TestKey) -> ChainProperty {
        ChainProperty(name: name, clause: clause, places: [.anchor, .intermediate], key: key) { _, _ in }
    }

    private static let authorityKeys: [ChainProperty] = [
        authorityKey("authority's key: RSA 1024", "key sizes", .rsa1024),
        authorityKey("authority's key: RSA 3072", "key sizes", .rsa3072),
        authorityKey("authority's key: RSA exponent 3", "key sizes", .rsa2048Exponent3),
        authorityKey("authority's key: RSA exponent of 34 bits", "key sizes", .rsa2048Exponent34Bits),
        authorityKey("authority's key: P-521", "RFC 5480", .p521(3)),
        authorityKey("authority's key: secp256k1", "curves", .secp256k1(3)),
        authorityKey("authority's key: Ed25519", "key kinds", .ed25519(3)),
        authorityKey("authority's key: DSA", "key kinds", .dsa2048),
    ]

    private static let keys: [ChainProperty] = [
        property("key: RSA 1024", "key sizes", .device) { $0.spki = TestKey.rsa1024.spki },
        property("key: RSA 2047", "key sizes", .device) { $0.spki = TestKey.rsa2047.spki },
        property("key: RSA exponent of 34 bits", "key sizes", .device) { $0.spki = TestKey.rsa2048Exponent34Bits.spki },
        property("key: secp256k1", "curves", .device) { $0.spki = TestKey.secp256k1(1).spki },
        property("key: Ed25519", "RFC 8410", .device) { $0.spki = TestKey.ed25519(1).spki },
        property("key: DSA", "key kinds", .device) { $0.spki = TestKey.dsa2048.spki },
        property("key: P-521", "RFC 5480", .device) { $0.spki = TestKey.p521(1).spki },
        property("key: unknown kind", "key kinds", .device) {
            $0.spki = DER.sequence(DER.sequence(DER.objectIdentifier("1.2.3.4")), DER.bitString([1, 2, 3]))
        },
        property("key: point off its curve", "RFC 5480 2.2", .device) {
            var spki = TestKey.p256(1).spki
            spki[spki.count - 1] ^= 1
            $0.spki = spki
        },
        property("key: another one than the issued certificate's signer", "RFC 5280 6.1.3 (a) (1)", .intermediate) {
            $0.spki = TestKey.p256(999).spki
        },
    ]

    // MARK: Names

    private static let names: [ChainProperty] = [
        property("name: another issuer", "RFC 5280 6.1.3 (a) (4)", .device, .intermediate) {
            $0.issuer = TestName("Nobody").der
        },
        property("name: issuer in another case", "RFC 5280 7.1", .device, .intermediate) {
            $0.issuer = rewritten($0.issuer) { $0.uppercased() }
        },
        property("name: issuer in another string type", "RFC 5280 7.1", .device, .intermediate) { recipe in
            recipe.issuer = retagged(recipe.issuer, 0x13)
        },
        property("name: issuer with blanks", "RFC 5280 7.1", .device, .intermediate) {
            $0.issuer = rewritten($0.issuer) { " " + $0.split(separator: " ").joined(separator: "   ") + " " }
        },
        property("name: issuer with an attribute more", "RFC 5280 7.1", .device, .intermediate) {
            $0.issuer = DER.sequence(
                DER.contents($0.issuer), DER.set(of: [TestName.Attribute.utf8(OID.organization, "x").der]))
        },
        property("name: issuer with NUL and more", "RFC 5280 7.1", .device, .intermediate) {
            $0.issuer = rewritten($0.issuer) { $0 + "\u{0}x" }
        },
        property("name: no subject", "RFC 5280 4.1.2.6", .device) { $0.subject = TestName.empty.der },
        property("name: subject that is no UTF-8", "RFC 5280 4.1.2.4", .device) {
            $0.subject = TestName(.init(OID.commonName, tag: 0x0C, [0xFF, 0xC0])).der
        },
        property("name: subject of 4,000 characters", "RFC 5280 A.1", .device) {
            $0.subject = TestName(commonName: String(repeating: "x", count: 4_000)).der
        },
        property("name: subject with a SET out of order", "X.690 11.6", .device) {
            $0.subject = TestName(parts: [[.utf8(OID.organization, "zz"), .utf8(OID.commonName, "a")]]).derUnsorted
        },
    ]

    /// A Name of one CommonName with its text changed.
    private static func rewritten(_ name: [UInt8], _ change: (String) -> String) -> [UInt8] {
        TestName(commonName: change(commonName(name))).der
    }

    private static func retagged(_ name: [UInt8], _ tag: UInt8) -> [UInt8] {
        TestName(TestName.Attribute(OID.commonName, tag: tag, Array(commonName(name).utf8))).der
    }

    private static func commonName(_ name: [UInt8]) -> String {
        let attribute = DER.contents(DER.contents(DER.contents(name)))
        return String(decoding: DER.contents(DER.elements(attribute)[1]), as: UTF8.self)
    }

    private static let identifiers: [ChainProperty] = [
        property("authorityKeyIdentifier: none", "RFC 5280 4.2.1.1") { $0.remove(OID.authorityKeyIdentifier) },
        property("authorityKeyIdentifier: another's", "RFC 5280 4.2.1.1", .device, .intermediate) {
            $0.set(.authorityKeyIdentifier([1, 2, 3]))
        },
        property("authorityKeyIdentifier: another issuer and serial number", "RFC 5280 4.2.1.1", .device, .intermediate)
        {
            $0.set(.authorityKeyIdentifier(nil, issuer: "Nobody", serial: [9]))
        },
        property("subjectKeyIdentifier: none", "RFC 5280 4.2.1.2") { $0.remove(OID.subjectKeyIdentifier) },
        property("subjectKeyIdentifier: another's", "RFC 5280 4.2.1.2", .anchor, .intermediate) {
            $0.set(.subjectKeyIdentifier([1, 2, 3]))
        },
        property("subjectKeyIdentifier: critical", "RFC 5280 4.2.1.2") { recipe in
            guard let index = recipe.extensions.firstIndex(where: { $0.type == OID.subjectKeyIdentifier }) else {
                return recipe.set(.subjectKeyIdentifier([1], critical: true))
            }
            recipe.extensions[index].isCritical = true
        },
    ]

    private static let fields: [ChainProperty] = [
        property("version: 1 with extensions", "RFC 5280 4.1.2.1") { $0.version = [] },
        property("version: 1", "RFC 5280 4.1.2.1", .device) { $0.makeVersion1() },
        property("version: 1 on an intermediate", "RFC 5280 6.1.4 (k)", .intermediate) { $0.makeVersion1() },
        property("version: 1 written out", "X.690 11.5", .device) {
            $0.makeVersion1()
            $0.version = DER.explicit(0, DER.integer(0))
        },
        property("version: 2 with extensions", "RFC 5280 4.1.2.9") { $0.version = DER.explicit(0, DER.integer(1)) },
        property("version: 4", "RFC 5280 4.1.2.1") { $0.version = DER.explicit(0, DER.integer(3)) },
        property("unique identifiers", "RFC 5280 4.1.2.8") { $0.uniqueIdentifiers = DER.implicit(1, [0, 1]) },
        property("unique identifiers in version 1", "RFC 5280 4.1.2.8", .device) {
            $0.makeVersion1()
            $0.uniqueIdentifiers = DER.implicit(1, [0, 1])
        },
        property("serial number: 0", "RFC 5280 4.1.2.2") { $0.serial = [0] },
        property("serial number: negative", "RFC 5280 4.1.2.2") { $0.serial = [0xFF] },
        property("serial number: padded", "X.690 8.3.2") { $0.serial = [0, 1] },
        property("serial number: 128 bytes", "RFC 5280 4.1.2.2") { $0.serial = [UInt8](repeating: 0x7F, count: 128) },
        property("serial number: 129 bytes", "RFC 5280 4.1.2.2") { $0.serial = [UInt8](repeating: 0x7F, count: 129) },
    ]

    // MARK: Name constraints

    private static func constraint(
        _ name: String, permitted: [TestGeneralName]? = nil, excluded: [TestGeneralName]? = nil,
        subject: TestName? = nil,
        names: TestGeneralName...
    ) -> ChainProperty {
        ChainProperty(name: name, clause: "RFC 5280 4.2.1.10", places: [.anchor, .intermediate]) {
            recipe, surroundings in
            recipe.set(.nameConstraints(permitted: permitted, excluded: excluded))
            surroundings.deviceNames = names
            surroundings.deviceSubject = subject
        }
    }

    private static let acme: [TestGeneralName] = [.dns("acme.example")]

    private static let dnsConstraints: [ChainProperty] = [
        constraint("DNS constraint: within", permitted: acme, names: .dns("a.acme.example")),
        constraint("DNS constraint: itself, other case", permitted: acme, names: .dns("ACME.example")),
        constraint("DNS constraint: outside", permitted: acme, names: .dns("evil.test")),
        constraint("DNS constraint: no label border", permitted: acme, names: .dns("badacme.example")),
        constraint("DNS constraint: excluded", excluded: acme, names: .dns("a.acme.example")),
        constraint("DNS constraint: not excluded", excluded: acme, names: .dns("other.test")),
        constraint("DNS constraint: CommonName", permitted: acme, subject: "evil.test", names: .email("a@b.test")),
        constraint("DNS constraint: empty, excluded", excluded: [.dns("")], names: .dns("a.test")),
        constraint(
            "DNS constraint: leading dot, within", permitted: [.dns(".acme.example")], names: .dns("a.acme.example")),
        constraint(
            "DNS constraint: leading dot, itself", permitted: [.dns(".acme.example")], names: .dns("acme.example")),
    ]

    private static let organization = TestName(.printable(OID.country, "DE"), .utf8(OID.organization, "Acme"))
    private static let v6 = [0x20, 0x01, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 12)

    private static let otherConstraints: [ChainProperty] = [
        constraint("e-mail constraint: within", permitted: [.email("acme.example")], names: .email("a@acme.example")),
        constraint(
            "e-mail constraint: outside", permitted: [.email("acme.example")], names: .email("a@a.acme.example")),
        constraint(
            "e-mail constraint: mailbox", permitted: [.email("a@acme.example")], names: .email("a@ACME.example")),
        constraint(
            "e-mail constraint: another mailbox", permitted: [.email("a@acme.example")], names: .email("b@acme.example")
        ),
        constraint(
            "e-mail constraint: domain", permitted: [.email(".acme.example")], names: .email("a@b.acme.example")),
        constraint("e-mail constraint: excluded", excluded: [.email("acme.example")], names: .email("a@acme.example")),
        constraint(
            "e-mail constraint: attribute outside, no alternative name", permitted: [.email("acme.example")],
            subject: TestName(.ia5(OID.emailAddress, "a@evil.test"))),
        constraint(
            "e-mail constraint: attribute outside, beside a DNS name", permitted: [.email("acme.example")],
            subject: TestName(.ia5(OID.emailAddress, "a@evil.test")), names: .dns("device.test")),
        constraint("IP constraint: within", permitted: [.ip([10, 0, 0, 0, 255, 0, 0, 0])], names: .ip([10, 1, 2, 3])),
        constraint(
            "IP constraint: outside", permitted: [.ip([10, 0, 0, 0, 255, 0, 0, 0])], names: .ip([11, 1, 2, 3])),
        constraint("IP constraint: other version", permitted: [.ip([10, 0, 0, 0, 255, 0, 0, 0])], names: .ip(v6)),
        constraint(
            "IP constraint: excluded", excluded: [.ip([10, 0, 0, 0, 255, 0, 0, 0])], names: .ip([10, 1, 2, 3])),
        constraint(
            "IP constraint: version 6", permitted: [.ip(v6 + [255, 255, 255, 255] + [UInt8](repeating: 0, count: 12))],
            names: .ip(v6)),
        constraint(
            "IP constraint: a mask with holes", permitted: [.ip([10, 0, 0, 3, 255, 0, 0, 255])],
            names: .ip([10, 1, 2, 3])),
        constraint("URI constraint: host", permitted: [.uri("acme.example")], names: .uri("https://acme.example/")),
        constraint("URI constraint: outside", permitted: [.uri("acme.example")], names: .uri("https://evil.test/")),
        constraint(
            "URI constraint: domain", permitted: [.uri(".acme.example")], names: .uri("https://a.acme.example/")),
        constraint(
            "URI constraint: user", permitted: [.uri("acme.example")], names: .uri("https://user@acme.example/")),
        constraint(
            "URI constraint: host as a user", permitted: [.uri("acme.example")],
            names: .uri("https://acme.example@evil.test/")),
        constraint("URI constraint: excluded", excluded: [.uri("acme.example")], names: .uri("https://acme.example/")),
        constraint("URI constraint: no authority", permitted: [.uri("acme.example")], names: .uri("urn:a:b")),
        constraint("URI constraint: no authority, excluded", excluded: [.uri("acme.example")], names: .uri("urn:a:b")),
        constraint(
            "URI constraint: an address, excluded", excluded: [.uri("acme.example")], names: .uri("https://192.0.2.1/")),
        constraint(
            "directory constraint: excluded", excluded: [.directory(organization)],
            subject: organization.adding(.utf8(OID.commonName, "d"))),
        constraint("directory constraint: not excluded", excluded: [.directory(organization)]),
        constraint(
            "directory constraint: an alternative name", excluded: [.directory(organization)],
            names: .directory(organization)),
        constraint(
            "otherName constraint: such a name", excluded: [.other("1.2.3", DER.null)],
            names: .other("1.2.3", DER.utf8String("x"))),
        constraint("otherName constraint: no such name", excluded: [.other("1.2.3", DER.null)], names: .dns("a.test")),
        constraint(
            "registeredID constraint: such a name", excluded: [.registeredID("1.2.3")], names: .registeredID("1.2.4")),
        property("name constraints: neither list", "RFC 5280 4.2.1.10", .anchor, .intermediate) {
            $0.set(TestExtension(OID.nameConstraints, critical: true, DER.sequence()))
        },
        property("name constraints: an empty list", "RFC 5280 4.2.1.10", .anchor, .intermediate) {
            $0.set(TestExtension(OID.nameConstraints, critical: true, DER.sequence([0xA1, 0])))
        },
        property("name constraints: a minimum", "RFC 5280 4.2.1.10", .anchor, .intermediate) {
            let subtree = DER.sequence(TestGeneralName.email("a.test").der, DER.implicit(0, [1]))
            $0.set(.nameConstraints(permittedSubtrees: nil, excludedSubtrees: [subtree]))
        },
    ]

    // MARK: Encodings

    private static let encodings: [ChainProperty] = [
        property("encoding: a byte after the certificate", "X.690 8.1") { $0.changeCertificate = { $0 + [0] } },
        property("encoding: indefinite length", "X.690 10.1") {
            $0.changeCertificate = { DER.indefinite(0x30, DER.contents($0)) }
        },
        property("encoding: a length in too many bytes", "X.690 10.1") {
            $0.changeCertificate = { DER.element(0x30, DER.contents($0), lengthBytes: 3) }
        },
        property("encoding: a long length of a short element", "X.690 10.1") {
            $0.serialElement = DER.element(2, $0.serial, lengthBytes: 1)
        },
        property("encoding: a byte after the extensions", "X.690 8.1") { $0.afterFields = DER.null },
        property("encoding: a byte after an extension's value", "X.690 8.1", .anchor, .intermediate) {
            let value = TestExtension.basicConstraints().value
            $0.set(TestExtension(OID.basicConstraints, critical: true, value + [0]))
        },
        property("encoding: keyUsage with zero bits at its end", "X.690 11.2.2", .device) {
            $0.set(TestExtension(OID.keyUsage, critical: true, DER.bitString([0x80], unusedBits: 0)))
        },
        property("encoding: an identifier with a padded arc", "X.690 8.19.2") {
            $0.extensions.append(
                TestExtension("1.2.3", [], raw: DER.sequence([6, 3, 0x2A, 0x80, 0x03], DER.octetString([1]))))
        },
    ]

    // MARK: The chain that is sent

    private static func sent(
        _ name: String, _ clause: String, _ change: @escaping @Sendable ([[UInt8]]) -> [[UInt8]]
    ) -> ChainProperty {
        ChainProperty(name: name, clause: clause, places: [.anchor]) { _, surroundings in
            surroundings.changeChain = change
        }
    }

    private static let chains: [ChainProperty] = [
        sent("chain: only the device", "RFC 4158 2.4") { Array($0.prefix(1)) },
        sent("chain: everything twice", "RFC 4158 2.4") { $0 + $0 },
        sent("chain: in reverse", "RFC 4158 2.4") { $0.prefix(1) + $0.dropFirst().reversed() },
        sent("chain: an issuer first", "RFC 5280 6.1") { $0.reversed() },
    ]
}
