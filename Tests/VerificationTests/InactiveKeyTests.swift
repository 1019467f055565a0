import TestPKI
import Testing
import Verification

/// No certificate of a path has a key of which all registered CA certificates are Inactive.
@Suite struct InactiveKeyTests {
    private static let root = Entity.root()
    private static let middle = root.authority(key: .p256(2))

    static let situations: [Situation] = [
        Situation("the only anchor is Inactive", .caInactive) { World(inactive: [root], chain: [root.device()]) },
        Situation("the only anchor is Inactive, behind an intermediate", .caInactive) {
            World(inactive: [root], chain: [middle.device(), middle])
        },
        Situation("the only anchor is Inactive, and sent along", .caInactive) {
            World(inactive: [root], chain: [root.device(), root])
        },
        Situation("an Inactive anchor beside its Active renewal", .trusted) {
            World(root.changed { $0.serial = [9] }, inactive: [root], chain: [root.device()])
        },
        Situation("an Inactive renewal beside the Active anchor", .trusted) {
            World(root, inactive: [root.changed { $0.serial = [9] }], chain: [root.device()])
        },
        Situation("an Inactive anchor beside an Active one of its name and another key", .caInactive) {
            World(Entity.root(key: .p256(7)), inactive: [root], chain: [root.device()])
        },
        Situation("an Active anchor beside an Inactive one of its name and another key", .trusted) {
            World(root, inactive: [Entity.root(key: .p256(7))], chain: [root.device()])
        },
        Situation("an intermediate's key is registered and Inactive", .caInactive) {
            World(root, inactive: [middle], chain: [middle.device(), middle])
        },
        Situation("an intermediate's key is registered and Active", .trusted) {
            World(root, middle, chain: [middle.device(), middle])
        },
        Situation("an intermediate is Inactive, another certificate of its key Active", .trusted) {
            World(root, middle.changed { $0.serial = [9] }, inactive: [middle], chain: [middle.device(), middle])
        },
        Situation("an intermediate's key is Inactive under another name", .caInactive) {
            World(root, inactive: [Entity.root("Elsewhere", key: .p256(2))], chain: [middle.device(), middle])
        },
        Situation("another certificate of the Inactive intermediate's key is sent", .caInactive) {
            World(root, inactive: [middle], chain: [middle.device(), middle.changed { $0.serial = [9] }])
        },
        Situation("the upper one of two intermediates is Inactive", .caInactive) {
            let lower = middle.authority("Lower", key: .p256(3))
            return World(root, inactive: [middle], chain: [lower.device(), lower, middle])
        },
        Situation("the root above an Active intermediate is Inactive", .trusted) {
            World(middle, inactive: [root], chain: [middle.device(), middle])
        },
        Situation("a way around the Inactive intermediate", .trusted) {
            let other = Entity.root("Other", key: .p256(4))
            let inactive = root.authority("Upper", key: .p256(5))
            let lower = inactive.authority("Lower", key: .p256(3))
            let lowerByOther = other.authority("Lower", key: .p256(3))
            return World(
                root, other, inactive: [inactive], chain: [lower.device(), lower, inactive, lowerByOther])
        },
        Situation("the device has the key of an Inactive CA", .caInactive) {
            World(root, inactive: [Entity.root("Elsewhere", key: .p256(900))], chain: [root.device()])
        },
        Situation("the device has the key of an Active CA", .trusted) {
            World(root, Entity.root("Elsewhere", key: .p256(900)), chain: [root.device()])
        },
        Situation("an Inactive CA beside the path", .trusted) {
            World(root, inactive: [Entity.root("Elsewhere", key: .p256(4))], chain: [middle.device(), middle])
        },
        Situation("an Inactive CA that has expired beside a good one of its name", .trusted) {
            World(
                root, inactive: [Entity.root(key: .p256(7)) { $0.setValidity(0, 1) }], chain: [middle.device(), middle])
        },
        Situation("an expired device under an Inactive CA", .caInactive, detail: ["expired"]) {
            World(inactive: [root], chain: [root.device { $0.setValidity(0, 1) }])
        },
        Situation("an expired device under an expired CA", .caExpired) {
            let old = Entity.root { $0.setValidity(0, 1) }
            return World(old, chain: [old.device { $0.setValidity(0, 1) }])
        },
        Situation("an Inactive CA that has also expired", .caInactive, detail: ["expired"]) {
            let old = Entity.root { $0.setValidity(0, 1) }
            return World(inactive: [old], chain: [old.device()])
        },
        Situation("a wrong signature under an Inactive CA", .signatureInvalid, .caInactive) {
            World(
                inactive: [root],
                chain: [root.device { $0.changeSignature = { $0.dropLast() + [$0[$0.count - 1] ^ 1] } }])
        },
    ]

    @Test(arguments: situations) func anInactiveKeyBarsItsPaths(situation: Situation) { expectVerdict(situation) }
}
