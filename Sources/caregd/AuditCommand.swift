internal import ArgumentParser
internal import RegistryStore
internal import Signatures

struct AuditCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit", abstract: "The change log of a registry, while no daemon runs.",
        subcommands: [Verify.self])

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "verify",
            abstract: "Verify the chain of hashes of the change log.",
            discussion: """
                Alone, this proves that the log is consistent. With a revision and its hash that were kept elsewhere it \
                proves that the history has not been rewritten since. Exit status: 0 intact; 1 not.
                """)

        @OptionGroup var options: StateOptions
        @Option(help: ArgumentHelp("A revision and its hash that you kept.", valueName: "revision:hash"))
        var from: String?

        func validate() throws {
            if let from, Self.kept(from) == nil {
                throw ValidationError("--from is a revision, a colon, and a hash of 64 hex digits")
            }
        }

        private static func kept(_ text: String) -> (revision: Revision, hash: String)? {
            let parts = text.split(separator: ":")
            guard parts.count == 2, let number = UInt64(parts[0]), parts[1].utf8.count == 64,
                parts[1].allSatisfy(\.isHexDigit)
            else { return nil }
            return (Revision(number), parts[1].lowercased())
        }

        func run() throws {
            do {
                let folder = try options.openFolder(creates: false)
                let store = try folder.readRegistry { WalkOutcome.isSound($0) }
                try store.read { try verify($0) }
            } catch {
                throw StartFailure(error, doing: "audit")
            }
        }

        private func verify(_ snapshot: Snapshot) throws {
            var chain = ChangeChain()
            var count = 0
            var isKeptFound = from == nil
            let kept = from.flatMap(Self.kept)
            try snapshot.changes(after: Revision(0)) { entry in
                guard chain.take(entry) else {
                    throw StartFailure(.damaged, "the chain of hashes breaks at revision \(entry.revision.number)")
                }
                if let kept, let run = entry.run, run.first <= kept.revision, kept.revision < entry.revision {
                    throw StartFailure(
                        .noInput,
                        "the record of revision \(kept.revision.number) was compacted with those of revisions "
                            + "\(run.first.number) to \(entry.revision.number): give the hash of another revision")
                }
                if let kept, entry.revision == kept.revision {
                    guard entry.hash.hex == kept.hash else {
                        throw StartFailure(
                            .damaged, "revision \(entry.revision.number) has another hash: the history was rewritten")
                    }
                    isKeptFound = true
                }
                count += 1
                return true
            }
            if let cover = chain.missingCovers.first {
                throw StartFailure(
                    .damaged, "the record of revision \(cover.number) is missing: it covers compacted ones")
            }
            guard isKeptFound else {
                throw StartFailure(.damaged, "the revision of --from is not in the log: the history was rewritten")
            }
            StandardOutput.write(
                "intact: \(count) records, last revision \(chain.lastRevision.number), last hash \(chain.lastHash.hex)\n"
            )
        }
    }
}
