import Foundation
import Glibc
import Testing

/// Commands that are refused for their arguments, their caller or the state of things.
@Suite(.serialized) struct CommandRefusalTests {
    private struct Fixture: Sendable {
        let daemon: Daemon
        let shop: CertificateShop
        let authority: Authority

        init() throws {
            daemon = try Daemon()
            shop = try CertificateShop()
            authority = try shop.eccAuthority("registered")
            try daemon.createInstance("plant")
            try daemon.createInstance("basic", edition: "standard")
            try daemon.register(authority, with: "plant", from: shop)
            try daemon.register(try shop.eccAuthority("second"), with: "plant", from: shop)
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

    @Test func anInstanceOfTheStandardEditionGetsNeitherCodeNorCa() throws {
        try daemon.expectRefusal("EDITION_NOT_SUPPORTED", ["code", "issue", "basic"])
        try daemon.expectRefusal(
            "EDITION_NOT_SUPPORTED",
            ["ca", "register", "--instance", "basic", "--ca", authority.certificate, "--verification", authority.key])
    }

    @Test func anInstanceWithCasIsNeitherDeletedNorMovedToTheStandardEdition() throws {
        try daemon.expectRefusal("INSTANCE_NOT_EMPTY", ["instance", "delete", "plant"])
        try daemon.expectRefusal("INSTANCE_NOT_EMPTY", ["instance", "update", "plant", "--edition", "standard"])
        #expect(try daemon.json("instance", "show", "plant")["caCount"]?.integer == 2)
    }

    @Test func anInstanceIsCreatedOnce() throws {
        try daemon.expectRefusal(
            "INSTANCE_ALREADY_EXISTS", ["instance", "create", "plant", "--edition", "professional"])
    }

    @Test(arguments: ["a b", "ä", "a/b", "..", "", String(repeating: "x", count: 65)])
    func anInstanceIdOutsideItsAlphabetOrLengthIsInvalid(id: String) throws {
        try daemon.expectRefusal("INSTANCE_ID_INVALID", ["instance", "create", id, "--edition", "platinum"])
    }

    @Test func anInstanceIdOf64CharactersIsGoodAndAnEmptyInstanceCanGo() throws {
        let id = String(repeating: "Z", count: 62) + "-_"
        try daemon.createInstance(id)
        #expect(
            try daemon.json("instance", "update", id, "--edition", "standard")["edition"]?.text == "EDITION_STANDARD")
        #expect(try daemon.json("instance", "delete", id)["id"]?.text == id)
        try daemon.expectRefusal("INSTANCE_NOT_FOUND", ["instance", "show", id])
    }

    @Test func unknownIdsAreNotFound() throws {
        let unknown = "0badcafe"
        for verb in ["show", "delete"] { try daemon.expectRefusal("INSTANCE_NOT_FOUND", ["instance", verb, "nobody"]) }
        try daemon.expectRefusal("INSTANCE_NOT_FOUND", ["instance", "update", "nobody", "--edition", "platinum"])
        try daemon.expectRefusal("INSTANCE_NOT_FOUND", ["code", "issue", "nobody"])
        try daemon.expectRefusal("INSTANCE_NOT_FOUND", ["code", "list", "nobody"])
        try daemon.expectRefusal("INSTANCE_NOT_FOUND", ["ca", "list", "--instance", "nobody"])
        try daemon.expectRefusal("INSTANCE_NOT_FOUND", ["anchors", "--instance", "nobody"])
        for verb in ["show", "download", "devices", "activate", "unregister"] {
            try daemon.expectRefusal("CA_NOT_FOUND", ["ca", verb, unknown])
        }
        try daemon.expectRefusal("CA_NOT_FOUND", ["ca", "delete", unknown, "--yes"])
        try daemon.expectRefusal("CA_NOT_FOUND", ["ca", "update", unknown, "--name", "x"])
        try daemon.expectRefusal("CA_NOT_FOUND", ["device", "list", "--ca", unknown])
        for verb in ["show", "download", "activate", "deactivate"] {
            try daemon.expectRefusal("CA_NOT_FOUND", ["device", verb, unknown, "01"])
            try daemon.expectRefusal("DEVICE_NOT_FOUND", ["device", verb, authority.serialNumber, "01"])
        }
        try daemon.expectRefusal("DEVICE_NOT_FOUND", ["device", "delete", authority.serialNumber, "01", "--yes"])
    }

    @Test func theBeginningOfASerialNumberIsNotShown() throws {
        try daemon.expectRefusal("CA_NOT_FOUND", ["ca", "show", String(authority.serialNumber.prefix(10))])
    }

    @Test(arguments: ["xyz", "12 3g", "0x", ""])
    func textThatIsNoSerialNumberIsInvalid(text: String) throws {
        try daemon.expectRefusal("SN_INVALID", ["ca", "show", text])
    }

    @Test func aSerialNumberTextOver128BytesIsTooLong() throws {
        try daemon.expectRefusal("SN_TOO_LONG", ["ca", "show", String(repeating: "11", count: 129)])
    }

