internal import Dispatch
internal import Registry
internal import Synchronization
internal import TTRPC

/// Beats for the trust maps, and tells the service manager that the daemon lives: as long as the writer and every event
/// loop make progress, and no longer.
final class Liveness: Sendable {
    /// Several beats fit in the shortest staleness that a broker may ask for.
    private static let beatMilliseconds = 250

    private let beats = DispatchQueue(label: "caregd.heartbeat", qos: .userInteractive)
    private let probes = DispatchQueue(label: "caregd.watchdog", qos: .userInitiated)
    private let timers = Mutex<[Periodic]>([])
    private let outstanding = Atomic<Int>(0)

    /// - Parameters:
    ///   - isWriterHeld: the writer waits for a reason of its own, and must not be asked.
    func start(
        manager: ServiceManager, fastPath: FastPath, registry: Registry, server: Server,
        isWriterHeld: @escaping @Sendable () -> Bool
    ) {
        add(on: beats, milliseconds: Self.beatMilliseconds) { fastPath.heartbeat() }
        guard let microseconds = manager.watchdogMicroseconds else { return }
        // Four times in each period: one late turn is no death.
        let interval = max(10, Int(clamping: microseconds / 4_000))
        add(on: probes, milliseconds: interval) { [self] in
            // Whoever was asked the last time has answered since.
            guard outstanding.load(ordering: .sequentiallyConsistent) == 0 else { return }
            manager.alive()
            outstanding.add(1, ordering: .sequentiallyConsistent)
            let asked = server.probe { [self] in outstanding.subtract(1, ordering: .sequentiallyConsistent) }
            outstanding.add(asked - 1, ordering: .sequentiallyConsistent)
            if !isWriterHeld() {
                outstanding.add(1, ordering: .sequentiallyConsistent)
                DispatchQueue.global().async { [self] in
                    // Its turn comes after the commit under way, however many commands wait.
                    registry.writer.betweenCommits {}
                    outstanding.subtract(1, ordering: .sequentiallyConsistent)
                }
            }
        }
    }

    /// Runs `body` now and then, for what may wait.
    func every(milliseconds: Int, on queue: DispatchQueue, _ body: @escaping @Sendable () -> Void) {
        add(on: queue, milliseconds: milliseconds, body)
    }

    private func add(on queue: DispatchQueue, milliseconds: Int, _ body: @escaping @Sendable () -> Void) {
        let timer = DispatchSource.makeTimerSource(queue: queue)
        timer.schedule(deadline: .now(), repeating: .milliseconds(milliseconds))
        timer.setEventHandler(handler: body)
        let periodic = Periodic(source: timer)
        timers.withLock { $0.append(periodic) }
        periodic.source.resume()
    }

    func stop() {
        let all = timers.withLock { timers in
            defer { timers = [] }
            return timers
        }
        for timer in all { timer.source.cancel() }
        // None of them runs any more when this returns.
        beats.sync {}
    }
}

/// Dispatch's sources may be used from any thread.
private struct Periodic: @unchecked Sendable {
    let source: any DispatchSourceTimer
}
