internal import ArgumentParser
internal import Foundation
internal import RegistryStore
internal import Signatures

struct RestoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Put a backup in the registry's place while no daemon runs.",
        discussion: """
            The backup is checked first; what it replaces is kept in the state folder, under replaced-TIME. Every status \
            and tombstone that changes is printed, all open registration codes are revoked, and the registry gets a new \
            history: whoever follows its changes begins anew.

            Exit status: 0 restored; 65 the backup cannot be restored, and nothing was changed; 66 the file cannot be \
            read; 75 a daemon runs.
            """)

    @OptionGroup var options: StateOptions
    @Option(help: "The region that the backup must be of. (default: that of the registry it replaces)")
    var region: String?
    @Argument(help: ArgumentHelp("The backup.", valueName: "file"))
    var file: String

    /// Where the former revision cannot be read: further than a registry goes in the time between a clean stop, which
    /// notes it, and a crash.
    private static let unknownRevisions: UInt64 = 1_000_000_000

    func run() throws {
        let source = absolutePath(file)
        do {
            let folder = try options.openFolder(creates: true)
            defer { folder.discardIncoming() }
            try takeIn(source, folder)
            let identity = try requireUsable(source, folder)
            let former = compare(folder)
            try replace(folder, identity: identity, above: former)
        } catch {
            throw StartFailure(error, doing: "restore")
        }
    }

    private func takeIn(_ source: String, _ folder: StateFolder) throws {
        do throws(StateFault) {
            try folder.takeIn(source)
        } catch {
            if case .file(let fault) = error, fault.path == source {
                throw StartFailure(.noInput, "\(source) cannot be read: \(fault). Nothing was changed")
            }
            throw error
        }
        switch try DataFile.condition(path: folder.incomingFile) {
        case .missing, .empty: throw StateFault.copyUnusable(source, why: "it is empty")
        case .foreign: throw StateFault.copyUnusable(source, why: "it is not a registry")
        case .short, .whole: break
        }
        let outcome = try WalkOutcome.of(folder.incomingFile, showing: ProgressLine())
        if let version = outcome.newerSchemaVersion { throw StateFault.newerSchema(source, version: version) }
        guard outcome.isSound else {
            for line in outcome.lines { StandardOutput.write(line + "\n") }
            throw StateFault.copyUnusable(source, why: "it is damaged")
        }
    }

    private func requireUsable(_ source: String, _ folder: StateFolder) throws -> Store.Identity {
        guard let identity = try Store.identity(ofFile: folder.incomingFile) else {
            throw StateFault.copyUnusable(source, why: "it is not a registry")
        }
        let wanted = region ?? (try? folder.marker())?.region
        if let wanted, wanted != identity.region {
            throw StateFault.copyUnusable(
                source, why: "it is of region \(identity.region), and the registry here is of region \(wanted)")
        }
        return identity
    }

    /// Tells what the copy changes.
    ///
    /// - Returns: the revision that the registry had at least.
    private func compare(_ folder: StateFolder) -> Revision {
        let known = (try? folder.marker())?.revision
        switch try? DataFile.condition(path: folder.dataFile) {
        case .whole, .short: break
        case .missing where known == nil: return Revision(0)
        case .missing, .empty, .foreign, nil:
            return unreadable(known)
        }
        var revision: Revision?
        let end = try? ChildProcess.run([CompareCommand.name, folder.dataFile, folder.incomingFile]) { line in
            if line.hasPrefix(CompareCommand.revisionMark) {
                revision = UInt64(line.dropFirst(CompareCommand.revisionMark.utf8.count)).map(Revision.init)
            } else {
                StandardOutput.write(line + "\n")
            }
        }
        if end != .exited(0) {
            StandardError.write(
                "caregd: the former registry is damaged: not everything that the restore changes can be told\n")
        }
        guard let revision else { return unreadable(known) }
        return max(revision, known ?? revision)
    }

    private func unreadable(_ known: Revision?) -> Revision {
        StandardError.write(
            "caregd: the former registry cannot be read: what the restore changes cannot be told, and revisions go on "
                + "far above the last one that was noted\n")
        return Revision((known?.number ?? 0) + Self.unknownRevisions)
    }

    private func replace(_ folder: StateFolder, identity: Store.Identity, above former: Revision) throws {
        let now = WallTime.now
        let caller = Caller(userID: getuid(), groupID: getgid(), processID: getpid())
        let historyID = hexText(try SystemRandom.bytes(16))
        let report: RestoreReport
        do {
            let store = try Store(path: folder.incomingFile, creating: nil)
            report = try store.write { transaction in
                try transaction.becomePresent(above: former, historyID: historyID, time: now, caller: caller)
            }
        }
        let kept = try folder.replaceData(
            with: Store.Identity(region: identity.region, historyID: historyID), revision: report.revision, time: now)
        // Brokers that hold a map of the former registry ask from now on.
        _ = BrokerGrace(stateFolder: folder.path, own: [], stalenessMilliseconds: 0)
        StandardOutput.write("registration codes revoked: \(report.revokedCodes)\n")
        StandardOutput.write("revision: \(report.revision.number)\n")
        StandardOutput.write("history: \(historyID)\n")
        if let kept { StandardOutput.write("the former state is kept in \(kept)\n") }
    }
}

extension WallTime {
    /// The host's clock.
    static var now: WallTime {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return WallTime(milliseconds: Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000)
    }
}
