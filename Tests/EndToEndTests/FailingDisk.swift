import Foundation
import Testing

/// What of the data file fails (Programs/failing_disk.c), and with which error.
struct DiskFault: Sendable, CustomTestStringConvertible {
    let name: String
    let error: Int32

    var testDescription: String { "\(name), errno \(error)" }
    var trigger: String { "\(name) \(error)\n" }
}

/// A daemon whose disk fails once there is the file `fault`.
struct FailingDisk {
    let daemon: Daemon
    var triggerFile: String { daemon.folder + "/fault" }

    init() throws {
        daemon = try Daemon(started: false)
        let library = daemon.folder + "/failing_disk.so"
        let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Programs/failing_disk.c").path
        let built = try run(
            "cc", ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", source, "-o", library, "-ldl"])
        guard built.exit == 0 else { throw TestFailure("\(built)") }
        let others = ProcessInfo.processInfo.environment["LD_PRELOAD"].map { $0 + ":" } ?? ""
        environment = ["LD_PRELOAD": others + library, "CAREG_FAULT_FILE": daemon.folder + "/fault"]
    }

    let environment: [String: String]

    func begin(_ fault: DiskFault) throws {
        // Renamed into place: it is there whole or not at all.
        try Data(fault.trigger.utf8).write(to: URL(fileURLWithPath: triggerFile), options: .atomic)
    }

    func end() throws { try FileManager.default.removeItem(atPath: triggerFile) }
}
