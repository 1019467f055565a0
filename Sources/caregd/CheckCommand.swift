internal import ArgumentParser
internal import RegistryStore

struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Read all of a registry while no daemon runs, and say what is damaged.",
        discussion: """
            Exit status: 0 sound; 1 damaged, with a line for each finding; 66 there is no registry; 75 a daemon runs; 78 the
            registry is of a newer caregd. On a terminal a line tells how far it has come.

              systemctl stop caregd.service caregd-admin.socket caregd-broker.socket
              runuser -u caregd -- caregd check --state-dir /var/lib/caregd
            """)

    @OptionGroup var options: StateOptions

    func run() throws {
        let folder = try options.openFolder(creates: false)
        do throws(StateFault) {
            _ = try folder.marker()
            // A short file may be whole: the walk tells.
            try folder.requireDataFile { _ in true }
        } catch {
            throw StartFailure(error)
        }
        let outcome = try WalkOutcome.of(folder.dataFile, showing: ProgressLine())
        if let version = outcome.newerSchemaVersion {
            throw StartFailure(StateFault.newerSchema(folder.path, version: version))
        }
        for line in outcome.lines { StandardOutput.write(line + "\n") }
        guard outcome.isSound else {
            throw StartFailure(
                .damaged, "the registry in \(folder.path) is damaged: bring back a backup with: caregd restore FILE")
        }
        // The walk was sound, in its process: reading the same here is safe.
        do {
            let store = try Store(path: folder.dataFile, creating: nil, isReadOnly: true)
            let (identity, revision) = try store.read { (try $0.identity(), try $0.revision()) }
            try folder.requireKept(identity, revision: revision)
        } catch {
            throw StartFailure(error, doing: "check")
        }
    }
}
