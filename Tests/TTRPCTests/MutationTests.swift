import Foundation
import Testing

@testable import TTRPC

/// Byte streams that are almost right.
struct ByteStreams {
    var generator: SeededGenerator

    /// A few frames, most of them good.
    mutating func frames() -> [UInt8] {
        (0..<(1 + generator.below(8))).flatMap { _ in frame().encoded }
    }

    private mutating func frame() -> RawFrame {
        let stream = generator.chance(8) ? UInt32(generator.below(6)) : UInt32(generator.below(6)) * 2 + 1
        let method =
            ["Echo", "EchoLater", "Hold", "Fail", "Large", "Watch", "Count", "Who", "Frobnicate"]
            .randomElement(using: &generator) ?? "Echo"
        let payload = method == "Large" ? Array("\(generator.below(5_000))".utf8) : bytes(generator.below(300))
        let timeouts: [Int64?] = [nil, nil, nil, -1, 0, 1, 1_000_000, .max, .min]
        let timeout = timeouts.randomElement(using: &generator) ?? nil
        switch generator.below(12) {
        case 0:
            let flags = UInt8(generator.below(8))
            return RawFrame(stream: stream, type: 3, flags: flags, data: bytes(generator.below(40)))
        case 1: return RawFrame(stream: stream, type: UInt8(generator.below(256)), data: bytes(generator.below(40)))
        case 2: return RawFrame(stream: stream, type: 1, data: bytes(generator.below(40)))
        case 3:
            let long = bytes(3_000 + generator.below(3_000))
            return RawFrame(stream: stream, type: 1, data: requestData(method, long))
        case 4:
            let more = field(5, field(1, Array("key".utf8)) + field(2, bytes(generator.below(20))))
            return RawFrame(stream: stream, type: 1, data: requestData(method, payload, timeout: timeout) + more)
        default: return requestFrame(stream, method, payload, flags: UInt8(generator.below(8)), timeout: timeout)
        }
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    }

    /// Changes bytes here and there.
    mutating func mutate(_ bytes: inout [UInt8]) {
        for _ in 0..<generator.below(4) where !bytes.isEmpty {
            let place = generator.below(bytes.count)
            let length = min(1 + generator.below(12), bytes.count - place)
            switch generator.below(7) {
            case 0: bytes[place] ^= 1 << UInt8(generator.below(8))
            case 1: bytes[place] = [0, 1, 0x7f, 0x80, 0xff].randomElement(using: &generator) ?? 0
            case 2: bytes.removeSubrange(place..<place + length)
            case 3: bytes.insert(contentsOf: self.bytes(length), at: place)
            case 4: bytes.insert(contentsOf: bytes[place..<place + length], at: place)
            case 5: bytes.removeSubrange(place...)
            default: bytes.swapAt(place, generator.below(bytes.count))
            }
        }
    }

    /// The stream in pieces of any length.
    mutating func pieces(_ bytes: [UInt8]) -> [[UInt8]] {
        var pieces: [[UInt8]] = []
        var start = 0
        while start < bytes.count {
            let length = generator.chance(3) ? bytes.count - start : 1 + generator.below(40)
            let end = min(bytes.count, start + length)
            pieces.append(Array(bytes[start..<end]))
            start = end
        }
        return pieces
    }
}

@Suite struct MutationTests {
    private var limits: ServerLimits {
        var limits = ServerLimits()
        limits.requestsPerConnection = 4
        limits.requestBytes = 4_000
        limits.frameBytes = 20_000
        limits.requestBytesInFlight = 100_000
        limits.unsentBytes = 100_000
        limits.stall = .milliseconds(500)
        return limits
    }

