import Certificates
import Foundation
import Registry
import RegistryStore
import TestPKI
import Testing

/// Each rule of a CA certificate and of its proof, with a neighbour that passes.
@Suite struct RegistrationRuleTests {
    private let bench: Bench

    init() throws {
        bench = try Bench()
        try bench.createInstance("plant")
    }

    private func outcome(
        _ ca: Entity, file: [UInt8]? = nil, proof change: Entity.Change = { _ in }, signer: Entity? = nil,
        proofFile: (([UInt8]) -> [UInt8])? = nil
    ) throws -> RefusalReason? {
        let code = try bench.issueCode("plant").text
        let proof = (signer ?? ca).verification(code, changing: change).der
        let upload = CaUpload(
            instanceID: "plant", caCertificate: file ?? ca.der, verificationCertificate: proofFile?(proof) ?? proof,
            name: "", deviceRegistration: .automatic)
        let before = try bench.revision()
        do {
            let view = try bench.register(upload)
            #expect(view.record.der == ca.der && view.record.fingerprint == ca.fingerprint)
            #expect(view.record.revision.number == before + 1 && view.record.status == .active)
            return nil
        } catch let refusal as Refusal {
            #expect(try bench.revision() == before)
            #expect(!refusal.message.contains(code) && !refusal.metadata.values.contains { $0.contains(code) })
            return refusal.reason
        }
    }

    private func pem(_ der: [UInt8], label: String = "CERTIFICATE", lineLength: Int = 64, end: String = "\n") -> [UInt8]
    {
        let text = Array(Data(der).base64EncodedString())
        let lines = stride(from: 0, to: text.count, by: lineLength).map {
            String(text[$0..<min($0 + lineLength, text.count)])
        }
        return Array(
            ("-----BEGIN \(label)-----" + end + lines.joined(separator: end) + end + "-----END \(label)-----" + end)
                .utf8)
    }

    // MARK: Files

    @Test func aFileHoldsOneCertificateInPEMOrDER() throws {
        let privateKey = pem([UInt8](repeating: 7, count: 64), label: "PRIVATE KEY")
        let bom: [UInt8] = [0xEF, 0xBB, 0xBF]
        let cases: [(String, ([UInt8]) -> [UInt8], RefusalReason?)] = [
            ("DER", { $0 }, nil),
            ("PEM", { self.pem($0) }, nil),
            (
                "a BOM, text around, CRLF",
                { bom + Array("subject=x\r\n".utf8) + self.pem($0, end: "\r\n") + Array("end".utf8) }, nil
            ),
            ("no last newline", { Array(self.pem($0).dropLast()) }, nil),
            ("one line", { self.pem($0, lineLength: .max / 2) }, nil),
            ("two blocks", { self.pem($0) + self.pem($0) }, .certificateMalformed),
            ("DER with a trailing byte", { $0 + [0] }, .certificateMalformed),
            ("DER twice", { $0 + $0 }, .certificateMalformed),
            ("PEM of DER with a trailing byte", { self.pem($0 + [0]) }, .certificateMalformed),
            ("cut DER", { Array($0.dropLast()) }, .certificateMalformed),
            ("another label", { self.pem($0, label: "TRUSTED CERTIFICATE") }, .certificateMalformed),
            ("a request", { self.pem($0, label: "CERTIFICATE REQUEST") }, .certificateMalformed),
            ("an indefinite length", { DER.indefinite(0x30, DER.contents($0)) }, .certificateMalformed),
            ("a long length", { DER.element(0x30, DER.contents($0), lengthBytes: 4) }, .certificateMalformed),
            ("nothing", { _ in [] }, .certificateMalformed),
            ("text", { _ in Array("hello".utf8) }, .certificateMalformed),
            ("a key behind", { self.pem($0) + privateKey }, .privateKeyUploaded),
            ("a key before", { privateKey + self.pem($0) }, .privateKeyUploaded),
            ("a key alone", { _ in privateKey }, .privateKeyUploaded),
            ("an RSA key", { self.pem($0) + self.pem([1, 2, 3], label: "RSA PRIVATE KEY") }, .privateKeyUploaded),
            ("an EC key", { self.pem($0) + self.pem([1, 2, 3], label: "EC PRIVATE KEY") }, .privateKeyUploaded),
            (
                "an encrypted key", { self.pem($0) + self.pem([1, 2, 3], label: "ENCRYPTED PRIVATE KEY") },
                .privateKeyUploaded
            ),
        ]
        for (index, (what, change, reason)) in cases.enumerated() {
            let ca = authority(20 + index)
            #expect(try outcome(ca, file: change(ca.der)) == reason, "the CA certificate: \(what)")
            let other = authority(120 + index)
            #expect(try outcome(other, proofFile: change) == reason, "the proof: \(what)")
        }
        let bytes = try #require(try Files.read(bench.dataFile, limit: 1 << 30))
        #expect(!bytes.contains([UInt8](repeating: 7, count: 64)), "the key is not stored")
    }

