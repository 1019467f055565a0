internal import Glibc
internal import Synchronization

/// Lets threads wait for the next of a series of events.
@safe final class Gate: @unchecked Sendable {
    // Both are made in `init`, freed in `deinit`, and used through their own functions only.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let count = Atomic<UInt64>(0)

    init() {
        unsafe mutex.initialize(to: pthread_mutex_t())
        unsafe condition.initialize(to: pthread_cond_t())
        _ = unsafe pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        _ = unsafe pthread_condattr_init(&attributes)
        _ = unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        _ = unsafe pthread_cond_init(condition, &attributes)
        _ = unsafe pthread_condattr_destroy(&attributes)
    }

    deinit {
        _ = unsafe pthread_cond_destroy(condition)
        _ = unsafe pthread_mutex_destroy(mutex)
        unsafe condition.deallocate()
        unsafe mutex.deallocate()
    }

    /// To be read before the look at whatever is waited for.
    var turn: UInt64 { count.load(ordering: .sequentiallyConsistent) }

    /// The event is there: whoever waits goes on.
    func open() {
        _ = unsafe pthread_mutex_lock(mutex)
        count.add(1, ordering: .sequentiallyConsistent)
        _ = unsafe pthread_cond_broadcast(condition)
        _ = unsafe pthread_mutex_unlock(mutex)
    }

    /// Waits until an event after that turn.
    func wait(since turn: UInt64) {
        _ = unsafe pthread_mutex_lock(mutex)
        while self.turn == turn { _ = unsafe pthread_cond_wait(condition, mutex) }
        _ = unsafe pthread_mutex_unlock(mutex)
    }

    /// Waits until an event after that turn, or until a moment of the monotonic clock. False where the time came first.
    func wait(since turn: UInt64, untilNanoseconds limit: Int64) -> Bool {
        var moment = timespec(tv_sec: Int(limit / 1_000_000_000), tv_nsec: Int(limit % 1_000_000_000))
        _ = unsafe pthread_mutex_lock(mutex)
        defer { _ = unsafe pthread_mutex_unlock(mutex) }
        while self.turn == turn {
            if unsafe pthread_cond_timedwait(condition, mutex, &moment) == ETIMEDOUT { return self.turn != turn }
        }
        return true
    }
}
