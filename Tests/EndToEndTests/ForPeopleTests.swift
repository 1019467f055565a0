import Foundation
import Testing

/// What people see: the status at a glance, progress, and what was meant.
@Suite struct ForPeopleTests {
    private let daemon: Daemon
    private let shop: CertificateShop

    init() throws {
        daemon = try Daemon()
        shop = try CertificateShop()
    }

    /// Runs a command on a terminal of its own.
    private func onTerminal(_ command: String, terminal: String = "xterm") throws -> ProgramResult {
        try run(
            "script", ["-qec", command, "/dev/null"],
            environment: ["CAREG_SOCKET": daemon.adminSocket, "TERM": terminal, "NO_COLOR": "1"])
    }

    @Test func aNewDaemonIsWellAndACaCertificateThatEndsSoonIsToldWithWhatToDo() throws {
        let fresh = try daemon.caregctl("status")
        #expect(fresh.exit == 0 && fresh.text.hasPrefix("all is well\n\nversion:"), "\(fresh)")
        #expect(fresh.text.contains("last backup:         none yet\n"), "\(fresh)")
        #expect(fresh.text.contains("ca expiries:         none within 90 days\n"), "\(fresh)")

        try daemon.createInstance("plant")
        let key = try shop.eccKey()
        let now = Date()
        let format = DateFormatter()
        format.locale = Locale(identifier: "en_US_POSIX")
        format.timeZone = TimeZone(identifier: "UTC")
        format.dateFormat = "yyyyMMddHHmmss'Z'"
        let file = try shop.issue(
            key: key, subject: "/CN=Short", by: nil, from: format.string(from: now.addingTimeInterval(-86_400)),
            to: format.string(from: now.addingTimeInterval(5.5 * 86_400)), extensions: "basicConstraints=CA:TRUE")
        let authority = try shop.authority(key: key, certificate: file)
        try daemon.register(authority, with: "plant", from: shop)
        let lines = try daemon.caregctl("status").text.split(separator: "\n").map(String.init)
        #expect(lines[0] == "not all is well: 1 concern", "\(lines)")
        #expect(
            lines[1]
                == "- The CA certificate with SN \(authority.serialNumber) of the instance “plant” expires in 5 days. "
                + "Register its successor.")
        #expect(
            lines.contains(
                "ca expiries:         0 expired, 1 within 7 days, 1 within 30 days, 1 within 90 days"), "\(lines)")
        let json = try daemon.json("status")
        #expect(json["caExpiries"]?.elements?.map { $0["count"]?.integer } == [0, 1, 1, 1], "\(json)")
        #expect(json["trustMaps"]?.elements?.first?["heartbeatAge"]?.text != nil, "\(json)")
    }

    @Test func theLastBackupIsToldAndARestartDoesNotForgetIt() throws {
        try daemon.createInstance("plant")
        let file = shop.path("backup.mdb")
        #expect(try daemon.caregctl("backup", file).exit == 0)
        let status = try daemon.json("status")
        #expect(status["lastBackup"]?["revision"]?.integer == 1, "\(status)")
        #expect(status["lastBackup"]?["bytes"]?.integer == (try shop.read(file)).count, "\(status)")
        #expect(try daemon.caregctl("status").text.contains(", revision 1, nothing has changed since\n"))
        #expect(try daemon.terminate() == 0)
        try daemon.start()
        try daemon.createInstance("office")
        let text = try daemon.caregctl("status").text
        #expect(text.contains(", revision 1, 1 change since\n"), "\(text)")
        #expect(try daemon.json("status")["lastBackup"] == status["lastBackup"])

        // A restored registry has another history, of which there is no backup yet.
        #expect(try daemon.terminate() == 0)
        #expect(try daemon.offline("restore", file).exit == 0)
        try daemon.start()
        #expect(try daemon.caregctl("status").text.contains("last backup:         none yet\n"))
    }

    @Test func longWorkShowsItsProgressOnATerminalOnly() throws {
        try daemon.createInstance("plant")
        let file = shop.path("backup.mdb")
        let shown = try onTerminal("\(program("caregctl")) backup \(file) >/dev/null")
        #expect(shown.exit == 0, "\(shown)")
        #expect(shown.text.hasPrefix("\rbackup: ") && shown.text.contains(" of "), "\(shown)")
        #expect(shown.text.hasSuffix("\r\u{1b}[K"), "\(shown)")
        let dumb = try onTerminal("\(program("caregctl")) backup --force \(file) >/dev/null", terminal: "dumb")
        #expect(dumb.exit == 0 && dumb.text.isEmpty, "\(dumb)")
        let piped = try daemon.caregctl("backup", "--force", file)
        #expect(piped.exit == 0 && piped.errorText.isEmpty, "\(piped)")

        #expect(try daemon.terminate() == 0)
        let check = try onTerminal("\(program("caregd")) check --state-dir \(daemon.stateFolder)")
        #expect(check.exit == 0, "\(check)")
        #expect(check.text.hasPrefix("\r\u{1b}[K") && check.text.contains("sound: region default"), "\(check)")
        let quiet = try daemon.offline("check")
        #expect(quiet.exit == 0 && quiet.errorText.isEmpty && quiet.text.hasPrefix("sound: "), "\(quiet)")
    }

    @Test(arguments: [
        (["instnace", "list"], "there is no instnace in caregctl: did you mean instance?"),
        (["ca", "lst"], "there is no lst in caregctl ca: did you mean list?"),
        (["device", "regsiter", "--cert", "x"], "there is no regsiter in caregctl device: did you mean register?"),
        (["code", "frobnicate"], "there is no frobnicate in caregctl code: it has issue, list, revoke"),
    ])
    func aWrongNounOrVerbIsToldWithTheOneThatWasMeant(arguments: [String], sentence: String) throws {
        let result = try daemon.caregctl(arguments)
        #expect(result.exit == 64 && result.errorText.contains(sentence), "\(result)")
        let refusal = try daemon.refusal(arguments)
        #expect(refusal.reason == "USAGE" && refusal.message.contains(sentence), "\(refusal)")
    }

    @Test func aWrongFlagIsToldWithTheOneThatWasMeant() throws {
        let result = try daemon.caregctl("ca", "list", "--instanse", "plant")
        #expect(result.exit == 64 && result.errorText.contains("--instance"), "\(result)")
    }

    @Test func onAShortTerminalTheVerdictStandsAtTheEndOnceMore() throws {
        func shown(rows: Int) throws -> String {
            let text = try onTerminal("sh -c 'stty rows \(rows) cols 130; \(program("caregctl")) status'").text
            return text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).joined(separator: "\n")
        }
        let short = try shown(rows: 24)
        #expect(short.hasPrefix("all is well\n\n") && short.hasSuffix("\n\nall is well\n"), "\(short)")
        let long = try shown(rows: 200)
        #expect(long.hasPrefix("all is well\n\n") && !long.hasSuffix("all is well\n"), "\(long)")
    }

    @Test func aListFitsItsTerminal() throws {
        try daemon.createInstance("plant")
        let authority = try shop.eccAuthority("CA", subject: "/O=\(String(repeating: "x", count: 60))/CN=CA")
        try daemon.register(authority, with: "plant", from: shop, "--name", String(repeating: "n", count: 60))
        let command = "stty cols 130; \(program("caregctl")) ca list"
        let lines = try onTerminal("sh -c '\(command)'").text.split(whereSeparator: \.isNewline)
        #expect(lines.count == 2 && lines.allSatisfy { $0.count <= 130 }, "\(lines)")
        #expect(lines[1].hasPrefix(authority.serialNumber) && lines[1].contains("…"), "\(lines)")
        let whole = try daemon.caregctl("ca", "list").text
        #expect(whole.contains(String(repeating: "x", count: 60)), "\(whole)")
    }
}
