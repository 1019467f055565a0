// Shared with libcareg by a symbolic link: integers and raw memory only, no heap, no String, no trap on what a map says.

import CTrustMap
import Synchronization

/// What is wrong with a file that should be a trust map.
enum MapFault: UInt8, Error, Equatable {
    /// Shorter than a header, or than its header says.
    case truncated
    /// Not a trust map at all.
    case foreign
    /// A trust map of another layout version.
    case otherLayout
    /// The header's checksum or one of its offsets is wrong.
    case damaged
}

/// A trust map's mapping, checked: every offset below is known to lie within the mapped bytes.
///
/// It does not own the mapping. Whoever made it keeps the bytes mapped as long as a copy of the view is in use; that
/// they are replaced by zeros meanwhile is harmless, for zeros are neither a yes nor a no.
@safe struct MapView {
    let base: UnsafeRawPointer
    let nonce: UInt64
    let generation: UInt64
    let longestStalenessMilliseconds: UInt32
    let bootID: (UInt64, UInt64)
    let byteCount: Int
    let instanceCapacity: UInt32
    let pathCapacity: UInt32
    let stringCapacity: UInt32
    let deviceCapacity: UInt32
    let instanceOffset: Int
    let pathOffset: Int
    let stringOffset: Int
    let deviceOffset: Int
    private let hashKey: (UInt64, UInt64)

    /// Checks the header of a mapping.
    ///
    /// - Parameter size: bytes mapped at `base`, which is aligned to a page.
    /// - Throws: what is wrong with it; nothing is kept then.
    init(base: UnsafeRawPointer, size: Int) throws(MapFault) {
        guard size >= TRUST_MAP_HEADER_BYTES else {
            if size >= 8, unsafe base.load(as: UInt64.self) != TRUST_MAP_MAGIC { throw .foreign }
            throw .truncated
        }
        let header = unsafe base.load(as: trust_map_header.self)
        guard header.magic == TRUST_MAP_MAGIC else { throw .foreign }
        guard header.layout == TRUST_MAP_LAYOUT_VERSION else { throw .otherLayout }
        guard unsafe header.checksum == Self.checksum(ofHeaderAt: base) else { throw .damaged }
        guard header.file_bytes <= UInt64(Int.max) else { throw .damaged }
        guard header.file_bytes <= UInt64(size) else { throw .truncated }
        let isPowerOfTwo = { (count: UInt32) in count != 0 && count & (count &- 1) == 0 }
        guard isPowerOfTwo(header.instance_capacity), isPowerOfTwo(header.device_capacity) else { throw .damaged }
        let limit = header.file_bytes
        guard
            Self.fits(header.instance_offset, header.instance_capacity, TRUST_MAP_INSTANCE_BYTES, limit),
            Self.fits(header.path_offset, header.path_capacity, TRUST_MAP_PATH_BYTES, limit),
            Self.fits(header.string_offset, header.string_capacity, 1, limit),
            Self.fits(header.device_offset, header.device_capacity, TRUST_MAP_DEVICE_BYTES, limit)
        else { throw .damaged }

        unsafe self.base = unsafe base
        nonce = header.nonce
        generation = header.generation
        longestStalenessMilliseconds = header.longest_staleness_ms
        bootID = unsafe (
            base.load(fromByteOffset: Int(TRUST_MAP_OFFSET_BOOT_ID), as: UInt64.self),
            base.load(fromByteOffset: Int(TRUST_MAP_OFFSET_BOOT_ID) + 8, as: UInt64.self)
        )
        byteCount = Int(header.file_bytes)
        instanceCapacity = header.instance_capacity
        pathCapacity = header.path_capacity
        stringCapacity = header.string_capacity
        deviceCapacity = header.device_capacity
        instanceOffset = Int(header.instance_offset)
        pathOffset = Int(header.path_offset)
        stringOffset = Int(header.string_offset)
        deviceOffset = Int(header.device_offset)
        hashKey = (header.hash_key.0, header.hash_key.1)
    }

