import Certificates
import Foundation
import TestPKI
import Testing

/// What people upload: PEM with whatever around it, or DER.
@Suite struct PEMTests {
    private static let der = Entity.root().der
    private static let pem = String(decoding: PEM.encode(der), as: UTF8.self)
    private static let base64 = Data(der).base64EncodedString()

    private static func block(_ label: String, _ text: String) -> String {
        "-----BEGIN \(label)-----\n\(text)\n-----END \(label)-----\n"
    }

    @Test func aCertificateIsWrittenInLinesOf64Characters() {
        let lines = Self.pem.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.first == "-----BEGIN CERTIFICATE-----")
        #expect(lines.suffix(2) == ["-----END CERTIFICATE-----", ""])
        #expect(lines.dropFirst().dropLast(2).allSatisfy { $0.count <= 64 })
        #expect(lines.dropFirst().dropLast(3).allSatisfy { $0.count == 64 })
    }

    static let good: [(String, [UInt8])] = [
        ("PEM", Array(pem.utf8)),
        ("DER", der),
        ("a missing last newline", Array(pem.utf8.dropLast())),
        ("CRLF", Array(pem.replacingOccurrences(of: "\n", with: "\r\n").utf8)),
        ("a BOM", [0xEF, 0xBB, 0xBF] + Array(pem.utf8)),
        ("text before", Array(("Certificate:\n    Data: -- \n" + pem).utf8)),
        ("text after", Array((pem + "\nthis was it\n").utf8)),
        ("text in front on no line of its own", Array(("subject=CN = x\n" + pem).utf8)),
        ("base64 on one line", Array(block("CERTIFICATE", base64).utf8)),
        (
            "base64 in lines of 76",
            Array(block("CERTIFICATE", Data(der).base64EncodedString(options: .lineLength76Characters)).utf8)
        ),
        ("blanks at the ends of lines", Array(pem.replacingOccurrences(of: "\n", with: "  \n").utf8)),
        ("bytes that are no UTF-8 before", [0xFF, 0xFE, 0x0A] + Array(pem.utf8)),
    ]

    @Test(arguments: good) func oneCertificateIsRead(name: String, upload: [UInt8]) throws {
        #expect(try PEM.certificate(in: upload) == Self.der, "\(name)")
    }

    static let malformed: [(String, [UInt8])] = [
        ("nothing", []),
        ("text", Array("hello".utf8)),
        ("two blocks", Array((pem + pem).utf8)),
        ("another label", Array(block("CERTIFICATE REQUEST", base64).utf8)),
        ("TRUSTED CERTIFICATE", Array(block("TRUSTED CERTIFICATE", base64).utf8)),
        ("X509 CERTIFICATE", Array(block("X509 CERTIFICATE", base64).utf8)),
        ("a label in lower case", Array(block("certificate", base64).utf8)),
        ("no end", Array(pem.replacingOccurrences(of: "-----END CERTIFICATE-----", with: "").utf8)),
        (
            "another end",
            Array(pem.replacingOccurrences(of: "-----END CERTIFICATE", with: "-----END CERTIFICATE REQUEST").utf8)
        ),
        ("a character that base64 does not have", Array(block("CERTIFICATE", "!" + base64).utf8)),
        ("base64 with padding in the middle", Array(block("CERTIFICATE", "MA==" + base64).utf8)),
        ("a first line without an end", Array("-----BEGIN CERTIFICATE".utf8)),
        ("a first line and no more", Array("-----BEGIN CERTIFICATE-----".utf8)),
        ("an empty block", Array(block("CERTIFICATE", "").utf8)),
        ("a certificate and a block of another label", Array((pem + block("X509 CRL", base64)).utf8)),
    ]

    @Test(arguments: malformed) func whatIsNotOneCertificateIsRefused(name: String, upload: [UInt8]) {
        do {
            let der = try PEM.certificate(in: upload)
            // Its contents are read by the next one: what is no DER at all is refused there.
            #expect(throws: CertificateError.self, "\(name)") { try Certificate(der: der) }
        } catch {
            guard case .malformed = error else { Issue.record("\(name): \(error)"); return }
        }
    }

    static let privateKeys: [(String, [UInt8])] = [
        ("behind the certificate", Array((pem + block("PRIVATE KEY", "MC4CAQA=")).utf8)),
        ("in front of the certificate", Array((block("RSA PRIVATE KEY", "MC4CAQA=") + pem).utf8)),
        ("alone", Array(block("EC PRIVATE KEY", "MC4CAQA=").utf8)),
        ("encrypted", Array((pem + block("ENCRYPTED PRIVATE KEY", "MC4CAQA=")).utf8)),
        (
            "with CRLF",
            Array((pem + block("PRIVATE KEY", "MC4CAQA=")).replacingOccurrences(of: "\n", with: "\r\n").utf8)
        ),
        ("of OpenSSH", Array((pem + block("OPENSSH PRIVATE KEY", "MC4CAQA=")).utf8)),
        ("of SSH2", Array((pem + "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nAAAA\n").utf8)),
        ("of PuTTY", Array((pem + "PuTTY-User-Key-File-3: ssh-rsa\n").utf8)),
        ("as DER behind the block", Array(pem.utf8) + pkcs8),
        ("as DER in front of the block", sec1 + Array(pem.utf8)),
        ("as DER in the midst of text", Array((pem + "Key: ").utf8) + encryptedPKCS8 + Array("\n".utf8)),
        ("in a block CERTIFICATE", PEM.encode(pkcs8)),
        ("behind the certificate in its block", PEM.encode(der + sec1)),
    ]

    private static let encryptedPKCS8 = DER.sequence(
        DER.sequence(DER.objectIdentifier("1.2.840.113549.1.5.13"), DER.sequence()),
        DER.octetString([UInt8](repeating: 9, count: 64)))

    private static let pkcs8 = DER.sequence(
        DER.integer(0), DER.sequence(DER.objectIdentifier(OID.ecPublicKey), DER.objectIdentifier(OID.prime256v1)),
        DER.octetString(sec1))
    private static let sec1 = DER.sequence(DER.integer(1), DER.octetString([UInt8](repeating: 7, count: 32)))

    static let privateKeysInDER: [(String, [UInt8])] = [
        ("PKCS #8", pkcs8),
        ("SEC 1", sec1),
        ("PKCS #8 under a password", encryptedPKCS8),
        ("behind a certificate", der + pkcs8),
        ("behind a certificate and a line end", der + [0x0a] + sec1),
        ("PKCS #1", DER.sequence(of: (0..<9).map { DER.integer($0) })),
        ("PKCS #12", DER.sequence(DER.integer(3), DER.sequence(DER.objectIdentifier("1.2.840.113549.1.7.1")))),
        (
            "PKCS #8 of a long key",
            DER.sequence(DER.contents(pkcs8), DER.explicit(0, [UInt8](repeating: 0, count: 300)))
        ),
    ]

    @Test(arguments: privateKeysInDER) func aPrivateKeyInDERIsNoticed(name: String, upload: [UInt8]) {
        do {
            _ = try PEM.certificate(in: upload)
            Issue.record("\(name): was read")
        } catch {
            guard case .privateKey = error else { Issue.record("\(name): \(error)"); return }
        }
    }

    @Test func textThatSpeaksOfKeysIsNone() throws {
        let text = "# The PRIVATE KEY stays at home. BEGIN with the certificate:\n0123456789\n"
        #expect(try PEM.certificate(in: Array((text + Self.pem + text).utf8)) == Self.der)
        // The serial number of version 1 is where a key has its version.
        let small = Entity.root("Small", key: .p256(3)) {
            $0.makeVersion1()
            $0.serial = [1]
        }
        #expect(try PEM.certificate(in: small.der) == small.der)
        #expect(try PEM.certificate(in: PEM.encode(small.der)) == small.der)
    }

    @Test(arguments: privateKeys) func aPrivateKeyIsNoticed(name: String, upload: [UInt8]) {
        do {
            _ = try PEM.certificate(in: upload)
            Issue.record("\(name): was read")
        } catch {
            guard case .privateKey = error else { Issue.record("\(name): \(error)"); return }
        }
    }

    @Test func aCertificateHas64KiBAtMost() {
        var upload = DER.element(0x30, [UInt8](repeating: 0, count: 65_536 - 4))
        #expect(upload.count == 65_536)
        #expect(throws: Never.self) { try PEM.certificate(in: upload) }
        #expect(throws: Never.self) { try PEM.certificate(in: PEM.encode(upload)) }
        upload = DER.element(0x30, [UInt8](repeating: 0, count: 65_537 - 4))
        for larger in [upload, PEM.encode(upload)] {
            do {
                _ = try PEM.certificate(in: larger)
                Issue.record("65,537 bytes were read")
            } catch {
                guard case .tooLarge = error else { Issue.record("\(error)"); return }
            }
        }
    }
}
