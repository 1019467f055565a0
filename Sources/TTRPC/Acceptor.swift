internal import CEpoll
internal import Glibc
internal import Synchronization

/// Takes in connections, and hands each to the event loop that has the fewest. Owner: the first event loop's thread.
final class Acceptor {
    /// How long it waits where the system has no room for a connection.
    private static let pauseNanoseconds: Int64 = 100_000_000

    private let listeners: [Listener]
    private unowned let loop: EventLoop
    /// Given up for a moment where no descriptor is left, so that a connection can be taken and closed.
    private var spare: Int32 = cepoll_null_open()
    private(set) var retryNanoseconds: Int64?

    init(_ listeners: [Listener], on loop: EventLoop) throws(SocketError) {
        self.listeners = listeners
        self.loop = loop
        for (index, listener) in listeners.enumerated() {
            let result = cepoll_socket_set_nonblocking(listener.descriptor)
            guard result == 0 else { throw .system(operation: "fcntl \(listener.label)", errno: -result) }
            try watch(index, isOn: true, isNew: true)
        }
    }

    private func watch(_ index: Int, isOn: Bool, isNew: Bool = false) throws(SocketError) {
        let events: UInt32 = isOn ? UInt32(cepoll_readable) : 0
        let token = EventLoop.listenerTokens + UInt64(index)
        let descriptor = listeners[index].descriptor
        let result =
            isNew
            ? cepoll_add(loop.epoll, descriptor, events, token)
            : cepoll_change(loop.epoll, descriptor, events, token)
        guard result == 0 else { throw .system(operation: "epoll_ctl \(listeners[index].label)", errno: -result) }
    }

    func accept(_ index: Int) {
        let listener = listeners[index]
        for _ in 0..<ServerLimits.acceptsPerTurn {
            let descriptor = cepoll_socket_accept(listener.descriptor)
            switch -descriptor {
            case ...0: take(descriptor, listener)
            case EAGAIN: return
            case EINTR, ECONNABORTED: continue
            case EMFILE, ENFILE:
                guard refuseWithSpare(listener) else { return pause() }
            default: return pause()
            }
        }
    }

    private func take(_ descriptor: Int32, _ listener: Listener) {
        guard loop.server.admit(usesReserve: listener.usesReserve) else {
            loop.server.refusedConnections.add(1, ordering: .relaxed)
            return cepoll_close(descriptor)
        }
        loop.server.place(descriptor, listener)
    }

    private func refuseWithSpare(_ listener: Listener) -> Bool {
        guard spare >= 0 else { return false }
        cepoll_close(spare)
        let descriptor = cepoll_socket_accept(listener.descriptor)
        if descriptor >= 0 {
            cepoll_close(descriptor)
            loop.server.refusedConnections.add(1, ordering: .relaxed)
        }
        spare = cepoll_null_open()
        return spare >= 0
    }

    /// Without this, a level-triggered listener would keep the thread spinning.
    private func pause() {
        for index in listeners.indices { try? watch(index, isOn: false) }
        retryNanoseconds = loop.now + Self.pauseNanoseconds
    }

    func retry() {
        guard let moment = retryNanoseconds, moment <= loop.now else { return }
        retryNanoseconds = nil
        if spare < 0 { spare = cepoll_null_open() }
        for index in listeners.indices { try? watch(index, isOn: true) }
    }

    func close() {
        for listener in listeners {
            _ = cepoll_remove(loop.epoll, listener.descriptor)
            listener.close()
        }
        if spare >= 0 { cepoll_close(spare) }
        spare = -1
    }
}
