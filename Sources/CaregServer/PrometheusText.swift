/// Prometheus text exposition format 0.0.4.
enum PrometheusText {
    /// All families that have a series, in ascending order of name.
    static func encode(_ registry: MetricsRegistry) -> String {
        var text = ""
        for family in registry.snapshot() where !family.series.isEmpty {
            append(family, to: &text)
        }
        return text
    }

    private static func append(_ family: MetricsRegistry.Family, to text: inout String) {
        let name = family.description.name
        let type =
            switch family.description.kind {
            case .counter: "counter"
            case .gauge: "gauge"
            case .histogram: "histogram"
            }
        text += "# HELP \(name) \(escapedHelp(family.description.help))\n# TYPE \(name) \(type)\n"
        for (labels, series) in family.series.sorted(by: { $0.key < $1.key }) {
            let pairs = labels.pairs.map { "\($0.name)=\"\(escapedLabel($0.value))\"" }
            switch series.value {
            case .integer(let value): text += line(name, pairs, String(value))
            case .number(let value): text += line(name, pairs, number(value))
            case .histogram(let bounds, let counts, let sum):
                var total: UInt64 = 0
                for (index, count) in counts.enumerated() {
                    total += count
                    let bound = index < bounds.count ? number(bounds[index]) : "+Inf"
                    text += line(name + "_bucket", pairs + ["le=\"\(bound)\""], String(total))
                }
                text += line(name + "_sum", pairs, number(sum))
                text += line(name + "_count", pairs, String(total))
            }
        }
    }

    private static func line(_ name: String, _ pairs: [String], _ value: String) -> String {
        pairs.isEmpty ? "\(name) \(value)\n" : "\(name){\(pairs.joined(separator: ","))} \(value)\n"
    }

    /// A number as Go's ParseFloat reads it; whole ones without a point.
    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if let whole = Int64(exactly: value), abs(whole) < 1 << 53 { return String(whole) }
        return "\(value)"
    }

    static func escapedLabel(_ text: String) -> String {
        var escaped = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\": escaped += "\\\\"
            case "\"": escaped += "\\\""
            case "\n": escaped += "\\n"
            default: escaped.unicodeScalars.append(character)
            }
        }
        return escaped
    }

    private static func escapedHelp(_ text: String) -> String {
        var escaped = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\": escaped += "\\\\"
            case "\n": escaped += "\\n"
            default: escaped.unicodeScalars.append(character)
            }
        }
        return escaped
    }
}
