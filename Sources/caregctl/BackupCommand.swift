internal import ArgumentParser
internal import CaregClient
internal import CaregProto
internal import Foundation

struct BackupCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Write a consistent copy of the registry while the daemon runs.",
        discussion: """
            The copy grows in FILE.partial and takes its name when it is whole, checked and on disk. \
            caregd restore FILE puts it back.

              caregctl backup /var/backups/registry.mdb --force
            """)

    @OptionGroup var global: GlobalOptions
    @Flag(help: "Replace FILE where it exists.") var force = false
    @Argument(help: ArgumentHelp("Readable for its owner only: mode 0600.", valueName: "file"), completion: .file())
    var file: String

    func run() throws {
        // Before the copy is made: what is refused at its end has cost time.
        if !force, unsafe access(file, F_OK) == 0 { throw Failure.cannotWrite(file, "it exists; --force replaces it") }
        let client = try global.connect()
        var output = try OutputFile(path: file, mode: 0o600, partial: file + ".partial")
        var copy = BackupCopy()
        var last = Careg_V1_BackupResponse()
        var progress = ProgressLine()
        defer { progress.clear() }
        try client.backup(Careg_V1_BackupRequest()) { part in
            try copy.take(part)
            try output.append(Array(part.data))
            last = part
            last.data = Data()
            progress.show("backup: \(copy.progress)")
            return true
        }
        progress.clear()
        try copy.checkWhole()
        try output.finish(replacing: force)
        try global.print(last) {
            Listing.lines([
                ("file", Cell(file)),
                ("size", Cell(Readable.bytes(last.totalBytes))),
                ("sha256", Cell(last.sha256)),
                ("revision", Cell(last.revision)),
            ])
        }
    }
}

/// Checks that the parts of a copy come in order, and make the whole.
struct BackupCopy {
    private var digest = SHA256()
    private var byteCount: UInt64 = 0
    private var totalBytes: UInt64 = 0
    private var expected = ""

    /// `12.0 MiB of 48.0 MiB (25 %)`.
    var progress: String {
        let percent = totalBytes > 0 ? Int(Double(byteCount) / Double(totalBytes) * 100) : 0
        return "\(Readable.bytes(byteCount)) of \(Readable.bytes(totalBytes)) (\(percent) %)"
    }

    mutating func take(_ part: Careg_V1_BackupResponse) throws {
        guard part.offset == byteCount else {
            throw CaregConnectionError.protocolViolation("a part of the copy is missing at byte \(byteCount)")
        }
        digest.update(Array(part.data))
        byteCount += UInt64(part.data.count)
        totalBytes = part.totalBytes
        if !part.sha256.isEmpty { expected = part.sha256 }
    }

    /// - Throws: where bytes are missing or other than the daemon sent them.
    func checkWhole() throws {
        guard !expected.isEmpty, byteCount == totalBytes else {
            throw CaregConnectionError.connectionLost("the copy ended at byte \(byteCount) of \(totalBytes)")
        }
        guard digest.hexDigits == expected.lowercased() else {
            throw CaregConnectionError.protocolViolation("the copy's SHA-256 is not what the daemon says")
        }
    }
}
