public import CoreMetrics
internal import Synchronization

/// What a family of metrics is, for people and for Prometheus.
struct MetricDescription: Sendable {
    enum Kind: Sendable, Equatable {
        case counter
        case gauge
        /// Upper bounds of the buckets, ascending.
        case histogram(bounds: [Double])
    }

    let name: String
    let kind: Kind
    let help: String
}

/// A backend for swift-metrics that keeps everything in memory, and shows it as Prometheus text.
///
/// May be bootstrapped as the process's one, so that what libraries measure is shown too.
public final class MetricsRegistry: MetricsFactory, Sendable {
    /// Series of one family; further ones are measured in vain.
    public static let seriesPerFamily = 10_000
    /// Families; further ones are measured in vain.
    public static let families = 1_000

    struct Family {
        var description: MetricDescription
        var series: [Labels: any MetricSeries] = [:]
    }

    /// Label names and values, sorted by name.
    struct Labels: Hashable, Comparable {
        let pairs: [Pair]

        struct Pair: Hashable {
            let name: String
            let value: String
        }

        init(_ dimensions: [(String, String)]) {
            pairs = dimensions.map { Pair(name: MetricsRegistry.cleaned($0.0), value: $0.1) }
                .sorted { $0.name < $1.name }
        }

        static func < (left: Labels, right: Labels) -> Bool {
            left.pairs.lexicographicallyPrecedes(right.pairs) { ($0.name, $0.value) < ($1.name, $1.value) }
        }
    }

    private let state = Mutex<[String: Family]>([:])

    /// Has no families yet.
    public init() {}

    /// Says what a family is, before it is first measured.
    func describe(_ descriptions: [MetricDescription]) {
        state.withLock { families in
            for description in descriptions { families[description.name] = Family(description: description) }
        }
    }

    /// All families in ascending order of name.
    func snapshot() -> [Family] {
        state.withLock { Array($0.values) }.sorted { $0.description.name < $1.description.name }
    }

    /// A counter, for whoever counts often.
    func counter(_ name: String, _ dimensions: [(String, String)]) -> CounterSeries {
        series(name, dimensions, .counter) { _ in CounterSeries() }
    }

    /// A histogram of times, for whoever measures often.
    func times(_ name: String, _ dimensions: [(String, String)]) -> HistogramSeries {
        series(name, dimensions, .histogram(bounds: HistogramSeries.defaultBounds)) { HistogramSeries(description: $0) }
    }

    // MARK: MetricsFactory

    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        counter(label, dimensions)
    }

    public func makeFloatingPointCounter(
        label: String, dimensions: [(String, String)]
    ) -> any FloatingPointCounterHandler {
        series(label, dimensions, .counter) { _ in FloatingPointCounterSeries() }
    }

    public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        series(label, dimensions, .gauge) { _ in GaugeSeries() }
    }

    public func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        guard aggregate else { return series(label, dimensions, .gauge) { _ in GaugeSeries() } }
        return series(label, dimensions, .histogram(bounds: HistogramSeries.defaultBounds)) {
            HistogramSeries(description: $0)
        }
    }

    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        times(label, dimensions)
    }

    // Prometheus wants a series to stay once it was shown.
    public func destroyCounter(_ handler: any CounterHandler) {}
    public func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) {}
    public func destroyMeter(_ handler: any MeterHandler) {}
    public func destroyRecorder(_ handler: any RecorderHandler) {}
    public func destroyTimer(_ handler: any TimerHandler) {}

    /// The series of these labels: the one that is there, or a new one. One that does not belong to its family, or is one
    /// too many, is measured and not shown.
    private func series<Series: MetricSeries>(
        _ label: String, _ dimensions: [(String, String)], _ kind: MetricDescription.Kind,
        make: (MetricDescription) -> Series
    ) -> Series {
        let name = Self.cleaned(label)
        let labels = Labels(dimensions)
        return state.withLock { families in
            let description =
                families[name]?.description ?? MetricDescription(name: name, kind: kind, help: "Not described.")
            if let found = families[name]?.series[labels] as? Series { return found }
            let new = make(description)
            let isOfKind =
                switch (description.kind, kind) {
                case (.counter, .counter), (.gauge, .gauge), (.histogram, .histogram): true
                default: false
                }
            guard isOfKind, families[name]?.series[labels] == nil else { return new }
            if families[name] == nil {
                guard families.count < Self.families else { return new }
                families[name] = Family(description: description)
            }
            guard families[name, default: Family(description: description)].series.count < Self.seriesPerFamily else {
                return new
            }
            families[name]?.series[labels] = new
            return new
        }
    }

    /// A name as Prometheus takes it: letters, digits and `_`, no digit first.
    static func cleaned(_ name: String) -> String {
        var cleaned = String(
            name.unicodeScalars.map { scalar in
                switch scalar {
                case "a"..."z", "A"..."Z", "0"..."9", "_": Character(scalar)
                default: "_"
                }
            })
        if cleaned.isEmpty || cleaned.first?.isNumber == true { cleaned = "_" + cleaned }
        return cleaned
    }
}

