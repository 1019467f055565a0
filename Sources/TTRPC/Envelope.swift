/// The Request message, as ranges in the frame's data: service=1, method=2, payload=3, timeout_nano=4, metadata=5.
struct RequestEnvelope {
    var service = 0..<0
    var method = 0..<0
    var payload = 0..<0
    var timeoutNanoseconds: Int64 = 0

    /// The last of a repeated field counts; unknown fields are skipped, and so is the metadata, once it has decoded.
    init(_ bytes: Span<UInt8>, _ range: Range<Int>) throws(ProtobufError) {
        var reader = ProtobufReader(range)
        while !reader.isAtEnd {
            let (field, type) = try reader.tag(bytes)
            switch (field, type) {
            case (1, .lengthDelimited):
                try Self.check(bytes, service)
                service = try reader.range(bytes)
            case (2, .lengthDelimited):
                try Self.check(bytes, method)
                method = try reader.range(bytes)
            case (3, .lengthDelimited): payload = try reader.range(bytes)
            case (4, .varint): timeoutNanoseconds = Int64(bitPattern: try reader.varint(bytes))
            case (5, .lengthDelimited): try Self.checkKeyValue(bytes, try reader.range(bytes))
            default: try reader.skip(bytes, field, type)
            }
        }
    }

    /// A name that a later one replaces must be text as well. The last one is compared, or checked, by the caller.
    private static func check(_ bytes: Span<UInt8>, _ range: Range<Int>) throws(ProtobufError) {
        guard range.isEmpty || bytes.text(range) != nil else { throw ProtobufError() }
    }

    private static func checkKeyValue(_ bytes: Span<UInt8>, _ range: Range<Int>) throws(ProtobufError) {
        var reader = ProtobufReader(range)
        while !reader.isAtEnd {
            let (field, type) = try reader.tag(bytes)
            if (field == 1 || field == 2) && type == .lengthDelimited {
                try check(bytes, try reader.range(bytes))
            } else {
                try reader.skip(bytes, field, type)
            }
        }
    }
}

/// The frames that a server sends.
enum AnswerFrame {
    /// A Response with a payload: field 2; an empty one is left out. False, and nothing appended, where it is too long.
    static func appendResponse(
        _ payload: [UInt8], stream: UInt32, limit: Int, to output: inout [UInt8]
    ) -> Bool {
        let length = payload.isEmpty ? 0 : 1 + varintLength(UInt64(payload.count)) + payload.count
        guard length <= limit else { return false }
        FrameHeader(length: length, stream: stream, type: FrameHeader.response, flags: 0).append(to: &output)
        if !payload.isEmpty {
            output.append(0x12)
            appendVarint(UInt64(payload.count), to: &output)
            output.append(contentsOf: payload)
        }
        return true
    }

    /// Room for a frame's header, and the tag and length of a payload before it.
    static let headerBytes = 16

    /// A Response whose payload stands at ``headerBytes`` of a buffer; what comes before it is written there first, so
    /// that all is copied at once.
    static func appendResponse(
        in buffer: UnsafeMutableBufferPointer<UInt8>, payloadBytes: Int, stream: UInt32, to output: inout [UInt8]
    ) {
        precondition(payloadBytes < 1 << 14 && headerBytes + payloadBytes <= buffer.count)
        var start = headerBytes
        func prepend(_ byte: UInt8) {
            start -= 1
            // Safe: 13 bytes at most come before the payload.
            unsafe buffer[start] = byte
        }
        if payloadBytes > 0 {
            if payloadBytes >= 0x80 {
                prepend(UInt8(payloadBytes >> 7))
                prepend(UInt8(payloadBytes & 0x7f | 0x80))
            } else {
                prepend(UInt8(payloadBytes))
            }
            prepend(0x12)
        }
        let length = UInt32(headerBytes - start + payloadBytes)
        prepend(0)
        prepend(FrameHeader.response)
        for shift: UInt32 in [0, 8, 16, 24] { prepend(UInt8(truncatingIfNeeded: stream >> shift)) }
        for shift: UInt32 in [0, 8, 16, 24] { prepend(UInt8(truncatingIfNeeded: length >> shift)) }
        unsafe output.append(contentsOf: UnsafeBufferPointer(rebasing: buffer[start..<headerBytes + payloadBytes]))
    }

    /// A Response with a status. One that is too long for a frame loses its details, and then the end of its message.
    static func appendFailure(_ failure: RPCFailure, stream: UInt32, limit: Int, to output: inout [UInt8]) {
        var status = encoded(failure)
        if status.count + 6 > limit {
            // Bytes, not characters: one of those may be as long as it likes.
            let kept = String(decoding: failure.message.utf8.prefix(256), as: UTF8.self)
            status = encoded(RPCFailure(code: failure.code, message: kept))
        }
        var body: [UInt8] = []
        appendField(1, status, to: &body)
        FrameHeader(length: body.count, stream: stream, type: FrameHeader.response, flags: 0).append(to: &output)
        output.append(contentsOf: body)
    }

