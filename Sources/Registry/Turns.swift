internal import Dispatch
internal import Glibc
internal import Synchronization

/// Turns that are taken one at a time, in the order in which they were asked for.
final class Turns: Sendable {
    private struct State {
        var isTaken = false
        /// The thread whose turn it is.
        var owner: pthread_t?
        var waiting: [DispatchSemaphore] = []
    }

    private let state = Mutex(State())

    /// How many wait for a turn.
    var waiting: Int { state.withLock { $0.waiting.count } }

    /// Runs `body` on this thread, when it is its turn. Not within a turn of its own, which would wait for itself: that traps.
    func take<Result>(_ body: () throws -> Result) rethrows -> Result {
        let turn = state.withLock { state -> DispatchSemaphore? in
            precondition(state.owner != pthread_self(), "a turn was asked for within a turn")
            guard state.isTaken else {
                state.isTaken = true
                state.owner = pthread_self()
                return nil
            }
            let turn = DispatchSemaphore(value: 0)
            state.waiting.append(turn)
            return turn
        }
        if let turn {
            turn.wait()
            state.withLock { $0.owner = pthread_self() }
        }
        defer { pass() }
        return try body()
    }

    /// Hands the turn to the next one who waits.
    private func pass() {
        let next = state.withLock { state -> DispatchSemaphore? in
            state.owner = nil
            if state.waiting.isEmpty {
                state.isTaken = false
                return nil
            }
            return state.waiting.removeFirst()
        }
        next?.signal()
    }
}
