import Testing

@testable import TTRPC

/// The protobuf encoding, read by hand.
@Suite struct EnvelopeTests {
    private func request(_ bytes: [UInt8]) -> RequestEnvelope? { try? RequestEnvelope(bytes.span, 0..<bytes.count) }

    private func text(_ bytes: [UInt8], _ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

    @Test func aRequestIsReadAsWritten() throws {
        let bytes =
            field(1, Array("some.Service".utf8)) + field(2, Array("Do".utf8)) + field(3, [9, 8])
            + [0x20] + varint(UInt64(bitPattern: -5)) + field(5, field(1, [0x61]) + field(2, [0x62]))
        let envelope = try #require(request(bytes))
        #expect(text(bytes, envelope.service) == "some.Service")
        #expect(text(bytes, envelope.method) == "Do")
        #expect(Array(bytes[envelope.payload]) == [9, 8])
        #expect(envelope.timeoutNanoseconds == -5)
    }

    @Test func theLastOfAFieldCounts() throws {
        let bytes = field(1, [0x61]) + [0x20, 1] + field(3, [1]) + field(1, [0x62]) + [0x20, 2] + field(3, [])
        let envelope = try #require(request(bytes))
        #expect(text(bytes, envelope.service) == "b")
        #expect(envelope.timeoutNanoseconds == 2)
        #expect(envelope.payload.isEmpty)
    }

    @Test(
        arguments: [
            ("an empty message", []),
            ("an unknown varint", [0x30, 5]),
            ("unknown fixed widths", [0x31, 1, 2, 3, 4, 5, 6, 7, 8, 0x35, 1, 2, 3, 4]),
            ("an unknown group", [0x33, 0x08, 1, 0x34]),
            ("groups in a group", [0x33, 0x3b, 0x3c, 0x43, 0x44, 0x34]),
            ("a known field of another type", [0x08, 1, 0x25, 1, 2, 3, 4]),
            ("a varint of ten bytes", [0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            ("a varint with zeros behind", [0x20, 0x81, 0x80, 0x00]),
            ("the highest field number", [0xf8, 0xff, 0xff, 0xff, 0x0f, 1]),
            ("metadata with unknown fields", [0x2a, 5, 0x18, 1, 0x0a, 1, 0x61]),
        ] as [(String, [UInt8])]) func decodes(what: String, bytes: [UInt8])
    {
        #expect(request(bytes) != nil, "\(what)")
    }

    @Test(
        arguments: [
            ("a field number of zero", [0x00, 1]),
            ("a wire type that is none", [0x0e, 1]),
            ("a wire type that is none", [0x0f, 1]),
            ("a tag of more than 32 bits", [0x80, 0x80, 0x80, 0x80, 0x10, 1]),
            ("a tag cut short", [0x80]),
            ("a varint cut short", [0x20, 0x80]),
            ("a varint of eleven bytes", [0x20] + [UInt8](repeating: 0x80, count: 10) + [0x01]),
            ("a length beyond the end", [0x1a, 2, 1]),
            ("a length of 2^64-1", [0x1a] + varint(.max)),
            ("a length of 2^63", [0x1a] + varint(1 << 63)),
            ("fixed widths cut short", [0x31, 1, 2, 3, 4, 5, 6, 7]),
            ("fixed widths cut short", [0x35, 1, 2, 3]),
            ("the end of no group", [0x34]),
            ("a group without an end", [0x33]),
            ("a group with another's end", [0x33, 0x3c]),
            ("a group too deep", [UInt8](repeating: 0x33, count: 1_000) + [UInt8](repeating: 0x34, count: 1_000)),
            ("a service that is no text", [0x0a, 1, 0xff, 0x0a, 1, 0x61]),
            ("a surrogate in a name", [0x12, 3, 0xed, 0xa0, 0x80, 0x12, 0]),
            ("metadata that is no text", [0x2a, 3, 0x0a, 1, 0xff]),
            ("metadata cut short", [0x2a, 2, 0x0a, 1]),
        ] as [(String, [UInt8])]) func doesNotDecode(what: String, bytes: [UInt8])
    {
        #expect(request(bytes) == nil, "\(what)")
    }

    @Test func aFailureIsWrittenAndReadTheSame() throws {
        let failures = [
            RPCFailure(code: 5, message: "no such thing", details: [.init(typeURL: "a.b/c", value: [1, 2, 3])]),
            RPCFailure(code: -1, message: "", details: []),
            RPCFailure(
                code: .max, message: "ä\u{0}b",
                details: [.init(typeURL: "", value: []), .init(typeURL: "x", value: [])]),
            RPCFailure(code: 16, message: String(repeating: "long ", count: 10_000)),
        ]
        for failure in failures {
            var frame: [UInt8] = []
            AnswerFrame.appendFailure(failure, stream: 9, limit: 4_194_304, to: &frame)
            let header = FrameHeader(frame.span, at: 0)
            #expect(header == FrameHeader(length: frame.count - 10, stream: 9, type: 2, flags: 0))
            let data = Array(frame[10...])
            let envelope = try ResponseEnvelope(data.span)
            #expect(envelope.failure == failure)
            #expect(envelope.payload.isEmpty)
        }
    }

    @Test func aFailureOfCodeZeroIsSentAsUnknown() throws {
        var frame: [UInt8] = []
        AnswerFrame.appendFailure(RPCFailure(code: 0, message: "x"), stream: 1, limit: 100, to: &frame)
        let data = Array(frame[10...])
        #expect(try ResponseEnvelope(data.span).failure?.code == 2)
    }

    @Test(arguments: [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
    func anAnswerIsAsLongAsItsHeaderSays(count: Int) throws {
        let payload = [UInt8](repeating: 3, count: count)
        var frame: [UInt8] = []
        #expect(AnswerFrame.appendResponse(payload, stream: 7, limit: 4_194_304, to: &frame))
        #expect(FrameHeader(frame.span, at: 0).length == frame.count - 10)
        let data = Array(frame[10...])
        let envelope = try ResponseEnvelope(data.span)
        #expect(envelope.payload == payload && envelope.failure == nil)
        // The limit is on the frame's data, and nothing is left behind of what is over it.
        var output: [UInt8] = [1]
        #expect(AnswerFrame.appendResponse(payload, stream: 7, limit: data.count, to: &output))
        output = [1]
        if count > 0 {
            #expect(!AnswerFrame.appendResponse(payload, stream: 7, limit: data.count - 1, to: &output))
            #expect(output == [1])
        }
    }

    @Test func aStatusOfCodeZeroIsSuccess() throws {
        let data = field(1, [0x08, 0]) + field(2, [1])
        let envelope = try ResponseEnvelope(data.span)
        #expect(envelope.failure == nil && envelope.payload == [1])
    }

    // MARK: Against a second reader

    /// Fields of a message, as the encoding's specification has them: recursive, and with no care for speed.
    private indirect enum Value: Equatable {
        case varint(UInt64)
        case fixed([UInt8])
        case bytes([UInt8])
        case group([(UInt64, Value)])

        static func == (left: Value, right: Value) -> Bool { "\(left)" == "\(right)" }
    }

    private struct Slow {
        var rest: ArraySlice<UInt8>

        mutating func varint() -> UInt64? {
            var bytes: [UInt8] = []
            repeat {
                guard let byte = rest.popFirst(), bytes.count < 10 else { return nil }
                bytes.append(byte)
            } while bytes[bytes.count - 1] >= 0x80
            return bytes.reversed().reduce(UInt64(0)) { $0 &<< 7 | UInt64($1 & 0x7f) }
        }

        mutating func take(_ count: UInt64) -> [UInt8]? {
            guard count <= UInt64(rest.count) else { return nil }
            defer { rest = rest.dropFirst(Int(count)) }
            return Array(rest.prefix(Int(count)))
        }

        /// Nil where it is no message. `group`: the number of the group that must end it.
        mutating func fields(group: UInt64? = nil, depth: Int = 0) -> [(UInt64, Value)]? {
            var fields: [(UInt64, Value)] = []
            guard depth <= 100 else { return nil }
            while !rest.isEmpty {
                guard let tag = varint(), tag < 1 << 32, tag >> 3 > 0 else { return nil }
                switch tag & 7 {
                case 0:
                    guard let value = varint() else { return nil }
                    fields.append((tag >> 3, .varint(value)))
                case 1, 5:
                    guard let value = take(tag & 7 == 1 ? 8 : 4) else { return nil }
                    fields.append((tag >> 3, .fixed(value)))
                case 2:
                    guard let length = varint(), let value = take(length) else { return nil }
                    fields.append((tag >> 3, .bytes(value)))
                case 3:
                    guard let value = self.fields(group: tag >> 3, depth: depth + 1) else { return nil }
                    fields.append((tag >> 3, .group(value)))
                case 4: return tag >> 3 == group ? fields : nil
                default: return nil
                }
            }
            return group == nil ? fields : nil
        }
    }

    private static func isText(_ bytes: [UInt8]) -> Bool { String(validating: bytes, as: UTF8.self) != nil }

    /// What a Request is, by the second reader: service, method, payload, timeout.
    private func slowRequest(_ bytes: [UInt8]) -> String? {
        var slow = Slow(rest: bytes[...])
        guard let fields = slow.fields() else { return nil }
        var (service, method, payload, timeout): ([UInt8], [UInt8], [UInt8], Int64) = ([], [], [], 0)
        for (index, (number, value)) in fields.enumerated() {
            switch (number, value) {
            case (1, .bytes(let text)), (2, .bytes(let text)):
                // The last one is looked at by the caller.
                let isLast = !fields[(index + 1)...].contains { later in
                    if case .bytes = later.1 { later.0 == number } else { false }
                }
                guard isLast || Self.isText(text) else { return nil }
                if number == 1 { service = text } else { method = text }
            case (3, .bytes(let bytes)): payload = bytes
            case (4, .varint(let value)): timeout = Int64(bitPattern: value)
            case (5, .bytes(let entry)):
                var inner = Slow(rest: entry[...])
                guard let pairs = inner.fields() else { return nil }
                for case (1...2, .bytes(let text)) in pairs { guard Self.isText(text) else { return nil } }
            default: break
            }
        }
        return "\(service) \(method) \(payload) \(timeout)"
    }

    private func fastRequest(_ bytes: [UInt8]) -> String? {
        request(bytes).map {
            "\(Array(bytes[$0.service])) \(Array(bytes[$0.method])) \(Array(bytes[$0.payload])) \($0.timeoutNanoseconds)"
        }
    }

    @Test func randomMessagesAreReadAsASecondReaderReadsThem() {
        var messages = Messages(generator: SeededGenerator(salt: 2))
        let hint = "\(messages.generator)"
        var good = 0
        for round in 0..<30_000 {
            let bytes = messages.next()
            let slow = slowRequest(bytes)
            if slow != nil { good += 1 }
            #expect(fastRequest(bytes) == slow, "\(bytes), round \(round), \(hint)")
            // The other reader of what a peer sends: it must not fault, whatever comes.
            _ = try? ResponseEnvelope(bytes.span)
        }
        #expect(good > 3_000 && good < 27_000, "the messages should be good and bad: \(good) are good")
    }

    /// Messages that are Requests, or almost.
    private struct Messages {
        var generator: SeededGenerator

        mutating func next() -> [UInt8] {
            var bytes = message(depth: 0)
            if generator.chance(2) {
                for _ in 0..<(1 + generator.below(3)) where !bytes.isEmpty {
                    let place = generator.below(bytes.count)
                    switch generator.below(4) {
                    case 0: bytes[place] ^= 1 << UInt8(generator.below(8))
                    case 1: bytes.remove(at: place)
                    case 2: bytes.insert(UInt8(truncatingIfNeeded: generator.next()), at: place)
                    default: bytes.removeSubrange(place...)
                    }
                }
            }
            return bytes
        }

        private mutating func message(depth: Int) -> [UInt8] {
            (0..<generator.below(6)).flatMap { _ in element(depth: depth) }
        }

        private mutating func element(depth: Int) -> [UInt8] {
            let number = generator.chance(5) ? generator.next() >> 35 | 1 : UInt64(1 + generator.below(6))
            let tag = { (type: UInt64) in varint(number << 3 | type) }
            switch generator.below(8) {
            case 0: return tag(0) + varint(generator.next() >> UInt64(generator.below(64)))
            case 1: return tag(1) + raw(8)
            case 2: return tag(5) + raw(4)
            case 3 where depth < 4: return tag(3) + message(depth: depth + 1) + tag(4)
            case 4 where depth < 4:
                let inner = message(depth: depth + 1)
                return tag(2) + varint(UInt64(inner.count)) + inner
            case 5:
                let bytes = raw(generator.below(20))
                return tag(2) + varint(UInt64(bytes.count)) + bytes
            default:
                let text = Array(["test.Service", "Echo", "", "ä€𝄞"].randomElement(using: &generator)?.utf8 ?? "".utf8)
                return tag(2) + varint(UInt64(text.count)) + text
            }
        }

        private mutating func raw(_ count: Int) -> [UInt8] {
            (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
        }
    }
}

@Suite struct MethodTableTests {
    @Test func everyMethodIsFoundByItsNamesAndNoOther() {
        let methods = (0..<200).map { number in
            Method(service: "s\(number / 10)", name: "m\(number)", kind: .unary) { _ in }
        }
        let table = MethodTable(methods)
        func index(_ service: String, _ name: String) -> Int? {
            table.index(service: Array(service.utf8).span, name: Array(name.utf8).span)
        }
        for (number, method) in methods.enumerated() {
            #expect(index(method.service, method.name) == number)
            #expect(index(method.service, method.name + "x") == nil)
            #expect(index(method.service + "m", String(method.name.dropFirst())) == nil)
        }
        #expect(index("", "") == nil)
        #expect(table.knows(service: "s19") && !table.knows(service: "s20"))
    }
}
