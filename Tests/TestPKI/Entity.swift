/// A certificate with its key: what can issue further ones.
public struct Entity: Sendable {
    /// Changes a recipe before it is signed.
    public typealias Change = (inout CertificateRecipe) -> Void

    /// The subject, as Name.
    public let name: [UInt8]
    public let key: TestKey
    public let recipe: CertificateRecipe
    /// The key that signed the certificate.
    public let signer: TestKey
    public let der: [UInt8]

    private init(_ recipe: CertificateRecipe, key: TestKey, signer: TestKey) {
        name = recipe.subject
        self.key = key
        self.recipe = recipe
        self.signer = signer
        der = recipe.certificate(signedBy: signer)
    }

    /// A self-signed CA certificate.
    public static func root(_ name: TestName = "Root", key: TestKey = .p256(1), changing change: Change = { _ in })
        -> Entity
    {
        var recipe = CertificateRecipe(issuer: name.der, subject: name.der, spki: key.spki)
        recipe.serial = serial(name.der, name.der, key)
        recipe.extensions = [
            .basicConstraints(), .keyUsage(.keyCertSign, .cRLSign), .subjectKeyIdentifier(keyIdentifier(key)),
        ]
        change(&recipe)
        return Entity(recipe, key: key, signer: key)
    }

    /// A CA certificate issued by this one.
    public func authority(_ name: TestName = "Intermediate", key: TestKey, changing change: Change = { _ in }) -> Entity
    {
        issue(
            name, key: key,
            [
                .basicConstraints(), .keyUsage(.keyCertSign, .cRLSign),
                .subjectKeyIdentifier(Entity.keyIdentifier(key)),
                .authorityKeyIdentifier(Entity.keyIdentifier(self.key)),
            ], changing: change)
    }

    /// A device certificate issued by this one.
    public func device(_ name: TestName = "device", key: TestKey = .p256(900), changing change: Change = { _ in })
        -> Entity
    {
        issue(
            name, key: key,
            [
                .keyUsage(.digitalSignature), .extKeyUsage(OID.clientAuth),
                .authorityKeyIdentifier(Entity.keyIdentifier(self.key)),
            ], changing: change)
    }

    /// A certificate with these extensions.
    public func issue(_ name: TestName, key: TestKey, _ extensions: [TestExtension], changing change: Change = { _ in })
        -> Entity
    {
        var recipe = CertificateRecipe(issuer: self.name, subject: name.der, spki: key.spki)
        recipe.serial = Entity.serial(self.name, name.der, key)
        recipe.extensions = extensions
        change(&recipe)
        return Entity(recipe, key: key, signer: self.key)
    }

    /// The same certificate with a change, signed by the same key.
    public func changed(_ change: Change) -> Entity {
        var recipe = recipe
        change(&recipe)
        return Entity(recipe, key: key, signer: signer)
    }

    /// 20 bytes that follow from the key.
    public static func keyIdentifier(_ key: TestKey) -> [UInt8] { digest(key.spki, count: 20) }

    /// A positive serial number that follows from the certificate's other fields.
    private static func serial(_ issuer: [UInt8], _ subject: [UInt8], _ key: TestKey) -> [UInt8] {
        var bytes = digest(issuer + subject + key.spki, count: 16)
        bytes[0] = bytes[0] & 0x3F | 0x40
        return bytes
    }

    /// FNV-1a stretched to `count` bytes. Not a cryptographic digest: tests need stable bytes, nothing else.
    private static func digest(_ bytes: [UInt8], count: Int) -> [UInt8] {
        var state: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in bytes { state = (state ^ UInt64(byte)) &* 0x100_0000_01B3 }
        var generator = SeededGenerator(seed: state)
        return generator.bytes(count)
    }
}
