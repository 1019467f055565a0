/// The writing side of PEM: RFC 7468, lines of 64 characters.
enum PEMBlock {
    static func encode(_ bytes: [UInt8], label: String) -> [UInt8] {
        var text = Array("-----BEGIN \(label)-----\n".utf8)
        text.reserveCapacity(bytes.count * 4 / 3 + bytes.count / 48 + 128)
        var column = 0
        var index = 0
        while index < bytes.count {
            let end = min(index + 3, bytes.count)
            append(bytes[index..<end], to: &text)
            index = end
            column += 4
            if column == 64 || index == bytes.count {
                text.append(UInt8(ascii: "\n"))
                column = 0
            }
        }
        text.append(contentsOf: "-----END \(label)-----\n".utf8)
        return text
    }

    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    /// Four characters for one to three bytes.
    private static func append(_ group: ArraySlice<UInt8>, to text: inout [UInt8]) {
        var bits: UInt32 = 0
        for byte in group { bits = bits << 8 | UInt32(byte) }
        bits <<= 8 * UInt32(3 - group.count)
        for position in 0..<4 {
            if position <= group.count {
                text.append(alphabet[Int(bits >> UInt32(18 - 6 * position) & 0x3f)])
            } else {
                text.append(UInt8(ascii: "="))
            }
        }
    }
}
