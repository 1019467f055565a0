internal import Glibc
internal import Registry

/// The limits of this room. Those of the wire are TTRPC's, those of the registry's contents the Registry's.
public struct ServiceLimits: Sendable {
    /// Threads that check signatures.
    public var verificationThreads = ServiceLimits.processors
    /// Threads for pages, status and metrics.
    public var queryThreads = max(2, ServiceLimits.processors)
    /// Calls that wait for a verification thread. The wire bounds requests in flight by their bytes, well before this.
    public var waitingVerifications = 65_536
    /// Calls that wait for a query thread.
    public var waitingQueries = 16_384
    /// Backups at once.
    public var backups = 2
    /// Walks of the audit log that wait; one runs at a time.
    public var waitingAudits = 8
    /// Watch streams at once. One caller may have half of them.
    public var watchers = 1_024
    /// Polls that wait for a change. One caller may have half of them.
    public var waitingPolls = 4_096
    /// The longest wait of a Poll.
    public var longestPollSeconds: Int64 = 30
    /// The last changes, kept in memory for watchers that follow closely.
    public var keptChanges = 4_096
    /// Changes that one watcher is sent before the others get their turn.
    public var changesPerTurn = 256
    /// Rows of a page.
    public var pageRows = 1_000
    /// Rows of a page of no stated size.
    public var defaultPageRows = 100
    /// Bytes of a page of trust anchors, which hold their DER.
    public var anchorPageBytes = 1_048_576
    /// Bytes of a page of any other list: no answer may be larger than a frame, 4 MiB.
    public var pageBytes = 3_145_728
    /// Bytes of the copy in one message of a Backup; with all that is around them, the message stays below 1 MiB.
    public var backupMessageBytes = 1_047_552
    /// Entries of the change log that a walk of the audit log reads in one snapshot.
    public var auditEntriesPerSnapshot = 10_000
    /// Refusals that are remembered.
    public var refusalsKept = 1_000
    /// Log lines on refusals in one second; the rest is counted.
    public var refusalLinesPerSecond = 10
    /// Instances that the verdict counters tell apart; further ones share one label.
    public var verdictInstances = 200
    /// Days before the end of a CA certificate from which on the status says so.
    public var expiryWarningDays: Int64 = 30

    /// The defaults.
    public init() {}

    /// No more than leave LMDB readers for everybody, on however large a host.
    static var processors: Int { min(128, max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }

    /// The rows that a request will get at the most, whether it is refused for them or not.
    func expectedRows(_ given: UInt32) -> Int {
        given == 0 ? defaultPageRows : min(Int(given), pageRows)
    }

    /// The rows that a request asks for.
    ///
    /// - Throws: ``Registry/Refusal`` ARGUMENT_INVALID.
    func pageSize(_ given: UInt32) throws -> Int {
        if given == 0 { return defaultPageRows }
        guard given <= UInt32(clamping: pageRows) else {
            throw Refusal(
                .argumentInvalid, "A page has 1 to \(pageRows) rows; 0 means \(defaultPageRows).",
                metadata: ["field": "page_size"])
        }
        return Int(given)
    }
}

extension Array {
    /// As many rows from the first on as fit a page: one at least, so that every page leads on.
    func fitting(bytes limit: Int, size: (Element) -> Int) -> [Element] {
        var total = 0
        for (index, row) in enumerated() {
            total += size(row)
            if total > limit, index > 0 { return Array(self[..<index]) }
        }
        return self
    }
}
