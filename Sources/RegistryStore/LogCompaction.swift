internal import Signatures

/// How far the change log was looked through for what may be compacted. On disk: two revisions.
struct CompactionProgress: Equatable {
    /// Everything up to this revision was looked at.
    var examined = Revision(0)
    /// The last entry that was taken out, and stands for others now; 0 where none was.
    var lastCompacted = Revision(0)
}

extension Snapshot {
    /// The last revision that is not told on its own any more: what comes after it is kept whole. 0 where all is kept.
    public func lastCompactedChange() throws -> Revision {
        try compactionProgress().lastCompacted
    }

    func compactionProgress() throws -> CompactionProgress {
        guard let value = try tables.meta.get(transaction, Array(MetaKey.compaction.rawValue.utf8))?.value else {
            return CompactionProgress()
        }
        guard value.count == 16 else {
            throw StoreFault.damaged(
                table: tables.meta.name, key: Array(MetaKey.compaction.rawValue.utf8), finding: .encoding)
        }
        return CompactionProgress(
            examined: Revision(integer(bigEndian: value.prefix(8))),
            lastCompacted: Revision(integer(bigEndian: value.suffix(8))))
    }
}

extension StoreTransaction {
    /// What a compaction did.
    public struct CompactionReport: Sendable, Equatable {
        /// Entries that were taken out.
        public var removed = 0
        /// There is more that may be compacted.
        public var hasMore = false
    }

    /// Takes automatic device registrations out of the change log: those made before `horizon`, in runs of two or more. An
    /// entry that stands for the run takes its place, and a `logCompacted` entry covers all of these.
    ///
    /// - Parameters:
    ///   - rows: entries to look at, at the most.
    ///   - minimum: nothing is done before so many entries can be taken out: each time adds an entry of its own.
    ///   - cover: the `logCompacted` entry, without revision, fingerprint and hash.
    /// - Returns: what was done, and the entry that tells of it; nil where nothing was.
    public func compactLog(
        before horizon: WallTime, rows: Int, minimum: Int, cover: ChangeRecord
    ) throws -> (report: CompactionReport, entry: ChangeRecord?) {
        var progress = try snapshot.compactionProgress()
        let coveredBy = try revision().next
        var runs: [Run] = []
        var previous = ChangeRecord.chainStart
        if progress.examined.number > 0 {
            previous = try tables.changes.require(transaction, bigEndianBytes(progress.examined.number)).hash
        }
        var report = CompactionReport()
        var walked = 0
        try snapshot.changes(after: progress.examined) { entry in
            guard entry.time < horizon else { return false }
            guard walked < rows else {
                report.hasMore = true
                return false
            }
            walked += 1
            progress.examined = entry.revision
            if entry.isAutomaticRegistration {
                if runs.last?.isOpen == true {
                    runs[runs.count - 1].revisions.append(entry.revision)
                    runs[runs.count - 1].last = entry
                } else {
                    runs.append(Run(revisions: [entry.revision], last: entry, hashBefore: previous))
                }
            } else if !runs.isEmpty {
                runs[runs.count - 1].isOpen = false
            }
            previous = entry.hash
            return true
        }
        runs.removeAll { $0.revisions.count < 2 }
        report.removed = runs.reduce(0) { $0 + $1.revisions.count }
        guard report.removed >= minimum, let last = runs.last else {
            report.removed = 0
            // Looked at in vain, unless it may yet become enough.
            if report.hasMore { try putProgress(progress) }
            return (report, nil)
        }
        var digest = ChangeChain.digestStart
        for run in runs {
            let stand = ChangeRecord(standingFor: run, coveredBy: coveredBy, caller: cover.caller)
            for revision in run.revisions { try tables.changes.delete(transaction, bigEndianBytes(revision.number)) }
            try tables.changes.insert(transaction, bigEndianBytes(stand.revision.number), stand)
            digest = ChangeChain.digest(digest, stand)
        }
        progress.lastCompacted = last.last.revision
        try putProgress(progress)
        // A caregd that knows no compacted entries must not read them as damage.
        try put(.schemaVersion, bigEndianBytes(Store.schemaVersion))
        var cover = cover
        cover.fingerprint = digest
        return (report, try append(cover, as: coveredBy))
    }

    private func putProgress(_ progress: CompactionProgress) throws {
        try put(
            .compaction, bigEndianBytes(progress.examined.number) + bigEndianBytes(progress.lastCompacted.number))
    }
}

/// Automatic registrations with nothing between them.
private struct Run {
    var revisions: [Revision]
    var last: ChangeRecord
    var hashBefore: SHA256Digest
    var isOpen = true
}

extension ChangeRecord {
    /// The method of a device registration that a Verify left behind.
    static let automaticMethod = "Verify"

    fileprivate var isAutomaticRegistration: Bool { kind == .deviceRegistered && method == Self.automaticMethod }

    fileprivate init(standingFor run: Run, coveredBy: Revision, caller: Caller) {
        self.init(
            kind: .registrationsCompacted, time: run.last.time, method: Self.automaticMethod, caller: caller,
            instanceID: "")
        revision = run.last.revision
        hash = run.last.hash
        self.run = CompactedRun(
            first: run.revisions[0], count: UInt32(clamping: run.revisions.count), hashBefore: run.hashBefore,
            coveredBy: coveredBy)
    }
}
