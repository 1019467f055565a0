internal import CCareg
internal import CCaregSystem
internal import CTrustMap
internal import Synchronization

/// A trust map in this process: checked, and mapped as long as the handle lives.
///
/// One that was replaced keeps its addresses, with zeros at them: a reader that is still on its way there finds neither
/// a yes nor a no, and no signal. That is why readers count nothing and wait for nobody.
@safe struct MappedMap: ~Copyable {
    let view: MapView
    let base: UnsafeRawPointer
    let byteCount: Int
    /// Whether its heartbeat counts from this boot.
    let isOfThisBoot: Bool
    /// The slot of the handle's instance, `MapReading.noSlot` until it was found.
    let instanceSlot = Atomic<UInt32>(MapReading.noSlot)
    /// CLOCK_MONOTONIC when another map took its place; 0 before that.
    var retiredAt: UInt64 = 0
    var next: UnsafeMutablePointer<MappedMap>?

    /// Maps the file at a path, where it is a live map other than the one that is in use.
    ///
    /// - Parameters:
    ///   - nonce: of the map that is in use.
    ///   - out: set where the return value is `CAREG_ANSWERED`.
    /// - Returns: `CAREG_NOT_IN_MAP` where there is no such file, or no other one, or none that is live.
    static func open(
        _ path: UnsafePointer<CChar>, bootID: (UInt64, UInt64), otherThan nonce: UInt64?,
        _ out: inout UnsafeMutablePointer<MappedMap>?
    ) -> CInt {
        var size: Int64 = 0
        let file = unsafe careg_system_open(path, &size)
        guard file >= 0 else { return Self.fault(ofOpening: file) }
        defer { careg_system_close(file) }
        if let nonce, readNonce(file) == nonce { return CAREG_NOT_IN_MAP }
        guard size > 0 else { return CAREG_E_TRUNCATED }
        let byteCount = Int(size)
        guard let base = unsafe careg_system_map(file, byteCount) else { return CAREG_E_MEMORY }
        let view: MapView
        do throws(MapFault) {
            view = try unsafe MapView(base: UnsafeRawPointer(base), size: byteCount)
        } catch {
            unsafe careg_system_unmap(base, byteCount)
            switch error {
            case .truncated: return CAREG_E_TRUNCATED
            case .foreign: return CAREG_E_FOREIGN
            case .otherLayout: return CAREG_E_LAYOUT
            case .damaged: return CAREG_E_DAMAGED
            }
        }
        guard view.isLive, let memory = unsafe calloc(1, MemoryLayout<MappedMap>.size) else {
            let isLive = view.isLive
            unsafe careg_system_unmap(base, byteCount)
            return isLive ? CAREG_E_MEMORY : CAREG_NOT_IN_MAP
        }
        let map = unsafe memory.assumingMemoryBound(to: MappedMap.self)
        let isOfThisBoot = view.bootID == bootID && bootID != (0, 0)
        unsafe map.initialize(
            to: MappedMap(
                view: view, base: UnsafeRawPointer(base), byteCount: byteCount, isOfThisBoot: isOfThisBoot, next: nil))
        unsafe out = unsafe map
        return CAREG_ANSWERED
    }

    private static func fault(ofOpening code: CInt) -> CInt {
        switch -code {
        case ENOENT, ENOTDIR: return CAREG_NOT_IN_MAP
        case EACCES, EPERM: return CAREG_E_DENIED
        case ENOMEM, EMFILE, ENFILE: return CAREG_E_MEMORY
        case EINVAL, ELOOP, ENXIO: return CAREG_E_FOREIGN
        default: return CAREG_E_SYSTEM
        }
    }

    private static func readNonce(_ file: CInt) -> UInt64 {
        var nonce: UInt64 = 0
        let count = unsafe careg_system_read(file, &nonce, 8, Int64(TRUST_MAP_OFFSET_NONCE))
        return count == 8 ? nonce : 0
    }

    static func free(_ map: UnsafeMutablePointer<MappedMap>) {
        unsafe careg_system_unmap(map.pointee.base, map.pointee.byteCount)
        unsafe map.deinitialize(count: 1)
        unsafe CCaregSystem.free(map)
    }

    /// Whether the map holds the instance, and it is not deleted.
    func holds(_ instance: MapInstanceID) -> Bool {
        guard let slot = slot(of: instance) else { return false }
        return view.instanceWord(slot) == TRUST_MAP_WORD_TRUSTED
    }

    /// The slot of the instance; a slot keeps its instance as long as the file lives.
    func slot(of instance: MapInstanceID) -> UInt32? {
        let known = instanceSlot.load(ordering: .relaxed)
        if known != MapReading.noSlot { return known }
        guard let found = view.findInstance(instance) else { return nil }
        instanceSlot.store(found, ordering: .relaxed)
        return found
    }
}
