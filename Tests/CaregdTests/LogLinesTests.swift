import Testing

@testable import caregd

/// How the log looks, by who reads it.
@Suite struct LogLinesTests {
    @Test func theJournalGetsPrioritiesATerminalColoursAndOthersPlainText() {
        let journal = ["JOURNAL_STREAM": "8:1", "TERM": "xterm"]
        #expect(LogLines.style(environment: journal, isTerminal: false) == .journal)
        #expect(LogLines.style(environment: ["INVOCATION_ID": "0a"], isTerminal: false) == .journal)
        #expect(LogLines.style(environment: ["TERM": "xterm"], isTerminal: false) == .plain)
        #expect(LogLines.style(environment: ["TERM": "xterm"], isTerminal: true) == .coloured)
        // A shell that a service started has its variables, and a person reads it.
        #expect(LogLines.style(environment: journal, isTerminal: true) == .coloured)
    }

    @Test(arguments: [["TERM": "dumb"], [:], ["TERM": "xterm", "NO_COLOR": "1"]])
    func aTerminalThatTakesNoColoursGetsNone(environment: [String: String]) {
        #expect(LogLines.style(environment: environment, isTerminal: true) == .plain)
    }

    @Test func anEmptyNoColorSaysNothing() {
        #expect(LogLines.style(environment: ["TERM": "xterm", "NO_COLOR": ""], isTerminal: true) == .coloured)
    }
}
