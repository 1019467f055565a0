internal import CaregProto
internal import Registry
internal import RegistryStore
internal import Signatures
internal import SwiftProtobuf
internal import TTRPC

/// careg.v1.AdminService: decode, ask, encode. Backup is ``BackupService``'s.
struct AdminService: Sendable {
    let registry: Registry
    let limits: ServiceLimits
    let status: DaemonStatus
    let sampler: MetricsSampler
    let refusals: RefusalRing

    func getStatus(_ request: Careg_V1_GetStatusRequest, _ call: Call<Careg_V1_GetStatusResponse>) throws {
        let status = try status.read()
        call.succeed(.with { $0.status = status })
    }

    func getMetrics(_ request: Careg_V1_GetMetricsRequest, _ call: Call<Careg_V1_GetMetricsResponse>) throws {
        let text = try sampler.text()
        call.succeed(.with { $0.text = text })
    }

    // MARK: The audit log

    func listAuditRecords(
        _ request: Careg_V1_ListAuditRecordsRequest, _ call: Call<Careg_V1_ListAuditRecordsResponse>
    ) throws {
        let tokens = PageTokens(query: "audit", String(request.sinceRevision))
        let cursor = try tokens.openNumber(request.pageToken).map { Revision($0) }
        let page = try registry.auditRecords(
            since: Revision(request.sinceRevision), after: cursor, pageSize: try limits.pageSize(request.pageSize))
        call.succeed(
            .with {
                $0.auditRecords = page.rows.map(Careg_V1_AuditRecord.init)
                $0.nextPageToken = tokens.seal(page.next.map { bigEndianBytes($0.number) })
                $0.totalSize = UInt32(clamping: page.totalSize)
            })
    }

    func verifyAuditLog(
        _ request: Careg_V1_VerifyAuditLogRequest, _ call: Call<Careg_V1_VerifyAuditLogResponse>
    ) throws {
        let checkpoint = try checkpoint(of: request)
        var walk = try ChangeLogWalk(registry, from: checkpoint)
        // Nobody waits for the rest of a walk whose caller is gone.
        while try walk.walk(entries: limits.auditEntriesPerSnapshot), !call.wire.isOver {}
        let verification = Careg_V1_AuditVerification(walk.finding, checkpoint)
        call.succeed(.with { $0.verification = verification })
    }

    func listRefusals(
        _ request: Careg_V1_ListRefusalsRequest, _ call: Call<Careg_V1_ListRefusalsResponse>
    ) throws {
        let tokens = PageTokens(query: "refusals", String(request.sinceNumber))
        let cursor = try tokens.openNumber(request.pageToken)
        let page = refusals.page(
            after: request.sinceNumber, from: cursor ?? 0, size: try limits.pageSize(request.pageSize))
        call.succeed(
            .with {
                $0.refusals = page.rows.map(Careg_V1_RefusalRecord.init)
                $0.nextPageToken = tokens.seal(page.hasMore ? page.rows.last.map { bigEndianBytes($0.number) } : nil)
                $0.totalSize = UInt32(clamping: page.totalSize)
            })
    }

    private func checkpoint(of request: Careg_V1_VerifyAuditLogRequest) throws -> ChangeLogWalk.Checkpoint? {
        if request.fromRevision == 0 && request.fromHash.isEmpty { return nil }
        guard request.fromRevision > 0, let hash = SHA256Digest(hex: request.fromHash) else {
            throw Refusal(
                .argumentInvalid, "Give a revision together with its hash of 64 hex digits, or neither.",
                metadata: ["field": request.fromRevision > 0 ? "from_hash" : "from_revision"])
        }
        return ChangeLogWalk.Checkpoint(revision: Revision(request.fromRevision), hash: hash)
    }
}

extension Careg_V1_RefusalRecord {
    init(_ record: RefusalRecord) {
        self.init()
        number = record.number
        time = Google_Protobuf_Timestamp(record.time)
        method = record.method
        reason = record.reason
        callerUid = record.caller.userID
        callerGid = record.caller.groupID
        callerPid = record.caller.processID
    }
}

extension Careg_V1_AuditVerification {
    init(_ finding: ChangeLogWalk.Finding, _ checkpoint: ChangeLogWalk.Checkpoint?) {
        self.init()
        intact = finding.broken == nil && (checkpoint == nil || finding.meetsCheckpoint)
        firstRevision = finding.firstRevision.number
        lastRevision = finding.lastRevision.number
        recordCount = finding.recordCount
        lastHash = finding.recordCount > 0 ? finding.lastHash.hex : ""
        if let broken = finding.broken {
            brokenRevision = broken.number
            message =
                broken == checkpoint?.revision
                ? "The record of revision \(broken.number) does not have the hash that was kept of it, or is damaged: this is "
                    + "another history."
                : "The record of revision \(broken.number) does not fit the one before, is missing or damaged: the log was "
                    + "altered or the data file is damaged. Run “caregd check” and restore a backup."
        } else if let checkpoint {
            brokenRevision = intact ? 0 : checkpoint.revision.number
            message =
                intact
                ? "The log is the one that revision \(checkpoint.revision.number) was kept of, and its chain of hashes is "
                    + "whole up to revision \(finding.lastRevision.number)."
                : "The log has no record of revision \(checkpoint.revision.number)."
        } else {
            message =
                finding.recordCount == 0
                ? "The log is empty."
                : "The chain of hashes is whole. Whether somebody made it anew shows only a hash that was kept elsewhere."
        }
    }
}
