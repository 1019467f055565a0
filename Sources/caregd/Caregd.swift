internal import ArgumentParser
internal import Foundation

/// The daemon's program: it wires the rooms and decides nothing.
@main
struct Caregd: ParsableCommand {
    static let version = "1.0.0"

    static let configuration = CommandConfiguration(
        commandName: "caregd",
        abstract: "The CA certificate registry of one region of an MQTT platform.",
        discussion: """
            Alone, caregd runs in the foreground and serves until SIGTERM; its options are those of “caregd run”. \
            SIGHUP reads the log level and the access rules again. The other verbs work on a state folder while no daemon \
            runs. Operators use caregctl.
            """,
        version: version,
        subcommands: [
            RunCommand.self, CheckCommand.self, RestoreCommand.self, AuditCommand.self, WalkCommand.self,
            CompareCommand.self, ProbeCommand.self,
        ],
        defaultSubcommand: RunCommand.self)

    static func main() {
        ProcessSetup.run()
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let failure as StartFailure {
            StandardError.write("caregd: \(failure.sentence)\n")
            Foundation.exit(failure.exit.rawValue)
        } catch {
            exit(withError: error)
        }
    }
}
