import CTrustMap

extension MapFile {
    /// A new slot for an instance: its key first, its word last.
    ///
    /// - Returns: nil where the search would be longer than readers go.
    func insertInstance(_ id: MapInstanceID, word: UInt32) -> UInt32? {
        var slot = view.firstSlot(of: id)
        for _ in 0..<TRUST_MAP_PROBE_LIMIT {
            if view.instanceWord(slot) == TRUST_MAP_WORD_EMPTY {
                let entry = view.instanceBase(slot)
                for index in 0..<8 { storePlain(id.words[index], at: entry + index * 8) }
                storePlain(id.length, at: entry + Int(TRUST_MAP_INSTANCE_OFFSET_LENGTH))
                setInstanceWord(slot, word)
                return slot
            }
            slot = (slot &+ 1) & (capacity.instances - 1)
        }
        return nil
    }

    /// A new slot for a device: its key first, its word last.
    ///
    /// - Returns: nil where the search would be longer than readers go.
    func insertDevice(_ device: trust_map_device) -> UInt32? {
        let words = device.fingerprint
        let fingerprint = MapFingerprint(word0: words.0, word1: words.1, word2: words.2, word3: words.3)
        var slot = view.firstSlot(of: fingerprint, instance: device.instance)
        for _ in 0..<TRUST_MAP_PROBE_LIMIT {
            if view.deviceWord(slot) == TRUST_MAP_WORD_EMPTY {
                var key = device
                key.word = UInt32(TRUST_MAP_WORD_EMPTY)
                storePlain(key, at: view.deviceBase(slot))
                setDeviceWord(slot, device.word)
                return slot
            }
            slot = (slot &+ 1) & (capacity.devices - 1)
        }
        return nil
    }

    /// Fills the slot of a path: its key first, its word last.
    func insertPath(_ path: trust_map_path, at slot: UInt32) {
        var key = path
        key.word = UInt32(TRUST_MAP_WORD_EMPTY)
        storePlain(key, at: view.pathBase(slot))
        setPathWord(slot, path.word)
    }

    func setInstanceWord(_ slot: UInt32, _ word: UInt32) {
        store32(word, at: view.instanceBase(slot) + Int(TRUST_MAP_INSTANCE_OFFSET_WORD))
    }

    func setPathWord(_ slot: UInt32, _ word: UInt32) {
        store32(word, at: view.pathBase(slot) + Int(TRUST_MAP_PATH_OFFSET_WORD))
    }

    func setDeviceWord(_ slot: UInt32, _ word: UInt32) {
        store32(word, at: view.deviceBase(slot) + Int(TRUST_MAP_DEVICE_OFFSET_WORD))
    }

    func devicePath(_ slot: UInt32) -> UInt32 {
        view.word32(at: view.deviceBase(slot) + Int(TRUST_MAP_DEVICE_OFFSET_PATH))
    }

    func setDevicePath(_ slot: UInt32, _ path: UInt32) {
        store32(path, at: view.deviceBase(slot) + Int(TRUST_MAP_DEVICE_OFFSET_PATH))
    }
}