/// One series of a family.
protocol MetricSeries: AnyObject, Sendable {
    /// What it shows now.
    var value: MetricValue { get }
}

/// What a series shows.
enum MetricValue: Sendable, Equatable {
    case integer(Int64)
    case number(Double)
    /// Counts of each bucket by itself, with the last for what is above all bounds.
    case histogram(bounds: [Double], counts: [UInt64], sum: Double)
}

final class CounterSeries: CounterHandler, MetricSeries {
    private let count = Atomic<Int64>(0)

    func increment(by amount: Int64) { count.wrappingAdd(amount, ordering: .relaxed) }
    func reset() { count.store(0, ordering: .relaxed) }
    var value: MetricValue { .integer(count.load(ordering: .relaxed)) }
}

final class FloatingPointCounterSeries: FloatingPointCounterHandler, MetricSeries {
    private let sum = Mutex(0.0)

    func increment(by amount: Double) { sum.withLock { $0 += max(0, amount) } }
    func reset() { sum.withLock { $0 = 0 } }
    var value: MetricValue { .number(sum.withLock { $0 }) }
}

final class GaugeSeries: MeterHandler, RecorderHandler, MetricSeries {
    private let state = Mutex(0.0)

    func set(_ value: Int64) { set(Double(value)) }
    func set(_ value: Double) { state.withLock { $0 = value } }
    func increment(by amount: Double) { state.withLock { $0 += amount } }
    func decrement(by amount: Double) { state.withLock { $0 -= amount } }
    func record(_ value: Int64) { set(Double(value)) }
    func record(_ value: Double) { set(value) }
    var value: MetricValue { .number(state.withLock { $0 }) }
}

/// Counts values in buckets; times in seconds.
final class HistogramSeries: RecorderHandler, TimerHandler, MetricSeries {
    /// Seconds, from ten microseconds on.
    static let defaultBounds = [
        0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
        1, 2.5, 5, 10, 30,
    ]

    private struct State {
        var counts: [UInt64]
        var sum = 0.0
    }

    private let bounds: [Double]
    private let state: Mutex<State>

    init(description: MetricDescription) {
        if case .histogram(let bounds) = description.kind {
            self.bounds = bounds
        } else {
            bounds = Self.defaultBounds
        }
        state = Mutex(State(counts: [UInt64](repeating: 0, count: bounds.count + 1)))
    }

    func record(_ value: Int64) { record(Double(value)) }
    func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }
    func record(_ value: Double) { record(value, count: 1) }

    /// A value that was measured so many times.
    func record(_ value: Double, count: Int) {
        var low = 0
        var high = bounds.count
        while low < high {
            let middle = (low + high) / 2
            if bounds[middle] < value { low = middle + 1 } else { high = middle }
        }
        state.withLock { state in
            state.counts[low] += UInt64(count)
            state.sum += value * Double(count)
        }
    }

    var value: MetricValue {
        let (counts, sum) = state.withLock { ($0.counts, $0.sum) }
        return .histogram(bounds: bounds, counts: counts, sum: sum)
    }
}
