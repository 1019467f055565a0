import Foundation
import TTRPC
import Testing

/// Peers that stop in the middle, and peers that only wait.
@Suite struct StallTests {
    private static let stall: Duration = .milliseconds(300)

    private func server(_ change: (inout ServerLimits) -> Void = { _ in }) throws -> TestServer {
        var limits = ServerLimits()
        limits.stall = Self.stall
        change(&limits)
        return try TestServer(limits: limits)
    }

    private func expectCutOff(_ client: RawClient, after began: ContinuousClock.Instant) throws {
        try client.waitForEnd()
        let time = ContinuousClock.now - began
        #expect(time >= Self.stall, "cut off after \(time)")
    }

    @Test(arguments: [1, 5, 9, 10, 11, 60_000]) func aPeerThatStallsInAFrameIsCutOff(bytes: Int) throws {
        let server = try server()
        let client = try RawClient(server.path)
        let began = ContinuousClock.now
        try client.send(bytes: Array(requestFrame(1, "Echo", [UInt8](repeating: 0, count: 100_000)).encoded[..<bytes]))
        try expectCutOff(client, after: began)
        #expect(eventually { server.isAtRest() && server.server.statistics.cutOff == 1 })
    }

    @Test func aPeerThatStallsInAFrameToBeSkippedIsCutOff() throws {
        let server = try server()
        let client = try RawClient(server.path)
        let began = ContinuousClock.now
        try client.send(bytes: [0, 0x10, 0, 0, 0, 0, 0, 1, 9, 0, 1, 2, 3])
        try expectCutOff(client, after: began)
    }

    @Test func aPeerThatLeavesAnswersUnreadIsCutOff() throws {
        let server = try server()
        let client = try RawClient(server.path)
        let began = ContinuousClock.now
        try client.send(requestFrame(1, "Large", Array("3000000".utf8)))
        #expect(eventually { server.server.statistics.cutOff == 1 })
        let time = ContinuousClock.now - began
        #expect(time >= Self.stall, "cut off after \(time)")
        #expect(eventually { server.isAtRest() })
    }

    @Test func aPeerThatReadsSlowlyLives() throws {
        let server = try server()
        let client = try RawClient(server.path)
        try client.send(requestFrame(1, "Large", Array("3000000".utf8)))
        // Something is read in each third of the stall time, and it takes longer than that by far.
        let pause = DispatchSemaphore(value: 0)
        for _ in 0..<8 {
            _ = pause.wait(timeout: .now() + 0.1)
            #expect(try client.readSome() > 0)
        }
        #expect(server.server.statistics.cutOff == 0)
        #expect(try client.answer().data.count > 3_000_000)
    }

    @Test func anIdlePeerLives() throws {
        let server = try server()
        let idle = try RawClient(server.path)
        let waiting = try RawClient(server.path)
        try waiting.send(requestFrame(1, "Hold"))
        let call = try server.calls.next()
        // That is for how long they have nothing to say.
        let clock = try RawClient(server.path)
        for _ in 0..<3 {
            try clock.send(requestFrame(1, "Hold", timeout: 300_000_000))
            #expect(try clock.answer().status == 4)
        }
        call.respond([1])
        #expect(try waiting.answer().status == 0)
        try idle.send(requestFrame(1, "Echo", [1]))
        #expect(try idle.answer().status == 0)
        #expect(server.server.statistics.cutOff == 0)
    }

    @Test func aPeerThatSendsByDropsLives() throws {
        let server = try server()
        let client = try RawClient(server.path)
        let frame = requestFrame(1, "Echo", [1, 2, 3]).encoded
        let pause = DispatchSemaphore(value: 0)
        for byte in frame[..<12] {
            try client.send(bytes: [byte])
            _ = pause.wait(timeout: .now() + 0.05)
        }
        try client.send(bytes: Array(frame[12...]))
        #expect(try client.answer().status == 0)
        #expect(server.server.statistics.cutOff == 0)
    }

