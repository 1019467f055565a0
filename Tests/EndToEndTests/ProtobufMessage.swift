/// A protobuf message as its fields, read and written by hand: the tests trust no generated code.
struct ProtobufMessage {
    private enum Value {
        case integer(UInt64)
        case bytes([UInt8])
    }

    private var fields: [(number: Int, value: Value)] = []

    init(_ bytes: [UInt8]) throws {
        var position = 0
        func varint() throws -> UInt64 {
            var value: UInt64 = 0
            var shift: UInt64 = 0
            while position < bytes.count, shift < 64 {
                let byte = bytes[position]
                position += 1
                value |= UInt64(byte & 0x7f) << shift
                if byte < 0x80 { return value }
                shift += 7
            }
            throw TestFailure("no protobuf message: \(bytes.prefix(64))")
        }
        func take(_ count: UInt64) throws -> [UInt8] {
            guard count <= UInt64(bytes.count - position) else {
                throw TestFailure("no protobuf message: \(bytes.prefix(64))")
            }
            defer { position += Int(count) }
            return Array(bytes[position..<position + Int(count)])
        }
        while position < bytes.count {
            let tag = try varint()
            let number = Int(tag >> 3)
            switch tag & 7 {
            case 0: fields.append((number, .integer(try varint())))
            case 1: fields.append((number, .bytes(try take(8))))
            case 2: fields.append((number, .bytes(try take(try varint()))))
            case 5: fields.append((number, .bytes(try take(4))))
            default: throw TestFailure("no protobuf message: \(bytes.prefix(64))")
            }
        }
    }

    func has(_ number: Int) -> Bool { fields.contains { $0.number == number } }

    func integer(_ number: Int) -> UInt64 {
        for field in fields.reversed() where field.number == number {
            if case .integer(let value) = field.value { return value }
        }
        return 0
    }

    func bytes(_ number: Int) -> [UInt8] { repeated(number).last ?? [] }

    func text(_ number: Int) -> String { String(decoding: bytes(number), as: UTF8.self) }

    func message(_ number: Int) throws -> ProtobufMessage { try ProtobufMessage(bytes(number)) }

    func messages(_ number: Int) throws -> [ProtobufMessage] { try repeated(number).map { try ProtobufMessage($0) } }

    private func repeated(_ number: Int) -> [[UInt8]] {
        fields.compactMap { field in
            if field.number == number, case .bytes(let value) = field.value { value } else { nil }
        }
    }

    /// Writes a message field by field; default values are left out, as proto3 does.
    struct Builder {
        private(set) var encoded: [UInt8] = []

        func integer(_ number: Int, _ value: UInt64) -> Builder {
            guard value != 0 else { return self }
            var copy = self
            copy.varint(UInt64(number) << 3)
            copy.varint(value)
            return copy
        }

        /// A bytes field, written out even if it is empty: an element of a repeated one may be.
        func element(_ number: Int, _ value: [UInt8]) -> Builder {
            var copy = self
            copy.varint(UInt64(number) << 3 | 2)
            copy.varint(UInt64(value.count))
            copy.encoded += value
            return copy
        }

        func bytes(_ number: Int, _ value: [UInt8]) -> Builder { value.isEmpty ? self : element(number, value) }

        func text(_ number: Int, _ value: String) -> Builder { bytes(number, Array(value.utf8)) }

        private mutating func varint(_ value: UInt64) {
            var left = value
            while left >= 0x80 {
                encoded.append(UInt8(left & 0x7f) | 0x80)
                left >>= 7
            }
            encoded.append(UInt8(left))
        }
    }
}
