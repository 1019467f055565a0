import CTrustMap

/// What the writer does to one map, and during growth to its successor too.
///
/// Guarded by the lock of its `TrustMapWriter`.
final class MapTables {
    /// Slots beyond this share of a table, in sixteenths, stay empty: searches stay short.
    private static let fullSixteenths: UInt64 = 14
    /// From this share on a larger map is wanted, in sixteenths.
    private static let crowdedSixteenths: UInt64 = 11

    private(set) var current: MapFile
    /// The larger map that is being filled, and how many of the current one's device slots it has looked at.
    private(set) var successor: MapFile?
    private var copiedSlots: UInt32 = 0
    /// Slots of instances in the successor, by their slots in the current map.
    private var successorInstances: [UInt32: UInt32] = [:]

    private var instanceSlots: [MapInstanceKey: UInt32] = [:]
    private var pathSlots: [TrustMapNumber: UInt32] = [:]
    private var serials: [TrustMapNumber: (offset: UInt32, length: UInt32)] = [:]
    private var stringCount: UInt32 = 0
    private(set) var deviceCount: UInt64 = 0
    private var successorDeviceCount: UInt64 = 0
    /// Devices that found no room since the map was made, has grown or began to be filled.
    private(set) var omittedCount: UInt64 = 0
    /// Paths that lead nowhere any more: what is on them is not taken over by a larger map.
    private var deadPaths: Set<UInt32> = []
    private var wantsRoom = false
    /// The current map has not got its name yet: readers find a superseded one, and ask.
    private(set) var isUnpublished = false
    /// Readers were sent away for good.
    private(set) var isRetired = false
    /// Statuses are being changed: the epoch is odd.
    private var isEpochOpen = false

    var instanceCount: Int { instanceSlots.count }
    var pathCount: Int { pathSlots.count }

    private let maximumDevices: UInt64

    /// - Parameter maximumDevices: how many the map may hold at the most.
    init(_ file: MapFile, maximumDevices: UInt32) {
        current = file
        self.maximumDevices = UInt64(maximumDevices)
    }

    var needsGrowth: Bool {
        !isRetired && (wantsRoom || isCrowdedByDevices)
    }

    private var isCrowdedByDevices: Bool {
        deviceCount * 16 >= UInt64(current.capacity.devices) * Self.crowdedSixteenths
    }

    // MARK: Instances

    /// The slot of a live instance.
    private func liveInstance(_ id: String) -> UInt32? {
        guard let slot = MapInstanceID(id).flatMap({ instanceSlots[MapInstanceKey(id: $0)] }),
            current.view.instanceWord(slot) == TRUST_MAP_WORD_TRUSTED
        else { return nil }
        return slot
    }

    func addInstance(_ text: String) -> TrustMapAddition {
        guard let id = MapInstanceID(text) else { return .unplaced }
        let live = UInt32(TRUST_MAP_WORD_TRUSTED)
        if let slot = instanceSlots[MapInstanceKey(id: id)] {
            if current.view.instanceWord(slot) == live { return .present }
            setInstance(slot, word: live)
            return .added
        }
        guard UInt64(instanceSlots.count + 1) * 16 <= UInt64(current.capacity.instances) * Self.crowdedSixteenths,
            let slot = current.insertInstance(id, word: live)
        else {
            wantsRoom = true
            return .full
        }
        instanceSlots[MapInstanceKey(id: id)] = slot
        if let successor, let copy = successor.insertInstance(id, word: live) { successorInstances[slot] = copy }
        return .added
    }

    func removeInstance(_ text: String) {
        guard let slot = liveInstance(text) else { return }
        setInstance(slot, word: UInt32(TRUST_MAP_WORD_ASK))
    }

    private func setInstance(_ slot: UInt32, word: UInt32) {
        openEpoch()
        current.setInstanceWord(slot, word)
        if let successor, let copy = successorInstances[slot] { successor.setInstanceWord(copy, word) }
    }

    // MARK: Paths

    func addPath(_ path: TrustMapPath) -> TrustMapAddition {
        if pathSlots[path.id] != nil { return .present }
        guard let instance = liveInstance(path.instanceID) else { return .unplaced }
        guard pathSlots.count < Int(current.capacity.paths), let serial = string(of: path) else {
            wantsRoom = true
            return .full
        }
        var slot = trust_map_path()
        slot.id = path.id
        slot.anchor = path.anchor
        slot.not_before = path.period.notBefore
        slot.not_after = path.period.notAfter
        slot.instance = instance
        slot.sn_offset = serial.offset
        slot.sn_length = serial.length
        slot.word = path.status.word
        let index = UInt32(pathSlots.count)
        current.insertPath(slot, at: index)
        if let successor, let copy = successorInstances[instance] {
            slot.instance = copy
            successor.insertPath(slot, at: index)
        }
        pathSlots[path.id] = index
        return .added
    }

