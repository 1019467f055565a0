internal import Foundation

/// The certificates of a file, as DER.
enum CertificateFile {
    /// The DER of every CERTIFICATE block of a PEM text, in its order; a file without any PEM block is taken as DER.
    ///
    /// Text around the blocks, CRLF, a BOM, base64 on one line and blocks with other labels are fine.
    ///
    /// - Parameter path: for the failure's sentence only.
    /// - Throws: ``Failure`` where a PEM text holds no whole CERTIFICATE block.
    static func certificates(in contents: [UInt8], path: String) throws -> [[UInt8]] {
        let text = String(decoding: contents, as: UTF8.self)
        // DER begins with a SEQUENCE's tag, which a PEM file does not (it is the digit 0).
        guard contents.first != 0x30 || !looksLikeDER(contents), text.contains(opening) else {
            if contents.isEmpty { throw Failure.cannotRead(path, "it is empty") }
            return [contents]
        }
        var certificates: [[UInt8]] = []
        var rest = text[...]
        while let begin = rest.range(of: opening + label + dashes) {
            guard let end = rest.range(of: "-----END " + label + dashes, range: begin.upperBound..<rest.endIndex) else {
                throw Failure.cannotRead(path, "a CERTIFICATE block has no end")
            }
            let body = rest[begin.upperBound..<end.lowerBound].filter { !$0.isWhitespace }
            guard let der = Data(base64Encoded: String(body)), !der.isEmpty else {
                throw Failure.cannotRead(path, "a CERTIFICATE block is not base64")
            }
            certificates.append(Array(der))
            rest = rest[end.upperBound...]
        }
        guard !certificates.isEmpty else { throw Failure.cannotRead(path, "it holds no CERTIFICATE block") }
        return certificates
    }

    private static let opening = "-----BEGIN "
    private static let label = "CERTIFICATE"
    private static let dashes = "-----"

    /// A SEQUENCE with a length of at least two bytes, as every certificate has.
    private static func looksLikeDER(_ contents: [UInt8]) -> Bool {
        contents.count > 1 && contents[1] >= 0x80
    }
}
