/// Why bytes are not a certificate: where, in which field, and what is wrong there.
public struct CertificateError: Error, Hashable, Sendable {
    /// Offset in bytes from the beginning of the certificate.
    public var offset: Int
    public var field: CertificateField
    public var problem: Problem

    /// All fields.
    public init(offset: Int, field: CertificateField, problem: Problem) {
        self.offset = offset
        self.field = field
        self.problem = problem
    }

    /// What is wrong. The clauses are those of X.690 unless they say otherwise.
    public enum Problem: String, Hashable, Sendable {
        case truncated = "the data ends too early"
        case trailingBytes = "there are bytes after the end"
        case highTagNumber = "the tag number is above 30"
        case unexpectedTag = "another type stands here"
        case indefiniteLength = "the length is indefinite (10.1)"
        case lengthNotMinimal = "the length is not written in the fewest bytes (10.1)"
        case lengthTooLarge = "the length is larger than the data"
        case integerNotMinimal = "the integer is not written in the fewest bytes (8.3.2)"
        case integerOutOfRange = "the integer is out of its range"
        case booleanNotCanonical = "the boolean is neither 00 nor FF (11.1)"
        case bitStringUnusedBits = "the unused bits of the bit string are not zero, or too many (11.2.1)"
        case bitStringTrailingZeros = "the named bits end in zero bits (11.2.2)"
        case objectIdentifierNotMinimal = "the object identifier is empty or not minimal (8.19.2)"
        case constructedString = "a string is written in parts (10.2)"
        case setNotSorted = "the elements of a set are not in order (11.6)"
        case tooDeep = "the values are nested too deep"
        case emptySequence = "a list that must not be empty is empty"
        case time = "the time is not written as RFC 5280 section 4.1.2.5 says"
        case notInThisVersion = "the field does not belong into this version"
        case text = "the text is not IA5"
        case addressLength = "the address has the wrong number of bytes"
        case publicKey = "the public key is not encoded as its algorithm says"
    }
}

extension CertificateError: CustomStringConvertible {
    /// One line for an operator.
    public var description: String { "byte \(offset), \(field.rawValue): \(problem.rawValue)" }
}

/// The fields of a certificate, as RFC 5280 section 4.1 names them.
public enum CertificateField: String, Hashable, Sendable {
    case certificate
    case tbsCertificate
    case version
    case serialNumber
    case signature
    case issuer
    case validity
    case subject
    case subjectPublicKeyInfo
    case issuerUniqueID
    case subjectUniqueID
    case extensions
    case basicConstraints
    case keyUsage
    case extendedKeyUsage = "extKeyUsage"
    case subjectAltName
    case nameConstraints
    case subjectKeyIdentifier
    case authorityKeyIdentifier
    case signatureAlgorithm
    case signatureValue
}
