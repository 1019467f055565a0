import Certificates
import Registry
import RegistryStore
import Signatures
import TestPKI
import Testing
import Verification

/// Active and Inactive, and what a delete leaves behind.
@Suite struct CaStatusTests {
    private let bench: Bench
    private let ca = authority(1)

    init() throws {
        bench = try Bench()
        try bench.createInstance("plant")
        try bench.createInstance("other")
        try bench.register(ca, with: "plant")
    }

    @Test func unregisterAndActivateAreIdempotentAndMakeNoRevisionTheSecondTime() throws {
        let registered = try bench.revision()
        bench.clock.advance(seconds: 1)
        #expect(try bench.activate(ca).record.revision.number == registered)
        let inactive = try bench.unregister(ca)
        #expect(inactive.record.status == .inactive && inactive.record.revision.number == registered + 1)
        #expect(inactive.record.updateTime == bench.clock.now)
        bench.clock.advance(seconds: 1)
        let again = try bench.unregister(ca)
        #expect(again.record.status == .inactive && again.record.revision == inactive.record.revision)
        #expect(again.record.updateTime == inactive.record.updateTime)
        #expect(try bench.revision() == registered + 1)
        #expect(try bench.activate(ca).record.revision.number == registered + 2)
        #expect(try bench.activate(ca).record.revision.number == registered + 2)
        #expect(try bench.log().map(\.kind).suffix(2) == [.caUnregistered, .caActivated])
    }

    @Test func anUpdateThatChangesNothingMakesNoRevision() throws {
        let before = try bench.revision()
        try bench.update(ca)
        try bench.update(ca, name: "", .automatic)
        #expect(try bench.revision() == before)
        let view = try bench.update(ca, name: "Line 1", .pending)
        #expect(view.record.name == "Line 1" && view.record.deviceRegistration == .pending)
        #expect(try bench.update(ca, name: "").record.name == "")
        #expect(try bench.ca(ca).record.deviceRegistration == .pending)
        #expect(try bench.revision() == before + 2)
    }

    @Test func whatIsNotThereIsRefused() throws {
        let unknown = authority(9)
        try bench.refused(.caNotFound) { try bench.activate(unknown) }
        try bench.refused(.caNotFound) { try bench.unregister(unknown) }
        try bench.refused(.caNotFound) { try bench.delete(unknown) }
        try bench.refused(.caNotFound) { try bench.update(unknown, name: "x") }
        try bench.refused(.caNotFound) { try bench.ca(unknown) }
        try bench.refused(.caNotFound) { try bench.devices(under: unknown) }
        try bench.refused(.caNotFound) { try bench.deleteDevice(ca.device(), under: unknown) }
        try bench.refused(.deviceNotFound) { try bench.deleteDevice(ca.device(), under: ca) }
        try bench.refused(.instanceNotFound) { try bench.registry.instance("nowhere") }
        try bench.refused(.instanceNotFound) { try bench.deleteInstance("nowhere") }
        try bench.refused(.instanceNotFound) { try bench.updateInstance("nowhere", .platinum) }
        try bench.refused(.instanceNotFound) { try bench.openCodes("nowhere") }
        #expect(try bench.verify(ca.device(), with: "nowhere").reason == .instanceUnknown)
    }

