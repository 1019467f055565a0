internal import CBaselines
internal import Foundation
internal import Glibc

/// One figure beside its baseline.
struct Figure {
    enum Direction {
        /// The ratio should not be above its target.
        case atMost(Double)
        /// The ratio should not be below its target.
        case atLeast(Double)
        /// Nothing is asked.
        case told
    }

    var name: String
    var unit: String
    var value: Double
    var baselineName: String
    var baseline: Double
    var target: Direction
    /// (largest - smallest) / median of the rounds: a wide one says that the machine was noisy.
    var spread: Double

    var ratio: Double { baseline == 0 ? 0 : value / baseline }

    var verdict: String {
        switch target {
        case .atMost(let limit): ratio <= limit ? "held" : "missed"
        case .atLeast(let limit): ratio >= limit ? "held" : "missed"
        case .told: "-"
        }
    }

    var targetText: String {
        switch target {
        case .atMost(let limit): String(format: "<= %.2f", limit)
        case .atLeast(let limit): String(format: ">= %.2f", limit)
        case .told: "-"
        }
    }
}

/// The figures of a run.
struct Report {
    private(set) var figures: [Figure] = []
    private(set) var notes: [String] = []
    private var stolenBefore: Int64 = 0

    mutating func add(_ figure: Figure) {
        figures.append(figure)
        FileHandle.standardError.write(
            Data(
                "\(figure.name): \(format(figure.value)) \(figure.unit), \(format(figure.ratio)) of the baseline\n".utf8
            ))
    }

    /// Says so where the hypervisor gave this machine's processors to others meanwhile.
    mutating func noteStolenTime() {
        let seconds = Double(cbaselines_stolen_ticks() - stolenBefore) / Double(sysconf(Int32(_SC_CLK_TCK)))
        if seconds >= 1 {
            notes.append(
                String(
                    format: "the machine was noisy: %.1f s of its processors' time went to others meanwhile", seconds))
        }
    }

    mutating func note(_ text: String) { notes.append(text) }

    mutating func noteMachine() {
        let cpu =
            (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?
            .split(separator: "\n").first { $0.hasPrefix("model name") }?.split(separator: ":").last ?? "unknown"
        notes.append("machine:\(cpu), \(ProcessInfo.processInfo.activeProcessorCount) processors")
        stolenBefore = cbaselines_stolen_ticks()
        #if DEBUG
            notes.append("a debug build: these figures say nothing")
        #endif
    }

    private func format(_ value: Double) -> String {
        value >= 100 ? String(format: "%.0f", value) : String(format: "%.2f", value)
    }

    var table: String {
        var rows = [["FIGURE", "VALUE", "BASELINE", "VALUE", "RATIO", "TARGET", "", "SPREAD"]]
        for figure in figures {
            rows.append([
                figure.name, "\(format(figure.value)) \(figure.unit)", figure.baselineName,
                "\(format(figure.baseline)) \(figure.unit)", String(format: "%.2f", figure.ratio), figure.targetText,
                figure.verdict, String(format: "%.0f %%", figure.spread * 100),
            ])
        }
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        let lines = rows.map { row in
            zip(row, widths).map { $0.padding(toLength: $1, withPad: " ", startingAt: 0) }.joined(separator: "  ")
        }
        return (notes + lines + warnings).joined(separator: "\n")
    }

    private var warnings: [String] {
        guard figures.contains(where: { $0.spread > 0.5 }) else { return [] }
        return ["the machine was noisy: figures with a spread above 50 % are no basis for a judgement"]
    }

    /// The table as Markdown.
    var markdown: String {
        var lines = [
            "| figure | value | baseline | value | ratio | target | | spread |",
            "| --- | ---: | --- | ---: | ---: | ---: | --- | ---: |",
        ]
        for figure in figures {
            lines.append(
                "| \(figure.name) | \(format(figure.value)) \(figure.unit) | \(figure.baselineName) | "
                    + "\(format(figure.baseline)) \(figure.unit) | \(String(format: "%.2f", figure.ratio)) | "
                    + "\(figure.targetText) | \(figure.verdict) | \(String(format: "%.0f %%", figure.spread * 100)) |")
        }
        return (lines + [""] + (notes + warnings).map { "- " + $0 }).joined(separator: "\n") + "\n"
    }

    var json: String {
        let rows = figures.map { figure in
            """
            {"name":"\(figure.name)","unit":"\(figure.unit)","value":\(figure.value),"baselineName":"\(figure.baselineName)",\
            "baseline":\(figure.baseline),"ratio":\(figure.ratio),"target":"\(figure.targetText)",\
            "verdict":"\(figure.verdict)","spread":\(figure.spread)}
            """
        }
        let texts = notes.map { "\"" + $0.replacingOccurrences(of: "\"", with: "'") + "\"" }
        return "{\"notes\":[" + texts.joined(separator: ",\n") + "],\n\"figures\":[" + rows.joined(separator: ",\n")
            + "]}\n"
    }
}

/// Nanoseconds of the monotonic clock.
func nanoseconds() -> Double {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
}

/// Nanoseconds for one call of `body`, over `count` calls.
func nanosecondsPerCall(_ count: Int, _ body: (Int) throws -> Void) rethrows -> Double {
    let start = nanoseconds()
    for index in 0..<count { try body(index) }
    return (nanoseconds() - start) / Double(count)
}

/// The rounds of a measurement.
struct Rounds {
    private var values: [Double] = []

    mutating func append(_ value: Double) { values.append(value) }

    var count: Int { values.count }

    var median: Double { percentile(0.5) }

    var spread: Double {
        guard let least = values.min(), let most = values.max(), median > 0 else { return 0 }
        return (most - least) / median
    }

    func percentile(_ share: Double) -> Double {
        guard !values.isEmpty else { return 0 }
        let sorted = values.sorted()
        return sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))]
    }
}
