internal import Foundation

/// Verify of a known device over the broker's socket: against the same bytes thrown to and fro between two processes,
/// and against the Go ttrpc package.
struct RPCBench {
    private static let serialCalls = 10_000
    private static let pipelinedCalls = 100_000
    private let workshop: Workshop
    private let rounds: Int

    init(_ workshop: Workshop, rounds: Int) {
        self.workshop = workshop
        self.rounds = rounds
    }

    /// One way of loading a server.
    private struct Load {
        var name: String
        var connections: Int
        var outstanding: Int
        var cpu = Rounds()
        var rate = Rounds()
        var echoRate = Rounds()
        var goRate = Rounds()
        var goCPU = Rounds()
    }

    func run(into report: inout Report) throws {
        let daemon = try BenchDaemon(folder: workshop.folder, processor: 0)
        defer { daemon.stop() }
        let device = try daemon.knownDevice("device", by: "rpc", of: workshop).certificate
        let frame = try BenchDaemon.verifyFrame(device)
        let connection = try LoadConnection(path: daemon.brokerSocket)
        _ = try connection.roundTrip(frame)
        let responseBytes = try connection.roundTrip(frame)
        let echo = try EchoProcess(requestBytes: frame.count, responseBytes: responseBytes)
        echo.pin(0)
        var go: GoEcho?
        if GoEcho.isThere {
            go = try GoEcho(
                folder: workshop.folder, service: "careg.v1.VerifierService", method: "Verify",
                responseBytes: responseBytes - 16, processor: 0)
        } else {
            report.note("skipped: the comparison with Go, whose package golang-github-containerd-ttrpc-dev is not here")
        }
        let hash = try ReusedDigest()
        var (serial, tail, raw, rawTail, goSerial, digest) = (
            Rounds(), Rounds(), Rounds(), Rounds(), Rounds(), Rounds()
        )
        var loads = [
            Load(name: "64 outstanding", connections: 1, outstanding: 64),
            Load(name: "8 connections of 16", connections: 8, outstanding: 16),
        ]
        report.note("a Verify is \(frame.count) bytes, its certificate \(device.count), its answer \(responseBytes)")
        for _ in 0..<rounds {
            let sha = nanosecondsPerCall(20_000) { _ in hash.digest(device) } / 1_000
            digest.append(sha)
            try Processors.pinned(0) {
                let times = try connection.roundTrips(frame, responseBytes: responseBytes, count: Self.serialCalls)
                serial.append(times.percentile(0.5))
                tail.append(times.percentile(0.99))
                let echoes = try echo.connection.roundTrips(
                    frame, responseBytes: responseBytes, count: Self.serialCalls)
                raw.append(echoes.percentile(0.5) + sha)
                rawTail.append(echoes.percentile(0.99) + sha)
                if let go {
                    let other = try LoadConnection(path: go.socket)
                    let size = try other.roundTrip(frame)
                    goSerial.append(
                        try other.roundTrips(frame, responseBytes: size, count: Self.serialCalls / 5).percentile(0.5))
                }
            }
            try Processors.pinned(Processors.other) {
                for index in loads.indices { try measure(&loads[index], daemon, echo, go, frame, responseBytes) }
            }
        }
        tell(serial, tail, raw, rawTail, goSerial, &report)
        for load in loads { tell(load, digest, &report) }
    }

    private func measure(
        _ load: inout Load, _ daemon: BenchDaemon, _ echo: EchoProcess, _ go: GoEcho?, _ frame: [UInt8],
        _ responseBytes: Int
    ) throws {
        let calls = Self.pipelinedCalls
        let own = try (0..<load.connections).map { _ in try LoadConnection(path: daemon.brokerSocket) }
        let before = try cpuMicroseconds(of: daemon.processIdentifier)
        let start = nanoseconds()
        let good = try pipeline(
            own, Frames(frame), leastResponseBytes: responseBytes, count: calls, outstanding: load.outstanding)
        load.rate.append(Double(calls) / (nanoseconds() - start) * 1e9)
        load.cpu.append((try cpuMicroseconds(of: daemon.processIdentifier) - before) / Double(calls))
        guard good == calls else { throw BenchFailure("\(calls - good) calls were not answered with a yes") }
        if load.connections == 1 {
            let start = nanoseconds()
            try pipeline(
                [echo.connection], Frames(frame), leastResponseBytes: responseBytes, count: calls,
                outstanding: load.outstanding)
            load.echoRate.append(Double(calls) / (nanoseconds() - start) * 1e9)
        }
        if let go {
            let count = calls / 5
            let others = try (0..<load.connections).map { _ in try LoadConnection(path: go.socket) }
            let before = try cpuMicroseconds(of: go.processIdentifier)
            let start = nanoseconds()
            try pipeline(others, Frames(frame), leastResponseBytes: 0, count: count, outstanding: load.outstanding)
            load.goRate.append(Double(count) / (nanoseconds() - start) * 1e9)
            load.goCPU.append((try cpuMicroseconds(of: go.processIdentifier) - before) / Double(count))
        }
    }

    private func tell(
        _ serial: Rounds, _ tail: Rounds, _ raw: Rounds, _ rawTail: Rounds, _ goSerial: Rounds, _ report: inout Report
    ) {
        report.add(
            Figure(
                name: "verify round trip, p50", unit: "us", value: serial.median, baselineName: "ping-pong + SHA-256",
                baseline: raw.median, target: .atMost(1.6), spread: max(serial.spread, raw.spread)))
        report.add(
            Figure(
                name: "verify round trip, p99", unit: "us", value: tail.median, baselineName: "ping-pong + SHA-256",
                baseline: rawTail.median, target: .atMost(3), spread: max(tail.spread, rawTail.spread)))
        guard goSerial.median > 0 else { return }
        report.add(
            Figure(
                name: "verify round trip, p50", unit: "us", value: serial.median, baselineName: "Go ttrpc echo",
                baseline: goSerial.median, target: .told, spread: goSerial.spread))
    }

    private func tell(_ load: Load, _ digest: Rounds, _ report: inout Report) {
        report.add(
            Figure(
                name: "server CPU a call, \(load.name)", unit: "us", value: load.cpu.median,
                baselineName: "SHA-256 + 1.5 us", baseline: digest.median + 1.5, target: .atMost(1),
                spread: load.cpu.spread))
        if load.goRate.median > 0 {
            report.add(
                Figure(
                    name: "calls, \(load.name)", unit: "/s", value: load.rate.median, baselineName: "Go ttrpc echo",
                    baseline: load.goRate.median, target: .atLeast(4),
                    spread: max(load.rate.spread, load.goRate.spread)))
            report.add(
                Figure(
                    name: "server CPU a call, \(load.name)", unit: "us", value: load.cpu.median,
                    baselineName: "Go ttrpc echo", baseline: load.goCPU.median, target: .told,
                    spread: load.goCPU.spread))
        }
        if load.echoRate.median > 0 {
            report.add(
                Figure(
                    name: "calls, \(load.name)", unit: "/s", value: load.rate.median, baselineName: "pipelined echo",
                    baseline: load.echoRate.median, target: .told, spread: load.echoRate.spread))
        }
    }
}
