import Foundation
import Testing

/// Frames on the sockets, as a client of any language would send and get them.
@Suite(.serialized) struct WireTests {
    private struct Fixture: Sendable {
        let daemon: Daemon
        let shop: CertificateShop
        let authority: Authority

        init() throws {
            daemon = try Daemon()
            shop = try CertificateShop()
            authority = try shop.eccAuthority("CA")
            try daemon.createInstance("plant")
            try daemon.createInstance("rival")
            try daemon.register(authority, with: "plant", from: shop)
        }
    }

    private static let fixture = Result { try Fixture() }
    private let daemon: Daemon
    private let shop: CertificateShop
    private let authority: Authority

    init() throws {
        let fixture = try Self.fixture.get()
        daemon = fixture.daemon
        shop = fixture.shop
        authority = fixture.authority
    }

    private func admin() throws -> WireClient { try WireClient(path: daemon.adminSocket) }
    private func broker() throws -> WireClient { try WireClient(path: daemon.brokerSocket) }

    /// The connection lives: an ordinary call is answered.
    private func expectAlive(_ client: WireClient, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let response = try client.call(WireClient.verifier, "Poll")
        #expect(response.code == 0, "\(response)", sourceLocation: sourceLocation)
    }

    private func duration(seconds: UInt64) -> [UInt8] { ProtobufMessage.Builder().integer(1, seconds).encoded }

    // MARK: Who may call what

    @Test(arguments: [(WireClient.registry, "ListInstances"), (WireClient.admin, "GetStatus")])
    func theBrokersSocketAllowsTheVerifierOnly(service: String, method: String) throws {
        let client = try broker()
        let response = try client.call(service, method)
        #expect(response.code == 7 && response.reason == "CALLER_NOT_ALLOWED", "\(response)")
        #expect(response.domain == "careg")
        #expect(!response.message.isEmpty)
        try expectAlive(client)
    }

    @Test func verifyAnswersOnTheBrokersSocket() throws {
        let device = [UInt8](try shop.der(of: try shop.device("device", by: authority)))
        let request = ProtobufMessage.Builder().text(1, "plant").element(2, device)
        let client = try broker()
        let revision = try daemon.revision()
        for registered in [UInt64(1), 0] {
            let response = try client.call(WireClient.verifier, "Verify", request)
            #expect(response.code == 0, "\(response)")
            let verdict = try response.payload.message(1)
            #expect(verdict.integer(1) == 1 && verdict.integer(2) == 1, "trusted, REASON_TRUSTED")
            #expect(verdict.text(3) == authority.serialNumber)
            #expect(verdict.integer(8) == registered)
            #expect(verdict.has(6), "it says until when")
            try daemon.awaitRegistration(of: verdict.text(5), since: revision)
        }
    }

    @Test func aChainElementThatIsNoCertificateIsAVerdict() throws {
        let device = [UInt8](try shop.der(of: try shop.device("device", by: authority)))
        for chain in [[device, [1, 2, 3]], [[]], []] {
            let request = chain.reduce(ProtobufMessage.Builder().text(1, "plant")) { $0.element(2, $1) }
            let response = try broker().call(WireClient.verifier, "Verify", request)
            if chain.isEmpty {
                #expect(response.code == 0 || response.code == 3, "\(response)")
            } else {
                #expect(response.code == 0, "\(response)")
                #expect(try response.payload.message(1).integer(2) == 3, "REASON_CERTIFICATE_MALFORMED")
            }
        }
    }

    @Test func trustAnchorsAreListedWithTheirDer() throws {
        let response = try broker().call(WireClient.verifier, "ListTrustAnchors", .init().text(1, "plant"))
        let anchors = try response.payload.messages(1)
        let der = [UInt8](try shop.der(of: authority.certificate))
        #expect(anchors.contains { $0.bytes(13) == der })
        let unknown = try broker().call(WireClient.verifier, "ListTrustAnchors", .init().text(1, "nobody"))
        #expect(unknown.code == 5 && unknown.reason == "INSTANCE_NOT_FOUND", "\(unknown)")
    }

    // MARK: Requests that are wrong

