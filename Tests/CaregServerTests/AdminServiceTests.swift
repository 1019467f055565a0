import CaregClient
import CaregProto
import Certificates
import Foundation
import Registry
import RegistryStore
import Signatures
import SwiftProtobuf
import Synchronization
import TTRPC
import Testing

@testable import CaregServer

/// The status, the audit log and the backup.
@Suite struct AdminServiceTests {
    // MARK: Status

    @Test func theStatusTellsOfTheRegistryTheDaemonAndItsLimits() throws {
        var sources = StatusSources()
        sources.problems = { ["The anchors folder cannot follow."] }
        sources.storage = { StorageReport(dataBytes: 11, freeBytes: 22) }
        sources.limits = { [LimitReport(name: "trust_map_devices", value: 5, used: 1)] }
        let daemon = try TestDaemon(sources: sources)
        try daemon.createInstances("a")
        let status = try daemon.client().getStatus(.init()).status
        #expect(status.region == "test" && status.historyID.count == 32 && status.revision == 1)
        #expect(status.instanceCount == 1 && status.connectionCount >= 1)
        #expect(status.processID == UInt32(ProcessInfo.processInfo.processIdentifier))
        #expect(status.stateDir == daemon.folder.path && status.hasUptime && status.hasStartTime)
        #expect(status.problems == ["The anchors folder cannot follow."])
        #expect(status.dataBytes == 11 && status.freeBytes == 22 && !status.diskFull)
        let limits = Dictionary(uniqueKeysWithValues: status.limits.map { ($0.name, $0) })
        #expect(limits["request_bytes"]?.value == 1_048_576)
        #expect(limits["instances"]?.value == 100_000 && limits["instances"]?.used == 1)
        #expect(limits["connections"]?.hasUsed == true && limits["stall_milliseconds"]?.value == 10_000)
        #expect(limits["trust_map_devices"]?.used == 1)
    }

    @Test func aCaCertificateThatEndsSoonIsAProblemInWords() throws {
        let now = Instant(secondsSince1970: 1_000_000)
        func sentence(_ seconds: Int64) throws -> String {
            DaemonStatus.sentence(
                on: CaExpiry(
                    serialNumber: try SerialNumber(text: "0a"), instanceID: "plant",
                    notAfter: Instant(secondsSince1970: now.secondsSince1970 + seconds)), at: now)
        }
        #expect(try sentence(0).contains("expires today"))
        #expect(try sentence(86_400).contains("in 1 day."))
        #expect(try sentence(86_400 * 12 + 5).contains("in 12 days"))
        #expect(try sentence(-1).contains("has expired"))
    }

    // MARK: Audit

    @Test func auditRecordsComeInPages() throws {
        let daemon = try TestDaemon()
        try daemon.createInstances("a", "b", "c", "d", "e")
        let client = try daemon.client()
        var request = Careg_V1_ListAuditRecordsRequest.with {
            $0.sinceRevision = 1
            $0.pageSize = 2
        }
        let first = try client.listAuditRecords(request)
        #expect(first.auditRecords.map(\.revision) == [2, 3] && first.totalSize == 4)
        request.pageToken = first.nextPageToken
        let second = try client.listAuditRecords(request)
        #expect(second.auditRecords.map(\.revision) == [4, 5] && second.nextPageToken.isEmpty)
        #expect(second.auditRecords.allSatisfy { $0.method == "CreateInstance" && $0.hash.count == 64 })
        #expect(second.auditRecords.first?.callerUid == geteuid())
        request.sinceRevision = 2
        let failure = #expect(throws: CaregFailure.self) { try client.listAuditRecords(request) }
        #expect(failure?.reason == "PAGE_TOKEN_INVALID")
        request = .with { $0.sinceRevision = 6 }
        let ahead = #expect(throws: CaregFailure.self) { try client.listAuditRecords(request) }
        #expect(ahead?.reason == "REVISION_AHEAD")
    }

