internal import ArgumentParser
internal import CaregClient
internal import CaregProto
internal import Foundation

struct WatchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "watch",
        abstract: "Print every change of the registry as it is committed, until interrupted.",
        discussion: """
              caregctl watch --since 0 --output json
            """)

    @OptionGroup var global: GlobalOptions
    @Option(help: ArgumentHelp("Begin after this revision, 0 for all. (default: now)", valueName: "revision"))
    var since: UInt64?

    func run() throws {
        Interruption.endsTheProgramWell()
        let client = try global.connect()
        var request = Careg_V1_WatchRequest()
        if let since {
            request.sinceRevision = since
        } else {
            let status = try client.getStatus(Careg_V1_GetStatusRequest()).status
            request.sinceRevision = status.revision
            request.historyID = status.historyID
        }
        try client.watch(request) { message in
            switch global.output {
            case .json: try StandardOutput.write(ProtobufJSON.encode(message) + "\n")
            case .table: if message.hasChange { try StandardOutput.write(Self.line(message.change) + "\n") }
            }
            return true
        }
    }

    static func line(_ change: Careg_V1_Change, colour: Bool = Colour.isWanted) -> String {
        var cells = [
            Cell(String(change.revision)), Cell(Readable.time(change.time)),
            Cell(Readable.words(change.type, of: "ChangeType")), Cell(change.instanceID),
        ]
        if !change.caSn.isEmpty { cells.append(Cell("ca \(change.caSn)")) }
        if !change.deviceSn.isEmpty { cells.append(Cell("device \(change.deviceSn)")) }
        if change.status != .unspecified { cells.append(Readable.status(change.status)) }
        return cells.filter { !$0.text.isEmpty }.map { $0.printed(colour: colour) }.joined(separator: "  ")
    }
}

/// SIGINT and SIGTERM.
enum Interruption {
    /// Ends the program with exit code 0. What was printed is out: standard output has no buffer.
    static func endsTheProgramWell() {
        for number in [SIGINT, SIGTERM] {
            signal(number) { _ in _exit(0) }
        }
    }
}
