internal import Foundation
internal import Registry
internal import RegistryStore
internal import Signatures
internal import Synchronization
internal import TrustAnchors

/// The Active CA certificates of each instance as files that TLS libraries take: `INSTANCE.pem`, a plain bundle, and
/// `INSTANCE/`, an OpenSSL hashed folder of TRUSTED CERTIFICATEs.
///
/// Each file is written beside its place and renamed, so that nobody reads half of one. Where a file cannot be written,
/// one that would admit a CA certificate too many is removed: a broker then has an anchor too few.
final class AnchorsFolder: Mirror {
    private static let suffix = ".pem"

    let path: String
    private let group: UInt32?
    private let lock: Mutex<State>

    private struct State {
        var scope: InstanceScope
        /// What is on disk of each instance, by file name.
        var instances: [InstanceNumber: Instance] = [:]
        /// Instances whose files are not as they should be, and why.
        var problems: [InstanceNumber: String] = [:]
    }

    private struct Instance: Equatable {
        var id: String
        /// Fingerprints, in the bundle's order.
        var anchors: [[UInt8]] = []
    }

    /// Makes the folder what the registry says, whatever was in it.
    init(path: String, group: UInt32?, scope: InstanceScope, snapshot: Snapshot) throws {
        self.path = path
        self.group = group
        lock = Mutex(State(scope: scope))
        try makeFolder(path)
        try rebuild(scope: scope, snapshot: snapshot)
    }

    /// Takes a scope, in the snapshot of the last commit: files of instances that leave go, and those of instances that come
    /// are made. The others are in step.
    func rebuild(scope: InstanceScope, snapshot: Snapshot) throws {
        try lock.withLock { state in
            let former = state
            state = State(scope: scope)
            var instances: [InstanceRecord] = []
            try snapshot.instances(after: nil) { record in
                if scope.includes(record.id) { instances.append(record) }
                return true
            }
            try removeOthers(than: Set(instances.map(\.id)))
            for record in instances {
                if former.problems[record.number] == nil, let known = former.instances[record.number] {
                    state.instances[record.number] = known
                    continue
                }
                state.instances[record.number] = Instance(id: record.id)
                bring(record.number, snapshot, &state, isFresh: true)
            }
        }
    }

    /// The folder goes.
    func remove() {
        lock.withLock { state in
            state.instances = [:]
            try? FileManager.default.removeItem(atPath: path)
        }
    }

    /// What is not well, in a sentence.
    var problem: String? {
        let (count, first) = lock.withLock { ($0.problems.count, $0.problems.values.min()) }
        return first.map { "the anchors of \(count) instances could not be written: \($0)" }
    }

    /// Tries again what could not be written; to be called between two commits.
    func mend(_ snapshot: Snapshot) {
        lock.withLock { state in
            for number in state.problems.keys { bring(number, snapshot, &state, isFresh: true) }
        }
    }

    func apply(_ changes: [CommittedChange], _ snapshot: Snapshot) {
        lock.withLock { state in
            var touched: Set<InstanceNumber> = []
            for change in changes {
                guard let number = change.instance, state.scope.includes(change.entry.instanceID) else { continue }
                switch change.entry.kind {
                case .instanceCreated:
                    state.instances[number] = Instance(id: change.entry.instanceID)
                    touched.insert(number)
                case .instanceDeleted, .caRegistered, .caActivated, .caUnregistered, .caDeleted: touched.insert(number)
                case .instanceUpdated, .codeIssued, .codeRevoked, .caUpdated, .deviceRegistered, .deviceActivated,
                    .deviceDeactivated, .deviceDeleted, .registryRestored, .registrationsCompacted, .logCompacted:
                    break
                }
            }
            // In order of number: an id that was deleted and created anew has the higher one.
            for number in touched.sorted(by: { $0.number < $1.number }) {
                bring(number, snapshot, &state, isFresh: false)
            }
        }
    }

    // MARK: One instance

    /// Brings an instance's files in step.
    ///
    /// - Parameter isFresh: nothing is known of what is on disk.
    private func bring(_ number: InstanceNumber, _ snapshot: Snapshot, _ state: inout State, isFresh: Bool) {
        guard let instance = state.instances[number] else { return }
        do {
            guard try snapshot.instance(instance.id)?.number == number else {
                state.instances[number] = nil
                state.problems[number] = nil
                // Unless the id has been given again.
                if try snapshot.instance(instance.id) == nil { try removeFiles(of: instance.id) }
                return
            }
            var ders: [[UInt8]] = []
            var fingerprints: [[UInt8]] = []
            try snapshot.cas(of: number, after: nil) { record in
                if record.status == .active {
                    ders.append(record.der)
                    fingerprints.append(record.fingerprint.bytes)
                }
                return true
            }
            guard isFresh || fingerprints != instance.anchors || fingerprints.isEmpty else { return }
            try write(ders, of: instance.id, mayKeepBundle: Set(instance.anchors).isSubset(of: Set(fingerprints)))
            state.instances[number]?.anchors = fingerprints
            state.problems[number] = nil
        } catch let fault as StoreFault {
            // A damaged record: which certificates are good cannot be told, so that none is.
            try? write([], of: instance.id, mayKeepBundle: false)
            state.problems[number] = fault.description
        } catch {
            state.problems[number] = "\(error)"
        }
    }

