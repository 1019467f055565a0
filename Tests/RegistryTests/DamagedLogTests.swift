import LMDB
import Registry
import Signatures
import TestPKI
import Testing

@testable import RegistryStore

/// The last entry of the change log is read by everything: one that is damaged must not keep everything from going on.
@Suite struct DamagedLogTests {
    private let root = Entity.root("Root", key: .p256(1))

    private func bench() throws -> Bench {
        let bench = try Bench()
        try bench.createInstance("plant")
        try bench.register(root, with: "plant")
        #expect(try bench.verify(root.device(), with: "plant").registered)
        return bench
    }

    /// Flips a bit in the value of a row of the change log.
    private func damage(_ revision: Revision, of bench: Bench) throws {
        try bench.store.write { transaction in
            let (table, key) = (transaction.tables.changes.table, bigEndianBytes(revision.number))
            var value = try #require(try transaction.transaction.get(table, key))
            value[9] ^= 0x10
            try transaction.transaction.put(table, key, value)
        }
    }

    @Test func itIsFoundAndTheRestGoesOn() throws {
        let bench = try bench()
        let last = Revision(try bench.revision())
        let hash = try #require(try bench.log().last?.hash)
        try damage(last, of: bench)
        #expect(try bench.revision() == last.number)
        let verdict = try bench.verify(root.device(), with: "plant")
        #expect(verdict.isTrusted && verdict.revision == last)
        try bench.createInstance("other")
        #expect(try bench.revision() == last.number + 1)
        // What reads the entry itself is told, and the chain goes on from the hash that it had.
        #expect(throws: StoreFault.self) { try bench.log() }
        #expect(!(try bench.store.check().isSound))
        let next = try #require(try bench.store.read { try $0.change(at: last.next) })
        #expect(next.hash == next.chainHash(after: hash))
        try bench.crashAndReopen()
        #expect(try bench.revision() == last.number + 1)
    }

    @Test func anEntryThatIsGoneIsFoundByWhatWasNotedOfIt() throws {
        let bench = try bench()
        let last = Revision(try bench.revision())
        try bench.store.write { transaction in
            try transaction.tables.changes.delete(transaction.transaction, bigEndianBytes(last.number))
        }
        let report = try bench.store.check()
        #expect(report.findings.contains { $0.contains("changes") }, "\(report.findings)")
    }

    @Test func aNoteThatAnOlderProgramHasLeftBehindIsNotBelieved() throws {
        let bench = try bench()
        let last = Revision(try bench.revision())
        // It knows no note: what it wrote came after.
        let note = try bench.store.read { try #require(try $0.notedHead()) }
        try bench.createInstance("other")
        try bench.store.write { transaction in
            try transaction.put(.logHead, bigEndianBytes(note.revision.number) + note.hash.bytes)
        }
        try bench.expectSound()
        #expect(try bench.revision() == last.number + 1)
        try damage(last.next, of: bench)
        #expect(throws: StoreFault.self) { try bench.revision() }
    }
}
