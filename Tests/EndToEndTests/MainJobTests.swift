import Foundation
import Testing

/// What the registry is for, from an empty state folder to a CA certificate that is gone again.
@Suite struct MainJobTests {
    enum Kind: String, CaseIterable, Sendable {
        case rsa, ecc, intermediate
    }

    @Test(arguments: Kind.allCases)
    func aCaThatIsRegisteredVerifiesItsDevicesUntilItIsUnregisteredOrDeleted(kind: Kind) throws {
        let daemon = try Daemon()
        let shop = try CertificateShop()
        let authority =
            switch kind {
            case .rsa: try shop.rsaAuthority("RSA CA")
            case .ecc: try shop.eccAuthority("ECC CA")
            case .intermediate: try shop.intermediate("Intermediate CA", under: try shop.eccAuthority("Root"))
            }
        try register(authority, kind: kind, at: daemon, from: shop)
        try find(authority, at: daemon)
        try download(authority, at: daemon, shop: shop)
        try connectDevices(authority, at: daemon, shop: shop)
        #expect(try daemon.terminate() == 0, "\(daemon.log)")
    }

    private func register(
        _ authority: Authority, kind: Kind, at daemon: Daemon, from shop: CertificateShop
    ) throws {
        let instance = try daemon.json("instance", "create", "plant-7_A", "--edition", "platinum")
        #expect(instance["id"]?.text == "plant-7_A")
        #expect(instance["edition"]?.text == "EDITION_PLATINUM")
        let issued = try daemon.json("code", "issue", "plant-7_A")
        let code = try #require(issued["code"]?.text)
        #expect(code.count <= 64 && code.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") })
        #expect(issued["instanceId"]?.text == "plant-7_A")
        #expect(try daemon.openCodes("plant-7_A") == [String(code.prefix(8))])

        let key = kind == .rsa ? try shop.rsaKey() : nil
        let verification = try shop.verification(code: code, by: authority, key: key)
        let registered = try daemon.json(
            "ca", "register", "--instance", "plant-7_A", "--ca", authority.certificate,
            "--verification", verification, "--name", "line 1")
        #expect(registered["sn"]?.text == authority.serialNumber)
        #expect(registered["instanceId"]?.text == "plant-7_A")
        #expect(registered["name"]?.text == "line 1")
        #expect(registered["status"]?.text == "STATUS_ACTIVE")
        #expect(registered["deviceRegistration"]?.text == "DEVICE_REGISTRATION_AUTOMATIC")
        #expect(registered["keyAlgorithm"]?.text == (kind == .rsa ? "KEY_ALGORITHM_RSA" : "KEY_ALGORITHM_ECC"))
        #expect(registered["keyBits"]?.integer == (kind == .rsa ? 2048 : 256))
        #expect(registered["deviceCount"]?.integer == 0)
        #expect(registered["revision"]?.integer == 3)
        let subject = try #require(registered["subject"]?.text)
        let issuer = try #require(registered["issuer"]?.text)
        #expect((subject == issuer) == (kind != .intermediate))
        let digest = try openssl("x509", "-in", authority.certificate, "-noout", "-fingerprint", "-sha256").text
        let expected = try #require(digest.split(separator: "=").last).lowercased().filter(\.isHexDigit)
        #expect(registered["fingerprint"]?.text == expected)
        #expect(try daemon.openCodes("plant-7_A").isEmpty)
    }

    private func find(_ authority: Authority, at daemon: Daemon) throws {
        let list = try daemon.json("ca", "list")
        #expect(list["caCertificates"]?.elements?.count == 1)
        #expect(list["totalSize"]?.integer == 1)
        #expect(list["nextPageToken"]?.text == "")
        let row = try #require(list["caCertificates"]?.elements?.first)
        #expect(row["sn"]?.text == authority.serialNumber)
        #expect((row["der"]?.text ?? "").isEmpty && (row["pem"]?.text ?? "").isEmpty, "lists leave out der and pem")
        #expect(try daemon.caregctl("ca", "list").text.contains(authority.serialNumber.prefix(12)))

        let sn = authority.serialNumber
        let colons = stride(from: 0, to: sn.count, by: 2).map { sn.dropFirst($0).prefix(2) }.joined(separator: ":")
        let spellings = [
            sn, String(sn.prefix(6)), String(sn.prefix(5)), colons, colons.uppercased(), sn.uppercased(), "0x" + sn,
            "serial=" + sn.uppercased(), colons.replacingOccurrences(of: ":", with: " "),
        ]
        for spelling in spellings {
            let found = try daemon.json("ca", "search", spelling)
            let serialNumbers = found["caCertificates"]?.elements?.compactMap { $0["sn"]?.text }
            #expect(serialNumbers == [sn], "search \(spelling)")
        }
        let other = String(sn.reversed()) + "77"
        #expect(try daemon.json("ca", "search", other)["caCertificates"]?.elements?.isEmpty == true)
        for spelling in [sn, colons.uppercased(), "0x" + sn, "00" + sn] {
            #expect(try daemon.json("ca", "show", spelling)["sn"]?.text == sn, "show \(spelling)")
        }
    }