    @Test func aPrivateKeyInDERIsAPrivateKey() throws {
        let ca = authority(1)
        let pkcs8 = DER.sequence(
            DER.integer(0), DER.sequence(DER.objectIdentifier(OID.ecPublicKey), DER.objectIdentifier(OID.prime256v1)),
            DER.octetString(DER.sequence(DER.integer(1), DER.octetString([UInt8](repeating: 9, count: 32)))))
        let sec1 = DER.sequence(DER.integer(1), DER.octetString([UInt8](repeating: 9, count: 32)))
        let pkcs1 = DER.sequence(of: [DER.integer(0)] + (1...8).map { DER.integer($0) })
        for file in [pkcs8, sec1, pkcs1] {
            // The certificate is none in any case; that a key was sent is what its owner must hear of.
            let reason = try outcome(ca, file: file)
            #expect(reason == .privateKeyUploaded || reason == .certificateMalformed)
        }
    }

    @Test func aCertificateHas64KiBAtMost() throws {
        func sized(_ bytes: Int) -> Entity {
            func made(_ padding: Int) -> Entity {
                authority(1) { recipe in
                    recipe.set(
                        TestExtension(
                            OID.unknownExtension, critical: false,
                            DER.octetString([UInt8](repeating: 1, count: padding))))
                }
            }
            var padding = bytes - 600
            var entity = made(padding)
            for _ in 0..<40 where entity.der.count != bytes {
                padding += bytes - entity.der.count
                entity = made(padding)
            }
            return entity
        }
        let most = sized(65_536)
        let more = sized(65_537)
        try #require(most.der.count == 65_536 && more.der.count == 65_537)
        #expect(try outcome(more) == .certificateTooLarge)
        #expect(try outcome(more, file: pem(more.der)) == .certificateTooLarge)
        #expect(try outcome(most, file: pem(most.der)) == nil)
    }

    // MARK: Keys

    @Test func theKeyIsRSAOf2048To8192BitsOrECCOnANamedCurve() throws {
        let dsa = Entity.root("DSA", key: .dsa2048)
        let cases: [(Entity, RefusalReason?)] = [
            (.root("R", key: .rsa1024), .keyTooWeak), (.root("R", key: .rsa2047), .keyTooWeak),
            (.root("R", key: .rsa2048), nil), (.root("R", key: .rsa3072), nil), (.root("R", key: .rsa8192), nil),
            (.root("R", key: .rsa2048Exponent3), nil), (.root("R", key: .rsa2048Exponent33Bits), nil),
            (.root("R", key: .rsa2048Exponent34Bits), .keyAlgorithmNotSupported),
            (.root("E", key: .p256(1)), nil), (.root("E", key: .p384(1)), nil), (.root("E", key: .p521(1)), nil),
            (.root("E", key: .secp256k1(1)), .keyAlgorithmNotSupported),
            (.root("E", key: .ed25519(1)), .keyAlgorithmNotSupported), (dsa, .keyAlgorithmNotSupported),
        ]
        for (ca, reason) in cases {
            #expect(try outcome(ca) == reason, "\(ca.key.name)")
        }
        // A point that is not on the curve.
        let ca = authority(9) { $0.spki[$0.spki.count - 1] ^= 1 }
        #expect(try outcome(ca) == .keyAlgorithmNotSupported)
    }

    // MARK: What makes it a CA

