internal import CaregProto
internal import Certificates
internal import Registry
internal import RegistryStore
internal import Signatures
internal import SwiftProtobuf

// What requests hold, as the registry's own types. Parsed here, once: inside, a value cannot be invalid.

extension SerialNumber {
    /// A CA certificate's SN as an operator types it.
    ///
    /// - Throws: ``Refusal`` SN_INVALID, SN_TOO_LONG.
    init(caText text: String) throws {
        try self.init(operatorText: text)
        guard !isNegative else {
            throw Refusal(.snInvalid, "The SN of a CA certificate is not negative.")
        }
    }

    /// A serial number as an operator types it.
    init(operatorText text: String) throws {
        do {
            try self.init(text: text)
        } catch {
            throw Refusal(
                .snInvalid,
                "A serial number is written in hex digits; upper case, “:”, blanks, “0x” and “serial=” are fine as well."
            )
        }
        guard byteCount <= Self.maximumByteCount else {
            throw Refusal(
                .snTooLong, "A serial number has \(Self.maximumByteCount) bytes at most; this one has \(byteCount).")
        }
    }
}

extension SerialNumberPrefix {
    /// Nil for an empty text, which fits all.
    init?(filterText text: String) throws {
        if text.isEmpty { return nil }
        do {
            try self.init(text: text)
        } catch {
            throw Refusal(
                .snInvalid,
                "The beginning of a serial number is written in hex digits; upper case, “:”, blanks, “0x” and “serial=” "
                    + "are fine as well.")
        }
        guard byteCount <= SerialNumber.maximumByteCount else {
            throw Refusal(
                .snTooLong,
                "A serial number has \(SerialNumber.maximumByteCount) bytes at most; none begins with these \(byteCount)."
            )
        }
    }
}

extension DeviceSelector {
    init(caSn: String, sn: String, fingerprint: String) throws {
        var digest: SHA256Digest?
        if !fingerprint.isEmpty {
            guard let given = SHA256Digest(hex: fingerprint) else {
                throw Refusal(
                    .argumentInvalid, "A fingerprint has 64 hex digits.", metadata: ["field": "fingerprint"])
            }
            digest = given
        }
        self.init(
            ca: try SerialNumber(caText: caSn), serialNumber: try SerialNumber(operatorText: sn), fingerprint: digest)
    }
}

extension SHA256Digest {
    /// 64 hex digits in either case, colons between the bytes allowed.
    init?(hex text: String) {
        let digits = text.utf8.filter { $0 != UInt8(ascii: ":") }
        guard digits.count == 2 * Self.byteCount else { return nil }
        var bytes: [UInt8] = []
        for pair in stride(from: 0, to: digits.count, by: 2) {
            guard let high = Self.digit(digits[pair]), let low = Self.digit(digits[pair + 1]) else { return nil }
            bytes.append(high << 4 | low)
        }
        self.init(bytes: bytes)
    }

    private static func digit(_ character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

extension Careg_V1_Status {
    func caFilter() throws -> CaStatus? {
        switch self {
        case .unspecified: return nil
        case .active: return .active
        case .inactive: return .inactive
        case .pending, .UNRECOGNIZED:
            throw Refusal(
                .argumentInvalid, "A CA certificate is active or inactive.", metadata: ["field": "status"])
        }
    }

    func deviceFilter() throws -> DeviceStatus? {
        switch self {
        case .unspecified: return nil
        case .active: return .active
        case .inactive: return .inactive
        case .pending: return .pending
        case .UNRECOGNIZED:
            throw Refusal(
                .argumentInvalid, "A device certificate is active, inactive or pending.", metadata: ["field": "status"])
        }
    }
}

extension Instant {
    /// - Throws: ``Registry/Refusal`` ARGUMENT_INVALID for what is no Timestamp: years 1 to 9999, nanoseconds of one second.
    init(_ timestamp: Google_Protobuf_Timestamp, field: String) throws {
        guard (-62_135_596_800...253_402_300_799).contains(timestamp.seconds),
            (0...999_999_999).contains(timestamp.nanos)
        else {
            throw Refusal(
                .argumentInvalid, "“\(field)” is no timestamp: years 1 to 9999, and 0 to 999,999,999 nanoseconds.",
                metadata: ["field": field])
        }
        self.init(secondsSince1970: timestamp.seconds)
    }
}

/// Page tokens: where the next page begins, bound to the query that they were given for.
///
/// A token is hex: 8 bytes of SHA-256 over the query and the cursor, then the cursor. That is no secret and no protection
/// against forgery, which would gain nothing: it finds mistakes.
struct PageTokens {
    private let query: String

    /// - Parameter query: all that shapes the list but the page size.
    init(query parts: String...) {
        query = parts.map { "\($0.utf8.count):\($0)" }.joined()
    }

    static let refusal = Refusal(
        .pageTokenInvalid,
        "This page token does not belong to this query. Ask again with the filters that it was given for, or begin without "
            + "a token.")

    /// The token for the page after `cursor`; empty where there is none.
    func seal(_ cursor: [UInt8]?) -> String {
        cursor.map { hexText(mark($0) + $0) } ?? ""
    }

    /// The cursor of a token; nil for the first page.
    ///
    /// - Throws: ``Refusal`` PAGE_TOKEN_INVALID.
    func open(_ token: String) throws -> [UInt8]? {
        if token.isEmpty { return nil }
        guard token.utf8.count <= 2_048, let bytes = Self.bytes(hex: token), bytes.count > 8 else {
            throw Self.refusal
        }
        let cursor = Array(bytes.dropFirst(8))
        guard bytes.prefix(8).elementsEqual(mark(cursor)) else { throw Self.refusal }
        return cursor
    }

    /// The same where the cursor is a number.
    func openNumber(_ token: String) throws -> UInt64? {
        try open(token).map { bytes in
            guard bytes.count == 8 else { throw Self.refusal }
            return integer(bigEndian: bytes)
        }
    }

    private func mark(_ cursor: [UInt8]) -> ArraySlice<UInt8> {
        SHA256Digest(hashing: Array(query.utf8) + [0] + cursor).bytes.prefix(8)
    }

    private static func bytes(hex token: String) -> [UInt8]? {
        let digits = Array(token.utf8)
        guard digits.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        for pair in stride(from: 0, to: digits.count, by: 2) {
            guard let byte = UInt8(String(decoding: digits[pair...pair + 1], as: UTF8.self), radix: 16) else {
                return nil
            }
            bytes.append(byte)
        }
        return bytes
    }
}

extension Google_Protobuf_Duration {
    /// The duration in whole seconds, a part of one counted as one.
    ///
    /// - Throws: ``Registry/Refusal`` ARGUMENT_INVALID for what is no Duration: 10,000 years at most, nanoseconds of one second
    ///   with the sign of the seconds.
    func wholeSeconds(field: String) throws -> Int64 {
        let isSigned = nanos == 0 || seconds == 0 || (seconds < 0) == (nanos < 0)
        guard (-315_576_000_000...315_576_000_000).contains(seconds), (-999_999_999...999_999_999).contains(nanos),
            isSigned
        else {
            throw Refusal(
                .argumentInvalid,
                "“\(field)” is no duration: nanoseconds have the sign of the seconds and are less than one.",
                metadata: ["field": field])
        }
        return seconds + (nanos > 0 ? 1 : 0)
    }
}
