import Dispatch
import Synchronization
import TestPKI
import Testing

@testable import Registry

/// Turns are taken one at a time, first come, first served.
@Suite struct TurnsTests {
    @Test func turnsAreTakenInTheOrderInWhichTheyWereAskedFor() {
        let turns = Turns()
        let taken = Collected<Int>()
        let isOver = DispatchGroup()
        turns.take {
            for number in 0..<20 {
                DispatchQueue(label: "turn \(number)").async(group: isOver) {
                    turns.take { taken.append(number) }
                }
                // The next one asks when this one waits.
                var looks = 0
                while turns.waiting <= number, looks < 1_000_000_000 { looks += 1 }
            }
            #expect(taken.all.isEmpty)
        }
        isOver.wait()
        #expect(taken.all == Array(0..<20))
    }

    @Test func aTurnWithinATurnTraps() async {
        await #expect(processExitsWith: .failure) {
            let turns = Turns()
            turns.take { turns.take {} }
        }
    }

    @Test func noTwoTurnsAreTakenAtOnceAndAThrownErrorEndsOne() {
        struct Fault: Error {}
        let turns = Turns()
        let inside = Atomic<Int>(0)
        let most = Atomic<Int>(0)
        DispatchQueue.concurrentPerform(iterations: 2_000) { number in
            try? turns.take {
                most.max(inside.add(1, ordering: .relaxed).newValue, ordering: .relaxed)
                defer { inside.subtract(1, ordering: .relaxed) }
                if number.isMultiple(of: 3) { throw Fault() }
            }
        }
        #expect(most.load(ordering: .relaxed) == 1)
        #expect(turns.waiting == 0)
        #expect(turns.take { true })
    }
}
