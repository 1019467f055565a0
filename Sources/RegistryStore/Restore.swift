internal import Glibc
internal import LMDB
internal import Signatures

extension Store {
    /// Which registry a data file holds; nil where it is an LMDB file of another kind.
    ///
    /// Only one table is looked at: a registry of a newer schema may have others.
    public static func identity(ofFile path: String) throws -> Identity? {
        let environment = try faulting { () throws(LMDBError) in try Environment(path: path, isReadOnly: true) }
        guard try faulting({ () throws(LMDBError) in try environment.table("meta", creates: false) }) != nil else {
            return nil
        }
        let table = try SealedTable<MetaRecord>("meta", in: environment, creates: false)
        do {
            return try environment.read { transaction in
                func value(_ key: MetaKey) throws -> [UInt8] {
                    try table.require(transaction, Array(key.rawValue.utf8)).value
                }
                return Identity(
                    region: String(decoding: try value(.region), as: UTF8.self),
                    historyID: String(decoding: try value(.historyID), as: UTF8.self),
                    schemaVersion: integer(bigEndian: try value(.schemaVersion)))
            }
        } catch let error as LMDBError {
            throw StoreFault.storage(error)
        }
    }

    /// Reads every page that a later write may need, beyond what ``check(progress:)`` reads: the list of free pages too.
    ///
    /// - Parameter descriptor: where the copy that this makes goes; `/dev/null` will do.
    public func readAllPages(to descriptor: Int32) throws {
        try copy(to: descriptor)
    }
}

/// What a restore did.
public struct RestoreReport: Sendable, Equatable {
    /// Open registration codes that are no longer good.
    public var revokedCodes: Int
    /// The revision of the change that says so.
    public var revision: Revision
}

extension StoreTransaction {
    /// Makes a copy of a registry the present one: revokes all open codes, begins a new history, and goes on above the
    /// revision that the registry had before.
    ///
    /// - Parameters:
    ///   - former: the last revision of what the copy replaces.
    ///   - historyID: 32 random hex digits.
    public func becomePresent(
        above former: Revision, historyID: String, time: WallTime, caller: Caller
    ) throws -> RestoreReport {
        var revoked = 0
        for instance in try allInstances() {
            var open: [SHA256Digest] = []
            try snapshot.codes(of: instance.number) { code in
                if !code.record.isUsed { open.append(code.hash) }
                return true
            }
            for hash in open {
                try deleteCode(hash, of: instance.number)
            }
            revoked += open.count
        }
        try put(.historyID, Array(historyID.utf8))
        let next = max(former, try revision()).next
        let entry = ChangeRecord(kind: .registryRestored, time: time, method: "restore", caller: caller, instanceID: "")
        return RestoreReport(revokedCodes: revoked, revision: try append(entry, as: next).revision)
    }

    private func allInstances() throws -> [InstanceRecord] {
        var instances: [InstanceRecord] = []
        try snapshot.instances(after: nil) { record in
            instances.append(record)
            return true
        }
        return instances
    }
}

extension StateFolder {
    /// Where a copy stands while it is checked and prepared.
    public var incomingFile: String { path + "/incoming.mdb" }

    /// Puts a copy of `source` beside the data file, durable.
    public func takeIn(_ source: String) throws(StateFault) {
        discardIncoming()
        do throws(FileFault) {
            try Files.copy(source, to: incomingFile)
        } catch {
            discardIncoming()
            throw .file(error)
        }
    }

    /// Removes what ``takeIn(_:)`` made.
    public func discardIncoming() {
        for leftover in [incomingFile, incomingFile + "-lock"] {
            unsafe unlink(leftover)
        }
    }

    /// Lets the prepared copy take the data file's place; what stood there is kept in a folder of this one.
    ///
    /// At every moment the folder holds the old registry, the new one, or a marker that refuses to start: never what looks
    /// like a folder that nothing was in.
    ///
    /// - Parameters:
    ///   - identity: of the copy, after it was prepared.
    ///   - time: names the folder that keeps the old state.
    /// - Returns: that folder; nil where there was nothing to keep.
    public func replaceData(
        with identity: Store.Identity, revision: Revision, time: WallTime
    ) throws(StateFault) -> String? {
        let former = try? marker()
        var transition =
            former ?? RegistryMarker(region: identity.region, historyID: "", revision: Revision(0))
        transition.incomingHistoryID = identity.historyID
        let kept = try keepFormerState(time: time)
        try put(transition)
        do throws(FileFault) {
            try Files.rename(incomingFile, to: dataFile)
            unsafe unlink(incomingFile + "-lock")
            // It describes the readers of the old file.
            unsafe unlink(dataFile + "-lock")
            try Files.synchronize(path)
        } catch {
            throw .file(error)
        }
        try put(RegistryMarker(region: identity.region, historyID: identity.historyID, revision: revision))
        return kept
    }

    private func keepFormerState(time: WallTime) throws(StateFault) -> String? {
        let files = [dataFile, markerFile].filter { Files.exists($0) }
        if files.isEmpty { return nil }
        var folder = "\(path)/replaced-\(Files.stamp(time))"
        var number = 1
        while unsafe mkdir(folder, 0o700) != 0 {
            guard errno == EEXIST, number < 1_000 else {
                throw .file(FileFault(call: "mkdir", path: folder, code: errno))
            }
            number += 1
            folder = "\(path)/replaced-\(Files.stamp(time))-\(number)"
        }
        for file in files {
            let name = file.dropFirst(path.utf8.count + 1)
            // A second name for the same file: the first one is good until the copy takes it.
            guard unsafe link(file, "\(folder)/\(name)") == 0 else {
                throw .file(FileFault(call: "link", path: file, code: errno))
            }
        }
        try faultingFile { () throws(FileFault) in try Files.synchronize(folder) }
        return folder
    }
}
