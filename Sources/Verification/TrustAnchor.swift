public import Certificates

/// A registered CA certificate, as a place where a path may end (RFC 5280 section 6.1.1).
public struct TrustAnchor: Sendable {
    /// The owner's number for it.
    public var number: UInt64
    public var certificate: Certificate
    public var isActive: Bool
    /// Of two anchors that are alike otherwise, the one with the lower preference number is tried first.
    public var preference: Int

    /// All fields.
    public init(number: UInt64, certificate: Certificate, isActive: Bool, preference: Int = 0) {
        self.number = number
        self.certificate = certificate
        self.isActive = isActive
        self.preference = preference
    }
}

/// What the registered CA certificates of an instance say of a public key.
public enum RegisteredKeyState: Sendable {
    case notRegistered
    /// At least one CA certificate with the key is Active.
    case active
    /// All CA certificates with the key are Inactive.
    case inactive
}

/// What path validation asks of the world.
public protocol VerificationEnvironment {
    /// The anchors whose subject is this name, Active or not.
    ///
    /// - Parameter subject: as ``Certificates/DistinguishedName/normalized`` writes it.
    mutating func anchors(named subject: [UInt8]) throws -> [TrustAnchor]
    /// What the anchors say of a certificate's public key.
    mutating func keyState(of certificate: Certificate) throws -> RegisteredKeyState
    /// Whether a certificate's signature verifies with the issuer's key.
    mutating func signatureVerifies(_ certificate: Certificate, with issuer: Certificate) -> Bool
    /// Whether the certificate's public key is a key of its kind: a point that is on its curve.
    mutating func hasSoundKey(_ certificate: Certificate) -> Bool
}

/// A path that keeps every rule, from a device certificate to an Active anchor.
public struct ValidatedPath: Sendable {
    public var anchor: TrustAnchor
    /// The device's issuer first; empty where that is the anchor.
    public var intermediates: [Certificate]

    /// The certificate whose key signed the device's.
    public var issuer: Certificate { intermediates.first ?? anchor.certificate }

    /// The time that all certificates of the path but the device's have in common; both ends belong to it.
    public var validity: ValidityPeriod {
        var period = anchor.certificate.validity
        for certificate in intermediates {
            period.notBefore = max(period.notBefore, certificate.notBefore)
            period.notAfter = min(period.notAfter, certificate.notAfter)
        }
        return period
    }
}

/// How much work one search may be.
public struct VerificationLimits: Sendable, Hashable {
    public var signatureChecks: Int
    public var pathSteps: Int
    public var nameComparisons: Int
    /// Intermediates between device and anchor.
    public var intermediates = 10
    /// Bytes of a serial number.
    public var serialNumberBytes = SerialNumber.maximumByteCount

    /// The limits of the work.
    public init(signatureChecks: Int = 100, pathSteps: Int = 200_000, nameComparisons: Int = 250_000) {
        self.signatureChecks = signatureChecks
        self.pathSteps = pathSteps
        self.nameComparisons = nameComparisons
    }
}

/// What is left of the limits. Once one is used up the search ends: its answer would depend on luck.
struct WorkBudget {
    private(set) var signatureChecks: Int
    private(set) var pathSteps: Int
    private(set) var nameComparisons: Int
    /// What ran out, in words.
    private(set) var exhausted: String?

    init(_ limits: VerificationLimits) {
        signatureChecks = limits.signatureChecks
        pathSteps = limits.pathSteps
        nameComparisons = limits.nameComparisons
    }

    private static func take(_ count: Int, _ left: inout Int, _ name: String, _ exhausted: inout String?) -> Bool {
        guard left >= count else {
            if exhausted == nil { exhausted = "the budget of \(name) for one verification is used up" }
            return false
        }
        left -= count
        return true
    }

    mutating func takeSignatureCheck() -> Bool { Self.take(1, &signatureChecks, "signature checks", &exhausted) }
    mutating func takePathSteps(_ count: Int) -> Bool { Self.take(count, &pathSteps, "path steps", &exhausted) }
    mutating func takeNameComparison() -> Bool { Self.take(1, &nameComparisons, "name comparisons", &exhausted) }
}
