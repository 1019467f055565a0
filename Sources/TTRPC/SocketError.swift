internal import CEpoll

/// Why a server cannot listen.
public enum SocketError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The path is empty, holds a zero byte, or is longer than `limit` bytes.
    case pathInvalid(path: String, limit: Int)
    /// Somebody answers at the path.
    case addressInUse(path: String)
    /// The path is a file that is no socket.
    case occupied(path: String)
    /// A system call failed.
    case system(operation: String, errno: Int32)
    /// ``Server/start(_:)`` was called before.
    case alreadyStarted

    public var description: String {
        switch self {
        case .pathInvalid(let path, let limit):
            "the socket's path must have 1 to \(limit) bytes and no zero byte, and \(path) has \(path.utf8.count)"
        case .addressInUse(let path): "another process answers at \(path)"
        case .occupied(let path): "\(path) is there and is no socket"
        case .system(let operation, let errno): "\(operation): \(errorText(errno))"
        case .alreadyStarted: "the server was started before"
        }
    }
}

/// The system's words for an error number.
func errorText(_ errno: Int32) -> String {
    var text = [UInt8](repeating: 0, count: 128)
    // Safe: writes into the array at most what it holds.
    let length = unsafe text.withUnsafeMutableBufferPointer {
        unsafe cepoll_error_text(errno, $0.baseAddress, $0.count)
    }
    return String(decoding: text.prefix(length), as: UTF8.self)
}
