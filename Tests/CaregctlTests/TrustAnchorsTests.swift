internal import Foundation
internal import Testing
internal import TrustAnchors

@testable internal import caregctl

/// Against the real openssl.
@Suite struct TrustAnchorsTests {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path

    init() throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    /// Runs openssl in the folder; its standard output and exit code.
    @discardableResult
    private func openssl(_ arguments: String...) throws -> (output: String, status: Int32) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (String(decoding: output, as: UTF8.self), process.terminationStatus)
    }

    private func makeKey(_ name: String) throws {
        try openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", name + ".key")
    }

    private func selfSigned(_ name: String, subject: String, _ more: String...) throws -> [UInt8] {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.arguments =
            [
                "req", "-new", "-x509", "-key", "ca.key", "-days", "30", "-subj", subject, "-out", name, "-outform",
                "DER",
            ]
            + more
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        return try InputFile.read(folder + "/" + name)
    }

    private func expectedHash(_ name: String) throws -> String {
        try openssl("x509", "-inform", "DER", "-in", name, "-noout", "-subject_hash").output
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    @Test func theNameHashIsOpenssls() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try makeKey("ca")
        let subjects = [
            "/CN=a", "/", "/C=DE/O=Some  Org /CN= Mixed   CASE\tTab ", "/CN=Grüße ÄÖÜ 株式会社",
            "/O=b/CN=zz+OU=aa+emailAddress=A@Example.ORG", "/DC=Example/DC=COM/CN=\\/slash", "/CN=    ",
            "/CN=" + String(repeating: "Long Name ", count: 6), "/serialNumber=12 34/title=x",
        ]
        for (number, subject) in subjects.enumerated() {
            let name = "\(number).der"
            let der = try selfSigned(name, subject: subject, "-utf8")
            let hash = try #require(TrustAnchors.subjectNameHash(der: der))
            #expect(try String(format: "%08x", hash) == expectedHash(name), "\(subject)")
        }
    }

    /// Every string type that a name may hold, put there by hand: openssl's req only writes some of them.
    @Test func everyStringTypeHashesAsOpensslDoes() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try makeKey("ca")
        let der = try selfSigned("plain.der", subject: "/CN=ABCDEFGH", "-utf8")
        let placed = Array("ABCDEFGH".utf8)
        // The issuer comes first; the second time is the subject's.
        let subject = try #require(
            der.indices.last { der[$0...].starts(with: placed) })
        let values: [(tag: UInt8, bytes: [UInt8])] = [
            (0x0c, Array("Ab  cD e".utf8)), (0x13, Array(" Printed".utf8)),
            (0x14, [0xe9, 0x41, 0x20, 0x20, 0xff, 1, 2, 3]),
            (0x16, Array("IA5@  x ".utf8)), (0x1e, [0, 0x41, 0x26, 0x03, 0, 0x20, 0, 0x20]),
            (0x1c, [0, 0, 0, 0x41, 0, 1, 0xf6, 0]), (0x12, Array("1 2 3  4".utf8)), (0x03, [0, 1, 2, 3, 4, 5, 6, 7]),
            (0x30, Array("\u{c}\u{6}AB  cD".utf8)),
        ]
        for value in values {
            var other = der
            other[subject - 2] = value.tag
            other.replaceSubrange(subject..<subject + 8, with: value.bytes)
            try OutputFile.write(other, to: folder + "/other.der")
            let expected = try expectedHash("other.der")
            #expect(!expected.isEmpty, "tag \(value.tag)")
            let hash = try #require(TrustAnchors.subjectNameHash(der: other))
            #expect(String(format: "%08x", hash) == expected, "tag \(value.tag)")
        }
    }

    @Test func aSubjectWithInvalidTextHasNoHash() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try makeKey("ca")
        var der = try selfSigned("plain.der", subject: "/CN=ABCDEFGH", "-utf8")
        let subject = try #require(der.indices.last { der[$0...].starts(with: Array("ABCDEFGH".utf8)) })
        der[subject - 2] = 0x0c
        der[subject] = 0xff
        #expect(TrustAnchors.subjectNameHash(der: der) == nil)
        #expect(TrustAnchors.hashedNames(for: [der]).isEmpty)
    }

    @Test func bytesThatAreNoCertificateHaveNoHash() throws {
        let der: [UInt8] = [0x30, 0x82, 0xff, 0xff, 0x30, 0x03]
        for count in 0...der.count { #expect(TrustAnchors.subjectNameHash(der: Array(der.prefix(count))) == nil) }
    }

    @Test func opensslTakesAnIntermediateAsAnAnchorFromAHashedFolder() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try makeKey("ca")
        try makeKey("sub")
        try makeKey("device")
        let root = try selfSigned("root.der", subject: "/CN=Same")
        try openssl("x509", "-inform", "DER", "-in", "root.der", "-out", "root.pem")
        try Data("basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\n".utf8).write(
            to: URL(fileURLWithPath: folder + "/ca.ext"))
        try Data("authorityKeyIdentifier=keyid\n".utf8).write(to: URL(fileURLWithPath: folder + "/device.ext"))
        // The same name as the root: the folder needs .0 and .1.
        try openssl("req", "-new", "-key", "sub.key", "-subj", "/CN=Same", "-out", "sub.csr")
        try openssl(
            "x509", "-req", "-in", "sub.csr", "-CA", "root.pem", "-CAkey", "ca.key", "-set_serial", "2", "-days", "9",
            "-extfile", "ca.ext", "-out", "sub.pem")
        try openssl("x509", "-in", "sub.pem", "-outform", "DER", "-out", "sub.der")
        try openssl("req", "-new", "-key", "device.key", "-subj", "/CN=device", "-out", "device.csr")
        try openssl(
            "x509", "-req", "-in", "device.csr", "-CA", "sub.pem", "-CAkey", "sub.key", "-set_serial", "3", "-days",
            "9", "-extfile", "device.ext", "-out", "device.pem")
        let sub = try InputFile.read(folder + "/sub.der")

        let hashed = HashedFolder(path: folder + "/anchors")
        try hashed.bring(to: TrustAnchors.hashedNames(for: [sub]))
        let alone = try openssl("verify", "-no-CAfile", "-CApath", "anchors", "-purpose", "sslclient", "device.pem")
        #expect(alone.status == 0)

        try hashed.bring(to: TrustAnchors.hashedNames(for: [root, sub, root]))
        let names = try FileManager.default.contentsOfDirectory(atPath: hashed.path).sorted()
        #expect(names.count == 2)
        #expect(names.map { $0.suffix(2) } == [".0", ".1"])
        let both = try openssl("verify", "-no-CAfile", "-CApath", "anchors", "-purpose", "sslclient", "device.pem")
        #expect(both.status == 0)

        try hashed.bring(to: [])
        let none = try openssl("verify", "-no-CAfile", "-CApath", "anchors", "-purpose", "sslclient", "device.pem")
        #expect(none.status != 0)
    }

    @Test func theBundleIsWhatOpensslWrites() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try makeKey("ca")
        for subject in ["/CN=a", "/CN=ab", "/CN=abc"] {
            let der = try selfSigned("a.der", subject: subject)
            let pem = try openssl("x509", "-inform", "DER", "-in", "a.der").output
            #expect(String(decoding: TrustAnchors.bundle([der, der]), as: UTF8.self) == pem + pem)
            #expect(try CertificateFile.certificates(in: TrustAnchors.bundle([der]), path: "") == [der])
        }
        #expect(TrustAnchors.bundle([]).isEmpty)
    }

    @Test func aFolderWithSomebodyElsesFilesIsLeftAlone() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let theirs = folder + "/0123abcd.0"
        try OutputFile.write(Array("-----BEGIN CERTIFICATE-----\n".utf8), to: theirs)
        #expect(throws: Failure.self) { try HashedFolder(path: folder).bring(to: []) }
        #expect(FileManager.default.fileExists(atPath: theirs))
    }

    @Test func onlyHashesAndNumbersAreHashedNames() {
        #expect(TrustAnchors.isHashedName("0123abcd.0"))
        #expect(TrustAnchors.isHashedName("0123abcd.12"))
        for name in ["0123abcd.r0", "0123ABCD.0", "123abcd.0", "0123abcd.", "0123abcd", "a.0123abcd.0", "0123abcd.0~"] {
            #expect(!TrustAnchors.isHashedName(name))
        }
    }
}
