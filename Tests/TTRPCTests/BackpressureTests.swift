import Foundation
import Synchronization
import TTRPC
import Testing

/// Peers that ask for more than they read.
@Suite struct BackpressureTests {
    private func server(_ change: (inout ServerLimits) -> Void = { _ in }, extra: [Method] = []) throws -> TestServer {
        var limits = ServerLimits()
        change(&limits)
        return try TestServer(limits: limits, extra: extra)
    }

    private func large(_ stream: Int, _ bytes: Int, _ method: String = "Large") -> RawFrame {
        requestFrame(UInt32(stream * 2 + 1), method, Array("\(bytes)".utf8))
    }

    /// The greatest of many looks at a figure, until a condition holds.
    private func highest(_ figure: () -> Int, until isDone: () throws -> Bool) throws -> Int {
        var highest = 0
        while true {
            highest = max(highest, figure())
            if try isDone() { return max(highest, figure()) }
        }
    }

    @Test func readingPausesWhileAnswersAreUnread() throws {
        let server = try server()
        let client = try RawClient(server.path)
        for number in 0..<200 { try client.send(large(number, 300_000)) }
        // Two MiB is the share of one connection; the answer that goes past it is the last.
        #expect(eventually { server.server.statistics.unsentBytes > 2_000_000 })
        var answered = 0
        let most = try highest({ server.server.statistics.unsentBytes }) { () throws in
            let answer = try client.answer()
            #expect(answer.stream == UInt32(answered * 2 + 1) && answer.status == 0)
            answered += 1
            return answered == 200
        }
        #expect(most < 2_097_152 + 300_000 + 262_144, "\(most) bytes were unsent")
        #expect(eventually { server.isAtRest(connections: 1) })
    }