    @Test(arguments: [
        (WireClient.registry, "Frobnicate"), ("careg.v1.NoService", "GetStatus"), ("", ""),
        ("/careg.v1.AdminService", "GetStatus"),
    ])
    func anUnknownMethodIsUnimplemented(service: String, method: String) throws {
        let client = try admin()
        let response = try client.call(service, method)
        #expect(response.code == 12 && response.reason == "METHOD_UNKNOWN", "\(response)")
        try expectAlive(client)
    }

    @Test func aPayloadThatDoesNotDecodeIsInvalid() throws {
        let client = try admin()
        let stream = client.takeStream()
        let request = ProtobufMessage.Builder().text(1, WireClient.registry).text(2, "GetInstance")
            .bytes(3, [0x0a, 0x7f, 0x41])
        try client.send(WireFrame(stream: stream, type: WireFrame.request, flags: 0, body: request.encoded))
        let response = try WireResponse(try client.frame())
        #expect(response.code == 3 && response.reason != nil, "\(response)")
        try client.send(WireFrame(stream: 31, type: WireFrame.request, flags: 0, body: [0xff, 0xff, 0xff]))
        let frame = try client.frame()
        #expect(frame.stream == 31)
        #expect(try WireResponse(frame).code == 3)
        try expectAlive(client)
    }

    @Test(arguments: [0, 2, 4_000_000_000] as [UInt32])
    func anEvenStreamIsInvalidAndTheConnectionLives(stream: UInt32) throws {
        let client = try admin()
        try client.sendRequest(WireClient.admin, "GetStatus", stream: stream)
        let frame = try client.frame()
        #expect(frame.stream == stream)
        let response = try WireResponse(frame)
        #expect(response.code == 3 && response.reason == "STREAM_INVALID", "\(response)")
        try expectAlive(client)
    }

    @Test func oddStreamsAreGoodInAnyOrder() throws {
        let client = try admin()
        var expected: Set<UInt32> = [4_294_967_295, 5, 3, 77, 1]
        for stream in expected { try client.sendRequest(WireClient.admin, "GetStatus", stream: stream) }
        while !expected.isEmpty {
            let frame = try client.frame()
            #expect(try WireResponse(frame).code == 0)
            #expect(expected.remove(frame.stream) != nil)
        }
    }

    @Test func aStreamThatIsInFlightEndsItsCallAndTheConnectionLives() throws {
        let client = try admin()
        let revision = UInt64(try daemon.revision())
        let wait = ProtobufMessage.Builder().integer(1, revision).bytes(2, duration(seconds: 30))
        try client.sendRequest(WireClient.verifier, "Poll", wait, stream: 101)
        try client.sendRequest(WireClient.verifier, "Poll", wait, stream: 101)
        let frame = try client.frame()
        #expect(frame.stream == 101)
        #expect(try WireResponse(frame).code == 3)
        try expectAlive(client)
    }

    @Test func unknownFrameTypesAreIgnoredAndDataOfNoStreamIsInvalid() throws {
        let client = try admin()
        try client.send(WireFrame(stream: 1, type: 9, flags: 7, body: [1, 2, 3]))
        try expectAlive(client)
        try client.send(WireFrame(stream: 55, type: WireFrame.data, flags: 0, body: [1]))
        let frame = try client.frame()
        #expect(frame.stream == 55)
        #expect(try WireResponse(frame).code == 3)
        try expectAlive(client)
    }

    @Test func aRequestOverOneMebibyteIsRefusedAndTheConnectionLives() throws {
        let client = try admin()
        let long = [UInt8](repeating: 0x61, count: 1_100_000)
        let stream = try client.sendRequest(WireClient.registry, "GetInstance", .init().bytes(1, long))
        let frame = try client.frame()
        #expect(frame.stream == stream)
        let response = try WireResponse(frame)
        #expect(response.code == 8 && response.reason == "LIMIT_REACHED", "\(response)")
        try expectAlive(client)
    }

    @Test func aFrameOverTheLimitIsRefusedAndTheConnectionEnds() throws {
        let client = try admin()
        try client.send([0x00, 0x40, 0x00, 0x01, 0, 0, 0, 9, WireFrame.request, 0])
        let frame = try client.frame()
        #expect(frame.stream == 9)
        let response = try WireResponse(frame)
        #expect(response.code == 8 && response.reason == "LIMIT_REACHED", "\(response)")
        #expect(try client.receive() == nil)
    }

