import CaregProto
import LMDB
import Registry
import RegistryStore
import SwiftProtobuf
import TTRPC
import Testing

@testable import CaregServer

/// Refusals and faults on the wire.
@Suite struct RefusalEncodingTests {
    /// The contract's table.
    private static let codes: [(Int32, String)] = [
        (
            3,
            "INSTANCE_ID_INVALID CERTIFICATE_MALFORMED CERTIFICATE_TOO_LARGE PRIVATE_KEY_UPLOADED SN_INVALID SN_TOO_LONG "
                + "KEY_ALGORITHM_NOT_SUPPORTED KEY_TOO_WEAK NOT_A_CA SIGNATURE_INVALID ALGORITHM_NOT_ALLOWED "
                + "PAGE_TOKEN_INVALID STREAM_INVALID ARGUMENT_INVALID"
        ),
        (5, "INSTANCE_NOT_FOUND CA_NOT_FOUND DEVICE_NOT_FOUND CODE_NOT_FOUND"),
        (
            6,
            "INSTANCE_ALREADY_EXISTS SN_ALREADY_REGISTERED CA_ALREADY_REGISTERED CA_OF_ANOTHER_INSTANCE "
                + "DEVICE_ALREADY_REGISTERED"
        ),
        (7, "CALLER_NOT_ALLOWED CODE_MISMATCH VERIFICATION_NOT_SIGNED_BY_CA"), (8, "LIMIT_REACHED DISK_FULL"),
        (4, "DEADLINE_EXCEEDED"), (12, "METHOD_UNKNOWN"),
        (
            9,
            "EDITION_NOT_SUPPORTED CA_EXPIRED CA_NOT_YET_VALID VERIFICATION_EXPIRED VERIFICATION_NOT_YET_VALID "
                + "CODE_EXPIRED CODE_USED INSTANCE_NOT_EMPTY DEVICE_NOT_ISSUED_BY_CA"
        ),
        (11, "REVISION_COMPACTED REVISION_AHEAD"), (14, "SHUTTING_DOWN"),
    ]

    @Test func everyReasonHasTheCodeOfTheContract() {
        var seen: Set<String> = []
        for (code, names) in Self.codes {
            for name in names.split(separator: " ").map(String.init) {
                #expect(RefusalReason(rawValue: name)?.code.rawValue == code, "\(name)")
                seen.insert(name)
            }
        }
        #expect(seen == Set(RefusalReason.allCases.map(\.rawValue)))
    }

    @Test func aRefusalIsAStatusWithOneErrorInfo() throws {
        let failure = RPCFailure(
            WireFailure(Refusal(.caNotFound, "No such CA certificate.", metadata: ["sn": "0a"])))
        #expect(failure.code == 5 && failure.message == "No such CA certificate.")
        #expect(failure.details.map(\.typeURL) == ["type.googleapis.com/google.rpc.ErrorInfo"])
        let info = try Google_Rpc_ErrorInfo(serializedBytes: failure.details[0].value)
        #expect(info.reason == "CA_NOT_FOUND" && info.domain == "careg" && info.metadata == ["sn": "0a"])
    }

    @Test func faultsOfTheDiskAreToldApart() throws {
        struct Other: Error {}
        let faults: [(any Error, Int32, String)] = [
            (StoreFault.storage(.diskFull), 8, "DISK_FULL"), (StoreFault.storage(.readersFull), 13, "INTERNAL"),
            (StoreFault.damaged(table: "cas", key: [1], finding: .checksum), 15, "DATA_LOSS"),
            (Other(), 13, "INTERNAL"),
        ]
        for (fault, code, reason) in faults {
            let failure = WireFailure(fault)
            #expect(failure.code.rawValue == code)
            #expect(try Google_Rpc_ErrorInfo(serializedBytes: failure.errorInfo).reason == reason)
            #expect(!failure.message.isEmpty)
        }
    }

    @Test func theTransportsRefusalsHaveReasonsToo() {
        let refusals: [(ProtocolFailure, RefusalReason)] = [
            (.streamInvalid("it is even"), .streamInvalid), (.requestMalformed, .argumentInvalid),
            (.frameTooLarge(limit: 1), .limitReached), (.requestTooLarge(limit: 1), .limitReached),
            (.responseTooLarge(limit: 1), .limitReached), (.tooManyRequests(limit: 1), .limitReached),
            (.serviceUnknown("a"), .methodUnknown), (.methodUnknown(service: "a", method: "b"), .methodUnknown),
            (.deadlineExceeded, .deadlineExceeded), (.shuttingDown, .shuttingDown),
        ]
        for (failure, reason) in refusals {
            let refusal = Refusal(failure)
            #expect(refusal.reason == reason)
            #expect(refusal.message.hasSuffix("."))
        }
        #expect(!Refusal(.serviceUnknown("a\nb\u{1b}[2K")).message.contains("\n"))
    }

    @Test func everyMethodOfTheProtocolIsServed() throws {
        let daemon = try TestDaemon()
        let names = daemon.services.methods.map { "\($0.service)/\($0.name)" }
        #expect(Set(names).count == names.count)
        #expect(names.filter { $0.hasPrefix(ServiceName.registry.rawValue) }.count == 21)
        #expect(names.filter { $0.hasPrefix(ServiceName.verifier.rawValue) }.count == 4)
        #expect(names.filter { $0.hasPrefix(ServiceName.admin.rawValue) }.count == 6)
        let streams = daemon.services.methods.filter { $0.kind == .serverStream }.map(\.name).sorted()
        #expect(streams == ["Backup", "Watch"])
    }
}
