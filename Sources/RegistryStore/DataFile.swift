internal import Glibc

/// A system call on a file that failed.
public struct FileFault: Error, Sendable, CustomStringConvertible {
    public var call: String
    public var path: String
    public var code: Int32

    /// All fields.
    public init(call: String, path: String, code: Int32) {
        self.call = call
        self.path = path
        self.code = code
    }

    /// For the end of a sentence.
    public var description: String {
        unsafe "\(call) \(path): \(String(cString: strerror(code)))"
    }
}

/// What the first pages of a data file tell, without mapping it: a mapped file that is cut kills who reads it.
public enum DataFileCondition: Sendable, Equatable {
    case missing
    case empty
    /// No data file of LMDB's, or of another format version or byte order.
    case foreign
    /// Shorter than its last commit says. Pages that are in no use may be missing at the end of a good file, so that only
    /// a walk can tell whether anything is lost.
    case short(bytes: Int, needed: Int)
    case whole
}

/// Reads the two meta pages of an LMDB data file (`MDB_meta`, format version 1, 64-bit, little-endian).
public enum DataFile {
    private static let magic: UInt32 = 0xBEEF_C0DE
    private static let formatVersion: UInt32 = 1
    private static let metaPageFlag: UInt16 = 0x08
    /// A page header, then the meta data to its last field.
    private static let headBytes = 152
    private static let pageSizes = 512...65_536

    private enum Offset {
        static let flags = 10
        static let magic = 16
        static let version = 20
        static let pageSize = 40
        static let lastPage = 136
    }

    /// Looks at the file at `path`.
    ///
    /// - Throws: ``FileFault`` where it cannot be read.
    public static func condition(path: String) throws(FileFault) -> DataFileCondition {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        guard file >= 0 else {
            if errno == ENOENT { return .missing }
            throw FileFault(call: "open", path: path, code: errno)
        }
        defer { close(file) }
        var status = stat()
        guard unsafe fstat(file, &status) == 0 else { throw FileFault(call: "fstat", path: path, code: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { return .foreign }
        let size = Int(status.st_size)
        if size == 0 { return .empty }
        guard let first = try meta(of: file, path: path, at: 0) else { return .foreign }
        guard let second = try meta(of: file, path: path, at: first.pageBytes) else {
            return size < 2 * first.pageBytes ? .short(bytes: size, needed: first.neededBytes) : .foreign
        }
        guard first.pageBytes == second.pageBytes else { return .foreign }
        let needed = max(first.neededBytes, second.neededBytes)
        return size < needed ? .short(bytes: size, needed: needed) : .whole
    }

    private struct Meta {
        var pageBytes: Int
        var neededBytes: Int
    }

    private static func meta(of file: Int32, path: String, at offset: Int) throws(FileFault) -> Meta? {
        var head = [UInt8](repeating: 0, count: headBytes)
        let count = unsafe pread(file, &head, headBytes, off_t(offset))
        guard count >= 0 else { throw FileFault(call: "read", path: path, code: errno) }
        guard count == headBytes else { return nil }
        let pageBytes = Int(integer(head, Offset.pageSize, UInt32.self))
        let lastPage = integer(head, Offset.lastPage, UInt64.self)
        guard integer(head, Offset.magic, UInt32.self) == magic,
            integer(head, Offset.version, UInt32.self) == formatVersion,
            integer(head, Offset.flags, UInt16.self) & metaPageFlag != 0,
            pageSizes.contains(pageBytes), pageBytes & (pageBytes - 1) == 0,
            lastPage < UInt64(Int.max / 65_536)
        else { return nil }
        return Meta(pageBytes: pageBytes, neededBytes: (Int(lastPage) + 1) * pageBytes)
    }

    private static func integer<Value: FixedWidthInteger>(_ bytes: [UInt8], _ offset: Int, _: Value.Type) -> Value {
        bytes[offset..<offset + Value.bitWidth / 8].reversed().reduce(Value(0)) {
            ($0 << 8) | Value(truncatingIfNeeded: $1)
        }
    }
}
