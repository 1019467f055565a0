import LMDB
import Registry
import RegistryStore
import Testing

@testable import CaregServer

/// Which calls the status counts as failed.
@Suite struct FaultTallyTests {
    @Test func damageAndADiskThatFailsAreCountedAndAFullDiskIsNot() {
        let tally = FaultTally()
        tally.note(StoreFault.storage(.diskFull))
        #expect(tally.count == 0)
        tally.note(StoreFault.damaged(table: "cas", key: [1], finding: .missing))
        tally.note(StoreFault.storage(.damaged))
        #expect(tally.count == 2)
    }
}
