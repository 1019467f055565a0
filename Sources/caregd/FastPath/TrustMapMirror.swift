internal import Certificates
internal import Registry
internal import RegistryStore
internal import Signatures
internal import Synchronization
internal import TrustMap

/// Keeps one trust map in step with the registry.
///
/// It works while the map is being filled, while it grows, and while there is no room for a map at all: what the map does
/// not hold, brokers ask about. `lock` guards all that varies. Whoever fills the map reads a snapshot of its own under
/// that lock, so that it is never older than what was applied before.
final class TrustMapMirror: Mirror {
    /// Devices that are put in the map in one turn: the writer waits that long at the most.
    private static let devicesPerTurn = 256

    let fileName: String
    private let configuration: TrustMapConfiguration
    private let lock: Mutex<State>
    /// `State.writer`, for questions: they do not wait for a change that is under way.
    private let live = Mutex<TrustMapWriter?>(nil)

    private struct State {
        var scope: InstanceScope
        var writer: TrustMapWriter?
        /// Why there is no map; nil where there is one.
        var problem: String?
        /// The last commit that was applied.
        var revision: Revision
        var instances: [InstanceNumber: Instance] = [:]
        var paths: [PathID: PathRecord] = [:]
        /// Fingerprints of devices that were deleted while the map held them: another certificate may take their place.
        var tombstones: [DeviceID: SHA256Digest] = [:]
        /// Devices are missing that belong in the map.
        var isIncomplete = true
        /// Counts the reasons to fill the map, so that one that comes while it is being filled is not lost.
        var wantedFilling: UInt64 = 1
        /// The reason that the last whole filling began with.
        var doneFilling: UInt64 = 0
        var deviceKeys = DeviceKeyFilter()
        /// There is to be no map.
        var isRemoved = false
    }

    private struct Instance {
        var id: String
        var authorities = InstanceAuthorities()
        var paths: Set<PathID> = []
        /// Its paths are asked until this filling is done: a device may have the key of a CA certificate.
        var suspendedUntil: UInt64?

        func word(of path: PathRecord) -> TrustMapStatus {
            suspendedUntil == nil ? authorities.word(of: path) : .ask
        }
    }

    /// What one turn changes in the map.
    private struct Batch {
        var removedInstances: [String] = []
        var addedInstances: [String] = []
        var words: [(PathID, TrustMapStatus)] = []
        var removedPaths: [PathID] = []
        var paths: [TrustMapPath] = []
        var devices: [TrustMapDevice] = []
        var deviceWords: [(fingerprint: SHA256Digest, instance: String, status: TrustMapStatus)] = []
    }

    /// Reads the instances and CA records; the map itself is made by ``makeMap(devices:)``.
    init(
        configuration: TrustMapConfiguration, fileName: String, scope: InstanceScope, snapshot: Snapshot
    ) throws {
        self.configuration = configuration
        self.fileName = fileName
        var state = State(scope: scope, revision: try snapshot.revision())
        try Self.load(&state, from: snapshot)
        lock = Mutex(state)
    }

    private static func load(_ state: inout State, from snapshot: Snapshot) throws {
        state.instances = [:]
        let scope = state.scope
        var instances: [InstanceNumber: Instance] = [:]
        try snapshot.instances(after: nil) { record in
            if scope.includes(record.id) { instances[record.number] = Instance(id: record.id) }
            return true
        }
        for number in instances.keys {
            // A record that is damaged is left out: what depends on it is asked.
            try Self.tolerantly {
                try snapshot.cas(of: number, after: nil) { record in
                    instances[number]?.authorities.set(record.id, Self.authority(record))
                    return true
                }
            }
        }
        state.instances = instances
    }

    private static func authority(_ record: CaRecord) -> InstanceAuthorities.Authority {
        InstanceAuthorities.Authority(
            status: record.status, keyHash: record.keyHash, serialNumber: record.serialNumber.text)
    }

    /// Runs `body`; damage that it meets is not this mirror's to report.
    ///
    /// - Returns: nil where something is damaged.
    @discardableResult
    private static func tolerantly<Result>(_ body: () throws -> Result) throws -> Result? {
        do {
            return try body()
        } catch StoreFault.damaged {
            return nil
        }
    }

    // MARK: The map

    /// Makes the map, where there is none yet, with its instances and without devices.
    ///
    /// - Parameter devices: how many it is to hold soon.
    func makeMap(devices: UInt64) {
        lock.withLock { makeMap(&$0, devices: devices) }
    }

