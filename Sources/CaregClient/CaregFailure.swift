internal import CaregProto
internal import SwiftProtobuf
internal import TTRPC

/// A call that the daemon refused: google.rpc.Status with its google.rpc.ErrorInfo.
public struct CaregFailure: Error, Equatable, Sendable {
    /// The gRPC code's number: 3 INVALID_ARGUMENT, 5 NOT_FOUND, ...
    public var codeNumber: Int
    /// ErrorInfo's `reason`, `SN_ALREADY_REGISTERED` for instance. Empty where the daemon sent none.
    public var reason: String
    /// A sentence that a person can act on.
    public var message: String
    /// ErrorInfo's `metadata`, the holder of a serial number for instance.
    public var metadata: [String: String]

    public init(codeNumber: Int, reason: String, message: String, metadata: [String: String] = [:]) {
        self.codeNumber = codeNumber
        self.reason = reason
        self.message = message
        self.metadata = metadata
    }

    /// The gRPC code's name, `ALREADY_EXISTS` for instance.
    public var code: String {
        Self.codeNames.indices.contains(codeNumber) ? Self.codeNames[codeNumber] : "CODE_\(codeNumber)"
    }

    /// As google/rpc/code.proto spells them, in the order of their numbers.
    private static let codeNames = [
        "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
        "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
        "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
    ]
}

extension CaregFailure {
    /// What a Response's status says. Details of an unknown type are left out.
    init(_ failure: RPCFailure) {
        self.init(codeNumber: Int(failure.code), reason: "", message: failure.message)
        for detail in failure.details where detail.typeURL.hasSuffix("/" + Google_Rpc_ErrorInfo.protoMessageName) {
            guard let info = try? Google_Rpc_ErrorInfo(serializedBytes: detail.value) else { continue }
            reason = info.reason
            metadata = info.metadata
            return
        }
    }
}

/// Why no answer came.
public enum CaregConnectionError: Error, Equatable, Sendable {
    /// Nothing accepts at the socket.
    case noDaemon(path: String, errno: Int32)
    /// The connection ended before the answer: what was asked for may have been done, or not.
    case connectionLost(String)
    /// The answer did not come in time: what was asked for may have been done, or not.
    case timedOut
    /// The peer does not speak the protocol, or its answer does not decode.
    case protocolViolation(String)
}