    /// Where the serial number of a path's anchor stands; it is written once for all paths to that anchor.
    private func string(of path: TrustMapPath) -> (offset: UInt32, length: UInt32)? {
        if let known = serials[path.anchor] { return known }
        let bytes = Array(path.anchorSerialNumber.utf8.prefix(Int(TRUST_MAP_SERIAL_BYTES)))
        let place = (offset: stringCount, length: UInt32(bytes.count))
        guard place.length <= current.capacity.strings - stringCount else { return nil }
        for (index, byte) in bytes.enumerated() {
            current.storePlain(byte, at: current.view.stringOffset + Int(stringCount) + index)
            if let successor {
                successor.storePlain(byte, at: successor.view.stringOffset + Int(stringCount) + index)
            }
        }
        stringCount += place.length
        serials[path.anchor] = place
        return place
    }

    /// - Returns: false where the path is not in the map.
    func setPath(_ id: TrustMapNumber, _ status: TrustMapStatus) -> Bool {
        guard let slot = pathSlots[id] else { return false }
        guard current.view.pathWord(slot) != status.word else { return true }
        openEpoch()
        current.setPathWord(slot, status.word)
        successor?.setPathWord(slot, status.word)
        return true
    }

    /// What is on the path is asked for good.
    func removePath(_ id: TrustMapNumber) {
        guard setPath(id, .ask), let slot = pathSlots[id] else { return }
        deadPaths.insert(slot)
    }

    func forgetOmitted() { omittedCount = 0 }

    // MARK: Devices

    func addDevice(_ device: TrustMapDevice) -> TrustMapAddition {
        guard let instance = liveInstance(device.instanceID), let path = pathSlots[device.path] else {
            return .unplaced
        }
        guard current.view.findDevice(device.fingerprint, instance: instance) == nil else { return .present }
        return insert(device, instance: instance, path: path)
    }

    /// Adds a device, or changes the status and the path of one that is there.
    func setDevice(_ device: TrustMapDevice) -> TrustMapAddition {
        guard let instance = liveInstance(device.instanceID) else { return .unplaced }
        let known = current.view.findDevice(device.fingerprint, instance: instance)
        guard let path = pathSlots[device.path] else {
            // What the map held no longer holds, and what holds cannot be said.
            if let known { change(known, instance: instance, device.fingerprint, word: UInt32(TRUST_MAP_WORD_ASK)) }
            return .unplaced
        }
        guard let known else { return insert(device, instance: instance, path: path) }
        change(known, instance: instance, device.fingerprint, word: device.status.word, path: path)
        return .present
    }

    /// - Returns: false where the device is not in the map.
    func setDevice(
        _ fingerprint: MapFingerprint, of instanceID: String, _ status: TrustMapStatus
    ) -> Bool {
        guard let instance = liveInstance(instanceID),
            let slot = current.view.findDevice(fingerprint, instance: instance)
        else { return false }
        change(slot, instance: instance, fingerprint, word: status.word)
        return true
    }

    private func change(
        _ slot: UInt32, instance: UInt32, _ fingerprint: MapFingerprint, word: UInt32, path: UInt32? = nil
    ) {
        let path = path ?? current.devicePath(slot)
        guard current.view.deviceWord(slot) != word || current.devicePath(slot) != path else { return }
        openEpoch()
        current.setDevicePath(slot, path)
        current.setDeviceWord(slot, word)
        guard let successor, let moved = successorInstances[instance],
            let copy = successor.view.findDevice(fingerprint, instance: moved)
        else { return }
        successor.setDevicePath(copy, path)
        successor.setDeviceWord(copy, word)
    }

    private func insert(_ device: TrustMapDevice, instance: UInt32, path: UInt32) -> TrustMapAddition {
        let key = device.fingerprint
        var slot = trust_map_device()
        slot.fingerprint = (key.word0, key.word1, key.word2, key.word3)
        slot.instance = instance
        slot.path = path
        slot.not_before = device.period.notBefore
        slot.not_after = device.period.notAfter
        slot.word = device.status.word
        guard deviceCount < maximumDevices,
            deviceCount * 16 < UInt64(current.capacity.devices) * Self.fullSixteenths,
            current.insertDevice(slot) != nil
        else {
            wantsRoom = wantsRoom || deviceCount < maximumDevices
            omittedCount += 1
            return .full
        }
        deviceCount += 1
        // The copying, which goes by slots, may have passed this one.
        if let successor, let copy = successorInstances[instance] {
            slot.instance = copy
            if successor.view.findDevice(key, instance: copy) == nil, successor.insertDevice(slot) != nil {
                successorDeviceCount += 1
            }
        }
        return .added
    }

