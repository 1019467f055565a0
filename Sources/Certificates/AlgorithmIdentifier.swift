/// An AlgorithmIdentifier: where it stands, which algorithm, and its parameters (RFC 5280 section 4.1.1.2).
struct AlgorithmIdentifier {
    var range: Range<Int>
    var algorithm: Range<Int>
    var parameters: DERElement?

    func hasNullOrNoParameters(_ bytes: Span<UInt8>) -> Bool {
        parameters == nil || hasNullParameters(bytes)
    }

    func hasNullParameters(_ bytes: Span<UInt8>) -> Bool {
        parameters.map { $0.tag == DERTag.null && $0.content.isEmpty } ?? false
    }
}

extension DERReader {
    /// An AlgorithmIdentifier: an OBJECT IDENTIFIER and one optional value of any type.
    mutating func algorithmIdentifier(_ bytes: Span<UInt8>) throws(CertificateError) -> AlgorithmIdentifier {
        let element = try next(bytes, tag: DERTag.sequence)
        var reader = inside(element)
        let algorithm = try reader.objectIdentifier(bytes)
        var parameters: DERElement?
        if !reader.isAtEnd {
            let value = try reader.next(bytes)
            try reader.checkUnknown(bytes, value)
            if value.tag == DERTag.null, !value.content.isEmpty {
                throw reader.error(.trailingBytes, at: value.content.lowerBound)
            }
            parameters = value
        }
        try reader.finish()
        return AlgorithmIdentifier(range: element.range, algorithm: algorithm, parameters: parameters)
    }
}

extension SignatureAlgorithm {
    /// What an identifier in a signature field means. RSA's parameters may be NULL or absent (RFC 4055 section 5), those of
    /// ECDSA and Ed25519 are absent (RFC 5758 section 3.2, RFC 8410 section 3).
    init(_ identifier: AlgorithmIdentifier, _ bytes: Span<UInt8>) {
        for (oid, hash) in OID.rsaSignatures where equal(identifier.algorithm, oid, in: bytes) {
            self = identifier.hasNullOrNoParameters(bytes) ? .rsaPKCS1(hash) : .unsupported
            return
        }
        for (oid, hash) in OID.ecdsaSignatures where equal(identifier.algorithm, oid, in: bytes) {
            self = identifier.parameters == nil ? .ecdsa(hash) : .unsupported
            return
        }
        if equal(identifier.algorithm, OID.ed25519, in: bytes) {
            self = identifier.parameters == nil ? .ed25519 : .unsupported
        } else if equal(identifier.algorithm, OID.rsaPSS, in: bytes), let parameters = identifier.parameters {
            self = (try? Self.pss(parameters, bytes)) ?? .unsupported
        } else {
            self = .unsupported
        }
    }

    /// RSASSA-PSS-params (RFC 4055 section 3.1): the digest and the one of MGF1 must be the same, the trailer field 1.
    private static func pss(_ parameters: DERElement, _ bytes: Span<UInt8>) throws(CertificateError)
        -> SignatureAlgorithm
    {
        guard parameters.tag == DERTag.sequence else { return .unsupported }
        var reader = DERReader(parameters.content, .signatureAlgorithm)
        var hash: HashAlgorithm? = .sha1
        var maskHash: HashAlgorithm? = .sha1
        var saltLength = 20
        var trailer = 1
        if let field = try reader.optional(bytes, tag: DERTag.constructedContext(0)) {
            hash = try digest(field.content, bytes)
        }
        if let field = try reader.optional(bytes, tag: DERTag.constructedContext(1)) {
            var inner = DERReader(field.content, .signatureAlgorithm)
            let generator = try inner.algorithmIdentifier(bytes)
            try inner.finish()
            guard equal(generator.algorithm, OID.mgf1, in: bytes), let digestField = generator.parameters else {
                return .unsupported
            }
            maskHash = try digest(digestField.range, bytes)
        }
        if let field = try reader.optional(bytes, tag: DERTag.constructedContext(2)) {
            var inner = DERReader(field.content, .signatureAlgorithm)
            saltLength = try inner.smallInteger(bytes)
            try inner.finish()
        }
        if let field = try reader.optional(bytes, tag: DERTag.constructedContext(3)) {
            var inner = DERReader(field.content, .signatureAlgorithm)
            trailer = try inner.smallInteger(bytes)
            try inner.finish()
        }
        try reader.finish()
        guard let hash, hash == maskHash, trailer == 1 else { return .unsupported }
        return .rsaPSS(hash, saltLength: saltLength)
    }

