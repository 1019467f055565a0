internal import CaregClient
internal import CaregProto
internal import Foundation
internal import Testing

@testable internal import caregctl

@Suite struct CertificateFileTests {
    private let der = [UInt8]([0x30, 0x82, 0x01, 0x00] + Array(repeating: 7, count: 256))
    private var base64: String { Data(der).base64EncodedString(options: [.lineLength64Characters]) }
    private var block: String { "-----BEGIN CERTIFICATE-----\n\(base64)\n-----END CERTIFICATE-----\n" }

    private func read(_ text: String) throws -> [[UInt8]] {
        try CertificateFile.certificates(in: Array(text.utf8), path: "f")
    }

    @Test func derIsTakenAsItIs() throws {
        #expect(try CertificateFile.certificates(in: der, path: "f") == [der])
    }

    @Test func severalBlocksWithTextAroundComeInOrder() throws {
        #expect(try read("subject=a\n" + block + "\nmore\n" + block + "end") == [der, der])
    }

    @Test func crlfABomAndAMissingLastNewlineAreFine() throws {
        #expect(try read("\u{feff}" + block.replacing("\n", with: "\r\n")) == [der])
        #expect(try read(String(block.dropLast())) == [der])
    }

    @Test func base64OnOneLineIsFine() throws {
        let oneLine = Data(der).base64EncodedString()
        #expect(try read("-----BEGIN CERTIFICATE-----\n\(oneLine)\n-----END CERTIFICATE-----") == [der])
    }

    @Test func aTextThatBeginsWithTheDigitZeroIsStillPEM() throws {
        #expect(try read("0 s:CN = a\n" + block) == [der])
    }

    @Test func otherBlocksAreLeftOut() throws {
        #expect(try read("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n" + block) == [der])
    }

    @Test(arguments: [
        "", "-----BEGIN CERTIFICATE-----\nAAAA\n", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
        "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    ])
    func aFileWithoutAWholeBlockCannotBeRead(_ text: String) {
        do {
            _ = try read(text)
            Issue.record("read")
        } catch {
            #expect(Failure(error)?.exit == .cannotRead)
        }
    }

    @Test func aMissingFileCannotBeRead() {
        do {
            _ = try InputFile.read("/nonexistent/file")
            Issue.record("read")
        } catch {
            #expect(Failure(error)?.exit == .cannotRead)
        }
    }
}

@Suite struct OutputFileTests {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path

    init() throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    @Test func aFileIsReplacedWholeWithItsMode() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/a"
        try OutputFile.write([1, 2, 3], to: path)
        try OutputFile.write([4], to: path)
        #expect(try InputFile.read(path) == [4])
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o644)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["a"])
    }

    @Test func aFileThatIsNotFinishedLeavesNothing() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        do {
            let file = try OutputFile(path: folder + "/a", mode: 0o600)
            try file.append([1])
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
    }

    @Test func aFileThatIsThereIsNotReplacedUnasked() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/a"
        try OutputFile.write([1], to: path)
        #expect(throws: Failure.self) {
            var file = try OutputFile(path: path, mode: 0o600, partial: path + ".partial")
            try file.append([2])
            try file.finish(replacing: false)
        }
        #expect(try InputFile.read(path) == [1])
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["a"])
    }

    @Test func twoWritersOfOneFileDoNotMix() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/a"
        var first = try OutputFile(path: path, mode: 0o600, partial: path + ".partial")
        #expect(throws: Failure.self) { _ = try OutputFile(path: path, mode: 0o600, partial: path + ".partial") }
        try first.append([1])
        try first.finish(replacing: false)
        #expect(try InputFile.read(path) == [1])
    }

    @Test func whatAnEarlierRunLeftIsWrittenAnew() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/a"
        try Data([9, 9, 9]).write(to: URL(fileURLWithPath: path + ".partial"))
        var file = try OutputFile(path: path, mode: 0o600, partial: path + ".partial")
        try file.append([1])
        try file.finish(replacing: false)
        #expect(try InputFile.read(path) == [1])
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
    }

    @Test func aDeviceIsWrittenToAndStays() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/null"
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: "/dev/null")
        try OutputFile.write([1], to: path)
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: path) == "/dev/null")
    }
}

@Suite struct BackupCopyTests {
    private func part(_ data: [UInt8], offset: UInt64, total: UInt64, sha256: String = "") -> Careg_V1_BackupResponse {
        var part = Careg_V1_BackupResponse()
        part.data = Data(data)
        part.offset = offset
        part.totalBytes = total
        part.sha256 = sha256
        return part
    }

    private let ofABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

    @Test func aWholeCopyIsGood() throws {
        var copy = BackupCopy()
        try copy.take(part([0x61, 0x62], offset: 0, total: 3))
        try copy.take(part([0x63], offset: 2, total: 3, sha256: ofABC))
        try copy.checkWhole()
    }

    @Test func aCopyThatEndsEarlyIsNot() throws {
        var copy = BackupCopy()
        try copy.take(part([0x61, 0x62], offset: 0, total: 3))
        #expect(throws: CaregConnectionError.self) { try copy.checkWhole() }
    }

    @Test func aCopyWithOtherBytesIsNot() throws {
        var copy = BackupCopy()
        try copy.take(part([0x61, 0x62, 0x64], offset: 0, total: 3, sha256: ofABC))
        #expect(throws: CaregConnectionError.self) { try copy.checkWhole() }
    }

    @Test func aPartThatIsMissingIsNoticed() {
        var copy = BackupCopy()
        #expect(throws: CaregConnectionError.self) { try copy.take(part([0x62], offset: 1, total: 3)) }
    }

    @Test func theDigestDoesNotDependOnThePieces() {
        let message = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        var whole = SHA256()
        whole.update(message)
        for step in [1, 55, 56, 63, 64, 65, 127] {
            var pieces = SHA256()
            for start in stride(from: 0, to: message.count, by: step) {
                pieces.update(Array(message[start..<min(message.count, start + step)]))
            }
            #expect(pieces.hexDigits == whole.hexDigits)
        }
        #expect(whole.hexDigits == "89f4ff56a25dd1db06a4ce6033603775d705fb96f30f8693733fef602a1ca532")
        #expect(SHA256().hexDigits == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    }
}
