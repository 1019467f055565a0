import Certificates
import Registry
import RegistryStore
import Signatures
import TestPKI
import Testing
import Verification

/// Devices: how they become known, and what bars them.
@Suite struct DeviceTests {
    private let bench: Bench
    private let ca = authority(1)

    init() throws {
        bench = try Bench()
        try bench.createInstance("plant")
        try bench.createInstance("other")
        try bench.register(ca, with: "plant")
    }

    // MARK: First sight

    @Test func theModeOfTheCADecidesOnUnknownDevices() throws {
        let devices = (901...903).map { ca.device("device \($0)", key: .p256($0)) }
        let automatic = try bench.verify(devices[0], with: "plant")
        #expect(automatic.reason == .trusted && automatic.registered)
        #expect(automatic.revision.number == (try bench.revision()))
        #expect(automatic.ca == ca.serialNumber && automatic.device == devices[0].serialNumber)
        #expect(automatic.fingerprint == devices[0].fingerprint)
        #expect(automatic.validUntil?.secondsSince1970 == TestTime.notAfter + 1)

        try bench.update(ca, .pending)
        let pending = try bench.verify(devices[1], with: "plant")
        #expect(pending.reason == .devicePending && pending.registered && pending.validUntil == nil)
        let again = try bench.verify(devices[1], with: "plant")
        #expect(again.reason == .devicePending && !again.registered)

        try bench.update(ca, .explicit)
        let explicit = try bench.verify(devices[2], with: "plant")
        #expect(explicit.reason == .deviceNotRegistered && !explicit.registered)
        #expect(try bench.devices(under: ca).count == 2)
        // Known ones stay as they are, whatever the mode.
        #expect(try bench.verify(devices[0], with: "plant").reason == .trusted)
        #expect(try bench.activateDevice(devices[1], under: ca).record.status == .active)
        #expect(try bench.verify(devices[1], with: "plant").reason == .trusted)
        try bench.registerDevice(devices[2], with: "plant")
        #expect(try bench.verify(devices[2], with: "plant").reason == .trusted)
        try bench.expectSound()
    }

    @Test func aDryRunRegistersNothing() throws {
        let before = try bench.revision()
        let verdict = try bench.verify(ca.device(), with: "plant", dryRun: true)
        #expect(verdict.reason == .trusted && !verdict.registered)
        try bench.update(ca, .pending)
        #expect(try bench.verify(ca.device(), with: "plant", dryRun: true).reason == .devicePending)
        #expect(try bench.revision() == before + 1)
        #expect(try bench.devices(under: ca).isEmpty)
    }

    @Test func aSecondVerifyChangesNothing() throws {
        let device = ca.device()
        #expect(try bench.verify(device, with: "plant").registered)
        let revision = try bench.revision()
        for _ in 0..<3 {
            let verdict = try bench.verify(device, with: "plant")
            #expect(verdict.isTrusted && !verdict.registered && verdict.revision.number == revision)
        }
        #expect(try bench.revision() == revision)
    }

    @Test func twoFirstSightsOfOneDeviceAtOnceAreOne() throws {
        let device = ca.device()
        let question = VerifyQuestion(
            instanceID: "plant", chain: [device.der], isDryRun: false, at: nil, hearsOf: nil)
        let answers = (0..<8).map { _ in Answer<Verdict>() }
        let before = try bench.revision()
        bench.inOneCommit { registry in
            for answer in answers {
                registry.verify(question, tools: VerificationTools(), caller: Bench.caller) { answer.set($0) }
            }
        }
        let verdicts = try answers.map { try $0.get() }
        #expect(verdicts.allSatisfy { $0.reason == .trusted && $0.revision.number == before + 1 })
        #expect(verdicts.count { $0.registered } == 1)
        #expect(try bench.revision() == before + 1)
        #expect(try bench.devices(under: ca).count == 1)
        try bench.expectSound()
    }

    @Test func whileTheWriterIsHeldAFirstSightIsAnsweredAndNotRegistered() throws {
        let device = ca.device()
        let before = try bench.revision()
        let answer = Answer<Verdict>()
        bench.registry.writer.hold {
            bench.registry.verify(
                VerifyQuestion(instanceID: "plant", chain: [device.der], isDryRun: false, at: nil, hearsOf: nil),
                tools: VerificationTools(), caller: Bench.caller
            ) { answer.set($0) }
        }
        let verdict = try answer.get()
        #expect(verdict.isTrusted && !verdict.registered)
        #expect(try bench.revision() == before)
        #expect(try bench.verify(device, with: "plant").registered)
    }

