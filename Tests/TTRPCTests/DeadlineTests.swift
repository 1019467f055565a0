import Foundation
import Synchronization
import Testing

@testable import TTRPC

/// timeout_nano, in all its ranges.
@Suite struct DeadlineTests {
    private let server: TestServer
    private let client: RawClient

    init() throws {
        server = try TestServer()
        client = try RawClient(server.path)
    }

    @Test(arguments: [-1, -1_000_000_000, .min] as [Int64])
    func aNegativeTimeoutHasExpiredAlready(timeout: Int64) throws {
        try client.send(requestFrame(1, "Hold", timeout: timeout), requestFrame(3, "Echo", [1]))
        let answer = try client.answer()
        #expect(answer.stream == 1 && answer.status == 4, "\(answer)")
        // The handler was not called, so nothing came before this.
        #expect(try client.answer().stream == 3)
        try client.send(requestFrame(5, "Hold"))
        #expect(try server.calls.next().deadline == nil)
    }

    @Test func aTimeoutOfZeroIsNone() throws {
        try client.send(requestFrame(1, "Hold", timeout: 0))
        let call = try server.calls.next()
        #expect(call.deadline == nil)
        call.respond([1])
        #expect(try client.answer().status == 0)
    }

    @Test(arguments: [.max, .max - 1, 365 * 86_400 * 1_000_000_000] as [Int64])
    func aHugeTimeoutDoesNotOverflow(timeout: Int64) throws {
        try client.send(requestFrame(1, "Hold", timeout: timeout))
        let call = try server.calls.next()
        #expect(call.deadline != nil)
        call.respond([1])
        #expect(try client.answer().status == 0)
    }

    @Test(arguments: [1, 1_000_000, 30_000_000] as [Int64]) func aCallExpires(timeout: Int64) throws {
        let began = ContinuousClock.now
        try client.send(requestFrame(1, "Hold", timeout: timeout))
        let call = try server.calls.next()
        let answer = try client.answer()
        #expect(answer.stream == 1 && answer.status == 4, "\(answer)")
        #expect(ContinuousClock.now - began >= .nanoseconds(timeout))
        #expect(eventually { call.isOver })
        call.respond([9])
        try client.send(requestFrame(1, "Echo", [1]))
        #expect(try client.answer() == RawFrame(stream: 1, type: 2, data: [0x12, 1, 1]), "the late answer is dropped")
        #expect(server.isAtRest(connections: 1))
    }

    @Test func deadlinesExpireInTheirOrder() throws {
        let milliseconds: [Int64] = [90, 30, 60, 15, 75, 45]
        for (index, time) in milliseconds.enumerated() {
            try client.send(requestFrame(UInt32(index * 2 + 1), "Hold", timeout: time * 1_000_000))
        }
        let order = try milliseconds.map { _ in try client.answer() }
        #expect(order.allSatisfy { $0.status == 4 })
        let expected = milliseconds.indices.sorted { milliseconds[$0] < milliseconds[$1] }
        #expect(order.map(\.stream) == expected.map { UInt32($0 * 2 + 1) })
    }

    @Test func anEarlierDeadlineOnAStreamDoesNotEndALaterCall() throws {
        try client.send(requestFrame(1, "Hold", timeout: 40_000_000))
        try server.calls.next().respond([1])
        #expect(try client.answer().status == 0)
        try client.send(requestFrame(1, "Hold", timeout: 300_000_000_000), requestFrame(3, "Hold", timeout: 80_000_000))
        let second = try server.calls.next()
        // The first deadline has passed when this one has.
        let expired = try client.answer()
        #expect(expired.stream == 3 && expired.status == 4)
        #expect(!second.isOver)
        second.respond([2])
        #expect(try client.answer() == RawFrame(stream: 1, type: 2, data: [0x12, 1, 2]))
    }

    @Test func anExpiredCallTellsItsOwner() throws {
        let over = DispatchSemaphore(value: 0)
        try client.send(requestFrame(1, "Hold", timeout: 20_000_000))
        try server.calls.next().onOver { over.signal() }
        #expect(over.wait(timeout: .now() + 10) == .success)
        #expect(try client.answer().status == 4)
    }

    @Test func deadlinesOfCallsThatEndedAreForgotten() throws {
        let most = Atomic(0)
        let never = Method(service: "test.Service", name: "Never", kind: .unary) { call in
            most.max(call.connection.loop.timerCount, ordering: .relaxed)
        }
        let server = try TestServer(extra: [never])
        let client = try RawClient(server.path)
        // A request on a stream in flight ends the call there. So one stream is left in flight, with as many deadlines
        // behind it as may be before they are looked through, while another one makes the server look.
        var deadlines = 0
        for _ in 0..<10 {
            let rounds = deadlines / 2 + 60
            let frames = (0..<rounds).flatMap { _ in
                requestFrame(3, "Never", timeout: .max).encoded + requestFrame(3, "Never").encoded
            }
            try client.send(bytes: frames + requestFrame(3, "Never", timeout: .max).encoded)
            for _ in 0..<20 {
                try client.send(requestFrame(1, "Never", timeout: .max), requestFrame(1, "Never"))
            }
            try client.send(requestFrame(3, "Never"))
            for _ in 0..<rounds + 21 { #expect(try client.answer().status == 3) }
            deadlines += rounds
        }
        let count = most.load(ordering: .relaxed)
        #expect(count < 300, "\(count) deadlines were kept for two calls")
    }

    @Test func aStreamExpiresToo() throws {
        try client.send(requestFrame(1, "Watch", flags: 1, timeout: 20_000_000))
        let call = try server.calls.next()
        #expect(try client.answer().status == 4)
        #expect(call.send([1]) == .over)
    }
}

@Suite struct DeadlineHeapTests {
    @Test func entriesComeOutInOrder() {
        var generator = SeededGenerator()
        var deadlines = Deadlines()
        var expected: [Int64] = []
        for _ in 0..<2_000 {
            let moment = Int64.random(in: 0..<1_000, using: &generator)
            expected.append(moment)
            deadlines.insert(.init(nanoseconds: moment, token: 1, stream: 1))
        }
        #expect(deadlines.popFirst(dueAt: -1) == nil)
        var order: [Int64] = []
        while let entry = deadlines.popFirst(dueAt: 1_000) { order.append(entry.nanoseconds) }
        #expect(order == expected.sorted(), "\(generator)")
    }

    @Test func whatIsNotNeededIsClearedAwayAndTheRestKeepsItsOrder() {
        var generator = SeededGenerator()
        var deadlines = Deadlines()
        for moment in (0..<1_000).shuffled(using: &generator) {
            deadlines.insert(.init(nanoseconds: Int64(moment), token: 1, stream: UInt32(moment)))
        }
        var asked = 0
        for _ in 0..<1_000 {
            deadlines.noteStale { entry in
                asked += 1
                return entry.stream % 10 == 0
            }
        }
        #expect(asked >= 1_000 && asked < 5_000, "cleared away now and then, not each time: \(asked)")
        var order: [Int64] = []
        while let entry = deadlines.popFirst(dueAt: 1_000) { order.append(entry.nanoseconds) }
        #expect(order == (0..<100).map { $0 * 10 }, "\(generator)")
    }
}
