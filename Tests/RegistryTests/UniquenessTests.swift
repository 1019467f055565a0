import Certificates
import Registry
import RegistryStore
import Signatures
import TestPKI
import Testing

/// One CA certificate, one key and one SN in a region, and who may hold them.
@Suite struct UniquenessTests {
    private let bench: Bench
    /// An open code of each instance, for registrations that are to be refused.
    private let codes: [String: String]

    init() throws {
        bench = try Bench()
        var codes: [String: String] = [:]
        for instance in ["plant", "other"] {
            try bench.createInstance(instance)
            codes[instance] = try bench.issueCode(instance).text
        }
        self.codes = codes
    }

    private func expectRefused(
        _ reason: RefusalReason, _ ca: Entity, with instance: String, holder: Entity, of holding: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let code = try #require(codes[instance])
        let refusal = try bench.refused(reason, sourceLocation: sourceLocation) {
            try bench.register(bench.upload(ca, instance, code: code))
        }
        #expect(refusal.metadata["sn"] == holder.serialNumber.text, sourceLocation: sourceLocation)
        #expect(refusal.metadata["instance_id"] == holding, sourceLocation: sourceLocation)
        #expect(try bench.openCodes(instance).count == 1, sourceLocation: sourceLocation)
    }

    @Test func theSameCertificateIsRegisteredOnceHereOrElsewhere() throws {
        let ca = authority(1)
        try bench.register(ca, with: "plant")
        for instance in ["plant", "other"] {
            try expectRefused(.caAlreadyRegistered, ca, with: instance, holder: ca, of: "plant")
        }
        try bench.unregister(ca)
        for instance in ["plant", "other"] {
            try expectRefused(.caAlreadyRegistered, ca, with: instance, holder: ca, of: "plant")
        }
        try bench.delete(ca)
        #expect(try bench.register(ca, with: "other").record.instanceID == "other")
        try bench.expectSound()
    }

    @Test func aKeyBelongsToOneInstance() throws {
        let ca = authority(1, serial: [1])
        let renewal = authority(1, serial: [2])
        let renamed = Entity.root("Another name", key: .p256(1)) { $0.serial = [3] }
        try bench.register(ca, with: "plant")
        try expectRefused(.caOfAnotherInstance, renewal, with: "other", holder: ca, of: "plant")
        try expectRefused(.caOfAnotherInstance, renamed, with: "other", holder: ca, of: "plant")
        try bench.unregister(ca)
        try expectRefused(.caOfAnotherInstance, renewal, with: "other", holder: ca, of: "plant")
        try bench.delete(ca)
        try bench.register(renewal, with: "other")
        try expectRefused(.caOfAnotherInstance, ca, with: "plant", holder: renewal, of: "other")
    }

    @Test func theSameKeyWithANewSNInTheSameInstanceIsARenewal() throws {
        for serial in 1...4 { try bench.register(authority(1, serial: [UInt8(serial)]), with: "plant") }
        #expect(try bench.registry.instance("plant").tally.activeCas == 4)
        try bench.expectSound()
    }

    @Test func anSNIsUniqueInTheRegion() throws {
        let ca = authority(1, serial: [0x42])
        try bench.register(ca, with: "plant")
        for instance in ["plant", "other"] {
            try expectRefused(
                .snAlreadyRegistered, authority(2, serial: [0x42]), with: instance, holder: ca, of: "plant")
        }
        try bench.unregister(ca)
        try expectRefused(.snAlreadyRegistered, authority(2, serial: [0x42]), with: "other", holder: ca, of: "plant")
        try bench.register(authority(2, serial: [0x43]), with: "other")
        try bench.delete(ca)
        try bench.register(authority(3, serial: [0x42]), with: "other")
        try bench.expectSound()
    }

    @Test func theSameKeyWithTheSameSNAndOtherContentsIsNoRenewal() throws {
        let ca = authority(1, serial: [1])
        let edited = authority(1, serial: [1]) { $0.setValidity(TestTime.notBefore, TestTime.notAfter - 1) }
        try bench.register(ca, with: "plant")
        try expectRefused(.snAlreadyRegistered, edited, with: "plant", holder: ca, of: "plant")
        // The key comes before the SN.
        try expectRefused(.caOfAnotherInstance, edited, with: "other", holder: ca, of: "plant")
    }

    @Test func theKeyElsewhereIsToldBeforeTheSNElsewhere() throws {
        let key = authority(1, serial: [1])
        let number = authority(2, serial: [2])
        try bench.register(key, with: "plant")
        try bench.register(number, with: "plant")
        try expectRefused(
            .caOfAnotherInstance, authority(1, serial: [2]), with: "other", holder: key, of: "plant")
        try expectRefused(
            .snAlreadyRegistered, authority(1, serial: [2]), with: "plant", holder: number, of: "plant")
    }

    @Test func anSNIsItsNumberAndNotItsBytes() throws {
        let ca = authority(1, serial: [0x00, 0x80])
        try bench.register(ca, with: "plant")
        try expectRefused(
            .snAlreadyRegistered, authority(2, serial: [0x00, 0x80]), with: "other", holder: ca, of: "plant")
        // 0x8000 is another number, and so is 0.
        try bench.register(authority(3, serial: [0x00, 0x80, 0x00]), with: "other")
        try bench.register(authority(4, serial: [0]), with: "other")
        try bench.register(authority(5, serial: [1]), with: "other")
        let listed = try bench.registry.cas(CaFilter(), after: nil, pageSize: 10).rows.map(\.record.serialNumber.text)
        #expect(listed == ["00", "01", "80", "8000"])
    }

    @Test func anIntermediateAndItsRootAreTwoCAs() throws {
        let root = authority(1)
        let intermediate = root.authority("Below", key: .p256(11))
        try bench.register(intermediate, with: "other")
        try bench.register(root, with: "plant")
        try bench.expectSound()
    }
}
