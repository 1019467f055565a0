public import RegistryStore
public import Signatures

/// Changes of the registry, in order, as Poll, Watch and ListAuditRecords tell them.
public struct ChangePage: Sendable {
    public var entries: [ChangeRecord]
    /// The last change that was looked at, told or left out: ask for what comes after it.
    public var reached: Revision
    /// The registry's last change.
    public var last: Revision

    /// All fields.
    public init(entries: [ChangeRecord], reached: Revision, last: Revision) {
        self.entries = entries
        self.reached = reached
        self.last = last
    }
}

extension Registry {
    /// The changes after a revision.
    ///
    /// - Parameters:
    ///   - historyID: the history that `since` belongs to; empty: not checked.
    ///   - limit: entries of the page.
    ///   - isTold: whether an entry is for the caller; others are left out, and walked past.
    /// - Throws: ``Refusal`` REVISION_AHEAD, REVISION_COMPACTED.
    public func changes(
        after since: Revision, of historyID: String = "", limit: Int,
        where isTold: (ChangeRecord) -> Bool = { _ in true }
    ) throws -> ChangePage {
        try read { snapshot in
            var page = ChangePage(entries: [], reached: since, last: try snapshot.revision())
            try snapshot.requireKept(since, of: historyID, last: page.last)
            var walked = 0
            // From the beginning is from where everything is told one by one, so that what follows it is, too.
            let start = since.number == 0 ? try snapshot.lastCompactedChange() : since
            page.reached = start
            try snapshot.changes(after: start) { entry in
                if page.entries.count == limit || walked == limits.walkedRowsPerPage { return false }
                walked += 1
                page.reached = entry.revision
                // What stands for others is no change.
                if entry.run == nil, isTold(entry) { page.entries.append(entry) }
                return true
            }
            return page
        }
    }

    /// Whether the changes after a revision are all kept.
    ///
    /// - Returns: the registry's last change.
    /// - Throws: ``Refusal`` REVISION_AHEAD, REVISION_COMPACTED.
    @discardableResult
    public func requireKept(_ since: Revision, of historyID: String) throws -> Revision {
        try read { snapshot in
            let last = try snapshot.revision()
            try snapshot.requireKept(since, of: historyID, last: last)
            return last
        }
    }

    /// ListAuditRecords: REVISION_AHEAD. What was compacted is there as the entries that stand for it.
    ///
    /// - Parameters:
    ///   - since: what the query asked for.
    ///   - cursor: where the page before ended; nil for the first one.
    public func auditRecords(
        since: Revision, after cursor: Revision?, pageSize: Int
    ) throws -> Page<ChangeRecord, Revision> {
        try read { snapshot in
            let last = try snapshot.revision()
            try snapshot.requireMade(since, of: "", last: last)
            let kept = Int64(try snapshot.changeCount())
            // Exact, unless a restore made revisions jump within, or entries were compacted there.
            let after = Int64(clamping: last.number - min(since.number, last.number))
            var page = Page<ChangeRecord, Revision>(rows: [], next: nil, totalSize: min(kept, after))
            try snapshot.changes(after: max(since, cursor ?? since)) { entry in
                if page.rows.count == pageSize {
                    page.next = page.rows.last?.revision
                    return false
                }
                page.rows.append(entry)
                return true
            }
            return page
        }
    }
}

extension Snapshot {
    /// REVISION_AHEAD where a revision has not been made in this history.
    fileprivate func requireMade(_ since: Revision, of historyID: String, last: Revision) throws {
        let mine = try identity().historyID
        guard historyID.isEmpty || historyID == mine else {
            throw Refusal(
                .revisionAhead,
                "Revision \(since.number) is of another history: the registry was restored from a backup since. Read its "
                    + "state anew, and go on from revision \(last.number) of this one.",
                metadata: ["history_id": mine, "revision": String(last.number)])
        }
        guard since <= last else {
            throw Refusal(
                .revisionAhead,
                "Revision \(since.number) is beyond the last one, \(last.number). Where the registry was restored from a "
                    + "backup, read its state anew and go on from there.",
                metadata: ["history_id": mine, "revision": String(last.number)])
        }
    }

    /// The same, and REVISION_COMPACTED where not all that came after it is told one by one.
    fileprivate func requireKept(_ since: Revision, of historyID: String, last: Revision) throws {
        try requireMade(since, of: historyID, last: last)
        // 0 asks for all that is kept.
        guard since.number > 0, since < last else { return }
        let compacted = try lastCompactedChange()
        guard since < compacted else { return }
        throw Refusal(
            .revisionCompacted,
            "The changes after revision \(since.number) are kept whole from revision \(compacted.next.number) on only: older "
                + "automatic device registrations were compacted. Read the registry's state anew, and go on from revision "
                + "\(last.number).",
            metadata: ["history_id": try identity().historyID, "revision": String(last.number)])
    }