    @Test func itIsACAOfVersion3WhoseUsagesAllowDeviceCertificates() throws {
        let cases: [(String, Entity.Change, RefusalReason?)] = [
            ("version 1", { $0.makeVersion1() }, .notACa),
            ("no basicConstraints", { $0.remove(OID.basicConstraints) }, .notACa),
            ("CA:FALSE", { $0.set(.basicConstraints(isCA: false)) }, .notACa),
            ("CA left out", { $0.set(.basicConstraints(isCA: nil)) }, .notACa),
            ("basicConstraints not critical", { $0.set(.basicConstraints(critical: false)) }, nil),
            ("no keyUsage", { $0.remove(OID.keyUsage) }, nil),
            ("keyUsage without keyCertSign", { $0.set(.keyUsage(.digitalSignature, .cRLSign)) }, .notACa),
            ("keyUsage with keyCertSign alone", { $0.set(.keyUsage(.keyCertSign)) }, nil),
            ("serverAuth alone", { $0.set(.extKeyUsage(OID.serverAuth)) }, .notACa),
            ("clientAuth among others", { $0.set(.extKeyUsage(OID.serverAuth, OID.clientAuth)) }, nil),
            ("any usage", { $0.set(.extKeyUsage(OID.anyExtendedKeyUsage)) }, nil),
            ("an unknown extension", { $0.set(.unknown(critical: false)) }, nil),
            ("an unknown critical extension", { $0.set(.unknown(critical: true)) }, .certificateMalformed),
            ("an extension twice", { $0.extensions.append(.keyUsage(.keyCertSign)) }, .certificateMalformed),
            (
                "an unknown one twice", { $0.extensions += [.unknown(critical: false), .unknown(critical: false)] },
                .certificateMalformed
            ),
            (
                "another algorithm outside", { $0.outerAlgorithm = SigningScheme.ecdsa(.sha384).algorithmIdentifier },
                .certificateMalformed
            ),
            ("a path length", { $0.set(.basicConstraints(pathLength: 0)) }, nil),
        ]
        for (index, (what, change, reason)) in cases.enumerated() {
            #expect(try outcome(authority(200 + index, changing: change)) == reason, "\(what)")
        }
    }

    // MARK: Time and signature

    @Test func itIsWithinItsPeriodBothEndsIncluded() throws {
        let now = TestTime.now
        let cases: [(Int64, Int64, RefusalReason?)] = [
            (now, now, nil), (now - 1, now, nil), (now, now + 1, nil), (now + 1, now + 2, .caNotYetValid),
            (now - 2, now - 1, .caExpired), (now + 1, now - 1, .caExpired), (now + 2, now + 1, .caExpired),
            (now - 1, now - 2, .caExpired), (now - 10, TestTime.seconds(9999, 12, 31, 23, 59, 59), nil),
        ]
        for (index, (start, end, reason)) in cases.enumerated() {
            let ca = authority(300 + index) { $0.setValidity(start, end) }
            #expect(try outcome(ca) == reason, "\(start - now)…\(end - now)")
        }
    }

    @Test func aSelfSignedOneVerifiesAndOthersAreNotAsked() throws {
        let flip: @Sendable ([UInt8]) -> [UInt8] = { $0.dropLast() + [$0[$0.count - 1] ^ 1] }
        let own = Entity.keyIdentifier(.p256(400))
        let other = Entity.keyIdentifier(.p256(401))
        let cases: [(String, Entity.Change, RefusalReason?)] = [
            ("no authority key identifier", { $0.changeSignature = flip }, .signatureInvalid),
            (
                "its own",
                {
                    $0.changeSignature = flip; $0.set(.authorityKeyIdentifier(own))
                }, .signatureInvalid
            ),
            (
                "another's: a rollover",
                {
                    $0.changeSignature = flip; $0.set(.authorityKeyIdentifier(other))
                }, nil
            ),
        ]
        for (what, change, reason) in cases {
            #expect(try outcome(.root("Rolling", key: .p256(400), changing: change)) == reason, "\(what)")
        }
        // An edited number, with the signature of the former one.
        let original = authority(402, serial: [0x11, 0x22, 0x33])
        var edited = original.der
        let place = try #require(edited.firstRange(of: [2, 3, 0x11, 0x22, 0x33]))
        edited[place.upperBound - 1] = 0x34
        #expect(try outcome(original, file: edited) == .signatureInvalid)
        // Issued by a CA that nobody registered.
        let above = authority(403)
        #expect(try outcome(above.authority("Below", key: .p256(404))) == nil)
        #expect(try outcome(above.authority("Beside", key: .p256(405)) { $0.changeSignature = flip }) == nil)
        // The new key of the same name, signed by the former one.
        let former = authority(406)
        let rolled = former.authority("Root 406", key: .p256(407))
        #expect(try outcome(rolled) == nil)
    }

