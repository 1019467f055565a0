import TestPKI
import Testing
import Verification

/// Which keys and signatures count (RFC 3279, 4055, 5480, 5758, 8410), and that the signature has to be right.
@Suite struct AlgorithmTests {
    typealias Change = @Sendable (inout CertificateRecipe) -> Void

    private static func device(of authority: TestKey, _ change: @escaping Change = { _ in }) -> World {
        let root = Entity.root(key: authority)
        return World(root, chain: [root.device(changing: change)])
    }

    private static func signed(_ scheme: SigningScheme, by key: TestKey) -> World {
        device(of: key) { $0.scheme = scheme }
    }

    private static let strong: [TestHash] = [.sha256, .sha384, .sha512]
    private static let weak: [TestHash] = [.sha1, .sha224]

    static let schemes: [Situation] =
        strong.flatMap { hash in
            [
                Situation("RSA with \(hash)", .trusted) { signed(.rsa(hash), by: .rsa2048) },
                Situation("PSS with \(hash)", .trusted) { signed(.pss(hash), by: .rsa2048) },
                Situation("P-256 with \(hash)", .trusted) { signed(.ecdsa(hash), by: .p256(1)) },
                Situation("P-384 with \(hash)", .trusted) { signed(.ecdsa(hash), by: .p384(1)) },
                Situation("P-521 with \(hash)", .trusted) { signed(.ecdsa(hash), by: .p521(1)) },
            ]
        }
        + weak.flatMap { hash in
            [
                Situation("RSA with \(hash)", .algorithmNotAllowed) { signed(.rsa(hash), by: .rsa2048) },
                Situation("PSS with \(hash)", .algorithmNotAllowed) { signed(.pss(hash), by: .rsa2048) },
                Situation("P-256 with \(hash)", .algorithmNotAllowed) { signed(.ecdsa(hash), by: .p256(1)) },
            ]
        } + [
            Situation("RSA with MD5", .algorithmNotAllowed) { signed(.rsa(.md5), by: .rsa2048) },
            Situation("PSS without parameters is SHA-1", .algorithmNotAllowed) {
                device(of: .rsa2048) {
                    $0.scheme = .pss(.sha1, saltLength: 20, maskHash: .sha1)
                    let algorithm = DER.sequence(DER.objectIdentifier(OID.rsaPSS), DER.sequence())
                    $0.innerAlgorithm = algorithm
                    $0.outerAlgorithm = algorithm
                }
            },
            Situation("PSS whose mask is SHA-1", .algorithmNotAllowed) {
                signed(.pss(.sha256, saltLength: 32, maskHash: .sha1), by: .rsa2048)
            },
            Situation("PSS whose mask is another digest", .algorithmNotAllowed, .trusted) {
                signed(.pss(.sha256, saltLength: 32, maskHash: .sha512), by: .rsa2048)
            },
            Situation("PSS without salt", .trusted, .algorithmNotAllowed) {
                signed(.pss(.sha256, saltLength: 0, maskHash: .sha256), by: .rsa2048)
            },
            Situation("PSS with a salt of 20 bytes", .trusted, .algorithmNotAllowed) {
                signed(.pss(.sha256, saltLength: 20, maskHash: .sha256), by: .rsa2048)
            },
            Situation("PSS whose trailer field is written out", .trusted) {
                pss(SigningScheme.pssParameters(hash: .sha256, maskHash: .sha256, saltLength: 32, trailer: 1))
            },
            Situation("PSS with another trailer field", .algorithmNotAllowed, .certificateMalformed) {
                pss(SigningScheme.pssParameters(hash: .sha256, maskHash: .sha256, saltLength: 32, trailer: 2))
            },
            Situation("PSS whose digests have no parameters", .trusted) {
                pss(
                    SigningScheme.pssParameters(
                        hash: .sha256, maskHash: .sha256, saltLength: 32, digestParameters: []))
            },
            Situation("PSS whose parameters lie about the salt", .signatureInvalid) {
                pss(SigningScheme.pssParameters(hash: .sha256, maskHash: .sha256, saltLength: 31))
            },
            Situation("PSS whose salt is longer than the key", .signatureInvalid, .algorithmNotAllowed) {
                pss(SigningScheme.pssParameters(hash: .sha256, maskHash: .sha256, saltLength: 1 << 30))
            },
            Situation("PSS whose salt is below zero", .signatureInvalid, .algorithmNotAllowed, .certificateMalformed) {
                pss(SigningScheme.pssParameters(hash: .sha256, maskHash: .sha256, saltLength: -1))
            },
            Situation("RSA that says PSS", .signatureInvalid) {
                device(of: .rsa2048) {
                    $0.scheme = .rsa(.sha256)
                    $0.innerAlgorithm = SigningScheme.pss(.sha256).algorithmIdentifier
                    $0.outerAlgorithm = SigningScheme.pss(.sha256).algorithmIdentifier
                }
            },
            Situation("RSA whose parameters are left out", .trusted) {
                device(of: .rsa2048) {
                    let algorithm = DER.sequence(DER.objectIdentifier("1.2.840.113549.1.1.11"))
                    $0.innerAlgorithm = algorithm
                    $0.outerAlgorithm = algorithm
                }
            },
            Situation("RSA whose parameters are something else", .certificateMalformed, .algorithmNotAllowed) {
                device(of: .rsa2048) {
                    let algorithm = DER.sequence(DER.objectIdentifier("1.2.840.113549.1.1.11"), DER.integer(1))
                    $0.innerAlgorithm = algorithm
                    $0.outerAlgorithm = algorithm
                }
            },
            Situation("ECDSA with NULL as parameters", .trusted, .certificateMalformed, .algorithmNotAllowed) {
                device(of: .p256(1)) {
                    let algorithm = DER.sequence(DER.objectIdentifier("1.2.840.10045.4.3.2"), DER.null)
                    $0.innerAlgorithm = algorithm
                    $0.outerAlgorithm = algorithm
                }
            },
            Situation("an unknown signature algorithm", .algorithmNotAllowed) {
                device(of: .p256(1)) {
                    let algorithm = DER.sequence(DER.objectIdentifier("1.2.3.4"))
                    $0.innerAlgorithm = algorithm
                    $0.outerAlgorithm = algorithm
                }
            },
        ]

