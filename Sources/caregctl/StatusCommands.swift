internal import ArgumentParser
internal import CaregClient
internal import CaregProto
internal import SwiftProtobuf

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show how the daemon is: its registry, its limits, and what is not well.")

    @OptionGroup var global: GlobalOptions

    func run() throws {
        let status = try global.connect().getStatus(Careg_V1_GetStatusRequest()).status
        try global.print(status) { Self.lines(status) }
    }

    static func lines(_ status: Careg_V1_DaemonStatus, colour: Bool = Colour.isWanted) -> String {
        var text = Listing.lines(
            [
                ("version", Cell(status.version)),
                ("region", Cell(status.region)),
                ("process", Cell(status.processID)),
                ("up since", Cell(Readable.time(status.startTime))),
                ("uptime", Cell(Readable.duration(seconds: status.uptime.seconds))),
                ("revision", Cell(status.revision)),
                ("history", Cell(status.historyID)),
                ("instances", Cell(status.instanceCount)),
                ("ca certificates", Cell("\(status.caCount) (\(status.activeCaCount) active)")),
                ("device certificates", Cell(status.deviceCount)),
                ("connections", Cell(status.connectionCount)),
                ("watchers", Cell(status.watcherCount)),
                ("data", Cell("\(Readable.bytes(status.dataBytes)), \(Readable.bytes(status.freeBytes)) free")),
                ("disk full", status.diskFull ? Cell("yes", .bad) : Cell("no")),
                ("state folder", Cell(status.stateDir)),
                ("runtime folder", Cell(status.runtimeDir)),
                ("problems", status.problems.isEmpty ? Cell("none", .good) : Cell(status.problems.count)),
            ], colour: colour)
        for problem in status.problems { text += "  " + Cell(problem, .bad).printed(colour: colour) + "\n" }
        if !status.trustMaps.isEmpty {
            var table = Table(["TRUST MAP", "ENTRIES", "SIZE", "REVISION", "COMPLETE", "PROBLEM"], colour: colour)
            text += "\n" + table.lines(status.trustMaps.map(row))
        }
        if !status.limits.isEmpty {
            var table = Table(["LIMIT", "VALUE", "USED"], colour: colour)
            text +=
                "\n"
                + table.lines(
                    status.limits.map { [Cell($0.name), Cell($0.value), $0.hasUsed ? Cell($0.used) : Cell("-")] })
        }
        return text
    }

    private static func row(_ map: Careg_V1_TrustMapStatus) -> [Cell] {
        [
            Cell(map.file), Cell("\(map.entries)/\(map.capacity)"), Cell(Readable.bytes(map.bytes)), Cell(map.revision),
            map.complete ? Cell("yes", .good) : Cell("no", .waiting),
            map.problem.isEmpty ? Cell("-") : Cell(map.problem, .bad),
        ]
    }
}

struct MetricsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metrics", abstract: "Print the daemon's metrics, in Prometheus text format.")

    @OptionGroup var global: GlobalOptions

    func run() throws {
        let metrics = try global.connect().getMetrics(Careg_V1_GetMetricsRequest())
        try global.print(metrics) { TerminalText.escapeLines(metrics.text) }
    }
}