    @Test func twoSignaturesOverOneContentAreOneDevice() throws {
        let device = ca.device()
        let twin = device.changed { $0.changeSignature = ECDSATwin.of }
        try #require(twin.der != device.der)
        let answers = [Answer<Verdict>(), Answer<Verdict>()]
        bench.inOneCommit { registry in
            for (entity, answer) in zip([device, twin], answers) {
                registry.verify(
                    VerifyQuestion(instanceID: "plant", chain: [entity.der], isDryRun: false, at: nil, hearsOf: nil),
                    tools: VerificationTools(), caller: Bench.caller
                ) { answer.set($0) }
            }
        }
        #expect(try answers.map { try $0.get().reason } == [.trusted, .trusted])
        #expect(try bench.devices(under: ca).count == 1)
        try bench.deactivateDevice(device, under: ca)
        #expect(try bench.verify(twin, with: "plant").reason == .deviceInactive)
        try bench.deleteDevice(device, under: ca)
        #expect(try bench.verify(twin, with: "plant").reason == .deviceDeleted)
        try bench.expectSound()
    }

    @Test func aKnownDevicesContentsUnderAForeignSignatureAreNotThatDevice() throws {
        let device = ca.device()
        #expect(try bench.verify(device, with: "plant").registered)
        let forged = device.changed { $0.changeSignature = { $0.dropLast() + [$0[$0.count - 1] ^ 1] } }
        #expect(!(try bench.verify(forged, with: "plant").isTrusted))
        try bench.deactivateDevice(device, under: ca)
        #expect(!(try bench.verify(forged, with: "plant").isTrusted))
    }

    // MARK: Registrations that a change overtakes

    enum Overtaking: CaseIterable {
        case unregistered, deleted, deletedAndRegisteredAgain, toPending, toExplicit, renamedOnly, instanceGone
    }

