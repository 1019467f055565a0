// The few forms of protobuf that a question and its answer need.

/// Writes bytes one after the other into room that is known to be enough; what does not fit is left out.
@safe struct ByteWriter {
    private let room: UnsafeMutableRawBufferPointer
    private(set) var count = 0

    init(_ room: UnsafeMutableRawBufferPointer) { unsafe self.room = unsafe room }

    static func varintBytes(_ value: UInt64) -> Int {
        var count = 1
        var rest = value &>> 7
        while rest != 0 {
            count &+= 1
            rest = rest &>> 7
        }
        return count
    }

    func address(of offset: Int) -> UnsafeMutableRawPointer? {
        unsafe room.baseAddress.map { unsafe $0 + offset }
    }

    mutating func byte(_ byte: UInt8) {
        guard unsafe count < room.count else { return }
        unsafe room[count] = byte
        count &+= 1
    }

    mutating func bigEndian(_ value: UInt32) {
        var shift: UInt32 = 32
        while shift > 0 {
            shift &-= 8
            byte(UInt8(truncatingIfNeeded: value &>> shift))
        }
    }

    mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            byte(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest = rest &>> 7
        }
        byte(UInt8(truncatingIfNeeded: rest))
    }

    /// A field of text that has less than 128 bytes.
    mutating func text(field: UInt8, _ text: StaticString) {
        byte(field &<< 3 | 2)
        byte(UInt8(truncatingIfNeeded: text.utf8CodeUnitCount))
        for index in 0..<text.utf8CodeUnitCount { unsafe byte(text.utf8Start[index]) }
    }
}

/// A field of a message.
@safe struct Field {
    var number: UInt64 = 0
    var isBytes = false
    /// Of a varint or a fixed field.
    var value: UInt64 = 0
    var bytes = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
}

/// Reads the fields of a message that a peer has sent.
@safe struct FieldReader {
    private let bytes: UnsafeRawBufferPointer
    private var position = 0
    /// False from the first byte on that does not decode.
    private(set) var isGood = true

    init(_ bytes: UnsafeRawBufferPointer) { unsafe self.bytes = unsafe bytes }

    /// nil at the end, and where the rest does not decode.
    mutating func next() -> Field? {
        guard isGood, unsafe position < bytes.count else { return nil }
        guard let key = varint(), key &>> 3 != 0 else { return fail() }
        var field = Field()
        field.number = key &>> 3
        switch key & 7 {
        case 0:
            guard let value = varint() else { return fail() }
            field.value = value
        case 1:
            guard let value = fixed(8) else { return fail() }
            field.value = value
        case 2:
            guard let length = varint(), unsafe length <= UInt64(bytes.count &- position) else {
                return fail()
            }
            let end = position &+ Int(length)
            field.isBytes = true
            unsafe field.bytes = unsafe UnsafeRawBufferPointer(rebasing: bytes[position..<end])
            position = end
        case 5:
            guard let value = fixed(4) else { return fail() }
            field.value = value
        default: return fail()
        }
        return field
    }

    private mutating func fail() -> Field? {
        isGood = false
        return nil
    }

    private mutating func varint() -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while unsafe position < bytes.count, shift < 64 {
            let byte = unsafe bytes[position]
            position &+= 1
            value |= UInt64(byte & 0x7f) &<< shift
            if byte & 0x80 == 0 { return value }
            shift &+= 7
        }
        return nil
    }

    private mutating func fixed(_ count: Int) -> UInt64? {
        guard unsafe bytes.count &- position >= count else { return nil }
        var value: UInt64 = 0
        for index in 0..<count { unsafe value |= UInt64(bytes[position &+ index]) &<< UInt64(index &* 8) }
        position &+= count
        return value
    }
}
