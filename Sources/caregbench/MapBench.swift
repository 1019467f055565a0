internal import CBaselines
internal import CCareg
internal import CaregClient
internal import CaregProto
internal import Foundation
internal import Signatures
internal import SwiftProtobuf
internal import TrustMap

/// The fast path: libcareg over a trust map, against the digest alone and a plain table in C.
struct MapBench {
    /// Certificates that a round asks for, picked at random of all: their entries are in no cache.
    private static let sample = 20_000
    private static let instance = BenchRegistry.instance
    private let workshop: Workshop
    private let rounds: Int
    private let most: Int

    /// Memory, as the runtime folder is on a host with systemd.
    private let folder: String

    init(_ workshop: Workshop, folder: String?, most: Int, rounds: Int) {
        self.workshop = workshop
        let isMemoryThere = unsafe access("/dev/shm", W_OK) == 0
        self.folder = folder ?? (isMemoryThere ? "/dev/shm" : workshop.folder)
        self.rounds = rounds
        self.most = most
    }

    fileprivate struct Times {
        var hit = Rounds()
        var miss = Rounds()
        var session = Rounds()
        var digest = Rounds()
        var table = Rounds()
        var clocks = Rounds()
        var status = Rounds()
    }

    func run(into report: inout Report) throws {
        let authority = try workshop.authority(.p256, name: "map")
        let template = try workshop.device("device", by: authority, serial: DeviceFactory.templateSerial)
        let certificates = try NumberedCertificates(template: template)
        var first: Times?
        for size in [1, 1_000, 10_000, 100_000, 1_000_000, 10_000_000] where size <= most {
            guard let times = try measure(certificates, devices: size) else {
                return report.note(
                    "skipped: the trust map, for libcareg.so is not beside caregbench (swift build --product careg)")
            }
            if size == 1 {
                first = times
                continue
            }
            if let first { tell(times, first, size, &report) }
            if size == 1_000 { first = Times(merging: times, status: first?.status ?? times.status) }
        }
        try tellVisibility(&report)
    }

    // MARK: Looking

    private func measure(_ certificates: NumberedCertificates, devices: Int) throws -> Times? {
        let folder = "\(folder)/caregbench-map-\(ProcessInfo.processInfo.processIdentifier)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var configuration = TrustMapConfiguration(path: folder + "/trust.map")
        configuration.deviceSlots = UInt32(devices * 16 / 11 + 1_024)
        let writer = try TrustMapWriter(configuration)
        let table = try PlainTable(entries: devices)
        try fill(writer, table, certificates, devices)
        guard let library = try Library(runtimeFolder: folder, instance: Self.instance) else { return nil }

        var times = Times()
        for _ in 0..<rounds {
            writer.heartbeat()
            try Processors.pinned(Processors.other) {
                try look(library, writer, table, certificates, devices, &times)
            }
        }
        return times
    }

    private func fill(
        _ writer: TrustMapWriter, _ table: PlainTable, _ certificates: NumberedCertificates, _ devices: Int
    ) throws {
        let period = TrustMapPeriod(notBefore: 0, notAfter: 4_000_000_000)
        let digest = try ReusedDigest()
        var number = 0
        writer.update(revision: 1) { update in
            update.addInstance(Self.instance)
            update.addPath(
                TrustMapPath(
                    id: 1, instanceID: Self.instance, anchor: 1, anchorSerialNumber: "0a12", period: period,
                    status: .trusted))
        }
        while number < devices {
            let batch = number..<min(devices, number + 4_096)
            let keys = batch.map { SHA256Digest(hashing: certificates.der($0)).littleEndianWords }
            for number in batch {
                digest.digest(certificates.der(number))
                table.insert(digest.bytes)
            }
            let isWhole = writer.update(revision: 2) { update in
                keys.allSatisfy { key in
                    update.setDevice(
                        TrustMapDevice(
                            instanceID: Self.instance, fingerprint: MapFingerprint(littleEndianWords: key), path: 1,
                            period: period, status: .trusted)) == .added
                }
            }
            guard isWhole else { throw BenchFailure("the map is too small") }
            number = batch.upperBound
        }
    }

    private func look(
        _ library: Library, _ writer: TrustMapWriter, _ table: PlainTable,
        _ certificates: NumberedCertificates, _ devices: Int, _ times: inout Times
    ) throws {
        let digest = try ReusedDigest()
        let known = (0..<Self.sample).map { _ in Int.random(in: 0..<devices) }
        // A certificate has just come from the TLS library: it is in the cache, and its entry in the map is not.
        var der = certificates.der(0)
        var verdict = careg_verdict()
        verdict.size = MemoryLayout<careg_verdict>.size
        var hits = 0
        times.digest.append(
            nanosecondsPerCall(Self.sample) {
                certificates.set(known[$0], in: &der)
                digest.digest(der)
            })
        times.hit.append(
            nanosecondsPerCall(Self.sample) {
                certificates.set(known[$0], in: &der)
                if library.check(der, &verdict) == CAREG_ANSWERED { hits += 1 }
            })
        times.miss.append(
            nanosecondsPerCall(Self.sample) {
                certificates.set(known[$0] + 1 << 40, in: &der)
                if library.check(der, &verdict) == CAREG_NOT_IN_MAP { hits += 1 }
            })
        times.table.append(
            nanosecondsPerCall(Self.sample) {
                certificates.set(known[$0], in: &der)
                digest.digest(der)
                if table.holds(digest.bytes) { hits += 1 }
            })
        guard library.check(certificates.der(known[0]), &verdict) == CAREG_ANSWERED else {
            throw BenchFailure("a known device is not")
        }
        var session = verdict.session
        times.session.append(
            nanosecondsPerCall(Self.sample * 10) { _ in if library.isTrusted(&session) { hits += 1 } })
        var clocks: UInt64 = 0
        times.clocks.append(nanosecondsPerCall(Self.sample * 10) { _ in clocks ^= cbaselines_two_clocks() })
        guard hits == Self.sample * 13 else { throw BenchFailure("\(Self.sample * 13 - hits) answers are wrong") }
        // There and back: every round ends as it began.
        times.status.append(
            nanosecondsPerCall(2_000) { index in
                writer.update(revision: nil) { update in
                    _ = update.setPathStatus(1, index % 2 == 0 ? .refused(reason: 8) : .trusted)
                }
            })
    }

