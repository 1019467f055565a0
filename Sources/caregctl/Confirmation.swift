internal import ArgumentParser
internal import Foundation

/// Says what a command will do, and asks.
struct ConfirmationOptions: ParsableArguments {
    /// What happens where nobody can be asked.
    enum WithoutTerminal {
        case goOn
        case refuse
    }

    @Flag(help: "Do not ask.") var yes = false

    /// - Parameters:
    ///   - sentences: what the command will do; printed to standard error, one a line. A program that asks for JSON
    ///     finds there nothing but a refusal, which holds them.
    ///   - output: how the answer is written.
    /// - Throws: ``Failure`` where the answer is no, or nobody is there and `--yes` is missing.
    func ask(_ sentences: [String], output: OutputFormat, withoutTerminal: WithoutTerminal) throws {
        let hasTerminal = isatty(STDIN_FILENO) == 1
        let isQuiet = output == .json && (yes || !hasTerminal)
        if !isQuiet {
            for sentence in sentences {
                StandardError.write(line: "caregctl: \(TerminalText.escape(sentence))")
            }
        }
        if yes { return }
        guard hasTerminal else {
            switch withoutTerminal {
            case .goOn: return
            case .refuse:
                let why = "nothing was changed: without a terminal to ask at, this needs --yes"
                let consequences = isQuiet ? "; " + sentences.joined(separator: "; ") : ""
                throw Failure.usage(why + consequences)
            }
        }
        StandardError.write("Go on? [y/N] ")
        let answer = readLine(strippingNewline: true)?.trimmingCharacters(in: .whitespaces).lowercased()
        guard answer == "y" || answer == "yes" else { throw Failure.declined("nothing was changed") }
    }
}
