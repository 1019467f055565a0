import Foundation
import TestPKI
import Testing

/// A change log from which old automatic device registrations go.
@Suite struct RetentionTests {
    private static let devices = 150

    /// Waits until so many automatic registrations stand in the log as one, a bounded time.
    private func awaitCompaction(_ daemon: Daemon) throws -> [JSONValue] {
        let client = try WireClient(path: daemon.adminSocket)
        let deadline = Date(timeIntervalSinceNow: 30)
        var since = try daemon.revision()
        while Date() < deadline {
            let records = try daemon.json("audit", "list")["auditRecords"]?.elements ?? []
            let count = records.compactMap { $0["recordCount"]?.integer }.reduce(0, +)
            if count >= 100 { return records }
            // The compaction is a change itself: wait for that.
            let wait = ProtobufMessage.Builder().integer(1, 2).encoded
            let answer = try client.call(
                WireClient.verifier, "Poll", ProtobufMessage.Builder().integer(1, UInt64(since)).bytes(2, wait))
            since = max(since, Int(answer.payload.integer(3)))
        }
        throw TestFailure("nothing was compacted:\n\(daemon.log.suffix(2_000))")
    }

    @Test func oldAutomaticRegistrationsGoAndTheChainStaysWhole() throws {
        let daemon = try Daemon(started: false)
        try daemon.start(environment: ["CAREGD_AUDIT_RETENTION_SECONDS": "1"])
        let root = Entity.root("Root", key: .p256(77))
        try daemon.createInstance("plant")
        let client = try WireClient(path: daemon.adminSocket)
        let code = try daemon.issueCode("plant")
        let proof = root.issue(TestName(commonName: code), key: .p256(950), []) { $0.makeVersion1() }
        let registered = try client.call(
            WireClient.registry, "RegisterCaCertificate",
            .init().text(1, "plant").bytes(2, root.der).bytes(3, proof.der))
        try #require(registered.code == 0)
        for index in 0..<Self.devices {
            let device = root.device(TestName(commonName: "device \(index)"))
            let answer = try client.call(
                WireClient.verifier, "Verify", .init().text(1, "plant").element(2, device.der))
            #expect(try answer.payload.message(1).integer(1) == 1, "\(answer)")
        }
        let records = try awaitCompaction(daemon)
        // Everything that somebody did is there.
        let types = records.compactMap { $0["type"]?.text?.replacingOccurrences(of: "CHANGE_TYPE_", with: "") }
        #expect(types.prefix(3) == ["INSTANCE_CREATED", "CODE_ISSUED", "CA_REGISTERED"])
        #expect(Set(types.dropFirst(3)).isSuperset(of: ["REGISTRATIONS_COMPACTED", "LOG_COMPACTED"]))
        #expect(try daemon.caregctl("audit", "verify").exit == 0)
        let table = try daemon.caregctl("audit", "list").text
        #expect(table.contains("registrations compacted"), "\(table)")
        // Whoever follows the changes learns that some are missing.
        let behind = try client.call(WireClient.verifier, "Poll", .init().integer(1, 3))
        #expect(behind.code == 11 && behind.reason == "REVISION_COMPACTED")
        #expect(try client.call(WireClient.verifier, "Poll", .init().integer(1, 0)).code == 0)
        // A checkpoint kept before is good as long as its record is there.
        let kept = try #require(records.first?["hash"]?.text)
        let first = try #require(records.first?["revision"]?.integer)
        #expect(
            try daemon.caregctl("audit", "verify", "--from-revision", "\(first)", "--from-hash", kept).exit == 0)
        let lost = try daemon.refusal("audit", "verify", "--from-revision", "5", "--from-hash", kept)
        #expect(lost.reason == "REVISION_COMPACTED")

        let backup = daemon.folder + "/backup.mdb"
        #expect(try daemon.caregctl("backup", backup).exit == 0)
        #expect(try daemon.terminate() == 0)
        for arguments in [["check"], ["audit", "verify"], ["audit", "verify", "--from", "\(first):\(kept)"]] {
            let offline = try run(program("caregd"), arguments + ["--state-dir", daemon.stateFolder])
            #expect(offline.exit == 0, "\(arguments): \(offline)")
        }
        #expect(try daemon.offline("audit", "verify", "--from", "5:\(kept)").exit == 66)
        #expect(try daemon.offline("restore", backup).exit == 0)
        try daemon.start()
        #expect(try daemon.caregctl("audit", "verify").exit == 0)
        #expect(try daemon.json("status")["deviceCount"]?.integer == Self.devices)
    }
}