    @Test func aHalfClosedClientGetsItsAnswers() throws {
        let client = try admin()
        for _ in 0..<5 { try client.sendRequest(WireClient.admin, "GetStatus") }
        client.finishSending()
        for _ in 0..<5 { #expect(try WireResponse(try client.frame()).code == 0) }
        #expect(try client.receive() == nil)
    }

    // MARK: Time

    @Test func aDeadlineIsObeyedAndANegativeOneHasExpired() throws {
        let client = try admin()
        let revision = UInt64(try daemon.revision())
        let wait = ProtobufMessage.Builder().integer(1, revision).bytes(2, duration(seconds: 30))
        for nanoseconds in [50_000_000, UInt64(bitPattern: -1)] {
            try client.sendRequest(WireClient.verifier, "Poll", wait, timeoutNanoseconds: nanoseconds)
            let response = try WireResponse(try client.frame(seconds: 10))
            #expect(response.code == 4 && response.reason == "DEADLINE_EXCEEDED", "\(response)")
        }
        try expectAlive(client)
    }

    @Test func pollWaitsForAChangeAndAnswersIt() throws {
        let client = try broker()
        let revision = UInt64(try daemon.revision())
        let wait = ProtobufMessage.Builder().integer(1, revision).bytes(2, duration(seconds: 20))
        try client.sendRequest(WireClient.verifier, "Poll", wait)
        try daemon.createInstance("polled")
        let response = try WireResponse(try client.frame())
        #expect(response.code == 0, "\(response)")
        let changes = try response.payload.messages(2)
        #expect(changes.map { $0.integer(1) } == [revision + 1])
        #expect(changes.first?.text(4) == "polled")
        #expect(response.payload.integer(3) == revision + 1)
        #expect(response.payload.text(1).count == 32)
    }

    @Test func pollWithoutAWaitAnswersAtOnceAndOneOfAnotherHistoryIsAhead() throws {
        let client = try broker()
        let revision = UInt64(try daemon.revision())
        let empty = try client.call(WireClient.verifier, "Poll", .init().integer(1, revision))
        #expect(try empty.payload.messages(2).isEmpty)
        let other = try client.call(
            WireClient.verifier, "Poll", .init().integer(1, 1).text(4, String(repeating: "0", count: 32)))
        #expect(other.code == 11 && other.reason == "REVISION_AHEAD", "\(other)")
        let ahead = try client.call(WireClient.verifier, "Poll", .init().integer(1, revision + 1000))
        #expect(ahead.code == 11 && ahead.reason == "REVISION_AHEAD", "\(ahead)")
    }

    // MARK: Races

    @Test func ofTwoClientsThatRegisterOneSerialNumberExactlyOneWins() throws {
        for round in 0..<4 {
            let serial = "0x77aa00\(round)0"
            var clients: [WireClient] = []
            var requests: [ProtobufMessage.Builder] = []
            for instance in ["plant", "rival"] {
                let contender = try shop.eccAuthority("contender \(instance)", serial: serial)
                let proof = try shop.verification(code: try daemon.issueCode(instance), by: contender)
                requests.append(
                    ProtobufMessage.Builder().text(1, instance)
                        .bytes(2, [UInt8](try shop.read(contender.certificate)))
                        .bytes(3, [UInt8](try shop.read(proof))))
                clients.append(try admin())
            }
            let before = try daemon.revision()
            for (client, request) in zip(clients, requests) {
                try client.sendRequest(WireClient.registry, "RegisterCaCertificate", request)
            }
            let responses = try clients.map { try WireResponse(try $0.frame()) }
            #expect(responses.filter { $0.code == 0 }.count == 1, "\(responses)")
            let loser = try #require(responses.first { $0.code != 0 })
            #expect(loser.code == 6 && loser.reason == "SN_ALREADY_REGISTERED", "\(loser)")
            #expect(loser.metadata["sn"] == "77aa00\(round)0")
            #expect(try daemon.revision() == before + 1)
        }
    }
}
