internal import Certificates
internal import Foundation
internal import LMDB
internal import RegistryStore
internal import Signatures

/// Devices that never were: one certificate with other serial numbers. Their signatures do not verify, and nobody asks: what is
/// registered is known by its fingerprint.
struct DeviceFactory {
    private let template: [UInt8]
    private let serialOffset: Int
    private let path: PathRecord
    private let signingKeyHash: SHA256Digest
    private let ca: CaRecord

    /// - Parameter template: the DER of a device certificate whose serial number has 8 bytes, the first of which is 0x4c.
    init(template: [UInt8], ca: CaRecord) throws {
        let certificate = try Certificate(der: template)
        let serial = certificate.serialNumber.magnitude
        guard serial.count == 8, serial[0] == 0x4c,
            let offset = template.indices.first(where: { template[$0...].starts(with: serial) })
        else { throw BenchFailure("the template's serial number is another one") }
        self.template = template
        self.ca = ca
        serialOffset = offset
        let anchor = try Certificate(der: ca.der)
        signingKeyHash = SHA256Digest(hashing: anchor.publicKeyInfoBytes)
        path = PathRecord(
            instance: ca.instance, ca: ca.id, intermediates: [], intermediateKeys: [], notBefore: anchor.notBefore,
            notAfter: anchor.notAfter)
    }

    static let templateSerial = "0x4c00000000000001"

    func der(_ number: UInt64) -> [UInt8] {
        var der = template
        for (index, byte) in bigEndianBytes(number).enumerated().dropFirst() { der[serialOffset + index] = byte }
        return der
    }

    /// Stores devices as the registry's writer does: rows, counters and one entry of the change log each.
    func store(_ numbers: Range<UInt64>, in transaction: StoreTransaction) throws {
        let path = try transaction.intern(path, certificates: []).id
        let now = WallTime(milliseconds: Int64(Date().timeIntervalSince1970 * 1_000))
        for number in numbers {
            let der = der(number)
            let certificate = try Certificate(der: der)
            let record = DeviceRecord(
                id: try transaction.newDeviceID(), instance: ca.instance, ca: ca.id, path: path,
                signingKeyHash: signingKeyHash, serialNumber: certificate.serialNumber, status: .active,
                registerTime: now, updateTime: now, revision: try transaction.revision().next,
                fingerprint: SHA256Digest(hashing: der),
                contentHash: SHA256Digest(hashing: certificate.toBeSignedBytes),
                der: der)
            try transaction.insert(record)
            try transaction.append(
                ChangeRecord(
                    kind: .deviceRegistered, time: now, method: "Verify", caller: BenchRegistry.caller,
                    instanceID: ca.instanceID, ca: ca, device: record))
        }
    }
}

/// Durable registrations against a plain LMDB loop with the same rows and the same commits, and a device's record against plain
/// gets of such rows.
struct WriteBench {
    private static let perCommit: UInt64 = 1_000
    private static let commitsPerRound: UInt64 = 10
    private static let readsPerRound = 2_000
    private let workshop: Workshop
    private let rounds: Int

    init(_ workshop: Workshop, rounds: Int) {
        self.workshop = workshop
        self.rounds = rounds
    }