    @Test func refusedChangesAreKeptForAWhileAndComeInPages() throws {
        var limits = ServiceLimits()
        limits.refusalsKept = 5
        let daemon = try TestDaemon(limits: limits)
        let client = try daemon.client()
        #expect(try client.listRefusals(.init()).refusals.isEmpty)
        for name in ["a", "b", "c", "d", "e", "f", "g"] {
            #expect(throws: CaregFailure.self) { try client.deleteInstance(.with { $0.id = name }) }
        }
        // What is merely not found by a reader is no event.
        #expect(throws: CaregFailure.self) { try client.getInstance(.with { $0.id = "a" }) }
        var request = Careg_V1_ListRefusalsRequest.with { $0.pageSize = 3 }
        let first = try client.listRefusals(request)
        #expect(first.refusals.map(\.number) == [3, 4, 5] && first.totalSize == 5)
        #expect(first.refusals.allSatisfy { $0.method == "DeleteInstance" && $0.reason == "INSTANCE_NOT_FOUND" })
        request.pageToken = first.nextPageToken
        let second = try client.listRefusals(request)
        #expect(second.refusals.map(\.number) == [6, 7] && second.nextPageToken.isEmpty && second.totalSize == 5)
        #expect(try client.listRefusals(.with { $0.sinceNumber = 6 }).refusals.map(\.number) == [7])
        request.sinceNumber = 2
        let failure = #expect(throws: CaregFailure.self) { try client.listRefusals(request) }
        #expect(failure?.reason == "PAGE_TOKEN_INVALID")
        #expect(try daemon.registry.figures().revision.number == 0)
    }

    @Test func anIntactLogVerifiesFromTheStartAndFromACheckpoint() throws {
        var limits = ServiceLimits()
        limits.auditEntriesPerSnapshot = 3
        let daemon = try TestDaemon(limits: limits)
        let client = try daemon.client()
        let empty = try client.verifyAuditLog(.init()).verification
        #expect(empty.intact && empty.recordCount == 0 && empty.lastHash.isEmpty)
        try daemon.fill(instances: 10)
        let whole = try client.verifyAuditLog(.init()).verification
        #expect(whole.intact && whole.firstRevision == 1 && whole.lastRevision == 10 && whole.recordCount == 10)
        let records = try client.listAuditRecords(.init()).auditRecords
        #expect(whole.lastHash == records.last?.hash)
        for record in records {
            let verified = try client.verifyAuditLog(
                .with {
                    $0.fromRevision = record.revision
                    $0.fromHash = record.hash.uppercased()
                }
            ).verification
            #expect(verified.intact && verified.lastRevision == 10, "\(verified)")
        }
    }

