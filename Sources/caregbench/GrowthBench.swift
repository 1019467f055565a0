internal import Certificates
internal import Foundation
internal import Registry
internal import RegistryStore

/// What an operator and a broker wait for, as the number of devices grows.
struct GrowthBench {
    private static let calls = 300
    private let workshop: Workshop
    private let most: Int
    private let rounds: Int

    init(_ workshop: Workshop, most: Int, rounds: Int) {
        self.workshop = workshop
        self.most = most
        self.rounds = rounds
    }

    private struct Times {
        var verify = Rounds()
        var show = Rounds()
        var search = Rounds()
        var page = Rounds()
    }

    func run(into report: inout Report) throws {
        let authority = try workshop.authority(.p256, name: "growth")
        let template = try workshop.device("device", by: authority, serial: DeviceFactory.templateSerial)
        let folder = workshop.path("growth")
        let known = try grow(in: folder, authority, template, &report)
        // The registry is closed: a daemon may have it.
        try StartBench(folder: folder, devices: most).run(known: known, into: &report)
    }

    /// - Returns: the certificate of one of the devices.
    private func grow(
        in folder: String, _ authority: Workshop.Authority, _ template: [UInt8], _ report: inout Report
    ) throws -> [UInt8] {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let state = try StateFolder(path: BenchDaemon.stateFolder(in: folder), creates: true)
        let bench = try BenchRegistry(in: state, workshop: workshop)
        let ca = try bench.register(authority)
        let factory = try DeviceFactory(template: template, ca: ca)
        var stored: UInt64 = 0
        var baseline: Times?
        let powersOfTen = [1_000, 10_000, 100_000, 1_000_000, 10_000_000]
        for size in powersOfTen.filter({ $0 < most }) + [most] {
            let start = nanoseconds()
            while stored < UInt64(size) {
                let batch = min(10_000, UInt64(size) - stored)
                try bench.store.write { try factory.store(stored + 1..<stored + 1 + batch, in: $0) }
                stored += batch
            }
            let seconds = (nanoseconds() - start) / 1e9
            let bytes = try bench.store.neededBytes()
            report.note(
                String(
                    format: "%d devices: %.1f s to store, %.0f bytes a device", size, seconds,
                    Double(bytes) / Double(size)))
            let memory = ProcessInfo.processInfo.physicalMemory
            if UInt64(bytes) > memory {
                report.note(
                    "\(bytes >> 30) GiB of data do not fit into \(memory >> 30) GiB of memory: the disk is measured")
            }
            let times = try measure(bench, ca, factory, devices: UInt64(size))
            let first = baseline ?? times
            if baseline == nil { baseline = times }
            for (name, own, smallest) in [
                ("verify, known", times.verify, first.verify), ("device show", times.show, first.show),
                ("search by SN", times.search, first.search), ("first page of 100", times.page, first.page),
            ] {
                report.add(
                    Figure(
                        name: "\(name), \(size) devices", unit: "us", value: own.median, baselineName: "1000 devices",
                        baseline: smallest.median, target: .atMost(2), spread: own.spread))
            }
        }
        try state.noteRevision(of: bench.store)
        return factory.der(1)
    }

    private func measure(
        _ bench: BenchRegistry, _ ca: CaRecord, _ factory: DeviceFactory, devices: UInt64
    ) throws -> Times {
        let tools = VerificationTools()
        var times = Times()
        var generator = SystemRandomNumberGenerator()
        func anyDevice() -> [UInt8] { factory.der(UInt64.random(in: 1...devices, using: &generator)) }
        for _ in 0..<rounds {
            let chosen = (0..<Self.calls).map { _ in anyDevice() }
            let serials = try chosen.map { try Certificate(der: $0).serialNumber }
            times.verify.append(
                try nanosecondsPerCall(Self.calls) { index in
                    let verdict = try bench.verify([chosen[index]], tools: tools, isDryRun: false)
                    guard verdict.isTrusted, !verdict.registered else {
                        throw BenchFailure("a known device is not known")
                    }
                } / 1_000)
            times.show.append(try bench.microsecondsPerShow(of: serials, under: ca))
            var filter = DeviceFilter()
            times.search.append(
                try nanosecondsPerCall(Self.calls) { index in
                    filter.prefix = try SerialNumberPrefix(text: serials[index].text)
                    let page = try bench.registry.devices(of: ca.serialNumber, filter, after: nil, pageSize: 100)
                    guard page.rows.count == 1 else { throw BenchFailure("a search finds \(page.rows.count) devices") }
                } / 1_000)
            times.page.append(
                try nanosecondsPerCall(20) { _ in
                    _ = try bench.registry.devices(of: ca.serialNumber, DeviceFilter(), after: nil, pageSize: 100)
                } / 1_000)
        }
        return times
    }
}