    private static func digest(_ range: Range<Int>, _ bytes: Span<UInt8>) throws(CertificateError) -> HashAlgorithm? {
        var reader = DERReader(range, .signatureAlgorithm)
        let identifier = try reader.algorithmIdentifier(bytes)
        try reader.finish()
        guard identifier.hasNullOrNoParameters(bytes) else { return nil }
        for (oid, hash) in OID.hashes where equal(identifier.algorithm, oid, in: bytes) { return hash }
        return nil
    }
}

/// A SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
struct PublicKeyInfo {
    var range: Range<Int>
    /// The bytes of the BIT STRING.
    var key: Range<Int>
    var algorithm: KeyAlgorithm
}

extension DERReader {
    /// A SubjectPublicKeyInfo. A key of an algorithm that is known must be encoded as that algorithm says.
    mutating func publicKeyInfo(_ bytes: Span<UInt8>) throws(CertificateError) -> PublicKeyInfo {
        let element = try next(bytes, tag: DERTag.sequence)
        var reader = inside(element, .subjectPublicKeyInfo)
        let identifier = try reader.algorithmIdentifier(bytes)
        let key = try reader.byteBitString(bytes)
        try reader.finish()
        return PublicKeyInfo(
            range: element.range, key: key, algorithm: try reader.keyAlgorithm(identifier, key, bytes))
    }

    private func keyAlgorithm(
        _ identifier: AlgorithmIdentifier, _ key: Range<Int>, _ bytes: Span<UInt8>
    ) throws(CertificateError) -> KeyAlgorithm {
        if equal(identifier.algorithm, OID.rsaEncryption, in: bytes) {
            // The parameters must be NULL: RFC 3279 section 2.3.1.
            return identifier.hasNullParameters(bytes) ? try rsaKey(key, bytes) : .unsupported
        }
        if equal(identifier.algorithm, OID.ecPublicKey, in: bytes) {
            guard let curve = identifier.parameters, curve.tag == DERTag.objectIdentifier else { return .unsupported }
            if equal(curve.content, OID.p256, in: bytes) { return try point(.p256, 32, key, bytes) }
            if equal(curve.content, OID.p384, in: bytes) { return try point(.p384, 48, key, bytes) }
            if equal(curve.content, OID.p521, in: bytes) { return try point(.p521, 66, key, bytes) }
            return .unsupported
        }
        if equal(identifier.algorithm, OID.ed25519, in: bytes), identifier.parameters == nil {
            guard key.count == 32 else { throw error(.publicKey, at: key.lowerBound) }
            return .ed25519
        }
        return .unsupported
    }

    /// RSAPublicKey (RFC 3279 section 2.3.1).
    private func rsaKey(_ key: Range<Int>, _ bytes: Span<UInt8>) throws(CertificateError) -> KeyAlgorithm {
        var outer = DERReader(key, field)
        let sequence = try outer.next(bytes, tag: DERTag.sequence)
        try outer.finish()
        var reader = inside(sequence)
        let modulus = try reader.integer(bytes)
        let exponent = try reader.integer(bytes)
        try reader.finish()
        for number in [modulus, exponent] where bytes[number.lowerBound] >= 0x80 {
            throw error(.publicKey, at: number.lowerBound)
        }
        // A product of two primes is odd.
        guard bytes[modulus.upperBound - 1] & 1 == 1 else { return .unsupported }
        return .rsa(
            modulusBits: bitCount(modulus, bytes), exponentBits: bitCount(exponent, bytes),
            exponentIsOdd: bytes[exponent.upperBound - 1] & 1 == 1)
    }

    private func bitCount(_ number: Range<Int>, _ bytes: Span<UInt8>) -> Int {
        var first = number.lowerBound
        while first < number.upperBound, bytes[first] == 0 { first += 1 }
        guard first < number.upperBound else { return 0 }
        return (number.upperBound - first) * 8 - bytes[first].leadingZeroBitCount
    }

    /// ECPoint (RFC 5480 section 2.2). Compressed points are not supported, so that a key is written in one way only: rules
    /// that speak of a key compare its bytes.
    private func point(
        _ algorithm: KeyAlgorithm, _ coordinateBytes: Int, _ key: Range<Int>, _ bytes: Span<UInt8>
    ) throws(CertificateError) -> KeyAlgorithm {
        guard let first = key.first else { throw error(.publicKey, at: key.lowerBound) }
        switch bytes[first] {
        case 0x04 where key.count == 1 + 2 * coordinateBytes: return algorithm
        case 0x02 where key.count == 1 + coordinateBytes, 0x03 where key.count == 1 + coordinateBytes:
            return .unsupported
        default: throw error(.publicKey, at: first)
        }
    }
}
