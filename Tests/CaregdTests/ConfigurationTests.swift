import Logging
import Registry
import TTRPC
import Testing

@testable import CaregServer
@testable import caregd

/// What the configuration takes, where its values come from, and how it says what is wrong.
@Suite struct ConfigurationTests {
    private func load(
        flags: [(String, String)] = [], environment: [String: String] = [:], file: String? = nil
    ) throws -> DaemonConfiguration {
        let place = try Place()
        let path = place.path + "/caregd.conf"
        if let file { try place.write(file, to: "caregd.conf") }
        return try DaemonConfiguration.load(
            flags: flags.map { Setting(key: $0.0, value: $0.1, origin: "--set") }, environment: environment, file: path,
            isFileRequired: file != nil)
    }

    private func refusal(_ body: () throws -> Void) -> String {
        do {
            try body()
            return "not refused"
        } catch {
            return "\(error)"
        }
    }

    @Test func withoutAnythingEveryKeyHasItsDefault() throws {
        let configuration = try load()
        #expect(configuration.limits.server.connections == 1_024)
        #expect(configuration.region == nil && configuration.logLevel == .info)
        #expect(configuration.listing.allSatisfy { $0.origin == "default" })
        #expect(configuration.listing.map(\.key) == ConfigurationKey.all.map(\.name))
    }

    @Test func flagsBeatTheEnvironmentWhichBeatsTheFile() throws {
        let file = "backups = 1\nwatchers = 2\nconnections = 100\n"
        let environment = ["CAREGD_WATCHERS": "3", "CAREGD_CONNECTIONS": "200"]
        let configuration = try load(flags: [("connections", "300")], environment: environment, file: file)
        #expect(configuration.limits.services.backups == 1)
        #expect(configuration.limits.services.watchers == 3)
        #expect(configuration.limits.server.connections == 300)
        let origins = Dictionary(uniqueKeysWithValues: configuration.listing.map { ($0.key, $0.origin) })
        #expect(origins["backups"]?.hasSuffix("caregd.conf:1") == true)
        #expect(origins["watchers"] == "environment CAREGD_WATCHERS")
        #expect(origins["connections"] == "--set")
        #expect(origins["instances"] == "default")
    }

    @Test func aFileMayHoldCommentsBlankLinesQuotesAndUnderscores() throws {
        let configuration = try load(file: "# a comment\n\n  region = \"north\"\ninstances=20_000\r\n")
        #expect(configuration.region == "north")
        #expect(configuration.limits.registry.instances == 20_000)
    }

    @Test(arguments: [
        ("conections = 5", ":1: there is no key “conections”; did you mean “connections”?"),
        ("\n\nregion", ":3: a line is “key = value”"),
        ("connections = many", ":1: connections must be a whole number from 4 to 100000, and is “many”"),
        ("connections = 3", ":1: connections must be a whole number from 4 to 100000, and is “3”"),
        ("backups = 1\nbackups = 2", ":2: backups was set before, at "),
        ("region = a/b", ":1: region must be"),
        ("log_level = loud", ":1: log_level must be one of trace, debug"),
        ("access = somebody", ":1: access: a rule begins with"),
        ("access = group:0 services=all", ":1: access: “all” is no service"),
        ("access = group:0 instances=a/b", ":1: access: “a/b” is no instance id"),
        ("metrics_textfile = here", ":1: metrics_textfile must be an absolute path"),
        ("code_lifetime_seconds = 100\nlongest_code_lifetime_seconds = 50", "is more than"),
    ])
    func aMistakeIsToldWithItsPlaceAndWhatWouldBeRight(file: String, words: String) {
        let said = refusal { _ = try load(file: file) }
        #expect(said.contains(words), "\(said)")
    }

    @Test func aVariableThatSetsNothingIsAMistake() {
        let said = refusal { _ = try load(environment: ["CAREGD_CONECTIONS": "5"]) }
        #expect(said.contains("did you mean CAREGD_CONNECTIONS?"), "\(said)")
    }

    @Test func aFileThatWasNamedMustBeThere() {
        let said = refusal {
            _ = try DaemonConfiguration.load(
                flags: [], environment: [:], file: "/nonexistent/caregd.conf", isFileRequired: true)
        }
        #expect(said.contains("there is no such configuration file"), "\(said)")
    }

    @Test func theNearestKeyIsFoundAndNoneWhereNoneIsNear() {
        #expect(ConfigurationKey.nearest(to: "trust_map_device") == "trust_map_devices")
        #expect(ConfigurationKey.nearest(to: "completely_different_thing") == nil)
        #expect(editDistance("kitten", "sitting") == 3)
        #expect(editDistance("", "abc") == 3)
    }

    @Test func everyKeyHasAVariableOfItsOwn() {
        #expect(Set(ConfigurationKey.all.map(\.variable)).count == ConfigurationKey.all.count)
    }

    @Test func accessRulesNameSubjectsServicesAndInstances() throws {
        let file = """
            access = group:5 instances=a,b
            access = user:7 services=admin,registry
            access = others:deny
            """
        let access = try load(file: file).access
        #expect(access.admitsOthers == false)
        #expect(access.rules.map(\.subject) == [.group(5), .user(7)])
        #expect(access.rules[0].services == Set(ServiceName.allCases))
        #expect(access.rules[1].services == [.admin, .registry])
        #expect(access.restrictedGroups == [5: ["a", "b"]])
        #expect(access.restrictedInstances == ["a", "b"])
        let variable = try load(environment: ["CAREGD_ACCESS": "user:1 services=verifier; others:deny"]).access
        #expect(variable.rules.map(\.subject) == [.user(1)] && !variable.admitsOthers)
    }

    // MARK: Folders

    @Test func flagsBeatTheEnvironmentWhichBeatsTheDefaultsOfFolders() {
        let environment = ["STATE_DIRECTORY": "/e/s:/e/other", "RUNTIME_DIRECTORY": "/e/r", "HOME": "/h"]
        let chosen = Folders.choose(state: "/f/s", runtime: nil, environment: environment, user: 5)
        #expect(chosen.state == "/f/s" && chosen.runtime == "/e/r")
        #expect(Folders.choose(state: nil, runtime: nil, environment: environment, user: 5).state == "/e/s")
        let root = Folders.choose(state: nil, runtime: nil, environment: ["HOME": "/root"], user: 0)
        #expect(root == Folders(state: "/var/lib/caregd", runtime: "/run/caregd", configuration: "/etc/caregd"))
        let user = Folders.choose(state: nil, runtime: nil, environment: ["HOME": "/h"], user: 5)
        #expect(user.state == "/h/.local/state/caregd" && user.configuration == "/h/.config/caregd")
        #expect(user.runtime == "/tmp/caregd-5" && user.isRuntimePrivate)
        let session = Folders.choose(
            state: nil, runtime: nil, environment: ["HOME": "/h", "XDG_RUNTIME_DIR": "/run/user/5"], user: 5)
        #expect(session.runtime == "/run/user/5/caregd" && !session.isRuntimePrivate)
    }
}