    static func appendData(_ message: [UInt8], stream: UInt32, to output: inout [UInt8]) {
        FrameHeader(length: message.count, stream: stream, type: FrameHeader.data, flags: 0).append(to: &output)
        output.append(contentsOf: message)
    }

    static func appendEndOfStream(_ stream: UInt32, to output: inout [UInt8]) {
        FrameHeader(
            length: 0, stream: stream, type: FrameHeader.data, flags: FrameHeader.remoteClosed | FrameHeader.noData
        ).append(to: &output)
    }

    /// google.rpc.Status: code=1, message=2, details=3 of google.protobuf.Any: type_url=1, value=2.
    private static func encoded(_ failure: RPCFailure) -> [UInt8] {
        var status: [UInt8] = [0x08]
        let unknown: Int32 = 2
        // An int32 is sign-extended to 64 bits on the wire.
        appendVarint(UInt64(bitPattern: Int64(failure.code == 0 ? unknown : failure.code)), to: &status)
        if !failure.message.isEmpty { appendField(2, Array(failure.message.utf8), to: &status) }
        for detail in failure.details {
            var any: [UInt8] = []
            appendField(1, Array(detail.typeURL.utf8), to: &any)
            if !detail.value.isEmpty { appendField(2, detail.value, to: &any) }
            appendField(3, any, to: &status)
        }
        return status
    }

    static func appendField(_ field: UInt8, _ value: [UInt8], to output: inout [UInt8]) {
        output.append(field << 3 | 2)
        appendVarint(UInt64(value.count), to: &output)
        output.append(contentsOf: value)
    }

    static func appendVarint(_ value: UInt64, to output: inout [UInt8]) {
        var rest = value
        while rest >= 0x80 {
            output.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        output.append(UInt8(rest))
    }

    private static func varintLength(_ value: UInt64) -> Int {
        max(1, (64 - value.leadingZeroBitCount + 6) / 7)
    }
}

/// The Response message: status=1, payload=2.
struct ResponseEnvelope {
    var failure: RPCFailure?
    var payload: [UInt8] = []

    init(_ bytes: Span<UInt8>) throws(ProtobufError) {
        var reader = ProtobufReader(0..<bytes.count)
        while !reader.isAtEnd {
            let (field, type) = try reader.tag(bytes)
            switch (field, type) {
            case (1, .lengthDelimited): failure = try Self.status(bytes, try reader.range(bytes), failure)
            case (2, .lengthDelimited): payload = bytes.bytes(try reader.range(bytes))
            default: try reader.skip(bytes, field, type)
            }
        }
        // A status of code 0 is success, written out.
        if failure?.code == 0 { failure = nil }
    }

    private static func status(
        _ bytes: Span<UInt8>, _ range: Range<Int>, _ earlier: RPCFailure?
    ) throws(ProtobufError) -> RPCFailure {
        var failure = earlier ?? RPCFailure(code: 0, message: "")
        var reader = ProtobufReader(range)
        while !reader.isAtEnd {
            let (field, type) = try reader.tag(bytes)
            switch (field, type) {
            case (1, .varint): failure.code = Int32(truncatingIfNeeded: try reader.varint(bytes))
            case (2, .lengthDelimited): failure.message = try text(bytes, try reader.range(bytes))
            case (3, .lengthDelimited): failure.details.append(try detail(bytes, try reader.range(bytes)))
            default: try reader.skip(bytes, field, type)
            }
        }
        return failure
    }

    private static func detail(
        _ bytes: Span<UInt8>, _ range: Range<Int>
    ) throws(ProtobufError) -> RPCFailure.Detail {
        var detail = RPCFailure.Detail(typeURL: "", value: [])
        var reader = ProtobufReader(range)
        while !reader.isAtEnd {
            let (field, type) = try reader.tag(bytes)
            switch (field, type) {
            case (1, .lengthDelimited): detail.typeURL = try text(bytes, try reader.range(bytes))
            case (2, .lengthDelimited): detail.value = bytes.bytes(try reader.range(bytes))
            default: try reader.skip(bytes, field, type)
            }
        }
        return detail
    }

    private static func text(_ bytes: Span<UInt8>, _ range: Range<Int>) throws(ProtobufError) -> String {
        guard let text = bytes.text(range) else { throw ProtobufError() }
        return text
    }
}
