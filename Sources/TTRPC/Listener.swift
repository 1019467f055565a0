internal import CEpoll
internal import Glibc

/// A listening Unix socket.
public struct Listener: Sendable {
    public let descriptor: Int32
    /// The name that ``ServerCall/listener`` has.
    public let label: String
    /// Whether its connections may take the reserve of ``ServerLimits/reservedConnections``.
    public let usesReserve: Bool
    /// Whether a service manager made it: its path is then not removed.
    public let isInherited: Bool
    /// The socket's file, where ``bind(path:mode:label:usesReserve:)`` made it.
    let path: String?

    /// A socket that somebody else made, and that listens.
    public init(descriptor: Int32, label: String, usesReserve: Bool, isInherited: Bool) {
        self.init(
            descriptor: descriptor, label: label, usesReserve: usesReserve, isInherited: isInherited, path: nil)
    }

    private init(descriptor: Int32, label: String, usesReserve: Bool, isInherited: Bool, path: String?) {
        self.descriptor = descriptor
        self.label = label
        self.usesReserve = usesReserve
        self.isInherited = isInherited
        self.path = path
    }

    /// Makes a socket at the path and listens. A dead socket's file is replaced; one where somebody answers is not.
    ///
    /// - Parameters:
    ///   - path: 107 bytes at most (`sun_path`).
    ///   - mode: the file's permission bits, whatever the umask is.
    ///   - label: what calls that come in here say of where they came from.
    ///   - usesReserve: whether its connections may take the reserve of ``ServerLimits/reservedConnections``.
    public static func bind(
        path: String, mode: UInt32, label: String, usesReserve: Bool
    ) throws(SocketError) -> Listener {
        let bytes = Array(path.utf8)
        guard !bytes.isEmpty, bytes.count <= 107, !bytes.contains(0) else {
            throw .pathInvalid(path: path, limit: 107)
        }
        switch unsafe bytes.withUnsafeBufferPointer({ unsafe cepoll_file_is_socket($0.baseAddress, $0.count) }) {
        case 1: try removeDeadSocket(path, bytes)
        case 0: throw .occupied(path: path)
        case -ENOENT: break
        case let error: throw .system(operation: "stat \(path)", errno: -error)
        }
        let descriptor = unsafe bytes.withUnsafeBufferPointer {
            unsafe cepoll_socket_listen($0.baseAddress, $0.count, mode, 4096)
        }
        guard descriptor >= 0 else { throw .system(operation: "bind \(path)", errno: -descriptor) }
        return Listener(
            descriptor: descriptor, label: label, usesReserve: usesReserve, isInherited: false, path: path)
    }

    private static func removeDeadSocket(_ path: String, _ bytes: [UInt8]) throws(SocketError) {
        let probe = unsafe bytes.withUnsafeBufferPointer { unsafe cepoll_socket_connect($0.baseAddress, $0.count) }
        if probe >= 0 {
            cepoll_close(probe)
            throw .addressInUse(path: path)
        }
        switch -probe {
        case ECONNREFUSED:
            let result = unsafe bytes.withUnsafeBufferPointer { unsafe cepoll_file_remove($0.baseAddress, $0.count) }
            guard result == 0 || result == -ENOENT else {
                throw .system(operation: "remove \(path)", errno: -result)
            }
        case ENOENT: break
        // A full queue of connections that wait: somebody listens there.
        case EAGAIN: throw .addressInUse(path: path)
        case let error: throw .system(operation: "connect \(path)", errno: error)
        }
    }

    /// Closes the socket; removes the file that `bind` made.
    func close() {
        if let path, !isInherited {
            let bytes = Array(path.utf8)
            _ = unsafe bytes.withUnsafeBufferPointer { unsafe cepoll_file_remove($0.baseAddress, $0.count) }
        }
        cepoll_close(descriptor)
    }
}
