internal import Dispatch
internal import Registry
internal import Synchronization

/// Keeps the writer from its first commit for as long as brokers may believe a map that could not be marked superseded.
final class WriterHold: Sendable {
    private let endMilliseconds = Mutex<UInt64?>(nil)

    /// Returns when no command can be decided before that moment of the monotonic clock.
    func begin(_ writer: Writer, untilMilliseconds end: UInt64) {
        endMilliseconds.withLock { $0 = end }
        let isHeld = DispatchSemaphore(value: 0)
        DispatchQueue.global().async { [self] in
            writer.hold {
                isHeld.signal()
                let now = BrokerGrace.nowMilliseconds
                let left = end > now ? Int(clamping: end - now) : 0
                // Nobody signals: the time alone ends it.
                _ = DispatchSemaphore(value: 0).wait(timeout: .now() + .milliseconds(left))
            }
            endMilliseconds.withLock { $0 = nil }
        }
        isHeld.wait()
    }

    /// What is not well, in a sentence; nil where the writer is free.
    var problem: String? {
        endMilliseconds.withLock { $0 }.map { end in
            let now = BrokerGrace.nowMilliseconds
            let seconds = end > now ? (end - now + 999) / 1_000 : 0
            return "changes wait for \(seconds) more seconds: brokers may still hold the trust map of a former daemon"
        }
    }
}
