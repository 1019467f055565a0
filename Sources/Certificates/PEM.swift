/// PEM (RFC 7468), as people upload it.
public enum PEM {
    /// Bytes of one certificate.
    public static let maximumCertificateBytes = 65_536
    /// Bytes of a PEM text: base64 of the largest certificate, and as much text around it.
    public static let maximumTextBytes = 262_144

    /// The PEM text of a certificate, in lines of 64 characters.
    public static func encode(_ der: [UInt8]) -> [UInt8] {
        var text = Array("-----BEGIN CERTIFICATE-----\n".utf8)
        text.reserveCapacity(der.count * 4 / 3 + der.count / 48 + 64)
        for start in stride(from: 0, to: der.count, by: 48) {
            Base64.encode(der[start..<min(start + 48, der.count)], to: &text)
            text.append(UInt8(ascii: "\n"))
        }
        text.append(contentsOf: "-----END CERTIFICATE-----\n".utf8)
        return text
    }

    /// Why an upload holds no certificate that could be looked at.
    public enum UploadError: Error, Hashable, Sendable {
        /// The file also holds a private key, or nothing else.
        case privateKey
        /// A certificate of more than ``maximumCertificateBytes``.
        case tooLarge
        /// What is wrong, as the end of a sentence.
        case malformed(String)
    }

    private static let begin = Array("-----BEGIN ".utf8)
    private static let end = Array("-----END ".utf8)
    private static let dashes = Array("-----".utf8)
    private static let certificateLabel = Array("CERTIFICATE".utf8)
    private static let privateKey = Array("PRIVATE KEY".utf8)

    /// The DER of the one certificate in an upload, which is PEM or DER itself.
    ///
    /// Text before and after the block, a BOM, CRLF, a missing last newline and base64 on one line are fine.
    public static func certificate(in upload: [UInt8]) throws(UploadError) -> [UInt8] {
        let all = try certificates(in: upload)
        guard all.count == 1, let first = all.first else {
            throw .malformed("it holds \(all.count) certificates where exactly one belongs")
        }
        return first
    }

    /// The DER of each certificate in an upload: of a PEM text's blocks in their order, or the whole upload as DER.
    public static func certificates(in upload: [UInt8]) throws(UploadError) -> [[UInt8]] {
        // DER begins with the tag of a SEQUENCE, which is the digit 0 in a text.
        let looksLikeDER = upload.first == DERTag.sequence && (upload.dropFirst().first.map { $0 >= 0x80 } ?? false)
        if holdsPrivateKey(upload, isDER: looksLikeDER) { throw .privateKey }
        guard !looksLikeDER, var position = find(begin, in: upload, from: 0) else {
            guard upload.count <= maximumCertificateBytes else { throw .tooLarge }
            if upload.isEmpty { throw .malformed("it is empty") }
            guard upload.first == DERTag.sequence else {
                throw .malformed("it holds neither a PEM block “CERTIFICATE” nor DER")
            }
            return [upload]
        }
        guard upload.count <= maximumTextBytes else { throw .tooLarge }
        var certificates: [[UInt8]] = []
        while let start = find(begin, in: upload, from: position) {
            let (der, next) = try block(upload, at: start)
            certificates.append(der)
            position = next
        }
        return certificates
    }

    private static func block(
        _ upload: [UInt8], at start: Int
    ) throws(UploadError) -> (der: [UInt8], next: Int) {
        let labelStart = start + begin.count
        guard let labelEnd = find(dashes, in: upload, from: labelStart) else {
            throw .malformed("a PEM block's first line has no end")
        }
        guard upload[labelStart..<labelEnd].elementsEqual(certificateLabel) else {
            throw .malformed("it holds a PEM block that is no “CERTIFICATE”")
        }
        let bodyStart = labelEnd + dashes.count
        guard let bodyEnd = find(end, in: upload, from: bodyStart) else {
            throw .malformed("the PEM block has no last line")
        }
        let last = end.count + certificateLabel.count + dashes.count
        guard upload[bodyEnd...].prefix(last).elementsEqual(end + certificateLabel + dashes) else {
            throw .malformed("the PEM block's last line does not fit its first one")
        }
        guard let der = Base64.decode(upload[bodyStart..<bodyEnd]) else {
            throw .malformed("the PEM block is not base64")
        }
        if holdsPrivateKey(der, isDER: true) { throw .privateKey }
        guard der.count <= maximumCertificateBytes else { throw .tooLarge }
        return (der, bodyEnd + last)
    }

