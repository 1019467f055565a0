import Foundation
import Testing

/// CA certificates and files that are refused for what they hold.
@Suite(.serialized) struct UploadRefusalTests {
    private struct Fixture: Sendable {
        let daemon: Daemon
        let shop: CertificateShop
        let good: Authority
        let verification: String

        init() throws {
            daemon = try Daemon()
            shop = try CertificateShop()
            good = try shop.eccAuthority("good")
            try daemon.createInstance("plant")
            verification = try shop.verification(code: try daemon.issueCode("plant"), by: good)
        }
    }

    private static let fixture = Result { try Fixture() }
    private let daemon: Daemon
    private let shop: CertificateShop
    private let good: Authority
    private let verification: String

    init() throws {
        let fixture = try Self.fixture.get()
        daemon = fixture.daemon
        shop = fixture.shop
        good = fixture.good
        verification = fixture.verification
    }

    private func refused(
        _ reason: String, _ ca: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        try daemon.expectRegistrationRefusal(
            reason, instance: "plant", ca: ca, verification: verification, sourceLocation: sourceLocation)
    }

    /// The verification certificate is good for this CA: only what is asked about can be wrong.
    private func refused(
        _ reason: String, _ authority: Authority, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let proof = try shop.verification(code: try daemon.issueCode("plant"), by: authority)
        try daemon.expectRegistrationRefusal(
            reason, instance: "plant", ca: authority.certificate, verification: proof, sourceLocation: sourceLocation)
    }

    @Test func aTextFileIsMalformed() throws {
        try refused("CERTIFICATE_MALFORMED", try shop.write("good morning\n"))
    }

    @Test func anEmptyFileIsMalformed() throws {
        try refused("CERTIFICATE_MALFORMED", try shop.write(""))
    }

    @Test func aKeyInPlaceOfTheCertificateIsAPrivateKeyUpload() throws {
        try refused("PRIVATE_KEY_UPLOADED", good.key)
    }

    @Test func aPrivateKeyBesideTheCertificateIsRefusedAndNeverLoggedOrStored() throws {
        let key = try shop.readText(good.key)
        let both = try shop.write(try shop.readText(good.certificate) + key)
        try refused("PRIVATE_KEY_UPLOADED", both)
        let proof = try shop.write(try shop.readText(verification) + key)
        try daemon.expectRegistrationRefusal(
            "PRIVATE_KEY_UPLOADED", instance: "plant", ca: good.certificate, verification: proof)
        let secret = try #require(key.split(separator: "\n").dropLast().last)
        #expect(!daemon.log.contains(secret))
        let grep = try run("grep", ["-r", "-l", "-a", "-F", "-e", String(secret), daemon.folder])
        #expect(grep.exit == 1, "\(grep)")
    }

    @Test func aFileOfSeventyKilobytesIsTooLarge() throws {
        try refused("CERTIFICATE_TOO_LARGE", try shop.write(String(repeating: "x", count: 70_000)))
    }

    @Test func twoCertificatesInOneFileAreMalformed() throws {
        let text = try shop.readText(good.certificate)
        try refused("CERTIFICATE_MALFORMED", try shop.write(text + text))
        let other = try shop.readText(try shop.eccAuthority("other").certificate)
        try refused("CERTIFICATE_MALFORMED", try shop.write(text + other))
    }

    @Test func aByteAfterTheDerIsMalformed() throws {
        try refused("CERTIFICATE_MALFORMED", try shop.write(try shop.der(of: good.certificate) + [0]))
    }

    @Test func aCutDerIsMalformed() throws {
        try refused("CERTIFICATE_MALFORMED", try shop.write(try shop.der(of: good.certificate).dropLast()))
    }

    @Test func anotherPemLabelIsMalformed() throws {
        let text = try shop.readText(good.certificate)
        try refused(
            "CERTIFICATE_MALFORMED", try shop.write(text.replacingOccurrences(of: "CERTIFICATE", with: "PKCS7")))
    }

    @Test func anEditedSerialNumberBreaksTheSelfSignature() throws {
        let authority = try shop.eccAuthority("edited", serial: "0x1122334455667788")
        var der = try shop.der(of: authority.certificate)
        let position = try #require(der.range(of: Data([0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88])))
        der[position.lowerBound] = 0x12
        let proof = try shop.verification(code: try daemon.issueCode("plant"), by: authority)
        try daemon.expectRegistrationRefusal(
            "SIGNATURE_INVALID", instance: "plant", ca: try shop.write(der), verification: proof)
    }

    @Test func aSerialNumberOf129BytesIsTooLong() throws {
        let serial = "0x" + String(repeating: "41", count: 129)
        try refused("SN_TOO_LONG", try shop.eccAuthority("long", serial: serial))
    }

