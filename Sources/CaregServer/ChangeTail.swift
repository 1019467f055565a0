internal import Registry
internal import RegistryStore

/// The last changes, in memory, with the messages that tell them: who follows closely costs no look into the log, and a
/// message is encoded once for all.
struct ChangeTail {
    private struct Kept {
        let entry: ChangeRecord
        let message: [UInt8]
    }

    private let capacity: Int
    private var kept: [Kept] = []
    /// All changes after this one, up to the last, are kept.
    private var start: Revision
    /// The last change that was looked at.
    private(set) var last: Revision

    init(after revision: Revision, capacity: Int) {
        self.capacity = max(1, capacity)
        start = revision
        last = revision
    }

    /// Forgets what is kept; changes after `revision` come next.
    mutating func clear(after revision: Revision) {
        kept.removeAll(keepingCapacity: true)
        start = revision
        last = revision
    }

    /// Takes in what was committed since.
    mutating func follow(_ registry: Registry, historyID: String, rows: Int) throws {
        while true {
            let page = try registry.changes(after: last, limit: rows)
            for entry in page.entries {
                kept.append(Kept(entry: entry, message: try ChangeFeed.message(historyID, entry, entry.revision)))
            }
            last = page.reached
            // Half of it at a time, so that the array is not moved for each change.
            if kept.count > 2 * capacity { drop(kept.count - capacity) }
            if page.reached == page.last { return }
        }
    }

    private mutating func drop(_ count: Int) {
        start = kept[count - 1].entry.revision
        kept.removeFirst(count)
    }

    /// Changes after a revision; nil where they are not kept.
    func changes(after position: Revision, limit: Int, where isTold: (ChangeRecord) -> Bool) -> ChangePage? {
        guard position >= start else { return nil }
        var page = ChangePage(entries: [], reached: position, last: last)
        for kept in kept[index(after: position)...] {
            if page.entries.count == limit { return page }
            if isTold(kept.entry) { page.entries.append(kept.entry) }
            page.reached = kept.entry.revision
        }
        return page
    }

    /// The message that tells a change; nil where it is not kept.
    func message(of entry: ChangeRecord) -> [UInt8]? {
        guard entry.revision > start, entry.revision <= last else { return nil }
        let index = index(after: Revision(entry.revision.number - 1))
        return index < kept.count && kept[index].entry.revision == entry.revision ? kept[index].message : nil
    }

    /// The first that comes after a revision. Revisions may jump, so that it has to be searched.
    private func index(after position: Revision) -> Int {
        var low = 0
        var high = kept.count
        while low < high {
            let middle = (low + high) / 2
            if kept[middle].entry.revision <= position { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
