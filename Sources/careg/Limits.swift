/// What the library allows itself, in one place.
enum Limits {
    /// Connections of one handle to the daemon; further callers wait for one to be free, within their deadline.
    static let connections = 4
    /// Certificates in one question, as `CAREG_CHAIN_LIMIT` has it.
    static let chain = 64
    /// Bytes of all certificates in one question; the daemon takes less.
    static let chainBytes = 3_000_000
    /// What the map may decide on: certificates in a chain, bytes of each and of all, as the daemon has it by default.
    static let plainChain = 16
    static let plainCertificateBytes = 65_536
    static let plainChainBytes = 262_144
    /// The largest answer that is understood; one to Verify has a tenth of it.
    static let answerBytes = 32_768
    /// The largest frame of the protocol.
    static let frameBytes: UInt32 = 4_194_304

    static let stalenessMilliseconds: UInt32 = 3_600_000
    static let defaultStalenessMilliseconds: UInt32 = 5_000
    static let timeoutMilliseconds: UInt32 = 60_000
    static let defaultTimeoutMilliseconds: UInt32 = 1_000
    /// A path of the runtime folder, without its NUL.
    static let folderBytes = 4_000
    /// A file's name.
    static let nameBytes = 255

    /// Nanoseconds between two looks for another map: where there is none to use, and where there is one that lacks
    /// the instance only.
    static let mapInterval: UInt64 = 10_000_000
    static let calmMapInterval: UInt64 = 1_000_000_000
    /// Names of a runtime folder that are looked at in search of a map.
    static let folderEntries = 4_096
    /// Replaced maps whose addresses are kept for readers that may still be on their way, and for how long at least.
    static let retiredMaps = 256
    static let retirement: UInt64 = 600_000_000_000

    /// Nanoseconds for which a daemon that refuses is left alone: at first, and at most.
    static let firstQuiet: UInt64 = 10_000_000
    static let longestQuiet: UInt64 = 1_000_000_000
    /// One that did not answer in time is left alone for so many times the time that it has cost, and at most so long.
    static let silenceFactor: UInt64 = 5
    static let longestSilence: UInt64 = 5_000_000_000
    /// Nanoseconds between two attempts to reach a daemon that is starting: at first, and at most.
    static let firstPause: UInt64 = 2_000_000
    static let longestPause: UInt64 = 50_000_000
}
