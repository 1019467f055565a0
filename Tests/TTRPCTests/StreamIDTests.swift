import TTRPC
import Testing

/// Requests, stream ids, and what is wrong with them, over real sockets.
@Suite struct StreamIDTests {
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

    @Test func aUnaryCallIsAnsweredOnItsStream() throws {
        try client.send(requestFrame(1, "Echo", [1, 2, 3]))
        #expect(try client.answer() == RawFrame(stream: 1, type: 2, data: [0x12, 3, 1, 2, 3]))
    }

    @Test func anEmptyAnswerIsAnEmptyFrame() throws {
        try client.send(requestFrame(1, "Echo"))
        #expect(try client.answer() == RawFrame(stream: 1, type: 2))
    }

    @Test func aFailureHasAStatusAndNoPayload() throws {
        try client.send(requestFrame(1, "Fail", [1]))
        let answer = try client.answer()
        let any = field(1, Array("type.googleapis.com/test.Info".utf8)) + field(2, [1, 2, 3])
        let status = [0x08, 5] + field(2, Array("no such thing".utf8)) + field(3, any)
        #expect(answer == RawFrame(stream: 1, type: 2, data: field(1, status)))
    }

    @Test func oddStreamsAreGoodInAnyOrder() throws {
        for stream: UInt32 in [77, 3, .max, 1, 5, 3] {
            try client.send(requestFrame(stream, "EchoLater", [1]))
            let answer = try client.answer()
            #expect(answer.stream == stream && answer.status == 0)
        }
    }

    @Test(arguments: [0, 2, 4_000_000_000] as [UInt32])
    func anEvenStreamIsInvalidAndTheConnectionLives(stream: UInt32) throws {
        try client.send(requestFrame(stream, "Echo", [1]))
        let answer = try client.answer()
        #expect(answer.stream == stream && answer.status == 3, "\(answer)")
        try expectAlive()
    }

    @Test func aStreamInFlightEndsItsCallAndItsOwnAnswerIsDropped() throws {
        try client.send(requestFrame(5, "Hold"))
        let call = try server.calls.next()
        try client.send(requestFrame(5, "Echo", [1]))
        let answer = try client.answer()
        #expect(answer.stream == 5 && answer.status == 3, "\(answer)")
        #expect(eventually { call.isOver })
        call.respond([9])
        try expectAlive()
    }

    @Test func anAnswerToAnEarlierCallOnTheStreamIsDropped() throws {
        try client.send(requestFrame(5, "Hold"), requestFrame(5, "Echo"), requestFrame(5, "Hold", [2]))
        let first = try server.calls.next()
        let second = try server.calls.next()
        #expect(try client.answer().status == 3)
        first.respond([1])
        second.respond([2])
        #expect(try client.answer() == RawFrame(stream: 5, type: 2, data: [0x12, 1, 2]))
        try expectAlive()
    }

    @Test(arguments: [[], [1, 2]] as [[UInt8]])
    func dataOnAUnaryCallInFlightEndsIt(data: [UInt8]) throws {
        try client.send(requestFrame(5, "Hold"), RawFrame(stream: 5, type: 3, flags: 1, data: data))
        let call = try server.calls.next()
        let answer = try client.answer()
        #expect(answer.stream == 5 && answer.status == 3, "\(answer)")
        call.respond([9])
        try expectAlive()
    }

    @Test(arguments: [55, 2, 0] as [UInt32]) func dataOnAnUnknownStreamIsInvalid(stream: UInt32) throws {
        try client.send(RawFrame(stream: stream, type: 3, data: [1]))
        let answer = try client.answer()
        #expect(answer.stream == stream && answer.status == 3, "\(answer)")
        try expectAlive()
    }

    @Test(arguments: [0, 2, 4, 9, 255] as [UInt8]) func unknownFrameTypesAreIgnored(type: UInt8) throws {
        let long = [UInt8](repeating: 1, count: 2_000_000)
        try client.send(RawFrame(stream: 1, type: type, flags: 7, data: [1, 2]), RawFrame(stream: 2, type: type))
        try client.send(RawFrame(stream: 1, type: type, data: long))
        try expectAlive()
    }

