import CaregClient
import CaregProto
import CoreMetrics
import Registry
import SwiftProtobuf
import Synchronization
import TTRPC
import Testing
import Verification

@testable import CaregServer

/// Prometheus text, and what is in it.
@Suite struct MetricsTests {
    private func lines(_ registry: MetricsRegistry) -> [String] {
        PrometheusText.encode(registry).split(separator: "\n").map(String.init)
    }

    @Test func aCounterIsShownWithHelpTypeAndLabels() {
        let registry = MetricsRegistry()
        registry.describe([MetricDescription(name: "a_total", kind: .counter, help: "One\nline \\ only.")])
        Counter(label: "a_total", dimensions: [("z", "1"), ("b", "x\"y\\z\n")], factory: registry).increment(by: 3)
        Counter(label: "a_total", dimensions: [("b", "x\"y\\z\n"), ("z", "1")], factory: registry).increment()
        #expect(
            lines(registry) == [
                #"# HELP a_total One\nline \\ only."#, "# TYPE a_total counter",
                #"a_total{b="x\"y\\z\n",z="1"} 4"#,
            ])
    }

    @Test func aHistogramCountsUpToEachBoundBothEndsAndBeyond() {
        let registry = MetricsRegistry()
        registry.describe([MetricDescription(name: "h", kind: .histogram(bounds: [1, 2.5]), help: "H.")])
        let recorder = Recorder(label: "h", factory: registry)
        for value in [0.5, 1, 2.5, 3] { recorder.record(value) }
        #expect(
            lines(registry).dropFirst(2) == [
                #"h_bucket{le="1"} 2"#, #"h_bucket{le="2.5"} 3"#, #"h_bucket{le="+Inf"} 4"#, "h_sum 7", "h_count 4",
            ])
    }

    @Test func timesAreShownInSeconds() {
        let registry = MetricsRegistry()
        Timer(label: "t_seconds", factory: registry).recordNanoseconds(1_500_000_000)
        let text = lines(registry)
        #expect(text.contains("t_seconds_sum 1.5"))
        #expect(text.contains(#"t_seconds_bucket{le="1"} 0"#) && text.contains(#"t_seconds_bucket{le="2.5"} 1"#))
    }

    @Test func aSeriesOfAnotherKindOrOneTooManyIsNotShown() {
        let registry = MetricsRegistry()
        Counter(label: "a_total", factory: registry).increment()
        Gauge(label: "a_total", factory: registry).record(7)
        #expect(lines(registry).last == "a_total 1")
        for number in 0...MetricsRegistry.seriesPerFamily {
            Counter(label: "b_total", dimensions: [("n", String(number))], factory: registry).increment()
        }
        #expect(lines(registry).count { $0.hasPrefix("b_total{") } == MetricsRegistry.seriesPerFamily)
    }

    @Test func namesAndNumbersAreAsPrometheusReadsThem() {
        #expect(MetricsRegistry.cleaned("http.requests-total") == "http_requests_total")
        #expect(MetricsRegistry.cleaned("9lives") == "_9lives")
        #expect(PrometheusText.number(0.00001) == "1e-05")
        #expect(PrometheusText.number(12) == "12" && PrometheusText.number(.infinity) == "+Inf")
    }

    @Test func verdictsTellSoManyInstancesApart() {
        var limits = ServiceLimits()
        limits.verdictInstances = 2
        let registry = MetricsRegistry()
        let metrics = ServiceMetrics(registry, limits: limits)
        for instance in ["a", "b", "c", "d", "a"] { metrics.count(.trusted, instanceID: instance) }
        metrics.count(.instanceUnknown, instanceID: "made up")
        let shown = lines(registry).filter { $0.hasPrefix("careg_verdicts_total{") }
        #expect(
            shown == [
                #"careg_verdicts_total{instance="",reason="INSTANCE_UNKNOWN"} 1"#,
                #"careg_verdicts_total{instance="a",reason="TRUSTED"} 2"#,
                #"careg_verdicts_total{instance="b",reason="TRUSTED"} 1"#,
                #"careg_verdicts_total{instance="other",reason="TRUSTED"} 2"#,
            ])
    }

    @Test func theDaemonsMetricsTellOfCallsCommitsAndRefusals() throws {
        let daemon = try TestDaemon()
        try daemon.createInstances("a", "b")
        let client = try daemon.client()
        #expect(throws: CaregFailure.self) { try client.createInstance(.with { $0.id = "a" }) }
        _ = try client.verify(.with { $0.instanceID = "nobody" })
        let text = try client.getMetrics(.init()).text
        let lines = Set(text.split(separator: "\n").map(String.init))
        for line in [
            "careg_revision 2", "careg_instances 2", "careg_commits_total 2", "careg_commit_changes_count 2",
            #"careg_calls_total{code="OK",method="CreateInstance"} 2"#,
            #"careg_calls_total{code="INVALID_ARGUMENT",method="CreateInstance"} 1"#,
            #"careg_refusals_total{reason="ARGUMENT_INVALID"} 1"#,
            #"careg_verdicts_total{instance="",reason="INSTANCE_UNKNOWN"} 1"#,
            #"careg_verifies_total{by="search"} 1"#, #"careg_verifies_total{by="known"} 0"#,
            #"careg_call_duration_seconds_count{method="Verify"} 1"#, "careg_disk_full 0",
            "careg_watcher_lag_revisions 0",
            #"careg_ca_certificates_expiring{days="30"} 0"#, #"careg_device_certificates{status="active"} 0"#,
        ] {
            #expect(lines.contains(line), "\(line)\n\(text)")
        }
        // Asked again, what is counted elsewhere is not counted twice.
        #expect(try daemon.services.metricsText.contains("\ncareg_commits_total 2\n"))
        for line in lines where !line.hasPrefix("#") {
            let name = line.prefix { $0 != "{" && $0 != " " }
            #expect(text.contains("# TYPE ") && text.contains("# HELP "), "\(name)")
            #expect(name.hasPrefix("careg_"), "\(name)")
        }
    }
}
