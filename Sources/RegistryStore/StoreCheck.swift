internal import LMDB
public import Signatures

/// What a walk of a registry found.
public struct CheckReport: Sendable {
    /// Sentences, the first ``mostFindings`` of them; empty where all is well.
    public internal(set) var findings: [String] = []
    /// All findings, those that are not told too.
    public internal(set) var findingCount = 0
    /// Rows that were read.
    public internal(set) var rowCount = 0
    public internal(set) var revision = Revision(0)
    /// The hash of the last change.
    public internal(set) var lastHash = ChangeRecord.chainStart

    /// How many findings are told.
    public static let mostFindings = 1_000

    /// Nothing was found.
    public var isSound: Bool { findingCount == 0 }

    mutating func add(_ finding: String) {
        findingCount += 1
        if findings.count < Self.mostFindings { findings.append(finding) }
    }
}

extension Store {
    /// Walks every table: each row's seal, each index against its table, the counters, and the change log's chain.
    ///
    /// - Parameter progress: called now and then with the rows read so far, those of indexes among them.
    /// - Throws: ``StoreFault`` only where the walk itself could not go on.
    public func check(progress: @escaping (Int) -> Void = { _ in }) throws -> CheckReport {
        try read { snapshot in
            var walk = CheckWalk(snapshot: snapshot, progress: progress)
            try walk.run()
            return walk.report
        }
    }
}

/// One walk. It recounts what the tallies say, and follows each row to the rows that must go with it.
private struct CheckWalk {
    /// Rows between two reports of progress.
    private static let rowsPerReport = 16_384

    let snapshot: Snapshot
    let progress: (Int) -> Void
    var report = CheckReport()
    private var tallies: [TallyOwner: Tally] = [:]
    private var instances: [InstanceNumber: String] = [:]
    private var pathUses: [SHA256Digest: UInt32] = [:]

    init(snapshot: Snapshot, progress: @escaping (Int) -> Void) {
        self.snapshot = snapshot
        self.progress = progress
    }

    private var tables: Store.Tables { snapshot.tables }

    mutating func run() throws {
        try walk(tables.meta) { _, _, _ in }
        try walkInstances()
        try walk(tables.codes) { walk, key, _ in
            let number = InstanceNumber(integer(bigEndian: key.prefix(4)))
            if walk.instances[number] == nil { walk.add(walk.tables.codes, key, .unexpected) }
        }
        try walkCas()
        try walkDevices()
        try walkPaths()
        try walkTallies()
        try walkChanges()
    }

    private mutating func add<Record>(
        _ table: SealedTable<Record>, _ key: [UInt8], _ finding: StoreFault.Finding
    ) {
        report.add(StoreFault.damaged(table: table.name, key: key, finding: finding).description)
    }

    /// Opens each row of a table, and goes on after one that is damaged.
    private mutating func walk<Record>(
        _ table: SealedTable<Record>, _ body: (inout CheckWalk, _ key: [UInt8], Record) throws -> Void
    ) throws {
        try table.scanRows(snapshot.transaction, prefix: []) { row in
            report.rowCount += 1
            if report.rowCount % Self.rowsPerReport == 0 { progress(report.rowCount) }
            do {
                let record = try table.open(row)
                if try !table.isFound(snapshot.transaction, row) { add(table, row.key, .order) }
                try body(&self, row.key, record)
            } catch let fault as StoreFault {
                guard case .damaged = fault else { throw fault }
                report.add(fault.description)
            }
            return true
        }
    }

    /// Checks that an index holds `number` at `key`.
    private mutating func expect(
        _ table: SealedTable<NumberRecord>, _ key: [UInt8], _ number: UInt64
    ) throws {
        guard let row = try table.get(snapshot.transaction, key) else { return add(table, key, .missing) }
        if row.number != number { add(table, key, .disagreement) }
    }

    /// An index has as many rows as its table, all of which were found: then it has no others.
    private mutating func expectCount<Index, Record>(
        _ index: SealedTable<Index>, of table: SealedTable<Record>
    ) throws {
        let count = try index.count(snapshot.transaction)
        let expected = try table.count(snapshot.transaction)
        if count != expected {
            report.add("table \(index.name) has \(count) rows where table \(table.name) has \(expected)")
        }
        try walk(index) { _, _, _ in }
    }

    private mutating func walkInstances() throws {
        try walk(tables.instances) { walk, key, record in
            if Array(record.id.utf8) != key { walk.add(walk.tables.instances, key, .disagreement) }
            if walk.instances.updateValue(record.id, forKey: record.number) != nil {
                walk.add(walk.tables.instances, key, .disagreement)
            }
        }
    }