    @Test(arguments: ["41", "c1"])
    func aSerialNumberOf128BytesIsGood(firstByte: String) throws {
        let digits = firstByte + String(repeating: "5a", count: 127)
        let registered = try daemon.register(
            try shop.eccAuthority("long but good \(firstByte)", serial: "0x" + digits), with: "plant", from: shop)
        #expect(registered["sn"]?.text == digits)
    }

    @Test func aSerialNumberOfZeroIsGood() throws {
        let registered = try daemon.register(try shop.eccAuthority("zero", serial: "0"), with: "plant", from: shop)
        #expect(registered["sn"]?.text == "00")
        #expect(try daemon.json("ca", "show", "00")["sn"]?.text == "00")
    }

    @Test func aNegativeSerialNumberIsInvalid() throws {
        try refused("SN_INVALID", try shop.eccAuthority("negative", serial: "-5"))
    }

    @Test func anRsaKeyOf1024BitsIsTooWeak() throws {
        try refused("KEY_TOO_WEAK", try shop.rsaAuthority("weak", bits: 1024))
    }

    @Test func anEd25519CaIsNotSupported() throws {
        try refused(
            "KEY_ALGORITHM_NOT_SUPPORTED", try shop.eccAuthority("ed25519", key: try shop.ed25519Key()))
    }

    @Test func aCurveOutsideP256P384P521IsNotSupported() throws {
        try refused(
            "KEY_ALGORITHM_NOT_SUPPORTED", try shop.eccAuthority("koblitz", key: try shop.eccKey(curve: "secp256k1")))
    }

    @Test func explicitCurveParametersAreNotSupported() throws {
        let key = shop.freshPath("key")
        try openssl("ecparam", "-genkey", "-name", "prime256v1", "-param_enc", "explicit", "-out", key)
        try refused("KEY_ALGORITHM_NOT_SUPPORTED", try shop.eccAuthority("explicit", key: key))
    }

    @Test(arguments: ["secp384r1", "secp521r1"])
    func theOtherNistCurvesAreGood(curve: String) throws {
        let authority = try shop.eccAuthority(curve, key: try shop.eccKey(curve: curve))
        let registered = try daemon.register(authority, with: "plant", from: shop)
        #expect(registered["keyBits"]?.integer == (curve == "secp384r1" ? 384 : 521))
    }

    @Test func aCertificateThatIsNoCaIsRefused() throws {
        let version1 = try shop.device("device", by: good)
        try refused("NOT_A_CA", version1)
        let key = try shop.eccKey()
        for extensions in [
            "basicConstraints=CA:FALSE", "keyUsage=keyCertSign", "basicConstraints=CA:TRUE\nkeyUsage=digitalSignature",
            "basicConstraints=CA:TRUE\nextendedKeyUsage=serverAuth",
        ] {
            let certificate = try shop.issue(key: key, subject: "/CN=ca", by: good, extensions: extensions)
            try refused("NOT_A_CA", try shop.authority(key: key, certificate: certificate))
        }
    }

    @Test(arguments: [
        ("20200101000000Z", "20210101000000Z", "CA_EXPIRED"),
        ("20990101000000Z", "21000101000000Z", "CA_NOT_YET_VALID"),
    ])
    func aCaOutsideItsPeriodIsRefused(start: String, end: String, reason: String) throws {
        let key = try shop.eccKey()
        let certificate = try shop.issue(
            key: key, subject: "/CN=period", by: nil, from: start, to: end,
            extensions: "basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash")
        try refused(reason, try shop.authority(key: key, certificate: certificate))
    }

    @Test func anUnknownCriticalExtensionIsMalformed() throws {
        let key = try shop.eccKey()
        let certificate = try shop.issue(
            key: key, subject: "/CN=critical", by: good,
            extensions: "basicConstraints=critical,CA:TRUE\n1.2.3.4.5=critical,ASN1:NULL")
        try refused("CERTIFICATE_MALFORMED", try shop.authority(key: key, certificate: certificate))
    }

    @Test func pemWithTextAroundItAndCarriageReturnsAndAByteOrderMarkIsGood() throws {
        let authority = try shop.eccAuthority("decorated")
        let lines = try shop.readText(authority.certificate).split(separator: "\n")
        let text = "\u{FEFF}Bag Attributes\r\n" + lines.joined(separator: "\r\n") + "\r\ntrailing words"
        let proof = try shop.verification(code: try daemon.issueCode("plant"), by: authority)
        let registered = try daemon.json(
            "ca", "register", "--instance", "plant", "--ca", try shop.write(text), "--verification", proof)
        #expect(registered["sn"]?.text == authority.serialNumber)
    }

    @Test func derUploadsAreGood() throws {
        let authority = try shop.eccAuthority("binary")
        let proof = try shop.verification(code: try daemon.issueCode("plant"), by: authority)
        let registered = try daemon.json(
            "ca", "register", "--instance", "plant", "--ca", try shop.write(try shop.der(of: authority.certificate)),
            "--verification", try shop.write(try shop.der(of: proof)))
        #expect(registered["sn"]?.text == authority.serialNumber)
    }
}
