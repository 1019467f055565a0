internal import CaregProto
internal import Foundation
internal import SwiftProtobuf

/// One cell or value; its text is escaped when it is printed.
struct Cell {
    /// What a value says beyond its text, where there is colour.
    enum Mood {
        case plain
        case good
        case bad
        case waiting
    }

    var text: String
    var mood: Mood = .plain

    init(_ text: String, _ mood: Mood = .plain) {
        self.text = text
        self.mood = mood
    }

    init(_ number: some BinaryInteger) {
        self.init(String(number))
    }

    /// - Parameters:
    ///   - width: columns that the cell has at least.
    ///   - limit: columns that it has at most.
    func printed(width: Int = 0, limit: Int = .max, colour: Bool) -> String {
        let escaped = TerminalText.cut(TerminalText.escape(text), columns: limit)
        let padding = String(repeating: " ", count: max(0, width - TerminalText.width(escaped)))
        let code =
            switch mood {
            case .plain: ""
            case .good: "32"
            case .bad: "31"
            case .waiting: "33"
            }
        guard colour, !code.isEmpty else { return escaped + padding }
        return "\u{1b}[\(code)m\(escaped)\u{1b}[0m" + padding
    }
}

/// Whether standard output takes colour: a terminal, and nobody has said no (no-color.org).
enum Colour {
    static let isWanted =
        StandardOutput.isTerminal && ProcessInfo.processInfo.environment["NO_COLOR", default: ""].isEmpty
        && ProcessInfo.processInfo.environment["TERM"] != "dumb"
}

/// Rows in aligned columns, page by page: a column never gets narrower than it was on the page before.
///
/// On a terminal that is too narrow, the columns of free text are cut. What one may want to copy never is.
struct Table {
    /// Columns of free text, by their headers.
    private static let free: Set<String> = ["NAME", "SUBJECT", "PROBLEM", "METHOD"]
    private static let leastColumns = 8
    private static let gap = 2

    private let header: [String]
    private var widths: [Int]
    private var hasHeader = false
    private let colour: Bool
    private let columns: Int?

    /// - Parameter columns: of the terminal; nil for as many as are needed.
    init(
        _ header: [String], colour: Bool = Colour.isWanted, columns: Int? = Terminal.columns(of: STDOUT_FILENO)
    ) {
        self.header = header
        self.colour = colour
        self.columns = columns
        widths = header.map(TerminalText.width)
    }

    /// The lines of the next page, with the header on the first.
    mutating func lines(_ rows: [[Cell]]) -> String {
        for row in rows {
            for (column, cell) in row.enumerated() where column < widths.count {
                widths[column] = max(widths[column], TerminalText.width(TerminalText.escape(cell.text)))
            }
        }
        let limits = fitting()
        var text = ""
        if !hasHeader {
            text += line(header.map { Cell($0) }, limits)
            hasHeader = true
        }
        for row in rows { text += line(row, limits) }
        return text
    }

    /// What each column gets: the widest ones of free text give first.
    private func fitting() -> [Int] {
        var limits = widths
        guard let columns else { return limits }
        let free = header.indices.filter { Self.free.contains(header[$0]) }
        var excess = limits.reduce(0, +) + Self.gap * (limits.count - 1) - columns
        while excess > 0, let widest = free.max(by: { limits[$0] < limits[$1] }), limits[widest] > Self.leastColumns {
            let next = free.filter { $0 != widest }.map { limits[$0] }.max() ?? 0
            let cut = min(excess, max(1, limits[widest] - max(next, Self.leastColumns)))
            limits[widest] -= cut
            excess -= cut
        }
        return limits
    }

    private func line(_ cells: [Cell], _ limits: [Int]) -> String {
        var text = ""
        for (column, cell) in cells.enumerated() {
            let isLast = column == cells.count - 1
            text += cell.printed(width: isLast ? 0 : limits[column], limit: limits[column], colour: colour)
            text += isLast ? "\n" : String(repeating: " ", count: Self.gap)
        }
        return text
    }
}

/// One resource as `key: value` lines.
enum Listing {
    static func lines(_ pairs: [(key: String, value: Cell)], colour: Bool = Colour.isWanted) -> String {
        let width = pairs.map { TerminalText.width($0.key) }.max() ?? 0
        return pairs.map { key, value in
            let padding = String(repeating: " ", count: width - TerminalText.width(key))
            return "\(key):\(padding) \(value.printed(colour: colour))\n"
        }.joined()
    }
}

