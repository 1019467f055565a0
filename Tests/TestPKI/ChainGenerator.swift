/// A property of a chain that a generator can change, and where.
public struct ChainProperty: Sendable {
    /// A certificate's place.
    public enum Place: String, Hashable, Sendable, CaseIterable {
        case anchor
        case intermediate
        case device
    }

    /// What is changed, as the table of known differences names it.
    public let name: String
    /// The rule that speaks of it.
    public let clause: String
    public let places: [Place]
    /// The key of the certificate at the place; nil for any.
    var key: TestKey?
    /// Changes the certificate at the place.
    let change: @Sendable (inout CertificateRecipe, inout Surroundings) -> Void

    /// What a change may also touch.
    struct Surroundings {
        var generator: SeededGenerator
        /// Intermediates below the certificate that is changed.
        let intermediatesBelow: Int
        /// The key that signs the certificate.
        let signer: TestKey
        /// The device's alternative names; nil for one or none.
        var deviceNames: [TestGeneralName]?
        var deviceSubject: TestName?
        /// The chain as it is sent, the device first.
        var changeChain: (@Sendable ([[UInt8]]) -> [[UInt8]])?
    }
}

/// A chain with one property changed.
public struct GeneratedChain: Sendable {
    public let seed: UInt64
    /// Nil where nothing was changed.
    public let property: String?
    public let place: ChainProperty.Place
    public let world: World
}

/// Makes chains of an anchor, up to three intermediates and a device, in which one property is out of the ordinary.
public enum ChainGenerator {
    /// The chain of this seed.
    public static func chain(seed: UInt64) -> GeneratedChain {
        var generator = SeededGenerator(seed: seed)
        let intermediates = generator.below(4)
        let property = generator.oneIn(25) ? nil : generator.pick(properties)
        var place = generator.pick(property?.places ?? ChainProperty.Place.allCases)
        if place == .intermediate && intermediates == 0 {
            place = property?.places.contains(.device) ?? true ? .device : .anchor
        }
        guard let property, property.places.contains(place) else {
            return build(nil, place, changedLevel: -1, intermediates, seed, &generator)
        }
        let level =
            switch place {
            case .anchor: 0
            case .intermediate: 1 + generator.below(intermediates)
            case .device: intermediates + 1
            }
        return build(property, place, changedLevel: level, intermediates, seed, &generator)
    }

    /// Level 0 is the anchor, the last one the device.
    private static func build(
        _ property: ChainProperty?, _ place: ChainProperty.Place, changedLevel: Int, _ intermediates: Int,
        _ seed: UInt64,
        _ generator: inout SeededGenerator
    ) -> GeneratedChain {
        let keys: [TestKey] = [.p256(501), .p256(502), .p384(503), .rsa2048, .p256(504)]
        var deviceNames: [TestGeneralName]?
        var deviceSubject: TestName = "device"
        var changeChain: (@Sendable ([[UInt8]]) -> [[UInt8]])?
        let changeSeed = generator.next()
        func change(_ level: Int, signer: TestKey) -> (inout CertificateRecipe) -> Void {
            { recipe in
                guard level == changedLevel, let property else { return }
                var surroundings = ChainProperty.Surroundings(
                    generator: SeededGenerator(seed: changeSeed), intermediatesBelow: max(0, intermediates - level),
                    signer: signer)
                property.change(&recipe, &surroundings)
                deviceNames = surroundings.deviceNames
                deviceSubject = surroundings.deviceSubject ?? deviceSubject
                changeChain = surroundings.changeChain
            }
        }
        var usedKeys: Set<String> = []
        func key(_ level: Int) -> TestKey {
            if level == changedLevel, let key = property?.key { return key }
            var key = generator.pick(keys)
            while !usedKeys.insert(key.name).inserted { key = .p256(600 + generator.below(50)) }
            return key
        }
        var entities: [Entity] = []
        for level in 0...intermediates {
            let key = key(level)
            if level == 0 {
                let name = TestName(commonName: generator.pick(["Root", "Acme  Root CA", "R"]))
                entities.append(Entity.root(name, key: key, changing: change(0, signer: key)))
            } else {
                let issuer = entities[level - 1]
                let name = TestName(commonName: "Intermediate \(level)")
                entities.append(issuer.authority(name, key: key, changing: change(level, signer: issuer.key)))
            }
        }
        let issuer = entities[intermediates]
        let device = issuer.device(deviceSubject, key: key(intermediates + 1)) { recipe in
            let names = deviceNames ?? (generator.oneIn(2) ? [.dns("device.test")] : [])
            if !names.isEmpty { recipe.set(TestExtension(OID.subjectAltName, DER.sequence(of: names.map(\.der)))) }
            change(intermediates + 1, signer: issuer.key)(&recipe)
        }
        var others = entities.dropFirst().reversed().map(\.der)
        if generator.oneIn(3) { others.append(entities[0].der) }
        if generator.oneIn(4) { others.append(Entity.root("Stranger", key: .p256(700)).der) }
        if generator.oneIn(3) { others.shuffle(using: &generator) }
        var chain = [device.der] + others
        if let changeChain { chain = changeChain(chain) }
        return GeneratedChain(
            seed: seed, property: property?.name, place: place,
            world: World(anchors: [World.Anchor(entities[0].der)], chain: chain))
    }
}
