internal import CCareg
internal import CCaregSystem
internal import CTrustMap
internal import Synchronization

extension Handle {
    /// Decides on a device certificate: by the map, by another map, by the daemon, and, where nobody answers, by what
    /// the map still says.
    static func decide(
        _ handle: UnsafeMutablePointer<Handle>, _ question: Question, _ out: UnsafeMutablePointer<careg_verdict>
    ) -> CInt {
        let key = unsafe fingerprint(of: question.chain[0], question.lengths[0])
        let start = careg_system_nanoseconds()
        let deadline = unsafe start &+ handle.pointee.timeoutNanoseconds
        var lookup = unsafe lookUp(handle, key)
        let isPlain = ChainShape.isPlain(question)
        if isPlain {
            if unsafe answer(lookup, key, out) { return CAREG_ANSWERED }
            if unsafe renew(&lookup, handle, key, at: start), unsafe answer(lookup, key, out) { return CAREG_ANSWERED }
        }

        var code = CAREG_E_UNAVAILABLE
        var hasTurn = true
        // Whoever marks a map superseded is about to answer: it is worth the wait, also where its own map is there before.
        let isExpected = lookup.standing == .superseded && isPlain
        if unsafe !handle.pointee.link.isQuiet(at: start, signOfLife: signOfLife(lookup), isExpected: isExpected) {
            code = unsafe ask(handle, question, key, lookup, deadline: deadline, &hasTurn, out)
            var pause = Limits.firstPause
            while code == CAREG_E_UNAVAILABLE, isExpected || lookup.standing == .superseded && isPlain {
                let now = careg_system_nanoseconds()
                guard now < deadline else { break }
                careg_system_pause(min(pause, deadline &- now))
                pause = min(pause &* 2, Limits.longestPause)
                if unsafe renew(&lookup, handle, key, at: careg_system_nanoseconds()),
                    unsafe answer(lookup, key, out)
                {
                    return CAREG_ANSWERED
                }
                code = unsafe ask(handle, question, key, lookup, deadline: deadline, &hasTurn, out)
            }
            if hasTurn, code == CAREG_E_UNAVAILABLE || code == CAREG_E_TIMEOUT {
                let now = careg_system_nanoseconds()
                let isCostly = code == CAREG_E_TIMEOUT || now >= deadline
                unsafe handle.pointee.link.noteFailure(at: now, cost: isCostly ? now &- start : 0)
            }
        }
        guard code == CAREG_E_UNAVAILABLE || code == CAREG_E_TIMEOUT else { return code }

        // Nobody answers. What bars a device may have ended meanwhile, but only a daemon could tell.
        if let reason = lookup.barringReason {
            unsafe careg_verdict.fill(out, lookup, reason: reason, key)
            return CAREG_ANSWERED
        }
        return lookup.standing == .stale ? CAREG_E_STALE : code
    }

    private static func answer(
        _ lookup: Lookup, _ key: MapFingerprint, _ out: UnsafeMutablePointer<careg_verdict>
    ) -> Bool {
        guard lookup.isDecided else { return false }
        unsafe careg_verdict.fill(out, lookup, reason: lookup.reading.reason, key)
        return true
    }

    /// Looks for a better map where this one is no good, or lacks the instance.
    ///
    /// - Returns: whether there is another one now; `lookup` is of it then.
    private static func renew(
        _ lookup: inout Lookup, _ handle: UnsafeMutablePointer<Handle>, _ key: MapFingerprint, at now: UInt64
    ) -> Bool {
        guard lookup.standing != .fresh || !lookup.knowsInstance else { return false }
        let hasMoved = unsafe moveOver(handle, at: now)
        // Another thread may have moved over.
        guard unsafe hasMoved || handle.pointee.map.load(ordering: .acquiring) != lookup.map else { return false }
        lookup = unsafe lookUp(handle, key)
        return true
    }

    /// CLOCK_MONOTONIC of the daemon's last sign of life, 0 where none is known.
    private static func signOfLife(_ lookup: Lookup) -> UInt64 {
        guard lookup.standing == .fresh, let map = unsafe lookup.map else { return 0 }
        return unsafe map.pointee.view.heartbeat
    }

    private static func ask(
        _ handle: UnsafeMutablePointer<Handle>, _ question: Question, _ key: MapFingerprint, _ lookup: Lookup,
        deadline: UInt64, _ hasTurn: inout Bool, _ out: UnsafeMutablePointer<careg_verdict>
    ) -> CInt {
        let nonce: UInt64 = if let map = unsafe lookup.map { unsafe map.pointee.view.nonce } else { 0 }
        let seconds = careg_system_seconds()
        return unsafe handle.pointee.link.ask(
            question, socketPath: handle.pointee.socketPath, deadline: deadline, hasTurn: &hasTurn
        ) { verdict in
            unsafe careg_verdict.fill(out, verdict, key, nonce: nonce, at: seconds)
        }
    }
}
