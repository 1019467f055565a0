internal import ArgumentParser
internal import CaregClient
internal import CaregProto
internal import Foundation
internal import TrustAnchors

struct AnchorsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "anchors",
        abstract: "Write the Active CA certificates of an instance, for a broker's TLS.",
        discussion: """
            The daemon keeps the same, always up to date, in its runtime folder under anchors/. A hashed folder is what \
            OpenSSL calls CApath: its files are TRUSTED CERTIFICATEs for clientAuth, so that a CA certificate that is \
            not self-signed is an anchor too.

              caregctl anchors --instance plant-1 --out anchors.pem --hashed-dir /etc/broker/anchors
            """)

    @OptionGroup var global: GlobalOptions
    @Option(help: "The instance.", completion: LiveCompletion.instances) var instance: String
    @Option(
        help: ArgumentHelp("Write the PEM bundle here. (default: standard output)", valueName: "file"),
        completion: .file())
    var out: String?
    @Option(
        help: ArgumentHelp("Bring this hashed folder up to date; it is made where it is missing.", valueName: "dir"),
        completion: .directory)
    var hashedDir: String?

    func run() throws {
        let client = try global.connect()
        let anchors = try Paging().collect { size, token in
            var request = Careg_V1_ListTrustAnchorsRequest()
            request.instanceID = instance
            request.pageSize = size
            request.pageToken = token
            return try client.listTrustAnchors(request)
        }
        let ders = anchors.trustAnchors.map { Array($0.der) }
        if let hashedDir { try HashedFolder(path: hashedDir).bring(to: TrustAnchors.hashedNames(for: ders)) }
        // Asked for a file or a folder, standard output stays quiet, but for JSON.
        if let out { try OutputFile.write(TrustAnchors.bundle(ders), to: out) }
        switch global.output {
        case .json: try StandardOutput.write(ProtobufJSON.encode(anchors) + "\n")
        case .table: if out == nil, hashedDir == nil { try StandardOutput.write(TrustAnchors.bundle(ders)) }
        }
    }
}

/// An OpenSSL hashed folder of TRUSTED CERTIFICATEs.
struct HashedFolder {
    let path: String

    /// Writes the files that are new or other, then removes those that are no anchors any more.
    ///
    /// A hashed name whose file is no TRUSTED CERTIFICATE is somebody else's: then nothing is changed.
    func bring(to files: [(name: String, pem: [UInt8])]) throws {
        if unsafe mkdir(path, 0o755) != 0, errno != EEXIST {
            throw Failure.cannotWrite(path, SystemError.last)
        }
        let present: [String]
        do {
            present = try FileManager.default.contentsOfDirectory(atPath: path).filter(TrustAnchors.isHashedName)
        } catch {
            throw Failure.cannotWrite(path, "it is no folder that can be read")
        }
        let begin = Array("-----BEGIN \(TrustedCertificate.label)-----".utf8)
        var contents: [String: [UInt8]] = [:]
        for name in present {
            let bytes = try InputFile.read("\(path)/\(name)")
            guard bytes.starts(with: begin) else {
                throw Failure.cannotWrite(
                    path, "\(name) in it is no \(TrustedCertificate.label); use a folder of its own")
            }
            contents[name] = bytes
        }
        for file in files where contents[file.name] != file.pem {
            try OutputFile.write(file.pem, to: "\(path)/\(file.name)")
        }
        let wanted = Set(files.map(\.name))
        for name in present where !wanted.contains(name) {
            guard unsafe unlink("\(path)/\(name)") == 0 || errno == ENOENT else {
                throw Failure.cannotWrite("\(path)/\(name)", SystemError.last)
            }
        }
    }
}
