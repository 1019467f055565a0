import Foundation
import Testing

/// Digests, signature schemes and keys: what is taken where, and what is not.
@Suite(.serialized) struct AlgorithmTests {
    private struct Fixture: Sendable {
        let daemon: Daemon
        let shop: CertificateShop
        /// Registered with `plant`.
        let rsa: Authority

        init() throws {
            daemon = try Daemon()
            shop = try CertificateShop()
            rsa = try shop.rsaAuthority("RSA CA")
            try daemon.createInstance("plant")
            try daemon.register(rsa, with: "plant", from: shop)
        }
    }

    private static let fixture = Result { try Fixture() }
    private let daemon: Daemon
    private let shop: CertificateShop
    private let rsa: Authority

    init() throws {
        let fixture = try Self.fixture.get()
        daemon = fixture.daemon
        shop = fixture.shop
        rsa = fixture.rsa
    }

    /// A device certificate signed with the given options of `openssl x509`.
    private func device(_ name: String, _ options: [String]) throws -> String {
        let request = shop.freshPath("csr")
        let certificate = shop.freshPath("crt")
        try openssl("req", "-new", "-key", try shop.eccKey(), "-subj", "/CN=\(name)", "-out", request)
        try openssl(
            [
                "x509", "-req", "-in", request, "-CA", rsa.certificate, "-CAkey", rsa.key, "-CAcreateserial",
                "-CAserial", shop.path("serial"), "-days", "300", "-out", certificate,
            ] + options)
        return certificate
    }

    private func selfSigned(_ name: String, digest: String) throws -> Authority {
        let key = try shop.rsaKey()
        let certificate = shop.freshPath("crt")
        try openssl(
            "req", "-new", "-x509", "-days", "3650", "-config", "/etc/ssl/openssl.cnf", "-extensions", "v3_ca",
            "-key", key, "-out", certificate, "-subj", "/CN=\(name)", "-\(digest)")
        return try shop.authority(key: key, certificate: certificate)
    }

    @Test(arguments: [
        (["-sha256"], "TRUSTED"), (["-sha384"], "TRUSTED"), (["-sha512"], "TRUSTED"),
        (["-sha256", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"], "TRUSTED"),
        (["-sha1"], "ALGORITHM_NOT_ALLOWED"), (["-md5"], "ALGORITHM_NOT_ALLOWED"),
        (["-sha224"], "ALGORITHM_NOT_ALLOWED"),
    ])
    func aDeviceIsJudgedByItsSignatureAlgorithm(options: [String], reason: String) throws {
        let verdict = try daemon.verdict("plant", try device("device", options))
        #expect(verdict.reason == reason, "\(options): \(verdict.json)")
    }

    @Test func aSelfSignatureOnSha1IsToleratedAndOneOnMd5IsNot() throws {
        try daemon.register(try selfSigned("SHA-1 CA", digest: "sha1"), with: "plant", from: shop)
        let weak = try selfSigned("MD5 CA", digest: "md5")
        let proof = try shop.verification(code: try daemon.issueCode("plant"), by: weak)
        try daemon.expectRegistrationRefusal(
            "ALGORITHM_NOT_ALLOWED", instance: "plant", ca: weak.certificate, verification: proof)
    }

    @Test func aKeyRolloverCaSignedByTheFormerKeyIsGood() throws {
        let former = try shop.eccAuthority("rollover")
        let key = try shop.eccKey()
        let certificate = try shop.issue(
            key: key, subject: "/CN=rollover", by: former,
            extensions: "basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid")
        let rolled = try shop.authority(key: key, certificate: certificate)
        let registered = try daemon.register(rolled, with: "plant", from: shop)
        #expect(registered["sn"]?.text == rolled.serialNumber)
        #expect(try daemon.verdict("plant", try shop.device("device", by: rolled)).reason == "TRUSTED")
    }

    @Test func onlyTheProofCountsInAVerificationCertificate() throws {
        let authority = try shop.eccAuthority("proved")
        let code = try daemon.issueCode("plant")
        let proof = try shop.issue(
            key: try shop.ed25519Key(), subject: "/O=Any/CN=\(code)", by: authority, serial: "-1",
            extensions: "basicConstraints=CA:TRUE\nkeyUsage=cRLSign\nextendedKeyUsage=codeSigning")
        let registered = try daemon.json(
            "ca", "register", "--instance", "plant", "--ca", authority.certificate, "--verification", proof)
        #expect(registered["sn"]?.text == authority.serialNumber)
    }

    @Test func aCriticalUnknownExtensionInAVerificationCertificateIsRefused() throws {
        let authority = try shop.eccAuthority("candidate")
        let code = try daemon.issueCode("plant")
        let proof = try shop.issue(
            key: try shop.eccKey(), subject: "/CN=\(code)", by: authority, extensions: "1.2.3.4=critical,ASN1:NULL")
        try daemon.expectRegistrationRefusal(
            "CERTIFICATE_MALFORMED", instance: "plant", ca: authority.certificate, verification: proof)
    }

    @Test func aCaForClientAuthenticationOnlyIsGood() throws {
        let key = try shop.eccKey()
        let certificate = try shop.issue(
            key: key, subject: "/CN=clients", by: try shop.eccAuthority("root"),
            extensions: "basicConstraints=CA:TRUE\nkeyUsage=keyCertSign\nextendedKeyUsage=clientAuth")
        let authority = try shop.authority(key: key, certificate: certificate)
        try daemon.register(authority, with: "plant", from: shop)
        #expect(try daemon.verdict("plant", try shop.device("device", by: authority)).reason == "TRUSTED")
    }

    @Test func anIntermediateWithAWeakKeyIsNotAllowed() throws {
        let key = try shop.rsaKey(bits: 1024)
        let certificate = try shop.issue(
            key: key, subject: "/CN=weak", by: rsa,
            extensions: "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign")
        let weak = try shop.authority(key: key, certificate: certificate)
        let verdict = try daemon.verdict("plant", try shop.device("device", by: weak), certificate)
        #expect(verdict.reason == "ALGORITHM_NOT_ALLOWED", "\(verdict.json)")
    }

    @Test func uploadsOfADeviceAreRefusedForWhatTheyHold() throws {
        let certificate = try device("device", ["-sha256"])
        let key = try shop.eccKey()
        let both = try shop.write(try shop.readText(certificate) + (try shop.readText(key)))
        let twice = try shop.write(try shop.readText(certificate) + (try shop.readText(rsa.certificate)))
        for (file, reason) in [
            (key, "PRIVATE_KEY_UPLOADED"), (both, "PRIVATE_KEY_UPLOADED"), (twice, "CERTIFICATE_MALFORMED"),
            (try shop.write("text"), "CERTIFICATE_MALFORMED"),
            (try shop.write(String(repeating: "x", count: 70_000)), "CERTIFICATE_TOO_LARGE"),
        ] {
            try daemon.expectRefusal(reason, ["device", "register", "--instance", "plant", "--cert", file])
        }
        try daemon.expectRefusal(
            "INSTANCE_NOT_FOUND", ["device", "register", "--instance", "nobody", "--cert", certificate])
    }
}
