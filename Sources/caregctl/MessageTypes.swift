internal import Foundation
internal import SwiftProtobuf

/// What the JSON needs to know of a field.
struct MessageField {
    /// How a value is written; 32-bit and 64-bit integers differ in JSON.
    enum Kind {
        case bool
        case int32
        case int64
        case uint32
        case uint64
        case string
        case bytes
        /// Full name with a leading dot.
        case enumeration(String)
        /// Full name with a leading dot.
        case message(String)
    }

    let number: Int32
    let jsonName: String
    let kind: Kind
    let isRepeated: Bool
    /// Left out where it is absent: a message, or a field that the .proto file calls `optional`.
    let hasPresence: Bool
}

/// The messages and enumerations of careg.v1 by their full names with a leading dot.
struct MessageTypes {
    /// Fields in the order of the .proto file.
    private(set) var fields: [String: [MessageField]] = [:]
    /// The names of an enumeration's values.
    private(set) var enumNames: [String: [Int32: String]] = [:]

    static let all = MessageTypes(base64: MessageDescriptors.base64)

    /// Empty where the text is no FileDescriptorSet: then nothing can be encoded, and a test fails.
    init(base64: String) {
        guard let data = Data(base64Encoded: base64, options: .ignoreUnknownCharacters),
            let set = try? Google_Protobuf_FileDescriptorSet(serializedBytes: data)
        else { return }
        for file in set.file {
            for message in file.messageType {
                fields[".\(file.package).\(message.name)"] = message.field.compactMap(MessageField.init)
            }
            for enumeration in file.enumType {
                enumNames[".\(file.package).\(enumeration.name)"] = Dictionary(
                    enumeration.value.map { ($0.number, $0.name) }, uniquingKeysWith: { first, _ in first })
            }
        }
    }
}

extension MessageField {
    /// Nil for the types that careg.v1 does not use.
    fileprivate init?(_ field: Google_Protobuf_FieldDescriptorProto) {
        switch field.type {
        case .bool: kind = .bool
        case .int32: kind = .int32
        case .int64: kind = .int64
        case .uint32: kind = .uint32
        case .uint64: kind = .uint64
        case .string: kind = .string
        case .bytes: kind = .bytes
        case .enum: kind = .enumeration(field.typeName)
        case .message: kind = .message(field.typeName)
        default: return nil
        }
        number = field.number
        jsonName = field.jsonName
        isRepeated = field.label == .repeated
        if case .message = kind { hasPresence = true } else { hasPresence = field.proto3Optional }
    }
}
