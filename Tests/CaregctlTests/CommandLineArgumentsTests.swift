internal import ArgumentParser
internal import Testing

@testable internal import caregctl

@Suite struct CommandLineArgumentsTests {
    @Test(arguments: [
        ["--output", "json", "ca", "list"], ["--output=json", "ca", "list"], ["ca", "--output", "json", "list"],
        ["ca", "list", "--output", "json"],
    ])
    func outputMayStandAnywhere(_ raw: [String]) throws {
        let line = CommandLineArguments(raw)
        #expect(line.output == .json)
        let command = try #require(try Caregctl.parseAsRoot(line.arguments) as? CaCommand.List)
        #expect(command.global.output == .json)
    }

    @Test func aSocketBetweenNounAndVerbIsTheVerbs() throws {
        let line = CommandLineArguments(["ca", "--socket", "/x", "list", "--instance", "a"])
        let command = try #require(try Caregctl.parseAsRoot(line.arguments) as? CaCommand.List)
        #expect(command.global.socket == "/x")
        #expect(command.instance == "a")
    }

    @Test(arguments: [
        ["device", "show", "0a", "-0a12"], ["device", "show", "0a", "--", "-0a12"],
        ["device", "show", "--output", "json", "0a", "-0a12"], ["--socket", "x", "device", "show", "0a", "-0a12"],
    ])
    func aNegativeSerialNumberIsTakenAsItIs(_ raw: [String]) throws {
        let line = CommandLineArguments(raw)
        let command = try #require(try Caregctl.parseAsRoot(line.arguments) as? DeviceCommand.Show)
        #expect(command.device.caSn.text == "0a")
        #expect(command.device.sn.text == "-0a12")
    }

    @Test func flagsMayStandBehindANegativeSerialNumber() throws {
        let line = CommandLineArguments(["device", "delete", "-0A", "-0x:12".replacing(":", with: ""), "--yes"])
        let command = try #require(try Caregctl.parseAsRoot(line.arguments) as? DeviceCommand.Delete)
        #expect(command.device.caSn.text == "-0A")
        #expect(command.device.sn.text == "-0x12")
        #expect(command.confirmation.yes)
    }

    @Test func aNegativeSerialNumberMayBeAnOptionsValue() throws {
        let line = CommandLineArguments(["device", "list", "--ca", "0a", "--sn-prefix", "-0a"])
        let command = try #require(try Caregctl.parseAsRoot(line.arguments) as? DeviceCommand.List)
        #expect(command.filters.snPrefix?.text == "-0a")
    }

    @Test func dashHStaysHelp() {
        #expect(CommandLineArguments(["ca", "-h"]).arguments == ["ca", "-h"])
        #expect(!CommandLineArguments.isNegativeSerialNumber("-h"))
    }

    @Test func globalOptionsBehindTheTerminatorArePositionals() {
        let line = CommandLineArguments(["verify", "--", "--output", "json"])
        #expect(line.output == .table)
        #expect(line.arguments == ["verify", "--", "--output", "json"])
    }

    @Test func aGlobalOptionAheadOfTheTerminatorStaysAheadOfIt() {
        let line = CommandLineArguments(["--output", "json", "device", "show", "0a", "--", "-0a"])
        #expect(line.arguments == ["device", "show", "0a", "--output", "json", "--", "-0a"])
    }

    @Test func aMissingValueIsTheParsersToRefuse() {
        let line = CommandLineArguments(["ca", "list", "--output"])
        #expect(throws: (any Error).self) { try Caregctl.parseAsRoot(line.arguments) }
    }

    @Test(arguments: [
        ["instance", "create", "a", "--edition", "platinum"], ["instance", "list", "--limit", "5"],
        ["instance", "show", "a"], ["instance", "update", "a", "--edition", "standard"],
        ["instance", "delete", "a", "--yes"], ["code", "issue", "a", "--ttl", "30d"],
        ["code", "list", "a", "--page-token", "x"], ["code", "revoke", "a", "ABC"],
        [
            "ca", "register", "--instance", "a", "--ca", "f", "--verification", "g", "--name", "n",
            "--device-registration", "pending",
        ],
        ["ca", "list", "--instance", "a", "--status", "active", "--subject", "x", "--expires-within", "30d"],
        ["ca", "list", "--sn-prefix", "0a", "--limit", "3", "--page-token", "t"], ["ca", "search", "0a"],
        ["ca", "show", "0a"], ["ca", "download", "0a", "--out", "f", "--format", "der"], ["ca", "devices", "0a"],
        ["ca", "update", "0a", "--name", ""], ["ca", "update", "0a", "--device-registration", "explicit"],
        ["ca", "activate", "0a"], ["ca", "unregister", "0a", "--yes"], ["ca", "delete", "0a", "--yes"],
        ["device", "register", "--instance", "a", "--cert", "f", "--chain", "g"],
        ["device", "list", "--ca", "0a", "--status", "pending", "--subject", "x", "--expires-within", "2w"],
        ["device", "show", "0a", "0b", "--fingerprint", "00"], ["device", "download", "0a", "0b", "--out", "f"],
        ["device", "activate", "0a", "0b"], ["device", "deactivate", "0a", "0b"],
        ["device", "delete", "0a", "0b", "--yes"], ["verify", "--instance", "a", "f", "g"],
        ["verify", "f", "--instance", "a", "--dry-run", "--at", "2026-01-01T00:00:00Z"],
        ["anchors", "--instance", "a", "--out", "f", "--hashed-dir", "d"], ["watch", "--since", "0"], ["status"],
        ["metrics"], ["backup", "f", "--force"], ["audit", "list", "--since", "3", "--limit", "2"],
        ["audit", "verify", "--from-revision", "1", "--from-hash", "00"],
    ])
    func everyVerbParses(_ raw: [String]) throws {
        let line = CommandLineArguments(raw + ["--output", "json", "--socket", "/nowhere"])
        _ = try Caregctl.parseAsRoot(line.arguments)
    }

    @Test(arguments: [
        ["ca", "update", "0a"], ["ca", "list", "--limit", "0"], ["ca", "list", "--expires-within", "30"],
        ["code", "issue", "a", "--ttl", "-5d"], ["verify", "--instance", "a"], ["nonsense"], ["ca", "show"],
        ["instance", "create", "a"], ["ca", "show", "0a", "--output", "xml"],
        ["verify", "--instance", "a", "f", "--at", "noon"],
    ])
    func aWrongCommandLineIsAUsageError(_ raw: [String]) {
        do {
            _ = try Caregctl.parseAsRoot(CommandLineArguments(raw).arguments)
            Issue.record("parsed")
        } catch {
            #expect(Caregctl.exitCode(for: error).rawValue == 64)
        }
    }

    @Test func aNounAloneIsKnownWhateverTheGlobalOptionsAre() throws {
        let line = CommandLineArguments(["--output", "json", "ca"])
        #expect(line.argumentsWithoutGlobalOptions == ["ca"])
        #expect(line.hasWellFormedGlobalOptions)
        #expect(!CommandLineArguments(["ca", "--output", "xml"]).hasWellFormedGlobalOptions)
        #expect(!CommandLineArguments(["ca", "--socket"]).hasWellFormedGlobalOptions)
    }

    @Test func aFileMayLookLikeASerialNumber() {
        let line = CommandLineArguments(["verify", "--instance", "a", "--", "-0a"])
        #expect(line.arguments == ["verify", "--instance", "a", "--", "-0a"])
        #expect(CommandLineArguments(["backup", "-0a"]).arguments == ["backup", "-0a"])
    }
}
