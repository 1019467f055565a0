import Foundation
import Testing

/// Device certificates: how they come to be known, and what ends their trust.
@Suite(.serialized) struct DeviceTests {
    private struct Fixture: Sendable {
        let daemon: Daemon
        let shop: CertificateShop
        /// Registered with `plant`, automatic.
        let authority: Authority

        init() throws {
            daemon = try Daemon()
            shop = try CertificateShop()
            authority = try shop.eccAuthority("automatic")
            try daemon.createInstance("plant")
            try daemon.createInstance("rival")
            try daemon.register(authority, with: "plant", from: shop)
        }
    }

    private static let fixture = Result { try Fixture() }
    private let daemon: Daemon
    private let shop: CertificateShop
    private let authority: Authority

    init() throws {
        let fixture = try Self.fixture.get()
        daemon = fixture.daemon
        shop = fixture.shop
        authority = fixture.authority
    }

    private func newAuthority(_ name: String, _ options: String...) throws -> Authority {
        let authority = try shop.eccAuthority(name)
        let verification = try shop.verification(code: try daemon.issueCode("plant"), by: authority)
        try daemon.json(
            [
                "ca", "register", "--instance", "plant", "--ca", authority.certificate,
                "--verification", verification,
            ] + options)
        return authority
    }

    private func expect(
        _ reason: String, _ files: [String], _ options: [String] = [], instance: String = "plant",
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let verdict = try daemon.verdict(instance, files, options)
        let trusted = reason == "TRUSTED"
        #expect(verdict.reason == reason, "\(verdict.json)", sourceLocation: sourceLocation)
        #expect(verdict.trusted == trusted, sourceLocation: sourceLocation)
        #expect(verdict.exit == (trusted ? 0 : 1), sourceLocation: sourceLocation)
    }

    // MARK: Modes of registration

    @Test func aPendingCaKeepsAFirstSightUntilItIsActivated() throws {
        let ca = try newAuthority("pending", "--device-registration", "pending")
        let device = try shop.device("device", by: ca)
        let sn = try shop.serialNumber(of: device)
        let first = try daemon.verdict("plant", device)
        #expect(first.reason == "DEVICE_PENDING" && first.trusted == false && first.registered == true, "\(first)")
        #expect(try daemon.verdict("plant", device).registered == false)
        #expect(try daemon.json("device", "show", ca.serialNumber, sn)["status"]?.text == "STATUS_PENDING")
        let waiting = try daemon.json("device", "list", "--ca", ca.serialNumber, "--status", "pending")
        #expect(waiting["deviceCertificates"]?.elements?.count == 1)
        #expect(try daemon.json("device", "activate", ca.serialNumber, sn)["status"]?.text == "STATUS_ACTIVE")
        try expect("TRUSTED", [device])
    }

    @Test func anExplicitCaRefusesWhatNobodyRegistered() throws {
        let ca = try newAuthority("explicit", "--device-registration", "explicit")
        let device = try shop.device("device", by: ca)
        try expect("DEVICE_NOT_REGISTERED", [device])
        #expect(try daemon.json("ca", "show", ca.serialNumber)["deviceCount"]?.integer == 0)
        let registered = try daemon.json("device", "register", "--instance", "plant", "--cert", device)
        #expect(registered["status"]?.text == "STATUS_ACTIVE")
        #expect(registered["caSn"]?.text == ca.serialNumber)
        try expect("TRUSTED", [device])
        try daemon.expectRefusal(
            "DEVICE_ALREADY_REGISTERED", ["device", "register", "--instance", "plant", "--cert", device])
    }

    @Test func theModeOfACaCanBeChanged() throws {
        let ca = try newAuthority("changing")
        let changed = try daemon.json(
            "ca", "update", ca.serialNumber, "--device-registration", "explicit", "--name", "n")
        #expect(changed["deviceRegistration"]?.text == "DEVICE_REGISTRATION_EXPLICIT")
        #expect(changed["name"]?.text == "n")
        try expect("DEVICE_NOT_REGISTERED", [try shop.device("device", by: ca)])
    }

    // MARK: The life of one device

