import CTrustMap
import Glibc
import Synchronization

/// How many slots of each kind a map has.
struct MapCapacity: Sendable, Equatable {
    /// A power of two.
    var instances: UInt32
    var paths: UInt32
    /// Bytes.
    var strings: UInt32
    /// A power of two.
    var devices: UInt32

    private static func aligned(_ offset: UInt64) -> UInt64 {
        let alignment = UInt64(TRUST_MAP_TABLE_ALIGNMENT)
        return (offset + alignment - 1) / alignment * alignment
    }

    /// Where the tables of a file begin, in the order of the layout, and where the file ends.
    var offsets: (instances: UInt64, paths: UInt64, strings: UInt64, devices: UInt64, end: UInt64) {
        let first = Self.aligned(UInt64(TRUST_MAP_HEADER_BYTES))
        let second = Self.aligned(first + UInt64(instances) * UInt64(TRUST_MAP_INSTANCE_BYTES))
        let third = Self.aligned(second + UInt64(paths) * UInt64(TRUST_MAP_PATH_BYTES))
        let fourth = Self.aligned(third + UInt64(strings))
        return (first, second, third, fourth, Self.aligned(fourth + UInt64(devices) * UInt64(TRUST_MAP_DEVICE_BYTES)))
    }
}

/// A trust map that this process writes: the mapping, its words and its life from making to unmapping.
///
/// One thread at a time changes slots (`TrustMapWriter` sees to it); heartbeats may come from any.
@safe final class MapFile: @unchecked Sendable {
    let view: MapView
    let capacity: MapCapacity
    private let base: UnsafeMutableRawPointer
    private let byteCount: Int

    /// Makes a new file at a path that nobody reads yet, with all its pages allocated, and maps it.
    ///
    /// - Parameters:
    ///   - group: the file's group; nil leaves the daemon's own.
    ///   - generation: for people.
    init(
        creating path: String, capacity: MapCapacity, group: UInt32?, generation: UInt64,
        longestStalenessMilliseconds: UInt32
    ) throws(TrustMapFault) {
        let offsets = capacity.offsets
        unsafe unlink(path)
        let file = unsafe open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o640)
        guard file >= 0 else { throw .system(call: "open", path: path, code: errno) }
        defer { close(file) }
        var isKept = false
        defer { if !isKept { unsafe unlink(path) } }

        try Self.requireSpace(for: offsets.end, on: file, path: path)
        // The umask may have taken bits away, and the group's readers need theirs.
        guard fchmod(file, 0o640) == 0 else { throw .system(call: "fchmod", path: path, code: errno) }
        if let group, fchown(file, uid_t.max, group) != 0 {
            throw .system(call: "fchown", path: path, code: errno)
        }
        // Allocated before use: a store into a page that the file system cannot give would be a SIGBUS.
        let code = posix_fallocate(file, 0, off_t(offsets.end))
        guard code == 0 else { throw .system(call: "posix_fallocate", path: path, code: code) }
        guard
            let mapped = unsafe mmap(nil, Int(offsets.end), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0),
            unsafe mapped != MAP_FAILED
        else { throw .system(call: "mmap", path: path, code: errno) }

