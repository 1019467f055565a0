internal import CThreads
internal import Glibc

/// The system gave no thread.
public struct ThreadError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Of pthread_create(3).
    public let errno: Int32

    public var description: String {
        errno == EAGAIN
            ? "no thread could be started: raise the service's TasksMax, or the user's limit of processes"
            : "no thread could be started: error \(errno) of pthread_create"
    }
}

/// How a thread shares the processors with others that want them.
public enum ThreadScheduling: Sendable, Hashable {
    /// As the system does.
    case ordinary
    /// For work in small pieces, a hundred thousand of them at times: it lets those go first whom somebody waits for. Calls
    /// ``yieldProcessor()`` between two pieces.
    ///
    /// - niceness: by how much it is nicer than the thread that starts it, up to 19 in all (setpriority(2)).
    case yielding(niceness: Int32)

    /// The slice of a processor that it asks for: the least that Linux gives, and as long as a piece of work is.
    fileprivate static let sliceNanoseconds: UInt64 = 100_000
}

/// Starts a thread, which ends with `body`. No signals reach it but those of its own faults.
///
/// - Parameter name: what `top -H` shows of it: 15 bytes.
public func startThread(
    _ name: String, _ scheduling: ThreadScheduling = .ordinary, _ body: @escaping @Sendable () -> Void
) throws(ThreadError) {
    let start = ThreadStart(scheduling, body)
    let context = unsafe Unmanaged.passRetained(start).toOpaque()
    // Safe: the new thread takes over the reference, and nobody else has it.
    let result = unsafe cthread_start(
        name,
        { context in
            guard let context = unsafe context else { return }
            unsafe Unmanaged<ThreadStart>.fromOpaque(context).takeRetainedValue().run()
        }, context)
    guard result == 0 else {
        unsafe Unmanaged<ThreadStart>.fromOpaque(context).release()
        throw ThreadError(errno: -result)
    }
}

/// Lets those go first who wait for the processor, on a thread of ``ThreadScheduling/yielding(niceness:)``; on others nothing.
public func yieldProcessor() {
    cthread_yield()
}

private final class ThreadStart: Sendable {
    private let scheduling: ThreadScheduling
    private let body: @Sendable () -> Void

    init(_ scheduling: ThreadScheduling, _ body: @escaping @Sendable () -> Void) {
        self.scheduling = scheduling
        self.body = body
    }

    func run() {
        if case .yielding(let niceness) = scheduling {
            // Where the system refuses, the work is done all the same.
            _ = cthread_begin_yielding(niceness, ThreadScheduling.sliceNanoseconds)
        }
        body()
    }
}
