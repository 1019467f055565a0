import Certificates
import TestPKI
import Testing

/// No bytes make the reader fail in another way than by saying where and why, and none make it slow.
@Suite struct HostileCertificateTests {
    private static let certificates = [
        Entity.root().der,
        Entity.root(key: .rsa2048) {
            $0.scheme = .pss(.sha384)
            $0.set(
                .nameConstraints(
                    permitted: [.dns("a.test"), .ip([10, 0, 0, 0, 255, 0, 0, 0])], excluded: [.directory("x")]))
            $0.set(.certificatePolicies(OID.anyPolicy))
        }.der,
        Entity.root().device(TestName(parts: [[.utf8(OID.commonName, "a"), .bmp(OID.organization, "b")]])) {
            $0.set(
                .subjectAltName(
                    .dns("a"), .email("a@b"), .uri("a://b"), .ip([1, 2, 3, 4]), .directory("d"),
                    .other("1.2", DER.null),
                    .registeredID("1.2.3")))
            $0.uniqueIdentifiers = DER.implicit(1, [0, 1])
        }.der,
    ]

    /// Everything that can be asked of a certificate.
    private func touch(_ certificate: Certificate) {
        _ = certificate.subject.description
        _ = certificate.issuer.normalized
        _ = certificate.subject.commonNames
        _ = certificate.serialNumber.text
        _ = certificate.subjectAltNames
        _ = certificate.nameConstraints
        _ = certificate.isSelfIssued
        _ = certificate.publicKeyInfoBytes
        _ = certificate.toBeSignedBytes
    }

    @Test(arguments: certificates) func noBeginningOfACertificateIsOne(der: [UInt8]) {
        for count in 0..<der.count {
            #expect(throws: CertificateError.self) { try Certificate(der: Array(der[..<count])) }
        }
    }

    @Test(arguments: certificates) func aChangedByteIsReadOrRefused(der: [UInt8]) {
        for index in der.indices {
            for value in [0, 1, 0x1F, 0x30, 0x7F, 0x80, 0x84, 0xA0, 0xFF, der[index] ^ 1, der[index] &+ 1] as [UInt8] {
                var changed = der
                changed[index] = value
                do {
                    touch(try Certificate(der: changed))
                } catch {
                    #expect(error.offset >= 0 && error.offset <= changed.count)
                }
            }
        }
    }

    @Test(arguments: [0, 1, 2] as [UInt64]) func changedBytesAreReadOrRefused(number: UInt64) {
        let seed = TestSeed.start(otherwise: 1) + number
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<5_000 {
            var der = generator.pick(Self.certificates)
            for _ in 0...generator.below(4) {
                let index = generator.below(der.count)
                switch generator.below(4) {
                case 0: der[index] = generator.bytes(1)[0]
                case 1: der.remove(at: index)
                case 2: der.insert(generator.bytes(1)[0], at: index)
                default: der.removeSubrange(index..<min(der.count, index + generator.below(20)))
                }
                if der.isEmpty { der = [0] }
            }
            do {
                touch(try Certificate(der: der))
            } catch {
                #expect(error.offset >= 0 && error.offset <= der.count, "seed \(seed)")
            }
        }
    }

    private static func large(_ fill: (Int) -> TestExtension) -> [UInt8] {
        Entity.root().device { $0.extensions.append(fill(64_000)) }.der
    }

    /// Certificates of nearly 64 KiB whose contents ask for much work.
    static let large: [(String, [UInt8])] = [
        (
            "thousands of extensions",
            Entity.root().device { recipe in
                recipe.extensions = (0..<4_000).map { TestExtension("1.3.6.1.4.1.5.\($0)", []) }
            }.der
        ),
        ("deep nesting", large { TestExtension(OID.subjectAltName, nested($0 / 4 - 500)) }),
        ("deep nesting in an unknown extension", large { TestExtension(OID.unknownExtension, nested($0 / 4 - 500)) }),
        (
            "thousands of alternative names",
            large {
                TestExtension(
                    OID.subjectAltName,
                    DER.sequence(of: [[UInt8]](repeating: DER.implicit(2, [97]), count: $0 / 3 - 10)))
            }
        ),
        (
            "thousands of purposes",
            large {
                TestExtension(
                    OID.extKeyUsage, DER.sequence(of: [[UInt8]](repeating: [6, 1, 0x2A], count: $0 / 3 - 10)))
            }
        ),
        (
            "thousands of subtrees",
            large { count in
                TestExtension(
                    OID.nameConstraints,
                    DER.sequence(
                        DER.element(
                            0xA0,
                            [[UInt8]](repeating: DER.sequence(DER.implicit(2, [97])), count: count / 5 - 10).flatMap(
                                \.self))))
            }
        ),
        (
            "a part of thousands of attributes",
            Entity.root().device { recipe in
                let attributes = (0..<4_500).map { number in
                    TestName.Attribute(OID.commonName, tag: 0x0C, [UInt8(number >> 8), UInt8(number & 255)])
                }
                recipe.subject = TestName(parts: [attributes]).der
            }.der
        ),
        (
            "a name of thousands of parts",
            Entity.root().device { recipe in
                recipe.subject =
                    TestName(parts: [[TestName.Attribute]](repeating: [.utf8(OID.commonName, "a")], count: 4_500)).der
            }.der
        ),
        (
            "an endless object identifier",
            large {
                TestExtension(
                    OID.extKeyUsage, DER.sequence(DER.element(6, [UInt8](repeating: 0xFF, count: $0 - 50) + [0x7F])))
            }
        ),
        (
            "a serial number of 64,000 bytes",
            Entity.root().device { $0.serial = [UInt8](repeating: 0x7F, count: 64_000) }.der
        ),
        ("zeros", [UInt8](repeating: 0, count: 65_536)),
        ("SEQUENCE after SEQUENCE", [UInt8](repeating: 0x30, count: 65_536)),
    ]

    private static func nested(_ depth: Int) -> [UInt8] {
        var reversed: [UInt8] = []
        var count = 0
        for _ in 0..<depth {
            let length = DER.length(count)
            reversed += length.reversed()
            reversed.append(0x30)
            count += length.count + 1
        }
        return reversed.reversed()
    }

    @Test(arguments: large) func sixtyFourKiBOfAnyContentAreDecidedAtOnce(name: String, der: [UInt8]) {
        #expect(der.count <= 70_000, "\(name): \(der.count)")
        let clock = ContinuousClock()
        let time = clock.measure {
            do { touch(try Certificate(der: der)) } catch {}
        }
        // Well under a millisecond where it counts; this is a debug build on a busy machine.
        #expect(time < .seconds(1), "\(name): \(time)")
    }
}
