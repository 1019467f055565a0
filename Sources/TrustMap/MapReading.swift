// Shared with libcareg by a symbolic link: integers and raw memory only, no heap, no String, no trap on what a map says.

import CTrustMap

/// How a search in the map ended.
enum MapOutcome: UInt8 {
    /// `reason` is exactly what Verify would say at that moment.
    case decided
    /// Not in the map, or known and not to be decided from it alone.
    case ask
    /// This map speaks for nothing any more: another one takes its place.
    case superseded
}

/// Where a search for a device begins.
struct MapPlace {
    var slot: UInt32
    /// It held the device once, perhaps in another map; otherwise it is the first slot of the device's fingerprint.
    var isHint: Bool
}

/// What the map says of one device at one moment.
struct MapReading {
    var outcome: MapOutcome = .ask
    /// A verdict's raw reason; 0 unless decided.
    var reason: UInt32 = 0
    /// Where the map asks: the reason that bars this device on every path, or 0. It stands only where nobody answers.
    var barredReason: UInt32 = 0
    /// Unix seconds: the first moment at which time alone ends this answer; 0 where time does not.
    var validUntil: Int64 = 0
    /// The registry's revision that the answer speaks of.
    var revision: UInt64 = 0
    /// The device's slot, `MapReading.noSlot` where it is not in the map.
    var slot: UInt32 = MapReading.noSlot
    /// The slot of the device's path; meaningful where `slot` is.
    var path: UInt32 = MapReading.noSlot

    static let noSlot = UInt32.max
}

extension MapView {
    /// How often a reader starts again before it asks instead: a change of statuses takes well under a microsecond.
    private static var attempts: Int { 8 }

    /// What the map says of a device.
    ///
    /// - Parameters:
    ///   - instance: the slot of the instance.
    ///   - place: where to look first; its slot is below the capacity.
    ///   - now: unix seconds.
    @inline(__always)
    func read(_ fingerprint: MapFingerprint, instance: UInt32, at place: MapPlace, now: Int64) -> MapReading {
        for _ in 0..<Self.attempts {
            guard isLive else { return MapReading(outcome: .superseded) }
            let before = epoch
            if before & 1 != 0 { continue }
            let reading = readOnce(fingerprint, instance: instance, at: place, now: now)
            // Every load in between was an acquire: none of them can have happened after this one.
            if epoch == before { return reading }
        }
        return MapReading()
    }

    /// Whether the device in a slot is trusted: all parts of a yes, in one attempt and without a search. What is no yes
    /// here, `read` explains.
    ///
    /// - Parameters:
    ///   - slot: known to hold the device in this very file, and below the capacity.
    ///   - instance: the slot of the instance, below the capacity.
    ///   - now: unix seconds.
    @inline(__always)
    func isTrusted(slot: UInt32, instance: UInt32, now: Int64) -> Bool {
        let before = epoch
        let entry = deviceBase(slot)
        let path = word32(at: entry &+ Int(TRUST_MAP_DEVICE_OFFSET_PATH))
        guard isLive, before & 1 == 0, path < pathCapacity else { return false }
        let pathEntry = pathBase(path)
        // As in `decide`: the words first, then what they vouch for.
        var isGood = word32(at: pathEntry &+ Int(TRUST_MAP_PATH_OFFSET_WORD)) == TRUST_MAP_WORD_TRUSTED
        isGood = word32(at: entry &+ Int(TRUST_MAP_DEVICE_OFFSET_WORD)) == TRUST_MAP_WORD_TRUSTED && isGood
        isGood = instanceWord(instance) == TRUST_MAP_WORD_TRUSTED && isGood
        isGood = signed(at: pathEntry &+ Int(TRUST_MAP_PATH_OFFSET_NOT_BEFORE)) <= now && isGood
        isGood = signed(at: pathEntry &+ Int(TRUST_MAP_PATH_OFFSET_NOT_AFTER)) >= now && isGood
        isGood = signed(at: entry &+ Int(TRUST_MAP_DEVICE_OFFSET_NOT_BEFORE)) <= now && isGood
        isGood = signed(at: entry &+ Int(TRUST_MAP_DEVICE_OFFSET_NOT_AFTER)) >= now && isGood
        return isGood && epoch == before
    }

