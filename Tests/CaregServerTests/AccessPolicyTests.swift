import CaregClient
import CaregProto
import Foundation
import Registry
import RegistryStore
import SwiftProtobuf
import TTRPC
import Testing

@testable import CaregServer

/// Who may call what.
@Suite struct AccessPolicyTests {
    private func peer(user: UInt32 = 1_000, group: UInt32 = 1_000, groups: [UInt32] = []) -> PeerCredentials {
        PeerCredentials(userID: user, groupID: group, processID: 42, groups: groups)
    }

    private func reason(_ body: () throws -> Access) -> RefusalReason? {
        do {
            _ = try body()
            return nil
        } catch {
            return (error as? Refusal)?.reason
        }
    }

    @Test func withoutRulesEachSocketServesWhatItIsFor() throws {
        let policy = AccessPolicy()
        for service in ServiceName.allCases {
            let access = try policy.access(of: peer(), to: service, on: .admin)
            #expect(access == Access(instances: nil, mayHearOfOthers: true))
        }
        #expect(try policy.access(of: peer(), to: .verifier, on: .broker).covers("any"))
        #expect(reason { try policy.access(of: peer(), to: .registry, on: .broker) } == .callerNotAllowed)
        #expect(reason { try policy.access(of: peer(), to: .admin, on: .broker) } == .callerNotAllowed)
    }

    @Test func noRuleOpensTheBrokersSocketForAnotherService() {
        let policy = AccessPolicy(rules: [.init(subject: .user(0))])
        #expect(reason { try policy.access(of: peer(user: 0), to: .admin, on: .broker) } == .callerNotAllowed)
    }

    @Test func aRuleForAGroupHoldsForItsSupplementaryMembers() throws {
        let policy = AccessPolicy(
            rules: [.init(subject: .group(77), services: [.verifier], instances: ["plant"])])
        let access = try policy.access(of: peer(groups: [5, 77]), to: .verifier, on: .broker)
        #expect(access == Access(instances: ["plant"], mayHearOfOthers: false))
        #expect(throws: Refusal.self) { try access.require("rival") }
        try access.require("plant")
        #expect(try policy.access(of: peer(), to: .verifier, on: .broker).instances == nil)
    }

    @Test func aCallerThatIsRestrictedToInstancesMayCallTheVerifierOnly() throws {
        let policy = AccessPolicy(rules: [.init(subject: .user(9), instances: ["plant"])])
        #expect(reason { try policy.access(of: peer(user: 9), to: .registry, on: .admin) } == .callerNotAllowed)
        #expect(reason { try policy.access(of: peer(user: 9), to: .admin, on: .admin) } == .callerNotAllowed)
        let access = try policy.access(of: peer(user: 9), to: .verifier, on: .admin)
        #expect(access == Access(instances: ["plant"], mayHearOfOthers: true))
    }

    @Test func whatAnyOfSeveralRulesAllowsIsAllowed() throws {
        let policy = AccessPolicy(rules: [
            .init(subject: .group(1), services: [.verifier], instances: ["a"]),
            .init(subject: .group(2), services: [.verifier], instances: ["b"]),
            .init(subject: .user(3), services: [.registry]),
        ])
        let both = peer(user: 3, groups: [1, 2])
        #expect(try policy.access(of: both, to: .verifier, on: .broker).instances == ["a", "b"])
        #expect(try policy.access(of: both, to: .registry, on: .admin).instances == nil)
        #expect(reason { try policy.access(of: both, to: .admin, on: .admin) } == .callerNotAllowed)
    }

    @Test func othersMayBeShutOut() {
        let policy = AccessPolicy(rules: [.init(subject: .user(1))], admitsOthers: false)
        #expect(reason { try policy.access(of: peer(user: 1), to: .admin, on: .admin) } == nil)
        #expect(reason { try policy.access(of: peer(user: 2), to: .verifier, on: .admin) } == .callerNotAllowed)
    }

    @Test func restrictedInstancesAreThoseOfAllRules() {
        let policy = AccessPolicy(rules: [
            .init(subject: .group(1), instances: ["a", "b"]), .init(subject: .group(1), instances: ["c"]),
            .init(subject: .user(2), instances: ["d"]), .init(subject: .group(3)),
        ])
        #expect(policy.restrictedGroups == [1: ["a", "b", "c"]])
        #expect(policy.restrictedInstances == ["a", "b", "c", "d"])
    }

    @Test func aDeniedCallIsRememberedAndLoggedAndMovesNoRevision() throws {
        let daemon = try TestDaemon()
        let client = try daemon.client(.broker)
        #expect(throws: CaregFailure.self) { try client.createInstance(.with { $0.id = "plant" }) }
        let record = try #require(try daemon.client().listRefusals(.init()).refusals.first)
        #expect(record.number == 1 && record.method == "CreateInstance" && record.reason == "CALLER_NOT_ALLOWED")
        #expect(record.callerPid == ProcessInfo.processInfo.processIdentifier && record.callerUid == geteuid())
        #expect(daemon.log.all.contains { $0.hasPrefix("warning caller denied") })
        #expect(try daemon.registry.figures().revision.number == 0)
    }

    @Test func anotherPolicyHoldsForTheNextCall() throws {
        let daemon = try TestDaemon()
        let client = try daemon.client(.broker)
        _ = try client.poll(.init())
        daemon.services.setAccess(AccessPolicy(admitsOthers: false))
        let failure = #expect(throws: CaregFailure.self) { try client.poll(.init()) }
        #expect(failure?.reason == "CALLER_NOT_ALLOWED" && failure?.codeNumber == 7)
    }

    @Test func aWatchWhoseCallerHasOtherAccessNowIsEnded() throws {
        let daemon = try TestDaemon()
        let client = try daemon.client(.broker)
        let watch = Beside { try client.watch(.init()) { _ in true } }
        #expect(eventually { daemon.watchersOpen == 1 })
        daemon.services.setAccess(AccessPolicy())
        try daemon.createInstances("a")
        #expect(daemon.watchersOpen == 1)
        daemon.services.setAccess(AccessPolicy(rules: [.init(subject: .user(geteuid()), instances: ["plant"])]))
        let failure = #expect(throws: CaregFailure.self) { try watch.value() }
        #expect(failure?.reason == "CALLER_NOT_ALLOWED")
    }

    @Test func aRestrictedCallerIsRefusedWhatIsOthersAndToldOfItsOwn() throws {
        let policy = AccessPolicy(rules: [.init(subject: .user(geteuid()), instances: ["plant"])])
        let daemon = try TestDaemon()
        try daemon.createInstances("rival", "plant", "third")
        daemon.services.setAccess(policy)
        let client = try daemon.client(.broker)
        for instance in ["rival", "nobody"] {
            let failure = #expect(throws: CaregFailure.self) {
                try client.verify(.with { $0.instanceID = instance })
            }
            #expect(failure?.reason == "CALLER_NOT_ALLOWED")
            #expect(throws: CaregFailure.self) {
                try client.listTrustAnchors(.with { $0.instanceID = instance })
            }
        }
        #expect(try client.listTrustAnchors(.with { $0.instanceID = "plant" }).trustAnchors.isEmpty)
        let page = try client.poll(.init())
        #expect(page.changes.map(\.instanceID) == ["plant"])
        #expect(page.revision == 3)
    }
}