    @Test func weakDigestsAreTakenOnASelfSignatureOfSHA1Only() throws {
        let cases: [(Entity, RefusalReason?)] = [
            (.root("S1", key: .rsa2048) { $0.scheme = .rsa(.sha1) }, nil),
            (.root("M5", key: .rsa3072) { $0.scheme = .rsa(.md5) }, .algorithmNotAllowed),
            (authority(410) { $0.scheme = .ecdsa(.sha1) }, nil),
            (authority(411) { $0.scheme = .ecdsa(.sha512) }, nil),
            (.root("PSS", key: .rsa4096) { $0.scheme = .pss(.sha256) }, nil),
            (
                Entity.root("Above", key: .otherRSA2048).authority("Below", key: .p256(412)) {
                    $0.scheme = .rsa(.sha1)
                },
                .algorithmNotAllowed
            ),
        ]
        for (ca, reason) in cases { #expect(try outcome(ca) == reason) }
    }

    // MARK: SN

    @Test func anSNHas128BytesAtMostAndIsNotNegative() throws {
        let cases: [([UInt8], String?, RefusalReason?)] = [
            ([0], "00", nil), ([1], "01", nil), ([0x7f], "7f", nil), ([0x00, 0x80], "80", nil),
            ([0x00, 0xff], "ff", nil), ([0x01, 0x00], "0100", nil),
            ([0x80], nil, .snInvalid), ([0xff], nil, .snInvalid), ([0xff, 0x7f], nil, .snInvalid),
            ([0x7f] + [UInt8](repeating: 3, count: 127), "7f" + String(repeating: "03", count: 127), nil),
            ([0x00] + [UInt8](repeating: 0x83, count: 128), String(repeating: "83", count: 128), nil),
            ([0x01] + [UInt8](repeating: 3, count: 128), nil, .snTooLong),
            ([0x00] + [UInt8](repeating: 0x83, count: 129), nil, .snTooLong),
        ]
        for (index, (contents, text, reason)) in cases.enumerated() {
            let ca = authority(500 + index, serial: contents)
            #expect(try outcome(ca) == reason, "\(contents.prefix(4)), \(contents.count) bytes")
            guard let text else { continue }
            let view = try bench.ca(ca)
            #expect(view.record.serialNumber.text == text)
            for written in [text, text.uppercased(), "0x" + text, "00" + text, "serial=" + text] {
                #expect(try SerialNumber(text: written) == view.record.serialNumber)
            }
        }
        try bench.expectSound()
    }

    @Test func aNegativeSNOfTooManyBytesIsRefused() throws {
        let reason = try outcome(authority(1, serial: [0x81] + [UInt8](repeating: 3, count: 128)))
        #expect(reason == .snTooLong || reason == .snInvalid)
    }

    // MARK: Proof

    @Test func theProofIsSignedByTheCAsKeyUnderItsName() throws {
        let flip: @Sendable ([UInt8]) -> [UInt8] = { $0.dropLast() + [$0[$0.count - 1] ^ 1] }
        let name = TestName(commonName: "Root 600").der
        let cases: [(String, Entity?, Entity.Change, RefusalReason?)] = [
            ("another CA's", authority(601), { _ in }, .verificationNotSignedByCa),
            ("another key under this name", .root("Root 600", key: .p256(601)), { _ in }, .verificationNotSignedByCa),
            (
                "this key under another name", nil, { $0.issuer = TestName(commonName: "Else").der },
                .verificationNotSignedByCa
            ),
            ("a broken signature", nil, { $0.changeSignature = flip }, .verificationNotSignedByCa),
            ("self-signed by its own key", .root("Root 600", key: .p256(950)), { _ in }, .verificationNotSignedByCa),
            ("SHA-1", nil, { $0.scheme = .ecdsa(.sha1) }, .algorithmNotAllowed),
            ("SHA-224", nil, { $0.scheme = .ecdsa(.sha224) }, .algorithmNotAllowed),
            (
                "another algorithm outside", nil,
                { $0.outerAlgorithm = SigningScheme.ecdsa(.sha384).algorithmIdentifier }, .verificationNotSignedByCa
            ),
            (
                "an unknown critical extension", nil,
                {
                    $0.version = DER.explicit(0, DER.integer(2)); $0.extensionsField = nil;
                    $0.extensions = [.unknown(critical: true)]
                }, .certificateMalformed
            ),
            ("the name in another case", nil, { $0.issuer = TestName(commonName: "ROOT  600").der }, nil),
        ]
        for (what, signer, change, reason) in cases {
            let ca = authority(600)
            #expect(ca.name == name)
            #expect(try outcome(ca, proof: change, signer: signer) == reason, "\(what)")
            if reason == nil { try bench.delete(ca) }
        }
    }

    @Test func onlyTheProofCountsAndNotWhatItsCertificateCouldBeUsedFor() throws {
        func version3(_ extensions: TestExtension...) -> Entity.Change {
            { recipe in
                recipe.version = DER.explicit(0, DER.integer(2))
                recipe.extensionsField = nil
                recipe.extensions = extensions
            }
        }
        let changes: [(String, Entity.Change)] = [
            ("version 1", { _ in }), ("SHA-512", { $0.scheme = .ecdsa(.sha512) }),
            ("CA:TRUE", version3(.basicConstraints())), ("CA:FALSE", version3(.basicConstraints(isCA: false))),
            ("keyUsage", version3(.keyUsage(.cRLSign))), ("serverAuth", version3(.extKeyUsage(OID.serverAuth))),
            ("a negative number", { $0.serial = [0xff] }), ("the number zero", { $0.serial = [0] }),
            ("a short RSA key", { $0.spki = TestKey.rsa1024.spki }), ("DSA", { $0.spki = TestKey.dsa2048.spki }),
            ("secp256k1", { $0.spki = TestKey.secp256k1(1).spki }), ("Ed25519", { $0.spki = TestKey.ed25519(1).spki }),
            ("the CA's own key", { $0.spki = TestKey.p256(700).spki }),
            ("an unknown extension", version3(.unknown(critical: false))),
        ]
        for (index, (what, change)) in changes.enumerated() {
            #expect(try outcome(authority(700 + index), proof: change) == nil, "\(what)")
        }
    }

    @Test func theProofIsWithinItsPeriodBothEndsIncluded() throws {
        let now = TestTime.now
        let cases: [(Int64, Int64, RefusalReason?)] = [
            (now, now, nil), (now + 1, now + 2, .verificationNotYetValid), (now - 2, now - 1, .verificationExpired),
        ]
        for (index, (start, end, reason)) in cases.enumerated() {
            #expect(try outcome(authority(800 + index), proof: { $0.setValidity(start, end) }) == reason)
        }
        let backwards = try outcome(authority(810), proof: { $0.setValidity(now + 5, now - 5) })
        #expect(backwards == .verificationExpired || backwards == .verificationNotYetValid)
    }

    @Test func theProofOfAnRSACAMayBeSignedWithPSS() throws {
        #expect(try outcome(.root("RSA", key: .rsa2048), proof: { $0.scheme = .pss(.sha256) }) == nil)
        #expect(try outcome(.root("RSA3", key: .rsa3072), proof: { $0.scheme = .rsa(.sha384) }) == nil)
    }

    // MARK: Edition and name

    @Test func theEditionDecidesWhoMayRegister() throws {
        for (edition, reason) in [
            (Edition.standard, RefusalReason?.some(.editionNotSupported)), (.professional, nil), (.platinum, nil),
        ] {
            let id = "edition-\(edition.rawValue)"
            try bench.createInstance(id)
            let code = try bench.issueCode(id).text
            try bench.updateInstance(id, edition)
            let upload = bench.upload(authority(900 + Int(edition.rawValue)), id, code: code)
            if let reason {
                try bench.refused(reason) { try bench.register(upload) }
            } else {
                try bench.register(upload)
                try bench.refused(.instanceNotEmpty) { try bench.updateInstance(id, .standard) }
                try bench.updateInstance(id, edition == .professional ? .platinum : .professional)
            }
        }
    }

    @Test func aNameHasALimit() throws {
        let code = try bench.issueCode("plant").text
        let most = String(repeating: "é", count: RegistryLimits().nameCharacters)
        try bench.refused(.argumentInvalid) {
            try bench.register(bench.upload(authority(1), "plant", code: code, name: most + "e"))
        }
        #expect(try bench.register(bench.upload(authority(1), "plant", code: code, name: most)).record.name == most)
        try bench.refused(.argumentInvalid) { try bench.update(authority(1), name: most + "e") }
    }
}
