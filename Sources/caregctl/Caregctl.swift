internal import ArgumentParser
internal import Foundation

/// The client of caregd: every verb is one call or a few; the rules are the daemon's.
@main
struct Caregctl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "caregctl",
        abstract: "Keeps the CA certificate registry of caregd, the daemon on this host.",
        discussion: """
            Start here: caregctl status. Is a device let in, and why not? caregctl verify --instance ID --dry-run FILE.

            Every verb takes --output json and --socket PATH, before or after its other arguments. Without --socket, \
            $CAREG_SOCKET says where the daemon is, else it is looked for in the default runtime folder \
            (/run/caregd for root, $XDG_RUNTIME_DIR/caregd or /tmp/caregd-UID for others).

            Exit status: 0 done, or trusted; 1 refused, or not trusted; 64 usage; 66 a file cannot be read; \
            69 no daemon at the socket, or the connection was lost; 73 a file cannot be written; \
            77 the caller may not.
            """,
        version: "1.0.0",
        subcommands: [
            StatusCommand.self, InstanceCommand.self, CodeCommand.self, CaCommand.self, DeviceCommand.self,
            VerifyCommand.self, AnchorsCommand.self, WatchCommand.self, AuditCommand.self, MetricsCommand.self,
            BackupCommand.self,
        ])

    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        // A shell that completes sends words that are not all there yet: they stay as they are.
        let isCompleting = arguments.first == "---completion"
        let line = CommandLineArguments(isCompleting ? [] : arguments)
        do {
            if !isCompleting { try requireVerb(line.argumentsWithoutGlobalOptions) }
            var command = try isCompleting ? parseAsRoot(arguments) : parse(line)
            guard type(of: command).configuration.subcommands.isEmpty else {
                // A noun without a verb does nothing, which no script should take for success.
                switch line.output {
                case .table: StandardError.write(line: helpMessage(for: type(of: command)))
                case .json: StandardError.write(line: Failure.usage("a verb is missing").text(as: .json))
                }
                Foundation.exit(Failure.Exit.usage.rawValue)
            }
            try command.run()
        } catch {
            Foundation.exit(report(error, as: line.output))
        }
    }

    /// The parser only says of a wrong noun or verb that it did not expect it.
    ///
    /// - Throws: ``Failure`` with the one that may have been meant.
    private static func requireVerb(_ words: [String]) throws {
        var command: any ParsableCommand.Type = Self.self
        var path = "caregctl"
        for word in words {
            let below = command.configuration.subcommands
            guard !below.isEmpty, !word.hasPrefix("-"), word != "help" else { return }
            guard let next = below.first(where: { $0._commandName == word }) else {
                let names = below.map { $0._commandName }
                let meant = NearestName.of(word, among: names).map { "did you mean \($0)?" }
                throw Failure.usage(
                    "there is no \(word) in \(path): \(meant ?? "it has \(names.joined(separator: ", ")).") "
                        + "See \(path) --help")
            }
            command = next
            path += " \(word)"
        }
    }

    /// The parser knows the global options with a verb only: of two errors, the one that is not about them is told.
    private static func parse(_ line: CommandLineArguments) throws -> any ParsableCommand {
        do {
            return try parseAsRoot(line.arguments)
        } catch let first {
            do {
                let command = try parseAsRoot(line.argumentsWithoutGlobalOptions)
                // A noun alone, which is told of as such.
                if !type(of: command).configuration.subcommands.isEmpty, line.hasWellFormedGlobalOptions {
                    return command
                }
            } catch {
                throw error
            }
            throw first
        }
    }

    /// Says why a command ended, and with which exit code it does.
    private static func report(_ error: any Error, as output: OutputFormat) -> Int32 {
        if let failure = Failure(error) {
            StandardError.write(line: failure.text(as: output))
            return failure.exit.rawValue
        }
        let code = exitCode(for: error)
        if code != .success, !(error is ExitCode), output == .json {
            let failure = Failure.usage(message(for: error))
            StandardError.write(line: failure.text(as: .json))
            return failure.exit.rawValue
        }
        let text = fullMessage(for: error)
        if !text.isEmpty {
            if code == .success {
                try? StandardOutput.write(text + "\n")
            } else {
                StandardError.write(line: text)
            }
        }
        return code.rawValue
    }
}
