import Foundation
import Glibc
import TestPKI
import Testing

/// `device register` of many: several files, a folder, a stream.
@Suite struct BulkDeviceTests {
    private let daemon: Daemon
    private let shop: CertificateShop
    private let authority: Authority
    private let other: Authority

    init() throws {
        daemon = try Daemon()
        shop = try CertificateShop()
        authority = try shop.eccAuthority("Plant CA")
        other = try shop.eccAuthority("Unknown CA")
        try daemon.createInstance("plant")
        try daemon.register(authority, with: "plant", from: shop, "--device-registration", "explicit")
    }

    private var deviceCount: Int? {
        get throws { try daemon.json("ca", "show", authority.serialNumber)["deviceCount"]?.integer }
    }

    private func copy(_ file: String, to name: String, in folder: String) throws {
        try FileManager.default.copyItem(atPath: file, toPath: "\(folder)/\(name)")
    }

    /// Three good certificates, one that is registered, one that is damaged, one of another CA.
    private func mixedFiles() throws -> [(name: String, file: String)] {
        let known = try shop.device("known", by: authority)
        try daemon.json("device", "register", "--instance", "plant", "--cert", known)
        return [
            ("a.crt", try shop.device("a", by: authority)), ("b.pem", try shop.device("b", by: authority)),
            ("bad.crt", try shop.write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")),
            ("c.DER", try shop.write(try shop.der(of: try shop.device("c", by: authority)), suffix: "der")),
            ("known.cer", known), ("stranger.crt", try shop.device("stranger", by: other)),
        ]
    }

    private func expectMixed(_ summary: JSONValue, sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(summary["registered"]?.integer == 3, "\(summary)", sourceLocation: sourceLocation)
        #expect(summary["alreadyRegistered"]?.integer == 1, "\(summary)", sourceLocation: sourceLocation)
        #expect(summary["refused"]?.integer == 2, "\(summary)", sourceLocation: sourceLocation)
        #expect(summary["turnedAway"]?.integer == 0 && summary["unanswered"]?.integer == 0)
        let failures = summary["failures"]?.elements ?? []
        #expect(
            Set(failures.compactMap { $0["error"]?["reason"]?.text }) == [
                "CERTIFICATE_MALFORMED", "DEVICE_NOT_ISSUED_BY_CA",
            ], "\(summary)", sourceLocation: sourceLocation)
    }

    @Test func severalFilesAreRegisteredWhateverBecomesOfTheOthers() throws {
        let files = try mixedFiles()
        let arguments = ["device", "register", "--instance", "plant"] + files.flatMap { ["--cert", $0.file] }
        let result = try daemon.caregctl(arguments + ["--output", "json"])
        #expect(result.exit == 1 && result.errorText.isEmpty, "\(result)")
        let summary = try JSONValue(parsing: result.output)
        expectMixed(summary)
        let sources = Set((summary["failures"]?.elements ?? []).compactMap { $0["source"]?.text })
        #expect(sources == [files[2].file, files[5].file])
        #expect(try deviceCount == 4)
    }