    /// Whether there is a private key anywhere: in a PEM block of whatever writing, or as DER, alone, behind something else
    /// or in the midst of text.
    private static func holdsPrivateKey(_ upload: [UInt8], isDER: Bool) -> Bool {
        let bytes = upload.span
        if startsPrivateKey(bytes, at: 0) { return true }
        if isDER {
            // A certificate has bytes in it that would pass for a key's beginning: only what stands behind it is looked at.
            var reader = DERReader(0..<bytes.count, .certificate)
            guard (try? reader.next(bytes)) != nil else { return false }
            return (reader.position..<bytes.count).contains { startsPrivateKey(bytes, at: $0) }
        }
        if find(puttyKey, in: upload, from: 0) != nil { return true }
        for position in upload.indices {
            switch upload[position] {
            case DERTag.sequence: if startsPrivateKey(bytes, at: position) { return true }
            case begin[5]: if namesPrivateKey(upload, at: position) { return true }
            default: break
            }
        }
        return false
    }

    private static let puttyKey = Array("PuTTY-User-Key-File".utf8)
    private static let beginWord = Array("BEGIN ".utf8)

    /// Whether a line begins a block that is called a private key: `-----BEGIN RSA PRIVATE KEY-----`, and what looks like it.
    private static func namesPrivateKey(_ upload: [UInt8], at position: Int) -> Bool {
        guard upload[position...].starts(with: beginWord) else { return false }
        // A label is short, and ends with its line.
        let label = upload[position...].prefix(80).prefix { $0 != 0x0a && $0 != 0x0d }
        return find(privateKey, in: Array(label), from: 0) != nil
    }

    /// Whether the DER of a private key begins here: PKCS #8, PKCS #1, SEC 1 or PKCS #12, all of which begin with a version
    /// where a certificate begins with a SEQUENCE, or PKCS #8 under a password, an algorithm with an OCTET STRING behind it.
    private static func startsPrivateKey(_ bytes: Span<UInt8>, at position: Int) -> Bool {
        var file = DERReader(position..<bytes.count, .certificate)
        guard let outer = try? file.next(bytes, tag: DERTag.sequence) else { return false }
        var inner = file.inside(outer)
        if inner.peek(bytes) == DERTag.sequence {
            guard let algorithm = try? inner.next(bytes), let value = try? inner.next(bytes, tag: DERTag.octetString)
            else { return false }
            var identifier = inner.inside(algorithm)
            return inner.isAtEnd && !value.content.isEmpty
                && (try? identifier.next(bytes, tag: DERTag.objectIdentifier)) != nil
        }
        guard let version = try? inner.smallInteger(bytes), version <= 3, let tag = inner.peek(bytes) else {
            return false
        }
        return [DERTag.sequence, DERTag.integer, DERTag.octetString].contains(tag)
    }

    private static func find(_ wanted: [UInt8], in text: [UInt8], from start: Int) -> Int? {
        guard let first = wanted.first, text.count >= wanted.count else { return nil }
        var position = start
        while position <= text.count - wanted.count {
            if text[position] == first, text[position..<position + wanted.count].elementsEqual(wanted) {
                return position
            }
            position += 1
        }
        return nil
    }
}

/// Base64 (RFC 4648 section 4).
enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    private static let padding = UInt8(ascii: "=")

    private static let values: [UInt8] = {
        var values = [UInt8](repeating: 0xff, count: 256)
        for (value, character) in alphabet.enumerated() { values[Int(character)] = UInt8(value) }
        return values
    }()

    static func encode(_ bytes: ArraySlice<UInt8>, to text: inout [UInt8]) {
        var start = bytes.startIndex
        while start < bytes.endIndex {
            let group = bytes[start..<min(start + 3, bytes.endIndex)]
            var bits = group.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            bits <<= UInt32(8 * (3 - group.count))
            for position in 0..<4 {
                text.append(
                    position <= group.count ? alphabet[Int(bits >> UInt32(18 - 6 * position) & 0x3f)] : padding)
            }
            start += 3
        }
    }

    /// Nil where the text is not base64, blanks and line ends between the characters left out.
    static func decode(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(text.count * 3 / 4)
        var bits: UInt32 = 0
        var count = 0
        var pads = 0
        for character in text {
            if [0x20, 0x09, 0x0a, 0x0d].contains(character) { continue }
            if character == padding {
                pads += 1
                continue
            }
            let value = values[Int(character)]
            guard value != 0xff, pads == 0 else { return nil }
            bits = bits << 6 | UInt32(value)
            count += 1
            if count.isMultiple(of: 4) {
                for shift in [16, 8, 0] { decoded.append(UInt8(truncatingIfNeeded: bits >> UInt32(shift))) }
                bits = 0
            }
        }
        switch (count % 4, pads) {
        case (0, 0): return decoded
        case (2, 2) where bits & 0xf == 0:
            decoded.append(UInt8(truncatingIfNeeded: bits >> 4))
            return decoded
        case (3, 1) where bits & 0x3 == 0:
            decoded.append(UInt8(truncatingIfNeeded: bits >> 10))
            decoded.append(UInt8(truncatingIfNeeded: bits >> 2))
            return decoded
        default: return nil
        }
    }
}
