/// What a commit changes in the map; given to the closure of `TrustMapWriter.update`.
///
/// Instances come before their paths, and paths before their devices. Whatever is not in the map, readers ask about.
public struct TrustMapUpdate: ~Copyable {
    private let tables: MapTables

    init(_ tables: MapTables) { self.tables = tables }

    /// Adds an instance, also one of an id that was deleted before.
    @discardableResult
    public func addInstance(_ id: String) -> TrustMapAddition { tables.addInstance(id) }

    /// Takes an instance out: all about it is asked.
    public func removeInstance(_ id: String) { tables.removeInstance(id) }

    /// Adds a path. One that is there stays as it is (`setPathStatus` changes it).
    @discardableResult
    public func addPath(_ path: TrustMapPath) -> TrustMapAddition { tables.addPath(path) }

    /// Changes what stands for all devices on a path.
    ///
    /// - Returns: false where the path is not in the map: nothing in the map depends on it.
    @discardableResult
    public func setPathStatus(_ path: TrustMapNumber, _ status: TrustMapStatus) -> Bool {
        tables.setPath(path, status)
    }

    /// Takes a path out for good: all on it is asked, and the next growth leaves it behind.
    public func removePath(_ path: TrustMapNumber) { tables.removePath(path) }

    /// Begins to count anew the devices that find no room.
    public func forgetOmitted() { tables.forgetOmitted() }

    /// Adds a device unless it is there: for filling, where what a commit has said meanwhile counts for more.
    @discardableResult
    public func addDevice(_ device: TrustMapDevice) -> TrustMapAddition { tables.addDevice(device) }

    /// Adds a device, or changes the status and path of one that is there (`.present`).
    @discardableResult
    public func setDevice(_ device: TrustMapDevice) -> TrustMapAddition { tables.setDevice(device) }

    /// Changes what stands for one device.
    ///
    /// - Returns: false where the device is not in the map.
    @discardableResult
    public func setDeviceStatus(
        _ fingerprint: MapFingerprint, of instanceID: String, _ status: TrustMapStatus
    ) -> Bool {
        tables.setDevice(fingerprint, of: instanceID, status)
    }
}
