import Foundation

/// SplitMix64: the same numbers for the same seed, everywhere and always.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    public init(seed: UInt64) {
        state = seed
    }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }

    /// A number from 0 up to, not including, `bound`.
    public mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

    /// One of the elements.
    public mutating func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }

    /// True in one of `count` cases.
    public mutating func oneIn(_ count: Int) -> Bool { below(count) == 0 }

    /// `count` bytes.
    public mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: next() >> 32) }
    }
}

/// Where the random tests start.
public enum TestSeed {
    /// The seed in the environment variable `CAREG_TEST_SEED`, so that a failure can be repeated and other seeds be tried.
    public static func start(otherwise seed: UInt64) -> UInt64 {
        ProcessInfo.processInfo.environment["CAREG_TEST_SEED"].flatMap { UInt64($0) } ?? seed
    }
}
