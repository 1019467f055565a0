/// Moments at which an event loop has to look at a call: a binary heap, the first one on top.
///
/// An entry does not keep its call: most calls are answered long before their deadline. Their entries are cleared
/// away when they are the greater part.
struct Deadlines {
    struct Entry {
        let nanoseconds: Int64
        let token: UInt64
        let stream: UInt32
    }

    private var heap: [Entry] = []
    /// Entries whose calls have ended.
    private var stale = 0

    var count: Int { heap.count }
    var first: Int64? { heap.first?.nanoseconds }

    mutating func insert(_ entry: Entry) {
        heap.append(entry)
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child].nanoseconds < heap[parent].nanoseconds else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    /// Takes the first entry, where it is due.
    mutating func popFirst(dueAt now: Int64) -> Entry? {
        guard let top = heap.first, top.nanoseconds <= now else { return nil }
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        sink(0)
        return top
    }

    /// A call with a deadline has ended. The entries that are still needed are asked for when many are not.
    mutating func noteStale(isNeeded: (Entry) -> Bool) {
        stale += 1
        guard stale > heap.count / 2 + 64 else { return }
        heap.removeAll { !isNeeded($0) }
        stale = 0
        for index in stride(from: heap.count / 2 - 1, through: 0, by: -1) { sink(index) }
    }

    private mutating func sink(_ start: Int) {
        var parent = start
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < heap.count && heap[child].nanoseconds < heap[least].nanoseconds {
                least = child
            }
            guard least != parent else { return }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
