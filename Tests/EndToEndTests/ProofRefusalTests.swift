import Foundation
import Testing

/// Codes, proofs of possession and duplicates that are refused.
@Suite(.serialized) struct ProofRefusalTests {
    private struct Fixture: Sendable {
        let daemon: Daemon
        let shop: CertificateShop
        /// Registered with `plant`.
        let registered: Authority
        let usedCode: String

        init() throws {
            daemon = try Daemon()
            shop = try CertificateShop()
            registered = try shop.eccAuthority("registered")
            try daemon.createInstance("plant")
            try daemon.createInstance("rival", edition: "platinum")
            usedCode = try daemon.issueCode("plant")
            try daemon.json(
                "ca", "register", "--instance", "plant", "--ca", registered.certificate,
                "--verification", try shop.verification(code: usedCode, by: registered))
        }
    }

    private static let fixture = Result { try Fixture() }
    private let daemon: Daemon
    private let shop: CertificateShop
    private let registered: Authority
    private let usedCode: String

    init() throws {
        let fixture = try Self.fixture.get()
        daemon = fixture.daemon
        shop = fixture.shop
        registered = fixture.registered
        usedCode = fixture.usedCode
    }

    /// Expects a CA that nobody has registered to be refused for its verification certificate.
    private func refused(
        _ reason: String, code: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let authority = try shop.eccAuthority("candidate")
        let proof = try shop.verification(code: code, by: authority)
        try daemon.expectRegistrationRefusal(
            reason, instance: "plant", ca: authority.certificate, verification: proof, sourceLocation: sourceLocation)
    }

    @Test func aCodeOfAnotherInstanceMatchesNothing() throws {
        try refused("CODE_MISMATCH", code: try daemon.issueCode("rival"))
    }

    @Test func aCodeThatNobodyIssuedMatchesNothing() throws {
        try refused("CODE_MISMATCH", code: "0123456789abcdef")
    }

    @Test func aCodeInTheOtherCaseOrWithABlankMatchesNothing() throws {
        let code = try daemon.issueCode("plant")
        let swapped = code == code.uppercased() ? code.lowercased() : code.uppercased()
        if swapped != code { try refused("CODE_MISMATCH", code: swapped) }
        try refused("CODE_MISMATCH", code: code + " ")
        try refused("CODE_MISMATCH", code: String(code.dropLast()))
    }

    @Test func twoCommonNamesMatchNothing() throws {
        let authority = try shop.eccAuthority("candidate")
        let code = try daemon.issueCode("plant")
        let proof = try shop.issue(key: try shop.eccKey(), subject: "/CN=\(code)/CN=\(code)", by: authority)
        try daemon.expectRegistrationRefusal(
            "CODE_MISMATCH", instance: "plant", ca: authority.certificate, verification: proof)
    }

    @Test func aUsedCodeIsRefusedAsUsed() throws {
        try refused("CODE_USED", code: usedCode)
    }

    @Test func aRevokedCodeMatchesNothingAndIsNoLongerListed() throws {
        let code = try daemon.issueCode("plant")
        try daemon.json("code", "revoke", "plant", String(code.prefix(12)))
        #expect(try !daemon.openCodes("plant").contains(String(code.prefix(8))))
        let authority = try shop.eccAuthority("candidate")
        let refusal = try daemon.refusal(
            "ca", "register", "--instance", "plant", "--ca", authority.certificate,
            "--verification", try shop.verification(code: code, by: authority))
        #expect(refusal.reason == "CODE_MISMATCH")
        try daemon.expectRefusal("CODE_NOT_FOUND", ["code", "revoke", "plant", code])
    }

    @Test func aCodeIsRefusedAsExpiredOnceItsTimeIsOver() throws {
        let code = try daemon.issueCode("plant", "--ttl", "1s")
        let authority = try shop.eccAuthority("late")
        let proof = try shop.verification(code: code, by: authority)
        // Each look takes a process: no more than a hundred of them fit the time.
        let deadline = Date(timeIntervalSinceNow: 3)
        var open = true
        while open, Date() < deadline { open = try daemon.openCodes("plant").contains(String(code.prefix(8))) }
        try daemon.expectRegistrationRefusal(
            "CODE_EXPIRED", instance: "plant", ca: authority.certificate, verification: proof)
    }

    @Test func aVerificationCertificateOfAnotherCaProvesNothing() throws {
        let authority = try shop.eccAuthority("claimed")
        let other = try shop.eccAuthority("other")
        let proof = try shop.verification(code: try daemon.issueCode("plant"), by: other)
        try daemon.expectRegistrationRefusal(
            "VERIFICATION_NOT_SIGNED_BY_CA", instance: "plant", ca: authority.certificate, verification: proof)
    }

