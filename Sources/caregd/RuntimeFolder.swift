internal import Glibc
internal import RegistryStore

/// The folder of the sockets, the trust map and the anchors: only the daemon's user may change what is in it.
final class RuntimeFolder: Sendable {
    let path: String
    private let lock: Int32

    /// Makes the folder where it is missing, checks whose it is, and keeps others daemons out of it.
    ///
    /// - Parameter isPrivate: it stands under /tmp, where anybody could have made it before.
    init(path: String, isPrivate: Bool) throws(StartFailure) {
        self.path = path
        var status = stat()
        if unsafe lstat(path, &status) != 0 {
            guard errno == ENOENT else { throw Self.failure("lstat", path) }
            do throws(FileFault) {
                try Files.makeFolders(Self.parent(of: path), mode: 0o755)
            } catch {
                throw StartFailure(.system, "the runtime folder cannot be made: \(error)")
            }
            let mode: mode_t = isPrivate ? 0o700 : 0o755
            guard unsafe mkdir(path, mode) == 0 || errno == EEXIST else { throw Self.failure("mkdir", path) }
            guard unsafe lstat(path, &status) == 0 else { throw Self.failure("lstat", path) }
            if status.st_mode & S_IFMT == S_IFDIR, status.st_uid == geteuid() {
                // The umask has no say in it: brokers must get through.
                guard unsafe chmod(path, mode) == 0 else { throw Self.failure("chmod", path) }
            }
        }
        if isPrivate {
            guard unsafe lstat(path, &status) == 0 else { throw Self.failure("lstat", path) }
            guard status.st_mode & S_IFMT == S_IFDIR, status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
                throw StartFailure(
                    .permission,
                    "\(path) is not a folder of this user alone (mode 0700): remove it, or use --runtime-dir")
            }
        }
        try Self.requireSafe(path)
        lock = try Self.takeLock(path)
    }

    deinit {
        close(lock)
    }

    private static func takeLock(_ path: String) throws(StartFailure) -> Int32 {
        let file = path + "/caregd.lock"
        let lock = unsafe open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard lock >= 0 else { throw failure("open", file) }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            let isTaken = errno == EWOULDBLOCK
            close(lock)
            if isTaken {
                throw StartFailure(
                    .busy, "another caregd uses the runtime folder \(path): stop it first, or use --runtime-dir")
            }
            throw failure("flock", file)
        }
        return lock
    }

    /// Whoever may write to the folder, or may put another one in its place, could pass for the daemon.
    private static func requireSafe(_ path: String) throws(StartFailure) {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        guard unsafe realpath(path, &buffer) != nil else { throw failure("realpath", path) }
        var folder = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        var isItself = true
        while true {
            var status = stat()
            guard unsafe stat(folder, &status) == 0 else { throw failure("stat", folder) }
            if isItself {
                guard status.st_mode & S_IFMT == S_IFDIR else {
                    throw StartFailure(.permission, "the runtime folder \(path) is not a folder")
                }
                guard status.st_uid == geteuid() || status.st_uid == 0 else {
                    throw StartFailure(
                        .permission, "the runtime folder \(path) belongs to user \(status.st_uid): use another one")
                }
                guard status.st_mode & 0o022 == 0 else {
                    throw StartFailure(
                        .permission,
                        "others may write to the runtime folder \(path): chmod go-w it, or use --runtime-dir")
                }
            } else if status.st_mode & 0o002 != 0, status.st_mode & UInt32(S_ISVTX) == 0 {
                throw StartFailure(
                    .permission,
                    "anybody may replace the runtime folder \(path), since anybody may write to \(folder): "
                        + "use another one")
            }
            if folder == "/" { return }
            folder = parent(of: folder)
            isItself = false
        }
    }

    private static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private static func failure(_ call: String, _ path: String) -> StartFailure {
        StartFailure(.system, "runtime folder: \(FileFault(call: call, path: path, code: errno))")
    }
}