    /// REVISION_COMPACTED where the entry of a revision was taken out of the log.
    fileprivate func requireEntry(at revision: Revision) throws {
        guard revision <= (try lastCompactedChange()), try change(at: revision) == nil else { return }
        var run: ChangeRecord?
        try changes(after: revision) { entry in
            run = entry
            return false
        }
        guard let run, let first = run.run?.first, first <= revision else { return }
        throw Refusal(
            .revisionCompacted,
            "The record of revision \(revision.number) was compacted with those of revisions \(first.number) to "
                + "\(run.revision.number). Give the hash of another revision: that of the last of them is kept.",
            metadata: ["revision": String(run.revision.number)])
    }
}

/// A walk of the change log's chain of hashes, some entries at a time: a long log must not pin its pages for long.
public struct ChangeLogWalk {
    /// What was found so far.
    public struct Finding: Sendable, Equatable {
        public var firstRevision = Revision(0)
        public var lastRevision = Revision(0)
        public var recordCount: UInt64 = 0
        public var lastHash = ChangeRecord.chainStart
        /// The first revision that does not fit; nil where all do.
        public var broken: Revision?
        /// The entry at the checkpoint has the checkpoint's hash.
        public var meetsCheckpoint = false
    }

    /// A revision and its hash, kept elsewhere.
    public struct Checkpoint: Sendable {
        public var revision: Revision
        public var hash: SHA256Digest

        /// Both fields.
        public init(revision: Revision, hash: SHA256Digest) {
            self.revision = revision
            self.hash = hash
        }
    }

    public private(set) var finding = Finding()
    private let registry: Registry
    private let checkpoint: Checkpoint?
    /// What was the last change when the walk began: those that come meanwhile are not waited for.
    private let end: Revision
    private var chain: ChangeChain

    /// - Throws: ``Refusal`` REVISION_AHEAD, REVISION_COMPACTED for a checkpoint that is not in the log.
    public init(_ registry: Registry, from checkpoint: Checkpoint?) throws {
        self.registry = registry
        self.checkpoint = checkpoint
        end = try registry.read { snapshot in
            let last = try snapshot.revision()
            if let checkpoint {
                try snapshot.requireMade(checkpoint.revision, of: "", last: last)
                try snapshot.requireEntry(at: checkpoint.revision)
            }
            return last
        }
        chain = ChangeChain(end: end)
    }

    /// Walks on.
    ///
    /// - Returns: whether there is more.
    public mutating func walk(entries limit: Int) throws -> Bool {
        var (finding, chain) = (finding, chain)
        defer { (self.finding, self.chain) = (finding, chain) }
        var walked = 0
        var hasMore = false
        do {
            try registry.read { snapshot in
                try snapshot.changes(after: finding.lastRevision) { entry in
                    if entry.revision > end { return false }
                    if walked == limit {
                        hasMore = true
                        return false
                    }
                    walked += 1
                    return take(entry, into: &finding, &chain)
                }
                guard finding.broken == nil, !hasMore else { return }
                finding.broken = try chain.missingCovers.first { cover in
                    try snapshot.change(at: cover)?.kind != .logCompacted
                }
            }
        } catch StoreFault.damaged(_, let key, _) {
            // A damaged entry is what the walk is for: found, not failed.
            finding.broken = Revision(key.reduce(0) { $0 << 8 | UInt64($1) })
        }
        if finding.broken == nil, !hasMore, finding.lastRevision < end {
            finding.broken = finding.lastRevision.next
        }
        return hasMore && finding.broken == nil
    }

    private func take(_ entry: ChangeRecord, into finding: inout Finding, _ chain: inout ChangeChain) -> Bool {
        guard chain.take(entry) else {
            finding.broken = entry.revision
            return false
        }
        if finding.recordCount == 0 { finding.firstRevision = entry.run?.first ?? entry.revision }
        finding.lastRevision = entry.revision
        finding.lastHash = entry.hash
        finding.recordCount += 1
        guard let checkpoint, checkpoint.revision == entry.revision else { return true }
        guard checkpoint.hash == entry.hash else {
            finding.broken = entry.revision
            return false
        }
        finding.meetsCheckpoint = true
        return true
    }
}
