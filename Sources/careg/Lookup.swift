internal import CCareg
internal import CCaregSystem
internal import CTrustMap
internal import Synchronization

/// How far a handle's map can be relied upon.
enum MapStanding {
    /// There is none.
    case none
    /// Another one takes its place.
    case superseded
    /// The daemon's last sign of life is older than the limit.
    case stale
    case fresh
}

/// What a handle's map says of one device.
@safe struct Lookup {
    var standing = MapStanding.none
    var reading = MapReading()
    var map: UnsafeMutablePointer<MappedMap>?
    /// Unix time of the answer.
    var seconds: Int64 = 0
    /// Whether the map holds the handle's instance, and it is not deleted.
    var knowsInstance = false

    /// Whether the map answers by itself.
    var isDecided: Bool { standing == .fresh && reading.outcome == .decided }

    /// A reason that bars the device, also where the map is stale; nil where there is none. It stands where nobody
    /// answers.
    var barringReason: UInt32? {
        guard standing == .fresh || standing == .stale else { return nil }
        if reading.outcome == .decided { return reading.reason != TRUST_MAP_WORD_TRUSTED ? reading.reason : nil }
        return reading.barredReason != 0 ? reading.barredReason : nil
    }
}

extension Handle {
    /// Looks a device up.
    ///
    /// The order of it is for speed: what is likely to be far away is fetched first, while the clocks are read, and
    /// nothing is called after that.
    ///
    /// - Parameter hint: a slot that may be the device's; it is not relied upon.
    @inline(__always)
    static func lookUp(
        _ handle: UnsafeMutablePointer<Handle>, _ fingerprint: MapFingerprint, hint: UInt32 = MapReading.noSlot
    ) -> Lookup {
        var result = Lookup()
        guard let map = unsafe handle.pointee.map.load(ordering: .acquiring) else {
            result.seconds = careg_system_seconds()
            return result
        }
        unsafe result.map = unsafe map
        let instance = unsafe slot(in: map, handle) ?? MapReading.noSlot
        var place = MapPlace(slot: hint, isHint: true)
        if unsafe hint >= map.pointee.view.deviceCapacity {
            place.slot = unsafe map.pointee.view.firstSlot(of: fingerprint, instance: instance)
            place.isHint = false
        }
        let first = unsafe map.pointee.view.base + map.pointee.view.deviceBase(place.slot)
        unsafe careg_system_prefetch(first)
        unsafe careg_system_prefetch(first + Int(TRUST_MAP_DEVICE_BYTES))
        unsafe careg_system_prefetch(first + 2 * Int(TRUST_MAP_DEVICE_BYTES))
        // Loaded before the clock is read: a beat in between would look like one of the future.
        let heartbeat = unsafe map.pointee.view.heartbeat
        result.seconds = careg_system_seconds()
        let now = careg_system_nanoseconds()

        guard unsafe map.pointee.view.isLive else {
            result.standing = .superseded
            return result
        }
        let limit = unsafe handle.pointee.stalenessMilliseconds
        let isFresh =
            unsafe map.pointee.isOfThisBoot
            && map.pointee.view.isFresh(heartbeat: heartbeat, now: now, limit: limit)
        result.standing = isFresh ? .fresh : .stale
        guard instance != MapReading.noSlot else { return result }
        result.knowsInstance = unsafe map.pointee.view.instanceWord(instance) == TRUST_MAP_WORD_TRUSTED
        result.reading = unsafe map.pointee.view.read(
            fingerprint, instance: instance, at: place, now: result.seconds)
        if result.reading.outcome == .superseded { result.standing = .superseded }
        return result
    }

    /// Whether a session is trusted, where the map that it came from is the one in use: what nearly every message asks.
    ///
    /// - Returns: false where it is not, or where that takes a search: `lookUp` tells.
    @inline(__always)
    static func isTrusted(
        _ handle: UnsafeMutablePointer<Handle>, _ session: UnsafePointer<careg_session>
    ) -> Bool {
        guard let map = unsafe handle.pointee.map.load(ordering: .acquiring) else { return false }
        let slot = unsafe Session.slot(session)
        let instance = unsafe map.pointee.instanceSlot.load(ordering: .relaxed)
        // A slot keeps its key as long as its file lives.
        guard unsafe Session.nonce(session) == map.pointee.view.nonce, unsafe slot < map.pointee.view.deviceCapacity,
            instance != MapReading.noSlot, unsafe map.pointee.isOfThisBoot,
            unsafe map.pointee.view.deviceInstance(slot) == instance
        else { return false }
        let heartbeat = unsafe map.pointee.view.heartbeat
        let limit = unsafe handle.pointee.stalenessMilliseconds
        let seconds = careg_system_seconds()
        let now = careg_system_nanoseconds()
        return unsafe map.pointee.view.isTrusted(slot: slot, instance: instance, now: seconds)
            && map.pointee.view.isFresh(heartbeat: heartbeat, now: now, limit: limit)
    }

    /// The slot of the handle's instance.
    @inline(__always)
    private static func slot(
        in map: UnsafeMutablePointer<MappedMap>, _ handle: UnsafeMutablePointer<Handle>
    ) -> UInt32? {
        let known = unsafe map.pointee.instanceSlot.load(ordering: .relaxed)
        return known != MapReading.noSlot ? known : unsafe findSlot(in: map, handle)
    }

    @inline(never)
    private static func findSlot(
        in map: UnsafeMutablePointer<MappedMap>, _ handle: UnsafeMutablePointer<Handle>
    ) -> UInt32? {
        unsafe map.pointee.slot(of: handle.pointee.instance)
    }

    /// Whether the daemon gave a sign of life within the handle's limit.
    @inline(__always)
    static func isFresh(_ map: UnsafeMutablePointer<MappedMap>, _ handle: UnsafeMutablePointer<Handle>) -> Bool {
        guard unsafe map.pointee.isOfThisBoot else { return false }
        // Loaded before the clock is read: a beat in between would look like one of the future.
        let heartbeat = unsafe map.pointee.view.heartbeat
        return unsafe map.pointee.view.isFresh(
            heartbeat: heartbeat, now: careg_system_nanoseconds(), limit: handle.pointee.stalenessMilliseconds)
    }
}

/// SHA-256 of a certificate, as the map keys it.
@inline(__always)
func fingerprint(of der: UnsafePointer<UInt8>?, _ length: Int) -> MapFingerprint {
    var digest: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    unsafe withUnsafeMutableBytes(of: &digest) { bytes in
        unsafe careg_system_sha256(
            der, length, bytes.baseAddress?.assumingMemoryBound(to: UInt64.self))
    }
    return MapFingerprint(
        word0: UInt64(littleEndian: digest.0), word1: UInt64(littleEndian: digest.1),
        word2: UInt64(littleEndian: digest.2), word3: UInt64(littleEndian: digest.3))
}