    private func tell(_ times: Times, _ first: Times, _ size: Int, _ report: inout Report) {
        let digest = times.digest.median
        for (name, own) in [("hit", times.hit), ("miss", times.miss)] {
            report.add(
                Figure(
                    name: "careg_check \(name), \(size) devices", unit: "ns", value: own.median,
                    baselineName: "SHA-256 + 200 ns", baseline: digest + 200,
                    target: size <= 1_000_000 ? .atMost(1) : .told, spread: own.spread))
        }
        report.add(
            Figure(
                name: "careg_check hit, \(size) devices", unit: "ns", value: times.hit.median,
                baselineName: "SHA-256 + C table", baseline: times.table.median, target: .told,
                spread: times.table.spread))
        report.add(
            Figure(
                name: "careg_session_check, \(size) devices", unit: "ns", value: times.session.median,
                baselineName: "two clocks + 10 ns", baseline: times.clocks.median + 10, target: .atMost(1),
                spread: max(times.session.spread, times.clocks.spread)))
        report.add(
            Figure(
                name: "a CA's status in the map, \(size) devices", unit: "ns", value: times.status.median,
                baselineName: "1 device", baseline: first.status.median, target: .atMost(1.5),
                spread: times.status.spread))
    }

    // MARK: Being told

    /// Unregister over the socket, and what this process reads in the map right after: each time the answer is there, the
    /// map must have said no already.
    private func tellVisibility(_ report: inout Report) throws {
        let daemon = try BenchDaemon(folder: workshop.folder)
        defer { daemon.stop() }
        let known = try daemon.knownDevice("visible", by: "visibility", of: workshop)
        guard let library = try Library(runtimeFolder: daemon.runtimeFolder, instance: Self.instance) else { return }
        var verdict = careg_verdict()
        verdict.size = MemoryLayout<careg_verdict>.size
        guard library.check(known.certificate, &verdict) == CAREG_ANSWERED else {
            throw BenchFailure("the device is not in the map")
        }
        var session = verdict.session
        let client = try CaregClient(path: daemon.adminSocket)
        let changes = 200
        var seen = 0
        var call = Rounds()
        for _ in 0..<changes {
            guard library.isTrusted(&session) else { throw BenchFailure("Activate is not seen") }
            let start = nanoseconds()
            _ = try client.unregisterCaCertificate(.with { $0.sn = known.sn })
            if !library.isTrusted(&session) { seen += 1 }
            call.append((nanoseconds() - start) / 1_000)
            _ = try client.activateCaCertificate(.with { $0.sn = known.sn })
        }
        report.note(String(format: "an Unregister takes %.0f us (p50) until it is on disk and answered", call.median))
        report.add(
            Figure(
                name: "Unregisters that the map tells first", unit: "", value: Double(seen), baselineName: "all",
                baseline: Double(changes), target: .atLeast(1), spread: 0))
    }
}

extension MapBench.Times {
    fileprivate init(merging other: Self, status: Rounds) {
        self = other
        self.status = status
    }
}

/// One certificate with other serial numbers.
struct NumberedCertificates {
    private let template: [UInt8]
    private let serialOffset: Int

    /// - Parameter template: the DER of a device certificate whose serial number has 8 bytes, the first of which is 0x4c.
    init(template: [UInt8]) throws {
        let prefix: [UInt8] = [0x02, 0x08, 0x4c]
        guard let offset = template.indices.first(where: { template[$0...].starts(with: prefix) }) else {
            throw BenchFailure("the template's serial number is another one")
        }
        self.template = template
        serialOffset = offset + 2
    }

    func der(_ number: Int) -> [UInt8] {
        var der = template
        set(number, in: &der)
        return der
    }

    /// Makes one of these certificates the one of another number.
    func set(_ number: Int, in der: inout [UInt8]) {
        for index in 1..<8 { der[serialOffset + index] = UInt8(truncatingIfNeeded: number >> (8 * (7 - index))) }
    }
}

/// Open addressing in C, with entries as large as the map's.
@safe private final class PlainTable {
    private var table = unsafe cbaselines_table()

    init(entries: Int) throws {
        var capacity = 1_024
        while capacity * 11 / 16 < entries { capacity *= 2 }
        guard unsafe cbaselines_table_make(&table, capacity) == 0 else { throw BenchFailure("no memory for a table") }
    }

    deinit { unsafe cbaselines_table_free(&table) }

    func insert(_ key: [UInt8]) {
        unsafe key.withUnsafeBytes { unsafe cbaselines_table_insert(&table, $0.baseAddress) }
    }

    func holds(_ key: [UInt8]) -> Bool {
        unsafe key.withUnsafeBytes { unsafe cbaselines_table_find(&table, $0.baseAddress) } == 1
    }
}
