public import Certificates

/// The number of a committed change. It only grows; 0 is before the first one.
public struct Revision: Hashable, Comparable, Sendable {
    /// Counts from 1.
    public var number: UInt64

    /// Wraps a number.
    public init(_ number: UInt64) {
        self.number = number
    }

    /// The revision that follows.
    public var next: Revision { Revision(number + 1) }

    public static func < (left: Revision, right: Revision) -> Bool {
        left.number < right.number
    }
}

/// Names a CA record. Never used again, so that what waits for a record cannot meet another one.
public struct CaID: Hashable, Sendable {
    /// Counts from 1, together with the other identifiers.
    public let number: UInt64

    /// Wraps a number.
    public init(_ number: UInt64) {
        self.number = number
    }

    var key: [UInt8] { bigEndianBytes(number) }
}

/// Names a device record. Never used again.
public struct DeviceID: Hashable, Sendable {
    /// Counts from 1, together with the other identifiers.
    public let number: UInt64

    /// Wraps a number.
    public init(_ number: UInt64) {
        self.number = number
    }

    var key: [UInt8] { bigEndianBytes(number) }
}

/// Names a path that devices of an instance were found trusted on. Never used again.
public struct PathID: Hashable, Sendable {
    /// Counts from 1, together with the other identifiers.
    public let number: UInt64

    /// Wraps a number.
    public init(_ number: UInt64) {
        self.number = number
    }

    var key: [UInt8] { bigEndianBytes(number) }
}

/// Stands for an instance in keys. Never used again.
public struct InstanceNumber: Hashable, Sendable {
    /// Counts from 1.
    public let number: UInt32

    /// Wraps a number.
    public init(_ number: UInt32) {
        self.number = number
    }

    var key: [UInt8] { bigEndianBytes(number) }
}

/// A moment of the host's clock: milliseconds since 1970-01-01T00:00:00Z.
public struct WallTime: Hashable, Comparable, Sendable {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    public var milliseconds: Int64

    /// Wraps a count of milliseconds.
    public init(milliseconds: Int64) {
        self.milliseconds = milliseconds
    }

    /// The whole second that it lies in.
    public var instant: Instant {
        Instant(secondsSince1970: milliseconds >= 0 ? milliseconds / 1000 : (milliseconds - 999) / 1000)
    }

    public static func < (left: WallTime, right: WallTime) -> Bool {
        left.milliseconds < right.milliseconds
    }
}

/// What an instance has booked.
public enum Edition: UInt8, Sendable, CaseIterable {
    case standard = 1
    case professional
    case platinum

    /// Only professional and platinum instances may register CA certificates.
    public var mayRegister: Bool { self != .standard }
}

/// The state of a CA record.
public enum CaStatus: UInt8, Sendable {
    case active = 1
    case inactive
}

/// The state of a device record.
public enum DeviceStatus: UInt8, Sendable, CaseIterable {
    case active = 1
    case inactive
    case pending
    /// A tombstone: in no list, and it keeps the device from registering itself.
    case deleted
}

/// What happens to an unknown device that verifies.
public enum DeviceRegistration: UInt8, Sendable {
    case automatic = 1
    case pending
    case explicit
}

/// The process that asked for a change, as the kernel told it.
public struct Caller: Hashable, Sendable {
    public var userID: UInt32
    public var groupID: UInt32
    public var processID: Int32

    /// Takes what SO_PEERCRED says.
    public init(userID: UInt32, groupID: UInt32, processID: Int32) {
        self.userID = userID
        self.groupID = groupID
        self.processID = processID
    }
}

extension SerialNumber {
    /// Bytes that sort as serial numbers are listed (by their hex text, negative ones last) and in which no serial number
    /// is the beginning of another: 00 is written 00 FF, and 00 01 ends it.
    var orderedKey: [UInt8] {
        [isNegative ? 1 : 0] + Self.escaped(magnitude) + [0x00, 0x01]
    }

    static func escaped(_ magnitude: some Sequence<UInt8>) -> [UInt8] {
        magnitude.flatMap { $0 == 0 ? [0x00, 0xff] : [$0] }
    }
}
