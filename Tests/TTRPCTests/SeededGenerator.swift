import Foundation

/// SplitMix64. Its seed is new in each run, is told where a test fails, and is taken from `TTRPC_SEED` where that is set.
struct SeededGenerator: RandomNumberGenerator, CustomStringConvertible {
    let seed: UInt64
    private var state: UInt64

    init(salt: UInt64 = 0) {
        let given = ProcessInfo.processInfo.environment["TTRPC_SEED"].flatMap { UInt64($0) }
        seed = given ?? UInt64.random(in: 0..<1_000_000_000)
        state = seed &+ salt &* 0x2545_f491_4f6c_dd1d
    }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }

    var description: String { "again with TTRPC_SEED=\(seed)" }
}

extension SeededGenerator {
    mutating func chance(_ oneIn: Int) -> Bool { Int.random(in: 0..<oneIn, using: &self) == 0 }
    mutating func below(_ limit: Int) -> Int { Int.random(in: 0..<max(1, limit), using: &self) }
}
