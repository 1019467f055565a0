internal import ArgumentParser
internal import CaregClient
internal import CaregProto
internal import Foundation
internal import SwiftProtobuf

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show how the daemon is: what is not well first, then its registry and its limits.",
        discussion: """
            The first line is "all is well", or says how much is not; each concern follows with what to do: CA \
            certificates that expire, a trust map that is stale or missing, limits of which 80 % are used, a full disk, a \
            backup that is older than a day although changes came since.
            """)

    @OptionGroup var global: GlobalOptions

    func run() throws {
        let status = try global.connect().getStatus(Careg_V1_GetStatusRequest()).status
        try global.print(status) {
            let text = Self.lines(status)
            let rows = Terminal.rows(of: STDOUT_FILENO) ?? .max
            // What has scrolled away stands at the end once more.
            let isLong = text.count { $0 == "\n" } >= rows
            return isLong ? text + "\n" + Self.verdict(StatusReport(status: status, now: Date())) : text
        }
    }

    /// Whether all is well, and what is not.
    private static func verdict(_ report: StatusReport, colour: Bool = Colour.isWanted) -> String {
        ([report.verdict.printed(colour: colour)]
            + report.concerns.map { "- " + Cell($0, .bad).printed(colour: colour) }).map { $0 + "\n" }.joined()
    }

    static func lines(
        _ status: Careg_V1_DaemonStatus, now: Date = Date(), colour: Bool = Colour.isWanted
    ) -> String {
        let report = StatusReport(status: status, now: now)
        var text = verdict(report, colour: colour) + "\n" + Listing.lines(facts(report), colour: colour)
        if !status.trustMaps.isEmpty {
            var table = Table(
                ["TRUST MAP", "ENTRIES", "SIZE", "REVISION", "BEAT", "COMPLETE", "PROBLEM"], colour: colour)
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

    private static func facts(_ report: StatusReport) -> [(key: String, value: Cell)] {
        let status = report.status
        var pairs = [
            ("version", Cell(status.version)),
            ("region", Cell(status.region)),
            ("process", Cell(status.processID)),
            ("up since", Cell(Readable.time(status.startTime, now: report.now))),
            ("uptime", Cell(Readable.duration(seconds: status.uptime.seconds))),
            ("revision", Cell(status.revision)),
            ("history", Cell(status.historyID)),
            ("instances", Cell(status.instanceCount)),
            ("ca certificates", Cell("\(status.caCount) (\(status.activeCaCount) active)")),
        ]
        if let expiries = report.expiries { pairs.append(("ca expiries", expiries)) }
        pairs += [
            ("device certificates", Cell(status.deviceCount)),
            ("last backup", report.backup),
            ("connections", Cell(status.connectionCount)),
            ("watchers", Cell(status.watcherCount)),
            ("data", Cell("\(Readable.bytes(status.dataBytes)), \(Readable.bytes(status.freeBytes)) free")),
            ("disk full", status.diskFull ? Cell("yes", .bad) : Cell("no")),
            ("state folder", Cell(status.stateDir)),
            ("runtime folder", Cell(status.runtimeDir)),
        ]
        return pairs
    }

    private static func row(_ map: Careg_V1_TrustMapStatus) -> [Cell] {
        [
            Cell(map.file), Cell("\(map.entries)/\(map.capacity)"), Cell(Readable.bytes(map.bytes)), Cell(map.revision),
            Cell(map.hasHeartbeatAge ? "\(Readable.duration(seconds: map.heartbeatAge.seconds)) ago" : "-"),
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
