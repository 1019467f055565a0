import Certificates
import Registry
import RegistryStore
import TestPKI
import Testing

/// Registration codes: what they are, how long they live, and what else is told from them.
@Suite struct CodeTests {
    private let bench: Bench
    private let ca = authority(1)

    init() throws {
        bench = try Bench()
        try bench.createInstance("plant")
        try bench.createInstance("other")
    }

    @discardableResult
    private func registration(_ code: String) throws -> CaView {
        try bench.register(bench.upload(ca, "plant", code: code))
    }

    @Test func aCodeIsLongRandomAndShownWholeOnce() throws {
        let codes = try (0..<20).map { _ in try bench.issueCode("plant") }
        for code in codes {
            #expect(code.text.utf8.count <= 64)
            #expect(code.text.utf8.count >= 43, "256 bits in at most 6 bits a character")
            #expect(code.text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") })
            #expect(code.record.expireTime.milliseconds - code.record.createTime.milliseconds == 30 * 86_400_000)
        }
        #expect(Set(codes.map(\.text)).count == codes.count)
        let listed = try bench.openCodes("plant")
        #expect(Set(listed.map(\.text)) == Set(codes.map { String($0.text.prefix(8)) }))
        let bytes = try #require(try Files.read(bench.dataFile, limit: 1 << 30))
        for code in codes {
            #expect(!bytes.contains(code.text.utf8), "only a hash is stored")
        }
    }

    @Test func aCodeIsGoodInItsLastMomentAndNotAfterIt() throws {
        let code = try bench.issueCode("plant", seconds: 60).text
        bench.clock.advance(milliseconds: 60_000)
        try bench.refused(.codeExpired) { try registration(code) }
        #expect(try bench.openCodes("plant").isEmpty)
        bench.clock.advance(milliseconds: -1)
        #expect(try registration(code).record.status == .active)
    }

    @Test func aCodeWorksOnce() throws {
        let code = try bench.issueCode("plant").text
        try registration(code)
        #expect(try bench.openCodes("plant").isEmpty)
        try bench.refused(.codeUsed) { try bench.register(bench.upload(authority(2), "plant", code: code)) }
        // A code that was used is told from a guess before the certificate is told from another.
        try bench.refused(.codeUsed) { try registration(code) }
    }

    @Test func aRefusedRegistrationDoesNotUseTheCodeUp() throws {
        let code = try bench.issueCode("plant").text
        try bench.register(authority(3, serial: [0x31]), with: "other")
        let duplicate = authority(1, serial: [0x31])
        try bench.refused(.snAlreadyRegistered) { try bench.register(bench.upload(duplicate, "plant", code: code)) }
        #expect(try bench.openCodes("plant").count == 1)
        try registration(code)
    }

    @Test func aCodeOfAnotherInstanceIsNone() throws {
        let code = try bench.issueCode("other").text
        let refusal = try bench.refused(.codeMismatch) { try registration(code) }
        #expect(!refusal.message.contains(code))
    }

    @Test func aRevokedCodeIsNone() throws {
        let code = try bench.issueCode("plant").text
        try bench.revokeCode("plant", String(code.prefix(8)))
        try bench.refused(.codeMismatch) { try registration(code) }
    }

    @Test func severalCodesMayBeOpenAndEachIsGood() throws {
        let codes = try (0..<3).map { _ in try bench.issueCode("plant").text }
        try registration(codes[1])
        try bench.register(bench.upload(authority(2), "plant", code: codes[2]))
        #expect(try bench.openCodes("plant").map(\.text) == [String(codes[0].prefix(8))])
    }

    enum Twist: CaseIterable {
        case none, otherCase, blankBefore, blankAfter, shorter, longer, empty, prefixOnly
        case twoNames, twoNamesInOnePart, sameNameTwice, noName, otherAttribute, printable, bmp, withOrganization
    }