    private mutating func walkCas() throws {
        try walk(tables.cas) { walk, key, record in
            if record.id.key != key || walk.instances[record.instance] != record.instanceID
                || SHA256Digest(hashing: record.der) != record.fingerprint
            {
                walk.add(walk.tables.cas, key, .disagreement)
            }
            walk.tallies[.region, default: Tally()][record.status] += 1
            walk.tallies[.instance(record.instance), default: Tally()][record.status] += 1
            for index in walk.tables.indexRows(of: record) {
                try walk.expect(index.table, index.key, index.number)
            }
        }
        for index in [
            tables.casBySerialNumber, tables.casBySerialHash, tables.casByInstance, tables.casByFingerprint,
            tables.casByKey, tables.casBySubject,
        ] {
            try expectCount(index, of: tables.cas)
        }
    }

    private mutating func walkDevices() throws {
        try walk(tables.devices) { walk, key, record in
            let isWhole = record.status == .deleted || SHA256Digest(hashing: record.der) == record.fingerprint
            let ca = try walk.snapshot.ca(record.ca)
            let path = try walk.tables.paths.get(walk.snapshot.transaction, record.path.key)
            if record.id.key != key || !isWhole || ca?.instance != record.instance || path?.ca != record.ca {
                walk.add(walk.tables.devices, key, .disagreement)
            }
            for owner in TallyOwner.owners(of: record) {
                walk.tallies[owner, default: Tally()][record.status] += 1
            }
            let identity = Snapshot.identityKey(record.instance, record.signingKeyHash, record.serialNumber)
            try walk.expect(walk.tables.devicesByIdentity, identity, record.id.number)
            try walk.expect(walk.tables.devicesByContent, Snapshot.contentKey(record), record.id.number)
            let listKey = Snapshot.listKey(record.ca, record.serialNumber, record.id)
            if try walk.tables.devicesByCa.get(walk.snapshot.transaction, listKey)?.status != record.status {
                walk.add(walk.tables.devicesByCa, listKey, .disagreement)
            }
        }
        try expectCount(tables.devicesByIdentity, of: tables.devices)
        try expectCount(tables.devicesByContent, of: tables.devices)
        try expectCount(tables.devicesByCa, of: tables.devices)
    }

    private mutating func walkPaths() throws {
        try walk(tables.paths) { walk, key, path in
            if walk.tallies[.path(PathID(integer(bigEndian: key)))] == nil {
                walk.add(walk.tables.paths, key, .unexpected)
            }
            let number: UInt64 = integer(bigEndian: key)
            try walk.expect(walk.tables.pathsByContent, StoreTransaction.contentKey(path), number)
            for hash in path.intermediates {
                walk.pathUses[hash, default: 0] += 1
            }
        }
        try expectCount(tables.pathsByContent, of: tables.paths)
        try walk(tables.intermediates) { walk, key, record in
            let hash = SHA256Digest(hashing: record.der)
            if hash.bytes != key { walk.add(walk.tables.intermediates, key, .disagreement) }
            if walk.pathUses.removeValue(forKey: hash) != record.pathCount {
                walk.add(walk.tables.intermediates, key, .counter)
            }
        }
        for hash in pathUses.keys {
            add(tables.intermediates, hash.bytes, .missing)
        }
    }

    private mutating func walkTallies() throws {
        var counted: [[UInt8]: Tally] = [:]
        for (owner, tally) in tallies {
            counted[owner.key] = tally
        }
        try walk(tables.tallies) { walk, key, tally in
            let expected = counted.removeValue(forKey: key) ?? Tally()
            if tally != expected { walk.add(walk.tables.tallies, key, .counter) }
        }
        for (key, tally) in counted where tally != Tally() {
            add(tables.tallies, key, .missing)
        }
    }

    private mutating func walkChanges() throws {
        var chain = ChangeChain()
        var isWhole = true
        try walk(tables.changes) { walk, key, entry in
            if bigEndianBytes(entry.revision.number) != key { walk.add(walk.tables.changes, key, .disagreement) }
            if !chain.take(entry) {
                isWhole = false
                chain.resume(after: entry)
                walk.add(walk.tables.changes, key, .hashChain)
            }
            walk.report.revision = entry.revision
            walk.report.lastHash = entry.hash
        }
        if let noted = try? snapshot.notedHead(), noted.revision >= report.revision,
            noted != LogHead(revision: report.revision, hash: report.lastHash)
        {
            // An entry that was written is not there, or is another one.
            add(tables.changes, bigEndianBytes(noted.revision.number), .missing)
        }
        for cover in chain.missingCovers where isWhole {
            add(tables.changes, bigEndianBytes(cover.number), .missing)
        }
    }
}
