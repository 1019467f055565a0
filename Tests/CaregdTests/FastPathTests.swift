import Certificates
import Foundation
import Registry
import RegistryStore
import TestPKI
import Testing
import TrustMap
import Verification

@testable import caregd

/// The trust map and the anchors follow the registry, and say nothing that Verify does not say.
@Suite struct FastPathTests {
    private let root = Entity.root("CA")

    @Test func aDeviceIsInTheMapFromItsRegistrationOn() throws {
        let region = try TestRegion()
        try region.createInstance("plant")
        try region.register(root, with: "plant")
        let device = root.device()
        #expect(try region.look(up: device, of: "plant") == nil)
        #expect(try region.verify([device], of: "plant").registered)
        #expect(try region.look(up: device, of: "plant") == .trusted)
        #expect(try region.look(up: device, of: "other") == nil)
    }

    @Test func theStatusOfADeviceIsInTheMapWhenTheAnswerLeaves() throws {
        let region = try TestRegion()
        try region.createInstance("plant")
        let ca = try region.register(root, with: "plant")
        let device = root.device()
        _ = try region.verify([device], of: "plant")
        try region.change(device, of: ca, .deactivate)
        #expect(try region.look(up: device, of: "plant") == .deviceInactive)
        try region.change(device, of: ca, .activate)
        #expect(try region.look(up: device, of: "plant") == .trusted)
        try region.change(device, of: ca, .delete)
        #expect(try region.look(up: device, of: "plant") == .deviceDeleted)
    }

