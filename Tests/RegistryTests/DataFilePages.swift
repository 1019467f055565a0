import Foundation

/// The pages of an LMDB data file, read without LMDB: where each key and each value of each table stands.
///
/// Format of LMDB 0.9 on a 64-bit little-endian host.
struct DataFilePages {
    enum Part: String, CaseIterable {
        /// Key of a row.
        case key
        /// Value of a row, on its page or on overflow pages.
        case value
        /// Copy of a key that leads to a page.
        case separator
    }

    struct Span {
        var table: String
        var part: Part
        var range: Range<Int>
    }

    /// Keys and values of the tables.
    private(set) var spans: [Span] = []
    /// Headers of pages and rows, the tables' own records, and the present meta page.
    private(set) var structure: [Range<Int>] = []
    /// Rows whose value is on overflow pages.
    private(set) var longValueCount = 0

    private let bytes: [UInt8]
    private let pageBytes: Int

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        func number(_ offset: Int, _ width: Int) -> Int {
            (0..<width).reversed().reduce(0) { $0 << 8 | Int(bytes[offset + $1]) }
        }
        // The size of a page stands in the first meta page, whichever of the two is the present one.
        pageBytes = number(16 + 24, 4)
        let metas = [0, pageBytes].map { (offset: $0 + 16, transaction: number($0 + 16 + 128, 8)) }
        let present = metas[0].transaction > metas[1].transaction ? metas[0] : metas[1]
        structure.append(present.offset..<present.offset + 136)
        walk(root: number(present.offset + 24 + 48 + 40, 8), table: nil)
    }

    private func integer(_ offset: Int, _ width: Int) -> Int {
        (0..<width).reversed().reduce(0) { $0 << 8 | Int(bytes[offset + $1]) }
    }

    /// - Parameter table: nil for the table of tables.
    private mutating func walk(root: Int, table: String?) {
        guard root >= 0, root * pageBytes < bytes.count else { return }
        let page = root * pageBytes
        let isBranch = integer(page + 10, 2) & 1 != 0
        let count = (integer(page + 12, 2) - 16) / 2
        structure.append(page..<page + 16 + 2 * count)
        for index in 0..<count {
            let node = page + integer(page + 16 + 2 * index, 2)
            let low = integer(node, 2)
            let high = integer(node + 2, 2)
            let flags = integer(node + 4, 2)
            let key = node + 8..<node + 8 + integer(node + 6, 2)
            structure.append(node..<node + 8)
            if isBranch {
                if let table, !key.isEmpty { spans.append(Span(table: table, part: .separator, range: key)) }
                walk(root: low | high << 16 | flags << 32, table: table)
                continue
            }
            let value = key.upperBound..<key.upperBound + (low | high << 16)
            guard let table else {
                structure.append(key)
                let record = key.upperBound..<key.upperBound + 48
                structure.append(record)
                walk(root: integer(record.lowerBound + 40, 8), table: String(decoding: bytes[key], as: UTF8.self))
                continue
            }
            spans.append(Span(table: table, part: .key, range: key))
            if flags & 1 != 0 {
                longValueCount += 1
                let overflow = integer(key.upperBound, 8) * pageBytes
                structure.append(key.upperBound..<key.upperBound + 8)
                structure.append(overflow..<overflow + 16)
                spans.append(Span(table: table, part: .value, range: overflow + 16..<overflow + 16 + value.count))
            } else {
                spans.append(Span(table: table, part: .value, range: value))
            }
        }
    }
}
