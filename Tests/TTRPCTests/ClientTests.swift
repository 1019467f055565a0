import CEpoll
import Foundation
import TTRPC
import Testing

/// The blocking client, against our server and against peers that are none.
@Suite struct ClientTests {
    private let server: TestServer
    private let client: Client

    init() throws {
        server = try TestServer()
        client = try Client(path: server.path)
    }

    private func call(_ method: String, _ payload: [UInt8] = [], timeout: Duration? = .seconds(10)) throws -> [UInt8] {
        try client.call(service: "test.Service", method: method, payload: payload, timeout: timeout)
    }

    @Test(arguments: [0, 1, 100, 70_000, 1_000_000]) func aCallIsAnswered(count: Int) throws {
        let payload = [UInt8](repeating: 9, count: count)
        #expect(try call("Echo", payload) == payload)
        #expect(try call("EchoLater", payload, timeout: nil) == payload)
    }

    @Test func aRefusalIsThrownAndTheConnectionIsKept() throws {
        for _ in 0..<3 {
            #expect(
                throws: ClientError.refused(
                    RPCFailure(
                        code: 5, message: "no such thing",
                        details: [.init(typeURL: "type.googleapis.com/test.Info", value: [1, 2, 3])]))
            ) { try call("Fail") }
        }
        #expect(try call("Echo", [1]) == [1])
        #expect(server.server.statistics.accepted == 1)
    }

    @Test func aDeadlineIsTheServersFirst() throws {
        let error = #expect(throws: ClientError.self) { try call("Hold", timeout: .milliseconds(30)) }
        guard case .refused(let failure) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(failure.code == 4)
        #expect(try call("Echo", [1]) == [1])
    }

    @Test func manyThreadsShareAClient() {
        DispatchQueue.concurrentPerform(iterations: 8) { thread in
            for number in 0..<50 {
                let payload = [UInt8(thread), UInt8(number)]
                #expect((try? call("EchoLater", payload)) == payload)
            }
        }
        #expect(server.server.statistics.accepted == 1)
    }

    // MARK: Many calls at once

    @Test func manyCallsAreAnsweredEachWithItsNumber() throws {
        var asked = 0
        var answers: [Int: [UInt8]] = [:]
        try client.callEach(
            service: "test.Service", method: "EchoLater", outstanding: 64,
            next: { _ in
                asked += 1
                #expect(asked - 1 - answers.count <= 64, "more calls are under way than there may be")
                return asked <= 1_000 ? .request(Array("\(asked - 1)".utf8)) : .end
            },
            onAnswer: { number, answer in
                let payload = try answer.get()
                #expect(answers.updateValue(payload, forKey: number) == nil)
                return true
            })
        #expect(answers.count == 1_000)
        #expect(answers.allSatisfy { String(decoding: $0.value, as: UTF8.self) == "\($0.key)" })
        #expect(try call("Echo", [1]) == [1])
        #expect(server.server.statistics.accepted == 1)
    }

    @Test func answersThatFillTheSocketDoNotHoldUpRequestsThatDo() throws {
        var left = 40
        var byteCount = 0
        try client.callEach(
            service: "test.Service", method: "EchoLater", outstanding: 40,
            next: { _ in
                left -= 1
                return left >= 0 ? .request([UInt8](repeating: 7, count: 900_000)) : .end
            },
            onAnswer: { _, answer in
                byteCount += try answer.get().count
                return true
            })
        #expect(byteCount == 40 * 900_000)
    }

    @Test func aRefusalAmongManyCallsIsAnAnswerAndFalseEndsThem() throws {
        var asked = 0
        var refusals = 0
        try client.callEach(
            service: "test.Service", method: "Fail", outstanding: 4,
            next: { _ in
                asked += 1
                return .request([])
            },
            onAnswer: { _, answer in
                if case .failure(let failure) = answer, failure.code == 5 { refusals += 1 }
                return refusals < 10
            })
        #expect(refusals == asked && (10...14).contains(refusals), "\(refusals) of \(asked)")
        #expect(server.server.statistics.accepted == 1)
    }

    @Test func whileNothingComesYetAnswersAreTaken() throws {
        var asked = 0
        var answered = 0
        var waits = 0
        try client.callEach(
            service: "test.Service", method: "EchoLater", outstanding: 8,
            next: { mayWait in
                #expect(mayWait == (asked == answered), "\(asked) calls, \(answered) answers")
                // Two at once, then nothing until both are answered.
                if asked % 2 == 0, asked > answered { return .notYet }
                if asked == 10 { return .end }
                if mayWait { waits += 1 }
                asked += 1
                return .request([1])
            },
            onAnswer: { _, answer in
                answered += 1
                return try answer.get() == [1]
            })
        #expect(answered == 10 && waits == 5)
    }

    @Test func whatAClosureThrowsEndsTheCallsAndTheNextOneHasAConnectionOfItsOwn() throws {
        struct Enough: Error {}
        #expect(throws: Enough.self) {
            try client.callEach(
                service: "test.Service", method: "Echo", outstanding: 4, next: { _ in .request([1]) },
                onAnswer: { _, _ in throw Enough() })
        }
        #expect(throws: Enough.self) {
            try client.callEach(
                service: "test.Service", method: "Echo", outstanding: 4, next: { _ in throw Enough() },
                onAnswer: { _, _ in true })
        }
        #expect(try call("Echo", [1]) == [1])
    }

    @Test func aServerThatHangsUpAmongManyCallsIsAConnectionLost() throws {
        let impostor = try Impostor([])
        let client = try Client(path: impostor.path)
        let error = #expect(throws: ClientError.self) {
            try client.callEach(
                service: "test.Service", method: "Echo", outstanding: 4, next: { _ in .request([1]) },
                onAnswer: { _, _ in true })
        }
        guard case .connectionLost = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test func aStreamIsReadToItsEnd() throws {
        var messages: [[UInt8]] = []
        try client.stream(service: "test.Service", method: "Count", payload: []) { message in
            messages.append(message)
            return true
        }
        #expect(messages == [[1], [2], [3]])
        #expect(try call("Echo", [1]) == [1])
        #expect(server.server.statistics.accepted == 1)
    }

    @Test func aStreamThatIsLeftTakesItsConnectionWithIt() throws {
        var count = 0
        try client.stream(service: "test.Service", method: "Count", payload: []) { _ in
            count += 1
            return false
        }
        #expect(count == 1)
        #expect(throws: RawClientError.self) {
            try client.stream(service: "test.Service", method: "Count", payload: []) { _ in
                throw RawClientError(description: "enough")
            }
        }
        #expect(try call("Echo", [1]) == [1])
        #expect(eventually { server.server.statistics.connections == 1 })
    }

    @Test func aLostConnectionIsMadeAnew() throws {
        #expect(try call("Echo", [1]) == [1])
        server.server.shutDown(within: .zero)
        #expect(throws: ClientError.self) { try call("Echo", [1]) }
        #expect(throws: ClientError.connect(path: server.path, errno: ENOENT)) { try call("Echo", [1]) }
        let second = try Server.echo(at: server.path)
        #expect(try call("Echo", [2]) == [2])
        second.shutDown(within: .zero)
    }

    @Test func aRequestThatFitsInNoFrameIsNotSent() throws {
        #expect(throws: ClientError.self) { try call("Echo", [UInt8](repeating: 0, count: 4_194_304)) }
        #expect(try call("Echo", [1]) == [1])
        #expect(server.server.statistics.accepted == 1)
    }

    @Test func noServerIsToldWithItsPath() {
        #expect(throws: ClientError.connect(path: "/nowhere/s", errno: ENOENT)) { try Client(path: "/nowhere/s") }
        let long = "/" + String(repeating: "x", count: 200)
        #expect(throws: ClientError.connect(path: long, errno: ENAMETOOLONG)) { try Client(path: long) }
    }

    // MARK: Peers that are no server of ours

    /// A peer that says what it is told, once, and closes.
    private func answer(_ bytes: [UInt8], timeout: Duration = .seconds(10)) throws -> ClientError? {
        let peer = try Impostor(bytes)
        let client = try Client(path: peer.path)
        do {
            let payload = try client.call(service: "a.B", method: "C", payload: [], timeout: timeout)
            Issue.record("answered \(payload.count) bytes")
            return nil
        } catch {
            return error
        }
    }

    @Test(
        arguments: [
            ("another type", RawFrame(stream: 1, type: 1).encoded),
            ("data on a unary call", RawFrame(stream: 1, type: 3, flags: 5).encoded),
            ("no message", RawFrame(stream: 1, type: 2, data: [0xff]).encoded),
            ("a status that is none", RawFrame(stream: 1, type: 2, data: field(1, [0x12, 1, 0xff])).encoded),
            ("a frame too long", [0, 0x40, 0, 1, 0, 0, 0, 1, 2, 0]),
            ("a frame of 4 GiB", [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 2, 0]),
        ] as [(String, [UInt8])]) func nonsenseIsAViolation(what: String, bytes: [UInt8]) throws
    {
        guard case .protocolViolation = try answer(bytes) else {
            Issue.record("\(what)")
            return
        }
    }

    @Test(
        arguments: [
            [], [0, 0, 0], RawFrame(stream: 7, type: 2).encoded,
            Array(RawFrame(stream: 1, type: 2, data: [1]).encoded.dropLast()),
        ] as [[UInt8]]) func anEndBeforeTheAnswerIsALoss(bytes: [UInt8]) throws
    {
        guard case .connectionLost = try answer(bytes) else {
            Issue.record("\(bytes)")
            return
        }
    }

    @Test func silenceIsATimeout() throws {
        let peer = try Impostor(nil)
        let client = try Client(path: peer.path)
        #expect(throws: ClientError.timedOut) {
            try client.call(service: "a.B", method: "C", payload: [], timeout: .milliseconds(20))
        }
    }

    @Test func noBytesHarmTheClient() throws {
        var streams = ByteStreams(generator: SeededGenerator(salt: 3))
        let hint = "\(streams.generator)"
        for round in 0..<300 {
            let failure: [UInt8] = field(1, [0x08, 5] + field(2, Array("no".utf8)) + field(3, field(1, [0x61])))
            let answers: [[UInt8]] = [failure, field(2, streams.bytes(20)), [], streams.bytes(10)]
            var bytes = RawFrame(
                stream: 1, type: 2, data: answers.randomElement(using: &streams.generator) ?? []
            ).encoded
            streams.mutate(&bytes)
            let peer = try Impostor(bytes)
            let client = try Client(path: peer.path)
            // Any end but a fault.
            _ = try? client.call(service: "a.B", method: "C", payload: [], timeout: .seconds(5))
            if round % 100 == 0 { #expect(try call("Echo", [1]) == [1], "\(hint)") }
        }
    }
}

