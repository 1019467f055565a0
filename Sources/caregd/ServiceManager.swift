internal import Glibc
internal import Synchronization

/// What the service manager is told, over the socket that `$NOTIFY_SOCKET` names (sd_notify(3)).
final class ServiceManager: Sendable {
    private let address: [UInt8]?
    /// How often it wants to hear that the daemon lives, in microseconds; nil where it does not ask.
    let watchdogMicroseconds: UInt64?

    init(environment: [String: String]) {
        address = environment["NOTIFY_SOCKET"].flatMap { path in
            guard path.hasPrefix("/") || path.hasPrefix("@"), path.utf8.count <= 107 else { return nil }
            // An abstract address begins with a zero byte.
            return path.hasPrefix("@") ? [0] + Array(path.utf8.dropFirst()) : Array(path.utf8)
        }
        let isForUs = environment["WATCHDOG_PID"].map { $0 == String(getpid()) } ?? true
        watchdogMicroseconds = isForUs ? environment["WATCHDOG_USEC"].flatMap { UInt64($0) } : nil
    }

    /// Whether anybody listens.
    var isThere: Bool { address != nil }

    func ready() { send("READY=1") }
    func stopping() { send("STOPPING=1") }
    func alive() { send("WATCHDOG=1") }
    func status(_ text: String) { send("STATUS=\(text)") }

    /// The configuration is being read again; ``ready()`` ends it.
    func reloading() {
        var now = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &now)
        let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
        send("RELOADING=1\nMONOTONIC_USEC=\(microseconds)")
    }

    private func send(_ text: String) {
        guard let address else { return }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var peer = sockaddr_un()
        peer.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &peer.sun_path) { unsafe $0.copyBytes(from: address) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + address.count)
        let bytes = Array(text.utf8)
        _ = unsafe withUnsafePointer(to: &peer) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                unsafe sendto(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL), generic, length)
            }
        }
    }
}