/// Times and enumerations as people read them.
enum Readable {
    /// Local time, with its distance from UTC and from now: `2026-11-25 09:30:00 +0100 (in 12d)`; `-` where there is none.
    static func time(_ time: Google_Protobuf_Timestamp, isSet: Bool = true, now: Date = Date()) -> String {
        guard isSet else { return "-" }
        return "\(local(time, format: "%Y-%m-%d %H:%M:%S %z")) (\(relative(time, now: now)))"
    }

    /// The same for a row: `2026-11-25 09:30 (in 12d)`.
    static func shortTime(_ time: Google_Protobuf_Timestamp, now: Date = Date()) -> String {
        "\(local(time, format: "%Y-%m-%d %H:%M")) (\(relative(time, now: now)))"
    }

    /// `in 12d`, `3h 5m ago`, `now`.
    static func relative(_ time: Google_Protobuf_Timestamp, now: Date) -> String {
        let seconds = time.seconds - Int64(now.timeIntervalSince1970.rounded(.down))
        if seconds == 0 { return "now" }
        let distance = abs(seconds)
        let year: Int64 = 365 * 86_400
        let text =
            switch distance {
            case (2 * year)...: "\((distance + year / 2) / year)y"
            case 172_800...: "\(distance / 86_400)d"
            default: duration(seconds: distance)
            }
        return seconds > 0 ? "in \(text)" : "\(text) ago"
    }

    private static func local(_ time: Google_Protobuf_Timestamp, format: String) -> String {
        var seconds = time_t(time.seconds)
        var parts = unsafe tm()
        tzset()
        guard unsafe localtime_r(&seconds, &parts) != nil else { return "-" }
        var buffer = [CChar](repeating: 0, count: 64)
        let count = unsafe strftime(&buffer, buffer.count, format, &parts)
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// `STATUS_ACTIVE` of `Status` as `ACTIVE`; a number where this program does not know the value.
    ///
    /// - Parameter type: the enumeration's name in careg.v1.
    static func constant(_ value: some SwiftProtobuf.Enum, of type: String) -> String {
        guard let names = MessageTypes.all.enumNames[".careg.v1.\(type)"], let unset = names[0],
            let name = names[Int32(value.rawValue)]
        else { return String(value.rawValue) }
        // Every value begins with what precedes UNSPECIFIED in the first one.
        let prefix = unset.dropLast("UNSPECIFIED".count)
        return name.hasPrefix(prefix) ? String(name.dropFirst(prefix.count)) : name
    }

    /// The same in lower case, `CA_REGISTERED` as `ca registered`.
    static func words(_ value: some SwiftProtobuf.Enum, of type: String) -> String {
        constant(value, of: type).lowercased().replacing("_", with: " ")
    }

    /// A certificate's status; `-` where there is none.
    static func status(_ status: Careg_V1_Status) -> Cell {
        switch status {
        case .active: Cell("active", .good)
        case .inactive: Cell("inactive", .bad)
        case .pending: Cell("pending", .waiting)
        case .unspecified: Cell("-")
        case .UNRECOGNIZED(let number): Cell(number)
        }
    }

    /// `3 device certificates`, `1 device certificate`.
    static func count(_ number: some BinaryInteger, _ noun: String) -> String {
        "\(number) \(noun)\(number == 1 ? "" : "s")"
    }

    /// Bytes with a unit.
    static func bytes(_ count: UInt64) -> String {
        var value = Double(count)
        for unit in ["B", "KiB", "MiB", "GiB"] {
            if value < 1024 { return unit == "B" ? "\(count) B" : String(format: "%.1f \(unit)", value) }
            value /= 1024
        }
        return String(format: "%.1f TiB", value)
    }

    /// `3d 4h`, `4h 5m`, `5m 6s`, `6s`: the two greatest units.
    static func duration(seconds: Int64) -> String {
        let parts = [(seconds / 86400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")]
        let first = parts.firstIndex { $0.0 > 0 } ?? parts.count - 1
        return parts[first...].prefix(2).map { "\($0.0)\($0.1)" }.joined(separator: " ")
    }
}
