import Foundation
import Synchronization
import TTRPC
import Testing

/// Server streams.
@Suite struct StreamTests {
    private let server: TestServer
    private let client: RawClient

    init() throws {
        server = try TestServer()
        client = try RawClient(server.path)
    }

    @Test(arguments: [0, 1, 2, 4, 0xff] as [UInt8]) func aStreamOpensWithWhateverFlags(flags: UInt8) throws {
        try client.send(requestFrame(1, "Count", flags: flags))
        for number: UInt8 in 1...3 { #expect(try client.answer() == RawFrame(stream: 1, type: 3, data: [number])) }
        #expect(try client.answer() == RawFrame(stream: 1, type: 3, flags: 5))
        #expect(eventually { server.isAtRest(connections: 1) })
    }

    @Test func aFailureIsAResponseWithItsStatus() throws {
        try client.send(requestFrame(1, "Watch", flags: 1))
        let call = try server.calls.next()
        #expect(call.send([1]) == .sent)
        call.fail(RPCFailure(code: 11, message: "ahead"))
        #expect(try client.answer() == RawFrame(stream: 1, type: 3, data: [1]))
        let answer = try client.answer()
        #expect(answer.type == 2 && answer.status == 11 && answer.stream == 1)
        #expect(call.send([2]) == .over)
    }

    @Test func streamsAndUnaryCallsShareAConnection() throws {
        for stream: UInt32 in [1, 3, 5] { try client.send(requestFrame(stream, "Watch", flags: 1)) }
        let calls = try (0..<3).map { _ in try server.calls.next() }
        for round: UInt8 in 0..<10 {
            for call in calls { #expect(call.send([round]) == .sent) }
            try client.send(requestFrame(101, "Echo", [round]))
            var frames: [RawFrame] = []
            for _ in 0..<4 { frames.append(try client.answer()) }
            #expect(Set(frames.map(\.stream)) == [1, 3, 5, 101])
        }
        for call in calls { call.finish() }
        for _ in calls { #expect(try client.answer().flags == 5) }
    }

    @Test func anOpenStreamIsClosedByItsClientOnce() throws {
        try client.send(requestFrame(1, "Watch", flags: 2), RawFrame(stream: 1, type: 3, flags: 5))
        let call = try server.calls.next()
        #expect(call.send([1]) == .sent)
        #expect(try client.answer() == RawFrame(stream: 1, type: 3, data: [1]))
        #expect(!call.isOver)
        // Once more is once too often.
        try client.send(RawFrame(stream: 1, type: 3, flags: 5))
        #expect(try client.answer().status == 3)
        #expect(eventually { call.isOver })
    }

    @Test func dataOnAServerStreamEndsIt() throws {
        try client.send(requestFrame(1, "Watch", flags: 1), RawFrame(stream: 1, type: 3, data: [1]))
        let call = try server.calls.next()
        #expect(try client.answer().status == 3)
        #expect(eventually { call.isOver })
        try client.send(requestFrame(1, "Echo", [1]))
        #expect(try client.answer().status == 0)
    }

    @Test func aSlowReaderFillsItsWindowAndNoMore() throws {
        try client.send(requestFrame(1, "Watch", flags: 1))
        let call = try server.calls.next()
        let writable = DispatchSemaphore(value: 0)
        call.onWritable { writable.signal() }
        let message = [UInt8](repeating: 7, count: 10_000)
        var sent = 0
        while call.send(message) == .sent, sent < 1_000 { sent += 1 }
        // The socket's own buffer, and the window.
        #expect(sent < 100, "\(sent) messages of 10,000 bytes were taken")
        #expect(server.server.statistics.unsentBytes <= 262_144)
        for _ in 0..<sent { #expect(try client.answer().data.count == 10_000) }
        // It may have been told of room before, too.
        while call.send(message) == .full { #expect(writable.wait(timeout: .now() + 10) == .success) }
        call.finish()
        #expect(try client.answer().data.count == 10_000)
        #expect(try client.answer().flags == 5)
    }

    @Test func aSenderThatWaitsGetsEverythingThroughInOrder() throws {
        try client.send(requestFrame(1, "Watch", flags: 1), requestFrame(3, "Watch", flags: 1))
        let calls = [try server.calls.next(), try server.calls.next()]
        let done = DispatchGroup()
        for call in calls {
            done.enter()
            Thread.detachNewThread {
                for number in 0..<60 {
                    _ = call.sendWaiting([UInt8](repeating: UInt8(number), count: number % 3 == 0 ? 1_000_000 : 1_000))
                }
                call.finish()
                done.leave()
            }
        }
        var next: [UInt32: Int] = [1: 0, 3: 0]
        var ends = 0
        while ends < 2 {
            let frame = try client.answer()
            if frame.flags == 5 {
                ends += 1
                #expect(next[frame.stream] == 60)
            } else {
                #expect(frame.data.first.map(Int.init) == next[frame.stream])
                next[frame.stream, default: 0] += 1
            }
        }
        #expect(done.wait(timeout: .now() + 10) == .success)
        #expect(eventually { server.isAtRest(connections: 1) })
    }

    @Test func aMessageTooLongForAFrameEndsTheStream() throws {
        try client.send(requestFrame(1, "Watch", flags: 1))
        let call = try server.calls.next()
        #expect(call.send([UInt8](repeating: 0, count: 4_194_304)) == .sent)
        #expect(try client.answer().data.count == 4_194_304)
        #expect(call.send([UInt8](repeating: 0, count: 4_194_305)) == .over)
        #expect(try client.answer().status == 8)
    }

    @Test func aSenderThatWaitsIsWokenWhenItsPeerGoes() throws {
        var peer: RawClient? = try RawClient(server.path)
        try peer?.send(requestFrame(1, "Watch", flags: 1))
        let call = try server.calls.next()
        let done = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            while call.sendWaiting([UInt8](repeating: 0, count: 100_000)) {}
            done.signal()
        }
        #expect(eventually { server.server.statistics.unsentBytes > 0 })
        peer = nil
        #expect(done.wait(timeout: .now() + 10) == .success)
        #expect(call.isOver)
        #expect(eventually { server.isAtRest(connections: 1) })
    }

    @Test func aWatchThatNobodyReadsIsCutOff() throws {
        var limits = ServerLimits()
        limits.stall = .milliseconds(200)
        let server = try TestServer(limits: limits)
        let client = try RawClient(server.path)
        try client.send(requestFrame(1, "Watch", flags: 1))
        let call = try server.calls.next()
        let over = DispatchSemaphore(value: 0)
        call.onOver { over.signal() }
        while call.send([UInt8](repeating: 0, count: 50_000)) == .sent {}
        #expect(over.wait(timeout: .now() + 10) == .success)
        #expect(eventually { server.isAtRest() && server.server.statistics.cutOff == 1 })
    }

    @Test func aStreamsRequestIsShort() throws {
        try client.send(requestFrame(1, "Watch", [UInt8](repeating: 0, count: 17_000), flags: 1))
        #expect(try client.answer().status == 8)
    }

    @Test func whatComesAfterTheAnswerIsDropped() throws {
        try client.send(requestFrame(1, "Hold"))
        let call = try server.calls.next()
        call.respond([1])
        call.respond([2])
        call.fail(RPCFailure(code: 5, message: ""))
        call.finish()
        #expect(call.send([1]) == .over)
        try client.send(requestFrame(3, "Watch", flags: 1))
        let stream = try server.calls.next()
        stream.respond([1])
        stream.finish()
        stream.finish()
        #expect(try client.answer() == RawFrame(stream: 1, type: 2, data: [0x12, 1, 1]))
        #expect(try client.answer() == RawFrame(stream: 3, type: 3, flags: 5))
        try client.send(requestFrame(5, "Echo", [5]))
        #expect(try client.answer().stream == 5)
    }

    @Test func theOwnerIsToldOfAnEndFromOutsideOnly() throws {
        let ends = Atomic(0)
        try client.send(requestFrame(1, "Hold"), requestFrame(3, "Hold"))
        let calls = [try server.calls.next(), try server.calls.next()]
        for call in calls { call.onOver { ends.add(1, ordering: .relaxed) } }
        calls[0].respond([])
        #expect(try client.answer().stream == 1)
        #expect(ends.load(ordering: .relaxed) == 0)
        try client.send(requestFrame(3, "Echo"))
        #expect(try client.answer().status == 3)
        #expect(eventually { ends.load(ordering: .relaxed) == 1 })
        // Too late: at once.
        calls[1].onOver { ends.add(1, ordering: .relaxed) }
        calls[0].onOver { ends.add(100, ordering: .relaxed) }
        #expect(ends.load(ordering: .relaxed) == 2)
    }
}
