import Certificates
import Signatures
import TestPKI
import Testing

/// A signature verifies with the key that made it, and with nothing else.
@Suite struct SignatureVerifierTests {
    private let verifier = SignatureVerifier()

    private func verifies(_ certificate: Entity, with issuer: Entity) throws -> Bool {
        verifier.verifies(try Certificate(der: certificate.der), with: try Certificate(der: issuer.der))
    }

    private static let strong: [TestHash] = [.sha256, .sha384, .sha512]
    private static let rsaKeys: [TestKey] = [
        .rsa2048, .otherRSA2048, .rsa2048Exponent3, .rsa2048Exponent33Bits, .rsa3072, .rsa4096, .rsa8192,
    ]

    static let good: [(TestKey, SigningScheme)] =
        rsaKeys.flatMap { key in strong.flatMap { [(key, .rsa($0)), (key, .pss($0))] } }
        + [TestKey.p256(1), .p384(1), .p521(1)].flatMap { key in strong.map { (key, .ecdsa($0)) } }
        + [
            (.rsa2048, .pss(.sha256, saltLength: 0, maskHash: .sha256)),
            (.rsa2048, .pss(.sha256, saltLength: 222, maskHash: .sha256)),
            (.ed25519(1), .ed25519),
        ]

    @Test(arguments: good) func aSignatureVerifiesWithItsKey(key: TestKey, scheme: SigningScheme) throws {
        let root = Entity.root(key: key)
        let device = root.device { $0.scheme = scheme }
        #expect(try verifies(device, with: root))
        #expect(try verifies(device, with: root), "again, with the kept key")
        let parts = DER.elements(DER.contents(device.der))
        #expect(parts.count == 3)
        // One bit of what was signed, the last of the key identifier: still a certificate.
        let forged = device.changed { recipe in
            let signature = parts[2]
            recipe.serial[1] ^= 1
            recipe.signatureElement = signature
        }
        #expect(try !verifies(forged, with: root))
        let broken = device.changed { $0.changeSignature = { $0.dropLast() + [$0[$0.count - 1] ^ 1] } }
        #expect(try !verifies(broken, with: root))
    }

    @Test(arguments: [TestKey.rsa2048, .p256(1), .p384(1), .p521(1)]) func anotherKeyOfTheKindDoesNotVerify(
        key: TestKey
    ) throws {
        let other: TestKey =
            switch key.kind {
            case .rsa: .otherRSA2048
            case .p384: .p384(2)
            case .p521: .p521(2)
            default: .p256(2)
            }
        let device = Entity.root(key: key).device()
        #expect(try !verifies(device, with: Entity.root(key: other)))
    }

    @Test func aKeyOfAnotherKindDoesNotVerify() throws {
        let keys: [TestKey] = [.rsa2048, .p256(1), .p384(1), .p521(1), .ed25519(1), .secp256k1(1), .dsa2048]
        for signer in keys {
            let device = Entity.root(key: signer).device()
            for issuer in keys where issuer != signer {
                #expect(try !verifies(device, with: Entity.root(key: issuer)), "\(signer.name), \(issuer.name)")
            }
        }
    }

    @Test func theTwinOfAnECDSASignatureVerifies() throws {
        let root = Entity.root()
        #expect(try verifies(root.device { $0.changeSignature = ECDSATwin.of }, with: root))
    }

    @Test func anAnchorsOwnSignatureMayBeSHA1() throws {
        let root = Entity.root(key: .rsa2048) { $0.scheme = .rsa(.sha1) }
        #expect(try verifies(root, with: root))
        let elliptic = Entity.root(key: .p256(1)) { $0.scheme = .ecdsa(.sha1) }
        #expect(try verifies(elliptic, with: elliptic))
        let forged = root.changed { $0.changeSignature = { [$0[0] ^ 1] + $0.dropFirst() } }
        #expect(try !verifies(forged, with: root))
    }

    @Test func aPointOffTheCurveIsNoSoundKey() throws {
        for key in [TestKey.p256(1), .p384(1), .p521(1)] {
            let good = Entity.root().device(key: key)
            #expect(verifier.hasSoundKey(try Certificate(der: good.der)), "\(key.name)")
            let bad = good.changed { $0.spki[$0.spki.count - 1] ^= 1 }
            #expect(!verifier.hasSoundKey(try Certificate(der: bad.der)), "\(key.name)")
        }
    }

    @Test func manyKeysAreNoHindrance() throws {
        // More keys than are kept, and the first ones again.
        let devices = (0..<600).map { number in
            let root = Entity.root(TestName(commonName: "CA \(number)"), key: .p256(2_000 + number))
            return (root, root.device())
        }
        for (root, device) in devices + devices.prefix(5) { #expect(try verifies(device, with: root)) }
        #expect(try !verifies(devices[0].1, with: devices[1].0))
    }

    @Test func manyAlgorithmsOfOneKeyAreKeptApart() throws {
        let root = Entity.root(key: .rsa2048)
        for _ in 0..<2 {
            for scheme in [
                SigningScheme.rsa(.sha256), .pss(.sha256), .rsa(.sha512), .pss(.sha384),
                .pss(.sha256, saltLength: 20, maskHash: .sha256),
            ] {
                #expect(try verifies(root.device { $0.scheme = scheme }, with: root), "\(scheme)")
            }
        }
    }
}
