import Foundation
import Testing

/// The gRPC code that goes with each reason.
let codesOfReasons: [String: String] = {
    let groups: [String: [String]] = [
        "INVALID_ARGUMENT": [
            "INSTANCE_ID_INVALID", "CERTIFICATE_MALFORMED", "CERTIFICATE_TOO_LARGE", "PRIVATE_KEY_UPLOADED",
            "SN_INVALID", "SN_TOO_LONG", "KEY_ALGORITHM_NOT_SUPPORTED", "KEY_TOO_WEAK", "NOT_A_CA",
            "SIGNATURE_INVALID", "ALGORITHM_NOT_ALLOWED", "PAGE_TOKEN_INVALID", "STREAM_INVALID", "ARGUMENT_INVALID",
        ],
        "NOT_FOUND": ["INSTANCE_NOT_FOUND", "CA_NOT_FOUND", "DEVICE_NOT_FOUND", "CODE_NOT_FOUND"],
        "ALREADY_EXISTS": [
            "INSTANCE_ALREADY_EXISTS", "SN_ALREADY_REGISTERED", "CA_ALREADY_REGISTERED", "CA_OF_ANOTHER_INSTANCE",
            "DEVICE_ALREADY_REGISTERED",
        ],
        "PERMISSION_DENIED": ["CALLER_NOT_ALLOWED", "CODE_MISMATCH", "VERIFICATION_NOT_SIGNED_BY_CA"],
        "FAILED_PRECONDITION": [
            "EDITION_NOT_SUPPORTED", "CA_EXPIRED", "CA_NOT_YET_VALID", "VERIFICATION_EXPIRED",
            "VERIFICATION_NOT_YET_VALID", "CODE_EXPIRED", "CODE_USED", "INSTANCE_NOT_EMPTY", "DEVICE_NOT_ISSUED_BY_CA",
        ],
        "OUT_OF_RANGE": ["REVISION_COMPACTED", "REVISION_AHEAD"],
    ]
    return groups.reduce(into: [:]) { codes, group in
        for reason in group.value { codes[reason] = group.key }
    }
}()

extension Daemon {
    /// Expects a call to be refused with a reason, its code and exit status 1, and to change nothing.
    @discardableResult
    func expectRefusal(
        _ reason: String, _ arguments: [String], sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Refusal {
        let before = try revision()
        let refusal = try refusal(arguments)
        let call = arguments.joined(separator: " ").prefix(300)
        #expect(refusal.reason == reason, "\(call): \(refusal.message)", sourceLocation: sourceLocation)
        #expect(refusal.code == codesOfReasons[reason], "\(call)", sourceLocation: sourceLocation)
        #expect(refusal.exit == 1, "\(call)", sourceLocation: sourceLocation)
        #expect(!refusal.message.isEmpty, "\(call)", sourceLocation: sourceLocation)
        #expect(try revision() == before, "\(call): a refusal changes nothing", sourceLocation: sourceLocation)
        return refusal
    }

    /// Expects a registration to be refused, and the code to be open as before.
    @discardableResult
    func expectRegistrationRefusal(
        _ reason: String, instance: String, ca: String, verification: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Refusal {
        let codes = try openCodes(instance)
        let refusal = try expectRefusal(
            reason, ["ca", "register", "--instance", instance, "--ca", ca, "--verification", verification],
            sourceLocation: sourceLocation)
        #expect(try openCodes(instance) == codes, "no code is used up", sourceLocation: sourceLocation)
        return refusal
    }
}
