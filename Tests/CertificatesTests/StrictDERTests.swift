import Certificates
import TestPKI
import Testing

/// What is no DER is no certificate (X.690 sections 8 to 11, RFC 5280 section 4.1).
@Suite struct StrictDERTests {
    /// A certificate with one thing wrong, where that is and what it is called.
    struct Wrong: Sendable, CustomTestStringConvertible {
        let name: String
        let field: CertificateField?
        let problems: [CertificateError.Problem]
        let der: @Sendable () -> [UInt8]

        var testDescription: String { name }

        init(
            _ name: String, in field: CertificateField? = nil, _ problems: CertificateError.Problem...,
            der: @escaping @Sendable () -> [UInt8]
        ) {
            self.name = name
            self.field = field
            self.problems = problems
            self.der = der
        }
    }

    private static let good = Entity.root().device {
        $0.set(.subjectAltName(.dns("device.test"), .ip([192, 0, 2, 1])))
        $0.set(.basicConstraints(isCA: nil))
    }

    private static func changed(_ change: (inout CertificateRecipe) -> Void) -> [UInt8] { good.changed(change).der }

    /// The certificate with an extension's value changed.
    private static func value(_ type: String, _ change: (([UInt8]) -> [UInt8])) -> [UInt8] {
        changed { recipe in
            for index in recipe.extensions.indices where recipe.extensions[index].type == type {
                recipe.extensions[index].value = change(recipe.extensions[index].value)
            }
        }
    }

    private static func extensionOf(_ type: String, _ value: [UInt8]) -> [UInt8] {
        changed { $0.set(TestExtension(type, critical: false, value)) }
    }

