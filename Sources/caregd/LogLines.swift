internal import Foundation
internal import Logging
internal import Synchronization

/// Log lines on standard error: lower case, values as metadata, one line each whatever the values hold.
struct LogLines: LogHandler {
    /// For all loggers at once; SIGHUP changes it.
    static let level = Mutex<Logger.Level>(.info)

    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?
    private let style: Style

    enum Style: Sendable {
        /// A priority before each line, as the journal takes it; it has clocks of its own.
        case journal
        /// Time and level before each line.
        case plain
        /// The same for a terminal: what wants attention stands out.
        case coloured
    }

    init(style: Style) {
        self.style = style
    }

    /// - Parameter isTerminal: whether standard error is one.
    static func style(environment: [String: String], isTerminal: Bool) -> Style {
        if isTerminal {
            // https://no-color.org
            let isPlain = !(environment["NO_COLOR"] ?? "").isEmpty || environment["TERM"] ?? "dumb" == "dumb"
            return isPlain ? .plain : .coloured
        }
        return isReadByJournal(environment: environment) ? .journal : .plain
    }

    /// Whether the journal reads standard error: it takes priorities as `<N>` before a line, and has clocks of its own.
    static func isReadByJournal(environment: [String: String]) -> Bool {
        environment["JOURNAL_STREAM"] != nil || environment["INVOCATION_ID"] != nil
    }

    var logLevel: Logger.Level {
        get { Self.level.withLock { $0 } }
        set { Self.level.withLock { $0 = newValue } }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var line =
            switch style {
            case .journal: "<\(Self.priority(event.level))>"
            case .plain: "\(Self.time()) \(event.level.rawValue) "
            case .coloured: "\(Self.time()) \(Self.colour(event.level))\(event.level.rawValue)\u{1b}[0m "
            }
        line += Self.onOneLine(event.message.description)
        let values = metadata.merging(event.metadata ?? [:]) { $1 }
        for (key, value) in values.sorted(by: { $0.key < $1.key }) {
            line += " \(key)=\(Self.quotedWhereNeeded(Self.onOneLine("\(value)")))"
        }
        // One write for one line: lines of several threads do not mix.
        StandardError.write(line + "\n")
    }

    /// Syslog's numbers, as the journal reads them.
    private static func priority(_ level: Logger.Level) -> Int {
        switch level {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }

    private static func colour(_ level: Logger.Level) -> String {
        switch level {
        case .trace, .debug: "\u{1b}[2m"
        case .info, .notice: "\u{1b}[32m"
        case .warning: "\u{1b}[33m"
        case .error, .critical: "\u{1b}[1;31m"
        }
    }

    private static func time() -> String {
        var now = timespec()
        var parts = unsafe tm()
        unsafe clock_gettime(CLOCK_REALTIME, &now)
        unsafe gmtime_r(&now.tv_sec, &parts)
        var buffer = [CChar](repeating: 0, count: 32)
        let count = unsafe strftime(&buffer, buffer.count, "%Y-%m-%dT%H:%M:%S", &parts)
        let seconds = String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let milliseconds = String(now.tv_nsec / 1_000_000 + 1_000).dropFirst()
        return "\(seconds).\(milliseconds)Z"
    }

    private static func quotedWhereNeeded(_ text: String) -> String {
        let isPlain = !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 != UInt8(ascii: "\"") }
        return isPlain ? text : "\"" + text.replacingOccurrences(of: "\"", with: "\\\"") + "\""
    }

    private static func onOneLine(_ text: String) -> String {
        var shown = ""
        for scalar in text.unicodeScalars {
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate:
                shown += "\\u{" + String(scalar.value, radix: 16) + "}"
            default: shown.unicodeScalars.append(scalar)
            }
        }
        return shown
    }
}

/// Standard error, unbuffered.
enum StandardError {
    /// What goes nowhere harms nobody: errors are ignored.
    static func write(_ text: String) {
        let bytes = Array(text.utf8)
        var start = 0
        while start < bytes.count {
            let count = unsafe bytes[start...].withUnsafeBytes {
                unsafe Foundation.write(STDERR_FILENO, $0.baseAddress, $0.count)
            }
            if count > 0 {
                start += count
            } else if errno != EINTR {
                return
            }
        }
    }
}
