internal import ArgumentParser
internal import Foundation

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run the daemon in the foreground. (the default)",
        discussion: """
            Flags beat the environment ($STATE_DIRECTORY, $RUNTIME_DIRECTORY and $CONFIGURATION_DIRECTORY as systemd \
            sets them, and CAREGD_KEY for each key of the configuration), the environment beats the configuration file, \
            and that beats the defaults. No configuration file is needed.
            """)

    @OptionGroup var state: StateOptions
    @Option(
        help: ArgumentHelp(
            "The folder of the sockets, the trust map and the anchors. (default: $RUNTIME_DIRECTORY, else /run/caregd "
                + "for root, $XDG_RUNTIME_DIR/caregd or /tmp/caregd-UID for others)", valueName: "dir"))
    var runtimeDir: String?
    @Option(
        help: ArgumentHelp(
            "The configuration file, or its folder. (default: caregd.conf in $CONFIGURATION_DIRECTORY, else in /etc/caregd "
                + "for root, $XDG_CONFIG_HOME/caregd for others)", valueName: "file"))
    var config: String?
    @Option(help: "The region of a new registry, and what an old one must be of. (default: default)")
    var region: String?
    @Option(help: ArgumentHelp("Set a key of the configuration; may be given more than once.", valueName: "key=value"))
    var set: [String] = []
    @Flag(help: "Print each key of the configuration with its value and where that comes from, and exit.")
    var printConfig = false

    func validate() throws {
        for setting in set where !setting.contains("=") {
            throw ValidationError("--set takes KEY=VALUE, and got “\(setting)”")
        }
    }

    func run() throws {
        let environment = ProcessInfo.processInfo.environment
        let folders = Folders.choose(
            state: state.stateDir.map(absolutePath), runtime: runtimeDir.map(absolutePath), environment: environment,
            user: geteuid())
        let file = configurationFile(folders)
        let load = { () throws(StartFailure) in
            try DaemonConfiguration.load(
                flags: flags, environment: environment, file: file, isFileRequired: config != nil)
        }
        let configuration = try load()
        if printConfig { return Self.print(configuration, folders: folders, file: file) }
        ProcessSetup.holdSignals()
        ProcessSetup.explainFaults()
        let daemon = try Daemon(folders: folders, configuration: configuration, environment: environment)
        try daemon.serve(reload: load)
    }

    private var flags: [Setting] {
        (region.map { [Setting(key: "region", value: $0, origin: "--region")] } ?? [])
            + set.map { text in
                let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                return Setting(key: String(parts[0]), value: String(parts[1]), origin: "--set")
            }
    }

    private func configurationFile(_ folders: Folders) -> String {
        let name = "/caregd.conf"
        guard let config else { return folders.configuration + name }
        let path = absolutePath(config)
        var isFolder: ObjCBool = false
        let isThere = unsafe FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
        return isThere && isFolder.boolValue ? path + name : path
    }

    private static func print(_ configuration: DaemonConfiguration, folders: Folders, file: String) {
        StandardOutput.write("# state folder: \(folders.state)\n")
        StandardOutput.write("# runtime folder: \(folders.runtime)\n")
        StandardOutput.write("# configuration file: \(file)\n")
        for setting in configuration.listing {
            let help = ConfigurationKey.named(setting.key)?.help ?? ""
            StandardOutput.write("\(setting.key) = \(setting.value)\t[\(setting.origin)]\t\(help)\n")
        }
    }
}
