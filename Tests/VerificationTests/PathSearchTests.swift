import Certificates
import TestPKI
import Testing
import Verification

/// Every path that there is gets its chance (RFC 4158), whatever the order, and no maze makes the search run away.
@Suite struct PathSearchTests {
    /// All orders of a few elements.
    private static func permutations<Element>(_ elements: [Element]) -> [[Element]] {
        guard elements.count > 1 else { return [elements] }
        return elements.indices.flatMap { index in
            var rest = elements
            let first = rest.remove(at: index)
            return permutations(rest).map { [first] + $0 }
        }
    }

    /// The reason is the same one whatever the order of anchors and chain.
    private func expectInEveryOrder(
        _ expected: VerdictReason, anchors: [World.Anchor], device: Entity, others: [Entity],
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        for order in Self.permutations(others) {
            for registered in [anchors, anchors.reversed()] {
                let verdict = judge(World(anchors: registered, chain: [device.der] + order.map(\.der)))
                #expect(
                    verdict.reason == expected, "\(verdict.reason), \(verdict.detail)", sourceLocation: sourceLocation)
            }
        }
    }

    static let shapes: [Situation] = [
        Situation("the anchor issued the device", .trusted) {
            let root = Entity.root()
            return World(root, chain: [root.device()])
        },
        Situation("no CA is registered", .caUnknown) {
            let root = Entity.root()
            return World(chain: [root.device(), root])
        },
        Situation("another CA is registered", .caUnknown) {
            World(Entity.root("Other", key: .p256(7)), chain: [Entity.root().device()])
        },
        Situation("an intermediate is missing", .caUnknown) {
            let root = Entity.root()
            return World(root, chain: [root.authority(key: .p256(2)).device()])
        },
        Situation("the anchor is sent along", .trusted) {
            let root = Entity.root()
            let middle = root.authority(key: .p256(2))
            return World(root, chain: [middle.device(), middle, root])
        },
        Situation("the device's certificate is sent twice", .trusted) {
            let root = Entity.root()
            let middle = root.authority(key: .p256(2))
            let device = middle.device()
            return World(root, chain: [device, device, middle])
        },
        Situation("an intermediate is sent three times", .trusted) {
            let root = Entity.root()
            let middle = root.authority(key: .p256(2))
            return World(root, chain: [middle.device(), middle, middle, middle])
        },
        Situation("the issuer stands first", .usageNotAllowed) {
            let root = Entity.root()
            let middle = root.authority(key: .p256(2))
            return World(root, chain: [middle, middle.device()])
        },
        Situation("an intermediate is the anchor", .trusted) {
            let middle = Entity.root().authority(key: .p256(2))
            return World(middle, chain: [middle.device()])
        },
        Situation("an intermediate is the anchor, and sent along with its root", .trusted) {
            let root = Entity.root()
            let middle = root.authority(key: .p256(2))
            return World(middle, chain: [middle.device(), middle, root])
        },
        Situation("an intermediate is the anchor, the root has expired", .trusted) {
            let root = Entity.root { $0.setValidity(0, 1) }
            let middle = root.authority(key: .p256(2))
            return World(root, middle, chain: [middle.device(), middle])
        },
        Situation("an intermediate and its root are anchors", .trusted) {
            let root = Entity.root()
            let middle = root.authority(key: .p256(2))
            return World(root, middle, chain: [middle.device(), middle])
        },
        Situation("an intermediate that is an anchor has expired", .caExpired, .chainInvalid) {
            let root = Entity.root()
            let middle = root.authority(key: .p256(2)) { $0.setValidity(0, 1) }
            return World(root, middle, chain: [middle.device(), middle])
        },
        Situation("a renewed anchor of the same key", .trusted) {
            let root = Entity.root()
            let renewed = root.changed {
                $0.serial = [9]
                $0.setValidity(TestTime.now - 1, TestTime.notAfter + 1)
            }
            return World(renewed, chain: [root.device(), root])
        },
        Situation("an expired anchor beside its renewal", .trusted) {
            let root = Entity.root { $0.setValidity(0, 1) }
            let renewed = root.changed {
                $0.serial = [9]
                $0.setValidity(TestTime.notBefore, TestTime.notAfter)
            }
            return World(root, renewed, chain: [root.device()])
        },
        Situation("two anchors of one name", .trusted) {
            let other = Entity.root(key: .p256(7))
            let root = Entity.root()
            return World(other, root, chain: [root.device()])
        },
        Situation("two anchors of one name without key identifiers", .trusted) {
            func bare(_ recipe: inout CertificateRecipe) {
                recipe.remove(OID.subjectKeyIdentifier)
                recipe.remove(OID.authorityKeyIdentifier)
            }
            let other = Entity.root(key: .p256(7), changing: bare)
            let root = Entity.root(changing: bare)
            return World(other, root, chain: [root.device(changing: bare)])
        },
        Situation("two anchors of one key, one of which excludes the device", .trusted) {
            let root = Entity.root()
            let strict = root.changed {
                $0.serial = [9]
                $0.set(.nameConstraints(excluded: [.dns("")]))
            }
            return World(strict, root, chain: [root.device { $0.set(.subjectAltName(.dns("a.test"))) }])
        },
        Situation("a self-signed stranger of the anchor's name is sent along", .trusted) {
            let root = Entity.root()
            return World(root, chain: [root.device(), Entity.root(key: .p256(7))])
        },
    ]

    @Test(arguments: shapes) func aPathIsFoundWhereThereIsOne(situation: Situation) { expectVerdict(situation) }

    static let keyIdentifiers: [Situation] = [
        Situation("the device's authority key identifier is another's", .trusted) {
            identifiers(device: .authorityKeyIdentifier([1, 2, 3]))
        },
        Situation("the device's authority key identifier is empty", .trusted) {
            identifiers(device: .authorityKeyIdentifier([]))
        },
        Situation("the device's authority key identifier names another issuer and serial number", .trusted) {
            identifiers(device: .authorityKeyIdentifier(nil, issuer: "Nobody", serial: [42]))
        },
        Situation("the intermediate's subject key identifier is another's", .trusted) {
            identifiers(intermediate: .subjectKeyIdentifier([1, 2, 3]))
        },
        Situation("the intermediate's authority key identifier is another's", .trusted) {
            identifiers(intermediate: .authorityKeyIdentifier([1, 2, 3]))
        },
        Situation("the anchor's subject key identifier is another's", .trusted) {
            identifiers(anchor: .subjectKeyIdentifier([1, 2, 3]))
        },
        Situation("a stranger of that name has the right key identifier", .trusted) {
            let root = Entity.root()
            let middle = root.authority(key: .p256(2)) { $0.set(.subjectKeyIdentifier([5])) }
            let stranger = root.authority(key: .p256(3)) { $0.set(.subjectKeyIdentifier([6])) }
            return World(root, chain: [middle.device { $0.set(.authorityKeyIdentifier([6])) }, stranger, middle])
        },
        Situation("a stranger among the anchors has the right key identifier", .trusted) {
            let root = Entity.root { $0.set(.subjectKeyIdentifier([5])) }
            let stranger = Entity.root(key: .p256(3)) { $0.set(.subjectKeyIdentifier([6])) }
            return World(stranger, root, chain: [root.device { $0.set(.authorityKeyIdentifier([6])) }])
        },
    ]

    private static func identifiers(
        device: TestExtension? = nil, intermediate: TestExtension? = nil, anchor: TestExtension? = nil
    ) -> World {
        let root = Entity.root { if let anchor { $0.set(anchor) } }
        let middle = root.authority(key: .p256(2)) { if let intermediate { $0.set(intermediate) } }
        return World(root, chain: [middle.device { if let device { $0.set(device) } }, middle])
    }

    @Test(arguments: keyIdentifiers) func keyIdentifiersDecideNothing(situation: Situation) { expectVerdict(situation) }

    // MARK: A bad certificate beside a good one

    /// What a second certificate of the intermediate's name and key has that bars it.
    struct Bar: Sendable, CustomTestStringConvertible {
        let name: String
        let change: @Sendable (inout CertificateRecipe) -> Void

        var testDescription: String { name }
    }

    static let bars: [Bar] = [
        Bar(name: "expired") { $0.setValidity(0, 1) },
        Bar(name: "not yet valid") { $0.setValidity(TestTime.now + 1, TestTime.notAfter) },
        Bar(name: "no CA") { $0.remove(OID.basicConstraints) },
        Bar(name: "no keyCertSign") { $0.set(.keyUsage(.digitalSignature)) },
        Bar(name: "for servers") { $0.set(.extKeyUsage(OID.serverAuth)) },
        Bar(name: "excludes the device") { $0.set(.nameConstraints(excluded: [.dns("device.test")])) },
        Bar(name: "signed with SHA-1") { $0.scheme = .rsa(.sha1) },
        Bar(name: "unknown critical extension") { $0.set(.unknown(critical: true)) },
        Bar(name: "an extension twice") { $0.extensions += [.unknown(critical: false), .unknown(critical: false)] },
        Bar(name: "wrong signature") { $0.changeSignature = { [$0[0] ^ 1] + $0.dropFirst() } },
        Bar(name: "version 1") { $0.makeVersion1() },
        Bar(name: "other algorithm inside") { $0.innerAlgorithm = SigningScheme.rsa(.sha512).algorithmIdentifier },
        Bar(name: "serial number too long") { $0.serial = [UInt8](repeating: 1, count: 129) },
        Bar(name: "an issuer that nobody has") { $0.issuer = TestName("Nobody").der },
        Bar(name: "no path length left") {
            $0.issuer = TestName("Short").der
        },
    ]

    @Test(arguments: bars) func aBadCertificateBesideAGoodOneDoesNoHarm(bar: Bar) {
        let root = Entity.root(key: .rsa2048)
        let good = root.authority(key: .p256(2))
        let bad = root.authority(key: .p256(2)) { recipe in
            recipe.serial = [3]
            bar.change(&recipe)
        }
        // Leads nowhere from "Short": the anchor of that name allows no intermediate.
        let short = Entity.root("Short", key: .rsa2048) { $0.set(.basicConstraints(pathLength: 0)) }
        let device = good.device { $0.set(.subjectAltName(.dns("device.test"))) }
        expectInEveryOrder(
            .trusted, anchors: [.init(root.der), .init(short.der)], device: device, others: [good, bad, bad])
        let alone = judge(World(root, short, chain: [device, bad]))
        #expect(alone.reason != .trusted, "\(bar.name) alone")
    }

    // MARK: Crosses, rollovers, mazes

    @Test func anIntermediateOfTwoRootsIsFoundThroughTheRegisteredOne() {
        let registered = Entity.root("Registered", key: .p256(1))
        let other = Entity.root("Other", key: .p256(2))
        let byRegistered = registered.authority("Cross", key: .p256(3))
        let byOther = other.authority("Cross", key: .p256(3))
        let device = byOther.device()
        expectInEveryOrder(
            .trusted, anchors: [.init(registered.der)], device: device,
            others: [byOther, byRegistered, other, registered])
    }

    @Test func anIntermediateOfTwoRegisteredRootsIsFoundThroughTheActiveOne() {
        let active = Entity.root("Active", key: .p256(1))
        let inactive = Entity.root("Inactive", key: .p256(2))
        let byActive = active.authority("Cross", key: .p256(3))
        let byInactive = inactive.authority("Cross", key: .p256(3))
        expectInEveryOrder(
            .trusted, anchors: [.init(active.der), .init(inactive.der, isActive: false)], device: byActive.device(),
            others: [byActive, byInactive])
    }

    @Test func aRolloverCertificateLeadsFromTheNewKeyToTheOldOne() {
        let old = Entity.root("Root", key: .p256(1))
        let new = Entity.root("Root", key: .p256(2))
        let newWithOld = old.authority("Root", key: .p256(2))
        let middle = new.authority(key: .p256(3))
        expectInEveryOrder(
            .trusted, anchors: [.init(old.der)], device: middle.device(), others: [middle, new, newWithOld])
    }

    @Test func aRolloverCertificateLeadsFromTheOldKeyToTheNewOne() {
        let old = Entity.root("Root", key: .p256(1))
        let new = Entity.root("Root", key: .p256(2))
        let oldWithNew = new.authority("Root", key: .p256(1))
        expectInEveryOrder(
            .trusted, anchors: [.init(new.der)], device: old.device(), others: [old, oldWithNew, new])
    }

    @Test func aRolloverCertificateWithoutKeyIdentifiersLeadsThereAsWell() {
        func bare(_ recipe: inout CertificateRecipe) {
            recipe.remove(OID.subjectKeyIdentifier)
            recipe.remove(OID.authorityKeyIdentifier)
        }
        let old = Entity.root("Root", key: .p256(1), changing: bare)
        let new = Entity.root("Root", key: .p256(2), changing: bare)
        let newWithOld = old.authority("Root", key: .p256(2), changing: bare)
        let device = new.device(changing: bare)
        expectInEveryOrder(.trusted, anchors: [.init(old.der)], device: device, others: [new, newWithOld])
    }

    @Test func twoAuthoritiesThatCertifyEachOtherAreNoEndlessPath() {
        let a = Entity.root("A", key: .p256(1))
        let b = Entity.root("B", key: .p256(2))
        let aByB = b.authority("A", key: .p256(1))
        let bByA = a.authority("B", key: .p256(2))
        expectInEveryOrder(.caUnknown, anchors: [], device: a.device(), others: [aByB, bByA])
        let c = Entity.root("C", key: .p256(3))
        let bByC = c.authority("B", key: .p256(2))
        expectInEveryOrder(.trusted, anchors: [.init(c.der)], device: a.device(), others: [aByB, bByA, bByC])
    }

    @Test func aMeshOfAuthoritiesIsCrossedToItsOnlyExit() {
        let roots = (0..<4).map { Entity.root(TestName(commonName: "Mesh \($0)"), key: .p256(20 + $0)) }
        var crosses: [Entity] = []
        for issuer in roots {
            for subject in roots where subject.name != issuer.name {
                crosses.append(
                    issuer.issue(
                        "", key: subject.key, subject.recipe.extensions
                    ) { $0.subject = subject.name })
            }
        }
        #expect(crosses.count == 12)
        let anchor = Entity.root("Exit", key: .p256(40))
        let exit = anchor.authority("Mesh 3", key: .p256(23))
        for chain in [crosses + [exit], [exit] + crosses.reversed()] {
            let verdict = judge(World(anchor, chain: [roots[0].device()] + chain))
            #expect(verdict.reason == .trusted, "\(verdict.detail)")
        }
        let lost = judge(World(anchor, chain: [roots[0].device()] + crosses))
        #expect(lost.reason == .caUnknown || lost.reason == .chainInvalid, "\(lost.reason), \(lost.detail)")
    }

    @Test func fifteenCertificatesOfOneNameAndKeyAreNoMaze() {
        let root = Entity.root("Same", key: .p256(1))
        let copies = (0..<15).map { number in root.changed { $0.serial = [UInt8(number + 1)] } }
        let verdict = judge(World(Entity.root("Other", key: .p256(2)), chain: [root.device()] + copies))
        #expect(verdict.reason == .caUnknown || verdict.reason == .chainInvalid, "\(verdict.reason), \(verdict.detail)")
        let trusted = judge(World(root, chain: [root.device()] + copies))
        #expect(trusted.reason == .trusted, "\(trusted.detail)")
    }

    /// A line of CAs of one name, each signed by the one before, with or without key identifiers.
    private static func sameNameLine(_ count: Int, bare: Bool) -> (root: Entity, line: [Entity]) {
        func change(_ recipe: inout CertificateRecipe) {
            guard bare else { return }
            recipe.remove(OID.subjectKeyIdentifier)
            recipe.remove(OID.authorityKeyIdentifier)
        }
        let root = Entity.root("Same", key: .p256(1), changing: change)
        var line = [root]
        for number in 0..<count {
            line.append(line[number].authority("Same", key: .p256(50 + number), changing: change))
        }
        return (root, Array(line.dropFirst()))
    }

    @Test(arguments: [false, true]) func aLineOfAuthoritiesOfOneNameIsFollowed(bare: Bool) {
        let (root, line) = Self.sameNameLine(9, bare: bare)
        let device = line[8].device { if bare { $0.remove(OID.authorityKeyIdentifier) } }
        for chain in [line, line.reversed()] {
            let verdict = judge(World(root, chain: [device] + chain))
            #expect(verdict.reason == .trusted, "\(verdict.reason), \(verdict.detail)")
        }
    }

    @Test func anyOfAHundredAnchorsOfOneNameIsFound() {
        let anchors = (0..<100).map { number in
            Entity.root("Same", key: .p256(1_000 + number)) { $0.remove(OID.subjectKeyIdentifier) }
        }
        for index in [0, 49, 99] {
            let device = anchors[index].device { $0.remove(OID.authorityKeyIdentifier) }
            for order in [anchors, anchors.reversed()] {
                let verdict = judge(World(anchors: order.map { .init($0.der) }, chain: [device.der]))
                #expect(verdict.reason == .trusted, "\(index): \(verdict.reason), \(verdict.detail)")
            }
        }
    }

    @Test func anyOfAHundredAnchorsOfOneNameIsFoundBehindAnIntermediateByItsKeyIdentifier() {
        let anchors = (0..<100).map { Entity.root("Same", key: .p256(1_000 + $0)) }
        for index in [0, 49, 99] {
            let middle = anchors[index].authority(key: .p256(2))
            let verdict = judge(
                World(anchors: anchors.map { .init($0.der) }, chain: [middle.device().der, middle.der]))
            #expect(verdict.reason == .trusted, "\(index): \(verdict.reason), \(verdict.detail)")
        }
    }

    @Test func superfluousCertificatesOfTheRightNameDoNoHarm() {
        let root = Entity.root()
        let middle = root.authority(key: .p256(2))
        let strangers = (0..<14).map { number in
            Entity.root("Elsewhere", key: .p256(70 + number)).authority(key: .p256(90 + number))
        }
        for chain in [[middle] + strangers, strangers + [middle]] {
            let verdict = judge(World(root, chain: [middle.device()] + chain))
            #expect(verdict.reason == .trusted, "\(verdict.reason), \(verdict.detail)")
        }
    }

    // MARK: Depth

    private static func levels(_ count: Int) -> (root: Entity, intermediates: [Entity]) {
        let root = Entity.root()
        var issuer = root
        var intermediates: [Entity] = []
        for number in 0..<count {
            issuer = issuer.authority(TestName(commonName: "Level \(number + 1)"), key: .p256(50 + number))
            intermediates.insert(issuer, at: 0)
        }
        return (root, intermediates)
    }

    static let depths: [Situation] = [
        Situation("10 intermediates", .trusted) {
            let (root, line) = levels(10)
            return World(root, chain: [line[0].device()] + line)
        },
        Situation("11 intermediates", .chainInvalid) {
            let (root, line) = levels(11)
            return World(root, chain: [line[0].device()] + line)
        },
        Situation("10 intermediates, the anchor and what else fits into 16", .trusted) {
            let (root, line) = levels(10)
            let others = (0..<4).map { Entity.root(TestName(commonName: "Other \($0)"), key: .p256(200 + $0)) }
            return World(root, chain: [line[0].device()] + line + others + [root])
        },
        Situation("11 intermediates, the topmost of which is registered", .trusted) {
            let (root, line) = levels(11)
            return World(root, line[10], chain: [line[0].device()] + line)
        },
        Situation("15 intermediates, the tenth registered and a short way besides", .trusted) {
            let (root, line) = levels(13)
            let shortcut = root.authority("Level 13", key: .p256(62))
            return World(root, chain: [line[0].device()] + line + [shortcut])
        },
    ]

    @Test(arguments: depths) func aPathHasTenIntermediatesAtMost(situation: Situation) { expectVerdict(situation) }

    // MARK: The path that is chosen

    @Test func anAcceptedPathNamesItsCertificatesFromTheDeviceUp() {
        let root = Entity.root()
        let upper = root.authority("Upper", key: .p256(2)) { $0.setValidity(100, TestTime.now + 30) }
        let lower = upper.authority("Lower", key: .p256(3)) { $0.setValidity(200, TestTime.now + 60) }
        let device = lower.device { $0.setValidity(0, TestTime.now + 1) }
        let verdict = judge(World(root, chain: [device, upper, root, lower]))
        #expect(verdict.path == [device.der, lower.der, upper.der, root.der])
        let period = ValidityPeriod(
            notBefore: Instant(secondsSince1970: TestTime.notBefore),
            notAfter: Instant(secondsSince1970: TestTime.now + 30))
        #expect(verdict.validity == period)
    }

    @Test func ofTwoPathsTheSameOneIsTakenInEveryOrder() {
        let one = Entity.root("One", key: .p256(1))
        let two = Entity.root("Two", key: .p256(2))
        let byOne = one.authority("Cross", key: .p256(3))
        let byTwo = two.authority("Cross", key: .p256(3))
        let device = byOne.device()
        let first = judge(World(one, two, chain: [device, byOne, byTwo]))
        #expect(first.reason == .trusted)
        for world in [
            World(one, two, chain: [device, byTwo, byOne]), World(two, one, chain: [device, byOne, byTwo]),
            World(two, one, chain: [device, byTwo, byOne]),
        ] {
            #expect(judge(world).path == first.path)
        }
    }

    @Test func aRefusedPathIsFollowedByTheNextOne() throws {
        let root = Entity.root()
        let renewed = root.changed { $0.serial = [9] }
        var registry = TestRegistry()
        registry.registered = [
            TrustAnchor(number: 1, certificate: try Certificate(der: root.der), isActive: true),
            TrustAnchor(number: 2, certificate: try Certificate(der: renewed.der), isActive: true),
        ]
        var search = PathSearch(
            device: try Certificate(der: root.device().der), others: [], at: Instant(secondsSince1970: TestTime.now),
            limits: VerificationLimits(), environment: registry)
        var seen: Set<UInt64> = []
        let outcome = try search.run { path in
            seen.insert(path.anchor.number)
            return false
        }
        #expect(seen == [1, 2])
        if case .refused(let flaws, _) = outcome { #expect(flaws.isEmpty) } else { Issue.record("\(outcome)") }
    }

    @Test func ofTwoAnchorsOfOneKeyThePreferredOneIsTriedFirst() throws {
        let root = Entity.root()
        let renewed = root.changed { $0.serial = [9] }
        for preferred in [1, 2] as [UInt64] {
            var registry = TestRegistry()
            registry.registered = [
                TrustAnchor(
                    number: 1, certificate: try Certificate(der: root.der), isActive: true,
                    preference: preferred == 1 ? 0 : 1),
                TrustAnchor(
                    number: 2, certificate: try Certificate(der: renewed.der), isActive: true,
                    preference: preferred == 2 ? 0 : 1),
            ]
            var search = PathSearch(
                device: try Certificate(der: root.device().der), others: [],
                at: Instant(secondsSince1970: TestTime.now),
                limits: VerificationLimits(), environment: registry)
            var first: UInt64?
            _ = try search.run { path in
                first = first ?? path.anchor.number
                #expect(path.issuer == path.anchor.certificate)
                return true
            }
            #expect(first == preferred)
        }
    }

    @Test(arguments: [(0, 1), (TestTime.now + 1, TestTime.notAfter)] as [(Int64, Int64)])
    func aDeviceMayBeRegisteredOutsideItsPeriod(period: (Int64, Int64)) throws {
        let root = Entity.root()
        var registry = TestRegistry()
        registry.registered = [TrustAnchor(number: 1, certificate: try Certificate(der: root.der), isActive: true)]
        let device = root.device { $0.setValidity(period.0, period.1) }
        for ignores in [true, false] {
            var search = PathSearch(
                device: try Certificate(der: device.der), others: [], at: Instant(secondsSince1970: TestTime.now),
                limits: VerificationLimits(), ignoresDevicePeriod: ignores, environment: registry)
            let outcome = try search.run { _ in true }
            if case .accepted = outcome { #expect(ignores) } else { #expect(!ignores) }
        }
    }
}