    private static func pss(_ parameters: [UInt8]) -> World {
        device(of: .rsa2048) {
            $0.scheme = .pss(.sha256)
            let algorithm = DER.sequence(DER.objectIdentifier(OID.rsaPSS), parameters)
            $0.innerAlgorithm = algorithm
            $0.outerAlgorithm = algorithm
        }
    }

    @Test(arguments: schemes) func aSignatureIsOfAnAllowedAlgorithm(situation: Situation) { expectVerdict(situation) }

    private static func ofIntermediate(_ scheme: SigningScheme) -> World {
        let root = Entity.root(key: .rsa2048)
        let middle = root.authority(key: .p256(2)) { $0.scheme = scheme }
        return World(root, chain: [middle.device(), middle])
    }

    static let intermediates: [Situation] = [
        Situation("an intermediate signed with SHA-256", .trusted) { ofIntermediate(.rsa(.sha256)) },
        Situation("an intermediate signed with PSS", .trusted) { ofIntermediate(.pss(.sha384)) },
        Situation("an intermediate signed with SHA-1", .algorithmNotAllowed, detail: ["Intermediate"]) {
            ofIntermediate(.rsa(.sha1))
        },
        Situation("an intermediate signed with MD5", .algorithmNotAllowed) { ofIntermediate(.rsa(.md5)) },
        Situation("an anchor that signed itself with SHA-1", .trusted) {
            let root = Entity.root(key: .rsa2048) { $0.scheme = .rsa(.sha1) }
            return World(root, chain: [root.device()])
        },
        Situation("an anchor that signed itself with SHA-1, sent along", .trusted) {
            let root = Entity.root(key: .rsa2048) { $0.scheme = .rsa(.sha1) }
            return World(root, chain: [root.device(), root])
        },
        Situation("an anchor that a strange key signed with SHA-1", .trusted) {
            let top = Entity.root("Top", key: .otherRSA2048)
            let root = top.authority("Root", key: .rsa2048) { $0.scheme = .rsa(.sha1) }
            return World(root, chain: [root.device()])
        },
    ]

