internal import Foundation

/// Standard output, unbuffered: what was written is out, whatever ends the program.
enum StandardOutput {
    static func write(_ text: String) throws {
        try write(Array(text.utf8))
    }

    static func write(_ bytes: [UInt8]) throws {
        do {
            try FileDescriptor.write(bytes, to: STDOUT_FILENO)
        } catch {
            throw Failure.cannotWrite("standard output", SystemError.text(error.number))
        }
    }

    static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }
}

/// Standard error: warnings, questions, failures.
enum StandardError {
    /// A line that goes nowhere harms nobody: errors are ignored.
    static func write(line: String) {
        write(line + "\n")
    }

    static func write(_ text: String) {
        try? FileDescriptor.write(Array(text.utf8), to: STDERR_FILENO)
    }
}

/// errno of a call that failed.
struct ErrorNumber: Error {
    var number: Int32
}

/// The few system calls on descriptors that the program needs.
enum FileDescriptor {
    static func write(_ bytes: [UInt8], to descriptor: Int32) throws(ErrorNumber) {
        var start = 0
        while start < bytes.count {
            let written = unsafe bytes[start...].withUnsafeBytes {
                unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
            }
            if written >= 0 {
                start += written
            } else if errno != EINTR {
                throw ErrorNumber(number: errno)
            }
        }
    }

    /// The next bytes, 64 KiB at most; empty at the end.
    static func read(from descriptor: Int32) throws(ErrorNumber) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = unsafe buffer.withUnsafeMutableBytes { unsafe Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count >= 0 { return Array(buffer.prefix(count)) }
            if errno != EINTR { throw ErrorNumber(number: errno) }
        }
    }
}