    @Test func aFolderIsRegisteredAndRegisteredAgainWithoutHarm() throws {
        let folder = shop.path("folder")
        try FileManager.default.createDirectory(atPath: folder + "/sub.crt", withIntermediateDirectories: true)
        for (name, file) in try mixedFiles() { try copy(file, to: name, in: folder) }
        // None of these is taken for a certificate.
        try copy(authority.key, to: "key.pem", in: folder)
        try copy(try shop.device("hidden", by: authority), to: ".hidden.crt", in: folder)
        try copy(try shop.device("list", by: authority), to: "list.txt", in: folder)
        let arguments = ["device", "register", "--instance", "plant", "--folder", folder]
        let first = try daemon.caregctl(arguments)
        #expect(first.exit == 1, "\(first)")
        #expect(first.text.contains("registered:    3\n"), "\(first)")
        #expect(first.text.contains("already there: 1\n"), "\(first)")
        #expect(
            first.text.contains("refused:       2 (1 CERTIFICATE_MALFORMED, 1 DEVICE_NOT_ISSUED_BY_CA)\n"), "\(first)")
        #expect(first.text.contains("passed over:   1 (no certificate in it)\n"), "\(first)")
        let complaints = first.errorText.split(separator: "\n")
        #expect(complaints.count == 2, "\(first)")
        #expect(
            complaints.contains {
                $0.hasPrefix("caregctl: \(folder)/bad.crt: ") && $0.hasSuffix("(CERTIFICATE_MALFORMED)")
            }, "\(first)")
        #expect(
            complaints.contains {
                $0.hasPrefix("caregctl: \(folder)/stranger.crt: ") && $0.hasSuffix("(DEVICE_NOT_ISSUED_BY_CA)")
            }, "\(first)")
        #expect(try deviceCount == 4)

        for name in ["bad.crt", "stranger.crt"] { try FileManager.default.removeItem(atPath: "\(folder)/\(name)") }
        let second = try daemon.caregctl(arguments)
        #expect(second.exit == 0 && second.errorText.isEmpty, "\(second)")
        #expect(second.text.contains("registered:    0\nalready there: 4\nrefused:       0\n"), "\(second)")
        #expect(try deviceCount == 4)
    }

    @Test func aStreamFromStandardInputAndFromAFileIsRegistered() throws {
        let text = try mixedFiles().map { name, file in
            let der = name == "c.DER" ? try openssl("x509", "-inform", "der", "-in", file) : nil
            return try der?.text ?? shop.readText(file)
        }.joined(separator: "subject=text between\n")
        let unfinished = "-----BEGIN CERTIFICATE-----\nAAAA\n"
        let stream = try shop.write(text + shop.readText(authority.key) + unfinished)
        let result = try run(
            "sh",
            [
                "-c", "exec \"$0\" device register --instance plant --stream - --output json <\"$1\"",
                program("caregctl"), stream,
            ], environment: ["CAREG_SOCKET": daemon.adminSocket])
        #expect(result.exit == 1, "\(result)")
        let summary = try JSONValue(parsing: result.output)
        #expect(summary["registered"]?.integer == 3 && summary["alreadyRegistered"]?.integer == 1, "\(summary)")
        #expect(summary["refused"]?.integer == 3, "\(summary)")
        let sources = (summary["failures"]?.elements ?? []).compactMap { $0["source"]?.text }
        #expect(sources.contains { $0.hasPrefix("standard input, certificate 3 (line ") }, "\(sources)")
        #expect(sources.contains { $0.hasPrefix("standard input, certificate 7 (line ") }, "\(sources)")

        let again = try daemon.caregctl("device", "register", "--instance", "plant", "--stream", stream)
        #expect(again.exit == 1 && again.text.contains("already there: 4\nrefused:       3"), "\(again)")
        #expect(again.errorText.contains("FILE_NOT_READABLE"), "\(again)")
    }

    @Test func whatAStreamHasBroughtIsRegisteredAndALostConnectionIsToldWithItsCounts() throws {
        let stream = shop.path("stream")
        try #require(unsafe mkfifo(stream, 0o600) == 0)
        // Without a wait for the reader; when it is closed, the stream ends.
        let writer = unsafe open(stream, O_RDWR | O_CLOEXEC)
        let output = unsafe open(shop.path("output"), O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        let errors = unsafe open(shop.path("errors"), O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        defer { for descriptor in [output, errors] { close(descriptor) } }
        func bring(_ name: String) throws {
            let bytes = Array(try shop.read(try shop.device(name, by: authority)))
            #expect(unsafe write(writer, bytes, bytes.count) == bytes.count)
        }
        let child = try ChildProcess(
            program("caregctl"),
            ["--socket", daemon.adminSocket, "device", "register", "--instance", "plant", "--stream", stream],
            output: output, errors: errors)
        try bring("first")
        try bring("second")
        let deadline = Date(timeIntervalSinceNow: 20)
        while try deviceCount != 2 {
            guard Date() < deadline, !child.hasEnded(within: 20) else { throw TestFailure("two devices do not come") }
        }
        try daemon.crash()
        try bring("third")
        close(writer)
        #expect(try child.wait(seconds: 20) == 69)
        #expect(
            try shop.readText(shop.path("output")) == """
                registered:    2
                already there: 0
                refused:       0
                not answered:  1 (may be registered or not)

                """)
        #expect(try shop.readText(shop.path("errors")).hasSuffix("(CONNECTION_LOST)\n"))
    }

    @Test func thousandsAreRegisteredOverOneConnection() throws {
        let root = Entity.root("Fleet CA", key: .p256(77)) { $0.setValidity(1_700_000_000, 4_000_000_000) }
        let certificate = try shop.write(Data(root.der), suffix: "der")
        let proof = root.issue(TestName(commonName: try daemon.issueCode("plant")), key: .p256(950), []) {
            $0.makeVersion1()
            $0.setValidity(1_700_000_000, 4_000_000_000)
        }
        try daemon.json(
            "ca", "register", "--instance", "plant", "--ca", certificate, "--verification",
            try shop.write(Data(proof.der)))
        var text = ""
        for number in 0..<3_000 {
            let device = root.device("device \(number)") {
                $0.serial = [0x40, UInt8(number >> 8), UInt8(number & 0xff)]
                $0.setValidity(1_700_000_000, 4_000_000_000)
            }
            text +=
                "-----BEGIN CERTIFICATE-----\n\(Data(device.der).base64EncodedString())\n-----END CERTIFICATE-----\n"
        }
        let stream = try shop.write(text)
        let result = try daemon.caregctl("device", "register", "--instance", "plant", "--stream", stream)
        #expect(result.exit == 0 && result.errorText.isEmpty, "\(result)")
        #expect(result.text == "registered:    3000\nalready there: 0\nrefused:       0\n", "\(result)")
        let again = try daemon.caregctl("device", "register", "--instance", "plant", "--stream", stream)
        #expect(again.exit == 0, "\(again)")
        #expect(again.text == "registered:    0\nalready there: 3000\nrefused:       0\n", "\(again)")
    }

    @Test func aSerialNumberThatIsTakenIsRefusedAndNotTakenForTheSameDevice() throws {
        let first = try shop.device("first", by: authority, serial: "0x77")
        let second = try shop.device("second", by: authority, serial: "0x77")
        let files = ["--cert", first, "--cert", second]
        // One after the other, so that it is known which is first.
        try daemon.json("device", "register", "--instance", "plant", "--cert", first)
        let result = try daemon.caregctl(["device", "register", "--instance", "plant"] + files + ["--output", "json"])
        let summary = try JSONValue(parsing: result.output)
        #expect(result.exit == 1 && summary["alreadyRegistered"]?.integer == 1, "\(result)")
        #expect(summary["failures"]?.elements?.first?["source"]?.text == second, "\(summary)")
        #expect(
            summary["failures"]?.elements?.first?["error"]?["reason"]?.text == "DEVICE_ALREADY_REGISTERED", "\(summary)"
        )
    }

    @Test func aDeviceThatWasDeactivatedStaysSoAndIsCountedApart() throws {
        let files = [try shop.device("a", by: authority), try shop.device("b", by: authority)]
        let arguments = ["device", "register", "--instance", "plant"] + files.flatMap { ["--cert", $0] }
        #expect(try daemon.caregctl(arguments).exit == 0)
        try daemon.json("device", "deactivate", authority.serialNumber, try shop.serialNumber(of: files[0]))
        let again = try daemon.caregctl(arguments)
        #expect(again.exit == 0 && again.text.contains("already there: 2 (1 inactive)\n"), "\(again)")
    }

    @Test func anUnknownInstanceIsToldOnceAndAnEmptyFolderHasNoCertificate() throws {
        let files = ["--cert", try shop.device("a", by: authority), "--cert", try shop.device("b", by: authority)]
        try daemon.expectRefusal("INSTANCE_NOT_FOUND", ["device", "register", "--instance", "nobody"] + files)
        let empty = shop.path("empty")
        try FileManager.default.createDirectory(atPath: empty, withIntermediateDirectories: true)
        for place in [["--folder", empty], ["--stream", "/dev/null"], ["--folder", shop.path("none")]] {
            let result = try daemon.caregctl(["device", "register", "--instance", "plant"] + place)
            #expect(result.exit == 66 && result.errorText.contains(place[1]), "\(result)")
        }
        let folder = try daemon.caregctl("device", "register", "--instance", "plant", "--stream", empty)
        #expect(folder.exit == 66 && folder.errorText.contains("\(empty) cannot be read"), "\(folder)")
        let nothing = try daemon.caregctl("device", "register", "--instance", "plant")
        #expect(nothing.exit == 64 && nothing.errorText.contains("--cert, --folder or --stream"), "\(nothing)")
        let gone = try daemon.caregctl(
            ["device", "register", "--instance", "plant", "--cert", shop.path("gone")] + files)
        #expect(gone.exit == 1 && gone.text.contains("registered:    2\n"), "\(gone)")
        #expect(gone.errorText.contains("\(shop.path("gone")) cannot be read"), "\(gone)")
    }

    @Test func aSourceWithAControlCharacterIsEscaped() throws {
        let folder = shop.path("forged")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try copy(try shop.write("nothing"), to: "a\nregistered: 9\u{1b}[2K.crt", in: folder)
        let result = try daemon.caregctl("device", "register", "--instance", "plant", "--folder", folder)
        #expect(result.exit == 1, "\(result)")
        #expect(result.errorText.contains("a\\u{a}registered: 9\\u{1b}[2K.crt"), "\(result)")
        #expect(result.errorText.split(separator: "\n").count == 1, "\(result)")
    }

    @Test func theProgressLineIsForTerminalsOnly() throws {
        let files = ["--cert", try shop.device("a", by: authority), "--cert", try shop.device("b", by: authority)]
        let arguments = ["device", "register", "--instance", "plant"] + files
        // Standard output of `script` is what its child shows on a terminal: here, standard error alone.
        func run(on terminal: String) throws -> ProgramResult {
            let command = ([program("caregctl")] + arguments).joined(separator: " ") + " >/dev/null"
            return try EndToEndTests.run(
                "script", ["-qec", command, "/dev/null"],
                environment: ["CAREG_SOCKET": daemon.adminSocket, "TERM": terminal])
        }
        let shown = try run(on: "xterm")
        #expect(shown.exit == 0 && shown.text.contains("\r0 of 2: 0 registered, 0 already there"), "\(shown)")
        #expect(shown.text.hasSuffix("\r\u{1b}[K"), "\(shown)")
        let dumb = try run(on: "dumb")
        #expect(dumb.exit == 0 && dumb.text.isEmpty, "\(dumb)")
    }
}