    /// One attempt, between two loads of the epoch.
    @inline(__always)
    private func readOnce(
        _ fingerprint: MapFingerprint, instance: UInt32, at place: MapPlace, now: Int64
    ) -> MapReading {
        var reading = MapReading()
        reading.revision = revision
        let slot: UInt32
        if place.isHint, deviceWord(place.slot) != TRUST_MAP_WORD_EMPTY,
            self.slot(place.slot, holds: fingerprint, instance: instance)
        {
            slot = place.slot
        } else if let found = place.isHint
            ? findDevice(fingerprint, instance: instance)
            : findDevice(fingerprint, instance: instance, from: place.slot)
        {
            slot = found
        } else {
            return reading
        }
        let entry = deviceBase(slot)
        let path = word32(at: entry &+ Int(TRUST_MAP_DEVICE_OFFSET_PATH))
        guard path < pathCapacity else { return reading }
        reading.slot = slot
        reading.path = path
        decide(
            &reading, pathEntry: pathBase(path), entry: entry,
            isInstanceLive: instanceWord(instance) == TRUST_MAP_WORD_TRUSTED, at: now)
        return reading
    }

    /// The rule. A yes needs every part; a no is said only where one part alone is in the way, for of several reasons
    /// the daemon picks the one to mend first, and where the path is in the way another one may be open.
    @inline(__always)
    private func decide(
        _ reading: inout MapReading, pathEntry: Int, entry: Int, isInstanceLive: Bool, at now: Int64
    ) {
        let pathWord = word32(at: pathEntry &+ Int(TRUST_MAP_PATH_OFFSET_WORD))
        let deviceWord = word32(at: entry &+ Int(TRUST_MAP_DEVICE_OFFSET_WORD))
        guard isInstanceLive, Self.isReason(deviceWord) else { return }
        let isBarred = deviceWord != TRUST_MAP_WORD_TRUSTED
        if isBarred { reading.barredReason = deviceWord }
        guard Self.isReason(pathWord) else { return }

        let pathStart = signed(at: pathEntry &+ Int(TRUST_MAP_PATH_OFFSET_NOT_BEFORE))
        let pathEnd = signed(at: pathEntry &+ Int(TRUST_MAP_PATH_OFFSET_NOT_AFTER))
        let start = signed(at: entry &+ Int(TRUST_MAP_DEVICE_OFFSET_NOT_BEFORE))
        let end = signed(at: entry &+ Int(TRUST_MAP_DEVICE_OFFSET_NOT_AFTER))
        // Both ends belong to a period.
        let isPathInForce = now >= pathStart && now <= pathEnd
        let isDeviceInForce = now >= start && now <= end

        if pathWord != TRUST_MAP_WORD_TRUSTED {
            guard isPathInForce, isDeviceInForce, !isBarred else { return }
            reading.outcome = .decided
            reading.reason = pathWord
        } else if isPathInForce, isDeviceInForce {
            reading.outcome = .decided
            reading.reason = deviceWord
            guard !isBarred else { return }
            let last = pathEnd < end ? pathEnd : end
            reading.validUntil = last == Int64.max ? 0 : last &+ 1
        } else if isPathInForce, !isBarred {
            reading.outcome = .decided
            reading.reason = now < start ? TRUST_MAP_WORD_DEVICE_NOT_YET_VALID : TRUST_MAP_WORD_DEVICE_EXPIRED
        }
    }

    @inline(__always)
    private func signed(at offset: Int) -> Int64 { Int64(bitPattern: word64(at: offset)) }

    /// Whether a word is a verdict's reason.
    @inline(__always)
    static func isReason(_ word: UInt32) -> Bool {
        word >= TRUST_MAP_WORD_TRUSTED && word <= TRUST_MAP_WORD_LAST_REASON
    }

    /// Whether the daemon gave a sign of life lately.
    ///
    /// - Parameters:
    ///   - heartbeat: loaded before `now` was read, so that a beat in between cannot look like one of the future.
    ///   - now: nanoseconds of CLOCK_MONOTONIC.
    ///   - limit: the reader's staleness limit, milliseconds; the map's own longest one caps it.
    @inline(__always)
    func isFresh(heartbeat: UInt64, now: UInt64, limit: UInt32) -> Bool {
        let milliseconds = limit < longestStalenessMilliseconds ? limit : longestStalenessMilliseconds
        guard heartbeat <= now else { return false }
        return now &- heartbeat <= UInt64(milliseconds) &* 1_000_000
    }
}
