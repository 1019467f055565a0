// Shared with libcareg by a symbolic link: integers and raw memory only, no heap, no String, no trap on what a map says.

/// SHA-256 of a device certificate's DER, as the four words that the trust map holds.
public struct MapFingerprint: Sendable, Equatable, Hashable {
    var word0: UInt64
    var word1: UInt64
    var word2: UInt64
    var word3: UInt64

    init(word0: UInt64, word1: UInt64, word2: UInt64, word3: UInt64) {
        self.word0 = word0
        self.word1 = word1
        self.word2 = word2
        self.word3 = word3
    }
}

/// An instance's id, padded with zeros to the 64 bytes that it may have.
struct MapInstanceID: Sendable, Equatable {
    /// The id's bytes, little-endian, eight to a word.
    var words: InlineArray<8, UInt64> = .init(repeating: 0)
    /// 1 to 64; 0 only before the first `append`.
    var length: UInt32 = 0

    init() {}

    /// Takes one more byte of the id.
    ///
    /// - Returns: false where the byte is none of `A-Z a-z 0-9 - _`, or the id would be longer than 64 bytes.
    mutating func append(_ byte: UInt8) -> Bool {
        let isLetter = (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a)
        let isOther = (byte >= 0x30 && byte <= 0x39) || byte == 0x2d || byte == 0x5f
        guard isLetter || isOther, length < 64 else { return false }
        words[Int(length / 8)] |= UInt64(byte) &<< UInt64((length % 8) &* 8)
        length &+= 1
        return true
    }

    static func == (left: MapInstanceID, right: MapInstanceID) -> Bool {
        var difference = UInt64(left.length ^ right.length)
        for index in 0..<8 { difference |= left.words[index] ^ right.words[index] }
        return difference == 0
    }
}

/// SipHash-1-3 under a key of the map's own, so that nobody can craft certificates or ids that collide.
///
/// J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", section 2; the input is whole words.
struct MapHash {
    private var v0: UInt64
    private var v1: UInt64
    private var v2: UInt64
    private var v3: UInt64
    private var byteCount: UInt64 = 0

    init(key0: UInt64, key1: UInt64) {
        v0 = key0 ^ 0x736f_6d65_7073_6575
        v1 = key1 ^ 0x646f_7261_6e64_6f6d
        v2 = key0 ^ 0x6c79_6765_6e65_7261
        v3 = key1 ^ 0x7465_6462_7974_6573
    }

    @inline(__always)
    private static func rotate(_ word: UInt64, by bits: UInt64) -> UInt64 {
        (word &<< bits) | (word &>> (64 &- bits))
    }

    @inline(__always)
    private mutating func round() {
        v0 = v0 &+ v1
        v1 = Self.rotate(v1, by: 13) ^ v0
        v0 = Self.rotate(v0, by: 32)
        v2 = v2 &+ v3
        v3 = Self.rotate(v3, by: 16) ^ v2
        v0 = v0 &+ v3
        v3 = Self.rotate(v3, by: 21) ^ v0
        v2 = v2 &+ v1
        v1 = Self.rotate(v1, by: 17) ^ v2
        v2 = Self.rotate(v2, by: 32)
    }

    @inline(__always)
    mutating func combine(_ word: UInt64) {
        byteCount = byteCount &+ 8
        v3 ^= word
        round()
        v0 ^= word
    }

    @inline(__always)
    mutating func finish() -> UInt64 {
        let last = byteCount &<< 56
        v3 ^= last
        round()
        v0 ^= last
        v2 ^= 0xff
        round()
        round()
        round()
        return v0 ^ v1 ^ v2 ^ v3
    }
}
