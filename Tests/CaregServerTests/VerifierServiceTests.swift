import CaregClient
import CaregProto
import Foundation
import RegistryStore
import SwiftProtobuf
import Synchronization
import TTRPC
import Testing
import Verification

@testable import CaregServer
@testable import Registry

/// Verify and what is around it; what verdicts say is the Registry's.
@Suite struct VerifierServiceTests {
    @Test func whatIsNoCertificateIsAVerdictAndNoRefusal() throws {
        let daemon = try TestDaemon()
        try daemon.createInstances("plant")
        let client = try daemon.client(.broker)
        for chain in [[], [[]], [[1, 2, 3]]] as [[[UInt8]]] {
            let verdict = try client.verify(
                .with {
                    $0.instanceID = "plant"
                    $0.chain = chain.map { .init($0) }
                }
            ).verdict
            #expect(!verdict.trusted && verdict.reason == .certificateMalformed && verdict.revision == 1)
        }
        let unknown = try client.verify(.with { $0.instanceID = "nobody" }).verdict
        #expect(unknown.reason == .instanceUnknown)
    }

    @Test func anotherTimeIsForDryRunsOnly() throws {
        let daemon = try TestDaemon()
        defer { daemon.stop() }
        let client = try daemon.client(.broker)
        let failure = #expect(throws: CaregFailure.self) { try client.verify(.with { $0.at.seconds = 5 }) }
        #expect(failure?.reason == "ARGUMENT_INVALID" && failure?.metadata["field"] == "at")
        _ = try client.verify(
            .with {
                $0.at.seconds = 5
                $0.dryRun = true
            })
    }

    @Test func reasonsHaveTheNumbersOfTheProtocol() {
        for reason in VerdictReason.allCases {
            let encoded = Careg_V1_Verdict(Verdict(reason: reason))
            #expect(encoded.reason.rawValue == Int(reason.rawValue))
            #expect(encoded.trusted == (reason == .trusted))
        }
        #expect(Careg_V1_Reason.allCases.count == VerdictReason.allCases.count + 1)
    }

    @Test func callsThatWaitForAThreadPastTheirLimitAreRefused() throws {
        var limits = ServiceLimits()
        limits.waitingVerifications = 0
        let daemon = try TestDaemon(limits: limits)
        defer { daemon.stop() }
        let client = try daemon.client()
        let failure = #expect(throws: CaregFailure.self) { try client.getCaCertificate(.with { $0.sn = "0a" }) }
        #expect(failure?.reason == "LIMIT_REACHED" && failure?.metadata["limit"] == "waiting_verifications")
    }
}

extension Verdict {
    /// A verdict of revision 1 about nothing.
    init(reason: VerdictReason) {
        self.init(reason: reason, revision: Revision(1))
    }
}
