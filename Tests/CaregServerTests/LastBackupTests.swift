import CaregClient
import CaregProto
import Foundation
import RegistryStore
import SwiftProtobuf
import Testing

@testable import CaregServer

/// What the status says of the last backup.
@Suite struct LastBackupTests {
    private let historyID = String(repeating: "0a", count: 16)
    private let record = BackupRecord(
        time: WallTime(milliseconds: 1_700_000_000_123), revision: Revision(42), byteCount: 4_096)

    @Test func whatIsWrittenIsReadForThisHistoryOnly() {
        let bytes = Array(LastBackup.text(record, historyID: historyID).utf8)
        #expect(LastBackup.parse(bytes, historyID: historyID) == record)
        #expect(LastBackup.parse(bytes, historyID: String(repeating: "0b", count: 16)) == nil)
    }

    @Test func damageIsNoBackup() {
        let bytes = Array(LastBackup.text(record, historyID: historyID).utf8)
        for count in 0..<bytes.count {
            #expect(LastBackup.parse(Array(bytes.prefix(count)), historyID: historyID) == nil)
        }
        #expect(LastBackup.parse(bytes + [0x0a], historyID: historyID) == nil)
        for index in bytes.indices {
            var changed = bytes
            changed[index] = UInt8(ascii: "x")
            #expect(LastBackup.parse(changed, historyID: historyID) == nil, "byte \(index)")
        }
    }

    @Test func aBackupThatWasReadToItsEndIsNotedAndOutlivesTheDaemon() throws {
        let daemon = try TestDaemon()
        let client = try daemon.client()
        let revision = try daemon.createInstances("a", "b")
        #expect(try !client.getStatus(.init()).status.hasLastBackup)
        let before = Date().timeIntervalSince1970
        var bytes: UInt64 = 0
        try client.backup(.init()) { part in
            bytes += UInt64(part.data.count)
            return true
        }
        let last = try client.getStatus(.init()).status.lastBackup
        #expect(last.revision == revision && last.bytes == bytes)
        #expect(abs(last.time.timeIntervalSince1970 - before) < 60)
        #expect(LastBackup(stateFolder: daemon.folder.path, historyID: historyID).last?.revision == Revision(revision))
    }

    @Test func aBackupThatWasNotReadToItsEndIsNone() throws {
        let daemon = try TestDaemon()
        // More than the sockets hold.
        try daemon.fill(instances: 20_000)
        try daemon.client().backup(.init()) { _ in false }
        #expect(
            try eventually {
                try daemon.client().getStatus(.init()).status.limits.first { $0.name == "backups" }?.used == 0
            })
        #expect(try !daemon.client().getStatus(.init()).status.hasLastBackup)
    }

    @Test func expiriesAreCountedForEachSpan() throws {
        let daemon = try TestDaemon()
        let expiries = try daemon.client().getStatus(.init()).status.caExpiries
        #expect(expiries.map(\.withinDays) == [0, 7, 30, 90] && expiries.allSatisfy { $0.count == 0 })
    }
}