    @Test(arguments: Overtaking.allCases)
    func aFirstSightWhoseCAChangedInBetweenIsDroppedOrDecidedAgain(overtaking: Overtaking) throws {
        let device = ca.device()
        let code = try bench.issueCode("plant").text
        let again = bench.upload(ca, "plant", code: code)
        let answer = Answer<Verdict>()
        bench.inOneCommit { registry in
            // In the queue before the sighting, and committed after its decision.
            switch overtaking {
            case .unregistered: registry.unregisterCa(ca.serialNumber, caller: Bench.caller) { _ in }
            case .deleted: registry.deleteCa(ca.serialNumber, caller: Bench.caller) { _ in }
            case .deletedAndRegisteredAgain:
                registry.deleteCa(ca.serialNumber, caller: Bench.caller) { _ in }
                registry.registerCa(again, signatures: SignatureVerifier(), caller: Bench.caller) { _ in }
            case .toPending, .toExplicit:
                registry.updateCa(
                    ca.serialNumber, name: nil, deviceRegistration: overtaking == .toPending ? .pending : .explicit,
                    caller: Bench.caller
                ) { _ in }
            case .renamedOnly:
                registry.updateCa(ca.serialNumber, name: "x", deviceRegistration: nil, caller: Bench.caller) { _ in }
            case .instanceGone:
                registry.deleteCa(ca.serialNumber, caller: Bench.caller) { _ in }
                registry.deleteInstance(id: "plant", caller: Bench.caller) { _ in }
            }
            registry.verify(
                VerifyQuestion(instanceID: "plant", chain: [device.der], isDryRun: false, at: nil, hearsOf: nil),
                tools: VerificationTools(), caller: Bench.caller
            ) { answer.set($0) }
        }
        let verdict = try answer.get()
        let expected: VerdictReason =
            switch overtaking {
            case .unregistered: .caInactive
            case .deleted: .caUnknown
            case .deletedAndRegisteredAgain, .renamedOnly: .trusted
            case .toPending: .devicePending
            case .toExplicit: .deviceNotRegistered
            case .instanceGone: .instanceUnknown
            }
        #expect(verdict.reason == expected, "\(verdict)")
        #expect(verdict.revision.number == (try bench.revision()))
        if overtaking != .deleted, overtaking != .instanceGone {
            let known = try bench.devices(under: ca)
            #expect(known.count == (verdict.registered ? 1 : 0))
            if overtaking != .renamedOnly { #expect(!known.contains { $0.record.status == .active }) }
        }
        try bench.expectSound()
    }

    @Test func aFirstSightThatMeetsTheDeviceDeactivatedOrDeletedIsBarred() throws {
        for (number, status) in [(901, VerdictReason.deviceInactive), (902, .deviceDeleted)] {
            let device = ca.device("device \(number)", key: .p256(number))
            let answer = Answer<Verdict>()
            let ca = ca
            bench.inOneCommit { registry in
                registry.registerDevice(
                    DeviceUpload(instanceID: "plant", certificate: device.der, chain: []),
                    tools: VerificationTools(), caller: Bench.caller
                ) { _ in }
                let selector = DeviceSelector(
                    ca: ca.serialNumber, serialNumber: device.serialNumber, fingerprint: nil)
                if status == .deviceInactive {
                    registry.deactivateDevice(selector, caller: Bench.caller) { _ in }
                } else {
                    registry.deleteDevice(selector, caller: Bench.caller) { _ in }
                }
                registry.verify(
                    VerifyQuestion(instanceID: "plant", chain: [device.der], isDryRun: false, at: nil, hearsOf: nil),
                    tools: VerificationTools(), caller: Bench.caller
                ) { answer.set($0) }
            }
            let verdict = try answer.get()
            #expect(verdict.reason == status && !verdict.registered && verdict.validUntil == nil)
        }
        try bench.expectSound()
    }

    @Test func anExplicitRegistrationThatAChangeOvertakesIsDecidedAgain() throws {
        let renewal = authority(1, serial: [2])
        try bench.register(renewal, with: "plant")
        let device = ca.device()
        let answer = Answer<DeviceView>()
        let ca = ca
        bench.inOneCommit { registry in
            registry.deleteCa(ca.serialNumber, caller: Bench.caller) { _ in }
            registry.registerDevice(
                DeviceUpload(instanceID: "plant", certificate: device.der, chain: []),
                tools: VerificationTools(), caller: Bench.caller
            ) { answer.set($0) }
        }
        #expect(try answer.get().caSerialNumber == renewal.serialNumber)
        #expect(try bench.devices(under: renewal).count == 1)
        let other = ca.device("other", key: .p256(901))
        let refused = Answer<DeviceView>()
        bench.inOneCommit { registry in
            registry.deleteCa(renewal.serialNumber, caller: Bench.caller) { _ in }
            registry.registerDevice(
                DeviceUpload(instanceID: "plant", certificate: other.der, chain: []),
                tools: VerificationTools(), caller: Bench.caller
            ) { refused.set($0) }
        }
        let refusal = #expect(throws: Refusal.self) { try refused.get() }
        #expect(refusal?.reason == .deviceNotIssuedByCa)
        try bench.expectSound()
    }

    @Test func theRecordOfACAThatAnIntermediateNamesInactiveOvertakesAFirstSight() throws {
        let intermediate = ca.authority(key: .p256(11))
        try bench.register(intermediate, with: "plant", .explicit)
        let device = intermediate.device()
        let answer = Answer<Verdict>()
        bench.inOneCommit { registry in
            registry.unregisterCa(intermediate.serialNumber, caller: Bench.caller) { _ in }
            registry.verify(
                VerifyQuestion(
                    instanceID: "plant", chain: [device.der, intermediate.der], isDryRun: false, at: nil, hearsOf: nil),
                tools: VerificationTools(), caller: Bench.caller
            ) { answer.set($0) }
        }
        let verdict = try answer.get()
        #expect(verdict.reason == .caInactive && !verdict.registered)
        #expect(try bench.devices(under: ca).isEmpty)
    }

    // MARK: Serial numbers

    @Test func aSerialOfTheSameKeyWithOtherContentsIsReused() throws {
        let device = ca.device { $0.serial = [5] }
        let reissued = ca.device("reissued", key: .p256(901)) { $0.serial = [5] }
        #expect(try bench.verify(device, with: "plant").registered)
        #expect(try bench.verify(reissued, with: "plant").reason == .deviceSerialReused)
        try bench.refused(.deviceAlreadyRegistered) { try bench.registerDevice(reissued, with: "plant") }
        #expect(try bench.devices(under: ca).map(\.record.fingerprint) == [device.fingerprint])
        // A renewal of the CA has the same key: the same device.
        let renewal = authority(1, serial: [2])
        try bench.register(renewal, with: "plant")
        try bench.unregister(ca)
        #expect(try bench.verify(reissued, with: "plant").reason == .deviceSerialReused)
        // In another instance with another key it is another device.
        let elsewhere = authority(2)
        try bench.register(elsewhere, with: "other")
        #expect(try bench.verify(elsewhere.device { $0.serial = [5] }, with: "other").registered)
    }

    @Test func oneSerialUnderTwoIntermediatesIsTwoDevicesAndAFingerprintSelectsOne() throws {
        let intermediates = [11, 12].map { ca.authority("Line \($0)", key: .p256($0)) }
        let devices = intermediates.map { $0.device { $0.serial = [7] } }
        for (device, intermediate) in zip(devices, intermediates) {
            #expect(try bench.verify(device, intermediate, with: "plant").registered)
        }
        let refusal = try bench.refused(.argumentInvalid) { try bench.deleteDevice(devices[0], under: ca) }
        for device in devices { #expect(refusal.metadata["fingerprints"]?.contains(device.fingerprint.hex) == true) }
        try bench.deleteDevice(devices[0], under: ca, fingerprint: devices[0].fingerprint)
        #expect(try bench.verify(devices[0], intermediates[0], with: "plant").reason == .deviceDeleted)
        #expect(try bench.verify(devices[1], intermediates[1], with: "plant").isTrusted)
        // The tombstone does not count: one is left.
        try bench.refused(.deviceNotFound) {
            try bench.deleteDevice(devices[0], under: ca, fingerprint: devices[0].fingerprint)
        }
        #expect(try bench.deactivateDevice(devices[1], under: ca).record.fingerprint == devices[1].fingerprint)
        try bench.expectSound()
    }

    @Test func serialsFromMinusOneTo128BytesAreToldApart() throws {
        let serials: [[UInt8]] = [
            [0], [0xff], [0x00, 0xff], [1], [0x01, 0x00], [0x00, 0x80], [0x80],
            [0x7f] + [UInt8](repeating: 0, count: 127), [0x00] + [UInt8](repeating: 0xfe, count: 128),
        ]
        let devices = serials.enumerated().map { index, serial in
            ca.device("device \(index)", key: .p256(900 + index)) { $0.serial = serial }
        }
        for device in devices { #expect(try bench.verify(device, with: "plant").registered) }
        #expect(try bench.registry.figures().tally.activeDevices == Int64(serials.count))
        for device in devices {
            #expect(try bench.deactivateDevice(device, under: ca).record.fingerprint == device.fingerprint)
        }
        var paged: [String] = []
        var cursor: DeviceCursor?
        repeat {
            let page = try bench.registry.devices(of: ca.serialNumber, DeviceFilter(), after: cursor, pageSize: 2)
            paged += page.rows.map(\.record.serialNumber.text)
            cursor = page.next
        } while cursor != nil
        #expect(paged.count == serials.count && Set(paged).count == serials.count)
        #expect(paged == (try bench.devices(under: ca).map(\.record.serialNumber.text)))
        let long = ca.device("long", key: .p256(920)) { $0.serial = [1] + [UInt8](repeating: 1, count: 128) }
        #expect(try bench.verify(long, with: "plant").reason == .certificateMalformed)
        try bench.expectSound()
    }

    // MARK: Tombstones

    @Test func aDeletedDeviceDoesNotRegisterItselfOnWhateverPathAndAnExplicitRegistrationLiftsIt() throws {
        let intermediate = ca.authority(key: .p256(11))
        let device = intermediate.device()
        #expect(try bench.verify(device, intermediate, with: "plant").registered)
        let deleted = try bench.deleteDevice(device, under: ca)
        #expect(deleted.record.der == device.der, "the certificate is in the answer for the last time")
        #expect(try bench.devices(under: ca).isEmpty && bench.ca(ca).deviceCount == 0)
        try bench.refused(.deviceNotFound) { try bench.activateDevice(device, under: ca) }
        #expect(try bench.verify(device, intermediate, with: "plant").reason == .deviceDeleted)

        // The intermediate itself as the anchor, and the root renewed.
        try bench.register(intermediate, with: "plant")
        #expect(try bench.verify(device, intermediate, with: "plant").reason == .deviceDeleted)
        let renewal = authority(1, serial: [2])
        try bench.register(renewal, with: "plant")
        try bench.delete(ca)
        #expect(try bench.verify(device, intermediate, with: "plant").reason == .deviceDeleted)
        try bench.update(renewal, .pending)
        #expect(try bench.verify(device, intermediate, with: "plant").reason == .deviceDeleted)

        let lifted = try bench.registerDevice(device, intermediate, with: "plant")
        #expect(lifted.record.status == .active && lifted.record.der == device.der)
        #expect(try bench.verify(device, intermediate, with: "plant").reason == .trusted)
        try bench.expectSound()
    }

    @Test func aTombstoneBarsItsSerialForOtherContentsTooUntilItIsLifted() throws {
        let device = ca.device { $0.serial = [5] }
        let reissued = ca.device("reissued", key: .p256(901)) { $0.serial = [5] }
        try bench.registerDevice(device, with: "plant")
        try bench.deleteDevice(device, under: ca)
        #expect(!(try bench.verify(reissued, with: "plant").isTrusted))
        #expect(try bench.registerDevice(reissued, with: "plant").record.fingerprint == reissued.fingerprint)
        #expect(try bench.verify(reissued, with: "plant").reason == .trusted)
        #expect(try bench.verify(device, with: "plant").reason == .deviceSerialReused)
        try bench.expectSound()
    }

    @Test func aTombstoneOutlivesARestart() throws {
        let device = ca.device()
        try bench.registerDevice(device, with: "plant")
        try bench.deleteDevice(device, under: ca)
        try bench.crashAndReopen()
        #expect(try bench.verify(device, with: "plant").reason == .deviceDeleted)
        try bench.expectSound()
    }

    // MARK: Explicit registration

    @Test func anExplicitRegistrationOverlooksThePeriodOfTheDeviceAndNothingElse() throws {
        let past = ca.device("past", key: .p256(901)) { $0.setValidity(TestTime.now - 10, TestTime.now - 1) }
        let future = ca.device("future", key: .p256(902)) { $0.setValidity(TestTime.now + 1, TestTime.now + 9) }
        #expect(try bench.registerDevice(past, with: "plant").record.status == .active)
        #expect(try bench.registerDevice(future, with: "plant").record.status == .active)
        #expect(try bench.verify(past, with: "plant").reason == .deviceExpired)
        #expect(try bench.verify(future, with: "plant").reason == .deviceNotYetValid)
        let stranger = authority(9).device()
        try bench.refused(.deviceNotIssuedByCa) { try bench.registerDevice(stranger, with: "plant") }
        try bench.refused(.deviceNotIssuedByCa) { try bench.registerDevice(ca.device(), with: "other") }
        try bench.refused(.instanceNotFound) { try bench.registerDevice(ca.device(), with: "nowhere") }
        try bench.refused(.deviceAlreadyRegistered) { try bench.registerDevice(past, with: "plant") }
        let authority = ca.authority("no device", key: .p256(11))
        #expect(throws: Refusal.self) { try bench.registerDevice(authority, with: "plant") }
        let server = ca.device { $0.set(.extKeyUsage(OID.serverAuth)) }
        #expect(throws: Refusal.self) { try bench.registerDevice(server, with: "plant") }
        try bench.expectSound()
    }

    @Test func whatIsKnownIsRegisteredOnceWhateverItsStatus() throws {
        let device = ca.device()
        try bench.update(ca, .pending)
        #expect(try bench.verify(device, with: "plant").registered)
        try bench.refused(.deviceAlreadyRegistered) { try bench.registerDevice(device, with: "plant") }
        try bench.activateDevice(device, under: ca)
        try bench.refused(.deviceAlreadyRegistered) { try bench.registerDevice(device, with: "plant") }
        try bench.deactivateDevice(device, under: ca)
        try bench.refused(.deviceAlreadyRegistered) { try bench.registerDevice(device, with: "plant") }
        #expect(try bench.verify(device, with: "plant").reason == .deviceInactive)
    }

    @Test func activateAndDeactivateAreIdempotent() throws {
        let device = ca.device()
        try bench.registerDevice(device, with: "plant")
        let before = try bench.revision()
        try bench.activateDevice(device, under: ca)
        #expect(try bench.revision() == before)
        #expect(try bench.deactivateDevice(device, under: ca).record.revision.number == before + 1)
        #expect(try bench.deactivateDevice(device, under: ca).record.revision.number == before + 1)
        #expect(try bench.revision() == before + 1)
    }

    // MARK: What an Inactive key bars

    @Test func aPathThroughAnInactiveRegisteredCAIsNone() throws {
        let intermediate = ca.authority(key: .p256(11))
        let device = intermediate.device()
        try bench.register(intermediate, with: "plant")
        #expect(try bench.verify(device, intermediate, with: "plant").isTrusted)
        try bench.unregister(intermediate)
        #expect(try bench.verify(device, intermediate, with: "plant").reason == .caInactive)
        let fresh = intermediate.device("fresh", key: .p256(901))
        #expect(try bench.verify(fresh, intermediate, with: "plant").reason == .caInactive)
        // Another certificate of the same key, Active, makes the key good again.
        let renewal = ca.authority(key: .p256(11)) { $0.serial = [9] }
        try bench.register(renewal, with: "plant")
        #expect(try bench.verify(fresh, intermediate, with: "plant").isTrusted)
        try bench.unregister(renewal)
        #expect(try bench.verify(fresh, intermediate, with: "plant").reason == .caInactive)
    }

    @Test func anInactiveCAOfAnotherInstanceBarsNoIntermediateHere() throws {
        let intermediate = ca.authority(key: .p256(11))
        try bench.register(intermediate, with: "other")
        try bench.unregister(intermediate)
        #expect(try bench.verify(intermediate.device(), intermediate, with: "plant").isTrusted)
    }

    @Test func aDeviceWithTheKeyOfAnInactiveCAIsBarred() throws {
        let second = authority(2)
        try bench.register(second, with: "plant")
        let device = ca.device(key: .p256(2))
        #expect(try bench.verify(device, with: "plant").isTrusted)
        try bench.unregister(second)
        #expect(try bench.verify(device, with: "plant").reason == .caInactive)
        #expect(try bench.verify(ca.device("new", key: .p256(2)), with: "plant").reason == .caInactive)
        try bench.activate(second)
        #expect(try bench.verify(device, with: "plant").isTrusted)
    }

    // MARK: Where several CAs would do

    @Test func ofSeveralCAsTheOneThatLetsMoreInTakesTheDevice() throws {
        let renewal = authority(1, serial: [2])
        try bench.update(ca, .explicit)
        try bench.register(renewal, with: "plant", .pending)
        let first = ca.device("first", key: .p256(901))
        let pending = try bench.verify(first, with: "plant")
        #expect(pending.reason == .devicePending && pending.registered && pending.ca == renewal.serialNumber)
        let third = authority(1, serial: [3])
        try bench.register(third, with: "plant", .automatic)
        let trusted = try bench.verify(ca.device("second", key: .p256(902)), with: "plant")
        #expect(trusted.isTrusted && trusted.registered && trusted.ca == third.serialNumber)
        #expect(try bench.verify(first, with: "plant").reason == .devicePending, "pending bars it on every path")
    }

    @Test func inactivePendingAndDeletedBarADeviceOnEveryPath() throws {
        let renewal = authority(1, serial: [2])
        let device = ca.device()
        try bench.update(ca, .pending)
        #expect(try bench.verify(device, with: "plant").registered)
        try bench.register(renewal, with: "plant", .automatic)
        try bench.unregister(ca)
        #expect(try bench.verify(device, with: "plant").reason == .devicePending)
        try bench.activateDevice(device, under: ca)
        #expect(try bench.verify(device, with: "plant").isTrusted)
        try bench.deactivateDevice(device, under: ca)
        #expect(try bench.verify(device, with: "plant").reason == .deviceInactive)
        try bench.deleteDevice(device, under: ca)
        #expect(try bench.verify(device, with: "plant").reason == .deviceDeleted)
        #expect(try bench.devices(under: renewal).isEmpty)
    }

    @Test func anUnknownCAsRefusalNamesNoOtherInstanceToThoseWhoMayNotHear() throws {
        let device = ca.device()
        let registry = bench.registry
        func ask(_ hears: Set<String>?) throws -> Verdict {
            try bench.call {
                $0.verify(
                    VerifyQuestion(instanceID: "other", chain: [device.der], isDryRun: true, at: nil, hearsOf: hears),
                    tools: VerificationTools(), caller: Bench.caller, completion: $1)
            }
        }
        _ = registry
        let told = try ask(nil)
        #expect(told.reason == .caOfAnotherInstance && told.ca == ca.serialNumber)
        #expect(try ask(["other", "plant"]).reason == .caOfAnotherInstance)
        for hears: Set<String> in [[], ["other"], ["third"]] {
            let silent = try ask(hears)
            #expect(silent.reason == .caUnknown && silent.ca == nil && !silent.detail.contains("plant"))
        }
    }
}
