internal import CCaregSystem

/// The clients by their address, and in lists by where they stand.
@safe struct ClientTable {
    private var buckets: UnsafeMutablePointer<Client.Pointer?>
    private var bucketCount: Int
    private var heads = unsafe InlineArray<8, Client.Pointer?>(repeating: nil)
    private var tails = unsafe InlineArray<8, Client.Pointer?>(repeating: nil)
    private var counts = InlineArray<8, Int>(repeating: 0)
    private(set) var count = 0

    /// nil where there is no memory.
    init?() {
        guard let memory = unsafe Self.makeBuckets(PluginLimits.firstBuckets) else { return nil }
        unsafe buckets = unsafe memory
        bucketCount = PluginLimits.firstBuckets
    }

    private static func makeBuckets(_ count: Int) -> UnsafeMutablePointer<Client.Pointer?>? {
        unsafe calloc(count, MemoryLayout<Client.Pointer?>.stride)?.assumingMemoryBound(to: Client.Pointer?.self)
    }

    mutating func removeAll() {
        for place in 0..<Client.placeCount {
            while let client = unsafe heads[place] { unsafe remove(client) }
        }
        unsafe free(buckets)
    }

    // MARK: By address

    private func bucket(of key: OpaquePointer, count: Int) -> Int {
        // Addresses of one size differ in their middle bits: a multiplication brings them to the top.
        let mixed = UInt64(UInt(bitPattern: key)) &* 0x9e37_79b9_7f4a_7c15
        return Int(truncatingIfNeeded: mixed &>> 32) & (count &- 1)
    }

    func find(_ key: OpaquePointer) -> Client.Pointer? {
        var next = unsafe buckets[bucket(of: key, count: bucketCount)]
        while let client = unsafe next {
            if unsafe client.pointee.key == key { return unsafe client }
            unsafe next = unsafe client.pointee.nextInBucket
        }
        return nil
    }

    /// Takes a client whose address no other one in the table has.
    mutating func insert(_ client: Client.Pointer) {
        growIfNeeded()
        let bucket = unsafe bucket(of: client.pointee.key, count: bucketCount)
        unsafe client.pointee.nextInBucket = unsafe buckets[bucket]
        unsafe buckets[bucket] = unsafe client
        count &+= 1
        unsafe link(client, client.pointee.place)
    }

    /// Takes a client out, and gives back what it holds.
    mutating func remove(_ client: Client.Pointer) {
        let bucket = unsafe bucket(of: client.pointee.key, count: bucketCount)
        if unsafe buckets[bucket] == client {
            unsafe buckets[bucket] = unsafe client.pointee.nextInBucket
        } else {
            var previous = unsafe buckets[bucket]
            while let other = unsafe previous {
                if unsafe other.pointee.nextInBucket == client {
                    unsafe other.pointee.nextInBucket = unsafe client.pointee.nextInBucket
                    break
                }
                unsafe previous = unsafe other.pointee.nextInBucket
            }
        }
        count &-= 1
        unsafe unlink(client)
        unsafe Client.free(client)
    }

    /// A larger table, where there is memory for one; otherwise searches get longer.
    private mutating func growIfNeeded() {
        guard count >= bucketCount, bucketCount < PluginLimits.buckets else { return }
        let newCount = bucketCount &* 2
        guard let memory = unsafe Self.makeBuckets(newCount) else { return }
        for index in 0..<bucketCount {
            var next = unsafe buckets[index]
            while let client = unsafe next {
                unsafe next = unsafe client.pointee.nextInBucket
                let bucket = unsafe bucket(of: client.pointee.key, count: newCount)
                unsafe client.pointee.nextInBucket = unsafe memory[bucket]
                unsafe memory[bucket] = unsafe client
            }
        }
        unsafe free(buckets)
        unsafe buckets = unsafe memory
        bucketCount = newCount
    }

    // MARK: By place

    func first(_ place: Client.Place) -> Client.Pointer? { unsafe heads[place.rawValue] }

    func count(_ place: Client.Place) -> Int { counts[place.rawValue] }

    /// Puts a client at the end of a list.
    mutating func move(_ client: Client.Pointer, to place: Client.Place) {
        unsafe unlink(client)
        unsafe link(client, place)
    }

    /// Puts all clients of a list at the end of another one.
    mutating func moveAll(_ place: Client.Place, to other: Client.Place) {
        while let client = unsafe heads[place.rawValue] { unsafe move(client, to: other) }
    }

    private mutating func link(_ client: Client.Pointer, _ place: Client.Place) {
        let index = place.rawValue
        unsafe client.pointee.place = place
        unsafe client.pointee.previous = unsafe tails[index]
        unsafe client.pointee.next = nil
        if let last = unsafe tails[index] {
            unsafe last.pointee.next = unsafe client
        } else {
            unsafe heads[index] = unsafe client
        }
        unsafe tails[index] = unsafe client
        counts[index] &+= 1
    }

    private mutating func unlink(_ client: Client.Pointer) {
        let index = unsafe client.pointee.place.rawValue
        if let previous = unsafe client.pointee.previous {
            unsafe previous.pointee.next = unsafe client.pointee.next
        } else {
            unsafe heads[index] = unsafe client.pointee.next
        }
        if let next = unsafe client.pointee.next {
            unsafe next.pointee.previous = unsafe client.pointee.previous
        } else {
            unsafe tails[index] = unsafe client.pointee.previous
        }
        counts[index] &-= 1
    }
}
