import TestPKI
import Testing
import Verification

/// Random worlds of a few CAs that certify each other every which way: the search finds a path exactly where trying all of
/// them finds one, in every order.
@Suite struct PathOracleTests {
    /// A certificate of such a world, with what a model needs to know of it.
    private struct Cross {
        var entity: Entity
        var subjectName: Int
        var subjectKey: Int
        var issuerName: Int
        /// The key that really signed; nil for a signature that is wrong.
        var signerKey: Int?
        var pathLength: Int?
        var isBarred: Bool

        var isSelfIssued: Bool { subjectName == issuerName }
    }

    private struct Model {
        var device: Cross
        var crosses: [Cross] = []
        var anchors: [(certificate: Cross, isActive: Bool)] = []

        func isBarredKey(_ key: Int) -> Bool {
            let states = anchors.filter { $0.certificate.subjectKey == key }.map(\.isActive)
            return !states.isEmpty && !states.contains(true)
        }

        /// Tries every path without a certificate twice.
        func isTrusted() -> Bool {
            guard !device.isBarred && !isBarredKey(device.subjectKey) else { return false }
            return leads(from: device, used: [], notSelfIssued: 0)
        }

        private func leads(from last: Cross, used: Set<Int>, notSelfIssued: Int) -> Bool {
            guard let signer = last.signerKey else { return false }
            for anchor in anchors where anchor.isActive {
                let certificate = anchor.certificate
                if certificate.subjectName == last.issuerName && certificate.subjectKey == signer
                    && !certificate.isBarred
                    && notSelfIssued <= certificate.pathLength ?? .max
                {
                    return true
                }
            }
            guard used.count < 10 else { return false }
            for (index, cross) in crosses.enumerated() where !used.contains(index) {
                guard
                    cross.subjectName == last.issuerName && cross.subjectKey == signer && !cross.isBarred
                        && !isBarredKey(cross.subjectKey) && notSelfIssued <= cross.pathLength ?? .max
                else { continue }
                let count = notSelfIssued + (cross.isSelfIssued ? 0 : 1)
                if leads(from: cross, used: used.union([index]), notSelfIssued: count) { return true }
            }
            return false
        }
    }

    private static func key(_ number: Int) -> TestKey { .p256(5_000 + number) }
    private static func name(_ number: Int) -> TestName { TestName(commonName: "CA \(number)") }

    /// A certificate of a CA or a device; every now and then with something wrong.
    private static func cross(
        subject: (name: Int, key: Int), issuer: (name: Int, key: Int), isDevice: Bool, isAnchor: Bool = false,
        serial: Int,
        bare: Bool,
        _ generator: inout SeededGenerator
    ) -> Cross {
        var cross = Cross(
            entity: Entity.root(), subjectName: subject.name, subjectKey: subject.key, issuerName: issuer.name,
            signerKey: issuer.key, pathLength: isDevice || generator.below(3) > 0 ? nil : generator.below(3),
            isBarred: false)
        let flaw = generator.below(isDevice ? 40 : 14)
        let wrongIdentifier = generator.oneIn(8)
        let authority = Entity.root(name(issuer.name), key: key(issuer.key))
        let change: (inout CertificateRecipe) -> Void = { recipe in
            recipe.serial = [0x40, UInt8(serial)]
            if let length = cross.pathLength { recipe.set(.basicConstraints(pathLength: length)) }
            if bare {
                recipe.remove(OID.subjectKeyIdentifier)
                recipe.remove(OID.authorityKeyIdentifier)
            } else if wrongIdentifier {
                recipe.set(.authorityKeyIdentifier([1, 2, 3]))
            }
            switch flaw {
            case 0:
                recipe.setValidity(0, 1)
                cross.isBarred = true
            case 1:
                recipe.set(.unknown(critical: true))
                cross.isBarred = true
            case 2:
                recipe.changeSignature = { $0.dropLast() + [$0[$0.count - 1] ^ 1] }
                cross.signerKey = nil
            // An anchor is a CA: no other certificate is registered.
            case 3 where !isDevice && !isAnchor:
                recipe.set(.basicConstraints(isCA: nil))
                cross.isBarred = true
            default: break
            }
        }
        cross.entity =
            isDevice
            ? authority.device("device", key: key(subject.key), changing: change)
            : authority.authority(name(subject.name), key: key(subject.key), changing: change)
        return cross
    }

    private static func model(_ generator: inout SeededGenerator) -> Model {
        let nameCount = 1 + generator.below(4)
        // Each CA is a name with a key; names may share keys and keys names.
        let authorities = (0..<(2 + generator.below(5))).map { (name: generator.below(nameCount), key: $0) }
        let bare = generator.oneIn(2)
        var model = Model(
            device: cross(
                subject: (99, 99), issuer: generator.pick(authorities), isDevice: true, serial: 0, bare: bare,
                &generator))
        for serial in 0..<(1 + generator.below(9)) {
            model.crosses.append(
                cross(
                    subject: generator.pick(authorities), issuer: generator.pick(authorities), isDevice: false,
                    serial: serial + 1, bare: bare, &generator))
        }
        for serial in 0..<(1 + generator.below(3)) {
            let subject = generator.pick(authorities)
            var anchor = cross(
                subject: subject, issuer: generator.oneIn(2) ? subject : generator.pick(authorities), isDevice: false,
                isAnchor: true, serial: serial + 100, bare: bare, &generator)
            // Nobody asks for an anchor's own signature.
            anchor.signerKey = nil
            model.anchors.append((anchor, !generator.oneIn(4)))
        }
        return model
    }

    private static let worldCount = 400
    private static let parts = 4

    private static func complaint(_ seed: UInt64) -> (isTrusted: Bool, words: String?) {
        var generator = SeededGenerator(seed: seed)
        let model = model(&generator)
        let expected = model.isTrusted()
        var first: TestVerdict?
        for _ in 0..<3 {
            let chain = [model.device.entity.der] + model.crosses.map(\.entity.der).shuffled(using: &generator)
            let anchors = model.anchors.shuffled(using: &generator)
            let verdict = judge(
                World(anchors: anchors.map { .init($0.certificate.entity.der, isActive: $0.isActive) }, chain: chain))
            if (verdict.reason == .trusted) != expected {
                return (expected, "seed \(seed): \(verdict.reason), \(verdict.detail), where trusted is \(expected)")
            }
            if let first, first.reason != verdict.reason || first.path != verdict.path {
                return (expected, "seed \(seed): \(first.reason) or \(verdict.reason), by the order alone")
            }
            first = verdict
        }
        return (expected, nil)
    }

    @Test func aPathIsFoundExactlyWhereThereIsOne() async {
        let start = TestSeed.start(otherwise: 1)
        let results = await withTaskGroup { group in
            for part in 0..<Self.parts {
                group.addTask {
                    stride(from: part, to: Self.worldCount, by: Self.parts).map { Self.complaint(start + UInt64($0)) }
                }
            }
            return await group.reduce(into: []) { $0 += $1 }
        }
        for words in results.compactMap(\.words) { Issue.record("\(words)") }
        // A test of one answer alone would be none.
        let trusted = results.count { $0.isTrusted }
        #expect(trusted > Self.worldCount / 10 && trusted < Self.worldCount * 9 / 10, "\(trusted)")
    }
}
