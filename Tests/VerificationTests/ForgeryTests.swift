import TestPKI
import Testing
import Verification

/// What was signed is what counts: no changed byte of a device's or an intermediate's certificate is trusted.
@Suite struct ForgeryTests {
    static let chains: [World] = [
        world(root: .p256(1), middle: .p256(2), scheme: nil),
        world(root: .rsa2048, middle: .otherRSA2048, scheme: .pss(.sha256)),
    ]

    private static func world(root rootKey: TestKey, middle middleKey: TestKey, scheme: SigningScheme?) -> World {
        let root = Entity.root(key: rootKey)
        let middle = root.authority(key: middleKey) { $0.scheme = scheme }
        let device = middle.device {
            $0.scheme = scheme
            $0.set(.subjectAltName(.dns("device.test")))
        }
        return World(root, chain: [device, middle])
    }

    @Test(arguments: chains) func noChangedBitIsTrusted(world: World) {
        #expect(judge(world).reason == .trusted)
        for index in world.chain.indices {
            for position in world.chain[index].indices {
                var changed = world
                changed.chain[index][position] ^= 1 << UInt8(position % 8)
                let verdict = judge(changed)
                #expect(verdict.reason != .trusted, "certificate \(index), byte \(position)")
            }
        }
    }

    @Test func noCombinationOfTwoCertificatesIsTrusted() {
        let root = Entity.root()
        let one = DER.elements(DER.contents(root.device("one").der))
        let two = DER.elements(DER.contents(root.device("two", key: .p256(901)).der))
        for parts in [[one[0], one[1], two[2]], [two[0], two[1], one[2]], [one[0], two[1], two[2]]] {
            var world = World(root, chain: [root])
            world.chain = [DER.sequence(of: parts)]
            #expect(judge(world).reason == .signatureInvalid)
        }
    }

    static let others: [Situation] = [
        Situation("a self-signed device", .caUnknown, .chainInvalid, .signatureInvalid) {
            let device = Entity.root("device", key: .p256(900)) { $0.extensions = [] }
            return World(Entity.root(), chain: [device])
        },
        Situation("a self-signed device of the anchor's name", .caUnknown, .chainInvalid, .signatureInvalid) {
            let device = Entity.root("Root", key: .p256(900)) { $0.extensions = [] }
            return World(Entity.root(), chain: [device])
        },
        Situation("a device that signed the CA that signed it", .caUnknown, .chainInvalid, .signatureInvalid) {
            let middle = Entity.root("Middle", key: .p256(2))
            let device = middle.device("device", key: .p256(3))
            return World(Entity.root(), chain: [device, device.authority("Middle", key: .p256(2))])
        },
        Situation("a CA certificate that a device made for itself", .chainInvalid) {
            let root = Entity.root()
            let device = root.device("device", key: .p256(3))
            let made = device.authority("made", key: .p256(4))
            return World(root, chain: [made.device(), made, device])
        },
        Situation("a CA certificate that a device made, of its CA's name", .chainInvalid, .signatureInvalid, .caUnknown)
        {
            let root = Entity.root()
            let device = root.device("device", key: .p256(3))
            let made = device.authority("Root", key: .p256(4))
            return World(root, chain: [made.device(), made, device])
        },
    ]

    @Test(arguments: others) func whatADeviceSignsIsNotTrusted(situation: Situation) { expectVerdict(situation) }

    @Test(arguments: [Int64.min, Int64.min + 1, -1, 0, Int64.max - 1, Int64.max])
    func anyInstantIsAnAnswer(instant: Int64) {
        let root = Entity.root()
        let verdict = judge(World(root, chain: [root.device()], instant: instant))
        #expect(verdict.reason == (instant < TestTime.now ? .caNotYetValid : .caExpired), "\(verdict.reason)")
    }
}
