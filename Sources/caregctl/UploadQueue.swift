internal import Foundation

/// A certificate on its way to the daemon.
struct Upload: Equatable {
    /// Where it is from, for people: a file, or a place in a stream.
    var source: String
    /// Its bytes, or why they cannot be had.
    var contents: Result<[UInt8], Failure>
}

/// Certificates from files, folders and a stream of PEM, read one after the other.
struct UploadQueue {
    private var files: ArraySlice<(path: String, mayBePassedOver: Bool)>
    private var stream: UploadStream?
    /// How many there are; nil where a stream tells only at its end.
    let count: Int?
    /// Files of folders that hold other PEM blocks and no certificate: keys, requests.
    private(set) var passedOver = 0
    /// What to say where there was none.
    let emptiness: Failure

    /// - Throws: ``Failure`` where a folder or the stream cannot be read.
    init(files: [String], folder: String?, stream: String?) throws {
        var all = files.map { (path: $0, mayBePassedOver: false) }
        if let folder {
            all += try CertificateFolder.files(in: folder).map { (path: "\(folder)/\($0)", mayBePassedOver: true) }
        }
        self.files = all[...]
        self.stream = try stream.map(UploadStream.init)
        count = stream == nil ? all.count : nil
        emptiness = .cannotRead(stream ?? folder ?? "nothing", "there is no certificate in it")
    }

    enum Next {
        case upload(Upload)
        /// A stream has not brought it yet.
        case notYet
        case end
    }

    /// - Parameter mayWait: for what a stream brings.
    mutating func next(mayWait: Bool) throws -> Next {
        while let file = files.popFirst() {
            do {
                let contents = try InputFile.read(file.path)
                if file.mayBePassedOver, CertificateFolder.holdsOtherBlocksOnly(contents) {
                    passedOver += 1
                    continue
                }
                return .upload(Upload(source: file.path, contents: .success(contents)))
            } catch let failure as Failure {
                return .upload(Upload(source: file.path, contents: .failure(failure)))
            }
        }
        return try stream?.next(mayWait: mayWait) ?? .end
    }
}

/// The certificates of a folder.
enum CertificateFolder {
    private static let extensions: Set<String> = ["pem", "crt", "cer", "der"]

    /// The names of its certificate files, in order: `.pem`, `.crt`, `.cer` and `.der`, whatever their case. Hidden files
    /// and other folders are left out.
    static func files(in folder: String) throws -> [String] {
        try names(in: folder).filter { name in
            guard extensions.contains((name as NSString).pathExtension.lowercased()) else { return false }
            return isFile("\(folder)/\(name)")
        }
    }

    /// The names of the folders in it, in order.
    static func folders(in folder: String) throws -> [String] {
        try names(in: folder).filter { kind(of: "\(folder)/\($0)") == S_IFDIR }
    }

    private static func names(in folder: String) throws -> [String] {
        guard kind(of: folder) == S_IFDIR else {
            throw Failure.cannotRead(folder, access(folder) ?? "it is no folder")
        }
        do {
            return try FileManager.default.contentsOfDirectory(atPath: folder).filter { !$0.hasPrefix(".") }.sorted()
        } catch {
            throw Failure.cannotRead(folder, "its names cannot be listed")
        }
    }

    static func isFile(_ path: String) -> Bool {
        // What is gone meanwhile, or a link to nothing, is named when it is read.
        kind(of: path).map { $0 == S_IFREG } ?? true
    }

    private static func access(_ path: String) -> String? {
        unsafe Glibc.access(path, F_OK) == 0 ? nil : SystemError.last
    }

    private static func kind(of path: String) -> mode_t? {
        var status = stat()
        return unsafe stat(path, &status) == 0 ? status.st_mode & S_IFMT : nil
    }

    /// Whether a file is PEM without a certificate: a key, a request. What is no PEM may be DER, or damaged.
    static func holdsOtherBlocksOnly(_ contents: [UInt8]) -> Bool {
        let text = String(decoding: contents, as: UTF8.self)
        return text.contains("-----BEGIN ") && !text.contains("CERTIFICATE-----")
    }
}

/// The certificates of a concatenation of PEM, as they come.
struct UploadStream {
    private let name: String
    private let descriptor: Int32
    private var blocks = PEMStream()
    private var isOver = false

    /// - Parameter path: `-` for standard input.
    init(path: String) throws {
        if path == "-" {
            name = "standard input"
            descriptor = STDIN_FILENO
        } else {
            name = path
            descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw Failure.cannotRead(path, SystemError.last) }
        }
    }

    mutating func next(mayWait: Bool) throws -> UploadQueue.Next {
        while true {
            if let block = blocks.next() { return .upload(upload(block)) }
            if isOver { return .end }
            guard mayWait || hasMore else { return .notYet }
            let bytes: [UInt8]
            do {
                bytes = try FileDescriptor.read(from: descriptor)
            } catch {
                throw Failure.cannotRead(name, SystemError.text(error.number))
            }
            if bytes.isEmpty {
                isOver = true
                return blocks.finish().map { .upload(upload($0)) } ?? .end
            }
            blocks.append(bytes)
        }
    }

    /// Bytes, or the end, are there already.
    private var hasMore: Bool {
        var watched = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&watched, 1, 0) > 0
    }

    private func upload(_ block: PEMStream.Block) -> Upload {
        let source = "\(name), certificate \(block.number) (line \(block.line))"
        switch block.contents {
        case .certificate(let bytes): return Upload(source: source, contents: .success(bytes))
        case .broken(let why): return Upload(source: source, contents: .failure(.cannotRead(source, why)))
        }
    }
}