    @Test func aVerificationCertificateOfASameNamedCaProvesNothing() throws {
        let authority = try shop.eccAuthority("namesake")
        let other = try shop.eccAuthority("namesake")
        let proof = try shop.verification(code: try daemon.issueCode("plant"), by: other)
        try daemon.expectRegistrationRefusal(
            "VERIFICATION_NOT_SIGNED_BY_CA", instance: "plant", ca: authority.certificate, verification: proof)
    }

    @Test(arguments: [
        ("20200101000000Z", "20210101000000Z", "VERIFICATION_EXPIRED"),
        ("20990101000000Z", "21000101000000Z", "VERIFICATION_NOT_YET_VALID"),
    ])
    func aVerificationCertificateOutsideItsPeriodIsRefused(start: String, end: String, reason: String) throws {
        let authority = try shop.eccAuthority("candidate")
        let code = try daemon.issueCode("plant")
        let proof = try shop.issue(
            key: try shop.eccKey(), subject: "/CN=\(code)", by: authority, from: start, to: end,
            extensions: "basicConstraints=CA:FALSE")
        try daemon.expectRegistrationRefusal(
            reason, instance: "plant", ca: authority.certificate, verification: proof)
    }

    @Test func aVerificationCertificateOnSha1IsNotAllowed() throws {
        let authority = try shop.eccAuthority("candidate")
        let code = try daemon.issueCode("plant")
        let request = shop.freshPath("csr")
        let proof = shop.freshPath("crt")
        try openssl("req", "-new", "-key", try shop.eccKey(), "-subj", "/CN=\(code)", "-out", request)
        try openssl(
            "x509", "-req", "-sha1", "-in", request, "-CA", authority.certificate, "-CAkey", authority.key,
            "-set_serial", "7", "-days", "300", "-out", proof)
        try daemon.expectRegistrationRefusal(
            "ALGORITHM_NOT_ALLOWED", instance: "plant", ca: authority.certificate, verification: proof)
    }

    @Test func theSameCertificateTwiceIsAlreadyRegisteredHereOrElsewhere() throws {
        for instance in ["plant", "rival"] {
            let proof = try shop.verification(code: try daemon.issueCode(instance), by: registered)
            let refusal = try daemon.expectRegistrationRefusal(
                "CA_ALREADY_REGISTERED", instance: instance, ca: registered.certificate, verification: proof)
            #expect(refusal.metadata?["sn"]?.text == registered.serialNumber)
        }
    }

    @Test func anotherKeyWithARegisteredSerialNumberIsRefused() throws {
        let rival = try shop.eccAuthority("another key", serial: "0x" + registered.serialNumber)
        for instance in ["plant", "rival"] {
            let proof = try shop.verification(code: try daemon.issueCode(instance), by: rival)
            try daemon.expectRegistrationRefusal(
                "SN_ALREADY_REGISTERED", instance: instance, ca: rival.certificate, verification: proof)
        }
    }

    @Test func theSameKeyWithANewSerialNumberIsARenewalHereAndRefusedElsewhere() throws {
        let renewed = try shop.eccAuthority("renewed", key: registered.key)
        let proof = try shop.verification(code: try daemon.issueCode("rival"), by: renewed)
        try daemon.expectRegistrationRefusal(
            "CA_OF_ANOTHER_INSTANCE", instance: "rival", ca: renewed.certificate, verification: proof)
        let answer = try daemon.register(renewed, with: "plant", from: shop)
        #expect(answer["sn"]?.text == renewed.serialNumber)
    }

    @Test func anInactiveCaKeepsItsSerialNumberAndItsOwner() throws {
        let authority = try shop.eccAuthority("inactive")
        try daemon.register(authority, with: "plant", from: shop)
        try daemon.json("ca", "unregister", authority.serialNumber)
        let proof = try shop.verification(code: try daemon.issueCode("rival"), by: authority)
        try daemon.expectRegistrationRefusal(
            "CA_ALREADY_REGISTERED", instance: "rival", ca: authority.certificate, verification: proof)
        #expect(try daemon.json("ca", "unregister", authority.serialNumber)["status"]?.text == "STATUS_INACTIVE")
    }

    @Test func anUnknownInstanceIsRefusedBeforeTheFilesAreLookedAt() throws {
        let text = try shop.write("no certificate")
        try daemon.expectRefusal(
            "INSTANCE_NOT_FOUND", ["ca", "register", "--instance", "nobody", "--ca", text, "--verification", text])
    }
}