    private func makeMap(_ state: inout State, devices: UInt64) {
        guard state.writer == nil, !state.isRemoved else { return }
        var configuration = configuration
        let slots = min(devices &* 16 / 11 &+ 1_024, UInt64(configuration.maximumDevices))
        configuration.deviceSlots = max(configuration.deviceSlots, UInt32(slots))
        // One path for each CA at the least.
        let paths = state.instances.values.reduce(0) { $0 + $1.authorities.count }
        configuration.pathSlots = max(configuration.pathSlots, UInt32(min(paths * 2, 1 << 24)))
        configuration.instanceSlots = max(
            configuration.instanceSlots, UInt32(min(state.instances.count * 2, 1 << 24)))
        do throws(TrustMapFault) {
            let writer = try TrustMapWriter(configuration)
            writer.update(revision: state.revision.number) { update in
                for instance in state.instances.values { update.addInstance(instance.id) }
            }
            state.writer = writer
            live.withLock { $0 = writer }
            state.problem = nil
            wantFilling(&state)
        } catch {
            state.problem = error.description
        }
    }

    /// The map goes for good: brokers that hold it ask.
    func removeMap() {
        lock.withLock { state in
            state.isRemoved = true
            retireMap(&state)
        }
    }

    private func retireMap(_ state: inout State) {
        live.withLock { $0 = nil }
        state.writer?.retire()
        state.writer = nil
        // One that another process has left there.
        _ = TrustMapWriter.markSuperseded(path: configuration.path)
        try? removeFile(configuration.path)
    }

    /// What readers are told of a device where it is a yes.
    func withTrust(
        in fingerprint: MapFingerprint, of instanceID: Span<UInt8>, _ body: (borrowing TrustMapTrust) -> Void
    ) -> Bool {
        guard let writer = live.withLock({ $0 }) else { return false }
        return writer.withTrust(in: fingerprint, of: instanceID, body)
    }

    func heartbeat() {
        lock.withLock { $0.writer }?.heartbeat()
    }

    var hasMap: Bool { lock.withLock { $0.writer != nil } }

    /// For the status; nil where there is no map.
    var report: (statistics: TrustMapStatistics, isFilled: Bool)? {
        let (writer, isIncomplete) = lock.withLock { ($0.writer, $0.isIncomplete) }
        return writer.map { ($0.statistics, !isIncomplete) }
    }

    /// What is not well, in a sentence.
    var problem: String? {
        let (writer, problem) = lock.withLock { ($0.writer, $0.problem) }
        if let problem { return "\(fileName): \(problem)" }
        return writer?.statistics.problem.map { "\(fileName): \($0)" }
    }

    // MARK: Mirror

    func apply(_ changes: [CommittedChange], _ snapshot: Snapshot) {
        lock.withLock { state in
            var batch = Batch()
            var dirty: Set<InstanceNumber> = []
            for change in changes {
                apply(change, snapshot, &state, &batch, &dirty)
            }
            for number in dirty {
                guard let instance = state.instances[number] else { continue }
                for id in instance.paths {
                    guard let path = state.paths[id] else { continue }
                    batch.words.append((id, instance.word(of: path)))
                }
            }
            if let last = changes.last { state.revision = last.entry.revision }
            commit(batch, &state)
        }
    }

    private func apply(
        _ change: CommittedChange, _ snapshot: Snapshot, _ state: inout State, _ batch: inout Batch,
        _ dirty: inout Set<InstanceNumber>
    ) {
        guard let number = change.instance, state.scope.includes(change.entry.instanceID) else { return }
        switch change.entry.kind {
        case .instanceCreated:
            // Created and deleted by one commit: it was never there.
            guard (try? snapshot.instance(change.entry.instanceID))?.number == number else { return }
            state.instances[number] = Instance(id: change.entry.instanceID)
            batch.addedInstances.append(change.entry.instanceID)
        case .instanceDeleted:
            guard let instance = state.instances.removeValue(forKey: number) else { return }
            for path in instance.paths { state.paths[path] = nil }
            batch.removedInstances.append(instance.id)
        case .caRegistered, .caUpdated, .caActivated, .caUnregistered, .caDeleted:
            guard let ca = change.ca else { return }
            let record = (try? snapshot.ca(ca)) ?? nil
            if let record { suspendWhereNeeded(record.keyHash, of: number, &state) }
            state.instances[number]?.authorities.set(ca, record.map(Self.authority))
            if record == nil { forgetPaths(to: ca, of: number, &state, &batch) }
            dirty.insert(number)
        case .deviceRegistered, .deviceActivated, .deviceDeactivated, .deviceDeleted:
            guard let id = change.device else { return }
            do {
                // Gone again with its CA record, by the same commit: its path says so.
                guard let record = try snapshot.device(id) else { return }
                try set(record, snapshot, &state, &batch)
            } catch {
                // What cannot be read cannot be said.
                guard let fingerprint = change.entry.fingerprint else { return }
                batch.deviceWords.append((fingerprint, change.entry.instanceID, .ask))
            }
        case .instanceUpdated, .codeIssued, .codeRevoked, .registryRestored, .registrationsCompacted, .logCompacted:
            return
        }
    }