    @Test func anInactiveCaRefusesUnlessAnotherOneMightGiveAnotherPath() throws {
        let region = try TestRegion()
        try region.createInstance("plant")
        let ca = try region.register(root, with: "plant")
        let device = root.device()
        let intermediate = root.authority(key: .p256(3))
        let below = intermediate.device("below")
        _ = try region.verify([device], of: "plant")
        _ = try region.verify([below, intermediate], of: "plant")
        try region.unregister(ca)
        #expect(try region.look(up: device, of: "plant") == .caInactive)
        #expect(try region.look(up: below, of: "plant") == .caInactive)
        try region.register(.root("Other CA", key: .p256(2)), with: "plant")
        #expect(try region.look(up: device, of: "plant") == .caInactive, "nobody else's key verifies its signature")
        #expect(
            try region.look(up: below, of: "plant") == nil, "the other CA might have certified the intermediate's key")
        let renewed = try region.register(root.changed { $0.serial = [0x77] }, with: "plant")
        #expect(try region.look(up: device, of: "plant") == nil, "the key is registered twice")
        try region.delete(renewed)
        try region.activate(ca)
        #expect(try region.look(up: device, of: "plant") == .trusted)
        try region.delete(ca)
        #expect(try region.look(up: device, of: "plant") == nil)
    }

    @Test func anIntermediateWithTheKeyOfAnInactiveCaIsAsked() throws {
        let region = try TestRegion()
        try region.createInstance("plant")
        try region.register(root, with: "plant")
        let intermediate = root.authority(key: .p256(2))
        let device = intermediate.device()
        _ = try region.verify([device, intermediate], of: "plant")
        #expect(try region.look(up: device, of: "plant") == .trusted)
        let registered = try region.register(intermediate, with: "plant")
        #expect(try region.look(up: device, of: "plant") == .trusted)
        try region.unregister(registered)
        #expect(try region.look(up: device, of: "plant") == nil)
        try region.delete(registered)
        #expect(try region.look(up: device, of: "plant") == .trusted)
    }

    @Test func aDeviceThatTurnsOutToHaveTheKeyOfACaIsAsked() throws {
        let region = try TestRegion()
        try region.createInstance("plant")
        try region.register(root, with: "plant")
        let twin = root.device("twin", key: .p256(2))
        let other = root.device("other", key: .p256(3))
        _ = try region.verify([twin], of: "plant")
        _ = try region.verify([other], of: "plant")
        try region.register(.root("Second", key: .p256(2)), with: "plant")
        #expect(try region.look(up: twin, of: "plant") == nil)
        region.fill()
        #expect(try region.look(up: twin, of: "plant") == nil)
        #expect(try region.look(up: other, of: "plant") == .trusted, "the others are found again")
    }

    @Test func aCertificateThatTookADeletedOnesPlaceIsTrustedAndTheOldOneIsAsked() throws {
        let region = try TestRegion()
        try region.createInstance("plant")
        let ca = try region.register(root, with: "plant")
        let old = root.device()
        let new = old.changed { $0.setValidity(TestTime.notBefore, TestTime.notAfter - 5) }
        _ = try region.verify([old], of: "plant")
        try region.change(old, of: ca, .delete)
        try region.registerDevice([new], with: "plant")
        #expect(try region.look(up: new, of: "plant") == .trusted)
        #expect(try region.look(up: old, of: "plant") == nil)
        #expect(try region.verify([old], of: "plant", isDryRun: true).reason == .deviceSerialReused)
    }

    @Test func devicesOfADeletedCaThatMovedAreFilledInAgain() throws {
        let region = try TestRegion()
        try region.createInstance("plant")
        let first = try region.register(root, with: "plant")
        let device = root.device()
        _ = try region.verify([device], of: "plant")
        try region.register(root.changed { $0.serial = [0x55] }, with: "plant")
        try region.delete(first)
        #expect(try region.look(up: device, of: "plant") == nil)
        region.fill()
        #expect(try region.look(up: device, of: "plant") == .trusted)
    }

    @Test func aRestartSupersedesTheOldMapAndFillsTheNewOne() throws {
        let region = try TestRegion()
        try region.createInstance("plant")
        let ca = try region.register(root, with: "plant")
        let devices = (0..<300).map { root.device("device \($0)", key: .p256(900 + $0)) }
        for device in devices { _ = try region.verify([device], of: "plant") }
        try region.change(devices[7], of: ca, .deactivate)
        let old = try TrustMapReader(path: region.place.path + "/trust.map")
        try region.restart()
        #expect(old.isSuperseded)
        #expect(try region.look(up: devices[0], of: "plant") == nil)
        region.fill()
        #expect(try region.look(up: devices[0], of: "plant") == .trusted)
        #expect(try region.look(up: devices[299], of: "plant") == .trusted)
        #expect(try region.look(up: devices[7], of: "plant") == .deviceInactive)
        #expect(region.fastPath.reports.first?.isFilled == true)
        #expect(region.fastPath.problems.isEmpty)
    }

    @Test func aChangeThatComesWhileTheMapIsStillEmptyIsNotUndoneByTheFilling() throws {
        let region = try TestRegion()
        try region.createInstance("plant")
        let ca = try region.register(root, with: "plant")
        let device = root.device()
        _ = try region.verify([device], of: "plant")
        try region.restart()
        try region.change(device, of: ca, .deactivate)
        #expect(try region.look(up: device, of: "plant") == .deviceInactive)
        region.fill()
        #expect(try region.look(up: device, of: "plant") == .deviceInactive)
    }

    @Test func anInstanceIdThatIsGivenAgainKnowsNothingOfTheFormerOne() throws {
        let region = try TestRegion()
        try region.createInstance("plant")
        let ca = try region.register(root, with: "plant")
        let device = root.device()
        _ = try region.verify([device], of: "plant")
        try region.delete(ca)
        try region.deleteInstance("plant")
        #expect(try region.look(up: device, of: "plant") == nil)
        try region.createInstance("plant")
        #expect(try region.look(up: device, of: "plant") == nil)
        #expect(try region.anchorCount(of: "plant") == 0)
        try region.register(root, with: "plant")
        _ = try region.verify([device], of: "plant")
        #expect(try region.look(up: device, of: "plant") == .trusted)
    }

    @Test func theAnchorsAreTheActiveCasOfEachInstance() throws {
        let region = try TestRegion()
        try region.createInstance("plant")
        try region.createInstance("other")
        let ca = try region.register(root, with: "plant")
        try region.register(root.changed { $0.serial = [0x55] }, with: "plant")
        #expect(try region.anchorCount(of: "plant") == 2)
        #expect(try region.anchorCount(of: "other") == 0)
        try region.unregister(ca)
        #expect(try region.anchorCount(of: "plant") == 1)
        #expect(try region.place.names("anchors/plant").allSatisfy { $0.hasSuffix(".0") }, "no gap in the numbers")
        try region.place.write("junk", to: "anchors/plant/00000000.0")
        try region.place.write("junk", to: "anchors/nobody.pem")
        try region.restart()
        #expect(try region.anchorCount(of: "plant") == 1)
        try region.deleteInstance("other")
        #expect(try region.place.names("anchors") == ["plant", "plant.pem"])
    }

    @Test func aGroupThatIsRestrictedHasItsOwnMapAndAnchorsAndOthersHaveNotItsInstances() throws {
        let group = UInt32(getgid())
        let region = try TestRegion(restrictions: [group: ["secret"]])
        try region.createInstance("secret")
        try region.createInstance("plant")
        try region.register(root, with: "secret")
        let device = root.device()
        _ = try region.verify([device], of: "secret")
        #expect(try region.look(up: device, of: "secret") == nil)
        #expect(try region.look(up: device, of: "secret", in: "trust.\(group).map") == .trusted)
        #expect(try region.place.names("anchors") == ["plant", "plant.pem"])
        #expect(try region.place.names("anchors.\(group)") == ["secret", "secret.pem"])
        let map = try TrustMapReader(path: "\(region.place.path)/trust.\(group).map")

        try region.store.read { try region.fastPath.setRestrictions([:], restricted: [], snapshot: $0) }
        region.fill()
        #expect(map.isSuperseded)
        #expect(try region.look(up: device, of: "secret") == .trusted)
        #expect(try region.place.names("anchors") == ["plant", "plant.pem", "secret", "secret.pem"])
        #expect(!FileManager.default.fileExists(atPath: "\(region.place.path)/anchors.\(group)"))
    }

    @Test func whatChangesWhileAnInstanceIsOutOfScopeIsKnownWhenItComesBack() throws {
        let region = try TestRegion()
        try region.createInstance("plant")
        let ca = try region.register(root, with: "plant")
        let other = Entity.root("Other", key: .p256(77))
        let otherCA = try region.register(other, with: "plant")
        let (device, deleted, untouched) = (root.device("device"), other.device("deleted"), other.device("untouched"))
        for device in [device, deleted, untouched] { _ = try region.verify([device], of: "plant") }
        region.fill()
        #expect(try region.look(up: device, of: "plant") == .trusted)
        let former = try TrustMapReader(path: "\(region.place.path)/trust.map")
        try region.restrict([getgid(): ["plant"]])
        #expect(former.isSuperseded, "what it says of the instance is nobody's business any more")
        #expect(try region.look(up: device, of: "plant") == nil)
        try region.unregister(ca)
        try region.change(deleted, of: otherCA, .delete)
        try region.restrict([:])
        for _ in 0..<2 {
            #expect(try region.look(up: device, of: "plant") != .trusted)
            #expect(try region.look(up: deleted, of: "plant") != .trusted)
            region.fill()
        }
        #expect(try region.look(up: untouched, of: "plant") == .trusted)
    }

    /// Random changes: whatever the map says, Verify says.
    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func whateverTheMapSaysVerifySaysToo(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let region = try TestRegion()
        let roots = (1...2).map { Entity.root("Root \($0)", key: .p256($0)) }
        let intermediates = roots.enumerated().map { $1.authority("Intermediate \($0)", key: .p256(3 + $0)) }
        let authorities =
            roots + intermediates + [
                roots[0].changed { $0.serial = [0x55] }, .root("Intermediate 0", key: .p256(3)),
            ]
        let devices: [[Entity]] = (0..<10).map { number in
            let issuer = generator.pick(roots + intermediates)
            let key = generator.oneIn(5) ? issuer.key : TestKey.p256(900 + number)
            let device = issuer.device("device \(number)", key: key)
            return intermediates.contains { $0.der == issuer.der } ? [device, issuer] : [device]
        }
        let instances = ["one", "two"]
        for instance in instances { try region.createInstance(instance) }
        var registered: [SerialNumber] = []
        var hits: Set<VerdictReason> = []
        for step in 0..<150 {
            let chain = generator.pick(devices)
            let instance = generator.pick(instances)
            let ca = registered.isEmpty ? nil : generator.pick(registered)
            // What is refused changes nothing, and is as good a step as any other.
            switch generator.below(11) {
            case 10:
                if generator.oneIn(2) {
                    try region.restrict(generator.oneIn(2) ? [:] : [getgid(): [generator.pick(instances)]])
                }
            case 0, 1:
                if let ca = try? region.register(
                    generator.pick(authorities), with: instance, mode: generator.oneIn(4) ? .pending : .automatic)
                {
                    registered.append(ca)
                }
            case 2, 3, 4: _ = try region.verify(chain, of: instance)
            case 5: if let ca { try? region.unregister(ca) }
            case 6: if let ca { try? region.activate(ca) }
            case 7: if let ca, generator.oneIn(3) { try? region.delete(ca) }
            case 8:
                if let ca { try? region.change(chain[0], of: ca, generator.pick(TestRegion.DeviceChange.allCases)) }
            default:
                if generator.oneIn(3) {
                    try region.restart()
                } else {
                    try? region.registerDevice(chain, with: instance)
                }
                if generator.oneIn(2) { region.fill() }
            }
            for chain in devices {
                for instance in instances {
                    guard let said = try region.look(up: chain[0], of: instance) else { continue }
                    hits.insert(said)
                    let alone = try region.verify([chain[0]], of: instance, isDryRun: true)
                    let whole = try region.verify(chain, of: instance, isDryRun: true)
                    #expect(said == alone.reason, "seed \(seed), step \(step): \(alone)")
                    #expect(said == whole.reason, "seed \(seed), step \(step): \(whole)")
                }
            }
        }
        #expect(hits.contains(.trusted), "seed \(seed) tests nothing")
    }
}
