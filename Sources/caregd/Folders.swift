internal import Glibc

/// Where the daemon keeps its things.
struct Folders: Equatable, Sendable {
    var state: String
    var runtime: String
    var configuration: String
    /// The runtime folder is the one under /tmp, which must be nobody else's.
    var isRuntimePrivate = false

    /// Flags beat the environment as systemd sets it; that beats the defaults.
    static func choose(
        state: String?, runtime: String?, environment: [String: String], user: UInt32
    ) -> Folders {
        func variable(_ name: String) -> String? {
            guard let value = environment[name], !value.isEmpty else { return nil }
            return value
        }
        // systemd sets a list where a unit names several folders: the first one is ours.
        func managed(_ name: String) -> String? {
            variable(name)?.split(separator: ":").first.map(String.init)
        }
        let home = variable("HOME") ?? "/tmp/caregd-\(user)"
        let isRoot = user == 0
        var folders = Folders(
            state: isRoot ? "/var/lib/caregd" : (variable("XDG_STATE_HOME") ?? home + "/.local/state") + "/caregd",
            runtime: "/run/caregd",
            configuration: isRoot ? "/etc/caregd" : (variable("XDG_CONFIG_HOME") ?? home + "/.config") + "/caregd")
        if !isRoot {
            if let folder = variable("XDG_RUNTIME_DIR") {
                folders.runtime = folder + "/caregd"
            } else {
                folders.runtime = "/tmp/caregd-\(user)"
            }
        }
        let chosen = runtime ?? managed("RUNTIME_DIRECTORY")
        folders.isRuntimePrivate = chosen == nil && folders.runtime.hasPrefix("/tmp/")
        folders.runtime = chosen ?? folders.runtime
        folders.state = state ?? managed("STATE_DIRECTORY") ?? folders.state
        folders.configuration = managed("CONFIGURATION_DIRECTORY") ?? folders.configuration
        return folders
    }
}