    /// A key that is registered for the first time may be some device's own.
    private func suspendWhereNeeded(_ key: SHA256Digest, of number: InstanceNumber, _ state: inout State) {
        guard let instance = state.instances[number], !instance.authorities.knows(key: key),
            state.deviceKeys.mayContain(key)
        else { return }
        wantFilling(&state)
        state.instances[number]?.suspendedUntil = state.wantedFilling
    }

    /// A CA record is gone. Its devices are gone as well, or were moved under another one with the same key.
    private func forgetPaths(to ca: CaID, of number: InstanceNumber, _ state: inout State, _ batch: inout Batch) {
        let gone = state.instances[number]?.paths.filter { state.paths[$0]?.ca == ca } ?? []
        for path in gone {
            state.paths[path] = nil
            state.instances[number]?.paths.remove(path)
            batch.removedPaths.append(path)
        }
        if !gone.isEmpty { wantFilling(&state) }
    }

    private func set(
        _ record: DeviceRecord, _ snapshot: Snapshot, _ state: inout State, _ batch: inout Batch
    ) throws {
        guard let instance = state.instances[record.instance] else { return }
        if let former = state.tombstones[record.id], record.status != .deleted || former != record.fingerprint {
            // Verify tells the certificate that was deleted from the one that took its place; the map cannot.
            state.tombstones[record.id] = nil
            if former != record.fingerprint { batch.deviceWords.append((former, instance.id, .ask)) }
        }
        guard record.status != .deleted else {
            state.tombstones[record.id] = record.fingerprint
            batch.deviceWords.append((record.fingerprint, instance.id, record.status.mapWord))
            return
        }
        guard let fingerprint = MapFingerprint(digest: record.fingerprint.bytes) else { return }
        try addPath(record.path, of: record.instance, snapshot, &state, &batch)
        let certificate = try storedCertificate(record.der, table: "devices", id: record.id.number)
        let key = SHA256Digest(hashing: certificate.publicKeyInfoBytes)
        state.deviceKeys.insert(key)
        batch.devices.append(
            TrustMapDevice(
                instanceID: instance.id, fingerprint: fingerprint, path: record.path.number,
                period: TrustMapPeriod(
                    notBefore: certificate.notBefore.secondsSince1970, notAfter: certificate.notAfter.secondsSince1970),
                status: instance.authorities.knows(key: key) ? .ask : record.status.mapWord))
    }

    private func addPath(
        _ id: PathID, of number: InstanceNumber, _ snapshot: Snapshot, _ state: inout State, _ batch: inout Batch
    ) throws {
        guard let instance = state.instances[number] else { return }
        let path: PathRecord
        if let known = state.paths[id] {
            path = known
        } else {
            path = try snapshot.path(id)
            state.paths[id] = path
            state.instances[number]?.paths.insert(id)
        }
        // A path whose anchor is not known here yet belongs to a commit that is still to be applied.
        let serialNumber =
            try instance.authorities[path.ca]?.serialNumber ?? snapshot.ca(path.ca)?.serialNumber.text ?? ""
        batch.paths.append(
            TrustMapPath(
                id: id.number, instanceID: instance.id, anchor: path.ca.number, anchorSerialNumber: serialNumber,
                period: TrustMapPeriod(
                    notBefore: path.notBefore.secondsSince1970, notAfter: path.notAfter.secondsSince1970),
                status: instance.word(of: path)))
    }

    /// - Returns: false where something found no room.
    @discardableResult
    private func commit(_ batch: Batch, _ state: inout State) -> Bool {
        guard let writer = state.writer else { return false }
        let isWhole = writer.update(revision: state.revision.number) { update in
            var isWhole = true
            for id in batch.removedInstances { update.removeInstance(id) }
            for id in batch.addedInstances where update.addInstance(id) == .full { isWhole = false }
            for id in batch.removedPaths { update.removePath(id.number) }
            for (id, word) in batch.words { update.setPathStatus(id.number, word) }
            for path in batch.paths where update.addPath(path) == .full { isWhole = false }
            for device in batch.devices {
                switch update.setDevice(device) {
                case .added, .present: break
                case .full, .unplaced: isWhole = false
                }
            }
            for change in batch.deviceWords {
                guard let key = MapFingerprint(digest: change.fingerprint.bytes) else { continue }
                update.setDeviceStatus(key, of: change.instance, change.status)
            }
            return isWhole
        }
        if !isWhole { state.isIncomplete = true }
        return isWhole
    }