    @Test func aPeerThatSendsByDropsIsCutOffWhereOthersWaitForItsBytes() throws {
        // 3,000 bytes are shared.
        let server = try server {
            $0.connections = 1000
            $0.requestBytes = 1000
            $0.requestBytesInFlight = 8000
        }
        let droppers = try (0..<3).map { _ in try RawClient(server.path) }
        let frame = RawFrame(stream: 1, type: 1, data: [UInt8](repeating: 0, count: 1000)).encoded
        for dropper in droppers { try dropper.send(bytes: Array(frame[..<10])) }
        #expect(eventually { server.server.statistics.requestBytes > 2_900 })
        let client = try RawClient(server.path)
        try client.send(requestFrame(1, "Echo", [UInt8](repeating: 0, count: 900)))
        let pause = DispatchSemaphore(value: 0)
        var sent = 10
        while sent < 200, !client.hasInput(seconds: 0) {
            for dropper in droppers { _ = try? dropper.send(bytes: [frame[sent]]) }
            sent += 1
            _ = pause.wait(timeout: .now() + 0.02)
        }
        #expect(try client.answer().status == 0)
        #expect(server.server.statistics.cutOff >= 1)
    }

    @Test func aPeerThatSendsNothingHasLessTimeWhereOthersWaitForItsBytes() throws {
        // 3,000 bytes are shared.
        let server = try server {
            $0.stall = .seconds(8)
            $0.connections = 1000
            $0.requestBytes = 1000
            $0.requestBytesInFlight = 8000
        }
        let frame = RawFrame(stream: 1, type: 1, data: [UInt8](repeating: 0, count: 1000)).encoded
        let stalled = try (0..<3).map { _ in try RawClient(server.path) }
        for peer in stalled { try peer.send(bytes: Array(frame[..<900])) }
        #expect(eventually { server.server.statistics.requestBytes > 2_900 })
        let began = ContinuousClock.now
        let client = try RawClient(server.path)
        try client.send(requestFrame(1, "Echo", [UInt8](repeating: 0, count: 900)))
        #expect(try client.answer().status == 0)
        #expect(ContinuousClock.now - began < .seconds(6))
        #expect(server.server.statistics.cutOff >= 1)
    }

    @Test func anAnswerThatWasNotOfferedYetIsNotUnread() throws {
        let entered = DispatchSemaphore(value: 0)
        let leave = DispatchSemaphore(value: 0)
        let block = Method(service: "test.Service", name: "Block", kind: .unary) { call in
            entered.signal()
            _ = leave.wait(timeout: .now() + 10)
            call.respond([])
        }
        var limits = ServerLimits()
        limits.stall = .milliseconds(200)
        limits.eventLoops = 1
        let server = try TestServer(limits: limits, extra: [block])
        let staller = try RawClient(server.path)
        let blocker = try RawClient(server.path)
        let client = try RawClient(server.path)
        try client.send(requestFrame(1, "Hold"))
        let call = try server.calls.next()
        try staller.send(bytes: [0])
        try blocker.send(requestFrame(1, "Block"))
        #expect(entered.wait(timeout: .now() + 10) == .success)
        // The next turn of the loop has this answer in it, and the look for those that stall, which is overdue by then.
        call.respond([1])
        _ = entered.wait(timeout: .now() + 0.06)
        leave.signal()
        #expect(try client.answer().status == 0)
        #expect(try blocker.answer().status == 0)
    }

    @Test func timeInWhichReadingIsPausedDoesNotCount() throws {
        let server = try server { $0.requestsPerConnection = 1 }
        let client = try RawClient(server.path)
        // The second frame's beginning is there, and its rest is sent when the server reads again.
        let second = requestFrame(3, "Echo", [1]).encoded
        try client.send(bytes: requestFrame(1, "Hold").encoded + second[..<5])
        let call = try server.calls.next()
        let clock = try RawClient(server.path)
        try clock.send(requestFrame(1, "Echo", [1]))
        #expect(try clock.answer().status == 0)
        call.respond([])
        #expect(try client.answer().status == 0)
        try client.send(bytes: Array(second[5...]))
        #expect(try client.answer().stream == 3)

        try client.send(bytes: requestFrame(5, "Hold").encoded + requestFrame(7, "Echo", [1]).encoded)
        let held = try server.calls.next()
        for _ in 0..<3 {
            try clock.send(requestFrame(1, "Hold", timeout: 200_000_000))
            _ = try server.calls.next()
            #expect(try clock.answer().status == 4)
        }
        held.respond([])
        #expect(try client.answer().stream == 5)
        #expect(try client.answer().stream == 7)
    }
}