    @Test(arguments: Twist.allCases)
    func theCommonNameEqualsTheCodeCharacterByCharacter(twist: Twist) throws {
        let code = try bench.issueCode("plant").text
        func named(_ text: String) -> TestName { TestName(commonName: text) }
        let common = TestName.Attribute.utf8(OID.commonName, code)
        let other = TestName.Attribute.utf8(OID.commonName, "other")
        let swapped = String(code.map { $0.isUppercase ? Character($0.lowercased()) : Character($0.uppercased()) })
        let (subject, isGood): (TestName, Bool) =
            switch twist {
            case .none: (named(code), true)
            case .otherCase: (named(swapped), false)
            case .blankBefore: (named(" " + code), false)
            case .blankAfter: (named(code + " "), false)
            case .shorter: (named(String(code.dropLast())), false)
            case .longer: (named(code + "A"), false)
            case .empty: (named(""), false)
            case .prefixOnly: (named(String(code.prefix(8))), false)
            case .twoNames: (TestName(common, other), false)
            case .twoNamesInOnePart: (TestName(parts: [[common, other]]), false)
            case .sameNameTwice: (TestName(common, common), false)
            case .noName: (.empty, false)
            case .otherAttribute: (TestName(.utf8(OID.organization, code)), false)
            case .printable: (TestName(.printable(OID.commonName, code)), true)
            case .bmp: (TestName(.bmp(OID.commonName, code)), true)
            case .withOrganization: (TestName(.utf8(OID.organization, "Works"), common), true)
            }
        var upload = bench.upload(ca, "plant", code: code)
        upload.verificationCertificate = ca.verification(code) { $0.subject = subject.der }.der
        if isGood {
            #expect(try bench.register(upload).record.status == .active)
        } else {
            try bench.refused(.codeMismatch) { try bench.register(upload) }
            #expect(try bench.openCodes("plant").count == 1)
        }
    }

    @Test func revocationTakesABeginningThatFitsOneOpenCodeOnly() throws {
        var codes: [String] = []
        // Until two begin with the same character: 62 of them are the most that may differ.
        while Set(codes.map(\.first)).count == codes.count { codes.append(try bench.issueCode("plant").text) }
        let shared = String(try #require(codes.last).prefix(1))
        try bench.refused(.argumentInvalid) { try bench.revokeCode("plant", shared) }
        try bench.refused(.codeNotFound) { try bench.revokeCode("plant", "-") }
        try bench.refused(.codeNotFound) { try bench.revokeCode("other", codes[0]) }
        try bench.refused(.argumentInvalid) { try bench.revokeCode("plant", "") }
        let view = try bench.revokeCode("plant", codes[0])
        #expect(view.record.revision.number == (try bench.revision()))
        #expect(try bench.openCodes("plant").count == codes.count - 1)
        try bench.refused(.codeNotFound) { try bench.revokeCode("plant", codes[0]) }
    }

    @Test func aWholeCodeIsToldByItsHashAndAShorterBeginningByWhatIsKept() throws {
        let code = try bench.issueCode("plant").text
        let other = code.prefix(8) + String(repeating: "0", count: code.count - 8)
        try bench.refused(.codeNotFound) { try bench.revokeCode("plant", String(other)) }
        let wrong = code.prefix(7) + (code.prefix(8).hasSuffix("A") ? "B" : "A")
        try bench.refused(.codeNotFound) { try bench.revokeCode("plant", "\(wrong)\(code.dropFirst(8).prefix(12))") }
        _ = try bench.revokeCode("plant", String(code.prefix(20)))
        #expect(try bench.openCodes("plant").isEmpty)
    }

    @Test func anInstanceOfTheStandardEditionGetsNoCode() throws {
        try bench.createInstance("small", .standard)
        try bench.refused(.editionNotSupported) { try bench.issueCode("small") }
        try bench.refused(.instanceNotFound) { try bench.issueCode("nowhere") }
        try bench.updateInstance("small", .platinum)
        _ = try bench.issueCode("small")
    }

    @Test func aLifetimeIsFromOneSecondToItsLimit() throws {
        try bench.refused(.argumentInvalid) { try bench.issueCode("plant", seconds: 0) }
        try bench.refused(.argumentInvalid) { try bench.issueCode("plant", seconds: -1) }
        try bench.refused(.argumentInvalid) { try bench.issueCode("plant", seconds: .max) }
        let most = RegistryLimits().longestCodeLifetimeSeconds
        try bench.refused(.argumentInvalid) { try bench.issueCode("plant", seconds: most + 1) }
        #expect(
            try bench.issueCode("plant", seconds: most).record.expireTime.milliseconds
                == bench.clock.now.milliseconds + most * 1_000)
    }

    @Test func theCodesOfADeletedInstanceAreGoneForItsNamesake() throws {
        let code = try bench.issueCode("plant").text
        try bench.deleteInstance("plant")
        try bench.createInstance("plant")
        #expect(try bench.openCodes("plant").isEmpty)
        try bench.refused(.codeMismatch) { try registration(code) }
        try bench.expectSound()
    }

    @Test func anUploadUnderAWrongCodeIsRefusedForTheCodeWhateverElseTheProofLacks() throws {
        var upload = bench.upload(ca, "plant", code: "none")
        upload.verificationCertificate = authority(2).verification("none") { $0.setValidity(0, 1) }.der
        try bench.refused(.codeMismatch) { try bench.register(upload) }
    }
}
