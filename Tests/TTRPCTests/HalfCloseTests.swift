import TTRPC
import Testing

/// Clients that send nothing more and read to the end.
@Suite struct HalfCloseTests {
    private func server(_ change: (inout ServerLimits) -> Void = { _ in }) throws -> TestServer {
        var limits = ServerLimits()
        change(&limits)
        return try TestServer(limits: limits)
    }

    @Test func whatWaitsForItsTurnIsAnswered() throws {
        let server = try server { $0.requestsPerConnection = 2 }
        let client = try RawClient(server.path)
        for number in 0..<7 { try client.send(requestFrame(UInt32(number * 2 + 1), "Hold", [UInt8(number)])) }
        client.finishSending()
        for _ in 0..<7 {
            let call = try server.calls.next()
            call.respond(call.payload)
        }
        let answers = try (0..<7).map { _ in try client.answer() }
        #expect(Set(answers.map(\.stream)) == [1, 3, 5, 7, 9, 11, 13])
        #expect(answers.allSatisfy { $0.status == 0 })
        #expect(try client.frame() == nil)
        #expect(eventually { server.isAtRest() })
    }

    @Test func whatWaitsForBytesIsAnswered() throws {
        let server = try server {
            $0.connections = 1000
            $0.requestBytes = 1000
            $0.requestBytesInFlight = 8000
        }
        let client = try RawClient(server.path)
        let payload = [UInt8](repeating: 5, count: 900)
        for stream: UInt32 in [1, 3, 5] { try client.send(requestFrame(stream, "Hold", payload)) }
        client.finishSending()
        for stream: UInt32 in [1, 3, 5] {
            try server.calls.next().respond([1])
            #expect(try client.answer().stream == stream)
        }
        #expect(try client.frame() == nil)
        #expect(eventually { server.isAtRest() })
    }

    @Test func whatWaitsForTheClientToReadIsAnswered() throws {
        let server = try server()
        let client = try RawClient(server.path)
        for stream in 0..<12 { try client.send(requestFrame(UInt32(stream * 2 + 1), "Large", Array("1000000".utf8))) }
        client.finishSending()
        for stream in 0..<12 {
            let answer = try client.answer()
            #expect(answer.stream == UInt32(stream * 2 + 1) && answer.data.count > 1_000_000)
        }
        #expect(try client.frame() == nil)
        #expect(eventually { server.isAtRest() })
    }

    @Test func aStreamGoesOnToItsEnd() throws {
        let server = try server()
        let client = try RawClient(server.path)
        try client.send(requestFrame(1, "Watch", flags: 1))
        client.finishSending()
        let call = try server.calls.next()
        for number: UInt8 in 0..<5 {
            #expect(call.send([number]) == .sent)
            #expect(try client.answer() == RawFrame(stream: 1, type: 3, data: [number]))
        }
        call.finish()
        #expect(try client.answer() == RawFrame(stream: 1, type: 3, flags: 5))
        #expect(try client.frame() == nil)
    }

    @Test func aClientThatGoesEndsTheCallsItHalfClosedFor() throws {
        let server = try server { $0.requestsPerConnection = 2 }
        var client: RawClient? = try RawClient(server.path)
        for number in 0..<7 { try client?.send(requestFrame(UInt32(number * 2 + 1), "Hold")) }
        client?.finishSending()
        let calls = try (0..<2).map { _ in try server.calls.next() }
        client = nil
        #expect(eventually { calls.allSatisfy(\.isOver) && server.isAtRest() })
    }

    @Test func aHalfFrameBeforeTheEndIsNoRequest() throws {
        let server = try server()
        for bytes in [1, 10, 20] {
            let client = try RawClient(server.path)
            try client.send(bytes: Array(requestFrame(1, "Hold", [UInt8](repeating: 0, count: 50)).encoded[..<bytes]))
            client.finishSending()
            #expect(try client.frame() == nil)
        }
        #expect(eventually { server.isAtRest() })
    }
}