    @Test func aDeactivatedDeviceIsRefusedAndAnActivatedOneIsTrusted() throws {
        let device = try shop.device("device", by: authority)
        let sn = try shop.serialNumber(of: device)
        try expect("TRUSTED", [device])
        #expect(
            try daemon.json("device", "deactivate", authority.serialNumber, sn)["status"]?.text == "STATUS_INACTIVE")
        try expect("DEVICE_INACTIVE", [device])
        try daemon.json("ca", "unregister", authority.serialNumber)
        try daemon.json("ca", "activate", authority.serialNumber)
        try expect("DEVICE_INACTIVE", [device])
        try daemon.json("device", "activate", authority.serialNumber, sn)
        try expect("TRUSTED", [device])
    }

    @Test func aDeletedDeviceStaysOutUntilItIsRegisteredExplicitly() throws {
        let device = try shop.device("device", by: authority)
        let sn = try shop.serialNumber(of: device)
        try expect("TRUSTED", [device])
        try daemon.json("device", "delete", authority.serialNumber, sn, "--yes")
        try expect("DEVICE_DELETED", [device])
        try expect("DEVICE_DELETED", [device])
        try daemon.expectRefusal("DEVICE_NOT_FOUND", ["device", "show", authority.serialNumber, sn])
        try daemon.json("device", "register", "--instance", "plant", "--cert", device)
        try expect("TRUSTED", [device])
    }

    @Test func aDownloadedDeviceIsTheOneThatConnected() throws {
        let device = try shop.device("device", by: authority)
        let sn = try shop.serialNumber(of: device)
        try expect("TRUSTED", [device])
        let file = shop.freshPath("pem")
        let result = try daemon.caregctl("device", "download", authority.serialNumber, sn, "--out", file)
        #expect(result.exit == 0, "\(result)")
        #expect(try shop.der(of: file) == shop.der(of: device))
    }

    @Test func anotherCertificateWithTheSameSerialNumberIsRefused() throws {
        let first = try shop.device("device", by: authority, serial: "0x77001122")
        let second = try shop.device("imposter", by: authority, serial: "0x77001122")
        try expect("TRUSTED", [first])
        try expect("DEVICE_SERIAL_REUSED", [second])
        try expect("TRUSTED", [first])
    }

    @Test func aNegativeSerialNumberOfADeviceIsWrittenWithItsSign() throws {
        let device = try shop.device("negative", by: authority, serial: "-5")
        let verdict = try daemon.verdict("plant", device)
        #expect(verdict.reason == "TRUSTED" && verdict.deviceSerialNumber == "-05", "\(verdict.json)")
        for arguments in [["-05"], ["--", "-05"], ["-5"]] {
            let shown = try daemon.caregctl(
                ["device", "show", "--output", "json", authority.serialNumber] + arguments)
            #expect(shown.exit == 0, "\(shown)")
            if shown.exit == 0 { #expect(try JSONValue(parsing: shown.output)["sn"]?.text == "-05") }
        }
    }

    // MARK: What the certificate says

    @Test func aDryRunRegistersNothing() throws {
        let device = try shop.device("device", by: authority)
        let before = try daemon.revision()
        let verdict = try daemon.verdict("plant", [device], ["--dry-run"])
        #expect(verdict.trusted == true && verdict.registered == false, "\(verdict)")
        #expect(try daemon.revision() == before)
        try daemon.expectRefusal(
            "DEVICE_NOT_FOUND", ["device", "show", authority.serialNumber, try shop.serialNumber(of: device)])
    }

    @Test func aDryRunAnswersForAnotherTime() throws {
        let key = try shop.eccKey()
        let device = try shop.issue(
            key: key, subject: "/CN=short", by: authority, from: "20200101000000Z", to: "20990101000000Z",
            extensions: "basicConstraints=CA:FALSE")
        try expect("TRUSTED", [device], ["--dry-run"])
        try expect("CA_NOT_YET_VALID", [device], ["--dry-run", "--at", "2021-01-01T00:00:00Z"])
        try expect("CA_EXPIRED", [device], ["--dry-run", "--at", "2090-01-01T00:00:00Z"])
        let ordinary = try shop.device("ordinary", by: authority)
        let later = ISO8601DateFormatter().string(from: Date(timeIntervalSinceNow: 400 * 86400))
        try expect("DEVICE_EXPIRED", [ordinary], ["--dry-run", "--at", later])
    }

    @Test(arguments: [
        ("20200101000000Z", "20210101000000Z", "DEVICE_EXPIRED"),
        ("20990101000000Z", "21000101000000Z", "DEVICE_NOT_YET_VALID"),
    ])
    func aDeviceOutsideItsPeriodIsRefused(start: String, end: String, reason: String) throws {
        let device = try shop.issue(
            key: try shop.eccKey(), subject: "/CN=d", by: authority, from: start, to: end,
            extensions: "basicConstraints=CA:FALSE")
        try expect(reason, [device])
    }

    @Test func anExpiredDeviceCanBeRegisteredAndStaysRefused() throws {
        let device = try shop.device("expired", by: authority, days: -1)
        let registered = try daemon.json("device", "register", "--instance", "plant", "--cert", device)
        #expect(registered["status"]?.text == "STATUS_ACTIVE")
        try expect("DEVICE_EXPIRED", [device])
    }

    @Test(arguments: [
        ("extendedKeyUsage=serverAuth", "USAGE_NOT_ALLOWED"), ("keyUsage=keyEncipherment", "USAGE_NOT_ALLOWED"),
        ("extendedKeyUsage=clientAuth\nkeyUsage=digitalSignature", "TRUSTED"),
        ("extendedKeyUsage=anyExtendedKeyUsage", "TRUSTED"), ("keyUsage=keyAgreement", "TRUSTED"),
        ("1.2.3.4=critical,ASN1:NULL", "CERTIFICATE_MALFORMED"), ("1.2.3.4=ASN1:NULL", "TRUSTED"),
        ("certificatePolicies=critical,1.2.3.4", "TRUSTED"), ("basicConstraints=CA:TRUE", "USAGE_NOT_ALLOWED"),
    ])
    func aDeviceIsJudgedByItsExtensions(extensions: String, reason: String) throws {
        try expect(reason, [try shop.device("device", by: authority, extensions: extensions)])
    }

    @Test func theCaItselfIsNoDevice() throws {
        try expect("USAGE_NOT_ALLOWED", [authority.certificate])
    }

    @Test func anEd25519DeviceIsTrusted() throws {
        try expect("TRUSTED", [try shop.device("ed", by: authority, key: try shop.ed25519Key())])
    }

    @Test func aBrokenSignatureIsRefusedAndRegistersNothing() throws {
        var der = try shop.der(of: try shop.device("device", by: authority))
        der[der.count - 1] ^= 1
        let before = try daemon.revision()
        try expect("SIGNATURE_INVALID", [try shop.write(der)])
        #expect(try daemon.revision() == before)
    }

    @Test func aFileThatIsNoCertificateIsMalformed() throws {
        var der = try shop.der(of: try shop.device("device", by: authority))
        der.append(0)
        try expect("CERTIFICATE_MALFORMED", [try shop.write(der)])
    }
}
