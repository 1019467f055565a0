internal import Foundation

/// A file that is read whole.
enum InputFile {
    /// No upload is as large: a frame of the wire holds 4 MiB.
    static let maximumByteCount = 4 << 20

    static func read(_ path: String) throws -> [UInt8] {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure.cannotRead(path, SystemError.last) }
        defer { close(descriptor) }
        var contents: [UInt8] = []
        do {
            while true {
                let bytes = try FileDescriptor.read(from: descriptor)
                if bytes.isEmpty { return contents }
                contents += bytes
                if contents.count > maximumByteCount {
                    throw Failure.cannotRead(path, "it is larger than \(maximumByteCount) bytes")
                }
            }
        } catch let error as ErrorNumber {
            throw Failure.cannotRead(path, SystemError.text(error.number))
        }
    }
}

/// A file that is there whole or not at all: written beside its place, synced, then renamed.
struct OutputFile: ~Copyable {
    private let path: String
    private let partial: String
    private let descriptor: Int32
    private var isFinished = false

    /// Creates the file beside its place.
    ///
    /// - Parameter mode: of the file, whatever the umask is.
    init(path: String, mode: mode_t, partial: String? = nil) throws {
        let partial = partial ?? "\(path).partial-\(getpid())"
        let descriptor = unsafe open(partial, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, mode_t(0o600))
        guard descriptor >= 0 else { throw Failure.cannotWrite(partial, SystemError.last) }
        if let why = Self.claim(descriptor, mode: mode) {
            close(descriptor)
            throw Failure.cannotWrite(partial, why)
        }
        self.path = path
        self.partial = partial
        self.descriptor = descriptor
    }

    /// Empties a file that an earlier run may have left.
    ///
    /// - Returns: what stands against it; nil where nothing does.
    private static func claim(_ descriptor: Int32, mode: mode_t) -> String? {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { return SystemError.last }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_uid == geteuid(), status.st_nlink == 1 else {
            return "it is there, and is somebody else's"
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { return "another process is writing it" }
        guard fchmod(descriptor, mode) == 0, ftruncate(descriptor, 0) == 0 else { return SystemError.last }
        return nil
    }

    func append(_ bytes: [UInt8]) throws {
        do {
            try FileDescriptor.write(bytes, to: descriptor)
        } catch {
            throw Failure.cannotWrite(path, SystemError.text(error.number))
        }
    }

    /// Syncs the file and puts it in its place.
    ///
    /// - Parameter replacing: false refuses to take the place of a file that is there.
    mutating func finish(replacing: Bool = true) throws {
        guard fsync(descriptor) == 0 else { throw Failure.cannotWrite(path, SystemError.last) }
        if replacing {
            guard unsafe rename(partial, path) == 0 else { throw Failure.cannotWrite(path, SystemError.last) }
        } else {
            // link(2) fails where something is, unlike rename(2); some file systems have no links.
            if unsafe link(partial, path) == 0 {
                unsafe unlink(partial)
            } else {
                let number = errno
                let hasNoLinks = [EPERM, EOPNOTSUPP, ENOSYS].contains(number)
                guard hasNoLinks, unsafe access(path, F_OK) != 0, unsafe rename(partial, path) == 0 else {
                    throw Failure.cannotWrite(path, SystemError.text(number))
                }
            }
        }
        isFinished = true
        let folder = (path as NSString).deletingLastPathComponent
        let directory = unsafe open(folder.isEmpty ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if directory >= 0 {
            fsync(directory)
            close(directory)
        }
    }

    deinit {
        // Removed while it is still locked: nobody else has begun to write it.
        if !isFinished { unsafe unlink(partial) }
        close(descriptor)
    }

    /// Writes bytes to a file, or to standard output where no path is given.
    static func write(_ bytes: [UInt8], to path: String?) throws {
        guard let path else { return try StandardOutput.write(bytes) }
        var status = stat()
        if unsafe stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG {
            return try write(bytes, toDevice: path)
        }
        // A symbolic link stays one: the file that it names is replaced.
        let target = unsafe realpath(path, nil)
        defer { unsafe free(target) }
        let place = unsafe target.map { unsafe String(cString: $0) } ?? path
        var file = try OutputFile(path: place, mode: 0o644)
        try file.append(bytes)
        try file.finish()
    }

    /// A terminal, a pipe, /dev/null: something that must not be renamed over.
    private static func write(_ bytes: [UInt8], toDevice path: String) throws {
        let descriptor = unsafe open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure.cannotWrite(path, SystemError.last) }
        defer { close(descriptor) }
        do {
            try FileDescriptor.write(bytes, to: descriptor)
        } catch {
            throw Failure.cannotWrite(path, SystemError.text(error.number))
        }
    }
}
