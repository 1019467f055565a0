import Fuzzer

@testable import TTRPC

@main struct FuzzEnvelope {
    /// The messages of the protocol itself, from a client and from a server.
    static func main() {
        fuzz { input in
            if let request = try? RequestEnvelope(input.span, 0..<input.count) {
                for range in [request.service, request.method, request.payload] {
                    precondition(range.lowerBound >= 0 && range.upperBound <= input.count)
                }
            }
            guard let response = try? ResponseEnvelope(input.span) else { return }
            precondition(response.payload.count <= input.count && response.failure?.code != 0)
        }
    }
}