extension Server {
    /// A server of one method.
    static func echo(at path: String) throws -> Server {
        let echo = Method(service: "test.Service", name: "Echo", kind: .unary) { $0.respond($0.payload) }
        let server = Server(limits: ServerLimits(), methods: [echo], failure: TestServer.failure)
        try server.start([try Listener.bind(path: path, mode: 0o600, label: "main", usesReserve: true)])
        return server
    }
}

/// Accepts one connection, reads a little, says something, and closes; or says nothing at all.
private final class Impostor {
    let path: String
    private let folder: URL
    private let listener: Int32

    init(_ bytes: [UInt8]?) throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "ttrpc-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        path = folder.appending(path: "s").path
        let name = Array(path.utf8)
        listener = unsafe name.withUnsafeBufferPointer {
            unsafe cepoll_socket_listen($0.baseAddress, $0.count, 0o600, 1)
        }
        guard listener >= 0 else { throw RawClientError(description: "listen: errno \(-listener)") }
        guard let bytes else { return }
        let listener = listener
        Thread.detachNewThread {
            guard cepoll_socket_poll(listener, UInt32(cepoll_readable), 10_000) == 1 else { return }
            let connection = cepoll_socket_accept(listener)
            guard connection >= 0, cepoll_socket_poll(connection, UInt32(cepoll_readable), 10_000) == 1 else { return }
            var request = [UInt8](repeating: 0, count: 1_000)
            _ = unsafe request.withUnsafeMutableBytes {
                unsafe cepoll_socket_receive(connection, $0.baseAddress, $0.count)
            }
            _ = unsafe bytes.withUnsafeBytes { unsafe cepoll_socket_send(connection, $0.baseAddress, $0.count) }
            cepoll_close(connection)
        }
    }

    deinit {
        cepoll_close(listener)
        try? FileManager.default.removeItem(at: folder)
    }
}
