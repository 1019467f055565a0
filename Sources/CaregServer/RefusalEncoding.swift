internal import CaregProto
internal import Registry
internal import RegistryStore
internal import SwiftProtobuf

extension RefusalReason {
    /// The gRPC code that goes with a reason.
    var code: GRPCCode {
        switch self {
        case .instanceIDInvalid, .certificateMalformed, .certificateTooLarge, .privateKeyUploaded, .snInvalid,
            .snTooLong, .keyAlgorithmNotSupported, .keyTooWeak, .notACa, .signatureInvalid, .algorithmNotAllowed,
            .pageTokenInvalid, .streamInvalid, .argumentInvalid:
            .invalidArgument
        case .instanceNotFound, .caNotFound, .deviceNotFound, .codeNotFound: .notFound
        case .instanceAlreadyExists, .snAlreadyRegistered, .caAlreadyRegistered, .caOfAnotherInstance,
            .deviceAlreadyRegistered:
            .alreadyExists
        case .callerNotAllowed, .codeMismatch, .verificationNotSignedByCa: .permissionDenied
        case .limitReached, .diskFull: .resourceExhausted
        case .deadlineExceeded: .deadlineExceeded
        case .methodUnknown: .unimplemented
        case .editionNotSupported, .caExpired, .caNotYetValid, .verificationExpired, .verificationNotYetValid,
            .codeExpired, .codeUsed, .instanceNotEmpty, .deviceNotIssuedByCa:
            .failedPrecondition
        case .revisionCompacted, .revisionAhead: .outOfRange
        case .shuttingDown: .unavailable
        }
    }
}

/// The gRPC codes that are answered.
enum GRPCCode: Int32 {
    case invalidArgument = 3
    case deadlineExceeded = 4
    case notFound = 5
    case alreadyExists = 6
    case permissionDenied = 7
    case resourceExhausted = 8
    case failedPrecondition = 9
    case outOfRange = 11
    case unimplemented = 12
    case `internal` = 13
    case unavailable = 14
    case dataLoss = 15
}

/// A failure as the wire carries it: code, sentence, and the bytes of one google.rpc.ErrorInfo.
struct WireFailure {
    static let errorInfoTypeURL = "type.googleapis.com/google.rpc.ErrorInfo"

    var code: GRPCCode
    var message: String
    var errorInfo: [UInt8]

    init(code: GRPCCode, reason: String, message: String, metadata: [String: String]) {
        self.code = code
        self.message = message
        var info = Google_Rpc_ErrorInfo()
        info.reason = reason
        info.domain = "careg"
        info.metadata = metadata
        var options = BinaryEncodingOptions()
        options.useDeterministicOrdering = true
        errorInfo = (try? info.serializedBytes(options: options)) ?? []
    }

    init(_ refusal: Refusal) {
        self.init(
            code: refusal.reason.code, reason: refusal.reason.rawValue, message: refusal.message,
            metadata: refusal.metadata)
    }

    /// An expected no keeps its reason; everything else is a fault, told so that an operator can act on it.
    init(_ error: any Error) {
        switch error {
        case let refusal as Refusal:
            self.init(refusal)
        case let fault as StoreFault where fault.isDiskFull:
            self.init(
                Refusal(
                    .diskFull,
                    "The state folder's file system is full. Nothing was changed; make room and try again, no restart is "
                        + "needed."))
        case let fault as StoreFault:
            let isDamage = fault.isDamage
            self.init(
                code: isDamage ? .dataLoss : .internal, reason: isDamage ? "DATA_LOSS" : "INTERNAL",
                message: isDamage
                    ? "The registry is damaged here: \(fault). Stop caregd, run “caregd check”, and restore a backup."
                    : "The registry could not be read or written: \(fault). See the daemon's log.",
                metadata: [:])
        default:
            self.init(
                code: .internal, reason: "INTERNAL",
                message: "caregd failed to answer this call. See the daemon's log.", metadata: [:])
        }
    }
}
