internal import ArgumentParser
internal import Foundation

/// Measurements of caregd, each as a ratio to something known that was measured in the same run.
@main
struct Caregbench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "caregbench",
        abstract: "Measures caregd against baselines of the same run.",
        discussion: """
            Figures drift from machine to machine and from minute to minute; ratios hold. Each part runs several rounds in \
            turn with its baseline and tells the median of both. Build it with -c release: figures of a debug build say \
            nothing.
            """)

    enum Part: String, CaseIterable, ExpressibleByArgument {
        case firstSight = "first-sight"
        case rpc
        case map
        case storm
        case hostile
        case writes
        case growth
    }

    @Argument(help: "Parts to run; all where none is named.")
    var parts: [Part] = []
    @Option(help: "Rounds of each measurement.")
    var rounds = 5
    @Option(help: "Largest number of devices in the map and growth parts: 10000000 takes some minutes more.")
    var devices = 1_000_000
    @Option(
        help: ArgumentHelp(
            "Where the map part has its trust map; /dev/shm where there is one, for /run is of that kind.",
            valueName: "folder"))
    var mapFolder: String?
    @Option(help: ArgumentHelp("Write the figures here as JSON.", valueName: "file"))
    var json: String?
    @Option(help: ArgumentHelp("Write the table here as Markdown.", valueName: "file"))
    var markdown: String?

    func validate() throws {
        // What the growth begins with, and what a map takes unless it is configured.
        guard (1_000...16_000_000).contains(devices), rounds > 0 else {
            throw ValidationError("--devices takes 1000 to 16000000, and --rounds 1 or more")
        }
    }

    func run() throws {
        var report = Report()
        report.noteMachine()
        for part in parts.isEmpty ? Part.allCases : parts {
            let bench = try Workshop()
            defer { bench.cleanUp() }
            switch part {
            case .firstSight: try FirstSightBench(bench, rounds: rounds).run(into: &report)
            case .rpc: try RPCBench(bench, rounds: rounds).run(into: &report)
            case .map: try MapBench(bench, folder: mapFolder, most: devices, rounds: rounds).run(into: &report)
            case .storm: try StormBench(bench, rounds: rounds).run(into: &report)
            case .hostile: try HostileBench(bench, rounds: rounds).run(into: &report)
            case .writes: try WriteBench(bench, rounds: rounds).run(into: &report)
            case .growth: try GrowthBench(bench, most: devices, rounds: rounds).run(into: &report)
            }
        }
        report.noteStolenTime()
        print(report.table)
        if let markdown { try Data(report.markdown.utf8).write(to: URL(fileURLWithPath: markdown)) }
        if let json { try Data(report.json.utf8).write(to: URL(fileURLWithPath: json)) }
    }
}

/// Why a measurement could not be made.
struct BenchFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
