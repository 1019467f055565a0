import TTRPC
import Testing

/// Frames in pieces, at their limits and past them.
@Suite struct FrameTests {
    private let server: TestServer
    private let client: RawClient

    init() throws {
        server = try TestServer()
        client = try RawClient(server.path)
    }

    private func expectAlive(sourceLocation: SourceLocation = #_sourceLocation) throws {
        try client.send(requestFrame(9_999_999, "Echo", [7]))
        let answer = try client.answer()
        #expect(answer == RawFrame(stream: 9_999_999, type: 2, data: [0x12, 1, 7]), sourceLocation: sourceLocation)
    }

    @Test func aFrameMayComeByteByByte() throws {
        for byte in requestFrame(1, "Echo", [1, 2, 3]).encoded { try client.send(bytes: [byte]) }
        #expect(try client.answer() == RawFrame(stream: 1, type: 2, data: [0x12, 3, 1, 2, 3]))
    }

    @Test func framesMayBeCutAnywhere() throws {
        let bytes = requestFrame(1, "Echo", [1]).encoded + requestFrame(3, "Echo", [2, 3]).encoded
        for cut in 1..<bytes.count {
            try client.send(bytes: Array(bytes[..<cut]))
            try client.send(bytes: Array(bytes[cut...]))
            #expect(try client.answer() == RawFrame(stream: 1, type: 2, data: [0x12, 1, 1]))
            #expect(try client.answer() == RawFrame(stream: 3, type: 2, data: [0x12, 2, 2, 3]))
        }
    }

    @Test func manyFramesInOneWriteAreAllAnsweredInOrder() throws {
        let streams = (0..<2_000).map { UInt32($0 * 2 + 1) }
        let bytes = streams.flatMap { requestFrame($0, "Echo", [UInt8(truncatingIfNeeded: $0)]).encoded }
        #expect(try client.sendSome(bytes, seconds: 10) == bytes.count)
        for stream in streams {
            let answer = try client.answer()
            #expect(answer.stream == stream && answer.payload == [UInt8(truncatingIfNeeded: stream)])
        }
    }

    @Test(arguments: [0, 1]) func aRequestAtItsLimitIsGoodAndOnePastItIsNot(past: Int) throws {
        let overhead = requestData("Large", [1]).count + 1
        let frame = requestFrame(1, "Large", [UInt8](repeating: 0x30, count: 1_048_576 - overhead + past))
        #expect(frame.data.count == 1_048_576 + past)
        try client.send(frame)
        let answer = try client.answer()
        #expect(answer.stream == 1 && answer.status == (past == 0 ? 0 : 8), "\(answer)")
        try expectAlive()
    }

    @Test(arguments: [1, 3, 9] as [UInt8]) func aFrameAtTheLimitLeavesTheConnectionAlive(type: UInt8) throws {
        let frame = RawFrame(stream: 7, type: type, data: [UInt8](repeating: 0, count: 4_194_304))
        try client.send(frame)
        if type != 9 {
            let answer = try client.answer()
            #expect(answer.stream == 7 && answer.status == (type == 1 ? 8 : 3), "\(answer)")
        }
        try expectAlive()
    }

    @Test(arguments: [1, 2, 3, 9] as [UInt8]) func aFrameOnePastTheLimitEndsTheConnection(type: UInt8) throws {
        try client.send(bytes: [0x00, 0x40, 0x00, 0x01, 0, 0, 0, 7, type, 0])
        let answer = try client.answer()
        #expect(answer.stream == 7 && answer.status == 8, "\(answer)")
        #expect(try client.frame() == nil)
    }

    @Test func anOversizeFrameIsNotDrainedByTheGigabyte() throws {
        try client.send(bytes: [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 7, 1, 0])
        let piece = [UInt8](repeating: 0, count: 1_048_576)
        var sent = 0
        do {
            while sent < 64 * piece.count { sent += try client.sendSome(piece, seconds: 5) }
        } catch {}
        #expect(sent <= 16 * piece.count, "\(sent) bytes were drained")
        let answer = try client.answer()
        #expect(answer.stream == 7 && answer.status == 8, "\(answer)")
        try client.waitForEnd()
        #expect(eventually { server.isAtRest() })
    }

    @Test func anOversizeFrameEndsTheCallsThatAreInFlight() throws {
        try client.send(requestFrame(5, "Hold"), requestFrame(7, "Hold"))
        let calls = [try server.calls.next(), try server.calls.next()]
        try client.send(bytes: [0x7f, 0, 0, 0, 0, 0, 0, 5, 1, 0])
        #expect(try client.answer().status == 8)
        #expect(try client.frame() == nil)
        #expect(eventually { calls.allSatisfy(\.isOver) })
        for call in calls { call.respond([1]) }
        #expect(eventually { server.isAtRest() })
    }

    @Test func aHalfClosedClientStillReadsWhyItsOversizeFrameWasRefused() throws {
        // So much is unread that the refusal has to wait for the client.
        try client.send(requestFrame(1, "Large", Array("1500000".utf8)))
        try client.send(bytes: [0x7f, 0, 0, 0, 0, 0, 0, 9, 1, 0])
        client.finishSending()
        #expect(eventually { client.unreadByServer == 0 })
        #expect(try client.answer().stream == 1)
        let answer = try client.answer()
        #expect(answer.stream == 9 && answer.status == 8, "\(answer)")
        #expect(try client.frame() == nil)
        #expect(eventually { server.isAtRest() })
    }

    @Test func aCallInFlightIsEndedByAnOversizedRequestOnItsStream() throws {
        try client.send(requestFrame(5, "Hold"))
        let call = try server.calls.next()
        try client.send(RawFrame(stream: 5, type: 1, data: [UInt8](repeating: 0, count: 2_000_000)))
        let answer = try client.answer()
        #expect(answer.stream == 5 && answer.status == 3, "\(answer)")
        #expect(call.isOver)
        try expectAlive()
    }

    @Test func aMethodWithAShorterLimitRefusesWhatIsLonger() throws {
        let overhead = requestData("HoldShort", [1]).count
        try client.send(requestFrame(1, "HoldShort", [UInt8](repeating: 0, count: 1000 - overhead)))
        try server.calls.next().respond([])
        #expect(try client.answer().status == 0)
        try client.send(requestFrame(3, "HoldShort", [UInt8](repeating: 0, count: 1001 - overhead)))
        #expect(try client.answer().status == 8)
        try expectAlive()
    }

    @Test func aRefusalTooLongForAFrameIsCut() throws {
        let methods = [
            Method(service: "test.Service", name: "Rant", kind: .unary) {
                // One character, as long as its accents are many.
                let message = "a" + String(repeating: "\u{0301}", count: 3_000_000)
                $0.fail(RPCFailure(code: 9, message: message, details: [.init(typeURL: "x", value: [1])]))
            }
        ]
        let server = try TestServer(extra: methods)
        let client = try RawClient(server.path)
        try client.send(requestFrame(1, "Rant"))
        let answer = try client.answer()
        #expect(answer.status == 9 && answer.data.count < 1_000, "\(answer)")
    }

    @Test func aClientThatGoesInTheMiddleOfAnythingLeavesNothing() throws {
        let request = requestFrame(1, "Hold", [UInt8](repeating: 1, count: 100_000)).encoded
        for cut in [1, 9, 10, 11, 50_000, request.count] {
            let client = try RawClient(server.path)
            try client.send(bytes: Array(request[..<cut]))
            if cut == request.count { _ = try server.calls.next() }
        }
        #expect(eventually { server.isAtRest(connections: 1) })
        try expectAlive()
    }
}
