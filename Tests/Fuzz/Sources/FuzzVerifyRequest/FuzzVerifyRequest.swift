import CaregProto
import Fuzzer
import SwiftProtobuf

@main struct FuzzVerifyRequest {
    /// The inner message of Verify: what was decoded encodes, and decodes to the same.
    static func main() {
        fuzz { input in
            guard let request = try? Careg_V1_VerifyRequest(serializedBytes: input) else { return }
            guard let bytes: [UInt8] = try? request.serializedBytes(),
                let again = try? Careg_V1_VerifyRequest(serializedBytes: bytes)
            else { preconditionFailure("what was decoded does not encode") }
            precondition(again == request && request.chain.reduce(0) { $0 + $1.count } <= input.count)
        }
    }
}
