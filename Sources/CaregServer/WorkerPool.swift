internal import Dispatch
internal import Synchronization
internal import Threads

/// Whose work it is: callers take turns, so that one with a thousand calls in flight does not hold up the others.
struct Contender: Hashable, Sendable {
    let userID: UInt32
    let processID: Int32
}

/// A queue in which contenders take turns; the work of one keeps its order.
struct FairQueue<Element> {
    private struct Line {
        /// What was taken out is nil: it must not outlive its turn.
        var elements: [Element?] = []
        var head = 0

        var count: Int { elements.count - head }

        mutating func append(_ element: Element) {
            if head > 64, head > elements.count / 2 {
                elements.removeFirst(head)
                head = 0
            }
            elements.append(element)
        }

        mutating func popFirst() -> Element? {
            guard head < elements.count else { return nil }
            let element = elements[head]
            elements[head] = nil
            head += 1
            return element
        }
    }

    private var lines: [Contender: Line] = [:]
    /// Contenders that have work, the next one at `turn`.
    private var order: [Contender] = []
    private var turn = 0
    private(set) var count = 0

    mutating func append(_ element: Element, of contender: Contender) {
        if lines[contender] == nil { order.append(contender) }
        lines[contender, default: Line()].append(element)
        count += 1
    }

    mutating func popFirst() -> Element? {
        guard !order.isEmpty else { return nil }
        if turn >= order.count { turn = 0 }
        let contender = order[turn]
        guard var line = lines.removeValue(forKey: contender) else { return nil }
        let element = line.popFirst()
        count -= 1
        if line.count == 0 {
            // The last contender takes the place of this one, and its turn: order among contenders is no promise.
            order[turn] = order[order.count - 1]
            order.removeLast()
        } else {
            lines[contender] = line
            turn += 1
        }
        return element
    }
}

/// A few threads with a bounded queue, each with a tool of its own.
final class WorkerPool<Tool>: Sendable {
    typealias Work = @Sendable (Tool) -> Void

    private let shared: Shared

    /// - Parameters:
    ///   - threads: how many work at once.
    ///   - capacity: pieces of work that may wait.
    init(
        label: String, threads: Int, capacity: Int, scheduling: ThreadScheduling = .ordinary,
        makeTool: @escaping @Sendable () -> Tool
    ) throws(ThreadError) {
        shared = Shared(capacity: capacity, threads: max(1, threads))
        do throws(ThreadError) {
            for number in 0..<shared.threads {
                let worker = Worker()
                let shared = shared
                try startThread("\(label) \(number)", scheduling) { shared.run(worker, tool: makeTool) }
            }
        } catch {
            shared.close()
            throw error
        }
    }

    deinit { shared.close() }

    var capacity: Int { shared.capacity }
    var threads: Int { shared.threads }

    /// Pieces of work that wait now.
    var waiting: Int { shared.waiting }

    /// Hands in work. False where too much waits already.
    func submit(for contender: Contender, _ work: @escaping Work) -> Bool {
        shared.submit(for: contender, work)
    }

    /// One thread, and what it waits on.
    private final class Worker: Sendable {
        let wake = DispatchSemaphore(value: 0)
    }

    /// What the pool and its threads have in common: they outlive it by the work that they are at.
    private final class Shared: Sendable {
        private struct State {
            var waiting = FairQueue<Work>()
            var idle: [Worker] = []
            var isClosed = false
        }

        let capacity: Int
        let threads: Int
        private let state = Mutex(State())

        init(capacity: Int, threads: Int) {
            self.capacity = capacity
            self.threads = threads
        }

        var waiting: Int { state.withLock { $0.waiting.count } }

        func submit(for contender: Contender, _ work: @escaping Work) -> Bool {
            let (isTaken, worker) = state.withLock { state -> (Bool, Worker?) in
                guard state.waiting.count < capacity else { return (false, nil) }
                state.waiting.append(work, of: contender)
                return (true, state.idle.popLast())
            }
            worker?.wake.signal()
            return isTaken
        }

        func close() {
            let idle = state.withLock { state in
                state.isClosed = true
                defer { state.idle = [] }
                return state.idle
            }
            for worker in idle { worker.wake.signal() }
        }

        func run(_ worker: Worker, tool makeTool: () -> Tool) {
            let tool = makeTool()
            while let work = next(worker) {
                work(tool)
                yieldProcessor()
            }
        }

        /// The next piece of work, as soon as there is one; nil where there will be none.
        private func next(_ worker: Worker) -> Work? {
            while true {
                let (work, isOver) = state.withLock { state -> (Work?, Bool) in
                    if let work = state.waiting.popFirst() { return (work, false) }
                    if state.isClosed { return (nil, true) }
                    state.idle.append(worker)
                    return (nil, false)
                }
                if let work { return work }
                if isOver { return nil }
                worker.wake.wait()
            }
        }
    }
}
