internal import CLMDB
internal import Glibc

/// What LMDB, or the file system under it, refused.
public enum LMDBError: Error, Hashable, Sendable {
    /// No room on the file system, or over a quota (ENOSPC, EDQUOT), or the reserved address space is used up.
    case diskFull
    /// The data file is not one of LMDB's, or of another format version.
    case notADatabase
    /// A page holds what it cannot hold: the file is damaged.
    case damaged
    /// All slots for readers are taken.
    case readersFull
    /// The key is empty or longer than LMDB keeps (511 bytes).
    case keyLength(Int)
    /// The key is there already, where a new one was to be put.
    case keyExists
    /// The operating system's error number, from `operation`.
    case system(errno: Int32, operation: Operation)

    /// The call that failed.
    public enum Operation: String, Hashable, Sendable {
        case open, begin, commit, get, put, delete, cursor, copy, openTable, statistics
    }

    static func check(_ code: Int32, _ operation: Operation) throws(LMDBError) {
        if code != MDB_SUCCESS {
            throw LMDBError(code, operation)
        }
    }

    init(_ code: Int32, _ operation: Operation) {
        switch code {
        case ENOSPC, EDQUOT, MDB_MAP_FULL: self = .diskFull
        case MDB_INVALID, MDB_VERSION_MISMATCH: self = .notADatabase
        case MDB_CORRUPTED, MDB_PAGE_NOTFOUND, MDB_PANIC, MDB_CURSOR_FULL, MDB_PAGE_FULL, MDB_BAD_TXN, MDB_INCOMPATIBLE:
            self = .damaged
        case MDB_READERS_FULL: self = .readersFull
        case MDB_KEYEXIST: self = .keyExists
        default: self = .system(errno: code, operation: operation)
        }
    }
}

extension LMDBError: CustomStringConvertible {
    /// What went wrong, in lower case, for a log line or the end of a sentence.
    public var description: String {
        switch self {
        case .diskFull: "no room on the file system of the state folder"
        case .notADatabase: "the data file is not a registry"
        case .damaged: "the data file is damaged"
        case .readersFull: "too many readers at once"
        case .keyLength(let count): "a key of \(count) bytes"
        case .keyExists: "the key exists already"
        case .system(let number, let operation):
            unsafe "\(operation.rawValue) failed: \(String(cString: strerror(number)))"
        }
    }
}