    @Test(arguments: intermediates) func theAnchorsOwnSignatureIsNotAskedFor(situation: Situation) {
        expectVerdict(situation)
    }

    // MARK: Inside and outside

    private static func algorithms(_ inner: SigningScheme, _ outer: SigningScheme, signed: SigningScheme) -> World {
        device(of: .rsa2048) {
            $0.scheme = signed
            $0.innerAlgorithm = inner.algorithmIdentifier
            $0.outerAlgorithm = outer.algorithmIdentifier
        }
    }

    static let mismatches: [Situation] = [
        Situation("another algorithm inside", .certificateMalformed) {
            algorithms(.rsa(.sha384), .rsa(.sha256), signed: .rsa(.sha256))
        },
        Situation("another algorithm outside", .certificateMalformed) {
            algorithms(.rsa(.sha256), .rsa(.sha384), signed: .rsa(.sha384))
        },
        Situation("SHA-1 inside", .certificateMalformed) {
            algorithms(.rsa(.sha1), .rsa(.sha256), signed: .rsa(.sha256))
        },
        Situation("other PSS parameters inside", .certificateMalformed) {
            algorithms(.pss(.sha256, saltLength: 20, maskHash: .sha256), .pss(.sha256), signed: .pss(.sha256))
        },
        Situation("parameters outside and none inside", .certificateMalformed) {
            device(of: .rsa2048) { $0.innerAlgorithm = DER.sequence(DER.objectIdentifier("1.2.840.113549.1.1.11")) }
        },
        Situation("an intermediate's algorithms differ", .certificateMalformed) {
            let root = Entity.root(key: .rsa2048)
            let middle = root.authority(key: .p256(2)) {
                $0.innerAlgorithm = SigningScheme.rsa(.sha512).algorithmIdentifier
            }
            return World(root, chain: [middle.device(), middle])
        },
    ]

    @Test(arguments: mismatches) func theAlgorithmIsTheSameInsideAndOutside(situation: Situation) {
        expectVerdict(situation)
    }

    // MARK: Keys

    private static let authorityKeys: [(TestKey, VerdictReason)] = [
        (.rsa2048, .trusted), (.rsa3072, .trusted), (.rsa4096, .trusted), (.rsa8192, .trusted),
        (.rsa2048Exponent3, .trusted), (.rsa2048Exponent33Bits, .trusted), (.p256(5), .trusted), (.p384(5), .trusted),
        (.p521(5), .trusted), (.rsa1024, .algorithmNotAllowed), (.rsa2047, .algorithmNotAllowed),
        (.rsa2048Exponent34Bits, .algorithmNotAllowed), (.secp256k1(5), .algorithmNotAllowed),
        (.ed25519(5), .algorithmNotAllowed), (.dsa2048, .algorithmNotAllowed),
    ]

    static let authorities: [Situation] = authorityKeys.flatMap { key, expected in
        [
            // Such an anchor cannot be registered: that no signature verifies with its key is as good an answer.
            Situation("an anchor of \(key.name)", expected == .trusted ? [.trusted] : [expected, .signatureInvalid]) {
                device(of: key)
            },
            Situation("an intermediate of \(key.name)", expected) {
                let root = Entity.root()
                let middle = root.authority(key: key)
                return World(root, chain: [middle.device(), middle])
            },
        ]
    }

    @Test(arguments: authorities) func anAuthorityHasAKeyThatMayBeRegistered(situation: Situation) {
        expectVerdict(situation)
    }

    private static let deviceKeys: [(TestKey, VerdictReason)] = [
        (.rsa2048, .trusted), (.rsa3072, .trusted), (.rsa4096, .trusted), (.rsa8192, .trusted),
        (.rsa2048Exponent3, .trusted), (.rsa2048Exponent33Bits, .trusted), (.p256(5), .trusted), (.p384(5), .trusted),
        (.p521(5), .trusted), (.ed25519(5), .trusted), (.rsa1024, .algorithmNotAllowed),
        (.rsa2047, .algorithmNotAllowed),
        (.rsa2048Exponent34Bits, .algorithmNotAllowed), (.secp256k1(5), .algorithmNotAllowed),
        (.dsa2048, .algorithmNotAllowed),
    ]

