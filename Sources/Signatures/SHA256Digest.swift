/// A SHA-256 digest (FIPS 180-4).
public struct SHA256Digest: Hashable, Sendable {
    /// Bytes of a digest.
    public static let byteCount = 32

    private let words: InlineArray<4, UInt64>

    /// The digest of some bytes.
    public init(hashing message: [UInt8]) {
        self.init(hashing: message[...])
    }

    /// The digest of some bytes.
    public init(hashing message: ArraySlice<UInt8>) {
        self.init(hashing: message.span)
    }

    /// The digest of some bytes, where they stand: nothing is allocated.
    public init(hashing message: Span<UInt8>) {
        var hasher = SHA256Hasher()
        hasher.update(message)
        self = hasher.finish()
    }

    init(words: InlineArray<4, UInt64>) {
        self.words = words
    }

    /// A digest that was kept; nil where the bytes are not 32.
    public init?(bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        self.init(words: bytes)
    }

    private init(words bytes: [UInt8]) {
        var words: InlineArray<4, UInt64> = [0, 0, 0, 0]
        for (index, byte) in bytes.enumerated() { words[index / 8] = words[index / 8] << 8 | UInt64(byte) }
        self.words = words
    }

    /// The 32 bytes.
    public var bytes: [UInt8] {
        unsafe [UInt8](unsafeUninitializedCapacity: Self.byteCount) { target, count in
            for index in 0..<Self.byteCount {
                unsafe target[index] = UInt8(truncatingIfNeeded: words[index / 8] >> UInt64(56 - index % 8 * 8))
            }
            count = Self.byteCount
        }
    }

    /// The first eight bytes as a number, the first byte the highest one.
    public var firstWord: UInt64 { words[0] }

    /// The bytes as four words, the first byte in each the lowest one.
    public var littleEndianWords: (UInt64, UInt64, UInt64, UInt64) {
        (words[0].byteSwapped, words[1].byteSwapped, words[2].byteSwapped, words[3].byteSwapped)
    }

    /// 64 lowercase hex digits.
    public var hex: String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    public static func == (left: SHA256Digest, right: SHA256Digest) -> Bool {
        left.words[0] == right.words[0] && left.words[1] == right.words[1] && left.words[2] == right.words[2]
            && left.words[3] == right.words[3]
    }

    public func hash(into hasher: inout Hasher) {
        for index in 0..<4 { hasher.combine(words[index]) }
    }
}

extension SHA256Digest: Comparable {
    /// The order of the bytes.
    public static func < (left: SHA256Digest, right: SHA256Digest) -> Bool {
        for index in 0..<4 where left.words[index] != right.words[index] {
            return left.words[index] < right.words[index]
        }
        return false
    }
}

extension SHA256Digest: CustomStringConvertible {
    public var description: String { hex }
}
