internal import CaregServer
internal import Glibc
internal import TTRPC

/// Sockets that the service manager made (sd_listen_fds(3)): they are used as they are, never unlinked, never changed.
enum InheritedSockets {
    /// The first descriptor that is handed over.
    private static let firstDescriptor: Int32 = 3
    /// More are a mistake: there are two sockets.
    private static let mostDescriptors: Int32 = 16

    /// The listeners by role. Takes the variables out of the environment, so that no child believes them.
    static func take(from environment: [String: String]) throws(StartFailure) -> [SocketRole: Listener] {
        defer {
            for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { unsafe unsetenv(name) }
        }
        guard environment["LISTEN_PID"] == String(getpid()), let text = environment["LISTEN_FDS"],
            let count = Int32(text), (1...mostDescriptors).contains(count)
        else { return [:] }
        let names = (environment["LISTEN_FDNAMES"] ?? "").split(separator: ":", omittingEmptySubsequences: false)
        var listeners: [SocketRole: Listener] = [:]
        for index in 0..<count {
            let descriptor = firstDescriptor + index
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            let name = Int(index) < names.count ? String(names[Int(index)]) : ""
            guard let role = role(of: name) else {
                throw StartFailure(
                    .configuration,
                    "the inherited socket “\(name)” has no use: FileDescriptorName= is admin or broker")
            }
            guard listeners[role] == nil else {
                throw StartFailure(.configuration, "two inherited sockets are named \(name)")
            }
            guard isListening(descriptor) else {
                throw StartFailure(.configuration, "the inherited socket \(name) is no listening Unix stream socket")
            }
            listeners[role] = Listener(
                descriptor: descriptor, label: role.rawValue, usesReserve: role == .admin, isInherited: true)
        }
        return listeners
    }

    /// A name is the role, or the file name that systemd's default makes of the unit's.
    private static func role(of name: String) -> SocketRole? {
        if let role = SocketRole(rawValue: name) { return role }
        if name.hasSuffix("admin.socket") { return .admin }
        if name.hasSuffix("broker.socket") { return .broker }
        return nil
    }

    private static func isListening(_ descriptor: Int32) -> Bool {
        func option(_ name: Int32) -> Int32? {
            var value: Int32 = 0
            var length = socklen_t(MemoryLayout<Int32>.size)
            guard unsafe getsockopt(descriptor, SOL_SOCKET, name, &value, &length) == 0 else { return nil }
            return value
        }
        return option(SO_DOMAIN) == AF_UNIX && option(SO_TYPE) == Int32(SOCK_STREAM.rawValue)
            && option(SO_ACCEPTCONN) == 1
    }
}