    @Test(arguments: [1, 2, 4, 255] as [UInt8]) func flagsOnAUnaryRequestDoNotMatter(flags: UInt8) throws {
        try client.send(requestFrame(1, "Echo", [4], flags: flags))
        #expect(try client.answer() == RawFrame(stream: 1, type: 2, data: [0x12, 1, 4]))
        try expectAlive()
    }

    @Test(arguments: [("Frobnicate", "test.Service"), ("Echo", "no.Service"), ("", ""), ("Echo", "/test.Service")])
    func anUnknownMethodIsUnimplemented(method: String, service: String) throws {
        try client.send(RawFrame(stream: 1, type: 1, data: requestData(method, service: service)))
        #expect(try client.answer().status == 12)
        try expectAlive()
    }

    @Test(
        arguments: [
            [0xff, 0xff, 0xff], field(1, [0xff, 0xfe]), [0x0a, 0x7f, 0x41], [0x0c], [0x00], [0x20],
            requestData("Echo") + [0x2a, 2, 0x0a, 5],
        ] as [[UInt8]])
    func aRequestThatDoesNotDecodeIsInvalid(data: [UInt8]) throws {
        try client.send(RawFrame(stream: 1, type: 1, data: data))
        #expect(try client.answer().status == 3)
        try expectAlive()
    }

    @Test func aRequestOverItsLimitIsRefusedAndTheConnectionLives() throws {
        let overhead = requestData("Large", [1]).count + 2
        try client.send(requestFrame(1, "Large", [UInt8](repeating: 0x30, count: 1_048_576 - overhead)))
        #expect(try client.answer().status == 0)
        try client.send(requestFrame(3, "Large", [UInt8](repeating: 0x30, count: 1_048_577)))
        let answer = try client.answer()
        #expect(answer.stream == 3 && answer.status == 8, "\(answer)")
        try expectAlive()
    }

    @Test func aFrameOverTheLimitIsRefusedAndTheConnectionEnds() throws {
        try client.send(requestFrame(1, "Echo", [1]))
        try client.send(bytes: [0x00, 0x40, 0x00, 0x01, 0, 0, 0, 9, 1, 0])
        #expect(try client.answer().stream == 1)
        let answer = try client.answer()
        #expect(answer.stream == 9 && answer.status == 8, "\(answer)")
        #expect(try client.frame() == nil)
    }

    @Test func aClientThatSendsTheWholeOversizeFrameReadsWhy() throws {
        let frame = RawFrame(stream: 9, type: 1, data: [UInt8](repeating: 0, count: 4_194_305))
        _ = try client.sendSome(frame.encoded, seconds: 5)
        let answer = try client.answer()
        #expect(answer.stream == 9 && answer.status == 8, "\(answer)")
        #expect(try client.frame() == nil)
        #expect(eventually { server.server.statistics.connections == 0 })
    }

    @Test func anAnswerOverTheFrameLimitIsAFailureInstead() throws {
        try client.send(requestFrame(1, "Large", Array("4194304".utf8)))
        #expect(try client.answer().status == 8)
        // One byte for the field, four for the length.
        try client.send(requestFrame(3, "Large", Array("4194299".utf8)))
        let answer = try client.answer()
        #expect(answer.status == 0 && answer.data.count == 4_194_304)
        try expectAlive()
    }

    @Test func aHalfClosedClientGetsAllAnswers() throws {
        for stream: UInt32 in [1, 3, 5] { try client.send(requestFrame(stream, "Hold", [1])) }
        try client.send(requestFrame(7, "Echo", [1]))
        try client.send(bytes: Array(requestFrame(9, "Echo", [1]).encoded.dropLast()))
        client.finishSending()
        #expect(try client.answer().stream == 7)
        for _ in 0..<3 { try server.calls.next().respond([1]) }
        #expect(Set([try client.answer(), try client.answer(), try client.answer()].map(\.stream)) == [1, 3, 5])
        #expect(try client.frame() == nil)
    }

    @Test func theSocketsLabelAndThePeerAreTold() throws {
        try client.send(requestFrame(1, "Who"))
        let who = String(decoding: try client.answer().payload ?? [], as: UTF8.self).split(separator: " ")
        #expect(who.first == "main" && who.count == 3)
        let second = try RawClient(server.path + "2")
        try second.send(requestFrame(1, "Who"))
        #expect(String(decoding: try second.answer().payload ?? [], as: UTF8.self).hasPrefix("second "))
    }
}
