/// Whether what stands beside a device certificate can be a certificate at all.
///
/// The map knows the device by its digest, and nothing of the rest: what is not within the limits, or not DER in the shape
/// of a certificate, is for the daemon to refuse.
@safe struct ChainShape {
    private static let sequence: UInt8 = 0x30
    private static let bitString: UInt8 = 0x03
    private static let constructed: UInt8 = 0x20
    private static let longTag: UInt8 = 0x1f
    private static let deepest = 12

    /// The bytes of one certificate.
    private let bytes: UnsafeRawBufferPointer

    static func isPlain(_ question: Question) -> Bool {
        guard question.count > 1 else { return true }
        guard question.count <= Limits.plainChain else { return false }
        var total = 0
        for index in 0..<question.count {
            let length = unsafe question.lengths[index]
            guard length <= Limits.plainCertificateBytes else { return false }
            total &+= length
            guard index > 0 else { continue }
            let bytes = unsafe UnsafeRawBufferPointer(start: question.chain[index], count: length)
            guard unsafe ChainShape(bytes: bytes).isCertificate else { return false }
        }
        return total <= Limits.plainChainBytes
    }

    private init(bytes: UnsafeRawBufferPointer) {
        unsafe self.bytes = unsafe bytes
    }

    /// Certificate ::= SEQUENCE { SEQUENCE, SEQUENCE, BIT STRING } (RFC 5280, 4.1), and nothing behind it.
    private var isCertificate: Bool {
        guard let whole = element(at: 0, end: unsafe bytes.count), whole.tag == Self.sequence,
            unsafe whole.end == bytes.count
        else { return false }
        var at = whole.content
        for index in 0..<3 {
            let tag = index < 2 ? Self.sequence : Self.bitString
            guard let part = element(at: at, end: whole.end), part.tag == tag else { return false }
            guard isOrdered(part, depth: 1) else { return false }
            at = part.end
        }
        return at == whole.end
    }

    private struct Element {
        var tag: UInt8
        var content: Int
        var end: Int
    }

    /// One element with a definite length in as few bytes as it takes (X.690, 10.1), within its parent.
    private func element(at start: Int, end: Int) -> Element? {
        guard end &- start >= 2 else { return nil }
        let tag = unsafe bytes[start]
        guard tag & Self.longTag != Self.longTag else { return nil }
        var length = unsafe Int(bytes[start &+ 1])
        var content = start &+ 2
        if length >= 0x80 {
            let count = length & 0x7f
            guard count > 0, count <= 3, end &- content >= count, unsafe bytes[content] != 0 else { return nil }
            length = 0
            for _ in 0..<count {
                length = unsafe length &<< 8 | Int(bytes[content])
                content &+= 1
            }
            guard length >= 0x80 else { return nil }
        }
        guard length <= end &- content else { return nil }
        return Element(tag: tag, content: content, end: content &+ length)
    }

    private func isOrdered(_ element: Element, depth: Int) -> Bool {
        guard element.tag & Self.constructed != 0 else { return true }
        guard depth < Self.deepest else { return false }
        var at = element.content
        while at < element.end {
            guard let part = self.element(at: at, end: element.end), isOrdered(part, depth: depth &+ 1) else {
                return false
            }
            at = part.end
        }
        return true
    }
}