    @Test func aCheckpointOfAnotherHistoryIsBroken() throws {
        let daemon = try TestDaemon()
        try daemon.createInstances("a", "b", "c")
        let client = try daemon.client()
        let verified = try client.verifyAuditLog(
            .with {
                $0.fromRevision = 2
                $0.fromHash = String(repeating: "0", count: 64)
            }
        ).verification
        #expect(!verified.intact && verified.brokenRevision == 2 && !verified.message.isEmpty)
        let ahead = #expect(throws: CaregFailure.self) {
            try client.verifyAuditLog(
                .with {
                    $0.fromRevision = 4
                    $0.fromHash = String(repeating: "0", count: 64)
                })
        }
        #expect(ahead?.reason == "REVISION_AHEAD")
    }

    @Test func aCheckpointNeedsBothHalves() throws {
        let daemon = try TestDaemon()
        defer { daemon.stop() }
        let client = try daemon.client()
        for request in [
            Careg_V1_VerifyAuditLogRequest.with { $0.fromRevision = 1 },
            .with { $0.fromHash = String(repeating: "0", count: 64) },
            .with {
                $0.fromRevision = 1
                $0.fromHash = "12"
            },
        ] {
            let failure = #expect(throws: CaregFailure.self) { try client.verifyAuditLog(request) }
            #expect(failure?.reason == "ARGUMENT_INVALID")
        }
    }

    // MARK: Backup

    private func backup(_ client: CaregClient) throws -> (bytes: [UInt8], parts: [Careg_V1_BackupResponse]) {
        var bytes: [UInt8] = []
        var parts: [Careg_V1_BackupResponse] = []
        try client.backup(.init()) { part in
            bytes += part.data
            var rest = part
            rest.data = Data()
            parts.append(rest)
            return true
        }
        return (bytes, parts)
    }

    @Test func aBackupIsAWholeCopyOfItsRevisionAndLeavesNoFile() throws {
        let daemon = try TestDaemon()
        try daemon.fill(instances: 20_000)
        let before = try FileManager.default.contentsOfDirectory(atPath: daemon.folder.path).sorted()
        let (bytes, parts) = try backup(daemon.client())
        #expect(parts.count > 1)
        let last = try #require(parts.last)
        #expect(last.totalBytes == UInt64(bytes.count) && last.revision == 20_000)
        #expect(last.sha256 == SHA256Digest(hashing: bytes).hex)
        #expect(parts.dropLast().allSatisfy { $0.sha256.isEmpty })
        #expect(parts.allSatisfy { $0.revision == last.revision && $0.totalBytes == last.totalBytes })
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: daemon.folder.path).sorted()
                == (before + [LastBackup.fileName]).sorted())

        let file = daemon.folder.appending(path: "copy")
        try Data(bytes).write(to: file)
        let copy = try Store(path: file.path, creating: nil, isReadOnly: true)
        #expect(try copy.read { try $0.revision().number } == 20_000)
        var reported: [Int] = []
        #expect(try copy.check { reported.append($0) }.isSound)
        // A row of the table and one of the change log for each instance.
        #expect(reported == [16_384, 32_768])
    }

    @Test func theRevisionOfABackupIsThatOfItsCopyWhileManyMakeChanges() throws {
        let daemon = try TestDaemon()
        let isOver = Atomic<Bool>(false)
        // More than one, so that a command always waits while another one is committed.
        let writers = (0..<6).map { writer in
            Beside {
                var number = 0
                while !isOver.load(ordering: .relaxed) {
                    try daemon.createInstances("writer-\(writer)-\(number)")
                    number += 1
                }
            }
        }
        defer { isOver.store(true, ordering: .relaxed) }
        for round in 0..<5 {
            let client = try daemon.client()
            let (bytes, parts) = try Beside { try self.backup(client) }.value()
            let file = daemon.folder.appending(path: "copy-\(round)")
            try Data(bytes).write(to: file)
            let copy = try Store(path: file.path, creating: nil, isReadOnly: true)
            #expect(try copy.read { try $0.revision().number } == parts.last?.revision)
        }
        isOver.store(true, ordering: .relaxed)
        for writer in writers { try writer.value() }
    }

    @Test func oneBackupTooManyIsRefused() throws {
        var limits = ServiceLimits()
        limits.backups = 1
        let daemon = try TestDaemon(limits: limits)
        // Too long for what the sockets hold: it lasts until it is read.
        try daemon.fill(instances: 20_000)
        let isStuck = DispatchSemaphore(value: 0)
        let release = DispatchSemaphore(value: 0)
        let slow = try daemon.client()
        let first = Beside {
            try slow.backup(.init()) { part in
                if part.offset == 0 {
                    isStuck.signal()
                    release.wait()
                }
                return true
            }
        }
        #expect(isStuck.wait(timeout: .now() + 20) == .success)
        let failure = #expect(throws: CaregFailure.self) { try self.backup(daemon.client()) }
        #expect(failure?.reason == "LIMIT_REACHED" && failure?.metadata["limit"] == "backups")
        release.signal()
        try first.value()
        #expect(try backup(daemon.client()).parts.last?.revision == 20_000)
    }

    @Test func aCopyThatIsGivenUpEndsAndTheNextOneIsWhole() throws {
        let daemon = try TestDaemon()
        try daemon.fill(instances: 20_000)
        let copy = try BackupCopy(of: daemon.registry, in: daemon.folder.path) { true }
        #expect(copy == nil)
        try daemon.createInstances("after")
        #expect(try backup(daemon.client()).parts.last?.revision == 20_001)
    }

    @Test func withoutRoomForACopyThereIsNone() throws {
        var sources = StatusSources()
        sources.storage = { StorageReport(dataBytes: 1, freeBytes: 4_096) }
        let daemon = try TestDaemon(sources: sources)
        let failure = #expect(throws: CaregFailure.self) { try self.backup(daemon.client()) }
        #expect(failure?.reason == "DISK_FULL" && failure?.codeNumber == 8)
    }
}
