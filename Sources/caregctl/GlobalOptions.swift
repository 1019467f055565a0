internal import ArgumentParser
internal import CaregClient
internal import Foundation
internal import SwiftProtobuf

/// How answers are written.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
    case table
    case json
}

/// What every verb takes, before or after it.
struct GlobalOptions: ParsableArguments {
    @Option(
        help: "The daemon's socket. (default: $CAREG_SOCKET, else admin.sock in the default runtime folder)",
        completion: .file())
    var socket: String?

    @Option(help: "table: for people. json: the answer in protobuf's JSON, one document.")
    var output: OutputFormat = .table

    /// A connection to the daemon.
    func connect() throws -> CaregClient {
        try CaregClient(path: SocketPath.choose(option: socket))
    }

    /// Prints a message as JSON, or what `table` makes of it.
    func print(_ message: some SwiftProtobuf.Message, table: () -> String) throws {
        switch output {
        case .json: try StandardOutput.write(ProtobufJSON.encode(message) + "\n")
        case .table: try StandardOutput.write(table())
        }
    }
}

/// Where the daemon's socket is.
enum SocketPath {
    static func choose(
        option: String?, environment: [String: String] = ProcessInfo.processInfo.environment, user: UInt32 = geteuid()
    ) -> String {
        if let option { return option }
        if let path = environment["CAREG_SOCKET"], !path.isEmpty { return path }
        if user == 0 { return "/run/caregd/admin.sock" }
        if let folder = environment["XDG_RUNTIME_DIR"], !folder.isEmpty { return "\(folder)/caregd/admin.sock" }
        return "/tmp/caregd-\(user)/admin.sock"
    }
}