    private func wantFilling(_ state: inout State) {
        state.isIncomplete = true
        state.wantedFilling += 1
    }

    // MARK: Filling and growing

    /// Whether ``tend(_:mayGoOn:)`` has anything to do.
    var needsTending: Bool {
        let (writer, isFilled, isRemoved) = lock.withLock {
            ($0.writer, $0.doneFilling == $0.wantedFilling, $0.isRemoved)
        }
        guard let writer else { return !isRemoved }
        return !isFilled || writer.needsGrowth
    }

    /// Makes, fills and grows the map, on a thread that has the time.
    ///
    /// - Parameters:
    ///   - registry: what it is filled from.
    ///   - mayGoOn: false where the daemon ends.
    func tend(_ registry: Registry, mayGoOn: () -> Bool) throws {
        if !hasMap {
            let tally = try registry.read { try $0.regionTally() }
            makeMap(devices: UInt64(max(0, tally.devices)))
        }
        guard let writer = lock.withLock({ $0.writer }) else { return }
        if writer.needsGrowth, (try? writer.grow()) == true {
            // What found no room comes with the next filling. A growth that failed is told by `problem`, and tried again.
            lock.withLock { if $0.isIncomplete { wantFilling(&$0) } }
        }
        if lock.withLock({ $0.doneFilling != $0.wantedFilling }) { try fill(registry, mayGoOn: mayGoOn) }
    }

    private func fill(_ registry: Registry, mayGoOn: () -> Bool) throws {
        let wanted = lock.withLock { state in
            state.writer?.update(revision: nil) { $0.forgetOmitted() }
            return state.wantedFilling
        }
        var next = DeviceID(0)
        var isWhole = true
        while mayGoOn() {
            let (last, isTurnWhole) = try lock.withLock { state in try fillTurn(&state, registry, from: next) }
            isWhole = isWhole && isTurnWhole
            guard let last else { return lock.withLock { finishFilling(&$0, wanted, isWhole: isWhole) } }
            next = DeviceID(last.number + 1)
        }
    }

    private func finishFilling(_ state: inout State, _ wanted: UInt64, isWhole: Bool) {
        state.doneFilling = wanted
        if isWhole, state.wantedFilling == wanted { state.isIncomplete = false }
        var batch = Batch()
        for (number, instance) in state.instances {
            guard let until = instance.suspendedUntil, until <= wanted else { continue }
            state.instances[number]?.suspendedUntil = nil
            for id in instance.paths {
                if let path = state.paths[id] { batch.words.append((id, instance.authorities.word(of: path))) }
            }
        }
        if !batch.words.isEmpty { commit(batch, &state) }
    }

    /// - Returns: the last device that was looked at, nil at the end; whether all of them are in the map now.
    private func fillTurn(
        _ state: inout State, _ registry: Registry, from start: DeviceID
    ) throws -> (last: DeviceID?, isWhole: Bool) {
        var batch = Batch()
        var last: DeviceID?
        do {
            try registry.read { snapshot in
                var count = 0
                try snapshot.devices(from: start) { record in
                    last = record.id
                    count += 1
                    if record.status != .deleted {
                        try Self.tolerantly { try set(record, snapshot, &state, &batch) }
                    }
                    return count < Self.devicesPerTurn
                }
            }
        } catch StoreFault.damaged(_, let key, _) where key.count == 8 {
            // A damaged device record: brokers ask about it. The next turn begins behind it.
            last = DeviceID(integer(bigEndian: key))
        }
        return (last, commit(batch, &state))
    }

    // MARK: Scope

    /// Takes another set of instances, in the snapshot of the last commit, in a new map: what the former one said of
    /// instances that leave is nobody's business any more, and what it said of those that come back may be out of date.
    ///
    /// - Parameter devices: how many the map is to hold soon.
    /// - Throws: what could not be read; there is no map then, and brokers ask, until the next call.
    func setScope(_ scope: InstanceScope, snapshot: Snapshot, devices: UInt64) throws {
        try lock.withLock { state in
            guard state.scope != scope || state.writer == nil else { return }
            retireMap(&state)
            var fresh = State(scope: scope, revision: state.revision)
            fresh.wantedFilling = state.wantedFilling + 1
            fresh.doneFilling = state.doneFilling
            fresh.isRemoved = true
            fresh.problem = "the instances could not be read"
            state = fresh
            fresh.revision = try snapshot.revision()
            try Self.load(&fresh, from: snapshot)
            fresh.isRemoved = false
            fresh.problem = nil
            state = fresh
            makeMap(&state, devices: devices)
        }
    }
}
