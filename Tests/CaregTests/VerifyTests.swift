import CCareg
import CCaregSystem
import Foundation
import Synchronization
import Testing
import TrustMap

@Suite struct VerifyTests {
    @Test func theDaemonIsAskedWhereTheMapDoesNotSay() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        let daemon = try FakeDaemon(place) { _, _ in
            .response(Protobuf.verdict(reason: 1, serial: "0f", validUntil: 4_000_000_000, revision: 9))
        }
        defer { daemon.stop() }
        let handle = try Handle(place, timeoutMilliseconds: 20_000)
        let chain = [certificate(1), [], [UInt8](repeating: 5, count: 70_000)]
        let (answer, _) = handle.session(verifying: chain)
        #expect(answer.isTrusted && answer.source == UInt32(CAREG_SOURCE_DAEMON), "\(answer)")
        #expect(answer.serial == "0f" && answer.validUntil == 4_000_000_000 && answer.revision == 9)
        let question = try #require(daemon.questions.first)
        #expect(question.service == "careg.v1.VerifierService" && question.method == "Verify")
        #expect(question.instance == "plant" && question.chain == chain && question.stream == 1)
        #expect(question.timeout > 0 && question.timeout <= 20_000_000_000)
        withExtendedLifetime(writer) {}
    }

    @Test func whatTheMapKnowsIsNotAsked() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        let daemon = try FakeDaemon(place) { _, _ in .response(Protobuf.verdict(reason: 2)) }
        defer { daemon.stop() }
        writer.update(revision: 2) { [known = device(1), barred = device(2, .refused(reason: 17))] in
            _ = $0.addDevice(known)
            _ = $0.addDevice(barred)
        }
        let handle = try Handle(place)
        #expect(handle.verify(certificate(1)).isTrusted)
        #expect(handle.verify(certificate(2)).reason == 17)
        #expect(daemon.questions.isEmpty)
        #expect(handle.verify(certificate(3)).reason == 2)
        #expect(daemon.questions.count == 1)
    }

    @Test func theMapDecidesBesideWhatMayBeACertificateOnly() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        let daemon = try FakeDaemon(place) { _, _ in .response(Protobuf.verdict(reason: 3)) }
        defer { daemon.stop() }
        writer.update(revision: 2) { [known = device(1)] in _ = $0.addDevice(known) }
        let handle = try Handle(place)
        // SEQUENCE { SEQUENCE { INTEGER 1 }, SEQUENCE {}, BIT STRING }
        let good: [UInt8] = [0x30, 0x0a, 0x30, 0x03, 2, 1, 1, 0x30, 0, 3, 1, 0]
        let long =
            [0x30, 0x82, 0x01, 0x09, 0x30, 0x82, 0x01, 0x00] + [4, 0x81, 0xfd] + [UInt8](repeating: 0, count: 253)
        let longest = long + [0x30, 0, 3, 1, 0]
        for others in [[], [good], [good, longest], [[UInt8]](repeating: good, count: 15)] {
            #expect(handle.session(verifying: [certificate(1)] + others).answer.isTrusted, "\(others)")
        }
        #expect(daemon.questions.isEmpty)
        func changed(_ index: Int, _ byte: UInt8) -> [UInt8] {
            var bytes = good
            bytes[index] = byte
            return bytes
        }
        let bad: [[[UInt8]]] = [
            [[]], [[0x30]], [[0x30, 0x80]], [Array("no certificate".utf8)], [good + [0]], [good.dropLast()],
            [good, changed(0, 0x31)], [changed(1, 9)], [changed(2, 0x04)], [changed(3, 4)], [changed(5, 2)],
            [changed(7, 0x31)], [changed(9, 4)], [changed(0, 0x3f)], [[0x30, 0x81, 0x0a] + good.dropFirst(2)],
            [[UInt8](repeating: 0x30, count: 64)], [[UInt8]](repeating: good, count: 16),
            [
                [0x30, 0x83, 0x01, 0, 9, 0x30, 0x83, 1, 0, 0] + [UInt8](repeating: 0, count: 65_536) + [
                    0x30, 0, 3, 1, 0,
                ]
            ],
        ]
        for (index, others) in bad.enumerated() {
            #expect(handle.session(verifying: [certificate(1)] + others).answer.reason == 3, "\(index)")
            #expect(daemon.questions.count == index + 1)
        }
    }

    @Test func oneConnectionServesManyQuestionsAndManyThreadsGetAFew() throws {
        let place = try Place()
        let daemon = try FakeDaemon(place) { question, _ in
            .response(Protobuf.verdict(reason: UInt64(question.chain[0][0])))
        }
        defer { daemon.stop() }
        let handle = try Handle(place, timeoutMilliseconds: 30_000)
        for number in 1..<100 { #expect(handle.verify([UInt8(number)]).reason == UInt32(number)) }
        #expect(daemon.connectionCount == 1)
        let odd = (0..<99).map { (number: UInt32) in number * 2 + 1 }
        #expect(daemon.questions.map(\.stream) == odd)
        let wrong = Mutex(0)
        DispatchQueue.concurrentPerform(iterations: 32) { thread in
            for round in 0..<200 {
                let number = UInt8(1 + (thread * 7 + round) % 200)
                if handle.verify([number]).reason != UInt32(number) { wrong.withLock { $0 += 1 } }
            }
        }
        #expect(wrong.withLock { $0 } == 0, "every thread gets the answer to its own question")
        #expect(daemon.connectionCount <= 4)
    }

    @Test func aDaemonThatComesBackIsReachedAgain() throws {
        let place = try Place()
        let first = try FakeDaemon(place) { _, _ in .response(Protobuf.verdict(reason: 6)) }
        let handle = try Handle(place)
        #expect(handle.verify([1]).reason == 6)
        first.stop()
        try eventually { handle.verify([1]).code == CAREG_E_UNAVAILABLE }
        let second = try FakeDaemon(place) { _, _ in .response(Protobuf.verdict(reason: 12)) }
        defer { second.stop() }
        try eventually { handle.verify([1]).reason == 12 }
    }

    @Test func aConnectionThatDiedWhileItLayIdleCostsNoAnswer() throws {
        let place = try Place()
        let first = try FakeDaemon(place) { _, _ in .response(Protobuf.verdict(reason: 6)) }
        let handle = try Handle(place)
        #expect(handle.verify([1]).reason == 6)
        first.stop()
        let second = try FakeDaemon(place) { _, _ in .response(Protobuf.verdict(reason: 12)) }
        defer { second.stop() }
        #expect(handle.verify([1]).reason == 12, "the very next call")
    }

    @Test func manyConnectionsThatDiedWhileTheyLayIdleCostNoAnswerEither() throws {
        let place = try Place()
        let allConnected = Barrier(4)
        let first = try FakeDaemon(place) { question, _ in
            // Nobody is answered before each has a connection of its own.
            if question.chain[0][0] == 1 { allConnected.wait() }
            return .response(Protobuf.verdict(reason: 6))
        }
        let handle = try Handle(place, timeoutMilliseconds: 30_000)
        let done = DispatchSemaphore(value: 0)
        for _ in 0..<4 {
            Thread {
                _ = handle.verify([1])
                done.signal()
            }.start()
        }
        for _ in 0..<4 { done.wait() }
        try #require(first.connectionCount == 4)
        first.stop()
        let second = try FakeDaemon(place) { _, _ in .response(Protobuf.verdict(reason: 12)) }
        defer { second.stop() }
        for call in 0..<6 { #expect(handle.verify([2]).reason == 12, "call \(call)") }
    }

    @Test func aDaemonThatHasMarkedTheMapAndDoesNotListenYetIsWaitedForInSpiteOfFormerRefusals() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        let handle = try Handle(place, timeoutMilliseconds: 20_000)
        // Nobody listens: some refusals, and some quiet after them.
        for _ in 0..<12 { #expect(handle.verify([1]).code == CAREG_E_UNAVAILABLE) }
        writer.retire()
        let answered = Mutex<UInt32>(0)
        let group = DispatchGroup()
        DispatchQueue.global().async(group: group) {
            let reason = handle.verify([1]).reason
            answered.withLock { $0 = reason ?? 0 }
        }
        let daemon = try FakeDaemon(place) { _, _ in .response(Protobuf.verdict(reason: 12)) }
        defer { daemon.stop() }
        group.wait()
        #expect(answered.withLock { $0 } == 12)
    }

    @Test func aSilentDaemonCostsOneDeadlineAndIsThenLeftAlone() throws {
        let place = try Place()
        let daemon = try FakeDaemon(place) { _, _ in .silence }
        defer { daemon.stop() }
        let handle = try Handle(place, timeoutMilliseconds: 300)
        let start = careg_system_nanoseconds()
        #expect(handle.verify([1]).code == CAREG_E_TIMEOUT)
        let middle = careg_system_nanoseconds()
        #expect(middle - start >= 300_000_000)
        for _ in 0..<1000 { #expect(handle.verify([1]).code == CAREG_E_UNAVAILABLE) }
        #expect(daemon.questions.count == 1)
        // A sign of life is worth a question.
        let writer = try place.makeWriter()
        try eventually {
            writer.heartbeat()
            return handle.verify([1]).code == CAREG_E_TIMEOUT
        }
    }

    @Test func eachCallKeepsToItsOwnDeadlineWhereAllConnectionsAreTaken() throws {
        let place = try Place()
        let daemon = try FakeDaemon(place) { _, _ in .silence }
        defer { daemon.stop() }
        let handle = try Handle(place, timeoutMilliseconds: 400)
        let slowest = Mutex<UInt64>(0)
        DispatchQueue.concurrentPerform(iterations: 12) { _ in
            let start = careg_system_nanoseconds()
            #expect(!handle.verify([1]).isTrusted)
            let took = careg_system_nanoseconds() - start
            slowest.withLock { $0 = max($0, took) }
        }
        #expect(slowest.withLock { $0 } < 3_000_000_000)
    }

    @Test(
        arguments: [
            (1, CAREG_E_TIMEOUT), (3, CAREG_E_ARGUMENT), (4, CAREG_E_TIMEOUT), (7, CAREG_E_DENIED),
            (8, CAREG_E_ARGUMENT), (12, CAREG_E_PROTOCOL), (13, CAREG_E_FAULT), (14, CAREG_E_UNAVAILABLE),
            (15, CAREG_E_FAULT),
        ] as [(Int, Int32)])
    func aFailureOfTheDaemonIsAnError(status: Int, code: Int32) throws {
        let place = try Place()
        let daemon = try FakeDaemon(place) { _, _ in .response(Protobuf.failure(UInt64(status))) }
        defer { daemon.stop() }
        #expect(try Handle(place).verify([1]).code == code)
    }

    /// What a peer may send that is no answer.
    enum Nonsense: String, CaseIterable, Sendable {
        case text, empty, noVerdict, noReason, contradiction, oppositeContradiction, largeReason, longSerial
        case serialNotHex, oversizeFrame, oversizeAnswer, endlessVarint, cutMessage, badTimestamp

        var reply: FakeDaemon.Reply {
            switch self {
            case .text: .raw(Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8))
            case .empty: .response([])
            case .noVerdict: .response(Protobuf.field(2, []))
            case .noReason: .response(Protobuf.verdict(trusted: true, reason: 0))
            case .contradiction: .response(Protobuf.verdict(trusted: true, reason: 8))
            case .oppositeContradiction: .response(Protobuf.verdict(trusted: false, reason: 1))
            case .largeReason: .response(Protobuf.verdict(reason: 1 << 40 | 1))
            case .longSerial: .response(Protobuf.verdict(reason: 1, serial: String(repeating: "a", count: 264)))
            case .serialNotHex: .response(Protobuf.verdict(reason: 1, serial: "0a\u{1b}[31m"))
            case .oversizeFrame: .raw([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 2, 0])
            case .oversizeAnswer: .response([UInt8](repeating: 0, count: 40_000))
            case .endlessVarint: .response([UInt8](repeating: 0xff, count: 100))
            case .cutMessage: .response(Protobuf.verdict(reason: 1).dropLast(1))
            case .badTimestamp: .response(Protobuf.field(2, Protobuf.field(1, Protobuf.field(6, [0x08]))))
            }
        }
    }

    @Test(arguments: Nonsense.allCases)
    func aPeerThatTalksNonsenseIsNoYes(nonsense: Nonsense) throws {
        let place = try Place()
        let daemon = try FakeDaemon(place) { _, _ in nonsense.reply }
        defer { daemon.stop() }
        let answer = try Handle(place, timeoutMilliseconds: 3_000).verify([1])
        #expect(answer.code == CAREG_E_PROTOCOL, "\(answer)")
    }

    @Test func lateAndStrangeFramesAreSkipped() throws {
        let place = try Place()
        let daemon = try FakeDaemon(place) { question, _ in
            let wrong = Protobuf.verdict(reason: 1)
            let right = Protobuf.verdict(reason: 6)
            return .raw(
                frame(wrong, stream: 99) + frame(wrong, stream: question.stream, type: 3)
                    + frame([UInt8](repeating: 0, count: 100_000), stream: 7, type: 9)
                    + frame(right, stream: question.stream))
        }
        defer { daemon.stop() }
        let handle = try Handle(place)
        for _ in 0..<20 { #expect(handle.verify([1]).reason == 6) }
        #expect(daemon.connectionCount == 1)
    }

    @Test func anAnswerThatIsCutOffIsNoAnswer() throws {
        let whole = Protobuf.verdict(reason: 1, serial: "0a")
        for cut in [0, 1, 9, 10, 11, 10 + whole.count - 1] {
            let place = try Place()
            let daemon = try FakeDaemon(place) { question, number in
                number % 2 == 0 ? .raw(Array(frame(whole, stream: question.stream).prefix(cut))) : .end
            }
            defer { daemon.stop() }
            let handle = try Handle(place, timeoutMilliseconds: 200)
            #expect(!handle.verify([1]).isTrusted)
        }
    }

    // MARK: Where nobody answers

    @Test func aStaleMapFailsClosedAndWhatBarsADeviceStands() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        writer.update(revision: 2) { [known = device(1), barred = device(2, .refused(reason: 17))] in
            _ = $0.addDevice(known)
            _ = $0.addDevice(barred)
            // On a path that asks, the device's own bar stands all the same.
            _ = $0.addPath(
                TrustMapPath(
                    id: 2, instanceID: "plant", anchor: 2, anchorSerialNumber: "77", period: .always, status: .ask))
        }
        writer.put(device(3, path: 2, .refused(reason: 20)), revision: 3)
        let handle = try Handle(place)
        try place.age(milliseconds: 6_000)
        #expect(handle.verify(certificate(1)).code == CAREG_E_STALE)
        #expect(handle.verify(certificate(2)).reason == 17)
        #expect(handle.verify(certificate(3)).reason == 20)
        #expect(handle.verify(certificate(4)).code == CAREG_E_STALE)
        writer.heartbeat()
        #expect(handle.verify(certificate(1)).isTrusted)
        #expect(handle.verify(certificate(3)).reason == 20)
        #expect(handle.verify(certificate(4)).code == CAREG_E_UNAVAILABLE)
    }

    @Test func aStaleMapIsNoObstacleWhereTheDaemonAnswers() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        writer.put(device(1, .refused(reason: 17)), revision: 2)
        let daemon = try FakeDaemon(place) { _, _ in .response(Protobuf.verdict(reason: 1)) }
        defer { daemon.stop() }
        let handle = try Handle(place)
        try place.age(milliseconds: 6_000)
        #expect(handle.verify(certificate(1)).isTrusted, "the daemon knows better than a map that went stale")
    }

    // MARK: Sessions of devices that the map does not hold

    @Test func anAskedSessionStandsUntilTheRegistryChanges() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        writer.update(revision: 9) { _ in }
        let daemon = try FakeDaemon(place) { _, number in
            .response(Protobuf.verdict(reason: 1, revision: number == 0 ? 9 : 8))
        }
        defer { daemon.stop() }
        let handle = try Handle(place)
        let (first, session) = handle.session(verifying: [certificate(1)])
        #expect(first.isTrusted)
        #expect(handle.check(session).isTrusted)
        // A verdict of a revision that the map has left behind says nothing.
        let old = handle.session(verifying: [certificate(2)]).session
        #expect(handle.check(old).code == CAREG_NOT_IN_MAP)
        writer.update(revision: 10) { _ in }
        #expect(handle.check(session).code == CAREG_NOT_IN_MAP)
        // Registered, it is the map that decides.
        writer.put(device(1, .refused(reason: 18)), revision: 11)
        #expect(handle.check(session).reason == UInt32(CAREG_REASON_DEVICE_PENDING))
    }

    @Test func anAskedSessionEndsWithItsTimeItsMapAndItsHandle() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        writer.update(revision: 9) { _ in }
        let end = UInt64(careg_system_seconds()) - 1
        let daemon = try FakeDaemon(place) { question, _ in
            .response(Protobuf.verdict(reason: 1, validUntil: question.chain[0] == [1] ? end : nil, revision: 9))
        }
        defer { daemon.stop() }
        let handle = try Handle(place)
        let over = handle.session(verifying: [[1]]).session
        #expect(handle.check(over).code == CAREG_NOT_IN_MAP)
        let good = handle.session(verifying: [[2]]).session
        #expect(handle.check(good).isTrusted)
        try place.age(milliseconds: 6_000)
        #expect(handle.check(good).code == CAREG_E_STALE)
        let next = try place.makeWriter()
        next.update(revision: 9) { _ in }
        #expect(handle.verify([3]).isTrusted)
        #expect(handle.check(good).code == CAREG_NOT_IN_MAP, "another map, perhaps of another history")
        // Without a map, a daemon's yes is for once.
        let other = try Place()
        let second = try FakeDaemon(other) { _, _ in .response(Protobuf.verdict(reason: 1, revision: 9)) }
        defer { second.stop() }
        let lonely = try Handle(other)
        let (answer, session) = lonely.session(verifying: [[2]])
        #expect(answer.isTrusted)
        #expect(lonely.check(session).code == CAREG_NOT_IN_MAP)
    }

    @Test func aNoOfTheDaemonIsNotKept() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        writer.update(revision: 9) { _ in }
        let daemon = try FakeDaemon(place) { _, _ in .response(Protobuf.verdict(reason: 6, revision: 9)) }
        defer { daemon.stop() }
        let handle = try Handle(place)
        #expect(handle.check(handle.session(verifying: [[1]]).session).code == CAREG_NOT_IN_MAP)
    }

    @Test func chainsThatCannotBeSentAreRefused() throws {
        let place = try Place()
        let handle = try Handle(place)
        #expect(handle.session(verifying: []).answer.code == CAREG_E_ARGUMENT)
        #expect(handle.session(verifying: .init(repeating: [1], count: 65)).answer.code == CAREG_E_ARGUMENT)
        #expect(handle.verify([UInt8](repeating: 0, count: 3_000_001)).code == CAREG_E_ARGUMENT)
        let daemon = try FakeDaemon(place) { _, _ in .response(Protobuf.verdict(reason: 12)) }
        defer { daemon.stop() }
        let reached = try Handle(place, timeoutMilliseconds: 30_000)
        #expect(reached.session(verifying: .init(repeating: [1], count: 64)).answer.reason == 12)
        #expect(reached.verify([UInt8](repeating: 0, count: 3_000_000)).reason == 12, "sent in many parts")
    }
}

/// Lets nobody pass before so many have come.
private final class Barrier: Sendable {
    private let missing: Mutex<Int>
    private let gate = DispatchSemaphore(value: 0)

    init(_ count: Int) { missing = Mutex(count) }

    func wait() {
        let left = missing.withLock { missing in
            missing -= 1
            return missing
        }
        if left == 0 { gate.signal() }
        gate.wait()
        gate.signal()
    }
}
