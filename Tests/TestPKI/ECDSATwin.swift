/// The other signature that anyone can make of an ECDSA signature: (r, n − s) verifies wherever (r, s) does.
public enum ECDSATwin {
    /// The order of P-256.
    private static let order: [UInt8] = [
        0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xBC, 0xE6, 0xFA, 0xAD,
        0xA7, 0x17,
        0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51,
    ]

    /// The twin of an Ecdsa-Sig-Value of P-256.
    @Sendable public static func of(_ signature: [UInt8]) -> [UInt8] {
        let numbers = DER.elements(DER.contents(signature))
        let scalar = Array(DER.contents(numbers[1]).drop { $0 == 0 })
        let padded = [UInt8](repeating: 0, count: order.count - scalar.count) + scalar
        var difference = order
        var borrow = 0
        for index in order.indices.reversed() {
            let digit = Int(order[index]) - Int(padded[index]) - borrow
            difference[index] = UInt8(truncatingIfNeeded: digit)
            borrow = digit < 0 ? 1 : 0
        }
        return DER.sequence(numbers[0], DER.integer(unsigned: difference))
    }
}
