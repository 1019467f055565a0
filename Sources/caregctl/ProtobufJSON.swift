internal import Foundation
internal import SwiftProtobuf

/// A message as canonical protobuf JSON, fields with their default value included.
///
/// swift-protobuf leaves defaults out, so the encoding goes from the wire bytes through the descriptors: fields in the
/// order of the .proto file; 64-bit integers as strings, bytes as base64, Timestamp and Duration as protobuf spells
/// them; absent messages and `optional` fields are left out. One line, no blanks.
struct ProtobufJSON {
    private var text = ""

    /// - Throws: where the message does not fit the descriptors that this program was built with.
    static func encode(_ message: some SwiftProtobuf.Message) throws -> String {
        var json = ProtobufJSON()
        let bytes: [UInt8] = try message.serializedBytes()
        try json.append(message: bytes[...], type: "." + type(of: message).protoMessageName)
        return json.text
    }

    /// A JSON string with its quotes.
    static func quote(_ string: String) -> String {
        var quoted = "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            case "\r": quoted += "\\r"
            case "\t": quoted += "\\t"
            default:
                if TerminalText.mustEscape(scalar) {
                    for unit in UTF16.encode(scalar).map(Array.init) ?? [] {
                        let digits = String(unit, radix: 16)
                        quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                    }
                } else {
                    quoted.unicodeScalars.append(scalar)
                }
            }
        }
        return quoted + "\""
    }

    private mutating func append(message: ArraySlice<UInt8>, type: String) throws {
        if type == ".google.protobuf.Timestamp" {
            text += try Google_Protobuf_Timestamp(serializedBytes: Array(message)).jsonString()
            return
        }
        if type == ".google.protobuf.Duration" {
            text += try Google_Protobuf_Duration(serializedBytes: Array(message)).jsonString()
            return
        }
        guard let fields = MessageTypes.all.fields[type] else { throw ProtobufJSONError.unknownType(type) }
        let values = try WireFields.parse(message)
        text += "{"
        var separator = ""
        for field in fields {
            let found = values[Int(field.number)] ?? []
            if found.isEmpty, !field.isRepeated, field.hasPresence { continue }
            text += separator + Self.quote(field.jsonName) + ":"
            separator = ","
            if field.isRepeated {
                try append(repeated: found, of: field)
            } else if let last = found.last {
                try append(last, of: field)
            } else {
                try append(.varint(0), of: field)
            }
        }
        text += "}"
    }

    private mutating func append(repeated values: [WireValue], of field: MessageField) throws {
        text += "["
        var separator = ""
        for value in values {
            for element in try value.unpacked(kind: field.kind) {
                text += separator
                separator = ","
                try append(element, of: field)
            }
        }
        text += "]"
    }

    private mutating func append(_ value: WireValue, of field: MessageField) throws {
        switch (field.kind, value) {
        case (.message(let type), .bytes(let bytes)): try append(message: bytes, type: type)
        case (.string, .bytes(let bytes)): text += Self.quote(String(decoding: bytes, as: UTF8.self))
        case (.bytes, .bytes(let bytes)): text += "\"" + Data(bytes).base64EncodedString() + "\""
        case (.string, .varint), (.bytes, .varint): text += "\"\""
        case (.bool, .varint(let bits)): text += bits == 0 ? "false" : "true"
        case (.int32, .varint(let bits)): text += String(Int32(truncatingIfNeeded: bits))
        case (.uint32, .varint(let bits)): text += String(UInt32(truncatingIfNeeded: bits))
        case (.int64, .varint(let bits)): text += "\"" + String(Int64(truncatingIfNeeded: bits)) + "\""
        case (.uint64, .varint(let bits)): text += "\"" + String(bits) + "\""
        case (.enumeration(let type), .varint(let bits)):
            let number = Int32(truncatingIfNeeded: bits)
            // A value that a newer daemon knows and this program does not is its number, as protobuf's JSON says.
            text += MessageTypes.all.enumNames[type]?[number].map(Self.quote) ?? String(number)
        default: throw ProtobufJSONError.malformed
        }
    }
}

enum ProtobufJSONError: Error {
    case unknownType(String)
    case malformed
}

/// One value on the wire.
private enum WireValue {
    case varint(UInt64)
    case bytes(ArraySlice<UInt8>)

    /// The elements of a packed field; the value itself for any other.
    func unpacked(kind: MessageField.Kind) throws -> [WireValue] {
        guard case .bytes(var rest) = self else { return [self] }
        switch kind {
        case .message, .string, .bytes: return [self]
        case .bool, .int32, .int64, .uint32, .uint64, .enumeration:
            var elements: [WireValue] = []
            while !rest.isEmpty { elements.append(.varint(try WireFields.varint(&rest))) }
            return elements
        }
    }
}

private enum WireFields {
    /// The values of a message by field number, in the order in which they came.
    static func parse(_ message: ArraySlice<UInt8>) throws -> [Int: [WireValue]] {
        var rest = message
        var values: [Int: [WireValue]] = [:]
        while !rest.isEmpty {
            let tag = try varint(&rest)
            let number = Int(truncatingIfNeeded: tag >> 3)
            switch tag & 7 {
            case 0: values[number, default: []].append(.varint(try varint(&rest)))
            case 1: _ = try take(8, from: &rest)
            case 2:
                let length = try varint(&rest)
                guard let count = Int(exactly: length) else { throw ProtobufJSONError.malformed }
                values[number, default: []].append(.bytes(try take(count, from: &rest)))
            case 5: _ = try take(4, from: &rest)
            default: throw ProtobufJSONError.malformed
            }
        }
        return values
    }

    static func varint(_ rest: inout ArraySlice<UInt8>) throws -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 70, by: 7) {
            guard let byte = rest.popFirst() else { throw ProtobufJSONError.malformed }
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
        }
        throw ProtobufJSONError.malformed
    }

    private static func take(_ count: Int, from rest: inout ArraySlice<UInt8>) throws -> ArraySlice<UInt8> {
        guard rest.count >= count else { throw ProtobufJSONError.malformed }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }
}
