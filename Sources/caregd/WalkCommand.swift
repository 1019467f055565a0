internal import ArgumentParser
internal import Foundation
internal import RegistryStore
internal import Signatures

/// What `check` and `restore` run in a process of its own: a walk through one data file.
struct WalkCommand: ParsableCommand {
    static let name = "walk-data-file"
    static let configuration = CommandConfiguration(commandName: name, shouldDisplay: false)
    /// The data file is of a newer schema version, which is all that the output says.
    static let newerSchemaExit = StartFailure.Exit.configuration.rawValue

    /// Before the number of rows that were read, on a line of its own.
    static let progressMark = "rows read: "

    @Flag(help: "Say now and then how far it has come.") var progress = false
    @Argument var file: String

    func run() throws {
        do {
            // What a newer caregd wrote is not misread as damaged.
            if let version = try Store.identity(ofFile: file)?.schemaVersion, version > Store.schemaVersion {
                StandardOutput.write("\(version)\n")
                throw ExitCode(Self.newerSchemaExit)
            }
            let store = try Store(path: file, creating: nil, isReadOnly: true)
            let identity = try store.read { try $0.identity() }
            let report = try store.check { [progress] rows in
                if progress { StandardOutput.write("\(Self.progressMark)\(rows)\n") }
            }
            for finding in report.findings { StandardOutput.write(finding + "\n") }
            if report.findingCount > report.findings.count {
                StandardOutput.write("\(report.findingCount) findings in all\n")
            }
            guard report.isSound else { throw ExitCode(StartFailure.Exit.damaged.rawValue) }
            try readFreePages(store)
            StandardOutput.write(
                "sound: region \(identity.region), history \(identity.historyID), revision \(report.revision.number), "
                    + "last hash \(report.lastHash.hex), \(report.rowCount) rows\n")
        } catch let fault as StoreFault {
            StandardOutput.write("\(fault)\n")
            throw ExitCode(StartFailure.Exit.damaged.rawValue)
        }
    }

    /// The tables are sound; what a later write would use must be there as well.
    private func readFreePages(_ store: Store) throws {
        let sink = unsafe open("/dev/null", O_WRONLY | O_CLOEXEC)
        guard sink >= 0 else { return }
        defer { close(sink) }
        try store.readAllPages(to: sink)
    }
}

/// What `restore` runs in a process of its own: what a copy changes against the registry that it replaces.
struct CompareCommand: ParsableCommand {
    static let name = "compare-data-files"
    static let configuration = CommandConfiguration(commandName: name, shouldDisplay: false)
    /// Before the former revision, on a line of its own.
    static let revisionMark = "former revision "

    @Argument var former: String
    @Argument var incoming: String

    func run() throws {
        do {
            let former = try Store(path: former, creating: nil, isReadOnly: true)
            let incoming = try Store(path: incoming, creating: nil, isReadOnly: true)
            let revision = try former.read { try $0.revision() }
            StandardOutput.write("\(Self.revisionMark)\(revision.number)\n")
            try RestoreComparison.run(former: former, incoming: incoming) { StandardOutput.write($0 + "\n") }
        } catch is StoreFault {
            throw ExitCode(StartFailure.Exit.damaged.rawValue)
        }
    }
}

/// What a start runs first in a process of its own: a look at all that a start reads. A data file whose pages point anywhere
/// may end who reads it.
struct ProbeCommand: ParsableCommand {
    static let name = "probe-data-file"
    static let configuration = CommandConfiguration(commandName: name, shouldDisplay: false)

    @Argument var file: String

    func run() throws {
        do {
            guard let version = try Store.identity(ofFile: file)?.schemaVersion, version <= Store.schemaVersion else {
                return
            }
            let store = try Store(path: file, creating: nil, isReadOnly: true)
            try store.read { snapshot in
                _ = try snapshot.regionTally()
                _ = try snapshot.revision()
                try snapshot.instances(after: nil) { instance in
                    try snapshot.cas(of: instance.number, after: nil) { _ in true }
                    return true
                }
            }
        } catch is StoreFault {
            // The start says it better.
        }
    }

    /// Whether the look at a data file ends by itself.
    static func survives(_ file: String) -> Bool {
        guard let end = try? ChildProcess.run([name, file], onLine: { _ in }) else { return true }
        if case .exited = end { return true }
        return false
    }
}

/// Standard output, unbuffered.
enum StandardOutput {
    /// Writes all of it, and gives up silently where nobody reads any more.
    static func write(_ text: String) {
        try? Files.write(Array(text.utf8), to: STDOUT_FILENO, path: "standard output")
    }
}