    static let devices: [Situation] = deviceKeys.map { key, expected in
        Situation("a device of \(key.name)", expected) {
            let root = Entity.root()
            return World(root, chain: [root.device(key: key)])
        }
    }

    @Test(arguments: devices) func aDeviceHasAKeyThatMayBeUsed(situation: Situation) { expectVerdict(situation) }

    /// A device certificate whose SubjectPublicKeyInfo is this, under a good anchor.
    private static func deviceKey(_ spki: [UInt8]) -> World {
        let root = Entity.root()
        return World(root, chain: [root.device { $0.spki = spki }])
    }

    private static func rsa(modulus: [UInt8], exponent: [UInt8]) -> [UInt8] {
        DER.sequence(
            DER.sequence(DER.objectIdentifier(OID.rsaEncryption), DER.null),
            DER.bitString(DER.sequence(DER.integer(unsigned: modulus), DER.integer(unsigned: exponent))))
    }

    /// An odd modulus of this many bits.
    private static func modulus(bits: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xA5, count: (bits + 7) / 8)
        let top = (bits - 1) % 8
        bytes[0] = 1 << UInt8(top)
        return bytes
    }

    private static let f4: [UInt8] = [1, 0, 1]

    private static func elliptic(_ curve: [UInt8], _ point: [UInt8]) -> [UInt8] {
        DER.sequence(DER.sequence(DER.objectIdentifier(OID.ecPublicKey), curve), DER.bitString(point))
    }

    private static let p256 = DER.objectIdentifier(OID.prime256v1)
    /// 0x04, x and y of a point on P-256.
    private static let point = Array(TestKey.p256(5).spki.suffix(65))

    static let keyEncodings: [Situation] = [
        Situation("2048 bits", .trusted) { deviceKey(rsa(modulus: modulus(bits: 2_048), exponent: f4)) },
        Situation("2047 bits", .algorithmNotAllowed) { deviceKey(rsa(modulus: modulus(bits: 2_047), exponent: f4)) },
        Situation("8192 bits", .trusted) { deviceKey(rsa(modulus: modulus(bits: 8_192), exponent: f4)) },
        Situation("8193 bits", .algorithmNotAllowed) { deviceKey(rsa(modulus: modulus(bits: 8_193), exponent: f4)) },
        Situation("16384 bits", .algorithmNotAllowed) { deviceKey(rsa(modulus: modulus(bits: 16_384), exponent: f4)) },
        Situation("exponent 1", .algorithmNotAllowed, .certificateMalformed) {
            deviceKey(rsa(modulus: modulus(bits: 2_048), exponent: [1]))
        },
        Situation("exponent 0", .algorithmNotAllowed, .certificateMalformed) {
            deviceKey(rsa(modulus: modulus(bits: 2_048), exponent: [0]))
        },
        Situation("exponent 3", .trusted) { deviceKey(rsa(modulus: modulus(bits: 2_048), exponent: [3])) },
        Situation("exponent 65536", .algorithmNotAllowed, .certificateMalformed) {
            deviceKey(rsa(modulus: modulus(bits: 2_048), exponent: [1, 0, 0]))
        },
        Situation("exponent of 33 bits", .trusted) {
            deviceKey(rsa(modulus: modulus(bits: 2_048), exponent: [1, 0xFF, 0xFF, 0xFF, 0xFF]))
        },
        Situation("exponent of 34 bits", .algorithmNotAllowed) {
            deviceKey(rsa(modulus: modulus(bits: 2_048), exponent: [2, 0, 0, 0, 1]))
        },
        Situation("exponent as large as the modulus", .algorithmNotAllowed) {
            deviceKey(rsa(modulus: modulus(bits: 2_048), exponent: modulus(bits: 2_047)))
        },
        Situation("a modulus below zero", .certificateMalformed, .algorithmNotAllowed) {
            let number = DER.integer(contents: [0x80] + [UInt8](repeating: 1, count: 255))
            return deviceKey(
                DER.sequence(
                    DER.sequence(DER.objectIdentifier(OID.rsaEncryption), DER.null),
                    DER.bitString(DER.sequence(number, DER.integer(65_537)))))
        },
        Situation("RSA without parameters", .trusted, .certificateMalformed, .algorithmNotAllowed) {
            deviceKey(
                DER.sequence(
                    DER.sequence(DER.objectIdentifier(OID.rsaEncryption)),
                    DER.bitString(DER.sequence(DER.integer(unsigned: modulus(bits: 2_048)), DER.integer(65_537)))))
        },
        Situation("bytes after the RSA key", .certificateMalformed) {
            deviceKey(
                DER.sequence(
                    DER.sequence(DER.objectIdentifier(OID.rsaEncryption), DER.null),
                    DER.bitString(DER.sequence(DER.integer(unsigned: modulus(bits: 2_048)), DER.integer(65_537)) + [0]))
            )
        },
        Situation("a third number in the RSA key", .certificateMalformed) {
            deviceKey(
                DER.sequence(
                    DER.sequence(DER.objectIdentifier(OID.rsaEncryption), DER.null),
                    DER.bitString(
                        DER.sequence(DER.integer(unsigned: modulus(bits: 2_048)), DER.integer(65_537), DER.integer(1))))
            )
        },
        Situation("RSA for PSS only", .trusted, .algorithmNotAllowed) {
            deviceKey(
                DER.sequence(
                    DER.sequence(DER.objectIdentifier(OID.rsaPSS)),
                    DER.bitString(DER.sequence(DER.integer(unsigned: modulus(bits: 2_048)), DER.integer(65_537)))))
        },
        Situation("a named curve", .trusted) { deviceKey(elliptic(p256, point)) },
        Situation("explicit parameters of a good curve", .algorithmNotAllowed, .certificateMalformed) {
            deviceKey(elliptic(explicitP256, point))
        },
        Situation("an implicit curve", .algorithmNotAllowed, .certificateMalformed) {
            deviceKey(elliptic(DER.null, point))
        },
        Situation("no curve", .algorithmNotAllowed, .certificateMalformed) { deviceKey(elliptic([], point)) },
        Situation("a point off the curve", .certificateMalformed, .algorithmNotAllowed) {
            deviceKey(elliptic(p256, point.dropLast() + [point[64] ^ 1]))
        },
        Situation("the point at infinity", .certificateMalformed, .algorithmNotAllowed) {
            deviceKey(elliptic(p256, [0]))
        },
        Situation("coordinates beyond the field", .certificateMalformed, .algorithmNotAllowed) {
            deviceKey(elliptic(p256, [4] + [UInt8](repeating: 0xFF, count: 64)))
        },
        Situation("a compressed point", .trusted, .certificateMalformed, .algorithmNotAllowed) {
            deviceKey(elliptic(p256, [2 | (point[64] & 1)] + point[1...32]))
        },
        Situation("a hybrid point", .certificateMalformed, .algorithmNotAllowed) {
            deviceKey(elliptic(p256, [6 | (point[64] & 1)] + point.dropFirst()))
        },
        Situation("a point of another curve", .certificateMalformed, .algorithmNotAllowed) {
            deviceKey(elliptic(DER.objectIdentifier(OID.secp384r1), point))
        },
        Situation("a point too short", .certificateMalformed, .algorithmNotAllowed) {
            deviceKey(elliptic(p256, Array(point.dropLast())))
        },
        Situation("a point too long", .certificateMalformed, .algorithmNotAllowed) {
            deviceKey(elliptic(p256, point + [0]))
        },
        Situation("a point without bytes", .certificateMalformed, .algorithmNotAllowed) {
            deviceKey(elliptic(p256, []))
        },
        Situation("a key with unused bits", .certificateMalformed) {
            deviceKey(
                DER.sequence(
                    DER.sequence(DER.objectIdentifier(OID.ecPublicKey), p256), DER.bitString(point, unusedBits: 1)))
        },
        Situation("Ed25519 of 31 bytes", .certificateMalformed, .algorithmNotAllowed) {
            deviceKey(
                DER.sequence(
                    DER.sequence(DER.objectIdentifier(OID.ed25519)), DER.bitString([UInt8](repeating: 1, count: 31))))
        },
        Situation("Ed25519 with parameters", .certificateMalformed, .algorithmNotAllowed) {
            deviceKey(
                DER.sequence(
                    DER.sequence(DER.objectIdentifier(OID.ed25519), DER.null),
                    DER.bitString(TestKey.ed25519(1).spki.suffix(32).map { $0 })))
        },
        Situation("X25519", .algorithmNotAllowed) {
            deviceKey(
                DER.sequence(
                    DER.sequence(DER.objectIdentifier("1.3.101.110")), DER.bitString([UInt8](repeating: 9, count: 32))))
        },
        Situation("Ed448", .algorithmNotAllowed) {
            deviceKey(
                DER.sequence(
                    DER.sequence(DER.objectIdentifier("1.3.101.113")), DER.bitString([UInt8](repeating: 9, count: 57))))
        },
        Situation("an unknown kind of key", .algorithmNotAllowed) {
            deviceKey(DER.sequence(DER.sequence(DER.objectIdentifier("1.2.3.4")), DER.bitString([1, 2, 3])))
        },
    ]

    /// ECParameters of P-256, spelled out (RFC 3279 section 2.3.5).
    private static let explicitP256: [UInt8] = {
        let prime =
            [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 1] + [UInt8](repeating: 0, count: 12)
            + [UInt8](repeating: 0xFF, count: 12)
        let a = Array(prime.dropLast()) + [0xFC]
        let b: [UInt8] = [
            0x5A, 0xC6, 0x35, 0xD8, 0xAA, 0x3A, 0x93, 0xE7, 0xB3, 0xEB, 0xBD, 0x55, 0x76, 0x98, 0x86, 0xBC, 0x65, 0x1D,
            0x06,
            0xB0, 0xCC, 0x53, 0xB0, 0xF6, 0x3B, 0xCE, 0x3C, 0x3E, 0x27, 0xD2, 0x60, 0x4B,
        ]
        let generator: [UInt8] = [
            0x04, 0x6B, 0x17, 0xD1, 0xF2, 0xE1, 0x2C, 0x42, 0x47, 0xF8, 0xBC, 0xE6, 0xE5, 0x63, 0xA4, 0x40, 0xF2, 0x77,
            0x03,
            0x7D, 0x81, 0x2D, 0xEB, 0x33, 0xA0, 0xF4, 0xA1, 0x39, 0x45, 0xD8, 0x98, 0xC2, 0x96, 0x4F, 0xE3, 0x42, 0xE2,
            0xFE,
            0x1A, 0x7F, 0x9B, 0x8E, 0xE7, 0xEB, 0x4A, 0x7C, 0x0F, 0x9E, 0x16, 0x2B, 0xCE, 0x33, 0x57, 0x6B, 0x31, 0x5E,
            0xCE,
            0xCB, 0xB6, 0x40, 0x68, 0x37, 0xBF, 0x51, 0xF5,
        ]
        let order: [UInt8] = [
            0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xBC, 0xE6, 0xFA, 0xAD,
            0xA7,
            0x17, 0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51,
        ]
        return DER.sequence(
            DER.integer(1), DER.sequence(DER.objectIdentifier(OID.primeField), DER.integer(unsigned: prime)),
            DER.sequence(DER.octetString(a), DER.octetString(b)), DER.octetString(generator),
            DER.integer(unsigned: order), DER.integer(1))
    }()

    @Test(arguments: keyEncodings) func aKeyIsWrittenAsItsAlgorithmSays(situation: Situation) {
        expectVerdict(situation)
    }

    static let authorityEncodings: [Situation] = [
        Situation("an intermediate with explicit parameters", .algorithmNotAllowed, .certificateMalformed) {
            let root = Entity.root()
            let middle = root.authority(key: .p256(5)) { $0.spki = elliptic(explicitP256, point) }
            return World(root, chain: [middle.device(), middle])
        },
        Situation(
            "an intermediate whose point is off the curve", .certificateMalformed, .algorithmNotAllowed,
            .signatureInvalid
        ) {
            let root = Entity.root()
            let middle = root.authority(key: .p256(5)) { $0.spki = elliptic(p256, point.dropLast() + [point[64] ^ 1]) }
            return World(root, chain: [middle.device(), middle])
        },
        Situation("an intermediate of 8193 bits", .algorithmNotAllowed) {
            let root = Entity.root()
            let middle = root.authority(key: .rsa2048) { $0.spki = rsa(modulus: modulus(bits: 8_193), exponent: f4) }
            return World(root, chain: [middle.device(), middle])
        },
        Situation("an intermediate with an even exponent", .algorithmNotAllowed, .certificateMalformed) {
            let root = Entity.root()
            let middle = root.authority(key: .rsa2048) {
                $0.spki = rsa(modulus: modulus(bits: 2_048), exponent: [1, 0, 0])
            }
            return World(root, chain: [middle.device(), middle])
        },
        Situation(
            "an intermediate with an even modulus", .algorithmNotAllowed, .certificateMalformed, .signatureInvalid
        ) {
            let root = Entity.root()
            let middle = root.authority(key: .rsa2048) {
                $0.spki = rsa(modulus: modulus(bits: 2_048).dropLast() + [2], exponent: f4)
            }
            return World(root, chain: [middle.device(), middle])
        },
    ]

    @Test(arguments: authorityEncodings) func aKeyThatSignsIsWrittenAsItsAlgorithmSays(situation: Situation) {
        expectVerdict(situation)
    }

    // MARK: Signatures

    private static let order: [UInt8] = [
        0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xBC, 0xE6, 0xFA, 0xAD,
        0xA7, 0x17,
        0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51,
    ]

    private static func signature(_ change: @escaping @Sendable ([UInt8]) -> [UInt8]) -> World {
        device(of: .p256(1)) { $0.changeSignature = change }
    }

    private static func rsaSignature(_ change: @escaping @Sendable ([UInt8]) -> [UInt8]) -> World {
        device(of: .rsa2048) { $0.changeSignature = change }
    }

    static let signatures: [Situation] = [
        Situation("another bit at the end", .signatureInvalid) { signature { $0.dropLast() + [$0[$0.count - 1] ^ 1] } },
        Situation("another bit in an RSA signature", .signatureInvalid) {
            rsaSignature { [$0[0] ^ 1] + $0.dropFirst() }
        },
        Situation("no signature", .signatureInvalid, .certificateMalformed) { signature { _ in [] } },
        Situation("no RSA signature", .signatureInvalid, .certificateMalformed) { rsaSignature { _ in [] } },
        Situation("an RSA signature with a zero in front", .signatureInvalid) { rsaSignature { [0] + $0 } },
        Situation("an RSA signature with a zero behind", .signatureInvalid) { rsaSignature { $0 + [0] } },
        Situation("an RSA signature of zeros", .signatureInvalid) { rsaSignature { $0.map { _ in 0 } } },
        Situation("an RSA signature above the modulus", .signatureInvalid) { rsaSignature { $0.map { _ in 0xFF } } },
        Situation("an RSA signature too short", .signatureInvalid) { rsaSignature { Array($0.dropLast()) } },
        Situation("r and s of zero", .signatureInvalid) {
            signature { _ in DER.sequence(DER.integer(0), DER.integer(0)) }
        },
        Situation("r and s of one", .signatureInvalid) {
            signature { _ in DER.sequence(DER.integer(1), DER.integer(1)) }
        },
        Situation("r of zero", .signatureInvalid) {
            signature { DER.sequence(of: [DER.integer(0), DER.elements(DER.contents($0))[1]]) }
        },
        Situation("s of zero", .signatureInvalid) {
            signature { DER.sequence(of: [DER.elements(DER.contents($0))[0], DER.integer(0)]) }
        },
        Situation("s of the order", .signatureInvalid) {
            signature { DER.sequence(of: [DER.elements(DER.contents($0))[0], DER.integer(unsigned: order)]) }
        },
        Situation("the twin (r, n - s)", .trusted) { signature(ECDSATwin.of) },
        Situation("r below zero", .signatureInvalid, .certificateMalformed) {
            signature { DER.sequence(of: [DER.integer(-5), DER.elements(DER.contents($0))[1]]) }
        },
        Situation("bytes after the ECDSA signature", .signatureInvalid, .certificateMalformed) {
            signature { $0 + [0] }
        },
        Situation("bytes inside, after s", .signatureInvalid, .certificateMalformed) {
            signature { DER.sequence(of: DER.elements(DER.contents($0)) + [DER.null]) }
        },
        Situation("a padded r", .signatureInvalid, .certificateMalformed) {
            signature {
                let numbers = DER.elements(DER.contents($0))
                return DER.sequence(of: [DER.integer(contents: [0, 0] + DER.contents(numbers[0])), numbers[1]])
            }
        },
        Situation("a long length", .signatureInvalid, .certificateMalformed) {
            signature { DER.element(0x30, DER.contents($0), lengthBytes: 1) }
        },
        Situation("an indefinite length", .signatureInvalid, .certificateMalformed) {
            signature { DER.indefinite(0x30, DER.contents($0)) }
        },
        Situation("unused bits", .certificateMalformed) {
            device(of: .p256(1)) {
                $0.signatureElement = DER.bitString([UInt8](repeating: 0x30, count: 72), unusedBits: 4)
            }
        },
        Situation("an OCTET STRING", .certificateMalformed) {
            device(of: .p256(1)) { $0.signatureElement = DER.octetString([0] + [UInt8](repeating: 0x30, count: 72)) }
        },
        Situation("a digest of other contents", .signatureInvalid) {
            let root = Entity.root()
            let one = root.device("one")
            let two = root.device("two")
            let parts = DER.elements(DER.contents(one.der))
            let others = DER.elements(DER.contents(two.der))
            var world = World(root, chain: [one])
            world.chain = [DER.sequence(parts[0], parts[1], others[2])]
            return world
        },
        Situation("the key of another CA of that name", .signatureInvalid, .caUnknown) {
            let impostor = Entity.root(key: .p256(66))
            return World(Entity.root(), chain: [impostor.device { $0.remove(OID.authorityKeyIdentifier) }])
        },
        Situation("the key of another CA of that name that points to the right one", .signatureInvalid) {
            let impostor = Entity.root(key: .p256(66))
            return World(
                Entity.root(),
                chain: [impostor.device { $0.set(.authorityKeyIdentifier(Entity.keyIdentifier(.p256(1)))) }])
        },
        Situation(
            "an intermediate that the anchor did not sign", .signatureInvalid, .caUnknown, detail: ["Intermediate"]
        ) {
            let impostor = Entity.root(key: .p256(66))
            let middle = impostor.authority(key: .p256(2))
            return World(Entity.root(), chain: [middle.device(), middle])
        },
        Situation("a self-signed copy of the anchor with another key, sent along", .signatureInvalid, .caUnknown) {
            let impostor = Entity.root(key: .p256(66))
            return World(Entity.root(), chain: [impostor.device(), impostor])
        },
        Situation("an RSA signature that names ECDSA", .signatureInvalid, .algorithmNotAllowed) {
            device(of: .rsa2048) {
                $0.innerAlgorithm = SigningScheme.ecdsa(.sha256).algorithmIdentifier
                $0.outerAlgorithm = SigningScheme.ecdsa(.sha256).algorithmIdentifier
            }
        },
        Situation("an ECDSA signature that names RSA", .signatureInvalid, .algorithmNotAllowed) {
            device(of: .p256(1)) {
                $0.innerAlgorithm = SigningScheme.rsa(.sha256).algorithmIdentifier
                $0.outerAlgorithm = SigningScheme.rsa(.sha256).algorithmIdentifier
            }
        },
    ]

    @Test(arguments: signatures) func onlyTheRightSignatureCounts(situation: Situation) { expectVerdict(situation) }
}
