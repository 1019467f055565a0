internal import CCareg
internal import CCaregSystem

/// Options that make sense: what is left out has its default.
@safe struct CheckedOptions {
    let instance: MapInstanceID
    let folder: UnsafePointer<CChar>
    let mapName: UnsafePointer<CChar>?
    let stalenessMilliseconds: UInt32
    let timeoutMilliseconds: UInt32

    private static let defaultFolder: StaticString = "/run/caregd"
    /// The first version of the struct: all up to `timeout_ms`.
    private static let firstSize = MemoryLayout<Int>.size * 3 + 8
    private static let socketName = 12

    /// nil where the options do not make sense.
    init?(_ options: UnsafePointer<careg_options>) {
        // Before anything else is read: the caller's struct may be a shorter one.
        let size = unsafe options.pointee.size
        guard size >= Self.firstSize else { return nil }
        guard let instance = unsafe options.pointee.instance else { return nil }
        var id = MapInstanceID()
        var next = unsafe instance
        while unsafe next.pointee != 0 {
            guard unsafe id.append(UInt8(bitPattern: next.pointee)) else { return nil }
            unsafe next += 1
        }
        guard id.length > 0 else { return nil }
        self.instance = id

        let staleness = unsafe options.pointee.staleness_ms
        let timeout = unsafe options.pointee.timeout_ms
        guard staleness <= Limits.stalenessMilliseconds, timeout <= Limits.timeoutMilliseconds else { return nil }
        stalenessMilliseconds = staleness == 0 ? Limits.defaultStalenessMilliseconds : staleness
        timeoutMilliseconds = timeout == 0 ? Limits.defaultTimeoutMilliseconds : timeout

        if let given = unsafe options.pointee.runtime_dir, unsafe given.pointee != 0 {
            unsafe folder = unsafe given
        } else {
            unsafe folder = unsafe UnsafeRawPointer(Self.defaultFolder.utf8Start).assumingMemoryBound(to: CChar.self)
        }
        let length = unsafe strlen(folder)
        guard length <= Limits.folderBytes, length + Self.socketName <= Int(CAREG_SYSTEM_SOCKET_PATH_BYTES) else {
            return nil
        }

        guard unsafe size >= MemoryLayout<careg_options>.size, let name = unsafe options.pointee.map,
            unsafe name.pointee != 0
        else {
            unsafe mapName = nil
            return
        }
        guard unsafe strlen(name) <= Limits.nameBytes, unsafe strchr(name, 0x2f) == nil else { return nil }
        unsafe mapName = unsafe name
    }
}
