import Certificates
import Registry
import RegistryStore
import TestPKI
import Testing

/// Several things wrong at once: the first in order is the answer.
@Suite struct RegistrationOrderTests {
    /// What can be wrong with a registration, in the order in which it is told.
    enum Defect: Int, CaseIterable, Comparable {
        case unknownInstance, standardEdition
        case malformedUpload, weakKey
        case notACa, unknownCritical
        case expired, brokenSignature
        case longSerialNumber
        case wrongCode, foreignProof, expiredProof
        case sameCertificate, keyElsewhere, serialNumberTaken

        static func < (left: Defect, right: Defect) -> Bool { left.rawValue < right.rawValue }

        var reason: RefusalReason {
            switch self {
            case .unknownInstance: .instanceNotFound
            case .standardEdition: .editionNotSupported
            case .malformedUpload: .certificateMalformed
            case .weakKey: .keyTooWeak
            case .notACa: .notACa
            case .unknownCritical: .certificateMalformed
            case .expired: .caExpired
            case .brokenSignature: .signatureInvalid
            case .longSerialNumber: .snTooLong
            case .wrongCode: .codeMismatch
            case .foreignProof: .verificationNotSignedByCa
            case .expiredProof: .verificationExpired
            case .sameCertificate: .caAlreadyRegistered
            case .keyElsewhere: .caOfAnotherInstance
            case .serialNumberTaken: .snAlreadyRegistered
            }
        }
    }

    private static let strongKey = TestKey.otherRSA2048

    /// A CA certificate with the defects that a file can have.
    private func certificate(_ defects: Set<Defect>) -> Entity {
        .root("Works", key: defects.contains(.weakKey) ? .rsa1024 : Self.strongKey) { recipe in
            recipe.serial = defects.contains(.longSerialNumber) ? [1] + [UInt8](repeating: 7, count: 128) : [0x21]
            if defects.contains(.notACa) { recipe.set(.basicConstraints(isCA: false)) }
            if defects.contains(.unknownCritical) { recipe.set(.unknown(critical: true)) }
            if defects.contains(.expired) { recipe.setValidity(TestTime.now - 20, TestTime.now - 10) }
            if defects.contains(.brokenSignature) {
                recipe.changeSignature = { $0.dropLast() + [$0[$0.count - 1] ^ 1] }
            }
        }
    }

    private func outcome(_ defects: Set<Defect>) throws -> RefusalReason? {
        let bench = try Bench()
        let home = "plant"
        if !defects.contains(.unknownInstance) { try bench.createInstance(home) }
        try bench.createInstance("other")
        let ca = certificate(defects)
        // Taken beforehand in ways that this very order must tell apart.
        let good = certificate([])
        if defects.contains(.sameCertificate) { try bench.register(good, with: "other") }
        if defects.contains(.keyElsewhere), !defects.contains(.sameCertificate) {
            try bench.register(
                .root("Works elsewhere", key: Self.strongKey) { $0.serial = [0x22] }, with: "other")
        }
        if defects.contains(.serialNumberTaken), !defects.contains(.sameCertificate) {
            try bench.register(authority(3, serial: [0x21]), with: "other")
        }
        let code = defects.contains(.unknownInstance) ? "none" : try bench.issueCode(home).text
        if defects.contains(.standardEdition), !defects.contains(.unknownInstance) {
            try bench.updateInstance(home, .standard)
        }
        let signer = defects.contains(.foreignProof) ? Entity.root("Works", key: .rsa3072) : ca
        let proof = signer.verification(defects.contains(.wrongCode) ? "wrong" : code) { recipe in
            if defects.contains(.expiredProof) { recipe.setValidity(TestTime.now - 20, TestTime.now - 10) }
        }
        let upload = CaUpload(
            instanceID: home, caCertificate: ca.der + (defects.contains(.malformedUpload) ? [0] : []),
            verificationCertificate: proof.der, name: "", deviceRegistration: .automatic)
        let before = try bench.revision()
        do {
            try bench.register(upload)
        } catch let refusal as Refusal {
            #expect(try bench.revision() == before)
            if !defects.contains(.unknownInstance) {
                #expect(try bench.openCodes(home).count == 1, "the code is not used up")
            }
            return refusal.reason
        }
        #expect(try bench.openCodes(home).isEmpty)
        try bench.expectSound()
        return nil
    }

    @Test func ofAllDefectsAtOnceEachIsToldWhenThoseBeforeItAreMended() throws {
        for first in Defect.allCases {
            let defects = Set(Defect.allCases.filter { $0 >= first })
            #expect(try outcome(defects) == first.reason, "\(first) and all that comes after it")
        }
        #expect(try outcome([]) == nil)
    }

    @Test func ofTwoDefectsTheFirstIsTold() throws {
        for first in Defect.allCases {
            for second in Defect.allCases where second > first {
                #expect(try outcome([first, second]) == first.reason, "\(first) and \(second)")
            }
        }
    }

    @Test(arguments: Defect.allCases)
    func eachDefectAloneIsTold(defect: Defect) throws {
        #expect(try outcome([defect]) == defect.reason)
    }

    @Test func aProofThatIsNoCertificateIsToldBeforeTheCAsKey() throws {
        let bench = try Bench()
        try bench.createInstance("plant")
        let ca = Entity.root("Works", key: .rsa1024)
        let upload = CaUpload(
            instanceID: "plant", caCertificate: ca.der, verificationCertificate: [1, 2, 3], name: "",
            deviceRegistration: .automatic)
        try bench.refused(.certificateMalformed) { try bench.register(upload) }
    }

    @Test func theCodeIsLookedAtBeforeTheProofsSignatureAndItsPeriod() throws {
        let bench = try Bench()
        try bench.createInstance("plant")
        let ca = authority(1)
        let code = try bench.issueCode("plant", seconds: 10).text
        bench.clock.advance(seconds: 10)
        var upload = bench.upload(ca, "plant", code: code)
        upload.verificationCertificate =
            authority(2).verification(code) { $0.setValidity(TestTime.now + 100, TestTime.now + 200) }.der
        try bench.refused(.codeExpired) { try bench.register(upload) }
    }
}