    private func expect(_ wrong: Wrong) {
        let der = wrong.der()
        do {
            let certificate = try Certificate(der: der)
            Issue.record("\(wrong.name): was read, serial number \(certificate.serialNumber.text)")
        } catch {
            #expect(error.offset >= 0 && error.offset <= der.count, "\(wrong.name): \(error)")
            if let field = wrong.field { #expect(error.field == field, "\(wrong.name): \(error)") }
            if !wrong.problems.isEmpty { #expect(wrong.problems.contains(error.problem), "\(wrong.name): \(error)") }
        }
    }

    @Test func aGoodCertificateIsRead() throws {
        let certificate = try Certificate(der: Self.good.der)
        #expect(certificate.version == 3)
        #expect(certificate.der == Self.good.der)
        #expect(certificate.subject.displayCommonName == "device")
        #expect(certificate.issuer.displayCommonName == "Root")
        #expect(certificate.keyAlgorithm == .p256)
        #expect(certificate.signatureAlgorithm == .ecdsa(.sha256))
        #expect(certificate.signatureAlgorithmsAgree)
        #expect(certificate.notBefore.secondsSince1970 == TestTime.notBefore)
        #expect(certificate.notAfter.secondsSince1970 == TestTime.notAfter)
        #expect(certificate.extensions.count == 5)
    }

    // MARK: Lengths and the end

    static let lengths: [Wrong] = [
        Wrong("nothing", .truncated) { [] },
        Wrong("a tag alone", .truncated) { [0x30] },
        Wrong("an empty SEQUENCE", .truncated, .unexpectedTag) { [0x30, 0] },
        Wrong("text", .unexpectedTag) { Array("-----BEGIN CERTIFICATE-----".utf8) },
        Wrong("a byte after the end", in: .certificate, .trailingBytes) { good.der + [0] },
        Wrong("a whole certificate after the end", in: .certificate, .trailingBytes) { good.der + good.der },
        Wrong("an end of contents after the end", in: .certificate, .trailingBytes) { good.der + [0, 0] },
        Wrong("the last byte missing", .truncated, .lengthTooLarge) { Array(good.der.dropLast()) },
        Wrong("an indefinite length outside", .indefiniteLength) { DER.indefinite(0x30, DER.contents(good.der)) },
        Wrong("an indefinite length of the part that is signed", .indefiniteLength) {
            changed { $0.changeTBS = { DER.indefinite(0x30, DER.contents($0)) } }
        },
        Wrong("a length of three bytes where two do", .lengthNotMinimal) {
            DER.element(0x30, DER.contents(good.der), lengthBytes: 3)
        },
        Wrong("a length of eight bytes", .lengthNotMinimal, .lengthTooLarge) {
            DER.element(0x30, DER.contents(good.der), lengthBytes: 8)
        },
        Wrong("a length of 126 bytes", .lengthNotMinimal, .lengthTooLarge) {
            DER.element(0x30, DER.contents(good.der), lengthBytes: 126)
        },
        Wrong("a length of all ones", .lengthNotMinimal, .lengthTooLarge, .truncated) {
            [0x30, 0x88] + [UInt8](repeating: 0xFF, count: 8)
        },
        Wrong("the reserved first length byte FF", .lengthNotMinimal, .lengthTooLarge, .truncated, .indefiniteLength) {
            [0x30, 0xFF] + [UInt8](repeating: 1, count: 300)
        },
        Wrong("a long form of a length below 128", in: .serialNumber, .lengthNotMinimal) {
            changed { $0.serialElement = DER.element(2, [1], lengthBytes: 1) }
        },
        Wrong("a length of the part that is signed in too many bytes", .lengthNotMinimal) {
            changed { $0.changeTBS = { DER.element(0x30, DER.contents($0), lengthBytes: 3) } }
        },
        Wrong("a length beyond its parent", .lengthTooLarge, .truncated) {
            changed { $0.validity = [0x30, 0x82, 0x7F, 0xFF] + $0.notBefore + $0.notAfter }
        },
        Wrong("an element after the signature", .trailingBytes) {
            DER.sequence(DER.contents(good.der), DER.null)
        },
        Wrong("no signature", .truncated) { DER.sequence(of: Array(DER.elements(DER.contents(good.der)).dropLast())) },
        Wrong("another tag outside", .unexpectedTag) { [0x31] + good.der.dropFirst() },
        Wrong("a tag number above 30", .highTagNumber, .unexpectedTag) { [0x3F, 0x10] + good.der.dropFirst() },
        Wrong("a primitive SEQUENCE", .unexpectedTag) { [0x10] + good.der.dropFirst() },
        Wrong("an element after the extensions", .trailingBytes, .unexpectedTag) {
            changed { $0.afterFields = DER.null }
        },
        Wrong("the extensions twice", .trailingBytes, .unexpectedTag) {
            changed { $0.afterFields = CertificateRecipe.field(of: [.unknown(critical: false)]) }
        },
        Wrong("bytes inside [3] after the extensions", in: .extensions, .trailingBytes) {
            changed { $0.extensionsField = DER.explicit(3, DER.sequence(of: $0.extensions.map(\.der)) + DER.null) }
        },
        Wrong("an empty [3]", in: .extensions, .truncated, .emptySequence) {
            changed { $0.extensionsField = [0xA3, 0] }
        },
        Wrong("an empty list of extensions", in: .extensions, .emptySequence) {
            changed { $0.extensionsField = DER.explicit(3, DER.sequence()) }
        },
        Wrong("[3] is primitive", .unexpectedTag, .trailingBytes) {
            changed { $0.extensionsField = DER.element(0x83, DER.sequence(of: $0.extensions.map(\.der))) }
        },
    ]

    @Test(arguments: lengths) func aCertificateHasItsLengthAndNoMore(wrong: Wrong) { expect(wrong) }

    // MARK: Fields

    private static func rsaKey(_ modulus: [UInt8], _ exponent: [UInt8], after: [UInt8] = []) -> [UInt8] {
        changed {
            $0.spki = DER.sequence(
                DER.sequence(DER.objectIdentifier(OID.rsaEncryption), DER.null),
                DER.bitString(DER.sequence(modulus, exponent) + after))
        }
    }

    private static func pair(_ one: [UInt8], _ two: [UInt8]) -> [UInt8] { DER.sequence(one, two) }

    static let fields: [Wrong] = [
        Wrong("a version in the wrong tag", .unexpectedTag) { changed { $0.version = DER.element(0x80, [2]) } },
        Wrong("version 4", in: .version, .integerOutOfRange, .notInThisVersion) {
            changed { $0.version = DER.explicit(0, DER.integer(3)) }
        },
        Wrong("a padded version", in: .version, .integerNotMinimal, .integerOutOfRange) {
            changed { $0.version = DER.explicit(0, DER.integer(contents: [0, 2])) }
        },
        Wrong("a version without bytes", in: .version) { changed { $0.version = DER.explicit(0, [2, 0]) } },
        Wrong("two versions", in: .version, .trailingBytes) {
            changed { $0.version = DER.explicit(0, DER.integer(2) + DER.integer(2)) }
        },
        Wrong("a version of 2^32 + 2", in: .version, .integerOutOfRange) {
            changed { $0.version = DER.explicit(0, DER.integer((1 << 32) + 2)) }
        },
        Wrong("a version of 258", in: .version, .integerOutOfRange) {
            changed { $0.version = DER.explicit(0, DER.integer(258)) }
        },
        Wrong("extensions in version 1", .notInThisVersion) { changed { $0.version = [] } },
        Wrong("extensions in version 2", .notInThisVersion) {
            changed { $0.version = DER.explicit(0, DER.integer(1)) }
        },
        Wrong("a serial number that is none", in: .serialNumber, .unexpectedTag) {
            changed { $0.serialElement = DER.octetString([1]) }
        },
        Wrong("a serial number without bytes", in: .serialNumber) { changed { $0.serial = [] } },
        Wrong("a padded serial number", in: .serialNumber, .integerNotMinimal) { changed { $0.serial = [0, 0x7F] } },
        Wrong("a padded negative serial number", in: .serialNumber, .integerNotMinimal) {
            changed { $0.serial = [0xFF, 0xFF] }
        },
        Wrong("an algorithm that is no SEQUENCE", .unexpectedTag) {
            changed { $0.innerAlgorithm = DER.objectIdentifier("1.2.3") }
        },
        Wrong("an algorithm without identifier") { changed { $0.innerAlgorithm = DER.sequence() } },
        Wrong("an algorithm with two parameters", .trailingBytes) {
            changed {
                $0.innerAlgorithm = DER.sequence(DER.objectIdentifier("1.2.840.10045.4.3.2"), DER.null, DER.null)
            }
        },
        Wrong("an algorithm outside with bytes after it", .trailingBytes) {
            changed {
                $0.outerAlgorithm = DER.sequence(DER.objectIdentifier("1.2.840.10045.4.3.2"), DER.null, DER.null)
            }
        },
        Wrong("an empty object identifier", .objectIdentifierNotMinimal) {
            changed { $0.innerAlgorithm = DER.sequence([6, 0]) }
        },
        Wrong("an object identifier with a padded arc", .objectIdentifierNotMinimal) {
            changed { $0.innerAlgorithm = DER.sequence([6, 3, 0x2A, 0x80, 0x03]) }
        },
        Wrong("an object identifier that ends in the middle", .objectIdentifierNotMinimal) {
            changed { $0.innerAlgorithm = DER.sequence([6, 2, 0x2A, 0x83]) }
        },
        Wrong("NULL with contents") {
            changed {
                let algorithm = DER.sequence(DER.objectIdentifier("1.2.840.113549.1.1.11"), [5, 1, 0])
                $0.innerAlgorithm = algorithm
                $0.outerAlgorithm = algorithm
            }
        },
        Wrong("a validity of one time", .truncated) { changed { $0.validity = DER.sequence($0.notBefore) } },
        Wrong("a validity of three times", in: .validity, .trailingBytes) {
            changed { $0.validity = DER.sequence($0.notBefore, $0.notAfter, $0.notAfter) }
        },
        Wrong("a signature that is no BIT STRING", in: .signatureValue, .unexpectedTag) {
            changed { $0.signatureElement = DER.octetString([1]) }
        },
        Wrong("a signature of no bytes at all", in: .signatureValue) { changed { $0.signatureElement = [3, 0] } },
        Wrong("a signature with unused bits", in: .signatureValue, .bitStringUnusedBits) {
            changed { $0.signatureElement = DER.bitString([0xF0], unusedBits: 4) }
        },
        Wrong("a signature in parts", in: .signatureValue, .constructedString, .unexpectedTag) {
            changed { $0.signatureElement = DER.element(0x23, DER.bitString([1])) }
        },
        Wrong("a key with unused bits", in: .subjectPublicKeyInfo, .bitStringUnusedBits) {
            changed { recipe in
                let parts = DER.elements(DER.contents(recipe.spki))
                recipe.spki = pair(parts[0], DER.bitString(Array(DER.contents(parts[1]).dropFirst()), unusedBits: 1))
            }
        },
        Wrong("a key with bytes after it", in: .subjectPublicKeyInfo, .trailingBytes) {
            changed { $0.spki = DER.sequence(DER.contents($0.spki), DER.null) }
        },
        Wrong("a padded modulus", in: .subjectPublicKeyInfo) {
            rsaKey(DER.integer(contents: [0, 0] + [UInt8](repeating: 0xFF, count: 256)), DER.integer(65_537))
        },
        Wrong("a modulus below zero", in: .subjectPublicKeyInfo) {
            rsaKey(DER.integer(contents: [UInt8](repeating: 0xF1, count: 256)), DER.integer(65_537))
        },
        Wrong("a padded exponent", in: .subjectPublicKeyInfo) {
            rsaKey(DER.integer(unsigned: [UInt8](repeating: 0xFF, count: 256)), DER.integer(contents: [0, 1, 0, 1]))
        },
        Wrong("an exponent below zero", in: .subjectPublicKeyInfo) {
            rsaKey(DER.integer(unsigned: [UInt8](repeating: 0xFF, count: 256)), DER.integer(-3))
        },
        Wrong("an RSA key of one number", in: .subjectPublicKeyInfo) {
            rsaKey(DER.integer(unsigned: [UInt8](repeating: 0xFF, count: 256)), [])
        },
        Wrong("a key after the RSA key", in: .subjectPublicKeyInfo) {
            rsaKey(DER.integer(unsigned: [UInt8](repeating: 0xFF, count: 256)), DER.integer(65_537), after: DER.null)
        },
        Wrong("no key") { changed { $0.spki = DER.sequence() } },
        Wrong("unique identifiers in version 1", .notInThisVersion) {
            changed {
                $0.makeVersion1()
                $0.uniqueIdentifiers = DER.implicit(1, [0, 1])
            }
        },
        Wrong("a unique identifier with more than seven unused bits", .bitStringUnusedBits) {
            changed { $0.uniqueIdentifiers = DER.implicit(1, [8, 1]) }
        },
        Wrong("a unique identifier whose unused bits are set", .bitStringUnusedBits) {
            changed { $0.uniqueIdentifiers = DER.implicit(2, [4, 0xFF]) }
        },
        Wrong("a unique identifier without its first byte") {
            changed { $0.uniqueIdentifiers = DER.implicit(1, []) }
        },
        Wrong("the unique identifiers in the wrong order") {
            changed { $0.uniqueIdentifiers = DER.implicit(2, [0, 1]) + DER.implicit(1, [0, 1]) }
        },
        Wrong("the unique identifiers twice") {
            changed { $0.uniqueIdentifiers = DER.implicit(1, [0, 1]) + DER.implicit(1, [0, 1]) }
        },
        Wrong("a constructed unique identifier") {
            changed { $0.uniqueIdentifiers = DER.element(0xA1, DER.bitString([1])) }
        },
    ]

    @Test(arguments: fields) func aFieldIsWrittenAsItsTypeSays(wrong: Wrong) { expect(wrong) }

    // MARK: Names

    private static let cn = TestName.Attribute.utf8(OID.commonName, "a")

    static let names: [Wrong] = [
        Wrong("a SET out of order", in: .subject, .setNotSorted) {
            changed {
                let name = TestName(parts: [[.utf8(OID.organization, "zz"), .utf8(OID.commonName, "a")]])
                $0.subject = name.derUnsorted
            }
        },
        Wrong("an issuer's SET out of order", in: .issuer, .setNotSorted) {
            changed {
                let name = TestName(parts: [[.utf8(OID.organization, "zz"), .utf8(OID.commonName, "a")]])
                $0.issuer = name.derUnsorted
            }
        },
        Wrong("an empty SET", in: .subject, .emptySequence) { changed { $0.subject = DER.sequence([0x31, 0]) } },
        Wrong("a name that is a SET", in: .subject, .unexpectedTag) { changed { $0.subject = DER.set(of: [cn.der]) } },
        Wrong("an attribute without a value", in: .subject, .truncated) {
            changed { $0.subject = DER.sequence(DER.set(of: [DER.sequence(DER.objectIdentifier(OID.commonName))])) }
        },
        Wrong("an attribute of two values", in: .subject, .trailingBytes) {
            changed {
                let attribute = DER.sequence(
                    DER.objectIdentifier(OID.commonName), DER.utf8String("a"), DER.utf8String("b"))
                $0.subject = DER.sequence(DER.set(of: [attribute]))
            }
        },
        Wrong("an attribute whose type is no identifier", in: .subject, .unexpectedTag) {
            changed { $0.subject = DER.sequence(DER.set(of: [DER.sequence(DER.integer(3), DER.utf8String("a"))])) }
        },
        Wrong("a string in parts", in: .subject, .constructedString, .unexpectedTag) {
            changed {
                let attribute = DER.sequence(
                    DER.objectIdentifier(OID.commonName), DER.element(0x2C, DER.utf8String("a")))
                $0.subject = DER.sequence(DER.set(of: [attribute]))
            }
        },
        Wrong("a value of indefinite length", in: .subject, .indefiniteLength) {
            changed {
                let attribute = DER.sequence(
                    DER.objectIdentifier(OID.commonName), DER.indefinite(0x2C, DER.utf8String("a")))
                $0.subject = DER.sequence(DER.set(of: [attribute]))
            }
        },
        Wrong("a value's length in too many bytes", in: .subject, .lengthNotMinimal) {
            changed {
                let value = DER.element(0x0C, Array("a".utf8), lengthBytes: 1)
                $0.subject = DER.sequence(DER.set(of: [DER.sequence(DER.objectIdentifier(OID.commonName), value)]))
            }
        },
        Wrong("an alternative name out of its tags", in: .subjectAltName) {
            extensionOf(OID.subjectAltName, DER.sequence(DER.implicit(9, [1])))
        },
        Wrong("an empty alternative name", in: .subjectAltName, .emptySequence) {
            extensionOf(OID.subjectAltName, DER.sequence())
        },
        Wrong("bytes after the alternative names", in: .subjectAltName, .trailingBytes) {
            value(OID.subjectAltName) { $0 + [0] }
        },
        Wrong("an alternative DNS name that is not IA5", in: .subjectAltName, .text) {
            extensionOf(OID.subjectAltName, DER.sequence(DER.implicit(2, [0xC3, 0xA4])))
        },
        Wrong("an alternative e-mail address that is not IA5", in: .subjectAltName, .text) {
            extensionOf(OID.subjectAltName, DER.sequence(DER.implicit(1, [0x80])))
        },
        Wrong("an alternative URI that is not IA5", in: .subjectAltName, .text) {
            extensionOf(OID.subjectAltName, DER.sequence(DER.implicit(6, [0xFF])))
        },
        Wrong("an address of 5 bytes", in: .subjectAltName, .addressLength) {
            extensionOf(OID.subjectAltName, DER.sequence(DER.implicit(7, [1, 2, 3, 4, 5])))
        },
        Wrong("an address of 8 bytes", in: .subjectAltName, .addressLength) {
            extensionOf(OID.subjectAltName, DER.sequence(DER.implicit(7, [1, 2, 3, 4, 255, 255, 255, 0])))
        },
        Wrong("an address without bytes", in: .subjectAltName, .addressLength) {
            extensionOf(OID.subjectAltName, DER.sequence(DER.implicit(7, [])))
        },
        Wrong("a constructed DNS name", in: .subjectAltName) {
            extensionOf(OID.subjectAltName, DER.sequence(DER.element(0xA2, DER.ia5String("a"))))
        },
        Wrong("a directory name with bytes after it", in: .subjectAltName) {
            extensionOf(OID.subjectAltName, DER.sequence(DER.explicit(4, TestName("a").der + DER.null)))
        },
        Wrong("a directory name whose SET is out of order", in: .subjectAltName, .setNotSorted) {
            let name = TestName(parts: [[.utf8(OID.organization, "zz"), .utf8(OID.commonName, "a")]])
            return extensionOf(OID.subjectAltName, DER.sequence(DER.explicit(4, name.derUnsorted)))
        },
        Wrong("another name without a value", in: .subjectAltName) {
            extensionOf(OID.subjectAltName, DER.sequence(DER.element(0xA0, DER.objectIdentifier("1.2.3"))))
        },
        Wrong("another name without a type", in: .subjectAltName) {
            extensionOf(OID.subjectAltName, DER.sequence(DER.element(0xA0, DER.explicit(0, DER.null))))
        },
        Wrong("a registered identifier that is none", in: .subjectAltName) {
            extensionOf(OID.subjectAltName, DER.sequence(DER.implicit(8, [])))
        },
    ]

    @Test(arguments: names) func aNameIsWrittenAsItsTypeSays(wrong: Wrong) { expect(wrong) }

    static let goodNames: [(String, [UInt8])] = [
        ("bytes that are no UTF-8", TestName(.init(OID.commonName, tag: 0x0C, [0xFF, 0xFE])).der),
        ("a PrintableString with an at sign", TestName(.printable(OID.commonName, "a@b")).der),
        ("an IA5String with a byte beyond", TestName(.init(OID.emailAddress, tag: 0x16, [0xE4])).der),
        ("a BMPString of odd length", TestName(.init(OID.commonName, tag: 0x1E, [0, 65, 0])).der),
        ("half a surrogate pair", TestName(.init(OID.commonName, tag: 0x1E, [0xD8, 0])).der),
        ("a UniversalString beyond Unicode", TestName(.init(OID.commonName, tag: 0x1C, [0xFF, 0xFF, 0xFF, 0xFF])).der),
        ("a value without bytes", TestName(.utf8(OID.commonName, "")).der),
        ("an integer", TestName(.init(OID.serialNumber, tag: 2, [1])).der),
        ("NUL", TestName(.utf8(OID.commonName, "a\u{0}b")).der),
        ("no attribute", TestName.empty.der),
        ("4,000 characters", TestName(.utf8(OID.commonName, String(repeating: "ä", count: 4_000))).der),
        (
            "two equal attributes in one part",
            TestName(parts: [[.utf8(OID.commonName, "a"), .utf8(OID.commonName, "a")]]).der
        ),
    ]

    @Test(arguments: goodNames) func wrongTextInANameIsTolerated(name: String, der: [UInt8]) throws {
        let certificate = try Certificate(der: Self.changed { $0.subject = der })
        #expect(certificate.subject.der == der, "\(name)")
        #expect(!certificate.subject.description.unicodeScalars.contains { $0.value < 32 || $0.value == 127 })
    }

    // MARK: Extensions

    static let extensions: [Wrong] = [
        Wrong("an extension that is no SEQUENCE", in: .extensions, .unexpectedTag) {
            changed { $0.extensions.append(TestExtension("1.2.3", [], raw: DER.null)) }
        },
        Wrong("an extension without a value", in: .extensions, .truncated) {
            changed {
                $0.extensions.append(TestExtension("1.2.3", [], raw: DER.sequence(DER.objectIdentifier("1.2.3"))))
            }
        },
        Wrong("an extension with a criticality and no value", in: .extensions, .truncated) {
            changed {
                $0.extensions.append(
                    TestExtension("1.2.3", [], raw: DER.sequence(DER.objectIdentifier("1.2.3"), DER.boolean(true))))
            }
        },
        Wrong("an extension with bytes after its value", in: .extensions, .trailingBytes) {
            changed {
                $0.extensions.append(
                    TestExtension(
                        "1.2.3", [], raw: DER.sequence(DER.objectIdentifier("1.2.3"), DER.octetString([]), DER.null)))
            }
        },
        Wrong("a value that is no OCTET STRING", in: .extensions, .unexpectedTag) {
            changed {
                $0.extensions.append(
                    TestExtension("1.2.3", [], raw: DER.sequence(DER.objectIdentifier("1.2.3"), DER.bitString([1]))))
            }
        },
        Wrong("a value in parts", in: .extensions, .constructedString, .unexpectedTag) {
            changed {
                $0.extensions.append(
                    TestExtension(
                        "1.2.3", [],
                        raw: DER.sequence(DER.objectIdentifier("1.2.3"), DER.element(0x24, DER.octetString([1])))))
            }
        },
        Wrong("a criticality of 01", in: .extensions, .booleanNotCanonical) {
            changed {
                $0.extensions.append(
                    TestExtension(
                        "1.2.3", [], raw: DER.sequence(DER.objectIdentifier("1.2.3"), [1, 1, 1], DER.octetString([]))))
            }
        },
        Wrong("a criticality of two bytes", in: .extensions) {
            changed {
                $0.extensions.append(
                    TestExtension(
                        "1.2.3", [],
                        raw: DER.sequence(DER.objectIdentifier("1.2.3"), [1, 2, 0xFF, 0xFF], DER.octetString([]))))
            }
        },
        Wrong("a criticality without bytes", in: .extensions) {
            changed {
                $0.extensions.append(
                    TestExtension(
                        "1.2.3", [], raw: DER.sequence(DER.objectIdentifier("1.2.3"), [1, 0], DER.octetString([]))))
            }
        },
        Wrong("basicConstraints whose CA is 01", in: .basicConstraints, .booleanNotCanonical) {
            extensionOf(OID.basicConstraints, DER.sequence([1, 1, 1]))
        },
        Wrong("basicConstraints that are no SEQUENCE", in: .basicConstraints, .unexpectedTag) {
            extensionOf(OID.basicConstraints, DER.boolean(true))
        },
        Wrong("basicConstraints with bytes after them", in: .basicConstraints, .trailingBytes) {
            value(OID.basicConstraints) { $0 + [0] }
        },
        Wrong("basicConstraints with a third field", in: .basicConstraints, .trailingBytes) {
            extensionOf(OID.basicConstraints, DER.sequence(DER.boolean(true), DER.integer(1), DER.integer(1)))
        },
        Wrong("basicConstraints with a padded length", in: .basicConstraints, .integerNotMinimal) {
            extensionOf(OID.basicConstraints, DER.sequence(DER.boolean(true), DER.integer(contents: [0, 1])))
        },
        Wrong("basicConstraints with a length below zero", in: .basicConstraints, .integerOutOfRange) {
            extensionOf(OID.basicConstraints, DER.sequence(DER.boolean(true), DER.integer(-1)))
        },
        Wrong("basicConstraints without bytes", in: .basicConstraints) { extensionOf(OID.basicConstraints, []) },
        Wrong("keyUsage that is no BIT STRING", in: .keyUsage, .unexpectedTag) {
            extensionOf(OID.keyUsage, DER.integer(1))
        },
        Wrong("keyUsage with zero bits at its end", in: .keyUsage, .bitStringTrailingZeros) {
            extensionOf(OID.keyUsage, DER.bitString([0x80], unusedBits: 0))
        },
        Wrong("keyUsage with a zero byte at its end", in: .keyUsage, .bitStringTrailingZeros) {
            extensionOf(OID.keyUsage, DER.bitString([0x80, 0x00], unusedBits: 7))
        },
        Wrong("keyUsage whose unused bits are set", in: .keyUsage, .bitStringUnusedBits) {
            extensionOf(OID.keyUsage, DER.bitString([0x83], unusedBits: 7))
        },
        Wrong("keyUsage with eight unused bits", in: .keyUsage, .bitStringUnusedBits) {
            extensionOf(OID.keyUsage, DER.bitString([0x80], unusedBits: 8))
        },
        Wrong("keyUsage with unused bits and no byte", in: .keyUsage, .bitStringUnusedBits) {
            extensionOf(OID.keyUsage, DER.bitString([], unusedBits: 1))
        },
        Wrong("keyUsage with bytes after it", in: .keyUsage, .trailingBytes) { value(OID.keyUsage) { $0 + [0] } },
        Wrong("extendedKeyUsage without a purpose", in: .extendedKeyUsage, .emptySequence) {
            extensionOf(OID.extKeyUsage, DER.sequence())
        },
        Wrong("extendedKeyUsage that holds something else", in: .extendedKeyUsage, .unexpectedTag) {
            extensionOf(OID.extKeyUsage, DER.sequence(DER.objectIdentifier(OID.clientAuth), DER.integer(1)))
        },
        Wrong("extendedKeyUsage with bytes after it", in: .extendedKeyUsage, .trailingBytes) {
            value(OID.extKeyUsage) { $0 + DER.null }
        },
        Wrong(
            "extendedKeyUsage with a purpose that is no identifier", in: .extendedKeyUsage, .objectIdentifierNotMinimal
        ) {
            extensionOf(OID.extKeyUsage, DER.sequence(DER.objectIdentifier(OID.clientAuth), [6, 2, 0x80, 1]))
        },
        Wrong("a subject key identifier that is none", in: .subjectKeyIdentifier, .unexpectedTag) {
            extensionOf(OID.subjectKeyIdentifier, DER.integer(1))
        },
        Wrong("a subject key identifier with bytes after it", in: .subjectKeyIdentifier, .trailingBytes) {
            extensionOf(OID.subjectKeyIdentifier, DER.octetString([1]) + [0])
        },
        Wrong("an authority key identifier that is none", in: .authorityKeyIdentifier, .unexpectedTag) {
            extensionOf(OID.authorityKeyIdentifier, DER.octetString([1]))
        },
        Wrong("an authority key identifier with bytes after it", in: .authorityKeyIdentifier, .trailingBytes) {
            value(OID.authorityKeyIdentifier) { $0 + [0] }
        },
        Wrong("an authority key identifier of an unknown field", in: .authorityKeyIdentifier) {
            extensionOf(OID.authorityKeyIdentifier, DER.sequence(DER.implicit(5, [1])))
        },
    ]

    @Test(arguments: extensions) func anExtensionIsWrittenAsItsTypeSays(wrong: Wrong) { expect(wrong) }

    static let tolerated: [(String, @Sendable (inout CertificateRecipe) -> Void)] = [
        (
            "a criticality of FALSE written out",
            {
                $0.extensions.append(
                    TestExtension(
                        "1.2.3", [],
                        raw: DER.sequence(DER.objectIdentifier("1.2.3"), DER.boolean(false), DER.octetString([]))))
            }
        ),
        ("CA:FALSE written out", { $0.set(.basicConstraints(isCA: false)) }),
        (
            "version 1 written out",
            {
                $0.makeVersion1()
                $0.version = DER.explicit(0, DER.integer(0))
            }
        ),
        ("GeneralizedTime before 2050", { $0.notBefore = DER.generalizedTime("20200101000000Z") }),
        ("contents of an unknown extension", { $0.extensions.append(TestExtension("1.2.3", [0x30, 0x80])) }),
        (
            "a constraint's minimum written out",
            { recipe in
                recipe.set(
                    .nameConstraints(
                        permittedSubtrees: [DER.sequence(TestGeneralName.dns("a").der, DER.implicit(0, [0]))],
                        excludedSubtrees: nil))
            }
        ),
    ]

    @Test(arguments: tolerated.indices) func aWrittenOutDefaultIsTolerated(index: Int) {
        let (name, change) = Self.tolerated[index]
        #expect(throws: Never.self, "\(name)") { try Certificate(der: Self.changed(change)) }
    }
}
