import Foundation
import Testing

@testable import TTRPC

/// Connections, calls and request bytes: at each limit and one past it.
@Suite struct LimitTests {
    private func limits(_ change: (inout ServerLimits) -> Void) -> ServerLimits {
        var limits = ServerLimits()
        change(&limits)
        return limits
    }

    private func echo(_ client: RawClient) throws -> Int {
        try client.send(requestFrame(9_999, "Echo", [1]))
        return try client.answer().status
    }

    // MARK: Connections

    @Test func oneConnectionTooManyIsClosedAtOnce() throws {
        let server = try TestServer(
            limits: limits {
                $0.connections = 4
                $0.reservedConnections = 0
            })
        var clients = try (0..<4).map { _ in try RawClient(server.path) }
        for client in clients { #expect(try echo(client) == 0) }
        try RawClient(server.path).waitForEnd()
        #expect(server.server.statistics.refusedConnections == 1)
        for client in clients { #expect(try echo(client) == 0) }
        clients.removeLast()
        #expect(eventually { server.server.statistics.connections == 3 })
        #expect(try echo(try RawClient(server.path)) == 0)
    }

    @Test func theReserveIsForTheListenerThatHasIt() throws {
        let server = try TestServer(
            limits: limits {
                $0.connections = 6
                $0.reservedConnections = 2
            })
        let brokers = try (0..<4).map { _ in try RawClient(server.path + "2") }
        for client in brokers { #expect(try echo(client) == 0) }
        try RawClient(server.path + "2").waitForEnd()
        let admins = try (0..<2).map { _ in try RawClient(server.path) }
        for client in admins { #expect(try echo(client) == 0) }
        try RawClient(server.path).waitForEnd()
        withExtendedLifetime((brokers, admins)) {}
    }

    @Test func aConnectionThatIsRefusedIsNotCounted() throws {
        let server = try TestServer(
            limits: limits {
                $0.connections = 2
                $0.reservedConnections = 0
            })
        let kept = try (0..<2).map { _ in try RawClient(server.path) }
        for client in kept { #expect(try echo(client) == 0) }
        for _ in 0..<200 { try RawClient(server.path).waitForEnd() }
        #expect(server.server.statistics.connections == 2)
        #expect(server.server.statistics.refusedConnections == 200)
        for client in kept { #expect(try echo(client) == 0) }
    }

    @Test func limitsAreLoweredToTheDescriptorsThereAre() {
        let plenty = ServerLimits().fitted(toDescriptors: 1024 + 64)
        #expect(plenty.limits.connections == 1024 && plenty.notices.isEmpty)
        let fewer = ServerLimits().fitted(toDescriptors: 1024 + 63)
        #expect(fewer.limits.connections == 1023 && fewer.notices.count == 1)
        for descriptors in 1...200 {
            let fitted = ServerLimits().fitted(toDescriptors: descriptors)
            #expect(fitted.limits.connections >= 1 && fitted.limits.connections <= descriptors)
            #expect(fitted.limits.reservedConnections <= fitted.limits.connections / 2)
            #expect(fitted.notices.count == 1)
        }
    }

    // MARK: Calls

    @Test func asManyCallsAsMayBeAreInFlightAndTheNextOneWaits() throws {
        let server = try TestServer()
        let client = try RawClient(server.path)
        let bytes = (0...1024).flatMap { requestFrame(UInt32($0 * 2 + 1), "Hold").encoded }
        try client.send(bytes: bytes)
        var calls = try (0..<1024).map { _ in try server.calls.next() }
        #expect(eventually { server.server.statistics.callsInFlight == 1024 })
        #expect(eventually { client.unreadByServer == 0 })
        #expect(throws: RawClientError.self) { try server.calls.next(seconds: 0.02) }
        calls.removeLast().respond([])
        #expect(try client.answer().status == 0)
        calls.append(try server.calls.next())
        for call in calls { call.respond([]) }
        for _ in calls { #expect(try client.answer().status == 0) }
        #expect(eventually { server.isAtRest(connections: 1) })
    }

    @Test func aRequestIsRefusedWhereStreamsAloneTakeAllPlaces() throws {
        let server = try TestServer(limits: limits { $0.requestsPerConnection = 3 })
        let client = try RawClient(server.path)
        for stream: UInt32 in [1, 3, 5] { try client.send(requestFrame(stream, "Watch", flags: 1)) }
        let calls = try (0..<3).map { _ in try server.calls.next() }
        try client.send(requestFrame(7, "Echo", [1]))
        let answer = try client.answer()
        #expect(answer.stream == 7 && answer.status == 8, "\(answer)")
        calls[0].finish()
        #expect(try client.answer() == RawFrame(stream: 1, type: 3, flags: 5))
        #expect(try echo(client) == 0)
    }

    @Test func aConnectionMayHaveAFewCallsWhereAllHaveTooMany() throws {
        let server = try TestServer(limits: limits { $0.requestsInFlight = 8 })
        let hog = try RawClient(server.path)
        try hog.send(bytes: (0..<20).flatMap { requestFrame(UInt32($0 * 2 + 1), "Hold").encoded })
        let held = try (0..<8).map { _ in try server.calls.next() }
        #expect(throws: RawClientError.self) { try server.calls.next(seconds: 0.02) }
        // Another one has its few.
        let client = try RawClient(server.path)
        try client.send(bytes: (0..<5).flatMap { requestFrame(UInt32($0 * 2 + 1), "Hold").encoded })
        let others = try (0..<4).map { _ in try server.calls.next() }
        #expect(throws: RawClientError.self) { try server.calls.next(seconds: 0.02) }
        for call in held + others { call.respond([]) }
        for _ in 0..<13 { try server.calls.next().respond([]) }
        for _ in 0..<20 { #expect(try hog.answer().status == 0) }
        for _ in 0..<5 { #expect(try client.answer().status == 0) }
        #expect(eventually { server.isAtRest(connections: 2) })
    }

    // MARK: Request bytes

    /// 4 bytes are guaranteed to each connection, 3,000 shared; one may have 1,000 of those.
    private var tight: ServerLimits {
        limits {
            $0.connections = 1000
            $0.requestBytes = 1000
            $0.requestBytesInFlight = 8000
        }
    }

    private func request(_ stream: UInt32, bytes: Int) -> RawFrame {
        let overhead = requestData("Hold", [1]).count
        return requestFrame(stream, "Hold", [UInt8](repeating: 0, count: bytes - overhead))
    }

    @Test func whoWaitsForBytesGoesOnWhenThereAreSome() throws {
        let server = try TestServer(limits: tight)
        let holders = try (0..<3).map { _ in try RawClient(server.path) }
        let held = try holders.map { holder in
            try holder.send(request(1, bytes: 1000))
            return try server.calls.next()
        }
        let waiters = try (0..<6).map { _ in try RawClient(server.path) }
        for waiter in waiters { try waiter.send(request(1, bytes: 250)) }
        #expect(eventually { waiters.allSatisfy { $0.unreadByServer == 0 } })
        #expect(throws: RawClientError.self) { try server.calls.next(seconds: 0.02) }
        // One ends: there is room for four of them, and the others still wait.
        held[0].respond([])
        #expect(try holders[0].answer().status == 0)
        let first = try (0..<4).map { _ in try server.calls.next() }
        #expect(throws: RawClientError.self) { try server.calls.next(seconds: 0.02) }
        for call in held[1...] { call.respond([]) }
        let rest = try (0..<2).map { _ in try server.calls.next() }
        for call in first + rest { call.respond([]) }
        for waiter in waiters { #expect(try waiter.answer().status == 0) }
        #expect(eventually { server.isAtRest(connections: 9) })
    }

    @Test func smallRequestsDoNotOvertakeALargeOneThatWaits() throws {
        // What one event loop has read, it has looked at before it reads the next.
        var limits = tight
        limits.eventLoops = 1
        let server = try TestServer(limits: limits)
        let holders = try (0..<3).map { _ in try RawClient(server.path) }
        let held = try holders.map { holder in
            try holder.send(request(1, bytes: 900))
            return try server.calls.next()
        }
        let large = try RawClient(server.path)
        try large.send(request(1, bytes: 1000))
        #expect(eventually { large.unreadByServer == 0 })
        let small = try RawClient(server.path)
        try small.send(request(1, bytes: 100))
        #expect(eventually { small.unreadByServer == 0 })
        // There would be room for the small one.
        #expect(throws: RawClientError.self) { try server.calls.next(seconds: 0.02) }
        held[0].respond([])
        let next = try server.calls.next()
        #expect(next.payload.count > 900)
        _ = try server.calls.next()
    }

    @Test func whoWaitsAndGoesLeavesTheLine() throws {
        let server = try TestServer(limits: tight)
        let holders = try (0..<3).map { _ in try RawClient(server.path) }
        let held = try holders.map { holder in
            try holder.send(request(1, bytes: 900))
            return try server.calls.next()
        }
        var large: RawClient? = try RawClient(server.path)
        try large?.send(request(1, bytes: 1000))
        #expect(eventually { large?.unreadByServer == 0 })
        let small = try RawClient(server.path)
        try small.send(request(1, bytes: 100))
        #expect(throws: RawClientError.self) { try server.calls.next(seconds: 0.02) }
        large = nil
        try server.calls.next().respond([])
        #expect(try small.answer().status == 0)
        for call in held { call.respond([]) }
        #expect(eventually { server.isAtRest(connections: 4) })
    }

    @Test func aConnectionBeyondItsShareWaitsForItsOwnCalls() throws {
        let server = try TestServer(limits: tight)
        let client = try RawClient(server.path)
        try client.send(request(1, bytes: 900), request(3, bytes: 900))
        let first = try server.calls.next()
        #expect(throws: RawClientError.self) { try server.calls.next(seconds: 0.02) }
        // The others do not mind.
        let other = try RawClient(server.path)
        try other.send(request(1, bytes: 900))
        try server.calls.next().respond([])
        #expect(try other.answer().status == 0)
        first.respond([])
        try server.calls.next().respond([])
        #expect(try client.answer().stream == 1)
        #expect(try client.answer().stream == 3)
        #expect(eventually { server.isAtRest(connections: 2) })
    }

    @Test func bytesAreGivenBackWhateverEndsACall() throws {
        let server = try TestServer(limits: tight)
        let client = try RawClient(server.path)
        // Answered, expired, ended by another request on its stream, and gone with its connection.
        try client.send(request(1, bytes: 300))
        try server.calls.next().respond([])
        #expect(try client.answer().status == 0)
        try client.send(requestFrame(1, "Hold", [UInt8](repeating: 0, count: 300), timeout: 10_000_000))
        _ = try server.calls.next()
        #expect(try client.answer().status == 4)
        try client.send(request(1, bytes: 300), request(1, bytes: 300))
        _ = try server.calls.next()
        #expect(try client.answer().status == 3)
        #expect(eventually { server.isAtRest(connections: 1) })
        var second: RawClient? = try RawClient(server.path)
        try second?.send(request(1, bytes: 300))
        _ = try server.calls.next()
        #expect(server.server.statistics.requestBytes > 0)
        second = nil
        #expect(eventually { server.isAtRest(connections: 1) })
    }

    @Test func anAnswerToAnEarlierCallInsideAHandlerDoesNotLoseBytes() throws {
        // The handler answers the call before its own, while its own request is being taken in.
        let log = CallLog()
        let methods = [
            Method(service: "test.Service", name: "Chain", kind: .unary) { call in
                if call.payload.first == 1 { (try? log.next(seconds: 0))?.respond([]) }
                log.add(call)
            }
        ]
        let server = try TestServer(limits: tight, extra: methods)
        let client = try RawClient(server.path)
        try client.send(requestFrame(1, "Chain", [UInt8](repeating: 0, count: 400)))
        for stream: UInt32 in [3, 5, 7, 9, 11] {
            try client.send(requestFrame(stream, "Chain", [UInt8](repeating: 1, count: 400)))
            #expect(try client.answer().stream == stream - 2)
            #expect(eventually { server.server.statistics.requestBytes >= 400 })
            #expect(server.server.statistics.requestBytes < 500)
        }
        try log.next().respond([])
        #expect(try client.answer().stream == 11)
        #expect(eventually { server.isAtRest(connections: 1) })
    }
}

/// The line for request bytes.
@Suite struct RequestBudgetTests {
    private func budget(shared: Int) -> RequestBudget {
        var limits = ServerLimits()
        limits.requestBytes = shared
        limits.requestBytesInFlight = 0
        return RequestBudget(limits)
    }

    /// Notes who was woken.
    private final class Woken: Sendable {
        private let names = CallNames()
        func wake(_ name: String) -> @Sendable () -> Void { { self.names.add(name) } }
        var list: [String] { names.list }
    }

    @Test func onlyTheFirstIsWokenAndOnlyWhereThereIsEnough() {
        let budget = budget(shared: 100)
        let woken = Woken()
        var (none, first, second): (UInt64?, UInt64?, UInt64?) = (nil, nil, nil)
        #expect(budget.take(100, ticket: &none, wake: woken.wake("none")))
        #expect(!budget.take(60, ticket: &first, wake: woken.wake("first")))
        #expect(!budget.take(10, ticket: &second, wake: woken.wake("second")))
        #expect(budget.isShort)
        budget.give(50)
        #expect(woken.list.isEmpty)
        budget.give(20)
        #expect(woken.list == ["first"])
        #expect(!budget.take(10, ticket: &second, wake: woken.wake("second")))
        #expect(budget.take(60, ticket: &first, wake: woken.wake("first")))
        #expect(first == nil)
        #expect(woken.list == ["first", "second"])
        #expect(budget.take(10, ticket: &second, wake: woken.wake("second")))
        #expect(!budget.isShort && budget.usedBytes == 100)
    }

    @Test func whoLeavesMakesRoomForTheNext() {
        let budget = budget(shared: 100)
        let woken = Woken()
        var (none, first, second): (UInt64?, UInt64?, UInt64?) = (nil, nil, nil)
        #expect(budget.take(80, ticket: &none, wake: {}))
        #expect(!budget.take(60, ticket: &first, wake: woken.wake("first")))
        #expect(!budget.take(20, ticket: &second, wake: woken.wake("second")))
        if let first { budget.leave(first) }
        #expect(woken.list == ["second"])
        #expect(budget.take(20, ticket: &second, wake: {}))
    }
}

/// Names in the order in which they came.
final class CallNames: Sendable {
    private let names = Locked<[String]>([])

    func add(_ name: String) { names.withLock { $0.append(name) } }
    var list: [String] { names.withLock { $0 } }
}
