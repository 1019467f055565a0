internal import Dispatch
internal import Foundation
internal import Synchronization

/// What comes of work elsewhere, once; one thread waits for it.
final class Outcome<Value: Sendable>: Sendable {
    private let result = Mutex<Result<Value, any Error>?>(nil)
    private let isDone = DispatchSemaphore(value: 0)

    init() {}

    /// Of `body`, on a thread of its own.
    convenience init(onThread body: @escaping @Sendable () throws -> Value) {
        self.init()
        Thread.detachNewThread { [self] in set(Result(catching: body)) }
    }

    var isThere: Bool { result.withLock { $0 != nil } }

    func set(_ result: Result<Value, any Error>) {
        self.result.withLock { $0 = result }
        isDone.signal()
    }

    func wait() throws -> Value {
        isDone.wait()
        guard let result = result.withLock({ $0 }) else { throw BenchFailure("work was done without an outcome") }
        return try result.get()
    }
}