    private static func fits(_ offset: UInt64, _ count: UInt32, _ width: Int32, _ limit: UInt64) -> Bool {
        // 32 bits times a width of two digits cannot overflow 64.
        let bytes = UInt64(count) &* UInt64(width)
        return offset % 8 == 0 && offset >= UInt64(TRUST_MAP_HEADER_BYTES) && offset <= limit
            && bytes <= limit &- offset
    }

    /// FNV-1a over the immutable part of the header, the state left out.
    static func checksum(ofHeaderAt base: UnsafeRawPointer) -> UInt64 {
        var sum: UInt64 = 0xcbf2_9ce4_8422_2325
        for offset in 0..<Int(TRUST_MAP_CHECKED_BYTES) where offset < 12 || offset >= 16 {
            sum = (sum ^ UInt64(unsafe base.load(fromByteOffset: offset, as: UInt8.self))) &* 0x0000_0100_0000_01b3
        }
        return sum
    }

    // MARK: Words of the header

    @inline(__always)
    func word32(at offset: Int) -> UInt32 {
        unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt32>.self).pointee.load(ordering: .acquiring)
    }

    @inline(__always)
    func word64(at offset: Int) -> UInt64 {
        unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self).pointee.load(ordering: .acquiring)
    }

    /// Plain bytes of a slot: only after its word was seen not to be empty.
    @inline(__always)
    private func plain<Value: BitwiseCopyable>(_ offset: Int, as type: Value.Type) -> Value {
        unsafe base.load(fromByteOffset: offset, as: type)
    }

    @inline(__always)
    var isLive: Bool { word32(at: Int(TRUST_MAP_OFFSET_STATE)) == TRUST_MAP_STATE_LIVE }

    @inline(__always)
    var epoch: UInt64 { word64(at: Int(TRUST_MAP_OFFSET_EPOCH)) }

    @inline(__always)
    var revision: UInt64 { word64(at: Int(TRUST_MAP_OFFSET_REVISION)) }

    /// Nanoseconds of CLOCK_MONOTONIC.
    @inline(__always)
    var heartbeat: UInt64 { word64(at: Int(TRUST_MAP_OFFSET_HEARTBEAT)) }

    // MARK: Slots

    @inline(__always)
    func instanceBase(_ slot: UInt32) -> Int {
        instanceOffset &+ Int(slot) &* Int(TRUST_MAP_INSTANCE_BYTES)
    }

    @inline(__always)
    func pathBase(_ slot: UInt32) -> Int {
        pathOffset &+ Int(slot) &* Int(TRUST_MAP_PATH_BYTES)
    }

    @inline(__always)
    func deviceBase(_ slot: UInt32) -> Int {
        deviceOffset &+ Int(slot) &* Int(TRUST_MAP_DEVICE_BYTES)
    }

    func instanceWord(_ slot: UInt32) -> UInt32 {
        word32(at: instanceBase(slot) &+ Int(TRUST_MAP_INSTANCE_OFFSET_WORD))
    }

    @inline(__always)
    func deviceWord(_ slot: UInt32) -> UInt32 {
        word32(at: deviceBase(slot) &+ Int(TRUST_MAP_DEVICE_OFFSET_WORD))
    }

    @inline(__always)
    func pathWord(_ slot: UInt32) -> UInt32 {
        word32(at: pathBase(slot) &+ Int(TRUST_MAP_PATH_OFFSET_WORD))
    }

    /// An instance's key: only after its word was seen not to be empty.
    func instanceID(_ slot: UInt32) -> MapInstanceID {
        let base = instanceBase(slot)
        var id = MapInstanceID()
        for index in 0..<8 { id.words[index] = plain(base &+ index &* 8, as: UInt64.self) }
        id.length = plain(base &+ Int(TRUST_MAP_INSTANCE_OFFSET_LENGTH), as: UInt32.self)
        return id
    }

    /// A path's immutable part: only after its word was seen not to be empty.
    func path(_ slot: UInt32) -> trust_map_path { plain(pathBase(slot), as: trust_map_path.self) }

    /// A device's immutable part: only after its word was seen not to be empty.
    func device(_ slot: UInt32) -> trust_map_device { plain(deviceBase(slot), as: trust_map_device.self) }

    /// Where a path's serial number stands, as bytes of text; nil where the slot does not say anything sensible.
    func serial(ofPath slot: UInt32) -> UnsafeRawBufferPointer? {
        let start = plain(pathBase(slot) &+ Int(TRUST_MAP_PATH_OFFSET_SN_OFFSET), as: UInt32.self)
        let length = plain(pathBase(slot) &+ Int(TRUST_MAP_PATH_OFFSET_SN_LENGTH), as: UInt32.self)
        guard length <= TRUST_MAP_SERIAL_BYTES, start <= stringCapacity, length <= stringCapacity &- start else {
            return nil
        }
        return unsafe UnsafeRawBufferPointer(start: base + stringOffset + Int(start), count: Int(length))
    }

    // MARK: Searching

    /// The first slot in which a search for an instance looks.
    func firstSlot(of id: MapInstanceID) -> UInt32 {
        var hash = MapHash(key0: hashKey.0, key1: hashKey.1)
        for index in 0..<8 { hash.combine(id.words[index]) }
        return UInt32(truncatingIfNeeded: hash.finish()) & (instanceCapacity &- 1)
    }

    /// The slot of an instance, also of one that was deleted: its word tells.
    func findInstance(_ id: MapInstanceID) -> UInt32? {
        var slot = firstSlot(of: id)
        for _ in 0..<TRUST_MAP_PROBE_LIMIT {
            let word = instanceWord(slot)
            if word == TRUST_MAP_WORD_EMPTY { return nil }
            if instanceID(slot) == id { return slot }
            slot = (slot &+ 1) & (instanceCapacity &- 1)
        }
        return nil
    }

    /// The first slot in which a search for a device looks.
    @inline(__always)
    func firstSlot(of fingerprint: MapFingerprint, instance: UInt32) -> UInt32 {
        var hash = MapHash(key0: hashKey.0, key1: hashKey.1)
        hash.combine(fingerprint.word0)
        hash.combine(fingerprint.word1)
        hash.combine(fingerprint.word2)
        hash.combine(fingerprint.word3)
        hash.combine(UInt64(instance))
        return UInt32(truncatingIfNeeded: hash.finish()) & (deviceCapacity &- 1)
    }

    /// The slot of a device's instance: only after its word was seen not to be empty.
    @inline(__always)
    func deviceInstance(_ slot: UInt32) -> UInt32 {
        plain(deviceBase(slot) &+ Int(TRUST_MAP_DEVICE_OFFSET_INSTANCE), as: UInt32.self)
    }

    /// Whether a slot, whose word was seen not to be empty, holds this device.
    @inline(__always)
    func slot(_ slot: UInt32, holds fingerprint: MapFingerprint, instance: UInt32) -> Bool {
        let base = deviceBase(slot)
        var difference = plain(base, as: UInt64.self) ^ fingerprint.word0
        difference |= plain(base &+ 8, as: UInt64.self) ^ fingerprint.word1
        difference |= plain(base &+ 16, as: UInt64.self) ^ fingerprint.word2
        difference |= plain(base &+ 24, as: UInt64.self) ^ fingerprint.word3
        return difference == 0 && deviceInstance(slot) == instance
    }

    /// The slot that holds a device.
    @inline(__always)
    func findDevice(_ fingerprint: MapFingerprint, instance: UInt32) -> UInt32? {
        findDevice(fingerprint, instance: instance, from: firstSlot(of: fingerprint, instance: instance))
    }

    /// The slot that holds a device, by a search that begins at its first slot.
    @inline(__always)
    func findDevice(_ fingerprint: MapFingerprint, instance: UInt32, from first: UInt32) -> UInt32? {
        var slot = first
        for _ in 0..<TRUST_MAP_PROBE_LIMIT {
            let word = deviceWord(slot)
            if word == TRUST_MAP_WORD_EMPTY { return nil }
            if self.slot(slot, holds: fingerprint, instance: instance) { return slot }
            slot = (slot &+ 1) & (deviceCapacity &- 1)
        }
        return nil
    }
}
