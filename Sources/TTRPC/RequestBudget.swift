internal import Synchronization

/// The bytes of requests in flight that all connections of a server share, beyond what each is guaranteed.
///
/// Who comes when too little is left waits in a line: the first in it goes first, so that small requests that keep
/// coming cannot hold up a large one. Owner: every event loop, under the lock.
final class RequestBudget: Sendable {
    private struct State {
        var used = 0
        var unparsed = 0
        var line: [UInt64] = []
        var nextTicket: UInt64 = 1
    }

    private let capacity: Int
    private let unparsedCapacity: Int
    private let state = Mutex(State())

    init(_ limits: ServerLimits) {
        capacity = limits.sharedRequestBytes
        unparsedCapacity = limits.unparsedBytes
    }

    var usedBytes: Int { state.withLock { $0.used + $0.unparsed } }
    /// Somebody waits in the line.
    var isShort: Bool { state.withLock { !$0.line.isEmpty } }
    /// So much was read and not looked at that less has to be read at a time.
    var isTight: Bool { state.withLock { $0.unparsed >= unparsedCapacity } }

    /// Takes bytes, where they are there and nobody else waits. Otherwise the ticket keeps a place in the line.
    func take(_ bytes: Int, ticket: inout UInt64?) -> Bool {
        state.withLock { state in
            let isFirst = ticket == nil ? state.line.isEmpty : state.line.first == ticket
            if isFirst && state.used + bytes <= capacity {
                state.used += bytes
                if ticket != nil { state.line.removeFirst() }
                ticket = nil
                return true
            }
            if ticket == nil {
                ticket = state.nextTicket
                state.line.append(state.nextTicket)
                state.nextTicket += 1
            }
            return false
        }
    }

    /// Gives bytes back. True where somebody waits.
    func give(_ bytes: Int) -> Bool {
        state.withLock { state in
            state.used -= bytes
            return !state.line.isEmpty
        }
    }

    /// Gives up a place in the line. True where somebody else waits.
    func leave(_ ticket: UInt64) -> Bool {
        state.withLock { state in
            state.line.removeAll { $0 == ticket }
            return !state.line.isEmpty
        }
    }

    func changeUnparsed(by bytes: Int) {
        state.withLock { $0.unparsed += bytes }
    }
}
