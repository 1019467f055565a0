import Foundation
import Testing

/// What the shells offer: the generated bash script is run as bash runs it, against a real daemon.
@Suite struct CompletionTests {
    private let daemon: Daemon
    private let shop: CertificateShop
    private let authority: Authority

    init() throws {
        daemon = try Daemon()
        shop = try CertificateShop()
        authority = try shop.eccAuthority("CA")
        for id in ["plant-1", "plant-2", "office"] { try daemon.createInstance(id) }
        try daemon.register(authority, with: "plant-1", from: shop)
    }

    /// Completes the last word as bash does where the cursor stands behind it.
    private static let script = #"""
        source <("$0" --generate-completion-script bash)
        function=$(complete -p caregctl | sed 's/.*-F \([^ ]*\).*/\1/')
        COMP_WORDS=("$0" "$@") COMP_CWORD=$# COMP_LINE="${COMP_WORDS[*]}" COMP_POINT=${#COMP_LINE}
        "$function" "$0" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}"
        """#

    private func offers(_ words: String..., socket: String? = nil) throws -> [String] {
        let result = try run(
            "bash", ["-c", Self.script, program("caregctl")] + words,
            environment: ["CAREG_SOCKET": socket ?? daemon.adminSocket])
        #expect(result.exit == 0 && result.errorText.isEmpty, "\(result)")
        return result.text.split(separator: "\n").map(String.init).sorted()
    }

    @Test func idsOfInstancesAreOffered() throws {
        #expect(try offers("instance", "show", "").filter { !$0.hasPrefix("-") } == ["office", "plant-1", "plant-2"])
        #expect(try offers("instance", "show", "plant") == ["plant-1", "plant-2"])
        #expect(try offers("ca", "list", "--instance", "o") == ["office"])
        #expect(try offers("code", "issue", "plant-2") == ["plant-2"])
        #expect(try offers("verify", "--dry-run", "--instance", "x").isEmpty)
    }

    @Test func serialNumbersOfCaCertificatesAreOffered() throws {
        let sn = authority.serialNumber
        for verb in ["show", "search", "download", "devices", "update", "activate", "unregister", "delete"] {
            #expect(try offers("ca", verb, String(sn.prefix(3))) == [sn], "\(verb)")
        }
        #expect(try offers("device", "list", "--ca", String(sn.prefix(1))) == [sn])
        #expect(try offers("ca", "show", "zz").isEmpty)
    }

    @Test func serialNumbersOfDevicesAreOfferedUnderTheCaCertificateBefore() throws {
        let device = try shop.device("device", by: authority)
        try daemon.json("device", "register", "--instance", "plant-1", "--cert", device)
        let sn = try shop.serialNumber(of: device)
        let socket = daemon.adminSocket
        #expect(try offers("device", "show", String(authority.serialNumber.prefix(2))) == [authority.serialNumber])
        #expect(try offers("device", "show", authority.serialNumber, String(sn.prefix(2))) == [sn])
        #expect(
            try offers("device", "delete", "--socket", socket, "--yes", authority.serialNumber, String(sn.prefix(2)))
                == [sn])
        #expect(try offers("device", "show", "0badcafe", String(sn.prefix(2))).isEmpty)
    }

    @Test func theBeginningsOfOpenCodesAreOffered() throws {
        let code = try daemon.issueCode("office")
        #expect(try offers("code", "revoke", "office", String(code.prefix(2))) == [String(code.prefix(8))])
    }

    @Test func withoutADaemonNothingIsOfferedAndNothingIsSaid() throws {
        #expect(try offers("instance", "show", "p", socket: daemon.folder + "/nobody.sock").isEmpty)
        #expect(try offers("ca", "show", "1", socket: "/dev/null").isEmpty)
    }

    @Test func aDaemonThatDoesNotAnswerIsWaitedForBriefly() throws {
        kill(try daemon.processID, SIGSTOP)
        defer { if let daemon = try? daemon.processID { kill(daemon, SIGCONT) } }
        let start = Date()
        #expect(try offers("instance", "show", "p").isEmpty)
        #expect(Date().timeIntervalSince(start) < 10)
    }

    @Test func verbsFlagsAndChoicesAreOfferedWithoutADaemon() throws {
        #expect(try offers("dev", socket: "/dev/null") == ["device"])
        #expect(try offers("device", "reg", socket: "/dev/null") == ["register"])
        #expect(try offers("device", "register", "--fol", socket: "/dev/null") == ["--folder"])
        #expect(try offers("ca", "list", "--status", "in", socket: "/dev/null") == ["inactive"])
    }

    @Test(arguments: ["zsh", "fish"])
    func theOtherShellsAskForTheSame(shell: String) throws {
        let script = try run(program("caregctl"), ["--generate-completion-script", shell]).text
        for question in ["ca show -- positional@0", "device show -- positional@1", "ca register -- --instance"] {
            #expect(script.contains("---completion \(question)"), "\(question)")
        }
        let answer = try run(
            program("caregctl"),
            ["---completion", "ca", "show", "--", "positional@0", "3", "0", program("caregctl"), "ca", "show", ""],
            environment: ["CAREG_SOCKET": daemon.adminSocket])
        #expect(answer.exit == 0 && answer.text == authority.serialNumber + "\n", "\(answer)")
    }
}
