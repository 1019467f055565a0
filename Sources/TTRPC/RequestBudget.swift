internal import Synchronization

/// The bytes of requests in flight that all connections of a server share, beyond what each is guaranteed.
///
/// Who comes when too little is left waits in a line: the first in it goes first, so that small requests that keep
/// coming cannot hold up a large one; or, where it is said so, the smallest request goes first, so that a few peers that
/// stall in the middle of larger ones hold up nobody. Whoever is first is woken when there is enough for it, and nobody
/// else.
/// Owner: every event loop, under the lock.
final class RequestBudget: Sendable {
    typealias Wake = @Sendable () -> Void

    private struct Waiter {
        let ticket: UInt64
        var bytes: Int
        let wake: Wake
    }

    private struct State {
        var used = 0
        var unparsed = 0
        var line: [Waiter] = []
        var nextTicket: UInt64 = 1

        /// How to wake the first in the line, where there is enough for it.
        func next(_ capacity: Int) -> Wake? {
            guard let first = line.first, used + first.bytes <= capacity else { return nil }
            return first.wake
        }
    }

    private let capacity: Int
    private let unparsedCapacity: Int
    private let state = Mutex(State())

    private let prefersSmall: Bool

    convenience init(_ limits: ServerLimits) {
        self.init(capacity: limits.sharedRequestBytes, unparsedCapacity: limits.unparsedBytes, prefersSmall: false)
    }

    init(capacity: Int, unparsedCapacity: Int, prefersSmall: Bool) {
        self.capacity = capacity
        self.unparsedCapacity = unparsedCapacity
        self.prefersSmall = prefersSmall
    }

    var usedBytes: Int { state.withLock { $0.used + $0.unparsed } }
    /// Somebody waits in the line.
    var isShort: Bool { state.withLock { !$0.line.isEmpty } }
    /// So much was read and not looked at that less has to be read at a time.
    var isTight: Bool { state.withLock { $0.unparsed >= unparsedCapacity } }

    /// Takes bytes, where they are there and nobody else waits. Otherwise the ticket keeps a place in the line.
    ///
    /// - Parameter wake: called, by whoever gives bytes back, when it is worth to ask again with the ticket.
    func take(_ bytes: Int, ticket: inout UInt64?, wake: @escaping Wake) -> Bool {
        let (isTaken, next) = state.withLock { state -> (Bool, Wake?) in
            let isFirst = ticket == nil ? state.line.isEmpty : state.line.first?.ticket == ticket
            if isFirst && state.used + bytes <= capacity {
                state.used += bytes
                guard ticket != nil else { return (true, nil) }
                state.line.removeFirst()
                ticket = nil
                // There may be enough for the next one, too.
                return (true, state.next(capacity))
            }
            if let index = state.line.firstIndex(where: { $0.ticket == ticket }) {
                state.line[index].bytes = bytes
            } else {
                ticket = state.nextTicket
                let waiter = Waiter(ticket: state.nextTicket, bytes: bytes, wake: wake)
                state.nextTicket += 1
                guard prefersSmall else {
                    state.line.append(waiter)
                    return (false, nil)
                }
                let place = state.line.firstIndex { $0.bytes > bytes } ?? state.line.endIndex
                state.line.insert(waiter, at: place)
                // It may be the first, and there may be enough for it.
                return (false, place == 0 ? state.next(capacity) : nil)
            }
            return (false, nil)
        }
        next?()
        return isTaken
    }

    /// Takes bytes that are held already, whatever is left.
    func charge(_ bytes: Int) {
        state.withLock { $0.used += bytes }
    }

    /// Gives bytes back.
    func give(_ bytes: Int) {
        let next = state.withLock { state in
            state.used -= bytes
            return state.next(capacity)
        }
        next?()
    }

    /// Gives up a place in the line.
    func leave(_ ticket: UInt64) {
        let next = state.withLock { state in
            state.line.removeAll { $0.ticket == ticket }
            return state.next(capacity)
        }
        next?()
    }

    func changeUnparsed(by bytes: Int) {
        state.withLock { $0.unparsed += bytes }
    }
}
