/// What the plugin allows itself, in one place.
enum PluginLimits {
    /// Clients whose connection has ended and whose last will may still be asked about.
    static let leftClients = 4_096
    /// Nanoseconds that one tick may spend on asking the daemon; the rest waits for the next one.
    static let tick: UInt64 = 50_000_000
    /// Clients between two looks at the clock.
    static let clientsPerLook = 256
    /// Nanoseconds between two attempts to settle clients about which nobody answers.
    static let retry: UInt64 = 250_000_000
    /// Nanoseconds without a tick after which the log says what that means.
    static let missingTick: UInt64 = 10_000_000_000
    /// Buckets of the table to begin with, and at most; powers of two.
    static let firstBuckets = 256
    static let buckets = 1 << 24
    /// Bytes of one log line.
    static let lineBytes = 1_024
    /// Bytes of a client's id in a log line.
    static let loggedIDBytes = 256
    /// Bytes of a device's serial number.
    static let serialBytes = 128
}
