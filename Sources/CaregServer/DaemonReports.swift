public import TrustMap

/// What the daemon knows of itself from its start on.
public struct DaemonFacts: Sendable {
    /// As `caregd --version` prints it.
    public var version: String
    public var stateFolder: String
    public var runtimeFolder: String

    /// All fields.
    public init(version: String, stateFolder: String, runtimeFolder: String) {
        self.version = version
        self.stateFolder = stateFolder
        self.runtimeFolder = runtimeFolder
    }
}

/// One trust map, for the status.
public struct TrustMapReport: Sendable {
    /// File name in the runtime folder.
    public var file: String
    public var statistics: TrustMapStatistics
    /// All that the registry knew when the map was made is in it.
    public var isFilled: Bool

    /// All fields.
    public init(file: String, statistics: TrustMapStatistics, isFilled: Bool) {
        self.file = file
        self.statistics = statistics
        self.isFilled = isFilled
    }
}

/// Room on the state folder's file system, in bytes.
public struct StorageReport: Sendable {
    public var dataBytes: UInt64
    public var freeBytes: UInt64

    /// Both fields.
    public init(dataBytes: UInt64, freeBytes: UInt64) {
        self.dataBytes = dataBytes
        self.freeBytes = freeBytes
    }
}

/// A limit in force.
public struct LimitReport: Sendable, Equatable {
    /// Its name in the configuration; the unit is its end.
    public var name: String
    public var value: UInt64
    /// How much of it is in use, where that is counted.
    public var used: UInt64?

    /// All fields.
    public init(name: String, value: UInt64, used: UInt64? = nil) {
        self.name = name
        self.value = value
        self.used = used
    }

    init(_ name: String, _ value: Int, used: Int? = nil) {
        self.init(name: name, value: UInt64(clamping: value), used: used.map { UInt64(clamping: $0) })
    }
}

/// Where the status and the metrics get what this room does not know. Each is called on a query thread, for each answer.
public struct StatusSources: Sendable {
    public var trustMaps: @Sendable () -> [TrustMapReport] = { [] }
    /// Nil where the file system does not tell.
    public var storage: @Sendable () -> StorageReport? = { nil }
    /// Sentences on what is not well.
    public var problems: @Sendable () -> [String] = { [] }
    /// Limits that are kept elsewhere.
    public var limits: @Sendable () -> [LimitReport] = { [] }

    /// Tells nothing.
    public init() {}
}
