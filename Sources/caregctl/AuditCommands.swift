internal import ArgumentParser
internal import CaregClient
internal import CaregProto

struct AuditCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "The log of changes: who changed what, and whether it is intact.",
        subcommands: [List.self, Refusals.self, Verify.self])
}

extension AuditCommand {
    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the changes, with who made them.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var paging: PagingOptions
        @Option(help: ArgumentHelp("After this revision. (default: all that are kept)", valueName: "revision"))
        var since: UInt64?

        func run() throws {
            let client = try global.connect()
            try Paging(paging).printList(
                as: global.output,
                header: ["REVISION", "TIME", "CHANGE", "UID", "PID", "INSTANCE", "CA SN", "DEVICE SN", "STATUS"],
                row: AuditCommand.row,
                fetch: { size, token in
                    var request = Careg_V1_ListAuditRecordsRequest()
                    request.sinceRevision = since ?? 0
                    request.pageSize = size
                    request.pageToken = token
                    return try client.listAuditRecords(request)
                })
        }
    }

    struct Refusals: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the last refused changes and denied callers.",
            discussion: """
                The daemon keeps the last 1,000 (refusals_kept) in memory, from its start on: a refusal is in no log on \
                disk and moves no revision.
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var paging: PagingOptions
        @Option(help: ArgumentHelp("After this number. (default: all that are kept)", valueName: "number"))
        var since: UInt64?

        func run() throws {
            let client = try global.connect()
            try Paging(paging).printList(
                as: global.output,
                header: ["NUMBER", "TIME", "METHOD", "REASON", "UID", "GID", "PID"],
                row: { record in
                    [
                        Cell(record.number), Cell(Readable.time(record.time)), Cell(record.method),
                        Cell(record.reason), Cell(record.callerUid), Cell(record.callerGid), Cell(record.callerPid),
                    ]
                },
                fetch: { size, token in
                    var request = Careg_V1_ListRefusalsRequest()
                    request.sinceNumber = since ?? 0
                    request.pageSize = size
                    request.pageToken = token
                    return try client.listRefusals(request)
                })
        }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Walk the whole log and its chain of hashes.",
            discussion: """
                Alone, this proves that the log is consistent. With a revision and its hash that you kept elsewhere \
                (last_revision and last_hash of an earlier run) it proves that the history has not been rewritten \
                since. The exit status is 1 where the log is not intact.
                """)

        @OptionGroup var global: GlobalOptions
        @Option(help: ArgumentHelp("A revision whose hash you kept.", valueName: "revision")) var fromRevision: UInt64?
        @Option(help: ArgumentHelp("That hash, 64 hex digits.", valueName: "hash")) var fromHash: String?

        func run() throws {
            var request = Careg_V1_VerifyAuditLogRequest()
            request.fromRevision = fromRevision ?? 0
            request.fromHash = fromHash ?? ""
            let found = try global.connect().verifyAuditLog(request).verification
            try global.print(found) { AuditCommand.lines(found) }
            if !found.intact { throw ExitCode(Failure.Exit.refused.rawValue) }
        }
    }

    fileprivate static func row(_ record: Careg_V1_AuditRecord) -> [Cell] {
        [
            Cell(record.hasFirstRevision ? "\(record.firstRevision)-\(record.revision)" : String(record.revision)),
            Cell(Readable.time(record.time)),
            Cell(Readable.words(record.type, of: "ChangeType")), Cell(record.callerUid), Cell(record.callerPid),
            Cell(record.instanceID.isEmpty ? "-" : record.instanceID), Cell(record.caSn.isEmpty ? "-" : record.caSn),
            Cell(record.deviceSn.isEmpty ? "-" : record.deviceSn), Readable.status(record.status),
        ]
    }

    fileprivate static func lines(_ found: Careg_V1_AuditVerification) -> String {
        var pairs = [
            ("intact", found.intact ? Cell("yes", .good) : Cell("no", .bad)),
            ("message", Cell(found.message)),
            ("first revision", Cell(found.firstRevision)),
            ("last revision", Cell(found.lastRevision)),
            ("records", Cell(found.recordCount)),
            ("last hash", Cell(found.lastHash)),
        ]
        if found.brokenRevision != 0 { pairs.append(("broken revision", Cell(String(found.brokenRevision), .bad))) }
        return Listing.lines(pairs)
    }
}
