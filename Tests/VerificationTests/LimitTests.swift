import TestPKI
import Testing
import Verification

/// The budgets of one verification: at the limit all is well, past it the verdict says so.
@Suite struct LimitTests {
    @Test func threeSignatureChecksAreEnoughForThreeSignatures() {
        let root = Entity.root()
        let upper = root.authority("Upper", key: .p256(2))
        let lower = upper.authority("Lower", key: .p256(3))
        let world = World(root, chain: [lower.device(), upper, lower, root])
        let enough = judge(world, limits: VerificationLimits(signatureChecks: 3))
        #expect(enough.reason == .trusted, "\(enough.detail)")
        let tooFew = judge(world, limits: VerificationLimits(signatureChecks: 2))
        #expect(tooFew.reason == .chainInvalid)
        #expect(tooFew.detail.contains("budget"), "\(tooFew.detail)")
    }

    private static func sameNamed(_ count: Int) -> [World.Anchor] {
        (0..<count).map { number in
            World.Anchor(Entity.root("Same", key: .p256(1_000 + number)) { $0.remove(OID.subjectKeyIdentifier) }.der)
        }
    }

    /// A device certificate that none of the anchors of its issuer's name signed.
    private static let foreign = Entity.root("Same", key: .p256(5)).device {
        $0.remove(OID.authorityKeyIdentifier)
    }

