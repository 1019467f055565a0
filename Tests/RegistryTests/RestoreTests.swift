import Certificates
import Registry
import RegistryStore
import Signatures
import TestPKI
import Testing
import Verification

/// A restore: a new history, above both, without the codes.
@Suite struct RestoreTests {
    private static let freshHistory = String(repeating: "b", count: 32)

    /// Brings a backup back in the place of the present registry.
    private func restore(_ bench: Bench, _ backup: String) throws -> (report: RestoreReport, lines: [String]) {
        let former = bench.store
        let revision = try former.read { try $0.revision() }
        var lines: [String] = []
        try bench.open(backup)
        try RestoreComparison.run(former: former, incoming: bench.store) { lines.append($0) }
        let report = try bench.store.write {
            try $0.becomePresent(
                above: revision, historyID: Self.freshHistory, time: bench.clock.now, caller: Bench.caller)
        }
        return (report, lines)
    }

    @Test func revisionsGoOnAboveBothWhicheverIsHigher() throws {
        for isBackupAhead in [false, true] {
            let bench = try Bench()
            for number in 0..<5 { try bench.createInstance("i-\(number)") }
            let early = try bench.backup(to: "early.mdb")
            for number in 5..<9 { try bench.createInstance("i-\(number)") }
            let late = try bench.backup(to: "late.mdb")
            if isBackupAhead { try bench.open(early) }
            let (report, _) = try restore(bench, isBackupAhead ? late : early)
            #expect(report.revision.number == 10)
            #expect(try bench.revision() == 10)
            #expect(try bench.registry.figures().identity.historyID == Self.freshHistory)
            #expect(try bench.log().last?.kind == .registryRestored)
            #expect(try bench.createInstance("next").record.revision.number == 11)
            try bench.expectSound()
            try bench.crashAndReopen()
            #expect(try bench.revision() == 11)
            try bench.expectSound()
        }
    }

    @Test func theOldHistoryIsRefusedAndTheNewOneGoesOn() throws {
        let bench = try Bench()
        let old = try bench.registry.figures().identity.historyID
        try bench.createInstance("plant")
        let backup = try bench.backup(to: "backup.mdb")
        try bench.createInstance("lost")
        _ = try restore(bench, backup)
        for since: UInt64 in [0, 1, 2, 3] {
            let refusal = #expect(throws: Refusal.self) {
                try bench.registry.changes(after: Revision(since), of: old, limit: 10)
            }
            #expect(refusal?.reason == .revisionAhead)
        }
        let page = try bench.registry.changes(after: Revision(0), of: Self.freshHistory, limit: 10)
        #expect(page.entries.map(\.revision.number) == [1, 3] && page.last.number == 3)
        let ahead = #expect(throws: Refusal.self) {
            try bench.registry.changes(after: Revision(4), of: Self.freshHistory, limit: 10)
        }
        #expect(ahead?.reason == .revisionAhead)
        #expect(try bench.registry.changes(after: Revision(3), limit: 10).entries.isEmpty)
        #expect(try bench.registry.auditRecords(since: Revision(0), after: nil, pageSize: 10).totalSize == 2)
        try bench.expectSound()
    }

    @Test func openCodesAreRevokedAndUsedOnesStayUsed() throws {
        let bench = try Bench()
        for id in ["plant", "other"] { try bench.createInstance(id) }
        let used = try bench.issueCode("plant").text
        let open = try bench.issueCode("plant").text
        let foreign = try bench.issueCode("other").text
        let expired = try bench.issueCode("plant", seconds: 1).text
        try bench.register(bench.upload(authority(1), "plant", code: used))
        bench.clock.advance(seconds: 2)
        let backup = try bench.backup(to: "backup.mdb")
        let (report, _) = try restore(bench, backup)
        #expect(report.revokedCodes >= 2)
        for id in ["plant", "other"] { #expect(try bench.openCodes(id).isEmpty) }
        let next = authority(2)
        try bench.refused(.codeMismatch) { try bench.register(bench.upload(next, "plant", code: open)) }
        try bench.refused(.codeMismatch) { try bench.register(bench.upload(next, "other", code: foreign)) }
        try bench.refused(.codeUsed) { try bench.register(bench.upload(next, "plant", code: used)) }
        #expect(throws: Refusal.self) { try bench.register(bench.upload(next, "plant", code: expired)) }
        try bench.register(next, with: "plant")
        try bench.expectSound()
    }

    @Test func everyStatusAndTombstoneThatChangesIsPrinted() throws {
        let bench = try Bench()
        try bench.createInstance("plant")
        let cas = (1...4).map { authority($0) }
        for ca in cas.prefix(3) { try bench.register(ca, with: "plant") }
        let devices = (901...906).map { cas[0].device("device \($0)", key: .p256($0)) }
        for device in devices.prefix(5) { try bench.registerDevice(device, with: "plant") }
        try bench.deleteDevice(devices[4], under: cas[0])
        let backup = try bench.backup(to: "backup.mdb")
        try bench.unregister(cas[1])
        try bench.delete(cas[2])
        try bench.register(cas[3], with: "plant")
        try bench.deactivateDevice(devices[1], under: cas[0])
        try bench.deleteDevice(devices[2], under: cas[0])
        try bench.registerDevice(devices[4], with: "plant")
        try bench.registerDevice(devices[5], with: "plant")
        let (_, lines) = try restore(bench, backup)
        func isTold(_ text: String) -> Bool { lines.contains { $0.contains(text) } }
        for ca in cas.dropFirst() { #expect(isTold(ca.serialNumber.text), "\(lines)") }
        for index in [1, 2, 4, 5] { #expect(isTold(devices[index].serialNumber.text), "\(index): \(lines)") }
        for index in [0, 3] { #expect(!isTold(devices[index].serialNumber.text), "\(index): \(lines)") }
        let reasons = try devices.prefix(5).map { try bench.verify($0, with: "plant", dryRun: true).reason }
        #expect(reasons == [.trusted, .trusted, .trusted, .trusted, .deviceDeleted])
        #expect(
            try bench.registry.ca(cas[1].serialNumber, signatures: SignatureVerifier()).view.record.status == .active)
        try bench.expectSound()
    }

    @Test func aBackupMadeWhileWritesGoOnIsOfOneMoment() throws {
        let bench = try Bench()
        let registry = bench.registry
        let answers = (0..<60).map { _ in Answer<InstanceView>() }
        for (number, answer) in answers.enumerated() {
            registry.createInstance(id: "i-\(number)", edition: .standard, caller: Bench.caller) { answer.set($0) }
        }
        let backup = try bench.backup(to: "backup.mdb")
        registry.writer.flush()
        for answer in answers { _ = try answer.get() }
        let copy = try Store(path: backup, creating: nil, isReadOnly: true)
        let report = try copy.check()
        #expect(report.isSound)
        let (revision, count) = try copy.read { (try $0.revision().number, try $0.instanceCount()) }
        #expect(revision == UInt64(count) && count <= 60)
    }
}
