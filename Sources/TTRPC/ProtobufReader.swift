/// The bytes are no protobuf message.
struct ProtobufError: Error {}

/// Reads the fields of a protobuf message in place, as the encoding's specification has it.
///
/// It holds a position only: the bytes are handed to each call, for a span must not be kept.
struct ProtobufReader {
    enum WireType: UInt8 {
        case varint = 0
        case fixed64 = 1
        case lengthDelimited = 2
        case startGroup = 3
        case endGroup = 4
        case fixed32 = 5
    }

    /// Groups nest no deeper than this, as in every protobuf library.
    private static let groupDepth = 100

    private let end: Int
    private(set) var position: Int

    init(_ range: Range<Int>) {
        position = range.lowerBound
        end = range.upperBound
    }

    var isAtEnd: Bool { position == end }

    mutating func varint(_ bytes: Span<UInt8>) throws(ProtobufError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        // Ten bytes at most; what an overlong one has beyond 64 bits is dropped.
        while shift < 70 {
            guard position < end else { throw ProtobufError() }
            let byte = bytes[position]
            position += 1
            if shift < 64 { value |= UInt64(byte & 0x7f) << shift }
            if byte < 0x80 { return value }
            shift += 7
        }
        throw ProtobufError()
    }

    mutating func tag(_ bytes: Span<UInt8>) throws(ProtobufError) -> (field: UInt32, type: WireType) {
        let value = try varint(bytes)
        guard value <= UInt64(UInt32.max), value >> 3 != 0, let type = WireType(rawValue: UInt8(value & 7)) else {
            throw ProtobufError()
        }
        return (UInt32(value >> 3), type)
    }

    mutating func range(_ bytes: Span<UInt8>) throws(ProtobufError) -> Range<Int> {
        let length = try varint(bytes)
        guard length <= UInt64(end - position) else { throw ProtobufError() }
        let start = position
        position += Int(length)
        return start..<position
    }

    mutating func skip(_ bytes: Span<UInt8>, _ field: UInt32, _ type: WireType) throws(ProtobufError) {
        switch type {
        case .varint: _ = try varint(bytes)
        case .fixed64: try advance(8)
        case .lengthDelimited: _ = try range(bytes)
        case .fixed32: try advance(4)
        case .endGroup: throw ProtobufError()
        case .startGroup: try skipGroup(bytes, field)
        }
    }

    /// Groups are followed with a list of open ones, not by recursion: their depth is the peer's choice.
    private mutating func skipGroup(_ bytes: Span<UInt8>, _ field: UInt32) throws(ProtobufError) {
        var open = [field]
        while let innermost = open.last {
            let (field, type) = try tag(bytes)
            switch type {
            case .startGroup:
                guard open.count < Self.groupDepth else { throw ProtobufError() }
                open.append(field)
            case .endGroup:
                guard field == innermost else { throw ProtobufError() }
                open.removeLast()
            case .varint, .fixed64, .lengthDelimited, .fixed32: try skip(bytes, field, type)
            }
        }
    }

    private mutating func advance(_ count: Int) throws(ProtobufError) {
        guard end - position >= count else { throw ProtobufError() }
        position += count
    }
}

extension Span where Element == UInt8 {
    /// A copy.
    func bytes(_ range: Range<Int>) -> [UInt8] {
        // Safe: the buffer is read within the closure only, and the range was checked by `extracting`.
        unsafe extracting(range).withUnsafeBufferPointer { unsafe Array($0) }
    }

    /// Strict UTF-8, as proto3 demands of a string; nil where it is not.
    func text(_ range: Range<Int>) -> String? {
        String(validating: bytes(range), as: UTF8.self)
    }
}
