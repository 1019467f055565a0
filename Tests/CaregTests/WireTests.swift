import Testing

@testable import CaregHosted

/// The library's protobuf against the tests' own, and against bytes of no meaning.
@Suite struct WireTests {
    @Test func everyMessageThatIsCutOrChangedIsTakenWithoutATrap() {
        let whole = Protobuf.verdict(reason: 1, serial: "0a0b", validUntil: 4_000_000_000, revision: 77)
        for count in 0..<whole.count { decode(Array(whole.prefix(count))) }
        var generator = SeededGenerator(seed: 0x5eed)
        for _ in 0..<200_000 {
            var changed = whole
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let place = Int.random(in: 0..<changed.count, using: &generator)
                changed[place] = UInt8.random(in: 0...255, using: &generator)
            }
            decode(changed)
        }
        for _ in 0..<50_000 {
            let count = Int.random(in: 0..<64, using: &generator)
            decode((0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) })
        }
    }

    private func decode(_ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { buffer in
            let (outcome, verdict) = unsafe decodeAnswer(buffer)
            if case .answered = outcome {
                #expect(verdict.reason >= 1 && verdict.reason <= 239)
                #expect(verdict.isTrusted == (verdict.reason == 1))
            }
        }
    }

    @Test(arguments: [0, 1, 127, 128, 16_383, 16_384, UInt64(UInt32.max), UInt64.max])
    func numbersAreWrittenAndReadBack(value: UInt64) {
        var room = [UInt8](repeating: 0, count: 20)
        let count = unsafe room.withUnsafeMutableBytes { buffer in
            var writer = unsafe ByteWriter(buffer)
            writer.byte(1 << 3)
            writer.varint(value)
            return writer.count
        }
        #expect(Array(room.prefix(count)) == Protobuf.field(1, value))
        #expect(ByteWriter.varintBytes(value) == count - 1)
        let read = unsafe room.prefix(count).withUnsafeBytes { buffer in
            var reader = unsafe FieldReader(buffer)
            return reader.next()?.value
        }
        #expect(read == value)
    }

    @Test func textThatDoesNotFitIsLeftOut() {
        var room = [UInt8](repeating: 0, count: 3)
        unsafe room.withUnsafeMutableBytes { buffer in
            var writer = unsafe ByteWriter(buffer)
            writer.varint(UInt64.max)
            #expect(writer.count == 3)
        }
    }
}

/// A generator whose numbers are the same for the same seed (splitmix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
