internal import CThreads

/// The system gave no thread.
public struct ThreadError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Of pthread_create(3).
    public let errno: Int32

    public var description: String {
        "no thread could be started (error \(errno)): raise the service's TasksMax, or the user's limit of processes"
    }
}

/// How a thread shares the processors with others that want them.
public enum ThreadManner: Sendable, Hashable {
    /// As the system does.
    case ordinary
    /// For work in small pieces, a hundred thousand of them at times: it lets those go first whom somebody waits for. Calls
    /// ``makeWay()`` between two pieces.
    ///
    /// - niceness: how far it stands back behind the process's other threads where processors are short, 0 to 19
    ///   (setpriority(2)).
    case makingWay(niceness: Int32)

    /// What it asks of the processor at once: the least that Linux gives, and as long as a piece of work is.
    fileprivate static let sliceNanoseconds: UInt64 = 100_000
}

/// Starts a thread, which ends with `body`. No signals reach it but those of its own faults.
///
/// - Parameter name: what `top -H` shows of it: 15 bytes.
public func startThread(
    _ name: String, _ manner: ThreadManner = .ordinary, _ body: @escaping @Sendable () -> Void
) throws(ThreadError) {
    let start = ThreadStart(manner, body)
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

/// Lets those go first who wait for the processor, on a thread of ``ThreadManner/makingWay(niceness:)``; on others nothing.
public func makeWay() {
    cthread_make_way()
}

private final class ThreadStart: Sendable {
    private let manner: ThreadManner
    private let body: @Sendable () -> Void

    init(_ manner: ThreadManner, _ body: @escaping @Sendable () -> Void) {
        self.manner = manner
        self.body = body
    }

    func run() {
        if case .makingWay(let niceness) = manner {
            // Where the system refuses, the work is done all the same.
            _ = cthread_begin_making_way(niceness, ThreadManner.sliceNanoseconds)
        }
        body()
    }
}
