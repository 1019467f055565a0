/// Why a call is refused. The raw values are the ErrorInfo reasons of the protocol.
public enum RefusalReason: String, Sendable, CaseIterable {
    case instanceIDInvalid = "INSTANCE_ID_INVALID"
    case certificateMalformed = "CERTIFICATE_MALFORMED"
    case certificateTooLarge = "CERTIFICATE_TOO_LARGE"
    case privateKeyUploaded = "PRIVATE_KEY_UPLOADED"
    case snInvalid = "SN_INVALID"
    case snTooLong = "SN_TOO_LONG"
    case keyAlgorithmNotSupported = "KEY_ALGORITHM_NOT_SUPPORTED"
    case keyTooWeak = "KEY_TOO_WEAK"
    case notACa = "NOT_A_CA"
    case signatureInvalid = "SIGNATURE_INVALID"
    case algorithmNotAllowed = "ALGORITHM_NOT_ALLOWED"
    case pageTokenInvalid = "PAGE_TOKEN_INVALID"
    case streamInvalid = "STREAM_INVALID"
    case argumentInvalid = "ARGUMENT_INVALID"
    case instanceNotFound = "INSTANCE_NOT_FOUND"
    case caNotFound = "CA_NOT_FOUND"
    case deviceNotFound = "DEVICE_NOT_FOUND"
    case codeNotFound = "CODE_NOT_FOUND"
    case instanceAlreadyExists = "INSTANCE_ALREADY_EXISTS"
    case snAlreadyRegistered = "SN_ALREADY_REGISTERED"
    case caAlreadyRegistered = "CA_ALREADY_REGISTERED"
    case caOfAnotherInstance = "CA_OF_ANOTHER_INSTANCE"
    case deviceAlreadyRegistered = "DEVICE_ALREADY_REGISTERED"
    case callerNotAllowed = "CALLER_NOT_ALLOWED"
    case codeMismatch = "CODE_MISMATCH"
    case verificationNotSignedByCa = "VERIFICATION_NOT_SIGNED_BY_CA"
    case limitReached = "LIMIT_REACHED"
    case diskFull = "DISK_FULL"
    case deadlineExceeded = "DEADLINE_EXCEEDED"
    case methodUnknown = "METHOD_UNKNOWN"
    case editionNotSupported = "EDITION_NOT_SUPPORTED"
    case caExpired = "CA_EXPIRED"
    case caNotYetValid = "CA_NOT_YET_VALID"
    case verificationExpired = "VERIFICATION_EXPIRED"
    case verificationNotYetValid = "VERIFICATION_NOT_YET_VALID"
    case codeExpired = "CODE_EXPIRED"
    case codeUsed = "CODE_USED"
    case instanceNotEmpty = "INSTANCE_NOT_EMPTY"
    case deviceNotIssuedByCa = "DEVICE_NOT_ISSUED_BY_CA"
    case revisionCompacted = "REVISION_COMPACTED"
    case revisionAhead = "REVISION_AHEAD"
    case shuttingDown = "SHUTTING_DOWN"
}

/// An expected no: what was asked cannot be, and nothing has changed.
public struct Refusal: Error, Sendable {
    public var reason: RefusalReason
    /// A sentence that a person can act on.
    public var message: String
    /// More for programs: `sn`, `instance_id`, `fingerprints`, ...
    public var metadata: [String: String]

    /// All fields.
    public init(_ reason: RefusalReason, _ message: String, metadata: [String: String] = [:]) {
        self.reason = reason
        self.message = message
        self.metadata = metadata
    }
}
