internal import Foundation

/// One line on standard error that says how far long work has come: on a terminal only, and gone when the work is done.
struct ProgressLine {
    /// A change that comes sooner is not worth a write.
    private static let pause: Duration = .milliseconds(100)

    private let isWanted: Bool
    private var next = ContinuousClock.now
    private var isThere = false

    /// - Parameter isWanted: whether anybody looks at it.
    init(isWanted: Bool = Terminal.isStandardErrorForPeople) {
        self.isWanted = isWanted
    }

    /// Puts a text in place of the one before, now and then.
    mutating func show(_ text: @autoclosure () -> String) {
        guard isWanted else { return }
        let now = ContinuousClock.now
        guard now >= next else { return }
        next = now.advanced(by: Self.pause)
        isThere = true
        StandardError.write(Self.line(text(), columns: Terminal.columns(of: STDERR_FILENO) ?? 80))
    }

    /// Makes room for what is printed next.
    mutating func clear() {
        guard isThere else { return }
        isThere = false
        StandardError.write("\r\u{1b}[K")
    }

    /// The text in the line that the cursor stands in. One that is too long is cut: wrapped, it would not be replaced.
    static func line(_ text: String, columns: Int) -> String {
        "\r" + TerminalText.cut(TerminalText.escape(text), columns: max(1, columns - 1)) + "\u{1b}[K"
    }
}

/// How fast work goes, and how long it may last.
struct Pace {
    private let start = ContinuousClock.now

    /// `1234/s`, of what has been done since the start.
    func text(done: Int) -> String {
        let seconds = start.duration(to: .now) / .seconds(1)
        return seconds > 0.5 ? "\(Int(Double(done) / seconds))/s" : "-/s"
    }
}

/// What is known of the terminals.
enum Terminal {
    /// Whether standard error is a terminal that moves its cursor.
    static let isStandardErrorForPeople =
        isatty(STDERR_FILENO) == 1 && ProcessInfo.processInfo.environment["TERM", default: "dumb"] != "dumb"

    /// How wide a terminal is; nil where the descriptor is none, or does not say.
    static func columns(of descriptor: Int32) -> Int? {
        size(of: descriptor).flatMap { $0.ws_col > 0 ? Int($0.ws_col) : nil }
    }

    /// How many lines it has; nil as above.
    static func rows(of descriptor: Int32) -> Int? {
        size(of: descriptor).flatMap { $0.ws_row > 0 ? Int($0.ws_row) : nil }
    }

    private static func size(of descriptor: Int32) -> winsize? {
        var size = winsize()
        return unsafe ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 ? size : nil
    }
}