    /// The server lives through all of them, answers its next client, and nothing stays behind.
    @Test func noBytesHarmTheServer() throws {
        let server = try TestServer(limits: limits)
        var streams = ByteStreams(generator: SeededGenerator())
        let hint = "\(streams.generator)"
        let rounds = 3_000
        var kept: [RawClient] = []
        for round in 0..<rounds {
            let client = try RawClient(server.path)
            var bytes = streams.frames()
            streams.mutate(&bytes)
            do {
                for piece in streams.pieces(bytes) { _ = try client.sendSome(piece, seconds: 1) }
                switch streams.generator.below(4) {
                case 0: client.finishSending()
                case 1: _ = client.hasInput(seconds: 0.001)
                case 2: kept.append(client)
                default: break
                }
            } catch {
                // The server has closed: as it may.
            }
            if kept.count > 20 { kept.removeFirst(streams.generator.below(20)) }
            while let call = try? server.calls.next(seconds: 0) {
                switch streams.generator.below(4) {
                case 0: call.fail(RPCFailure(code: 5, message: "no"))
                case 1: _ = call.send([1, 2, 3])
                case 2: call.kind == .unary ? call.respond([1]) : call.finish()
                default: break
                }
            }
            if round % 100 == 99 {
                let client = try RawClient(server.path)
                try client.send(requestFrame(1, "Echo", [7]))
                #expect(try client.answer() == RawFrame(stream: 1, type: 2, data: [0x12, 1, 7]), "\(hint)")
            }
        }
        kept.removeAll()
        #expect(eventually { server.isAtRest() }, "\(server.server.statistics) \(hint)")
    }

    /// What the server understands does not depend on how the bytes came.
    @Test func piecesDoNotChangeWhatIsUnderstood() {
        var streams = ByteStreams(generator: SeededGenerator(salt: 1))
        let hint = "\(streams.generator)"
        for round in 0..<4_000 {
            var bytes = (0..<3).flatMap { _ in streams.frames() }
            streams.mutate(&bytes)
            let budget = streams.generator.below(8_000)
            let whole = Reader(limits, budget: budget).read([bytes])
            let inPieces = Reader(limits, budget: budget).read(streams.pieces(bytes))
            #expect(whole == inPieces, "round \(round), \(hint)")
        }
    }

    /// Answers each call at once, every third one after two more, and tells what it was asked to do.
    private struct Reader {
        var state: ConnectionState<UInt32>
        var open: [UInt32] = []
        var count = 0
        var done: [String] = []
        let budget: Int

        init(_ limits: ServerLimits, budget: Int) {
            let methods = ["Echo", "EchoLater", "Hold", "Fail", "Large", "Who"].map {
                Method(service: "test.Service", name: $0, kind: .unary) { _ in }
            }
            let streams = ["Watch", "Count"].map {
                Method(service: "test.Service", name: $0, kind: .serverStream) { _ in }
            }
            state = ConnectionState(limits: limits, methods: MethodTable(methods + streams))
            state.allowance = 10_000 + budget
            self.budget = budget
        }

        func read(_ pieces: [[UInt8]]) -> [String] {
            var reader = self
            for piece in pieces { reader.take(piece) }
            reader.done.append("rest \(reader.state.isInsideFrame) \(reader.state.callCount) \(reader.state.heldBytes)")
            return reader.done
        }

        private mutating func take(_ piece: [UInt8]) {
            var position = 0
            while true {
                switch state.next(piece.span, &position) {
                case .more:
                    if position != piece.count { done.append("\(piece.count - position) bytes were left") }
                    return
                case .wait:
                    let stream = open.removeFirst()
                    done.append("waited for \(stream)")
                    state.end(stream)
                case .reserve(let bytes):
                    done.append("reserve \(bytes)")
                    state.allowance += bytes
                case .call(let request):
                    let timeout = request.timeoutNanoseconds
                    done.append(
                        "call \(request.stream) \(request.method) \(request.payload(in: piece.span)) \(timeout)")
                    count += 1
                    guard count % 3 != 0 else { continue }
                    state.begin(request, request.stream)
                    open.append(request.stream)
                case .refuse(let stream, let failure): done.append("refuse \(stream) \(failure)")
                case .end(let stream, let call, let failure):
                    done.append("end \(stream) \(call) \(failure)")
                    open.removeAll { $0 == stream }
                case .refuseAndClose(let stream, let call, let failure):
                    done.append("close \(stream) \(call.map { "\($0)" } ?? "-") \(failure)")
                }
                if state.heldBytes < 0 { done.append("held \(state.heldBytes)") }
            }
        }
    }
}
