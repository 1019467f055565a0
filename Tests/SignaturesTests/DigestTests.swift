import Signatures
import Testing

/// SHA-256 and random bytes.
@Suite struct DigestTests {
    static let vectors: [(String, String)] = [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ),
    ]

    @Test(arguments: vectors) func aDigestIsTheOneOfFIPS180(message: String, hex: String) {
        let digest = SHA256Digest(hashing: Array(message.utf8))
        #expect(digest.hex == hex)
        #expect(digest.bytes.count == SHA256Digest.byteCount)
        #expect(SHA256Digest(bytes: digest.bytes) == digest)
        let padded = [1] + Array(message.utf8) + [2]
        #expect(SHA256Digest(hashing: padded[1..<(padded.count - 1)]) == digest)
    }

    @Test func aDigestHas32Bytes() {
        #expect(SHA256Digest(bytes: [UInt8](repeating: 1, count: 31)) == nil)
        #expect(SHA256Digest(bytes: [UInt8](repeating: 1, count: 33)) == nil)
        #expect(SHA256Digest(bytes: []) == nil)
    }

    @Test func digestsAreOrderedByTheirBytes() {
        var digests = (0..<50).map { SHA256Digest(hashing: [UInt8($0)]) }
        digests.sort()
        for (one, next) in zip(digests, digests.dropFirst()) {
            #expect(one.hex < next.hex)
            #expect(one != next)
        }
    }

    @Test func aDigestOfPiecesIsTheOneOfTheWhole() {
        let message = (0..<1_000).map { UInt8(truncatingIfNeeded: $0) }
        for size in [1, 63, 64, 65, 1_000] {
            var hasher = SHA256Hasher()
            for start in stride(from: 0, to: message.count, by: size) {
                hasher.update(message[start..<min(start + size, message.count)].span)
            }
            #expect(hasher.finish() == SHA256Digest(hashing: message))
        }
        var empty = SHA256Hasher()
        empty.update([UInt8]().span)
        #expect(empty.finish() == SHA256Digest(hashing: []))
    }

    @Test func equalDigestsAreOneInASet() {
        let digests = [[1], [2], [1]].map { SHA256Digest(hashing: $0 as [UInt8]) }
        #expect(Set(digests).count == 2)
        #expect(!(digests[0] < digests[2]))
    }

    @Test func randomBytesDiffer() throws {
        let one = try SystemRandom.bytes(32)
        #expect(one.count == 32)
        #expect(try SystemRandom.bytes(32) != one)
        #expect(try SystemRandom.bytes(0).isEmpty)
    }
}
