import Registry
import Signatures
import TestPKI
import Testing

@testable import RegistryStore

/// Automatic device registrations leave the change log after a while; what is left still proves itself.
@Suite struct LogRetentionTests {
    private let root = Entity.root("Root", key: .p256(1))

    /// An instance with a CA, `count` devices that registered themselves, one by hand, and as many again by themselves.
    private func bench(automatic count: Int = 5) throws -> Bench {
        let bench = try Bench()
        try bench.createInstance("plant")
        try bench.register(root, with: "plant")
        for index in 0..<count { try see("first \(index)", on: bench) }
        try bench.registerDevice(root.device("by hand"), with: "plant")
        for index in 0..<count { try see("second \(index)", on: bench) }
        return bench
    }

    private func see(_ name: String, on bench: Bench) throws {
        #expect(try bench.verify(root.device(TestName(commonName: name)), with: "plant").registered)
    }

    @discardableResult
    private func compact(_ bench: Bench, before seconds: Int64 = 0, least: Int = 2) throws -> Int {
        let horizon = WallTime(milliseconds: bench.clock.now.milliseconds - seconds * 1_000)
        return try bench.call {
            $0.compactLog(before: horizon, leastRemoved: least, caller: Bench.caller, completion: $1)
        }
    }

    private func walk(_ bench: Bench, from checkpoint: ChangeLogWalk.Checkpoint? = nil) throws -> ChangeLogWalk.Finding
    {
        var walk = try ChangeLogWalk(bench.registry, from: checkpoint)
        while try walk.walk(entries: 3) {}
        return walk.finding
    }

    @Test func oldAutomaticRegistrationsAreCompactedAndAllElseStays() throws {
        let bench = try bench()
        let before = try bench.log()
        bench.clock.advance(seconds: 100)
        #expect(try compact(bench, before: 50) == 10)
        let after = try bench.log()
        let stands = after.filter { $0.kind == .registrationsCompacted }
        #expect(stands.map { $0.run?.count } == [5, 5])
        let kept = before.filter { $0.method != "Verify" }
        let others = after.filter { $0.kind != .registrationsCompacted }
        #expect(others.dropLast().map(\.hash) == kept.map(\.hash))
        #expect(others.last?.kind == .logCompacted)
        // What stands for others ends as they did.
        #expect(stands.map(\.hash) == [before[7].hash, before[13].hash])
        #expect(stands.compactMap { $0.run?.first } == [before[3].revision, before[9].revision])
        try bench.expectSound()
        #expect(try walk(bench).broken == nil)
        #expect(try walk(bench).lastHash == after.last?.hash)
        // The devices are what they were.
        #expect(try bench.devices(under: root).count == 11)
        #expect(try bench.verify(root.device("first 0"), with: "plant").registered == false)
        try bench.crashAndReopen()
        try bench.expectSound()
        #expect(try bench.store.read { try $0.identity().schemaVersion } == Store.schemaVersion)
    }

    @Test func whatIsYoungOrTooLittleStays() throws {
        let bench = try bench()
        bench.clock.advance(seconds: 100)
        let before = try bench.log().map(\.hash)
        #expect(try compact(bench, before: 200) == 0)
        #expect(try compact(bench, before: 50, least: 11) == 0)
        #expect(try bench.log().map(\.hash) == before)
        #expect(try compact(bench, before: 50, least: 10) == 10)
    }

    @Test func laterRegistrationsAreCompactedInTheirTurn() throws {
        let bench = try bench()
        bench.clock.advance(seconds: 100)
        #expect(try compact(bench) == 10)
        #expect(try compact(bench) == 0)
        for index in 0..<3 { try see("third \(index)", on: bench) }
        bench.clock.advance(seconds: 100)
        #expect(try compact(bench) == 3)
        #expect(try walk(bench).broken == nil)
        try bench.expectSound()
    }

    @Test func manyAreCompactedInSeveralCommits() throws {
        let bench = try Bench()
        try bench.createInstance("plant")
        try bench.register(root, with: "plant")
        let count = LogRetention.rowsPerCommit + 200
        let base = root.device("device")
        try bench.store.write { transaction in
            var entry = try #require(try transaction.snapshot.lastChange())
            for index in 0..<count {
                entry.kind = .deviceRegistered
                entry.method = "Verify"
                entry.deviceSerialNumber = "\(index)"
                entry.fingerprint = SHA256Digest(hashing: base.der)
                try transaction.append(entry)
            }
        }
        bench.clock.advance(seconds: 100)
        #expect(try compact(bench, least: 100) == count)
        #expect(try walk(bench).broken == nil)
        #expect(try bench.log().filter { $0.kind == .logCompacted }.count == 2)
    }

