internal import ArgumentParser
internal import Foundation
internal import RegistryStore
internal import Threads

/// The option of the verbs that work offline.
struct StateOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The state folder. (default: $STATE_DIRECTORY, else /var/lib/caregd for root, "
                + "$XDG_STATE_HOME/caregd for others)", valueName: "dir"))
    var stateDir: String?

    var folders: Folders {
        Folders.choose(
            state: stateDir.map(absolutePath), runtime: nil, environment: ProcessInfo.processInfo.environment,
            user: geteuid())
    }

    /// Locks the state folder.
    func openFolder(creates: Bool) throws(StartFailure) -> StateFolder {
        do throws(StateFault) {
            return try StateFolder(path: folders.state, creates: creates)
        } catch {
            throw StartFailure(error)
        }
    }
}

/// A path that stays what it is wherever the process goes.
func absolutePath(_ path: String) -> String {
    var absolute = path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
    while absolute.utf8.count > 1, absolute.hasSuffix("/") { absolute.removeLast() }
    return absolute
}

extension StartFailure {
    /// A state folder that cannot be worked on.
    init(_ fault: StateFault) {
        let exit: Exit =
            switch fault {
            case .folderMissing, .noRegistry: .noInput
            case .notAFolder, .newerSchema, .otherRegion: .configuration
            case .foreignOwner: .permission
            case .locked: .busy
            case .dataMissing, .dataEmpty, .dataForeign, .dataCut, .dataUnreadable, .markerDamaged, .otherHistory,
                .older:
                .damaged
            case .copyUnusable: .data
            case .file: .system
            }
        self.init(exit, fault.description)
    }

    /// Anything that the work on a registry may throw.
    init(_ error: any Error, doing what: String) {
        switch error {
        case let failure as StartFailure: self = failure
        case let fault as StateFault: self.init(fault)
        case let error as ThreadError: self.init(.system, error.description)
        case let fault as StoreFault where fault.isDiskFull: self.init(.system, "\(what): \(error)")
        case is StoreFault:
            self.init(
                .damaged,
                "\(what): \(error). Look at it with: caregd check; bring back a backup with: caregd restore FILE")
        default: self.init(.system, "\(what): \(error)")
        }
    }
}
