import Certificates
import Foundation
import Glibc
import Registry
import RegistryStore
import Signatures
import Synchronization
import TestPKI
import Testing

/// Those who follow the registry: told in order, before the answer, and never behind it.
@Suite struct MirrorTests {
    /// Writes down what it is told.
    private final class Scribe: Mirror {
        let told = Collected<(kind: ChangeKind, revision: UInt64, seen: UInt64)>()
        let onApply: @Sendable (Snapshot) -> Void

        init(onApply: @escaping @Sendable (Snapshot) -> Void = { _ in }) { self.onApply = onApply }

        func apply(_ changes: [CommittedChange], _ snapshot: Snapshot) {
            let seen = (try? snapshot.revision().number) ?? 0
            for change in changes { told.append((change.entry.kind, change.entry.revision.number, seen)) }
            onApply(snapshot)
        }
    }

    @Test func aMirrorIsToldEveryChangeInOrderBeforeTheAnswerLeaves() throws {
        let scribe = Scribe()
        let second = Scribe()
        let bench = try Bench(mirrors: [scribe, second])
        let ca = authority(1)
        for id in ["plant", "other"] { try bench.createInstance(id) }
        try bench.register(ca, with: "plant")
        let device = ca.device()
        _ = try bench.verify(device, with: "plant")
        try bench.deactivateDevice(device, under: ca)
        try bench.unregister(ca)
        try bench.unregister(ca)
        let code = try bench.issueCode("other").text
        try bench.refused(.caOfAnotherInstance) {
            try bench.register(bench.upload(authority(1, serial: [2]), "other", code: code))
        }
        try bench.delete(ca)
        let log = try bench.log()
        #expect(scribe.told.all.map(\.revision) == log.map(\.revision.number))
        #expect(scribe.told.all.map(\.kind) == log.map(\.kind))
        #expect(second.told.all.map(\.revision) == log.map(\.revision.number))
        #expect(bench.commits.all.last == log.last?.revision)
    }

    @Test func ofOneCommitAMirrorIsToldAllAtOnceAndSeesItsLastRevision() throws {
        let answered = Mutex(0)
        let early = Mutex(0)
        let scribe = Scribe { _ in
            let count = answered.withLock { $0 }
            early.withLock { $0 = max($0, count) }
        }
        let bench = try Bench(mirrors: [scribe])
        bench.inOneCommit { registry in
            for number in 0..<20 {
                registry.createInstance(id: "i-\(number)", edition: .standard, caller: Bench.caller) { _ in
                    answered.withLock { $0 += 1 }
                }
            }
        }
        #expect(answered.withLock { $0 } == 20)
        #expect(early.withLock { $0 } == 0, "no answer leaves before the mirrors have followed")
        #expect(scribe.told.all.map(\.revision) == Array(1...20))
        #expect(scribe.told.all.allSatisfy { $0.seen == 20 })
    }

    @Test func aMirrorThatMeetsADamagedRecordHearsOfItAndEverybodyElseGoesOn() throws {
        let faults = Collected<String>()
        let scribe = Scribe { snapshot in
            do {
                try snapshot.cas(of: nil, after: nil) { _ in true }
            } catch {
                faults.append("\(error)")
            }
        }
        let bench = try Bench(mirrors: [scribe])
        for id in ["plant", "other"] { try bench.createInstance(id) }
        let damaged = authority(1)
        try bench.register(damaged, with: "plant")
        try bench.register(authority(2), with: "other")
        #expect(faults.all.isEmpty)
        let bytes = try #require(try Files.read(bench.dataFile, limit: 1 << 30))
        let file = unsafe open(bench.dataFile, O_RDWR | O_CLOEXEC)
        try #require(file >= 0)
        defer { close(file) }
        // The certificate, wherever a copy of it stands: the present page is among them.
        let pattern = Array(damaged.der.suffix(48))
        for start in bytes.indices.dropLast(48) where bytes[start..<start + 48].elementsEqual(pattern) {
            var byte = bytes[start] ^ 0x10
            try #require(unsafe pwrite(file, &byte, 1, off_t(start)) == 1)
        }
        let fault = #expect(throws: StoreFault.self) { try bench.ca(damaged) }
        guard case .damaged = fault else {
            Issue.record("\(String(describing: fault))")
            return
        }
        // A command that meets it fails alone, in whatever company.
        let alone = Answer<CaView>()
        let others = (0..<4).map { _ in Answer<InstanceView>() }
        bench.inOneCommit { registry in
            for (number, answer) in others.enumerated() {
                if number == 2 {
                    registry.unregisterCa(damaged.serialNumber, caller: Bench.caller) { alone.set($0) }
                }
                registry.createInstance(id: "i-\(number)", edition: .standard, caller: Bench.caller) {
                    answer.set($0)
                }
            }
        }
        #expect(throws: StoreFault.self) { try alone.get() }
        for answer in others { _ = try answer.get() }
        #expect(!faults.all.isEmpty, "the mirror met the damage itself")
        #expect(bench.fatal.all.isEmpty)
        #expect(bench.registry.writer.statistics.faults == 1)
        #expect(try bench.verify(authority(2).device(), with: "other").isTrusted)
        #expect(try !bench.store.check().isSound)
    }

    /// The change is on disk, and no mirror can be told: the process must end, since a mirror would contradict the answer.
    @Test func whereNoMirrorCanBeToldTheProcessIsToEnd() throws {
        let scribe = Scribe()
        let bench = try Bench(mirrors: [scribe])
        try bench.createInstance("plant")
        let registry = bench.registry
        let submitted = Answer<InstanceView>()
        // As many snapshots as LMDB has slots for: the writer needs none, and those who follow it find none.
        func exhaust(_ depth: Int) throws {
            do {
                try registry.read { _ in try exhaust(depth + 1) }
            } catch is StoreFault {
                registry.createInstance(id: "late", edition: .standard, caller: Bench.caller) { submitted.set($0) }
                registry.writer.flush()
            }
        }
        try exhaust(0)
        #expect(bench.fatal.all.count == 1)
        #expect(scribe.told.all.map(\.revision) == [1])
        // Failed but persisted: after the restart it is there.
        try bench.crashAndReopen()
        #expect(try bench.registry.instance("late").record.revision.number == 2)
        #expect(try bench.store.check().isSound)
    }
}
