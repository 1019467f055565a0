import Foundation
import Testing

/// Paths from a device to a CA: intermediates, several CAs, other instances.
@Suite(.serialized) struct DevicePathTests {
    private struct Fixture: Sendable {
        let daemon: Daemon
        let shop: CertificateShop
        let root: Authority

        init() throws {
            daemon = try Daemon()
            shop = try CertificateShop()
            root = try shop.eccAuthority("root")
            try daemon.createInstance("plant")
            try daemon.createInstance("rival")
            try daemon.register(root, with: "plant", from: shop)
        }
    }

    private static let fixture = Result { try Fixture() }
    private let daemon: Daemon
    private let shop: CertificateShop
    private let root: Authority

    init() throws {
        let fixture = try Self.fixture.get()
        daemon = fixture.daemon
        shop = fixture.shop
        root = fixture.root
    }

    @Test func aChainIsTrustedWithItsIntermediatesInAnyOrderAndUnknownWithoutThem() throws {
        let upper = try shop.intermediate("upper", under: root)
        let lower = try shop.intermediate("lower", under: upper)
        let device = try shop.device("device", by: lower)
        #expect(try daemon.verdict("plant", [device], ["--dry-run"]).reason == "CA_UNKNOWN")
        let files = [device, upper.certificate, root.certificate, lower.certificate]
        let verdict = try daemon.verdict("plant", files)
        #expect(verdict.reason == "TRUSTED" && verdict.caSerialNumber == root.serialNumber, "\(verdict.json)")
        #expect(try daemon.verdict("plant", device).reason == "TRUSTED", "a known device is decided on its path")
    }

    @Test func aDeviceCanBeRegisteredWithItsChain() throws {
        let issuing = try shop.intermediate("issuing", under: root)
        let device = try shop.device("device", by: issuing)
        try daemon.expectRefusal(
            "DEVICE_NOT_ISSUED_BY_CA", ["device", "register", "--instance", "plant", "--cert", device])
        let registered = try daemon.json(
            "device", "register", "--instance", "plant", "--cert", device, "--chain", issuing.certificate)
        #expect(registered["caSn"]?.text == root.serialNumber)
    }

    @Test func anUnrelatedDeviceIsNotIssuedByACaOfTheInstance() throws {
        let device = try shop.device("stranger", by: try shop.eccAuthority("nobody's"))
        #expect(try daemon.verdict("plant", device).reason == "CA_UNKNOWN")
        try daemon.expectRefusal(
            "DEVICE_NOT_ISSUED_BY_CA", ["device", "register", "--instance", "plant", "--cert", device])
    }

    @Test func aDeviceOfAnotherInstanceIsToldSoOnTheAdminSocketAndUnknownOnTheBrokers() throws {
        let device = try shop.device("device", by: root)
        let told = try daemon.verdict("rival", device)
        #expect(told.reason == "CA_OF_ANOTHER_INSTANCE" && told.exit == 1, "\(told)")
        let broker = try run(
            program("caregctl"),
            ["--socket", daemon.brokerSocket, "verify", "--instance", "rival", device, "--output", "json"])
        #expect(broker.exit == 1)
        let reason = try JSONValue(parsing: broker.output)["reason"]?.text
        #expect(reason == "REASON_CA_OF_ANOTHER_INSTANCE" || reason == "REASON_CA_UNKNOWN")
    }

    @Test func theBrokersSocketRefusesAnOperatorsCommandWith77() throws {
        let result = try run(
            program("caregctl"), ["--socket", daemon.brokerSocket, "ca", "list", "--output", "json"])
        let refusal = try Refusal(result)
        #expect(refusal.reason == "CALLER_NOT_ALLOWED" && refusal.exit == 77, "\(result)")
    }

    @Test func aPathLengthOfZeroForbidsAnIntermediate() throws {
        let upper = try shop.intermediate("short", under: root)
        let key = try shop.eccKey()
        let limited = try shop.authority(
            key: key,
            certificate: try shop.issue(
                key: key, subject: "/CN=limited", by: upper,
                extensions: "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=keyCertSign"))
        let below = try shop.intermediate("below", under: limited)
        let allowed = try shop.device("allowed", by: limited)
        let forbidden = try shop.device("forbidden", by: below)
        let chain = [upper.certificate, limited.certificate]
        #expect(try daemon.verdict("plant", [allowed] + chain).reason == "TRUSTED")
        let verdict = try daemon.verdict("plant", [forbidden, below.certificate] + chain)
        #expect(verdict.reason == "CHAIN_INVALID", "\(verdict.json)")
    }

