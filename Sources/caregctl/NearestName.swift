/// The name that somebody may have meant.
enum NearestName {
    /// The nearest of some names: one that the text is the beginning of, else one that is two changes away at most, and
    /// shares a letter in three; nil where none is.
    static func of(_ text: String, among names: [String]) -> String? {
        if text.count > 1, let longer = names.first(where: { $0.hasPrefix(text) }) { return longer }
        let distances = names.map { ($0, distance(text, $0)) }
        guard let nearest = distances.min(by: { $0.1 < $1.1 }), nearest.1 <= min(2, nearest.0.count / 2) else {
            return nil
        }
        return nearest.0
    }

    /// How many letters have to be put in, left out, changed, or exchanged with their neighbour.
    static func distance(_ left: String, _ right: String) -> Int {
        let left = Array(left.lowercased())
        let right = Array(right.lowercased())
        var beforeLast: [Int] = []
        var last = Array(0...right.count)
        for (row, letter) in left.enumerated() {
            var next = [row + 1]
            for (column, other) in right.enumerated() {
                var best = min(last[column + 1] + 1, next[column] + 1, last[column] + (letter == other ? 0 : 1))
                if row > 0, column > 0, letter == right[column - 1], left[row - 1] == other {
                    best = min(best, beforeLast[column - 1] + 1)
                }
                next.append(best)
            }
            beforeLast = last
            last = next
        }
        return last[right.count]
    }
}