    @Test func aHundredAnchorsOfOneNameAreAllTried() {
        let verdict = judge(World(anchors: Self.sameNamed(100), chain: [Self.foreign.der]))
        #expect(
            verdict.reason == .signatureInvalid || verdict.reason == .caUnknown, "\(verdict.reason), \(verdict.detail)")
    }

    @Test func whatIsInTheDevicesOwnWayDoesNotHideThatTheBudgetWasUsedUp() {
        let expired = Entity.root("Same", key: .p256(5)).device {
            $0.remove(OID.authorityKeyIdentifier)
            $0.setValidity(0, TestTime.now - 1)
        }
        let verdict = judge(World(anchors: Self.sameNamed(101), chain: [expired.der]))
        #expect(verdict.reason == .chainInvalid, "\(verdict.detail)")
        #expect(verdict.detail.contains("budget"), "\(verdict.detail)")
        let neighbour = judge(World(anchors: Self.sameNamed(99), chain: [expired.der]))
        #expect(neighbour.reason != .chainInvalid, "\(neighbour.detail)")
    }

    @Test(arguments: [(10, VerdictReason.trusted), (11, .chainInvalid), (12, .chainInvalid), (14, .chainInvalid)])
    func aPathHasTenIntermediatesAtMost(count: Int, reason: VerdictReason) {
        let root = Entity.root()
        var chain: [Entity] = []
        for number in 0..<count {
            chain.insert((chain.first ?? root).authority("Level \(number)", key: .p256(20 + number)), at: 0)
        }
        let world = World(root, chain: [(chain.first ?? root).device()] + chain)
        let verdict = judge(world)
        #expect(verdict.reason == reason, "\(count): \(verdict.detail)")
    }

    @Test func manyAnchorsOfANameDoNotKeepTheWayByAnotherOneFromBeingFound() {
        // A new anchor of one name each year, and the newest certified by another one meanwhile.
        let yearly = (0..<120).map { Entity.root("Yearly", key: .p256(400 + $0)) }
        let other = Entity.root("Other", key: .p256(7))
        let bridge = other.authority("Yearly", key: .p256(8))
        let line = bridge.authority("Line", key: .p256(9))
        let anchors = (yearly + [other]).map { World.Anchor($0.der) }
        let verdict = judge(World(anchors: anchors, chain: [line.device(), line, bridge].map(\.der)))
        #expect(verdict.reason == .trusted, "\(verdict.detail)")
    }

    /// Strangers of one name, each signed by itself, unless the last one names another issuer.
    private static func strangers(_ count: Int, lastIssuer: Entity? = nil) -> [Entity] {
        (0..<count).map { number in
            Entity.root("Stranger", key: .p256(300 + number)) { recipe in
                recipe.remove(OID.subjectKeyIdentifier)
                if number == count - 1, let lastIssuer { recipe.issuer = lastIssuer.name }
            }
        }
    }

    @Test func strangersCostOneSignatureCheckEachForTheDevice() {
        let device = Entity.root("Stranger", key: .p256(5)).device { $0.remove(OID.authorityKeyIdentifier) }
        let few = VerificationLimits(signatureChecks: 16)
        let nobody = judge(World(Entity.root(), chain: [device] + Self.strangers(15)), limits: few)
        #expect(nobody.reason == .caUnknown, "\(nobody.detail)")
        let root = Entity.root()
        let toRoot = judge(World(root, chain: [device] + Self.strangers(15, lastIssuer: root)), limits: few)
        #expect(toRoot.reason == .signatureInvalid, "\(toRoot.detail)")
    }

    @Test func aChainThatNoAnchorHasSignedIsNotCheckedToItsEnd() {
        let stranger = Entity.root("Root", key: .p256(6))
        var line: [Entity] = []
        for number in 0..<10 {
            line.insert((line.first ?? stranger).authority("Level \(number)", key: .p256(20 + number)), at: 0)
        }
        let device = line[0].device()
        // One for the device, one to see that no anchor has signed the topmost one.
        let limits = VerificationLimits(signatureChecks: 2)
        let verdict = judge(World(Entity.root("Root", key: .p256(7)), chain: [device] + line), limits: limits)
        #expect(verdict.reason == .signatureInvalid, "\(verdict.detail)")
    }

    @Test func aHundredAndOneAnchorsOfOneNameAreMoreThanTheBudget() {
        let verdict = judge(World(anchors: Self.sameNamed(101), chain: [Self.foreign.der]))
        #expect(verdict.reason == .chainInvalid, "\(verdict.detail)")
        #expect(verdict.detail.contains("budget"), "\(verdict.detail)")
    }

    @Test func pathStepsHaveABudget() {
        let root = Entity.root()
        let middle = root.authority(key: .p256(2))
        let world = World(root, chain: [middle.device(), middle])
        let tooFew = judge(world, limits: VerificationLimits(pathSteps: 1))
        #expect(tooFew.reason == .chainInvalid)
        #expect(tooFew.detail.contains("budget"), "\(tooFew.detail)")
        #expect(judge(world, limits: VerificationLimits(pathSteps: 20)).reason == .trusted)
    }

    /// An anchor with many excluded names, and a device with many names, none of them excluded.
    private static func names(constraints: Int, names: Int) -> World {
        let root = Entity.root { recipe in
            recipe.set(
                TestExtension.nameConstraints(excluded: (0..<constraints).map { .dns("x\($0).test") }))
        }
        let device = root.device { recipe in
            let list = (0..<names).map { TestGeneralName.dns("y\($0).test").der }
            recipe.set(TestExtension(OID.subjectAltName, DER.sequence(of: list)))
        }
        return World(root, chain: [device])
    }

    @Test func aQuarterOfAMillionNameComparisonsAreGood() {
        let verdict = judge(Self.names(constraints: 500, names: 490))
        #expect(verdict.reason == .trusted, "\(verdict.reason), \(verdict.detail)")
    }

    @Test func moreNameComparisonsAreNot() {
        let verdict = judge(Self.names(constraints: 510, names: 500))
        #expect(verdict.reason == .chainInvalid)
        #expect(verdict.detail.contains("budget"), "\(verdict.detail)")
    }

    @Test func theBudgetOfNameComparisonsIsUsedToTheLastOne() {
        let world = Self.names(constraints: 5, names: 4)
        #expect(judge(world, limits: VerificationLimits(nameComparisons: 20)).reason == .trusted)
        let verdict = judge(world, limits: VerificationLimits(nameComparisons: 19))
        #expect(verdict.reason == .chainInvalid)
        #expect(verdict.detail.contains("budget"), "\(verdict.detail)")
    }

    @Test func oneStepTooFewIsWhatEndsASearch() {
        let root = Entity.root()
        let middle = root.authority(key: .p256(2))
        let world = World(root, chain: [middle.device(), middle])
        let reasons = (1...20).map { judge(world, limits: VerificationLimits(pathSteps: $0)).reason }
        let enough = reasons.firstIndex(of: .trusted) ?? reasons.count
        #expect(enough > 0 && enough < reasons.count)
        #expect(
            reasons[..<enough].allSatisfy { $0 == .chainInvalid } && reasons[enough...].allSatisfy { $0 == .trusted })
    }

    @Test func manyConstraintsOfOtherKindsAreNoHindrance() {
        let root = Entity.root { recipe in
            recipe.set(.nameConstraints(excluded: (0..<1_000).map { .email("x\($0).test") }))
        }
        let device = root.device { recipe in
            let list = (0..<1_000).map { TestGeneralName.dns("y\($0).test").der }
            recipe.set(TestExtension(OID.subjectAltName, DER.sequence(of: list)))
        }
        let verdict = judge(World(root, chain: [device]))
        #expect([.trusted, .chainInvalid].contains(verdict.reason), "\(verdict.reason), \(verdict.detail)")
    }

    /// Anyone can write a CA's name into an issuer field: what such a chain says of names is not worth any work.
    @Test func aPathOfWrongSignaturesCostsNoNameComparisons() {
        let impostor = Entity.root(key: .p256(66))
        let middle = impostor.authority(key: .p256(2)) {
            $0.set(.nameConstraints(excluded: (0..<500).map { .dns("x\($0).test") }))
        }
        let device = middle.device { recipe in
            let list = (0..<500).map { TestGeneralName.dns("y\($0).test").der }
            recipe.set(TestExtension(OID.subjectAltName, DER.sequence(of: list)))
        }
        let verdict = judge(
            World(Entity.root(), chain: [device, middle]), limits: VerificationLimits(nameComparisons: 0))
        #expect(verdict.reason == .signatureInvalid, "\(verdict.reason), \(verdict.detail)")
        #expect(!verdict.detail.contains("budget"), "\(verdict.detail)")
    }

    /// Every certificate of the chain fits every other one by name, and no signature is right.
    @Test func aMazeWithoutAnExitEndsWithinItsBudget() {
        let keys = (0..<15).map { TestKey.p256(300 + $0) }
        let maze = keys.indices.map { index in
            Entity.root("Maze", key: keys[index]).changed {
                $0.spki = keys[(index + 1) % keys.count].spki
                $0.remove(OID.subjectKeyIdentifier)
            }
        }
        let device = Entity.root("Maze", key: .p256(400)).device { $0.remove(OID.authorityKeyIdentifier) }
        let clock = ContinuousClock()
        var verdict: TestVerdict?
        let time = clock.measure {
            verdict = judge(World(anchors: Self.sameNamed(50), chain: [device.der] + maze.map(\.der)))
        }
        #expect(verdict?.reason != .trusted)
        #expect(time < .seconds(2), "\(time)")
    }

    /// Every certificate of the chain issued every other one: as many paths as there are orders.
    @Test func aMazeOfRightSignaturesEndsWithinItsBudget() {
        let key = TestKey.p256(1)
        let copies = (0..<15).map { number in
            Entity.root("Maze", key: key) { recipe in
                recipe.serial = [UInt8(number + 1)]
                recipe.spki = key.spki
                // Each is another certificate of the same CA, in the sense of no rule but its own bytes.
                recipe.set(.subjectKeyIdentifier([UInt8(number)]))
            }
        }
        let device = copies[0].device()
        let clock = ContinuousClock()
        var verdict: TestVerdict?
        let time = clock.measure {
            verdict = judge(World(Entity.root("Exit", key: .p256(2)), chain: [device] + copies))
        }
        #expect(verdict?.reason != .trusted)
        #expect(time < .seconds(2), "\(time)")
    }
}
