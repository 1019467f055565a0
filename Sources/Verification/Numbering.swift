/// Numbers byte strings: equal ones have the same number.
struct Numbering {
    /// Bytes that are hashed eight at a time: one at a time would take longer than the rest of the search.
    private struct Key: Hashable {
        let bytes: ArraySlice<UInt8>

        func hash(into hasher: inout Hasher) {
            var word: UInt64 = 0
            var count = 0
            for byte in bytes {
                word = word << 8 | UInt64(byte)
                count += 1
                if count.isMultiple(of: 8) { hasher.combine(word) }
            }
            hasher.combine(word)
            hasher.combine(count)
        }
    }

    /// Looking through a few takes less than hashing.
    private static let longestList = 8

    private var list: [Key] = []
    private var numbers: [Key: Int] = [:]

    mutating func number(of bytes: some Collection<UInt8>) -> Int {
        let key = Key(bytes: ArraySlice(bytes))
        if numbers.isEmpty {
            if let known = list.firstIndex(of: key) { return known }
            if list.count < Self.longestList {
                list.append(key)
                return list.count - 1
            }
            for (number, key) in list.enumerated() { numbers[key] = number }
        }
        if let known = numbers[key] { return known }
        numbers[key] = numbers.count
        return numbers.count - 1
    }
}
