import Dispatch
import Registry
import RegistryStore
import Synchronization
import Testing

@testable import CaregServer

/// Queues of work, and what is remembered of refusals.
@Suite struct WorkerPoolTests {
    private func contender(_ number: Int) -> Contender {
        Contender(userID: 0, processID: Int32(number))
    }

    @Test func contendersTakeTurnsAndEachKeepsItsOrder() {
        var queue = FairQueue<String>()
        for number in 0..<4 { queue.append("a\(number)", of: contender(1)) }
        for number in 0..<2 { queue.append("b\(number)", of: contender(2)) }
        var taken: [String] = []
        while let next = queue.popFirst() { taken.append(next) }
        #expect(taken.filter { $0.hasPrefix("a") } == ["a0", "a1", "a2", "a3"])
        #expect(taken.filter { $0.hasPrefix("b") } == ["b0", "b1"])
        #expect(taken.firstIndex(of: "b0").map { $0 <= 1 } == true)
        #expect(taken.firstIndex(of: "b1").map { $0 <= 3 } == true)
        #expect(queue.count == 0)
    }

    @Test(arguments: [UInt64(1), 2, 3]) func nothingIsLostInALongMixedRow(seed: UInt64) {
        var generator = seed
        func random(_ bound: UInt64) -> UInt64 {
            generator = generator &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (generator >> 33) % bound
        }
        var queue = FairQueue<(Int, Int)>()
        var sent = [Int](repeating: 0, count: 5)
        var got = [Int](repeating: 0, count: 5)
        func take() {
            guard let (who, number) = queue.popFirst() else { return }
            #expect(number == got[who], "seed \(seed)")
            got[who] += 1
        }
        for _ in 0..<20_000 {
            if random(100) < 55 {
                let who = Int(random(5))
                queue.append((who, sent[who]), of: contender(who))
                sent[who] += 1
            } else {
                take()
            }
        }
        while queue.count > 0 { take() }
        #expect(got == sent, "seed \(seed)")
    }

    @Test func allWorkIsDoneByAsManyThreadsAsThereAre() throws {
        let tools = Atomic<Int>(0)
        let done = Atomic<Int>(0)
        let group = DispatchGroup()
        let pool = try WorkerPool<Int>(label: "test", threads: 3, capacity: 10_000) {
            tools.add(1, ordering: .relaxed).newValue
        }
        for number in 0..<5_000 {
            group.enter()
            let isTaken = pool.submit(for: contender(number % 7)) { tool in
                #expect((1...3).contains(tool))
                done.add(1, ordering: .relaxed)
                group.leave()
            }
            #expect(isTaken)
        }
        #expect(group.wait(timeout: .now() + 20) == .success)
        #expect(done.load(ordering: .relaxed) == 5_000)
        #expect((1...3).contains(tools.load(ordering: .relaxed)))
        #expect(pool.waiting == 0)
    }

    @Test func pastItsCapacityAPoolTakesNothingMore() throws {
        let pool = try WorkerPool<Void>(label: "test", threads: 1, capacity: 2, makeTool: {})
        let isHeld = DispatchSemaphore(value: 0)
        let goOn = DispatchSemaphore(value: 0)
        let end = DispatchSemaphore(value: 0)
        #expect(
            pool.submit(for: contender(1)) {
                isHeld.signal()
                goOn.wait()
            })
        #expect(isHeld.wait(timeout: .now() + 10) == .success)
        #expect(pool.submit(for: contender(1)) {})
        #expect(pool.submit(for: contender(2)) { end.signal() })
        #expect(!pool.submit(for: contender(3)) {})
        goOn.signal()
        #expect(end.wait(timeout: .now() + 10) == .success)
    }

    @Test func theRingKeepsTheLastRefusals() {
        let ring = RefusalRing(capacity: 3)
        let caller = Caller(userID: 1, groupID: 1, processID: 1)
        for number in 0..<5 {
            ring.append(
                RefusalRecord(
                    time: WallTime(milliseconds: Int64(number)), caller: caller, method: "m", reason: "\(number)"))
        }
        #expect(ring.records.map(\.reason) == ["2", "3", "4"])
        #expect(ring.records.map(\.number) == [3, 4, 5])
    }

    @Test func linesPastTheirRateAreCountedAndToldWithTheNext() {
        let throttle = LineThrottle(linesPerSecond: 2)
        let first = WallTime(milliseconds: 1_000)
        #expect((0..<4).map { _ in throttle.admit(at: first) } == [0, 0, nil, nil])
        #expect(throttle.admit(at: WallTime(milliseconds: 2_000)) == 2)
        #expect(throttle.admit(at: WallTime(milliseconds: 2_001)) == 0)
    }
}
