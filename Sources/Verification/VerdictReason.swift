/// Why a device certificate is trusted, or why it is not. The raw values are those of the protocol, of careg.h and of the trust
/// map; none is ever used for something else.
///
/// They stand in the order in which an operator mends: of several reasons, the one with the least raw value is told first.
public enum VerdictReason: UInt8, Sendable, CaseIterable {
    case trusted = 1
    case instanceUnknown
    case certificateMalformed
    case certificateTooLarge
    case algorithmNotAllowed
    case caUnknown
    case caOfAnotherInstance
    case caInactive
    case caExpired
    case caNotYetValid
    case signatureInvalid
    case chainInvalid
    case nameNotPermitted
    case usageNotAllowed
    case deviceExpired
    case deviceNotYetValid
    case deviceInactive
    case devicePending
    case deviceNotRegistered
    case deviceDeleted
    case deviceSerialReused
}

/// One thing that stands between a certificate and trust.
public struct Flaw: Error, Hashable, Sendable {
    public var reason: VerdictReason
    /// Which certificate and which rule, for people: lower case, no full stop.
    public var detail: String

    /// The longest detail, in bytes of UTF-8: a hostile certificate makes no page of text.
    private static let longestDetail = 500

    /// Both fields.
    public init(_ reason: VerdictReason, _ detail: String) {
        self.reason = reason
        self.detail = detail
        if detail.utf8.count > Self.longestDetail {
            self.detail = String(decoding: detail.utf8.prefix(Self.longestDetail), as: UTF8.self) + "…"
        }
    }
}

/// Several flaws as one answer: the one to mend first, and the others in its words.
public func summary(of flaws: [Flaw]) -> Flaw? {
    let sorted = flaws.enumerated().sorted {
        ($0.element.reason.rawValue, $0.offset) < ($1.element.reason.rawValue, $1.offset)
    }.map(\.element)
    guard var first = sorted.first else { return nil }
    // A certificate of many flaws is not worth a page of text.
    let others = sorted.dropFirst().prefix(6).map(\.detail)
    if !others.isEmpty { first.detail += "; also: " + others.joined(separator: "; ") }
    return first
}
