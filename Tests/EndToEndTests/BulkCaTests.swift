import Foundation
import Testing

/// `ca register` of a folder, and what it says where the proof is missing.
@Suite struct BulkCaTests {
    private let daemon: Daemon
    private let shop: CertificateShop
    private let folder: String

    init() throws {
        daemon = try Daemon()
        shop = try CertificateShop()
        folder = shop.path("cas")
        try FileManager.default.createDirectory(atPath: folder + "/line 3", withIntermediateDirectories: true)
        try daemon.createInstance("plant")
    }

    private func copy(_ file: String, to name: String) throws {
        try FileManager.default.copyItem(atPath: file, toPath: "\(folder)/\(name)")
    }

    /// Puts a CA certificate and its proof under two names into the folder.
    @discardableResult
    private func add(_ name: String, _ ca: String, _ proof: String) throws -> Authority {
        let authority = try shop.eccAuthority(name)
        try copy(authority.certificate, to: ca)
        try copy(try shop.verification(code: try daemon.issueCode("plant"), by: authority), to: proof)
        return authority
    }

    @Test func pairsAreRegisteredUnderTheirNamesAndSaidBeforehand() throws {
        let first = try add("One", "line1.crt", "line1-verification.crt")
        try add("Two", "line2.pem", "line2.verification.pem")
        try add("Three", "line 3/CA.crt", "line 3/verificationCert.crt")
        let arguments = ["ca", "register", "--instance", "plant", "--folder", folder]
        let result = try daemon.caregctl(arguments + ["--device-registration", "pending"])
        #expect(result.exit == 0, "\(result)")
        #expect(result.text == "registered:    3\nalready there: 0\nrefused:       0\n", "\(result)")
        #expect(
            result.errorText == """
                caregctl: this registers 3 CA certificates with the instance plant
                  line1: \(folder)/line1.crt, with \(folder)/line1-verification.crt
                  line2: \(folder)/line2.pem, with \(folder)/line2.verification.pem
                  line 3: \(folder)/line 3/CA.crt, with \(folder)/line 3/verificationCert.crt

                """, "\(result)")
        let shown = try daemon.json("ca", "show", first.serialNumber)
        #expect(shown["name"]?.text == "line1", "\(shown)")
        #expect(shown["deviceRegistration"]?.text == "DEVICE_REGISTRATION_PENDING", "\(shown)")

        // Their codes are used up: that they are there already counts more.
        let again = try daemon.caregctl(arguments)
        #expect(again.exit == 0, "\(again)")
        #expect(again.text == "registered:    0\nalready there: 3\nrefused:       0\n", "\(again)")
        #expect(again.errorText.contains("this registers 0 CA certificates"), "\(again)")
        #expect(again.errorText.contains("line2: \(folder)/line2.pem is registered already"), "\(again)")
    }

    @Test func oneThatIsRefusedAndOneWithoutAPartnerDoNotStopTheOthers() throws {
        try add("One", "a.crt", "a-verification.crt")
        let stranger = try shop.eccAuthority("Stranger")
        try copy(stranger.certificate, to: "b.crt")
        try copy(try shop.verification(code: "nonsense", by: stranger), to: "b-verification.crt")
        try copy(stranger.certificate, to: "c.crt")
        try copy(stranger.key, to: "key.txt")
        try add("Four", "d.crt", "d-verification.crt")
        let result = try daemon.caregctl("ca", "register", "--instance", "plant", "--folder", folder)
        #expect(result.exit == 1, "\(result)")
        #expect(
            result.text == """
                registered:    2
                already there: 0
                refused:       2 (1 CODE_MISMATCH, 1 FILE_WITHOUT_PARTNER)

                """, "\(result)")
        #expect(
            result.errorText.contains(
                "caregctl: \(folder)/c.crt has no verification certificate beside it: c-verification.crt, for example "
                    + "(FILE_WITHOUT_PARTNER)\n"), "\(result)")
        #expect(
            result.errorText.split(separator: "\n").contains {
                $0.hasPrefix("caregctl: \(folder)/b.crt: ") && $0.hasSuffix("(CODE_MISMATCH)")
            }, "\(result)")
        #expect(try daemon.json("ca", "list")["caCertificates"]?.elements?.count == 2)
    }

    @Test func theAnswerInJSONIsOneDocumentAndStandardErrorIsQuiet() throws {
        try add("One", "a.crt", "a-verification.crt")
        try copy(try shop.write("nothing"), to: "b.crt")
        try copy(try shop.write("nothing"), to: "b-verification.crt")
        let result = try daemon.caregctl(
            "ca", "register", "--instance", "plant", "--folder", folder, "--output", "json")
        #expect(result.exit == 1 && result.errorText.isEmpty, "\(result)")
        let summary = try JSONValue(parsing: result.output)
        #expect(summary["registered"]?.integer == 1 && summary["refused"]?.integer == 1, "\(summary)")
        let failure = try #require(summary["failures"]?.elements?.first)
        #expect(failure["source"]?.text == "\(folder)/b.crt", "\(summary)")
        #expect(failure["error"]?["reason"]?.text == "CERTIFICATE_MALFORMED", "\(summary)")
        #expect(failure["error"]?["code"]?.text == "INVALID_ARGUMENT", "\(summary)")
    }

    @Test func aFolderThatIsNoneOrEmptyAndAnUnknownInstanceAreRefused() throws {
        for place in [folder, shop.path("gone"), "/dev/null"] {
            let result = try daemon.caregctl("ca", "register", "--instance", "plant", "--folder", place)
            #expect(result.exit == 66 && result.errorText.contains(place), "\(result)")
        }
        try add("One", "a.crt", "a-verification.crt")
        try daemon.expectRefusal(
            "INSTANCE_NOT_FOUND", ["ca", "register", "--instance", "nobody", "--folder", folder])
        let both = try daemon.caregctl(
            "ca", "register", "--instance", "plant", "--folder", folder, "--name", "x")
        #expect(both.exit == 64 && both.errorText.contains("--folder stands alone"), "\(both)")
    }

    @Test func whereTheProofIsMissingOrWrongTheNextStepsAreSaid() throws {
        let authority = try shop.eccAuthority("CA")
        let missing = try daemon.caregctl("ca", "register", "--instance", "plant", "--ca", authority.certificate)
        #expect(missing.exit == 64, "\(missing)")
        let wrong = try daemon.caregctl(
            "ca", "register", "--instance", "plant", "--ca", authority.certificate, "--verification",
            try shop.verification(code: "nonsense", by: authority))
        #expect(wrong.exit == 1 && wrong.errorText.contains("(CODE_MISMATCH)\n"), "\(wrong)")
        for result in [missing, wrong] {
            #expect(result.errorText.contains("1. caregctl code issue plant\n"), "\(result)")
            #expect(result.errorText.contains("-CA \(authority.certificate) -CAkey"), "\(result)")
        }
        // A program gets the refusal alone.
        let refusal = try daemon.refusal(
            "ca", "register", "--instance", "plant", "--ca", authority.certificate, "--verification",
            authority.certificate)
        #expect(refusal.reason == "CODE_MISMATCH")
        let nothing = try daemon.caregctl("ca", "register", "--instance", "plant")
        #expect(nothing.exit == 64 && nothing.errorText.contains("or --folder"), "\(nothing)")
        // A refusal that another proof does not mend comes without the steps.
        let unknown = try daemon.caregctl(
            "ca", "register", "--instance", "nobody", "--ca", authority.certificate, "--verification",
            authority.certificate)
        #expect(unknown.exit == 1 && !unknown.errorText.contains("next:"), "\(unknown)")
    }
}
