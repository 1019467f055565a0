internal import Foundation

/// Cuts a text that comes in pieces into its CERTIFICATE blocks. What is around them, other blocks too, is left out.
struct PEMStream {
    enum Contents: Equatable {
        /// A whole block, as it came.
        case certificate([UInt8])
        /// Why a block is not whole, as a clause.
        case broken(String)
    }

    struct Block: Equatable {
        /// 1 for the first.
        var number: Int
        /// The line that it begins in, from 1 on.
        var line: Int
        var contents: Contents
    }

    /// No upload is as large: a block that is has no end.
    static let maximumByteCount = 4 << 20

    private static let begin = Array("-----BEGIN CERTIFICATE-----".utf8)
    private static let end = Array("-----END CERTIFICATE-----".utf8)
    /// Of any block.
    private static let opening = Array("-----BEGIN ".utf8)

    private var buffer: [UInt8] = []
    /// Where what has not been given out begins.
    private var start = 0
    /// Up to here nothing was found.
    private var scanned = 0
    private var line = 1
    private var number = 0
    /// The buffer begins with a block's first line.
    private var isInside = false

    mutating func append(_ bytes: [UInt8]) {
        if start > 0 {
            buffer.removeFirst(start)
            scanned -= start
            start = 0
        }
        buffer += bytes
    }

    /// The next block; nil where more bytes are needed.
    mutating func next() -> Block? {
        if !isInside {
            guard let found = find(Self.begin, from: scanned) else {
                // Its beginning may be there already.
                scanned = max(scanned, buffer.count - Self.begin.count + 1)
                consume(to: scanned)
                return nil
            }
            consume(to: found)
            beginBlock()
        }
        while let dash = buffer[max(scanned, start)...].firstIndex(of: UInt8(ascii: "-")) {
            scanned = dash
            if matches(Self.end, at: dash) == true {
                let after = dash + Self.end.count
                let block = Block(
                    number: number, line: line, contents: .certificate(Array(buffer[start..<after]) + [0x0a]))
                consume(to: after)
                isInside = false
                return block
            }
            if matches(Self.opening, at: dash) == true {
                let block = broken("it has no end before the next block begins")
                consume(to: dash)
                isInside = false
                return block
            }
            if matches(Self.end, at: dash) == nil || matches(Self.opening, at: dash) == nil { break }
            scanned = dash + 1
        }
        if buffer.count - start > Self.maximumByteCount {
            let block = broken("it is larger than \(Self.maximumByteCount) bytes")
            consume(to: max(scanned, start))
            isInside = false
            return block
        }
        if !hasDashAhead { scanned = buffer.count }
        return nil
    }

    /// What is left at the end of the text.
    mutating func finish() -> Block? {
        guard isInside else { return nil }
        isInside = false
        return broken("it has no end")
    }

    private var hasDashAhead: Bool { scanned < buffer.count && buffer[scanned] == UInt8(ascii: "-") }

    private mutating func beginBlock() {
        number += 1
        isInside = true
        scanned = start + Self.begin.count
    }

    private func broken(_ why: String) -> Block {
        Block(number: number, line: line, contents: .broken(why))
    }

    private mutating func consume(to position: Int) {
        line += buffer[start..<position].count { $0 == 0x0a }
        start = position
        scanned = max(scanned, position)
    }

    private func find(_ mark: [UInt8], from position: Int) -> Int? {
        var position = position
        while let dash = buffer[position...].firstIndex(of: mark[0]) {
            switch matches(mark, at: dash) {
            case true: return dash
            case false: position = dash + 1
            case nil: return nil
            }
        }
        return nil
    }

    /// Whether a mark stands here; nil where the bytes that are there leave it open.
    private func matches(_ mark: [UInt8], at position: Int) -> Bool? {
        let there = buffer[position...].prefix(mark.count)
        guard there.elementsEqual(mark.prefix(there.count)) else { return false }
        return there.count == mark.count ? true : nil
    }
}