    @Test func aPageTokenOfAnotherQueryIsInvalid() throws {
        let page = try daemon.json("ca", "list", "--instance", "plant", "--limit", "1")
        let token = try #require(page["nextPageToken"]?.text)
        #expect(!token.isEmpty)
        try daemon.expectRefusal(
            "PAGE_TOKEN_INVALID", ["ca", "list", "--status", "active", "--limit", "1", "--page-token", token])
        try daemon.expectRefusal("PAGE_TOKEN_INVALID", ["ca", "list", "--page-token", "bm9uc2Vuc2U"])
    }

    @Test func aCodeThatIsNotOpenIsNotRevoked() throws {
        try daemon.expectRefusal("CODE_NOT_FOUND", ["code", "revoke", "plant", "no-such-code"])
    }

    @Test func deleteWithoutATerminalNeedsYes() throws {
        let before = try daemon.revision()
        let result = try daemon.caregctl("ca", "delete", authority.serialNumber)
        #expect(result.exit != 0, "\(result)")
        #expect(try daemon.revision() == before)
        #expect(try daemon.json("ca", "show", authority.serialNumber)["status"]?.text == "STATUS_ACTIVE")
    }

    @Test func anotherTimeNeedsADryRun() throws {
        let before = try daemon.revision()
        let device = try shop.device("device", by: authority)
        let result = try daemon.caregctl("verify", "--instance", "plant", "--at", "2030-01-01T00:00:00Z", device)
        #expect(result.exit == 1 || result.exit == 64, "\(result)")
        #expect(try daemon.revision() == before)
    }

    @Test func anUnknownInstanceIsAVerdictAndNoRefusal() throws {
        let device = try shop.device("device", by: authority)
        let verdict = try daemon.verdict("nobody", device)
        #expect(verdict.exit == 1 && verdict.trusted == false && verdict.reason == "INSTANCE_UNKNOWN", "\(verdict)")
    }

    @Test func aRefusalInTextNamesItsReason() throws {
        let result = try daemon.caregctl("ca", "show", "0badcafe")
        #expect(result.exit == 1)
        #expect(result.text.isEmpty)
        #expect(result.errorText.hasPrefix("caregctl: ") && result.errorText.contains("(CA_NOT_FOUND)"), "\(result)")
    }

    @Test(arguments: [
        ["frobnicate"], ["ca", "frobnicate"], ["ca", "show"], ["ca", "list", "--no-such-flag"],
        ["instance", "create", "x", "--edition", "golden"], ["ca", "list", "--status", "sleepy"],
        ["ca", "list", "--output", "xml"], ["code", "issue", "plant", "--ttl", "soon"],
        ["verify", "--instance", "plant"],
        ["ca", "list", "--limit", "many"],
    ])
    func wrongUsageEndsWith64(arguments: [String]) throws {
        let result = try daemon.caregctl(arguments)
        #expect(result.exit == 64, "\(result)")
        #expect(!result.errorText.isEmpty)
    }

    @Test func flagsMayStandBeforeOrAfterTheArguments() throws {
        let sn = authority.serialNumber
        let after = try daemon.caregctl("ca", "show", sn, "--output", "json")
        let before = try daemon.caregctl("ca", "show", "--output", "json", sn)
        #expect(after.exit == 0 && before.exit == 0, "\(before)")
        #expect(after.output == before.output)
    }

    @Test func aMissingFileEndsWith66() throws {
        let missing = shop.path("no-such-file")
        for arguments in [
            ["verify", "--instance", "plant", missing],
            ["ca", "register", "--instance", "plant", "--ca", missing, "--verification", authority.certificate],
            ["device", "register", "--instance", "plant", "--cert", missing],
        ] {
            let result = try daemon.caregctl(arguments)
            #expect(result.exit == 66, "\(result)")
            #expect(result.errorText.contains(missing), "\(result)")
        }
    }

    @Test func noDaemonAtTheSocketEndsWith69AndNamesThePath() throws {
        let socket = daemon.folder + "/nobody.sock"
        let result = try run(program("caregctl"), ["--socket", socket, "status"])
        #expect(result.exit == 69, "\(result)")
        #expect(result.errorText.contains(socket), "\(result)")
        let environment = try run(program("caregctl"), ["status"], environment: ["CAREG_SOCKET": socket])
        #expect(environment.exit == 69 && environment.errorText.contains(socket), "\(environment)")
    }

    @Test(.enabled(if: geteuid() == 0, "only root can become another user"))
    func aCallerWhomTheSocketsModeKeepsOutEndsWith77() throws {
        let reachable = try run("setpriv", ["--reuid=65534", "--clear-groups", program("caregctl"), "--help"])
        try #require(reachable.exit == 0, "another user cannot run the programs where they are")
        let result = try run(
            "setpriv",
            [
                "--reuid=65534", "--regid=65534", "--clear-groups", program("caregctl"), "--socket", daemon.adminSocket,
                "status",
            ])
        #expect(result.exit == 77, "\(result)")
    }
}
