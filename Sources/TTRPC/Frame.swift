/// The header of a ttrpc frame: data length and stream id, big-endian, then type and flags.
struct FrameHeader: Hashable, Sendable {
    static let byteCount = 10

    static let request: UInt8 = 1
    static let response: UInt8 = 2
    static let data: UInt8 = 3

    /// The sender sends nothing more on the stream.
    static let remoteClosed: UInt8 = 0x01
    /// The sender will send Data frames on the stream.
    static let remoteOpen: UInt8 = 0x02
    /// The frame holds no message.
    static let noData: UInt8 = 0x04

    var length: Int
    var stream: UInt32
    var type: UInt8
    var flags: UInt8

    init(length: Int, stream: UInt32, type: UInt8, flags: UInt8) {
        self.length = length
        self.stream = stream
        self.type = type
        self.flags = flags
    }

    /// - Precondition: ten bytes are there from the offset on.
    init(_ bytes: Span<UInt8>, at offset: Int) {
        func number(_ at: Int) -> UInt32 {
            UInt32(bytes[at]) << 24 | UInt32(bytes[at + 1]) << 16 | UInt32(bytes[at + 2]) << 8 | UInt32(bytes[at + 3])
        }
        length = Int(number(offset))
        stream = number(offset + 4)
        type = bytes[offset + 8]
        flags = bytes[offset + 9]
    }

    func append(to output: inout [UInt8]) {
        let first = UInt32(truncatingIfNeeded: length)
        for shift: UInt32 in [24, 16, 8, 0] { output.append(UInt8(truncatingIfNeeded: first >> shift)) }
        for shift: UInt32 in [24, 16, 8, 0] { output.append(UInt8(truncatingIfNeeded: stream >> shift)) }
        output.append(type)
        output.append(flags)
    }
}