    @Test func whoMissesCompactedChangesIsToldAndWhoMissesNoneIsNot() throws {
        let bench = try bench()
        bench.clock.advance(seconds: 100)
        try compact(bench)
        let last = try bench.store.read { try $0.lastCompactedChange() }
        let since = Revision(last.number - 1)
        try bench.refused(.revisionCompacted) { try bench.registry.changes(after: since, limit: 10) }
        try bench.refused(.revisionCompacted) { try bench.registry.changes(after: Revision(1), limit: 10) }
        #expect(try bench.registry.changes(after: last, limit: 10).entries.map(\.kind) == [.logCompacted])
        // 0 asks for what is kept whole, and may be paged.
        try bench.createInstance("other")
        var page = try bench.registry.changes(after: Revision(0), limit: 1)
        #expect(page.entries.map(\.kind) == [.logCompacted])
        page = try bench.registry.changes(after: page.reached, limit: 1)
        #expect(page.entries.map(\.kind) == [.instanceCreated])
        // The audit log tells what stands there, wherever one begins.
        let records = try bench.registry.auditRecords(since: since, after: nil, pageSize: 10).rows
        #expect(records.map(\.kind) == [.registrationsCompacted, .logCompacted, .instanceCreated])
    }

    @Test func aHashKeptOfACompactedRecordIsRefusedUnlessItIsTheLast() throws {
        let bench = try bench()
        let before = try bench.log()
        bench.clock.advance(seconds: 100)
        try compact(bench)
        func checkpoint(_ entry: ChangeRecord) -> ChangeLogWalk.Checkpoint {
            ChangeLogWalk.Checkpoint(revision: entry.revision, hash: entry.hash)
        }
        let refusal = try bench.refused(.revisionCompacted) { try walk(bench, from: checkpoint(before[6])) }
        #expect(refusal.metadata["revision"] == String(before[7].revision.number))
        for kept in [before[2], before[7], before[8]] {
            let finding = try walk(bench, from: checkpoint(kept))
            #expect(finding.meetsCheckpoint && finding.broken == nil)
        }
        let other = ChangeLogWalk.Checkpoint(revision: before[7].revision, hash: before[6].hash)
        #expect(try walk(bench, from: other).broken == before[7].revision)
    }

    @Test func aForgedStandInIsFoundWhereItIsCovered() throws {
        let bench = try bench()
        bench.clock.advance(seconds: 100)
        try compact(bench)
        let log = try bench.log()
        let cover = try #require(log.last)
        var forged = try #require(log.first { $0.kind == .registrationsCompacted })
        forged.run?.count += 1
        try bench.store.write { transaction in
            try transaction.tables.changes.put(
                transaction.transaction, bigEndianBytes(forged.revision.number), forged)
        }
        #expect(try walk(bench).broken == cover.revision)
        #expect(try bench.store.check().findings.count == 1)
    }

    @Test func aStandInWhoseCoverIsGoneIsFound() throws {
        let bench = try bench()
        bench.clock.advance(seconds: 100)
        try compact(bench)
        let cover = try #require(try bench.log().last)
        try bench.store.write { transaction in
            try transaction.tables.changes.delete(transaction.transaction, bigEndianBytes(cover.revision.number))
        }
        #expect(try walk(bench).broken == cover.revision)
        #expect(try !bench.store.check().isSound)
    }

    @Test func recordsPutInPlaceOfOthersWithoutACoverAreFound() throws {
        let bench = try bench()
        let log = try bench.log()
        // Somebody hides who registered by hand, behind a stand-in that claims the right hashes.
        var forged = log[8]
        forged.kind = .registrationsCompacted
        forged.run = ChangeRecord.CompactedRun(
            first: forged.revision, count: 1, hashBefore: log[7].hash, coveredBy: Revision(forged.revision.number + 3))
        try bench.store.write { transaction in
            try transaction.tables.changes.put(
                transaction.transaction, bigEndianBytes(forged.revision.number), forged)
        }
        #expect(try walk(bench).broken == Revision(forged.revision.number + 3))
        #expect(try !bench.store.check().isSound)
    }

    @Test func aWalkThatACompactionOvertakesStillAgrees() throws {
        let bench = try bench(automatic: 8)
        bench.clock.advance(seconds: 100)
        var walk = try ChangeLogWalk(bench.registry, from: nil)
        #expect(try walk.walk(entries: 5))
        try compact(bench)
        while try walk.walk(entries: 3) {}
        #expect(walk.finding.broken == nil)
        #expect(walk.finding.lastRevision == (try bench.log().dropLast().last?.revision))
    }
}
