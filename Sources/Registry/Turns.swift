internal import Dispatch
internal import Synchronization

/// Turns that are taken one at a time, in the order in which they were asked for.
///
/// Whoever asks within a turn of his own waits for ever.
final class Turns: Sendable {
    private struct State {
        var isTaken = false
        var waiting: [DispatchSemaphore] = []
    }

    private let state = Mutex(State())

    /// How many wait for a turn.
    var waiting: Int { state.withLock { $0.waiting.count } }

    /// Runs `body` on this thread, when it is its turn.
    func take<Result>(_ body: () throws -> Result) rethrows -> Result {
        let turn = state.withLock { state -> DispatchSemaphore? in
            guard state.isTaken else {
                state.isTaken = true
                return nil
            }
            let turn = DispatchSemaphore(value: 0)
            state.waiting.append(turn)
            return turn
        }
        turn?.wait()
        defer { pass() }
        return try body()
    }

    /// Hands the turn to the next one who waits.
    private func pass() {
        let next = state.withLock { state -> DispatchSemaphore? in
            if state.waiting.isEmpty {
                state.isTaken = false
                return nil
            }
            return state.waiting.removeFirst()
        }
        next?.signal()
    }
}
