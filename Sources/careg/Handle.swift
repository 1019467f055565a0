internal import CCareg
internal import CCaregSystem
internal import Synchronization

/// What a `careg *` points to.
///
/// All that varies is atomic: calls of any number of threads go on side by side, and none waits for another but for a
/// free connection. It lives in memory that was asked for with a check, because Swift ends the process where a class
/// or an array finds none.
@safe struct Handle: ~Copyable {
    let instance: MapInstanceID
    let stalenessMilliseconds: UInt32
    let timeoutNanoseconds: UInt64
    /// The boot that CLOCK_MONOTONIC counts from; zeros where the system does not tell: then every map is stale.
    let bootID: (UInt64, UInt64)
    /// The runtime folder and the socket in it, NUL at the end.
    let folder: UnsafeMutablePointer<CChar>
    let socketPath: UnsafeMutablePointer<CChar>
    /// The map's name, where the options gave one.
    let mapName: UnsafeMutablePointer<CChar>?
    /// Room for one path; whoever moves over uses it.
    let pathRoom: UnsafeMutablePointer<CChar>

    /// The map that readers use.
    let map = unsafe Atomic<UnsafeMutablePointer<MappedMap>?>(nil)
    /// All maps that are mapped, the latest first; whoever moves over changes it.
    var maps: UnsafeMutablePointer<MappedMap>?
    /// Why there is no map to look in; `CAREG_NOT_IN_MAP` where there is simply none.
    let mapFault = Atomic<CInt>(CAREG_NOT_IN_MAP)
    /// CLOCK_MONOTONIC of the last look for another map; 0: none yet.
    let lastMapSearch = Atomic<UInt64>(0)

    /// The connections, in memory that a forked child finds zeroed.
    let link: DaemonLink
}

extension Handle {
    /// Takes what the options say.
    ///
    /// - Returns: a return value of careg_open.
    static func make(_ options: CheckedOptions, _ out: inout UnsafeMutablePointer<Handle>?) -> CInt {
        guard let texts = HandleTexts(options) else { return CAREG_E_MEMORY }
        guard let link = DaemonLink.make() else {
            texts.free()
            return CAREG_E_MEMORY
        }
        guard let memory = unsafe calloc(1, MemoryLayout<Handle>.size) else {
            link.free()
            texts.free()
            return CAREG_E_MEMORY
        }
        let handle = unsafe memory.assumingMemoryBound(to: Handle.self)
        unsafe handle.initialize(
            to: Handle(
                instance: options.instance, stalenessMilliseconds: options.stalenessMilliseconds,
                timeoutNanoseconds: UInt64(options.timeoutMilliseconds) &* 1_000_000, bootID: readBootID(),
                folder: texts.folder, socketPath: texts.socketPath, mapName: texts.mapName, pathRoom: texts.pathRoom,
                maps: nil, link: link))
        unsafe out = unsafe handle
        return CAREG_ANSWERED
    }

    /// Gives back all that a handle holds.
    static func free(_ handle: UnsafeMutablePointer<Handle>) {
        unsafe handle.pointee.link.free()
        var next = unsafe handle.pointee.maps
        while let map = unsafe next {
            unsafe next = unsafe map.pointee.next
            unsafe MappedMap.free(map)
        }
        unsafe HandleTexts(of: handle).free()
        unsafe handle.deinitialize(count: 1)
        unsafe CCaregSystem.free(handle)
    }
}

/// The texts that a handle keeps.
@safe struct HandleTexts {
    let folder: UnsafeMutablePointer<CChar>
    let socketPath: UnsafeMutablePointer<CChar>
    let mapName: UnsafeMutablePointer<CChar>?
    let pathRoom: UnsafeMutablePointer<CChar>

    private static let socketName: StaticString = "/broker.sock"

    /// nil where there is no memory.
    init?(_ options: CheckedOptions) {
        let socketName = unsafe UnsafeRawPointer(Self.socketName.utf8Start).assumingMemoryBound(to: CChar.self)
        guard let folder = unsafe copyText(options.folder, nil) else { return nil }
        guard let socketPath = unsafe copyText(options.folder, socketName) else {
            unsafe CCaregSystem.free(folder)
            return nil
        }
        guard let room = unsafe calloc(1, unsafe strlen(folder) + Limits.nameBytes + 2) else {
            unsafe CCaregSystem.free(folder)
            unsafe CCaregSystem.free(socketPath)
            return nil
        }
        var mapName: UnsafeMutablePointer<CChar>?
        if let given = unsafe options.mapName {
            unsafe mapName = unsafe copyText(given, nil)
            if unsafe mapName == nil {
                unsafe CCaregSystem.free(folder)
                unsafe CCaregSystem.free(socketPath)
                unsafe CCaregSystem.free(room)
                return nil
            }
        }
        unsafe self.folder = unsafe folder
        unsafe self.socketPath = unsafe socketPath
        unsafe self.mapName = unsafe mapName
        unsafe pathRoom = unsafe room.assumingMemoryBound(to: CChar.self)
    }

    init(of handle: UnsafeMutablePointer<Handle>) {
        unsafe folder = unsafe handle.pointee.folder
        unsafe socketPath = unsafe handle.pointee.socketPath
        unsafe mapName = unsafe handle.pointee.mapName
        unsafe pathRoom = unsafe handle.pointee.pathRoom
    }

    func free() {
        unsafe CCaregSystem.free(folder)
        unsafe CCaregSystem.free(socketPath)
        unsafe CCaregSystem.free(mapName)
        unsafe CCaregSystem.free(pathRoom)
    }
}

/// One or two texts, one after the other, in memory of their own; nil where there is none.
private func copyText(_ first: UnsafePointer<CChar>, _ second: UnsafePointer<CChar>?) -> UnsafeMutablePointer<CChar>? {
    let firstCount = unsafe strlen(first)
    let secondCount = if let second = unsafe second { unsafe strlen(second) } else { 0 }
    guard let memory = unsafe calloc(1, firstCount + secondCount + 1) else { return nil }
    unsafe memory.copyMemory(from: first, byteCount: firstCount)
    if let second = unsafe second { unsafe (memory + firstCount).copyMemory(from: second, byteCount: secondCount) }
    return unsafe memory.assumingMemoryBound(to: CChar.self)
}

/// The kernel's name for this boot, as the daemon writes it into the map.
private func readBootID() -> (UInt64, UInt64) {
    let name: StaticString = "/proc/sys/kernel/random/boot_id"
    var size: Int64 = 0
    let file = unsafe careg_system_open(
        UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self), &size)
    guard file >= 0 else { return (0, 0) }
    defer { careg_system_close(file) }
    var text = InlineArray<64, UInt8>(repeating: 0)
    var count = 0
    do {
        var span = text.mutableSpan
        count = Int(unsafe span.withUnsafeMutableBytes { unsafe careg_system_read(file, $0.baseAddress, $0.count, 0) })
    }
    var words: (UInt64, UInt64) = (0, 0)
    var digits = 0
    for index in 0..<max(0, min(count, 64)) where digits < 32 {
        let byte = text[index]
        let value: UInt64
        switch byte {
        case 0x30...0x39: value = UInt64(byte &- 0x30)
        case 0x61...0x66: value = UInt64(byte &- 0x61 &+ 10)
        default: continue
        }
        if digits < 16 { words.0 = words.0 &<< 4 | value } else { words.1 = words.1 &<< 4 | value }
        digits &+= 1
    }
    return digits == 32 ? words : (0, 0)
}
