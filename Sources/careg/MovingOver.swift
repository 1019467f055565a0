internal import CCareg
internal import CCaregSystem
internal import CTrustMap
internal import Synchronization

// How a handle finds its map, and moves over to the one that takes its place. One thread at a time does, and nobody
// waits for it.

extension Handle {
    /// Looks for a map that is better than the one in use, unless that was done just now.
    ///
    /// - Parameter now: CLOCK_MONOTONIC.
    /// - Returns: whether there is another map now.
    static func moveOver(_ handle: UnsafeMutablePointer<Handle>, at now: UInt64) -> Bool {
        let current = unsafe handle.pointee.map.load(ordering: .acquiring)
        let isGood = unsafe isGood(current, handle)
        let last = unsafe handle.pointee.lastMapSearch.load(ordering: .relaxed)
        guard last == 0 || now &- last >= (isGood ? Limits.calmMapInterval : Limits.mapInterval) else { return false }
        guard unsafe handle.pointee.link.tryMoving() else { return false }
        defer { unsafe handle.pointee.link.endMoving() }
        // Another thread may just have been at it: its map is not replaced by itself.
        guard unsafe handle.pointee.map.load(ordering: .acquiring) == current else { return false }
        unsafe handle.pointee.lastMapSearch.store(max(1, now), ordering: .relaxed)

        var best: UnsafeMutablePointer<MappedMap>?
        let fault = unsafe search(handle, otherThan: current, &best)
        guard let best = unsafe best else {
            if unsafe current == nil { unsafe handle.pointee.mapFault.store(fault, ordering: .relaxed) }
            return false
        }
        // A map that lacks the instance too is no gain over one that is good.
        if isGood, unsafe !best.pointee.holds(handle.pointee.instance) {
            unsafe MappedMap.free(best)
            return false
        }
        unsafe replace(current, by: best, handle, at: now)
        return true
    }

    private static func isGood(
        _ map: UnsafeMutablePointer<MappedMap>?, _ handle: UnsafeMutablePointer<Handle>
    ) -> Bool {
        guard let map = unsafe map, unsafe map.pointee.view.isLive else { return false }
        return unsafe isFresh(map, handle)
    }

    private static func replace(
        _ current: UnsafeMutablePointer<MappedMap>?, by map: UnsafeMutablePointer<MappedMap>,
        _ handle: UnsafeMutablePointer<Handle>, at now: UInt64
    ) {
        unsafe map.pointee.next = unsafe handle.pointee.maps
        unsafe handle.pointee.maps = unsafe map
        unsafe handle.pointee.map.store(map, ordering: .sequentiallyConsistent)
        unsafe handle.pointee.mapFault.store(CAREG_NOT_IN_MAP, ordering: .relaxed)
        guard let current = unsafe current else { return }
        unsafe current.pointee.retiredAt = max(1, now)
        // Where that fails, the old map's memory is given back with the handle.
        _ = unsafe careg_system_blank(current.pointee.base, current.pointee.byteCount)
        unsafe forgetRetired(handle, at: now)
    }

    /// Gives back the addresses of maps that no reader can still be on its way in.
    private static func forgetRetired(_ handle: UnsafeMutablePointer<Handle>, at now: UInt64) {
        var kept = 0
        // The first one is in use.
        var previous = unsafe handle.pointee.maps
        while let last = unsafe previous, let map = unsafe last.pointee.next {
            kept &+= 1
            let age = unsafe now &- map.pointee.retiredAt
            if unsafe kept > Limits.retiredMaps && map.pointee.retiredAt != 0 && age > Limits.retirement {
                unsafe last.pointee.next = unsafe map.pointee.next
                unsafe MappedMap.free(map)
            } else {
                unsafe previous = unsafe map
            }
        }
    }

    // MARK: Searching

    private static let defaultName: StaticString = "trust.map"

    /// The map that the options name; or trust.map; or, where that cannot be read or lacks the instance, the first
    /// `trust.GROUP.map` that can be read and holds it.
    ///
    /// - Returns: why there is none, where `best` stays nil.
    private static func search(
        _ handle: UnsafeMutablePointer<Handle>, otherThan current: UnsafeMutablePointer<MappedMap>?,
        _ best: inout UnsafeMutablePointer<MappedMap>?
    ) -> CInt {
        let name = unsafe handle.pointee.mapName
        let plainName = unsafe UnsafeRawPointer(defaultName.utf8Start).assumingMemoryBound(to: CChar.self)
        let fault = unsafe open(name ?? UnsafeMutablePointer(mutating: plainName), handle, otherThan: current, &best)
        if unsafe name != nil { return fault }
        if let found = unsafe best, unsafe found.pointee.holds(handle.pointee.instance) { return fault }

        guard let folder = unsafe careg_system_open_folder(handle.pointee.folder) else { return fault }
        defer { unsafe careg_system_close_folder(folder) }
        for _ in 0..<Limits.folderEntries {
            guard let name = unsafe careg_system_next_name(folder) else { break }
            guard unsafe isGroupMapName(name) else { continue }
            var candidate: UnsafeMutablePointer<MappedMap>?
            _ = unsafe open(name, handle, otherThan: current, &candidate)
            guard let candidate = unsafe candidate else { continue }
            if unsafe candidate.pointee.holds(handle.pointee.instance) {
                if let other = unsafe best { unsafe MappedMap.free(other) }
                unsafe best = unsafe candidate
                return CAREG_ANSWERED
            }
            unsafe MappedMap.free(candidate)
        }
        return fault
    }

    private static func open(
        _ name: UnsafePointer<CChar>, _ handle: UnsafeMutablePointer<Handle>,
        otherThan current: UnsafeMutablePointer<MappedMap>?, _ out: inout UnsafeMutablePointer<MappedMap>?
    ) -> CInt {
        let folderBytes = unsafe strlen(handle.pointee.folder)
        let nameBytes = unsafe strlen(name)
        guard nameBytes <= Limits.nameBytes else { return CAREG_NOT_IN_MAP }
        let room = unsafe handle.pointee.pathRoom
        unsafe UnsafeMutableRawPointer(room).copyMemory(from: handle.pointee.folder, byteCount: folderBytes)
        unsafe (room + folderBytes).pointee = 0x2f
        unsafe UnsafeMutableRawPointer(room + folderBytes + 1).copyMemory(from: name, byteCount: nameBytes + 1)
        let nonce: UInt64? = if let current = unsafe current { unsafe current.pointee.view.nonce } else { nil }
        return unsafe MappedMap.open(room, bootID: handle.pointee.bootID, otherThan: nonce, &out)
    }

    /// Whether a name is `trust.GROUP.map`.
    private static func isGroupMapName(_ name: UnsafePointer<CChar>) -> Bool {
        let start: StaticString = "trust."
        let end: StaticString = ".map"
        let count = unsafe strlen(name)
        guard count > start.utf8CodeUnitCount + end.utf8CodeUnitCount, count <= Limits.nameBytes else { return false }
        return unsafe memcmp(name, start.utf8Start, start.utf8CodeUnitCount) == 0
            && memcmp(name + count - end.utf8CodeUnitCount, end.utf8Start, end.utf8CodeUnitCount) == 0
    }
}