    // MARK: Changes

    private func openEpoch() {
        guard !isEpochOpen else { return }
        isEpochOpen = true
        current.openEpoch()
    }

    /// Ends a change: the revision first, so that statuses of a revision are never seen without it.
    func finish(revision: UInt64?) {
        if let revision {
            current.setRevision(revision)
            successor?.setRevision(revision)
        }
        guard isEpochOpen else { return }
        isEpochOpen = false
        current.closeEpoch()
    }

    // MARK: Growth

    /// The capacity of a successor; nil where the map is as large as it may be.
    func grownCapacity() -> MapCapacity? {
        let mostSlots = powerOfTwo(atLeast: UInt32(clamping: maximumDevices * 16 / Self.fullSixteenths))
        var capacity = current.capacity
        let isCrowded = { (count: UInt64, of: UInt32) in count * 16 >= UInt64(of) * Self.crowdedSixteenths }
        if isCrowded(deviceCount, capacity.devices), capacity.devices < mostSlots { capacity.devices *= 2 }
        if isCrowded(UInt64(instanceCount), capacity.instances) { capacity.instances *= 2 }
        if isCrowded(UInt64(pathCount), capacity.paths) { capacity.paths *= 2 }
        if isCrowded(UInt64(stringCount) + UInt64(TRUST_MAP_SERIAL_BYTES), capacity.strings) { capacity.strings *= 2 }
        if capacity == current.capacity, wantsRoom, capacity.devices < mostSlots { capacity.devices *= 2 }
        return capacity == current.capacity ? nil : capacity
    }

    /// Takes a larger map to fill: from here on every change goes to both.
    func begin(successor: MapFile) {
        for (key, slot) in instanceSlots {
            guard let copy = successor.insertInstance(key.id, word: current.view.instanceWord(slot)) else { continue }
            successorInstances[slot] = copy
        }
        successor.copy(
            Int(stringCount), from: current, at: current.view.stringOffset, to: successor.view.stringOffset)
        for index in 0..<UInt32(pathSlots.count) {
            var path = current.view.path(index)
            path.word = current.view.pathWord(index)
            // Without its instance a path's devices are not found: nobody reads the slot.
            path.instance = successorInstances[path.instance] ?? UInt32.max
            successor.insertPath(path, at: index)
        }
        successor.setRevision(current.view.revision)
        copiedSlots = 0
        successorDeviceCount = 0
        self.successor = successor
    }

    /// Copies some more devices to the successor.
    ///
    /// - Returns: whether all are copied.
    func copyDevices(slots: UInt32) -> Bool {
        guard let successor else { return true }
        let end = min(current.capacity.devices, copiedSlots + slots)
        while copiedSlots < end {
            let slot = copiedSlots
            copiedSlots += 1
            let word = current.view.deviceWord(slot)
            guard word != TRUST_MAP_WORD_EMPTY else { continue }
            var device = current.view.device(slot)
            guard let instance = successorInstances[device.instance] else { continue }
            device.instance = instance
            device.path = current.devicePath(slot)
            device.word = word
            // What the registry has forgotten is the least useful.
            if deadPaths.contains(device.path) { continue }
            let words = device.fingerprint
            let key = MapFingerprint(word0: words.0, word1: words.1, word2: words.2, word3: words.3)
            // Added to both while the copying was under way.
            guard successor.view.findDevice(key, instance: instance) == nil else { continue }
            if successor.insertDevice(device) != nil { successorDeviceCount += 1 }
        }
        return copiedSlots >= current.capacity.devices
    }

    func supersede() { current.supersede() }

    func retire() {
        isRetired = true
        current.supersede()
    }

    /// Makes the successor the current map.
    ///
    /// - Parameter isPublished: it has the current map's name by now.
    func adoptSuccessor(isPublished: Bool) {
        guard let successor else { return }
        isUnpublished = !isPublished
        current = successor
        var slots: [MapInstanceKey: UInt32] = [:]
        for (key, slot) in instanceSlots { slots[key] = successorInstances[slot] }
        instanceSlots = slots
        deviceCount = successorDeviceCount
        omittedCount = 0
        deadPaths = []
        dropSuccessor()
        wantsRoom = false
    }

    func notePublished() { isUnpublished = false }

    func dropSuccessor() {
        successor = nil
        successorInstances = [:]
    }
}

/// An instance's id as the key of a dictionary.
struct MapInstanceKey: Hashable {
    let id: MapInstanceID

    func hash(into hasher: inout Hasher) {
        for index in 0..<8 { hasher.combine(id.words[index]) }
    }
}