    private func download(_ authority: Authority, at daemon: Daemon, shop: CertificateShop) throws {
        let der = try shop.der(of: authority.certificate)
        let shown = try daemon.json("ca", "show", authority.serialNumber)
        #expect(Data(base64Encoded: shown["der"]?.text ?? "") == der)

        let derFile = shop.freshPath("der")
        let derResult = try daemon.caregctl(
            "ca", "download", authority.serialNumber, "--out", derFile, "--format", "der")
        #expect(derResult.exit == 0, "\(derResult)")
        #expect(try shop.read(derFile) == der)

        let pemFile = shop.freshPath("pem")
        let pemResult = try daemon.caregctl("ca", "download", authority.serialNumber, "--out", pemFile)
        #expect(pemResult.exit == 0, "\(pemResult)")
        #expect(try shop.der(of: pemFile) == der)
        let printed = try daemon.caregctl("ca", "download", authority.serialNumber, "--format", "pem")
        #expect(printed.output == (try shop.read(pemFile)))
    }

    private func connectDevices(_ authority: Authority, at daemon: Daemon, shop: CertificateShop) throws {
        let sn = authority.serialNumber
        let device = try shop.device("pump 12", by: authority)
        let deviceSerialNumber = try shop.serialNumber(of: device)

        let first = try daemon.verdict("plant-7_A", device)
        #expect(first.exit == 0 && first.trusted == true && first.reason == "TRUSTED", "\(first)")
        #expect(first.registered == true)
        #expect(first.caSerialNumber == sn)
        #expect(first.deviceSerialNumber == deviceSerialNumber)
        let second = try daemon.verdict("plant-7_A", device)
        #expect(second.trusted == true && second.registered == false, "\(second)")

        let listed = try daemon.json("device", "list", "--ca", sn)
        #expect(listed["deviceCertificates"]?.elements?.compactMap { $0["sn"]?.text } == [deviceSerialNumber])
        let shown = try daemon.json("device", "show", sn, deviceSerialNumber)
        #expect(shown["status"]?.text == "STATUS_ACTIVE")
        #expect(shown["commonName"]?.text == "pump 12")
        #expect(shown["caSn"]?.text == sn)
        #expect(shown["instanceId"]?.text == "plant-7_A")
        #expect(try daemon.json("ca", "devices", sn)["deviceCertificates"]?.elements?.count == 1)
        #expect(try daemon.json("ca", "show", sn)["deviceCount"]?.integer == 1)

        let inactive = try daemon.json("ca", "unregister", sn)
        #expect(inactive["status"]?.text == "STATUS_INACTIVE")
        let refused = try daemon.verdict("plant-7_A", device)
        #expect(refused.exit == 1 && refused.trusted == false && refused.reason == "CA_INACTIVE", "\(refused)")
        #expect(try daemon.json("ca", "show", sn)["instanceId"]?.text == "plant-7_A")

        #expect(try daemon.json("ca", "activate", sn)["status"]?.text == "STATUS_ACTIVE")
        #expect(try daemon.verdict("plant-7_A", device).reason == "TRUSTED")

        try daemon.json("ca", "delete", sn, "--yes")
        let gone = try daemon.verdict("plant-7_A", device)
        #expect(gone.exit == 1 && gone.reason == "CA_UNKNOWN", "\(gone)")
        #expect(try daemon.refusal("ca", "show", sn).reason == "CA_NOT_FOUND")

        try daemon.createInstance("other")
        try daemon.register(authority, with: "other", from: shop)
        #expect(try daemon.json("ca", "show", sn)["instanceId"]?.text == "other")
        #expect(try daemon.verdict("other", device).reason == "TRUSTED")
        #expect(try daemon.verdict("plant-7_A", device).reason == "CA_OF_ANOTHER_INSTANCE")
    }

    @Test func aFreshStateFolderAndNoConfigurationStartTheDefaultRegion() throws {
        let daemon = try Daemon()
        let status = try daemon.json("status")
        #expect(status["region"]?.text == "default")
        #expect(status["revision"]?.integer == 0)
        #expect(try daemon.json("ca", "list")["caCertificates"]?.elements?.isEmpty == true)
        #expect(try daemon.json("instance", "list")["instances"]?.elements?.isEmpty == true)
        #expect(try daemon.terminate() == 0, "\(daemon.log)")
    }

    @Test func theAnchorsOfAnInstanceAreWrittenAsAPemBundleThatOpenSSLTakes() throws {
        let daemon = try Daemon()
        let shop = try CertificateShop()
        let authority = try shop.intermediate("Issuing CA", under: try shop.eccAuthority("Root"))
        try daemon.createInstance("plant")
        try daemon.register(authority, with: "plant", from: shop)
        let device = try shop.device("meter", by: authority)

        let bundle = shop.freshPath("pem")
        let hashed = shop.freshPath("dir")
        let result = try daemon.caregctl("anchors", "--instance", "plant", "--out", bundle, "--hashed-dir", hashed)
        #expect(result.exit == 0, "\(result)")
        let der = try shop.der(of: authority.certificate)
        #expect(try shop.der(of: bundle) == der)
        try openssl("verify", "-purpose", "sslclient", "-no-CAfile", "-no-CAstore", "-CApath", hashed, device)

        #expect(try shop.der(of: "\(daemon.runtimeFolder)/anchors/plant.pem") == der)
        let live = "\(daemon.runtimeFolder)/anchors/plant"
        try openssl("verify", "-purpose", "sslclient", "-no-CAfile", "-no-CAstore", "-CApath", live, device)

        try daemon.json("ca", "unregister", authority.serialNumber)
        let bundleText = try shop.readText("\(daemon.runtimeFolder)/anchors/plant.pem")
        #expect(!bundleText.contains("BEGIN CERTIFICATE"))
        let verified = try run(
            "openssl", ["verify", "-purpose", "sslclient", "-no-CAfile", "-no-CAstore", "-CApath", live, device])
        #expect(verified.exit != 0)
    }
}