    @Test func allConnectionsTogetherStayWithinTheLimit() throws {
        let server = try server { $0.unsentBytes = 4_000_000 }
        let clients = try (0..<40).map { _ in try RawClient(server.path) }
        for client in clients { for number in 0..<20 { try client.send(large(number, 100_000)) } }
        #expect(eventually { server.server.statistics.unsentBytes >= 4_000_000 })
        var index = 0
        let most = try highest({ server.server.statistics.unsentBytes }) { () throws in
            for _ in 0..<20 { #expect(try clients[index].answer().status == 0) }
            index += 1
            return index == clients.count
        }
        #expect(most < 8_000_000, "\(most) bytes were unsent")
        #expect(eventually { server.isAtRest(connections: 40) })
    }

    @Test func aPeerThatReadsIsAnsweredWhileOthersDoNot() throws {
        let server = try server { $0.unsentBytes = 1_000_000 }
        let hogs = try (0..<10).map { _ in try RawClient(server.path) }
        for hog in hogs { for number in 0..<10 { try hog.send(large(number, 200_000)) } }
        #expect(eventually { server.server.statistics.unsentBytes >= 1_000_000 })
        let client = try RawClient(server.path)
        for number in 0..<200 {
            try client.send(large(number, 50_000))
            #expect(try client.answer(seconds: 2).status == 0)
        }
        withExtendedLifetime(hogs) {}
    }

    // MARK: Large answers, made elsewhere

    @Test func largeAnswersAreMadeOneAfterAnotherWhereTheyAskForRoom() throws {
        let server = try server()
        let client = try RawClient(server.path)
        for number in 0..<300 { try client.send(large(number, 1_000_000, "LargeLater")) }
        #expect(eventually { server.server.statistics.unsentBytes > 500_000 })
        var streams: Set<UInt32> = []
        let most = try highest({ server.server.statistics.unsentBytes }) { () throws in
            let answer = try client.answer()
            #expect(answer.status == 0)
            streams.insert(answer.stream)
            return streams.count == 300
        }
        #expect(most < 2_097_152 + 262_144, "\(most) bytes were unsent")
        #expect(eventually { server.isAtRest(connections: 1) })
    }

    @Test func whoWaitsForTheRoomOfAllGoesOnWhenThereIsSome() throws {
        let server = try server {
            $0.unsentBytes = 4_000_000
            $0.stall = .seconds(30)
        }
        var hogs = try (0..<8).map { _ in try RawClient(server.path) }
        for hog in hogs { try hog.send(large(0, 1_000_000)) }
        #expect(eventually { server.server.statistics.unsentBytes >= 4_000_000 })
        let clients = try (0..<20).map { _ in try RawClient(server.path) }
        for client in clients { try client.send(large(0, 900_000, "LargeLater")) }
        #expect(eventually { server.server.statistics.callsInFlight == 20 })
        #expect(!clients[0].hasInput(seconds: 0.02))
        hogs.removeAll()
        // In the order in which they get their turn.
        var waiting = clients
        let areAnswered = try eventually { () throws in
            let answered = waiting.indices.filter { waiting[$0].hasInput(seconds: 0) }
            for index in answered { #expect(try waiting[index].answer().status == 0) }
            for index in answered.reversed() { waiting.remove(at: index) }
            return waiting.isEmpty
        }
        #expect(areAnswered)
        #expect(eventually { server.isAtRest(connections: 20) })
    }

    @Test func whoLeavesAnswersUnreadHasLessTimeWhileOthersWait() throws {
        let server = try server {
            $0.unsentBytes = 4_000_000
            $0.stall = .seconds(2)
        }
        let hogs = try (0..<8).map { _ in try RawClient(server.path) }
        for hog in hogs { try hog.send(large(0, 1_000_000)) }
        #expect(eventually { server.server.statistics.unsentBytes >= 4_000_000 })
        let client = try RawClient(server.path)
        try client.send(large(0, 900_000, "LargeLater"))
        let began = ContinuousClock.now
        #expect(try client.answer().status == 0)
        #expect(ContinuousClock.now - began < .seconds(2))
        #expect(server.server.statistics.cutOff > 0)
        withExtendedLifetime(hogs) {}
    }

    @Test func theListenerWithTheReserveHasRoomWhereTheOthersHaveNone() throws {
        let server = try server {
            $0.unsentBytes = 4_000_000
            $0.stall = .seconds(30)
        }
        let hogs = try (0..<3).map { _ in try RawClient(server.path + "2") }
        for hog in hogs { try hog.send(large(0, 1_300_000)) }
        #expect(eventually { server.server.statistics.unsentBytes >= 3_000_000 })
        let broker = try RawClient(server.path + "2")
        try broker.send(large(0, 100_000, "LargeLater"))
        #expect(eventually { server.server.statistics.callsInFlight == 1 })
        let admin = try RawClient(server.path)
        try admin.send(large(0, 100_000, "LargeLater"))
        #expect(try admin.answer().status == 0)
        #expect(!broker.hasInput(seconds: 0.02))
        withExtendedLifetime(hogs) {}
    }

    @Test func aCallThatEndsWhileItWaitsForRoomIsForgotten() throws {
        let server = try server { $0.stall = .seconds(30) }
        let client = try RawClient(server.path)
        try client.send(large(0, 2_000_000))
        #expect(eventually { server.server.statistics.unsentBytes > 1_000_000 })
        for round in 1...200 {
            try client.send(
                requestFrame(UInt32(round * 2 + 1), "LargeLater", Array("2000000".utf8), timeout: 1_000_000))
        }
        #expect(try client.answer().data.count > 2_000_000)
        for _ in 1...200 { #expect([0, 4].contains(try client.answer().status)) }
        #expect(eventually { server.isAtRest(connections: 1) })
    }

    @Test func farTooManyUnreadAnswersCutOffWhoReadsLeast() throws {
        // The handlers do not ask for room: all that was asked for comes at once.
        let server = try server {
            $0.unsentBytes = 1_000_000
            $0.stall = .seconds(30)
        }
        let hog = try RawClient(server.path)
        for number in 0..<20 { try hog.send(requestFrame(UInt32(number * 2 + 1), "Hold")) }
        let calls = try (0..<20).map { _ in try server.calls.next() }
        let client = try RawClient(server.path)
        for call in calls { call.respond([UInt8](repeating: 1, count: 400_000)) }
        #expect(eventually { server.server.statistics.cutOff == 1 })
        try client.send(large(0, 500_000))
        #expect(try client.answer().status == 0)
        #expect(eventually { server.isAtRest(connections: 1) })
    }
}

/// One connection's flood, and the others.
@Suite struct FairnessTests {
    @Test func aFloodDoesNotStarveTheOthers() throws {
        var limits = ServerLimits()
        limits.eventLoops = 1
        let server = try TestServer(limits: limits)
        let isOver = Atomic(false)
        let floods = DispatchGroup()
        let begun = DispatchSemaphore(value: 0)
        for _ in 0..<4 {
            let path = server.path
            // Not the pool's threads: other tests need those.
            floods.enter()
            Thread.detachNewThread {
                defer { floods.leave() }
                guard let client = try? RawClient(path) else { return }
                let frames = (0..<1_000).flatMap { requestFrame(UInt32($0 * 2 + 1), "Echo", [1]).encoded }
                var isFirst = true
                // Where it reads nothing for a moment, the server stops reading it: so it reads.
                while !isOver.load(ordering: .relaxed) {
                    guard (try? client.sendSome(frames, seconds: 5)) == frames.count else { return }
                    for _ in 0..<1_000 { guard (try? client.answer()) != nil else { return } }
                    if isFirst { begun.signal() }
                    isFirst = false
                }
            }
        }
        for _ in 0..<4 { #expect(begun.wait(timeout: .now() + 30) == .success) }
        let client = try RawClient(server.path)
        var longest = Duration.zero
        for number in 0..<200 {
            let began = ContinuousClock.now
            try client.send(requestFrame(UInt32(number * 2 + 1), "Echo", [1]))
            #expect(try client.answer().status == 0)
            longest = max(longest, ContinuousClock.now - began)
        }
        isOver.store(true, ordering: .relaxed)
        #expect(longest < .seconds(2), "a call took \(longest)")
        #expect(floods.wait(timeout: .now() + 30) == .success)
    }

    /// Which connections' calls come in which order, where all of them have sent everything before the first is looked at.
    @Test func connectionsTakeTurns() throws {
        let entered = DispatchSemaphore(value: 0)
        let leave = DispatchSemaphore(value: 0)
        let order = CallNames()
        let methods = [
            Method(service: "test.Service", name: "Block", kind: .unary) { call in
                entered.signal()
                _ = leave.wait(timeout: .now() + 10)
                call.respond([])
            },
            Method(service: "test.Service", name: "Note", kind: .unary) { call in
                order.add(String(decoding: call.payload, as: UTF8.self))
                call.respond([])
            },
        ]
        var limits = ServerLimits()
        limits.eventLoops = 1
        let server = try TestServer(limits: limits, extra: methods)
        let blocker = try RawClient(server.path)
        let clients = try ["a", "b", "c"].map { ($0, try RawClient(server.path)) }
        for (_, client) in clients {
            try client.send(requestFrame(1, "Echo"))
            _ = try client.answer()
        }
        try blocker.send(requestFrame(1, "Block"))
        #expect(entered.wait(timeout: .now() + 10) == .success)
        // "a" has a thousand, which came first; the others have one.
        for (name, client) in clients {
            let count = name == "a" ? 1_000 : 1
            let frames = (0..<count).flatMap { requestFrame(UInt32($0 * 2 + 1), "Note", Array(name.utf8)).encoded }
            #expect(try client.sendSome(frames, seconds: 10) == frames.count)
        }
        leave.signal()
        for (name, client) in clients { for _ in 0..<(name == "a" ? 1_000 : 1) { _ = try client.answer() } }
        let list = order.list
        #expect(list.count == 1_002)
        for name in ["b", "c"] {
            let place = try #require(list.firstIndex(of: name))
            #expect(place <= ServerTurn.most, "\(name) came after \(place) others")
        }
    }
}

enum ServerTurn {
    /// Two turns of one connection, where three of them have something to say.
    static let most = 2 * 128
}
