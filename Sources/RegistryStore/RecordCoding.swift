/// Appends the fields of a record, in a fixed order: integers big-endian, byte strings with a u32 length before them.
public struct RecordWriter {
    /// What was written so far.
    public private(set) var bytes: [UInt8] = []

    /// An empty record.
    public init() {}

    /// Appends an integer, big-endian.
    public mutating func append<Value: FixedWidthInteger>(_ value: Value) {
        bytes.append(bigEndian: value)
    }

    /// Appends a byte string with its length.
    public mutating func append(_ value: [UInt8]) {
        append(UInt32(value.count))
        bytes.append(contentsOf: value)
    }

    /// Appends a text as UTF-8 with its length.
    public mutating func append(_ value: String) {
        append(Array(value.utf8))
    }
}

/// Reads the fields of a record back, in the order in which they were written.
public struct RecordReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int

    /// A record that does not hold what its table says.
    public struct Malformed: Error {}

    /// Begins at the first field.
    public init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
    }

    /// The next integer.
    public mutating func integer<Value: FixedWidthInteger>(_: Value.Type = Value.self) throws(Malformed) -> Value {
        let size = Value.bitWidth / 8
        guard bytes.endIndex - position >= size else { throw Malformed() }
        var value: Value = 0
        for byte in bytes[position..<position + size] {
            value = (value << 8) | Value(truncatingIfNeeded: byte)
        }
        position += size
        return value
    }

    /// The next byte string.
    public mutating func byteString() throws(Malformed) -> [UInt8] {
        let count = Int(try integer(UInt32.self))
        guard bytes.endIndex - position >= count else { throw Malformed() }
        defer { position += count }
        return Array(bytes[position..<position + count])
    }

    /// The next byte string, which must have `count` bytes.
    public mutating func byteString(count: Int) throws(Malformed) -> [UInt8] {
        let value = try byteString()
        guard value.count == count else { throw Malformed() }
        return value
    }

    /// The next text.
    public mutating func text() throws(Malformed) -> String {
        guard let text = String(validating: try byteString(), as: UTF8.self) else { throw Malformed() }
        return text
    }

    /// The next integer as a case of an enumeration.
    public mutating func enumeration<Value: RawRepresentable>(_: Value.Type = Value.self) throws(Malformed) -> Value
    where Value.RawValue == UInt8 {
        guard let value = Value(rawValue: try integer()) else { throw Malformed() }
        return value
    }

    /// Nothing may follow.
    public func end() throws(Malformed) {
        guard position == bytes.endIndex else { throw Malformed() }
    }
}

/// An integer as keys hold it: big-endian, so that byte order is numeric order.
public func bigEndianBytes<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Value.bitWidth / 8)
    bytes.append(bigEndian: value)
    return bytes
}

extension [UInt8] {
    fileprivate mutating func append<Value: FixedWidthInteger>(bigEndian value: Value) {
        for shift in stride(from: Value.bitWidth - 8, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: value >> shift))
        }
    }
}

/// The integer that ``bigEndianBytes(_:)`` wrote.
public func integer<Value: FixedWidthInteger>(bigEndian bytes: some Collection<UInt8>) -> Value {
    bytes.reduce(0) { ($0 << 8) | Value(truncatingIfNeeded: $1) }
}
