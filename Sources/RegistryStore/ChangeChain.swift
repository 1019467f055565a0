public import Signatures

/// The change log's chain of hashes, entry by entry.
///
/// An entry's hash covers the one before, and so all of them. Entries that were compacted are gone, and the one that stands
/// for them only claims their last hash: that claim is covered by the `logCompacted` entry that was appended with it, whose
/// fingerprint is ``digest(_:_:)`` over all that it put in place of others. Whoever keeps the hash of any later entry can
/// prove both.
public struct ChangeChain {
    /// The hash of the last entry taken.
    public private(set) var lastHash = ChangeRecord.chainStart
    /// The revision of the last entry taken; 0 before the first.
    public private(set) var lastRevision = Revision(0)
    private let end: Revision?
    /// Digests of what stands for compacted entries, by the revision of the entry that covers it and is yet to come.
    private var uncovered: [Revision: SHA256Digest] = [:]

    /// - Parameter end: the last entry there was when the walk began, where the log grows during it; nil where it cannot.
    public init(end: Revision? = nil) {
        self.end = end
    }

    /// Takes the next entry.
    ///
    /// - Returns: whether it fits. After one that does not, the walk is over.
    public mutating func take(_ entry: ChangeRecord) -> Bool {
        if let run = entry.run {
            guard fits(entry, run) else { return false }
            uncovered[run.coveredBy] = Self.digest(uncovered[run.coveredBy] ?? Self.digestStart, entry)
        } else {
            guard entry.hash == entry.chainHash(after: lastHash) else { return false }
            if entry.kind == .logCompacted {
                guard uncovered.removeValue(forKey: entry.revision) == entry.fingerprint else { return false }
            }
        }
        lastHash = entry.hash
        lastRevision = entry.revision
        return true
    }

    /// Goes on from an entry that did not fit, to see whether others do not.
    public mutating func resume(after entry: ChangeRecord) {
        lastHash = entry.hash
        lastRevision = entry.revision
    }

    /// The revisions of entries that must cover what was taken and were not met, in order; each has to be a `logCompacted`
    /// entry after the walk's end, or the log is broken.
    public var missingCovers: [Revision] { uncovered.keys.sorted() }

    private func fits(_ entry: ChangeRecord, _ run: ChangeRecord.CompactedRun) -> Bool {
        guard run.first <= entry.revision, run.coveredBy > entry.revision, run.count > 0 else { return false }
        if run.first > lastRevision { return run.hashBefore == lastHash }
        // Compacted while the walk was within: what it stands for was read in part before.
        return end.map { run.coveredBy > $0 } ?? false
    }

    static let digestStart = SHA256Digest(hashing: Array("careg compaction 1".utf8))

    /// Goes on with the digest that a `logCompacted` entry has.
    static func digest(_ before: SHA256Digest, _ entry: ChangeRecord) -> SHA256Digest {
        SHA256Digest(hashing: entry.chainHash(after: before).bytes + entry.hash.bytes)
    }
}
