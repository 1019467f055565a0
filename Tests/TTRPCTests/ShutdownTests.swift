import Foundation
import TTRPC
import Testing

/// The end of a server.
@Suite struct ShutdownTests {
    private let server: TestServer

    init() throws { server = try TestServer() }

    /// Shuts down on a thread of its own; the semaphore tells the end.
    private func shutDown(_ server: TestServer, within time: Duration) -> DispatchSemaphore {
        let done = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            server.server.shutDown(within: time)
            done.signal()
        }
        return done
    }

    private func expectDone(_ done: DispatchSemaphore, sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(done.wait(timeout: .now() + 3) == .success, sourceLocation: sourceLocation)
    }

    @Test func idleConnectionsAreClosedAtOnce() throws {
        let clients = try (0..<20).map { _ in try RawClient(server.path) }
        for client in clients {
            try client.send(requestFrame(1, "Echo"))
            _ = try client.answer()
        }
        let done = shutDown(server, within: .seconds(20))
        for client in clients { #expect(try client.frame() == nil) }
        expectDone(done)
        #expect(throws: RawClientError.self) { try RawClient(server.path) }
        #expect(!FileManager.default.fileExists(atPath: server.path))
    }

    @Test func callsInFlightAreAnsweredAndNewOnesAreRefused() throws {
        let client = try RawClient(server.path)
        try client.send(requestFrame(1, "Hold"))
        let call = try server.calls.next()
        let done = shutDown(server, within: .seconds(20))
        // No new connection: so the end has begun.
        #expect(eventually { (try? RawClient(server.path)) == nil })
        try client.send(requestFrame(3, "Echo"))
        let refusal = try client.answer()
        #expect(refusal.stream == 3 && refusal.status == 14, "\(refusal)")
        call.respond([1])
        #expect(try client.answer() == RawFrame(stream: 1, type: 2, data: [0x12, 1, 1]))
        #expect(try client.frame() == nil)
        expectDone(done)
    }

    @Test func streamsEndAsUnavailableAfterWhatWasSent() throws {
        let client = try RawClient(server.path)
        try client.send(requestFrame(1, "Watch", flags: 1))
        let call = try server.calls.next()
        #expect(call.send([1]) == .sent)
        #expect(try client.answer().data == [1])
        let done = shutDown(server, within: .seconds(20))
        let end = try client.answer()
        #expect(end.type == 2 && end.status == 14 && end.stream == 1)
        #expect(try client.frame() == nil)
        #expect(call.isOver && call.send([2]) == .over)
        expectDone(done)
    }

    @Test func aSenderThatWaitsIsWoken() throws {
        let client = try RawClient(server.path)
        try client.send(requestFrame(1, "Watch", flags: 1))
        let call = try server.calls.next()
        let sender = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            while call.sendWaiting([UInt8](repeating: 0, count: 100_000)) {}
            sender.signal()
        }
        #expect(eventually { server.server.statistics.unsentBytes > 0 })
        let done = shutDown(server, within: .seconds(20))
        #expect(sender.wait(timeout: .now() + 3) == .success)
        // The client reads what was sent before, and the end.
        var last: RawFrame?
        while let frame = try client.frame() { last = frame }
        #expect(last?.status == 14)
        expectDone(done)
    }

    @Test func aPeerThatDoesNotReadDoesNotHoldUpTheEnd() throws {
        let client = try RawClient(server.path)
        try client.send(requestFrame(1, "Large", Array("3000000".utf8)))
        #expect(eventually { server.server.statistics.unsentBytes > 1_000_000 })
        let began = ContinuousClock.now
        server.server.shutDown(within: .milliseconds(200))
        let time = ContinuousClock.now - began
        #expect(time >= .milliseconds(200) && time < .seconds(2), "\(time)")
        #expect(server.isAtRest())
    }

    @Test func aCallThatIsNeverAnsweredDoesNotHoldUpTheEnd() throws {
        let client = try RawClient(server.path)
        try client.send(requestFrame(1, "Hold"))
        let call = try server.calls.next()
        server.server.shutDown(within: .milliseconds(50))
        #expect(call.isOver)
        call.respond([1])
        try client.waitForEnd()
    }

    @Test func answersFromOtherThreadsArriveWhileTheServerEnds() throws {
        for _ in 0..<20 {
            let server = try TestServer()
            let clients = try (0..<4).map { _ in try RawClient(server.path) }
            for client in clients {
                for stream: UInt32 in 0..<8 { try client.send(requestFrame(stream * 2 + 1, "Hold")) }
            }
            let calls = try (0..<32).map { _ in try server.calls.next() }
            let done = shutDown(server, within: .seconds(10))
            DispatchQueue.concurrentPerform(iterations: 4) { thread in
                for index in stride(from: thread, to: 32, by: 4) { calls[index].respond([UInt8(index)]) }
            }
            for client in clients {
                for _ in 0..<8 { #expect(try client.answer().status == 0) }
                #expect(try client.frame() == nil)
            }
            expectDone(done)
        }
    }

    @Test func whatWasSentBeforeTheEndGetsAnAnswer() throws {
        // Far more than one read takes.
        let count = 5_000
        let client = try RawClient(server.path)
        try client.send(requestFrame(1, "Hold"))
        let call = try server.calls.next()
        let bytes = (1...count).flatMap { requestFrame(UInt32($0 * 2 + 1), "Echo", [1]).encoded }
        var answers = 0
        call.respond([])
        #expect(try client.sendSome(bytes, seconds: 10) == bytes.count)
        let done = shutDown(server, within: .seconds(10))
        while let frame = try? client.frame() {
            answers += 1
            #expect([0, 14].contains(frame.status))
        }
        #expect(answers == count + 1)
        expectDone(done)
    }

    @Test func whoWaitsForRequestBytesIsRefusedAndNotForgotten() throws {
        var limits = ServerLimits()
        limits.connections = 1000
        limits.requestBytes = 1000
        limits.requestBytesInFlight = 8000
        // Where it takes no more connections, the waiter's own loop has heard of the end.
        limits.eventLoops = 1
        let server = try TestServer(limits: limits)
        let payload = [UInt8](repeating: 0, count: 900)
        let holders = try (0..<3).map { _ in try RawClient(server.path) }
        let calls = try holders.map { holder in
            try holder.send(requestFrame(1, "Hold", payload))
            return try server.calls.next()
        }
        let waiter = try RawClient(server.path)
        try waiter.send(requestFrame(1, "Hold", payload))
        #expect(eventually { waiter.unreadByServer == 0 })
        let done = shutDown(server, within: .seconds(20))
        #expect(eventually { (try? RawClient(server.path)) == nil })
        for call in calls { call.respond([]) }
        for holder in holders { #expect(try holder.answer().status == 0) }
        #expect(try waiter.answer().status == 14)
        #expect(try waiter.frame() == nil)
        expectDone(done)
    }

    @Test func aThreadThatBeginsAfterTheEndIsNoEventLoop() throws {
        let client = try RawClient(server.path)
        try client.send(requestFrame(1, "Watch", flags: 1))
        let call = try server.calls.next()
        server.server.shutDown(within: .seconds(5))
        // A new thread may get the name of one that has ended. On an event loop this would be a fault.
        let done = DispatchGroup()
        for _ in 0..<64 {
            done.enter()
            Thread.detachNewThread {
                #expect(!call.sendWaiting([1]))
                done.leave()
            }
        }
        #expect(done.wait(timeout: .now() + 10) == .success)
    }

    @Test func aSecondShutDownWaitsForTheFirst() throws {
        let client = try RawClient(server.path)
        try client.send(requestFrame(1, "Hold"))
        let call = try server.calls.next()
        let both = [shutDown(server, within: .seconds(20)), shutDown(server, within: .seconds(20))]
        #expect(eventually { (try? RawClient(server.path)) == nil })
        #expect(both[1].wait(timeout: .now() + 0.02) == .timedOut)
        call.respond([])
        #expect(try client.answer().status == 0)
        for done in both { expectDone(done) }
    }

    @Test func aServerStartsOnceOnly() throws {
        let path = server.path + "3"
        let listener = try Listener.bind(path: path, mode: 0o600, label: "third", usesReserve: false)
        #expect(throws: SocketError.alreadyStarted) { try server.server.start([listener]) }
        #expect(server.server.probe {} == 2)
        server.server.shutDown(within: .zero)
        #expect(server.server.probe {} == 0)
    }

    @Test func everyLoopGivesASignOfLife() {
        let signs = DispatchSemaphore(value: 0)
        let asked = server.server.probe { signs.signal() }
        #expect(asked == 2)
        for _ in 0..<asked { #expect(signs.wait(timeout: .now() + 10) == .success) }
    }
}