    @Test func aNameOutsideAnIntermediatesConstraintsIsNotPermitted() throws {
        let constrained = try shop.intermediate(
            "constrained", under: root, extensions: "nameConstraints=critical,permitted;DNS:plant.example")
        let inside = try shop.device("in", by: constrained, extensions: "subjectAltName=DNS:pump.plant.example")
        let outside = try shop.device("out", by: constrained, extensions: "subjectAltName=DNS:pump.example")
        #expect(try daemon.verdict("plant", inside, constrained.certificate).reason == "TRUSTED")
        #expect(try daemon.verdict("plant", outside, constrained.certificate).reason == "NAME_NOT_PERMITTED")
    }

    @Test func aRenewedCaDoesNotBringADeletedDeviceBack() throws {
        let old = try shop.eccAuthority("renewed")
        try daemon.register(old, with: "plant", from: shop)
        let device = try shop.device("device", by: old)
        #expect(try daemon.verdict("plant", device).reason == "TRUSTED")
        try daemon.json("device", "delete", old.serialNumber, try shop.serialNumber(of: device), "--yes")
        let renewed = try shop.eccAuthority("renewed", key: old.key)
        try daemon.register(renewed, with: "plant", from: shop)
        #expect(try daemon.verdict("plant", device).reason == "DEVICE_DELETED")
        try daemon.json("ca", "delete", old.serialNumber, "--yes")
        #expect(try daemon.verdict("plant", device).reason == "DEVICE_DELETED")
    }

    @Test func deletingOneOfTwoCasWithTheSameKeyMovesItsDevices() throws {
        let old = try shop.eccAuthority("moving")
        try daemon.register(old, with: "plant", from: shop)
        let active = try shop.device("active", by: old)
        let stopped = try shop.device("stopped", by: old)
        for device in [active, stopped] { #expect(try daemon.verdict("plant", device).reason == "TRUSTED") }
        try daemon.json("device", "deactivate", old.serialNumber, try shop.serialNumber(of: stopped))
        let renewed = try shop.eccAuthority("moving", key: old.key)
        try daemon.register(renewed, with: "plant", from: shop)
        try daemon.json("ca", "delete", old.serialNumber, "--yes")

        let moved = try daemon.json("device", "list", "--ca", renewed.serialNumber)
        #expect(moved["deviceCertificates"]?.elements?.count == 2, "\(moved)")
        let verdict = try daemon.verdict("plant", active)
        #expect(verdict.reason == "TRUSTED" && verdict.registered == false, "\(verdict.json)")
        #expect(verdict.caSerialNumber == renewed.serialNumber)
        #expect(try daemon.verdict("plant", stopped).reason == "DEVICE_INACTIVE")
    }

    @Test func anInactiveCaBarsItsDevicesUnlessAnotherWithTheSameKeyIsActive() throws {
        let first = try shop.eccAuthority("twin")
        try daemon.register(first, with: "plant", from: shop)
        let device = try shop.device("device", by: first)
        #expect(try daemon.verdict("plant", device).reason == "TRUSTED")
        let second = try shop.eccAuthority("twin", key: first.key)
        try daemon.register(second, with: "plant", from: shop)
        try daemon.json("ca", "unregister", first.serialNumber)
        #expect(try daemon.verdict("plant", device).reason == "TRUSTED")
        try daemon.json("ca", "unregister", second.serialNumber)
        #expect(try daemon.verdict("plant", device).reason == "CA_INACTIVE")
    }

    @Test func anInactiveIntermediateBarsItsDevicesAlthoughTheRootIsActive() throws {
        let issuing = try shop.intermediate("both", under: root)
        try daemon.register(issuing, with: "plant", from: shop)
        let device = try shop.device("device", by: issuing)
        #expect(try daemon.verdict("plant", device).caSerialNumber == issuing.serialNumber)
        try daemon.json("ca", "unregister", issuing.serialNumber)
        #expect(try daemon.verdict("plant", device, issuing.certificate).reason == "CA_INACTIVE")
    }

    @Test func twoDevicesUnderOneCaAndSerialNumberAreToldApartByTheirFingerprints() throws {
        let one = try shop.intermediate("one", under: root)
        let two = try shop.intermediate("two", under: root)
        for issuer in [one, two] {
            let device = try shop.device("device", by: issuer, serial: "0x4711")
            #expect(try daemon.verdict("plant", device, issuer.certificate).reason == "TRUSTED")
        }
        let refusal = try daemon.refusal("device", "show", root.serialNumber, "4711")
        #expect(refusal.reason == "ARGUMENT_INVALID" && refusal.code == "INVALID_ARGUMENT", "\(refusal)")
        let metadata = try #require(refusal.metadata)
        let fingerprints = "\(metadata)".matches(of: /[0-9a-f]{64}/).map { String($0.output) }
        #expect(fingerprints.count == 2, "\(metadata)")
    }
}
