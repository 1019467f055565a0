/// A point in time: whole seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// Certificates speak in whole seconds (RFC 5280 section 4.1.2.5), so nothing finer is kept. Signed and 64 bits wide:
/// 1950, 2038, 2050 and 9999 are ordinary values.
public struct Instant: Hashable, Comparable, Sendable {
    public var secondsSince1970: Int64

    public init(secondsSince1970: Int64) {
        self.secondsSince1970 = secondsSince1970
    }

    public static func < (left: Instant, right: Instant) -> Bool {
        left.secondsSince1970 < right.secondsSince1970
    }
}
