internal import ArgumentParser
internal import CaregClient
internal import Foundation

/// Why a command ends without having done what it should: for people, for programs, and as an exit code.
struct Failure: Error, Equatable {
    /// As sysexits.h has them, where it has one.
    enum Exit: Int32 {
        case refused = 1
        case usage = 64
        case cannotRead = 66
        case noDaemon = 69
        case cannotWrite = 73
        case notAllowed = 77
    }

    var exit: Exit
    /// A gRPC code's name, whether the daemon said it or this program.
    var code: String
    var reason: String
    var message: String
    var metadata: [String: String] = [:]
    /// Lines for people on what to do next.
    var advice: [String] = []

    static func usage(_ message: String) -> Failure {
        Failure(exit: .usage, code: "INVALID_ARGUMENT", reason: "USAGE", message: message)
    }

    /// The reason of a file that cannot be read.
    static let unreadable = "FILE_NOT_READABLE"

    static func cannotRead(_ path: String, _ why: String) -> Failure {
        Failure(
            exit: .cannotRead, code: "INVALID_ARGUMENT", reason: unreadable,
            message: "\(path) cannot be read: \(why)",
            metadata: ["file": path])
    }

    static func cannotWrite(_ path: String, _ why: String) -> Failure {
        Failure(
            exit: .cannotWrite, code: "FAILED_PRECONDITION", reason: "FILE_NOT_WRITABLE",
            message: "\(path) cannot be written: \(why)", metadata: ["file": path])
    }

    static func declined(_ message: String) -> Failure {
        Failure(exit: .refused, code: "CANCELLED", reason: "DECLINED", message: message)
    }
}

extension Failure {
    /// Any error that a command may throw, except those of the argument parser.
    init?(_ error: any Error) {
        switch error {
        case let failure as Failure: self = failure
        case let refusal as CaregFailure: self.init(refusal)
        case let error as CaregConnectionError: self.init(error)
        case is ProtobufJSONError:
            self.init(
                exit: .refused, code: "INTERNAL", reason: "ANSWER_NOT_UNDERSTOOD",
                message: "the daemon's answer does not fit the protocol that this program was built with")
        default: return nil
        }
    }

    init(_ refusal: CaregFailure) {
        self.init(
            exit: refusal.reason == "CALLER_NOT_ALLOWED" ? .notAllowed : .refused, code: refusal.code,
            reason: refusal.reason.isEmpty ? refusal.code : refusal.reason, message: refusal.message,
            metadata: refusal.metadata)
    }

    /// Where the host's own daemon is, for a user whose default is another folder.
    private static func hint(otherThan path: String) -> String {
        let host = "/run/caregd/admin.sock"
        guard path != host, unsafe access(host, F_OK) == 0 else { return "" }
        return "; the host's daemon is at \(host): give --socket, or set CAREG_SOCKET"
    }

    init(_ error: CaregConnectionError) {
        switch error {
        case .noDaemon(let path, let errno) where errno == EACCES || errno == EPERM:
            self.init(
                exit: .notAllowed, code: "PERMISSION_DENIED", reason: "CALLER_NOT_ALLOWED",
                message: "this user may not use the socket \(path)", metadata: ["socket": path])
        case .noDaemon(let path, let errno):
            self.init(
                exit: .noDaemon, code: "UNAVAILABLE", reason: "NO_DAEMON",
                message: "no daemon answers at \(path): \(SystemError.text(errno))" + Self.hint(otherThan: path),
                metadata: ["socket": path])
        case .connectionLost(let why):
            self.init(
                exit: .noDaemon, code: "UNAVAILABLE", reason: "CONNECTION_LOST",
                message: "the connection to the daemon was lost, so that what was asked for may be done or not: \(why)")
        case .timedOut:
            self.init(
                exit: .noDaemon, code: "DEADLINE_EXCEEDED", reason: "DEADLINE_EXCEEDED",
                message: "the daemon did not answer in time, so that what was asked for may be done or not")
        case .protocolViolation(let why):
            self.init(
                exit: .noDaemon, code: "UNAVAILABLE", reason: "PROTOCOL_VIOLATION",
                message: "what answers at the socket is no caregd: \(why)")
        }
    }
}

extension Failure {
    /// The line for standard error, without its newline.
    func text(as format: OutputFormat) -> String {
        switch format {
        case .table:
            let sentence = "caregctl: \(TerminalText.escape(message)) (\(TerminalText.escape(reason)))"
            return ([sentence] + advice.map(TerminalText.escape)).joined(separator: "\n")
        case .json: return "{\"error\":\(json)}"
        }
    }

    /// The object that programs read.
    var json: String {
        let pairs = metadata.sorted { $0.key < $1.key }
            .map { ProtobufJSON.quote($0.key) + ":" + ProtobufJSON.quote($0.value) }
        return "{\"code\":\(ProtobufJSON.quote(code)),\"reason\":\(ProtobufJSON.quote(reason)),"
            + "\"message\":\(ProtobufJSON.quote(message)),\"metadata\":{\(pairs.joined(separator: ","))}}"
    }
}

/// What errno says.
enum SystemError {
    static func text(_ number: Int32) -> String {
        unsafe String(cString: strerror(number))
    }

    static var last: String { text(errno) }
}
