import Fuzzer

@testable import TTRPC

@main struct FuzzConnection {
    /// A client's bytes. It does not matter in which pieces they come.
    static func main() {
        fuzz { input in
            var pieces = Pieces(input)
            let (chunk, isMadeOfFrames) = (Int(pieces.byte()), pieces.byte() & 1 == 0)
            let bytes = isMadeOfFrames ? frames(&pieces) : pieces.rest()
            precondition(told(bytes, chunk: bytes.count) == told(bytes, chunk: 1 + chunk))
        }
    }

    /// Frames whose lengths are right, and whose ids are often in flight.
    private static func frames(_ pieces: inout Pieces) -> [UInt8] {
        var bytes: [UInt8] = []
        while !pieces.isAtEnd {
            let kind = pieces.byte()
            var data: [UInt8] = []
            if kind & 0x08 != 0 { AnswerFrame.appendField(1, Array("s".utf8), to: &data) }
            if kind & 0x10 != 0 { AnswerFrame.appendField(2, Array((kind & 0x20 != 0 ? "u" : "w").utf8), to: &data) }
            data += pieces.some()
            if kind & 0x40 != 0 { data += [UInt8](repeating: 0, count: 8 * data.count) }
            FrameHeader(
                length: data.count, stream: UInt32(pieces.byte() & 7), type: kind & 0x80 != 0 ? 1 : kind & 3,
                flags: pieces.byte() & 7
            ).append(to: &bytes)
            bytes += data
        }
        return bytes
    }

    private static let methods = MethodTable([
        Method(service: "s", name: "u", kind: .unary) { _ in },
        Method(service: "s", name: "w", kind: .serverStream) { _ in },
    ])

    private static let limits = {
        var limits = ServerLimits()
        limits.connections = 2
        (limits.requestsPerConnection, limits.requestBytes, limits.frameBytes) = (3, 600, 1_200)
        limits.requestBytesInFlight = 400
        return limits
    }()

    /// What a server would do. Two calls of three wait for their answers, until there is no more room.
    private static func told(_ bytes: [UInt8], chunk: Int) -> [String] {
        var state = ConnectionState<UInt32>(limits: limits, methods: methods)
        var told: [String] = []
        var (start, calls) = (0, 0)
        while start < bytes.count {
            let input = Array(bytes[start..<min(start + chunk, bytes.count)])
            var position = 0
            reading: while true {
                precondition(state.heldBytes >= 0 && state.callCount <= limits.requestsPerConnection)
                let before = position
                let action = state.next(input.span, &position)
                precondition(position >= before && position <= input.count)
                switch action {
                case .more: break reading
                case .reserve(let bytes):
                    precondition(bytes > 0 && state.heldBytes <= state.allowance)
                    state.allowance += bytes
                case .wait: state.end(state.calls.min() ?? 0)
                case .call(let request):
                    calls += 1
                    told.append("\(request.stream): \(request.method) \(request.payload) \(request.timeoutNanoseconds)")
                    if calls % 3 != 0 { state.begin(request, request.stream) }
                case .refuse(let stream, let failure): told.append("\(stream): refused, \(failure)")
                case .end(let stream, _, let failure): told.append("\(stream): ended, \(failure)")
                case .refuseAndClose(let stream, _, let failure): return told + ["\(stream): closed, \(failure)"]
                }
            }
            precondition(position == input.count)
            start += input.count
        }
        return told + ["\(state.isInsideFrame) \(state.callCount)"]
    }
}