    func run(into report: inout Report) throws {
        let authority = try workshop.authority(.p256, name: "writes")
        let bench = try workshop.registry()
        let ca = try bench.register(authority)
        let template = try workshop.device("device", by: authority, serial: DeviceFactory.templateSerial)
        let factory = try DeviceFactory(template: template, ca: ca)
        let raw = try RawRows(path: workshop.path("mdb"), valueBytes: template.count + 250)
        var (own, rawRounds, alone, rawAlone) = (Rounds(), Rounds(), Rounds(), Rounds())
        var (reads, rawReads) = (Rounds(), Rounds())
        var next: UInt64 = 1
        for _ in 0..<rounds {
            let perRound = Self.perCommit * Self.commitsPerRound
            let registered = next..<next + perRound
            let time = try nanosecondsPerCall(Int(Self.commitsPerRound)) { _ in
                try bench.store.write { try factory.store(next..<next + Self.perCommit, in: $0) }
                next += Self.perCommit
            }
            own.append(1e9 / time * Double(Self.perCommit))
            let rawTime = try nanosecondsPerCall(Int(Self.commitsPerRound)) { index in
                try raw.write(next + UInt64(index) * Self.perCommit, count: Self.perCommit)
            }
            rawRounds.append(1e9 / rawTime * Double(Self.perCommit))
            let serials = try (0..<Self.readsPerRound).map { _ in
                try Certificate(der: factory.der(.random(in: registered))).serialNumber
            }
            reads.append(try bench.microsecondsPerShow(of: serials, under: ca))
            let written = (0..<Self.readsPerRound).map { _ in UInt64.random(in: next..<next + perRound) }
            rawReads.append(
                try nanosecondsPerCall(Self.readsPerRound) { index in try raw.read(written[index]) } / 1_000)
            next += perRound
            alone.append(
                try nanosecondsPerCall(50) { _ in
                    try bench.store.write { try factory.store(next..<next + 1, in: $0) }
                    next += 1
                } / 1_000)
            rawAlone.append(try nanosecondsPerCall(50) { try raw.write(next + UInt64($0), count: 1) } / 1_000)
            next += 50
        }
        report.add(
            Figure(
                name: "device registrations, 1000 a commit", unit: "/s", value: own.median,
                baselineName: "raw LMDB rows",
                baseline: rawRounds.median, target: .atLeast(0.5), spread: own.spread))
        report.add(
            Figure(
                name: "one registration alone", unit: "us", value: alone.median, baselineName: "one LMDB commit",
                baseline: rawAlone.median, target: .atMost(1.5), spread: alone.spread))
        report.add(
            Figure(
                name: "device show", unit: "us", value: reads.median, baselineName: "raw LMDB gets",
                baseline: rawReads.median, target: .told, spread: reads.spread))
    }
}

/// The rows of a registration as plain puts: the record, two indexes, the list and the change.
private struct RawRows {
    private let environment: Environment
    private let tables: [Rows]

    private struct Rows {
        var table: Table
        var keyBytes: Int
        var valueBytes: Int
        /// Records, the list and the log grow at the end; hashes fall anywhere.
        var isHashed: Bool

        func key(_ seed: [UInt8], _ hash: [UInt8]) -> [UInt8] {
            let start = isHashed ? hash : seed
            return start + [UInt8](repeating: 0, count: keyBytes - start.count)
        }
    }

    init(path: String, valueBytes: Int) throws {
        let environment = try Environment(path: path)
        self.environment = environment
        tables = try [
            ("devices", 8, valueBytes, false), ("identity", 45, 16, true), ("content", 44, 16, true),
            ("list", 28, 17, false), ("changes", 8, 230, false),
        ].map { name, keyBytes, valueBytes, isHashed in
            guard let table = try environment.table(name, creates: true) else { throw BenchFailure("no table \(name)") }
            return Rows(table: table, keyBytes: keyBytes, valueBytes: valueBytes, isHashed: isHashed)
        }
    }

    func write(_ first: UInt64, count: UInt64) throws {
        try environment.write { transaction in
            for number in first..<first + count {
                let seed = bigEndianBytes(number)
                let hash = SHA256Digest(hashing: seed).bytes
                for row in tables {
                    try transaction.put(row.table, row.key(seed, hash), [UInt8](repeating: 7, count: row.valueBytes))
                }
            }
        }
    }

    /// What leads to a device and the device's record, in a snapshot of its own.
    func read(_ number: UInt64) throws {
        let seed = bigEndianBytes(number)
        let hash = SHA256Digest(hashing: seed).bytes
        let (record, index) = (tables[0], tables[1])
        let isThere = try environment.read { transaction in
            try transaction.get(index.table, index.key(seed, hash)) != nil
                && transaction.get(record.table, record.key(seed, hash)) != nil
        }
        guard isThere else { throw BenchFailure("a row that was written is not there") }
    }
}