        unsafe Self.writeHeader(
            at: mapped, capacity: capacity, generation: generation, longest: longestStalenessMilliseconds)
        do {
            view = try unsafe MapView(base: UnsafeRawPointer(mapped), size: Int(offsets.end))
        } catch {
            // The writer's own header, read back by the reader's rules: a layout error of ours.
            unsafe munmap(mapped, Int(offsets.end))
            throw .foreign(path: path)
        }
        unsafe base = mapped
        byteCount = Int(offsets.end)
        self.capacity = capacity
        isKept = true
    }

    deinit {
        unsafe munmap(base, byteCount)
    }

    /// A map takes half of what is free at most: the folder also holds sockets, and others' files.
    private static func requireSpace(for bytes: UInt64, on file: Int32, path: String) throws(TrustMapFault) {
        var space = statvfs()
        guard unsafe fstatvfs(file, &space) == 0 else { throw .system(call: "fstatvfs", path: path, code: errno) }
        let free = UInt64(space.f_bavail).multipliedReportingOverflow(by: UInt64(space.f_frsize))
        let available = free.overflow ? UInt64.max : free.partialValue
        guard bytes <= available / 2 else { throw .notEnoughSpace(needed: bytes, free: available) }
    }

    private static func writeHeader(
        at base: UnsafeMutableRawPointer, capacity: MapCapacity, generation: UInt64, longest: UInt32
    ) {
        var generator = SystemRandomNumberGenerator()
        let offsets = capacity.offsets
        var header = trust_map_header()
        header.magic = TRUST_MAP_MAGIC
        header.layout = TRUST_MAP_LAYOUT_VERSION
        header.state = TRUST_MAP_STATE_LIVE
        header.generation = generation
        header.nonce = generator.next()
        header.hash_key = (generator.next(), generator.next())
        header.file_bytes = offsets.end
        header.instance_offset = offsets.instances
        header.path_offset = offsets.paths
        header.string_offset = offsets.strings
        header.device_offset = offsets.devices
        header.instance_capacity = capacity.instances
        header.path_capacity = capacity.paths
        header.string_capacity = capacity.strings
        header.device_capacity = capacity.devices
        header.longest_staleness_ms = longest
        header.epoch = UInt64(TRUST_MAP_FIRST_EPOCH)
        header.heartbeat_ns = monotonicNanoseconds()
        unsafe base.storeBytes(of: header, as: trust_map_header.self)
        let boot = bootIdentity()
        unsafe base.storeBytes(of: boot.0, toByteOffset: Int(TRUST_MAP_OFFSET_BOOT_ID), as: UInt64.self)
        unsafe base.storeBytes(of: boot.1, toByteOffset: Int(TRUST_MAP_OFFSET_BOOT_ID) + 8, as: UInt64.self)
        let sum = unsafe MapView.checksum(ofHeaderAt: UnsafeRawPointer(base))
        unsafe base.storeBytes(of: sum, toByteOffset: Int(TRUST_MAP_OFFSET_CHECKSUM), as: UInt64.self)
    }

    // MARK: Words

    func store32(_ word: UInt32, at offset: Int) {
        unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt32>.self).pointee.store(word, ordering: .releasing)
    }

    func store64(_ word: UInt64, at offset: Int) {
        unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self).pointee.store(word, ordering: .releasing)
    }

    /// Plain bytes of a slot whose word is still empty: no reader looks at them.
    func storePlain<Value: BitwiseCopyable>(_ value: Value, at offset: Int) {
        unsafe base.storeBytes(of: value, toByteOffset: offset, as: Value.self)
    }

    /// Copies plain bytes out of another map, into tables that nobody reads yet.
    func copy(_ count: Int, from other: MapFile, at offset: Int, to target: Int) {
        unsafe (base + target).copyMemory(from: other.base + offset, byteCount: count)
    }

    // MARK: Header

    /// Says that statuses change from here on: readers wait or ask.
    func openEpoch() {
        store64(view.epoch | 1, at: Int(TRUST_MAP_OFFSET_EPOCH))
        // No store of a status may be seen before this one.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
    }

    /// Says that statuses are whole again.
    func closeEpoch() {
        store64((view.epoch | 1) &+ 1, at: Int(TRUST_MAP_OFFSET_EPOCH))
        // What was stored is seen by every reader that begins after the answer has left.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
    }

    func setRevision(_ revision: UInt64) {
        store64(revision, at: Int(TRUST_MAP_OFFSET_REVISION))
        atomicMemoryFence(ordering: .sequentiallyConsistent)
    }

    func beat() { store64(monotonicNanoseconds(), at: Int(TRUST_MAP_OFFSET_HEARTBEAT)) }

    func supersede() {
        store32(UInt32(TRUST_MAP_STATE_SUPERSEDED), at: Int(TRUST_MAP_OFFSET_STATE))
        atomicMemoryFence(ordering: .sequentiallyConsistent)
    }
}
