internal import Dispatch
internal import Synchronization

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

    /// Owner of the tool: its queue.
    private final class Worker: @unchecked Sendable {
        let queue: DispatchQueue
        let makeTool: @Sendable () -> Tool
        lazy var tool = makeTool()

        init(label: String, makeTool: @escaping @Sendable () -> Tool) {
            queue = DispatchQueue(label: label, qos: .userInitiated)
            self.makeTool = makeTool
        }
    }

    private struct State {
        var waiting = FairQueue<Work>()
        var idle: [Worker]
    }

    let capacity: Int
    let threads: Int
    private let state: Mutex<State>

    /// - Parameters:
    ///   - threads: how many work at once.
    ///   - capacity: pieces of work that may wait.
    init(label: String, threads: Int, capacity: Int, makeTool: @escaping @Sendable () -> Tool) {
        self.capacity = capacity
        self.threads = max(1, threads)
        let workers = (0..<max(1, threads)).map { Worker(label: "caregd.\(label).\($0)", makeTool: makeTool) }
        state = Mutex(State(idle: workers))
    }

    /// Pieces of work that wait now.
    var waiting: Int { state.withLock { $0.waiting.count } }

    /// Hands in work. False where too much waits already.
    func submit(for contender: Contender, _ work: @escaping Work) -> Bool {
        let (isTaken, worker) = state.withLock { state -> (Bool, Worker?) in
            guard state.waiting.count < capacity else { return (false, nil) }
            state.waiting.append(work, of: contender)
            return (true, state.idle.popLast())
        }
        if let worker {
            worker.queue.async { self.run(worker) }
        }
        return isTaken
    }

    private func run(_ worker: Worker) {
        while let work = next(worker) { work(worker.tool) }
    }

    private func next(_ worker: Worker) -> Work? {
        state.withLock { state in
            if let work = state.waiting.popFirst() { return work }
            state.idle.append(worker)
            return nil
        }
    }
}