    private func write(_ ders: [[UInt8]], of id: String, mayKeepBundle: Bool) throws(FileFault) {
        let folder = "\(path)/\(id)"
        try makeFolder(folder)
        let files = TrustAnchors.hashedNames(for: ders)
        let wanted = Set(files.map(\.name))
        var failures: [FileFault] = []
        func attempt(_ body: () throws(FileFault) -> Void) {
            do throws(FileFault) {
                try body()
            } catch {
                failures.append(error)
            }
        }
        // New numbers first, then those that are not wanted any more: a reader never finds a gap among the good ones. What
        // must go goes even where nothing can be written.
        for file in files {
            attempt { () throws(FileFault) in try put(file.pem, at: "\(folder)/\(file.name)", mayKeepOld: false) }
        }
        for name in names(in: folder) where !wanted.contains(name) {
            attempt { () throws(FileFault) in try removeFile("\(folder)/\(name)") }
        }
        attempt { () throws(FileFault) in
            try put(TrustAnchors.bundle(ders), at: folder + Self.suffix, mayKeepOld: mayKeepBundle)
        }
        if let failure = failures.first { throw failure }
    }

    private func put(_ bytes: [UInt8], at file: String, mayKeepOld: Bool) throws(FileFault) {
        if let present = try? Files.read(file, limit: bytes.count), present == bytes { return }
        do throws(FileFault) {
            try writeVolatile(bytes, to: file, group: group)
        } catch {
            if !mayKeepOld { try? removeFile(file) }
            throw error
        }
    }

    // MARK: The folder

    private func makeFolder(_ folder: String) throws(FileFault) {
        if unsafe mkdir(folder, 0o750) != 0 {
            guard errno == EEXIST else { throw FileFault(call: "mkdir", path: folder, code: errno) }
            var status = stat()
            guard unsafe lstat(folder, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
                throw FileFault(call: "mkdir", path: folder, code: EEXIST)
            }
        }
        guard unsafe chmod(folder, 0o750) == 0 else { throw FileFault(call: "chmod", path: folder, code: errno) }
        if let group, unsafe chown(folder, uid_t.max, group) != 0 {
            throw FileFault(call: "chown", path: folder, code: errno)
        }
    }

    private func names(in folder: String) -> [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    }

    private func removeOthers(than ids: Set<String>) throws {
        for name in names(in: path) {
            let id = name.hasSuffix(Self.suffix) ? String(name.dropLast(Self.suffix.count)) : name
            if !ids.contains(id) { try FileManager.default.removeItem(atPath: "\(path)/\(name)") }
        }
    }

    private func removeFiles(of id: String) throws {
        try removeFile("\(path)/\(id)\(Self.suffix)")
        let folder = "\(path)/\(id)"
        if FileManager.default.fileExists(atPath: folder) { try FileManager.default.removeItem(atPath: folder) }
    }
}

/// Writes a file of the runtime folder, which a reboot empties: whole or not at all, and not synchronized.
func writeVolatile(_ bytes: [UInt8], to path: String, group: UInt32?, mode: mode_t = 0o640) throws(FileFault) {
    let provisional = path + ".new"
    do throws(FileFault) {
        let file = unsafe open(provisional, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw FileFault(call: "open", path: provisional, code: errno) }
        defer { close(file) }
        if let group, fchown(file, uid_t.max, group) != 0 {
            throw FileFault(call: "fchown", path: provisional, code: errno)
        }
        guard fchmod(file, mode) == 0 else { throw FileFault(call: "fchmod", path: provisional, code: errno) }
        try Files.write(bytes, to: file, path: provisional)
        try Files.rename(provisional, to: path)
    } catch {
        unsafe unlink(provisional)
        throw error
    }
}

/// Removes a file that may be gone already.
func removeFile(_ path: String) throws(FileFault) {
    guard unsafe unlink(path) == 0 || errno == ENOENT else {
        throw FileFault(call: "unlink", path: path, code: errno)
    }
}
