import TestPKI
import Testing
import Verification

/// What a verdict says in words names the certificate and the rule, and cannot be turned against its reader.
@Suite struct DetailTests {
    private static let hostile = "a\nb\r\u{1B}[31m\u{0}\u{85}\u{202E}\u{2028}"

    private static func isHarmless(_ text: String) -> Bool {
        text.unicodeScalars.allSatisfy { scalar in
            scalar.value >= 0x20 && !(0x7F...0x9F).contains(scalar.value)
                && ![0x2028, 0x2029, 0x202A, 0x202B, 0x202C, 0x202D, 0x202E].contains(scalar.value)
        }
    }

    private static func ascii(_ text: String) -> String {
        String(decoding: text.utf8.filter { $0 < 0x80 }, as: UTF8.self)
    }

    static let worlds: [Situation] = [
        Situation("an intermediate's subject", .chainInvalid) {
            let root = Entity.root()
            let middle = root.authority(TestName(commonName: hostile), key: .p256(2)) { $0.setValidity(0, 1) }
            return World(root, chain: [middle.device(), middle])
        },
        Situation("an anchor's subject", .caExpired) {
            let root = Entity.root(TestName(commonName: hostile)) { $0.setValidity(0, 1) }
            return World(root, chain: [root.device()])
        },
        Situation("a device's subject", .deviceExpired) {
            let root = Entity.root()
            return World(root, chain: [root.device(TestName(commonName: hostile)) { $0.setValidity(0, 1) }])
        },
        Situation("a DNS name", .nameNotPermitted) { excluded(.dns(ascii(hostile))) },
        Situation("an e-mail address", .nameNotPermitted) { excluded(.email(ascii(hostile) + "@x.test")) },
        Situation("a URI", .nameNotPermitted) { excluded(.uri("x://" + ascii(hostile))) },
        Situation("a directory name", .nameNotPermitted) { excluded(.directory(TestName(commonName: hostile))) },
        Situation("a subject that is excluded", .nameNotPermitted) {
            let root = Entity.root { $0.set(.nameConstraints(excluded: [.directory(.empty)])) }
            return World(root, chain: [root.device(TestName(commonName: hostile))])
        },
        Situation("an e-mail attribute", .nameNotPermitted) {
            let root = Entity.root { $0.set(.nameConstraints(permitted: [.email("x.test")])) }
            return World(root, chain: [root.device(TestName(.utf8(OID.emailAddress, hostile + "@y.test")))])
        },
    ]

    private static func excluded(_ name: TestGeneralName) -> World {
        let root = Entity.root {
            $0.set(
                .nameConstraints(
                    permitted: [.dns("x.test"), .email("y.test"), .uri("z.test"), .directory(TestName("w"))]))
        }
        return World(root, chain: [root.device("w") { $0.set(.subjectAltName(name)) }])
    }

    @Test(arguments: worlds) func aHostileNameForgesNothing(situation: Situation) {
        expectVerdict(situation)
        let detail = judge(situation.world()).detail
        #expect(!detail.isEmpty)
        #expect(Self.isHarmless(detail), "\(detail.debugDescription)")
    }

    static let long: [Situation] = [
        Situation("a long DNS name", .nameNotPermitted) {
            excluded(.dns(String(repeating: "a", count: 50_000)))
        },
        Situation("a long subject", .chainInvalid) {
            let root = Entity.root()
            let middle = root.authority(TestName(commonName: String(repeating: "a", count: 50_000)), key: .p256(2)) {
                $0.setValidity(0, 1)
            }
            return World(root, chain: [middle.device(), middle])
        },
        Situation("a long extension identifier", .certificateMalformed) {
            let root = Entity.root()
            let identifier = DER.element(6, [0x2A] + [UInt8](repeating: 1, count: 50_000))
            return World(
                root,
                chain: [
                    root.device {
                        $0.extensions.append(
                            TestExtension(
                                "1.2", [], raw: DER.sequence(identifier, DER.boolean(true), DER.octetString([]))))
                    }
                ])
        },
        Situation("a long serial number", .certificateMalformed) {
            let root = Entity.root { $0.serial = [UInt8](repeating: 0x7F, count: 50_000) }
            return World(root, chain: [root.device()])
        },
        Situation(
            "fifteen certificates that are all wrong", .chainInvalid, .signatureInvalid, .caUnknown, .usageNotAllowed
        ) {
            let root = Entity.root()
            let others = (0..<15).map { number in
                root.authority(TestName(commonName: String(repeating: "Root", count: 500)), key: .p256(80 + number)) {
                    $0.setValidity(0, 1)
                }
            }
            return World(root, chain: [others[0].device()] + others)
        },
    ]

    /// A detail is a sentence or a few, whatever the certificates hold: it goes into logs and answers.
    @Test(arguments: long) func aLongNameMakesNoLongDetail(situation: Situation) {
        let verdict = judge(situation.world())
        #expect(situation.expected.contains(verdict.reason), "\(verdict.reason)")
        #expect(verdict.detail.utf8.count <= 4_096, "\(verdict.detail.utf8.count) bytes")
    }

    static let told: [Situation] = [
        Situation("an expired intermediate", .chainInvalid, detail: ["CN=Lower", "expired"]) {
            chain { $0.setValidity(0, 1) }
        },
        Situation("an intermediate that is no CA", .chainInvalid, detail: ["CN=Lower"]) {
            chain { $0.remove(OID.basicConstraints) }
        },
        Situation("a path that is too long", .chainInvalid, detail: ["path length"]) {
            let root = Entity.root { $0.set(.basicConstraints(pathLength: 0)) }
            let middle = root.authority(key: .p256(2))
            return World(root, chain: [middle.device(), middle])
        },
        Situation("an expired device under an expired CA", .caExpired, detail: ["the device certificate has expired"]) {
            let root = Entity.root { $0.setValidity(0, 1) }
            return World(root, chain: [root.device { $0.setValidity(0, 1) }])
        },
        Situation("a device for servers that has expired", .usageNotAllowed, detail: ["expired", "clientAuth"]) {
            let root = Entity.root()
            return World(
                root,
                chain: [
                    root.device {
                        $0.setValidity(0, 1)
                        $0.set(.extKeyUsage(OID.serverAuth))
                    }
                ])
        },
        Situation("an unknown critical extension", .certificateMalformed, detail: [OID.unknownExtension]) {
            chain { $0.set(.unknown(critical: true)) }
        },
        Situation("a name that is not permitted", .nameNotPermitted, detail: ["evil.test"]) {
            let root = Entity.root { $0.set(.nameConstraints(permitted: [.dns("good.test")])) }
            return World(root, chain: [root.device { $0.set(.subjectAltName(.dns("evil.test"))) }])
        },
    ]

    private static func chain(_ change: @escaping @Sendable (inout CertificateRecipe) -> Void) -> World {
        let root = Entity.root()
        let upper = root.authority("Upper", key: .p256(2))
        let lower = upper.authority("Lower", key: .p256(3), changing: change)
        return World(root, chain: [lower.device(), lower, upper])
    }

    @Test(arguments: told) func aDetailNamesTheCertificateAndTheRule(situation: Situation) { expectVerdict(situation) }
}
