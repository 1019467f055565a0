import TestPKI
import Testing
import Verification

/// Names and constraints of a CA that means ill: 64 KiB of either, in every form. What they cost grows with their size, not
/// with one times the other.
@Suite struct HostileNamesTests {
    /// As many of an element as fit into a certificate.
    private static func full(_ element: [UInt8], bytes: Int = 60_000) -> [UInt8] {
        Array(repeatElement(element, count: bytes / element.count).joined())
    }

    private static func directory(_ attribute: TestName.Attribute) -> [UInt8] {
        TestGeneralName.directory(TestName(attribute)).der
    }

    private static let long = String(repeating: "a", count: 60_000)
    private static let manyAttributes = TestName(
        parts: [[TestName.Attribute]](
            repeating: [.utf8(OID.commonName, "a")], count: 4_500))

    /// The base of every excluded subtree, and the device's names.
    static let worlds: [(String, base: [UInt8], names: [UInt8])] = [
        ("a long URI", TestGeneralName.uri("b").der, TestGeneralName.uri("x://a/\(long)").der),
        ("a long mailbox", TestGeneralName.email("b").der, TestGeneralName.email("\(long)@a.test").der),
        ("a long host", TestGeneralName.dns("b").der, TestGeneralName.dns(long).der),
        (
            "a long directory name", directory(.utf8(OID.commonName, "b")),
            directory(.teletex(OID.commonName, [UInt8](repeating: 0xE4, count: 60_000)))
        ),
        (
            "a directory name of many parts", directory(.utf8(OID.commonName, "b")),
            TestGeneralName.directory(manyAttributes).der
        ),
        (
            "hundreds of directory names that take work",
            directory(.bmp(OID.commonName, String(repeating: "\u{390}", count: 60))),
            full(directory(.bmp(OID.commonName, String(repeating: "\u{3B0}", count: 60))))
        ),
        ("thousands of names", TestGeneralName.dns("b").der, full(TestGeneralName.dns("a").der)),
        ("thousands of names of another form", TestGeneralName.email("b").der, full(TestGeneralName.dns("a").der)),
    ]

    @Test(arguments: worlds) func namesAndConstraintsAreComparedAtOnce(name: String, base: [UInt8], names: [UInt8]) {
        let root = Entity.root()
        let middle = root.authority(key: .p256(2)) {
            $0.set(.nameConstraints(permittedSubtrees: nil, excludedSubtrees: [Self.full(DER.sequence(base))]))
        }
        let device = middle.device { $0.set(TestExtension(OID.subjectAltName, DER.sequence(names))) }
        expectSpeed(name, World(root, chain: [device, middle]))
    }

    @Test func tenConstrainedAuthoritiesCompareEachNameOnce() {
        var chain = [Entity.root()]
        for number in 0..<10 {
            let authority = chain[0].authority(TestName(commonName: "\(number)"), key: .p256(10 + number)) {
                let subtree = DER.sequence(Self.directory(.utf8(OID.commonName, "b")))
                $0.set(
                    .nameConstraints(
                        permittedSubtrees: nil, excludedSubtrees: [Self.full(subtree, bytes: 15_000)]))
            }
            chain.insert(authority, at: 0)
        }
        let device = chain[0].device {
            let name = Self.directory(.teletex(OID.commonName, [UInt8](repeating: 0xE4, count: 60_000)))
            $0.set(TestExtension(OID.subjectAltName, DER.sequence(name)))
        }
        expectSpeed("ten", World(chain[10], chain: [device] + chain.dropLast()))
    }

    /// Every certificate of the maze issued every other one, and has 15 KB of a name.
    @Test func aMazeOfLongNamesEndsWithinItsBudget() {
        let name = TestName(.teletex(OID.commonName, [UInt8](repeating: 0xE4, count: 7_500)))
        let maze = (0..<15).map { Entity.root(name, key: .p256(300 + $0)) { $0.remove(OID.subjectKeyIdentifier) } }
        let anchors = (0..<20).map { Entity.root(name, key: .p256(400 + $0)) { $0.remove(OID.subjectKeyIdentifier) } }
        let device = Entity.root(name, key: .p256(500)).device { $0.remove(OID.authorityKeyIdentifier) }
        expectSpeed(
            "a maze", World(anchors: anchors.map { World.Anchor($0.der) }, chain: [device.der] + maze.map(\.der)))
    }

    private func expectSpeed(_ name: String, _ world: World) {
        var verdict: TestVerdict?
        let time = ContinuousClock().measure { verdict = judge(world) }
        // Some ten milliseconds where it counts; this is a debug build on a busy machine.
        #expect(time < .seconds(10), "\(name): \(time), \(String(describing: verdict?.reason))")
    }
}
