internal import Foundation
internal import RegistryStore

/// One line on standard error that says how far long work has come; nil where standard error is no terminal.
struct ProgressLine {
    init?() {
        let kind = ProcessInfo.processInfo.environment["TERM", default: "dumb"]
        guard isatty(STDERR_FILENO) == 1, kind != "dumb" else { return nil }
    }

    /// Puts a text in place of the one before. What does not fit is cut, so that it can be replaced.
    func show(_ text: String) {
        var size = winsize()
        let isKnown = unsafe ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 1
        let columns = isKnown ? Int(size.ws_col) - 1 : 79
        // A path may hold what moves the cursor.
        let printable = text.unicodeScalars.map { $0.isASCII && $0.value >= 0x20 && $0.value != 0x7f ? $0 : "?" }
        write("\r" + String(String.UnicodeScalarView(printable.prefix(columns))) + "\u{1b}[K")
    }

    /// Makes room for what is printed next.
    func clear() {
        write("\r\u{1b}[K")
    }

    private func write(_ text: String) {
        try? Files.write(Array(text.utf8), to: STDERR_FILENO, path: "standard error")
    }
}
