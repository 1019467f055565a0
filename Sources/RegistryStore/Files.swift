internal import Certificates
internal import Glibc

/// The file operations that must be durable or atomic.
public enum Files {
    /// Makes a folder and its parents, all of one mode; what is there already stays as it is.
    public static func makeFolders(_ path: String, mode: UInt32) throws(FileFault) {
        var built = path.hasPrefix("/") ? "" : "."
        for component in path.split(separator: "/") {
            built += "/" + component
            if unsafe mkdir(built, mode) == 0 {
                // The process's umask has no say in it.
                guard unsafe chmod(built, mode) == 0 else { throw FileFault(call: "chmod", path: built, code: errno) }
            } else if errno != EEXIST {
                let code = errno
                var status = stat()
                // A parent that exists may refuse for another reason: read-only, or not to be written.
                guard unsafe stat(built, &status) == 0 else { throw FileFault(call: "mkdir", path: built, code: code) }
            }
        }
    }

    /// The contents of a file; nil where it is missing.
    ///
    /// - Parameter limit: more bytes than that are an EFBIG.
    public static func read(_ path: String, limit: Int) throws(FileFault) -> [UInt8]? {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            throw FileFault(call: "open", path: path, code: errno)
        }
        defer { close(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: min(limit + 1, 65_536))
        while true {
            let count = unsafe Glibc.read(file, &buffer, buffer.count)
            if count == 0 { return bytes }
            if count < 0 {
                if errno == EINTR { continue }
                throw FileFault(call: "read", path: path, code: errno)
            }
            bytes.append(contentsOf: buffer[..<count])
            if bytes.count > limit { throw FileFault(call: "read", path: path, code: EFBIG) }
        }
    }

    /// Writes a file beside its place, synchronizes it, and renames it into place.
    public static func replace(_ path: String, with bytes: [UInt8], mode: UInt32) throws(FileFault) {
        let provisional = path + ".new"
        do throws(FileFault) {
            let file = unsafe open(provisional, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode)
            guard file >= 0 else { throw FileFault(call: "open", path: provisional, code: errno) }
            defer { close(file) }
            try write(bytes, to: file, path: provisional)
            guard fsync(file) == 0 else { throw FileFault(call: "fsync", path: provisional, code: errno) }
        } catch {
            unsafe unlink(provisional)
            throw error
        }
        try rename(provisional, to: path)
        try synchronize(folder(of: path))
    }

    /// Writes all bytes to a descriptor.
    public static func write(_ bytes: [UInt8], to file: Int32, path: String) throws(FileFault) {
        var start = 0
        while start < bytes.count {
            let count = unsafe bytes[start...].withUnsafeBytes { unsafe Glibc.write(file, $0.baseAddress, $0.count) }
            if count >= 0 {
                start += count
            } else if errno != EINTR {
                throw FileFault(call: "write", path: path, code: errno)
            }
        }
    }

    /// Puts what a file or folder holds on disk.
    public static func synchronize(_ path: String) throws(FileFault) {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw FileFault(call: "open", path: path, code: errno) }
        defer { close(file) }
        guard fsync(file) == 0 else { throw FileFault(call: "fsync", path: path, code: errno) }
    }

    /// Gives a file another name, over what has that name.
    public static func rename(_ path: String, to target: String) throws(FileFault) {
        guard unsafe Glibc.rename(path, target) == 0 else { throw FileFault(call: "rename", path: path, code: errno) }
    }

    /// Copies a regular file to a new one, and puts it on disk.
    static func copy(_ source: String, to target: String) throws(FileFault) {
        let input = unsafe open(source, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        guard input >= 0 else { throw FileFault(call: "open", path: source, code: errno) }
        defer { close(input) }
        var status = stat()
        guard unsafe fstat(input, &status) == 0 else { throw FileFault(call: "fstat", path: source, code: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw FileFault(call: "read", path: source, code: EINVAL) }
        let output = unsafe open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard output >= 0 else { throw FileFault(call: "open", path: target, code: errno) }
        defer { close(output) }
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = unsafe Glibc.read(input, &buffer, buffer.count)
            if count == 0 { break }
            if count < 0 {
                if errno == EINTR { continue }
                throw FileFault(call: "read", path: source, code: errno)
            }
            try write(Array(buffer[..<count]), to: output, path: target)
        }
        guard fsync(output) == 0 else { throw FileFault(call: "fsync", path: target, code: errno) }
    }

    static func exists(_ path: String) -> Bool {
        var status = stat()
        return unsafe lstat(path, &status) == 0
    }

    /// A moment as part of a file name: `20260131T235959Z`.
    static func stamp(_ time: WallTime) -> String {
        var seconds = time_t(time.instant.secondsSince1970)
        var parts = unsafe tm()
        unsafe gmtime_r(&seconds, &parts)
        var buffer = [CChar](repeating: 0, count: 32)
        let count = unsafe strftime(&buffer, buffer.count, "%Y%m%dT%H%M%SZ", &parts)
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
