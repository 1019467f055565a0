import Certificates
import Registry
import RegistryStore
import TestPKI
import Testing
import Verification

/// What a thread remembers of instances and CA certificates is what the snapshot at hand shows.
@Suite struct VerificationToolsTests {
    // MARK: Epochs

    private func epoch(_ bench: Bench) throws -> AuthorityEpoch {
        try #require(try bench.store.read { $0.authorityEpoch })
    }

    @Test func anEpochEndsWithEveryChangeOfAnInstanceOrACaAndWithNoOther() throws {
        let bench = try Bench()
        let ca = Entity.root("CA")
        let changes: [(what: String, endsEpoch: Bool, change: () throws -> Void)] = [
            ("an instance is created", true, { try bench.createInstance("plant") }),
            ("a code is issued", false, { _ = try bench.issueCode("plant") }),
            ("a CA is registered", true, { try bench.register(ca, with: "plant") }),
            ("a device is seen", false, { _ = try bench.verify(ca.device(), with: "plant") }),
            ("a device is deactivated", false, { try bench.deactivateDevice(ca.device(), under: ca) }),
            ("a CA has another name", true, { try bench.update(ca, name: "other") }),
            ("a CA is unregistered", true, { try bench.unregister(ca) }),
            ("nothing is changed", false, { try bench.unregister(ca) }),
            ("a CA is activated", true, { try bench.activate(ca) }),
            ("a CA is deleted", true, { try bench.delete(ca) }),
            ("an instance has another edition", true, { try bench.updateInstance("plant", .platinum) }),
            ("an instance is deleted", true, { try bench.deleteInstance("plant") }),
        ]
        for (what, endsEpoch, change) in changes {
            let before = try epoch(bench)
            try change()
            #expect(try (epoch(bench) != before) == endsEpoch, "\(what)")
        }
    }

    @Test func theWriteTransactionIsOfNoEpoch() throws {
        let bench = try Bench()
        try bench.store.write { transaction in
            #expect(transaction.snapshot.authorityEpoch == nil)
        }
    }

    @Test func aSnapshotStaysInItsEpochWhileTheNextOneBegins() throws {
        let bench = try Bench()
        let ca = Entity.root("CA")
        try bench.createInstance("plant")
        try bench.register(ca, with: "plant")
        try bench.store.read { snapshot in
            let before = snapshot.authorityEpoch
            try bench.unregister(ca)
            #expect(snapshot.authorityEpoch == before)
            #expect(try snapshot.requireCa(ca.serialNumber).status == .active)
            #expect(try epoch(bench) != before)
        }
    }

    @Test func aChangeThatCameToNothingWasNeverSeen() throws {
        struct Fault: Error {}
        let bench = try Bench()
        let ca = Entity.root("CA")
        try bench.createInstance("plant")
        try bench.register(ca, with: "plant")
        #expect(try bench.verify(ca.device(), with: "plant", dryRun: true).isTrusted)
        let before = try epoch(bench)
        #expect(throws: Fault.self) {
            try bench.store.write { transaction in
                let old = try #require(try transaction.snapshot.ca(ca.serialNumber))
                var changed = old
                changed.status = .inactive
                try transaction.update(old, to: changed)
                // Not on the disk yet: nobody else sees it.
                #expect(try bench.verify(ca.device(), with: "plant", dryRun: true).isTrusted)
                throw Fault()
            }
        }
        #expect(try bench.verify(ca.device(), with: "plant", dryRun: true).isTrusted)
        #expect(try epoch(bench) == before)
        try bench.unregister(ca)
        #expect(try bench.verify(ca.device(), with: "plant", dryRun: true).reason == .caInactive)
    }

    // MARK: Tools

    @Test func oneRegistrysCaSaysNothingInAnotherOne() throws {
        let (first, second) = (try Bench(), try Bench())
        let ca = Entity.root("CA")
        for bench in [first, second] {
            try bench.createInstance("plant")
            try bench.register(ca, with: "plant")
        }
        try second.unregister(ca)
        // The same commits on both sides: the numbers alone do not tell them apart.
        try first.update(ca, name: "other")
        for _ in 0..<2 {
            #expect(try first.verify(ca.device(), with: "plant", dryRun: true, tools: first.tools).reason == .trusted)
            #expect(
                try second.verify(ca.device(), with: "plant", dryRun: true, tools: first.tools).reason == .caInactive)
        }
    }

    @Test func moreCasThanAreKeptAreAllFound() throws {
        let bench = try Bench()
        try bench.createInstance("plant")
        let authorities = (0..<300).map { Entity.root(TestName("CA \($0)"), key: .p256($0 % 5)) }
        for authority in authorities { try bench.register(authority, with: "plant") }
        for _ in 0..<2 {
            for authority in authorities {
                let verdict = try bench.verify(authority.device(), with: "plant", dryRun: true)
                #expect(verdict.ca == authority.serialNumber && verdict.isTrusted)
            }
        }
    }
}