    @Test func inactiveBarsItsDevicesAndActiveLetsThemInAgainButNotThoseDeactivatedOneByOne() throws {
        let devices = [901, 902].map { ca.device("device \($0)", key: .p256($0)) }
        for device in devices { #expect(try bench.verify(device, with: "plant").registered) }
        try bench.deactivateDevice(devices[1], under: ca)
        try bench.unregister(ca)
        #expect(try bench.verify(devices[0], with: "plant").reason == .caInactive)
        #expect(!(try bench.verify(devices[1], with: "plant").isTrusted))
        #expect(try bench.verify(ca.device("new", key: .p256(903)), with: "plant").reason == .caInactive)
        try bench.refused(.deviceNotIssuedByCa) {
            try bench.registerDevice(ca.device("new", key: .p256(903)), with: "plant")
        }
        try bench.activate(ca)
        #expect(try bench.verify(devices[0], with: "plant").reason == .trusted)
        #expect(try bench.verify(devices[1], with: "plant").reason == .deviceInactive)
        #expect(try bench.ca(ca).deviceCount == 2)
    }

    @Test func aDeviceIsChangedWhileItsCAIsInactive() throws {
        let device = ca.device()
        try bench.registerDevice(device, with: "plant")
        try bench.unregister(ca)
        #expect(try bench.deactivateDevice(device, under: ca).record.status == .inactive)
        #expect(try bench.activateDevice(device, under: ca).record.status == .active)
        #expect(!(try bench.verify(device, with: "plant").isTrusted))
    }

    @Test func deleteFreesTheSNForAnyInstanceAndForgetsDevicesAndTombstones() throws {
        let kept = ca.device("kept", key: .p256(901))
        let gone = ca.device("gone", key: .p256(902))
        try bench.registerDevice(kept, with: "plant")
        try bench.registerDevice(gone, with: "plant")
        try bench.deleteDevice(gone, under: ca)
        #expect(try bench.verify(gone, with: "plant").reason == .deviceDeleted)
        #expect(try bench.delete(ca).record.revision.number == (try bench.revision()))
        #expect(try bench.verify(kept, with: "plant").reason == .caUnknown)
        #expect(try bench.registry.instance("plant").tally == Tally())
        try bench.register(ca, with: "other")
        #expect(try bench.verify(gone, with: "other").registered, "its tombstone is gone")
        #expect(try bench.verify(kept, with: "plant").reason == .caOfAnotherInstance)
        #expect(try bench.devices(under: ca).count == 1)
        try bench.expectSound()
    }

    @Test func anInstanceIsDeletedOnlyWhenItHoldsNoCA() throws {
        try bench.unregister(ca)
        try bench.refused(.instanceNotEmpty) { try bench.deleteInstance("plant") }
        try bench.delete(ca)
        try bench.deleteInstance("plant")
        #expect(try bench.verify(ca.device(), with: "plant").reason == .instanceUnknown)
        try bench.createInstance("plant")
        #expect(try bench.registry.instance("plant").tally == Tally())
        try bench.expectSound()
    }

    // MARK: Two CA certificates with one key

    @Test func deleteMovesDevicesAndTombstonesToTheOtherCAWithTheSameKey() throws {
        let renewal = authority(1, serial: [2])
        try bench.register(renewal, with: "plant")
        let devices = [901, 902, 903, 904].map { ca.device("device \($0)", key: .p256($0)) }
        for device in devices { try bench.registerDevice(device, with: "plant") }
        let owners = try devices.map { try bench.verify($0, with: "plant").ca }
        #expect(Set(owners).count == 1)
        let first = owners[0] == ca.serialNumber ? ca : renewal
        let heir = owners[0] == ca.serialNumber ? renewal : ca
        try bench.deactivateDevice(devices[1], under: first)
        try bench.deleteDevice(devices[2], under: first)
        #expect(try bench.delete(first).deviceCount == 3)
        #expect(try bench.devices(under: heir).count == 3)
        let reasons = try devices.map { try bench.verify($0, with: "plant").reason }
        #expect(reasons == [.trusted, .deviceInactive, .deviceDeleted, .trusted])
        #expect(try bench.verify(devices[0], with: "plant").ca == heir.serialNumber)
        #expect(try bench.activateDevice(devices[1], under: heir).caSerialNumber == heir.serialNumber)
        try bench.expectSound()
        try bench.delete(heir)
        #expect(try bench.registry.figures().tally == Tally())
        try bench.expectSound()
    }

    @Test func deleteMovesDevicesBehindIntermediatesToo() throws {
        let renewal = authority(1, serial: [2])
        let intermediate = ca.authority(key: .p256(11))
        let device = intermediate.device()
        try bench.registerDevice(device, intermediate, with: "plant")
        try bench.register(renewal, with: "plant")
        try bench.delete(ca)
        #expect(try bench.verify(device, with: "plant").reason == .trusted, "its intermediate is known")
        #expect(try bench.devices(under: renewal).map(\.record.fingerprint) == [device.fingerprint])
        try bench.expectSound()
    }

    @Test func deleteMovesDevicesToAnInactiveHeirWhereThereIsNoOther() throws {
        let renewal = authority(1, serial: [2])
        let device = ca.device()
        try bench.registerDevice(device, with: "plant")
        try bench.register(renewal, with: "plant")
        try bench.unregister(renewal)
        try bench.delete(ca)
        #expect(try bench.verify(device, with: "plant").reason == .caInactive)
        #expect(try bench.devices(under: renewal).count == 1)
        try bench.activate(renewal)
        #expect(try bench.verify(device, with: "plant").reason == .trusted)
        try bench.expectSound()
    }

    @Test func oneOfTwoWithTheSameKeyBeingInactiveBarsNobody() throws {
        let renewal = authority(1, serial: [2])
        try bench.register(renewal, with: "plant")
        let device = ca.device()
        try bench.registerDevice(device, with: "plant")
        for (off, on) in [(ca, renewal), (renewal, ca)] {
            try bench.activate(on)
            try bench.unregister(off)
            let verdict = try bench.verify(device, with: "plant")
            #expect(verdict.reason == .trusted && verdict.ca == on.serialNumber)
        }
        try bench.unregister(ca)
        #expect(try bench.verify(device, with: "plant").reason == .caInactive)
    }

    /// A path must chain by name, whatever the key: an heir of another name vouches for none of these devices.
    @Test func aDeviceIsNotTrustedThroughAnHeirOfAnotherName() throws {
        let renamed = Entity.root("Another name", key: .p256(1)) { $0.serial = [2] }
        let device = ca.device()
        try bench.registerDevice(device, with: "plant")
        try bench.register(renamed, with: "plant")
        try bench.delete(ca)
        #expect(!(try bench.verify(device, with: "plant").isTrusted))
        #expect(!(try bench.verify(device, with: "plant", dryRun: true).isTrusted))
        try bench.expectSound()
    }

    enum Narrowing: CaseIterable {
        case nameConstraints, pathLength, usage
    }

    /// What the heir itself does not permit is not permitted to the devices that it inherits.
    @Test(arguments: Narrowing.allCases)
    func aDeviceIsNotTrustedThroughAnHeirWhoseConstraintsItBreaks(narrowing: Narrowing) throws {
        let intermediate = ca.authority(key: .p256(11)) { recipe in
            if narrowing == .usage { recipe.set(.extKeyUsage(OID.clientAuth)) }
        }
        let device = intermediate.device { recipe in
            recipe.set(.subjectAltName(.dns("device.example")))
        }
        let heir = authority(1, serial: [2]) { recipe in
            switch narrowing {
            case .nameConstraints: recipe.set(.nameConstraints(permitted: [.dns("elsewhere.example")]))
            case .pathLength: recipe.set(.basicConstraints(pathLength: 0))
            case .usage: recipe.set(.extKeyUsage(OID.anyExtendedKeyUsage))
            }
        }
        try bench.registerDevice(device, intermediate, with: "plant")
        try bench.register(heir, with: "plant")
        try bench.delete(ca)
        let isGood = narrowing == .usage
        #expect(try bench.verify(device, intermediate, with: "plant").isTrusted == isGood)
        // The same question about a device that nobody has seen is the measure.
        let fresh = intermediate.device("fresh", key: .p256(910)) { recipe in
            recipe.set(.subjectAltName(.dns("device.example")))
        }
        #expect(try bench.verify(fresh, intermediate, with: "plant", dryRun: true).isTrusted == isGood)
    }

    @Test func anHeirsPeriodBoundsTheDevicesThatItInherits() throws {
        let heir = authority(1, serial: [2]) { $0.setValidity(TestTime.now - 10, TestTime.now + 10) }
        let device = ca.device()
        try bench.registerDevice(device, with: "plant")
        try bench.register(heir, with: "plant")
        try bench.delete(ca)
        #expect(try bench.verify(device, with: "plant").validUntil?.secondsSince1970 == TestTime.now + 11)
        #expect(try bench.verify(device, with: "plant", dryRun: true, at: TestTime.now + 10).isTrusted)
        #expect(try bench.verify(device, with: "plant", dryRun: true, at: TestTime.now + 11).reason == .caExpired)
    }

    // MARK: Vouching

    @Test func anotherCAThatVouchesKeepsTheDevicesTrustedAndIsNamedBeforehand() throws {
        let intermediate = ca.authority("Below", key: .p256(11))
        try bench.register(intermediate, with: "plant")
        let device = intermediate.device()
        #expect(try bench.verify(device, intermediate, with: "plant").registered)
        let vouching = try bench.registry.ca(intermediate.serialNumber, signatures: SignatureVerifier()).vouching
        #expect(vouching == [ca.serialNumber])
        #expect(try bench.registry.ca(ca.serialNumber, signatures: SignatureVerifier()).vouching.isEmpty)
        try bench.unregister(intermediate)
        #expect(try bench.verify(device, intermediate, with: "plant").reason == .caInactive, "unregister refuses them")
        try bench.delete(intermediate)
        let verdict = try bench.verify(device, intermediate, with: "plant")
        #expect(verdict.isTrusted && verdict.ca == ca.serialNumber, "a deleted one is forgotten")
        try bench.expectSound()
    }
}
