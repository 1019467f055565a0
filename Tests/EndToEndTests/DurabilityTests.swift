import Foundation
import Glibc
import TestPKI
import Testing

/// What survives a crash, and what a daemon refuses to start on.
@Suite struct DurabilityTests {
    @Test func everythingAcknowledgedBeforeASigkillIsThereAfterARestart() throws {
        let daemon = try Daemon()
        let shop = try CertificateShop()
        try daemon.createInstance("plant")
        let kept = try shop.eccAuthority("kept")
        let inactive = try shop.eccAuthority("inactive")
        try daemon.register(kept, with: "plant", from: shop)
        try daemon.register(inactive, with: "plant", from: shop)
        let devices = try ["explicit", "stopped", "deleted"].map { try shop.device($0, by: kept) }
        let serialNumbers = try devices.map { try shop.serialNumber(of: $0) }
        for device in devices { try daemon.json("device", "register", "--instance", "plant", "--cert", device) }
        try daemon.json("device", "deactivate", kept.serialNumber, serialNumbers[1])
        try daemon.json("device", "delete", kept.serialNumber, serialNumbers[2], "--yes")
        let code = try daemon.issueCode("plant")
        let last = try daemon.json("ca", "unregister", inactive.serialNumber)
        try daemon.crash()

        try daemon.start()
        #expect(try daemon.revision() == last["revision"]?.integer)
        #expect(try daemon.json("ca", "show", inactive.serialNumber)["status"]?.text == "STATUS_INACTIVE")
        #expect(try daemon.openCodes("plant") == [String(code.prefix(8))])
        let reasons = try devices.map { try daemon.verdict("plant", $0).reason }
        #expect(reasons == ["TRUSTED", "DEVICE_INACTIVE", "DEVICE_DELETED"])
        #expect(try daemon.caregctl("audit", "verify").exit == 0)
        #expect(try daemon.terminate() == 0)
        let check = try daemon.offline("check")
        #expect(check.exit == 0, "\(check)")
    }

    @Test func aSigkillAmongManyWritesLosesNoneThatWasAnswered() throws {
        let daemon = try Daemon()
        let client = try WireClient(path: daemon.adminSocket)
        var names: [UInt32: String] = [:]
        for number in 0..<400 {
            let name = "instance-\(number)"
            let stream = try client.sendRequest(
                WireClient.registry, "CreateInstance", .init().text(1, name).integer(2, 2))
            names[stream] = name
        }
        var acknowledged: [String] = []
        while acknowledged.count < 150 {
            let frame = try client.frame()
            let response = try WireResponse(frame)
            #expect(response.code == 0, "\(response)")
            acknowledged.append(try #require(names[frame.stream]))
        }
        try daemon.crash()
        while let frame = try? client.receive(), try WireResponse(frame).code == 0 {
            acknowledged.append(try #require(names[frame.stream]))
        }
        try daemon.start()
        let fresh = try WireClient(path: daemon.adminSocket)
        for name in acknowledged {
            let response = try fresh.call(WireClient.registry, "GetInstance", .init().text(1, name))
            #expect(response.code == 0, "\(name) was acknowledged and is gone")
        }
        #expect(try daemon.caregctl("audit", "verify").exit == 0)
    }

    @Test func anAutomaticRegistrationIsDurableOnceAChangeToItWasAnswered() throws {
        let daemon = try Daemon()
        let shop = try CertificateShop()
        let authority = try shop.eccAuthority("CA")
        try daemon.createInstance("plant")
        try daemon.register(authority, with: "plant", from: shop)
        let device = try shop.device("device", by: authority)
        #expect(try daemon.verdict("plant", [device], settled: false).registered == true)
        try daemon.json("device", "deactivate", authority.serialNumber, try shop.serialNumber(of: device))
        try daemon.crash()
        try daemon.start()
        #expect(try daemon.verdict("plant", device).reason == "DEVICE_INACTIVE")
    }

    @Test func aRegistryOfAnotherRegionIsRefusedAtTheStart() throws {
        let daemon = try Daemon(region: "north")
        #expect(try daemon.json("status")["region"]?.text == "north")
        #expect(try daemon.terminate() == 0)
        let refused = try daemon.startRefused(region: "south")
        #expect(refused.exit != 0 && refused.exit < 128, "\(refused)")
        let said = refused.errorText + refused.text
        #expect(said.contains("north") && said.contains("south"), "\(refused)")
        try daemon.start(region: "north")
    }

    @Test func aSecondDaemonOnTheSameStateIsRefusedAndTheFirstGoesOn() throws {
        let daemon = try Daemon()
        let second = try run(
            program("caregd"), ["--state-dir", daemon.stateFolder, "--runtime-dir", daemon.folder + "/r2"], seconds: 15)
        #expect(second.exit != 0 && second.exit < 128, "\(second)")
        #expect(!(second.errorText + second.text).isEmpty)
        let same = try daemon.startRefused()
        #expect(same.exit != 0 && same.exit < 128, "\(same)")
        try daemon.createInstance("plant")
        let check = try daemon.offline("check")
        let restore = try daemon.offline("restore", "/dev/null")
        #expect(restore.exit != 0, "restore works offline only: \(restore)")
        #expect(check.exit < 128, "\(check)")
        #expect(try daemon.json("instance", "show", "plant")["id"]?.text == "plant")
    }

    enum Damage: CaseIterable, Sendable {
        case missing, empty, cut, foreign
    }

    @Test(arguments: Damage.allCases)
    func aDamagedDataFileIsNeverTakenForANewRegistry(damage: Damage) throws {
        let daemon = try Daemon()
        try daemon.createInstance("plant")
        #expect(try daemon.terminate() == 0)
        let file = daemon.dataFile
        let size = try #require(FileManager.default.attributesOfItem(atPath: file)[.size] as? NSNumber).intValue
        switch damage {
        case .missing: try FileManager.default.removeItem(atPath: file)
        case .empty: #expect(unsafe truncate(file, 0) == 0)
        case .cut: #expect(unsafe truncate(file, size / 2) == 0)
        case .foreign: try Data(repeating: 0x41, count: size).write(to: URL(fileURLWithPath: file))
        }
        let refused = try daemon.startRefused()
        #expect(refused.exit != 0 && refused.exit < 128, "\(refused)")
        let said = refused.errorText + refused.text
        #expect(said.contains(daemon.stateFolder) || said.contains("restore"), "it says what to do: \(refused)")
        let check = try daemon.offline("check")
        #expect(check.exit != 0 && check.exit < 128, "\(check)")
        if damage == .missing { #expect(!FileManager.default.fileExists(atPath: file), "no new registry is made") }
    }

    @Test(arguments: [1, 2, 3, 4, 5] as [UInt64])
    func aDataFileWhosePagesPointAnywhereIsRefusedInASentence(seed: UInt64) throws {
        let daemon = try Daemon()
        for number in 0..<50 { try daemon.createInstance("plant-\(number)") }
        #expect(try daemon.terminate() == 0)
        let file = daemon.dataFile
        var bytes = try Data(contentsOf: URL(fileURLWithPath: file))
        var generator = SeededGenerator(seed: seed)
        for index in 8_192..<min(bytes.count, 8_192 + 12 * 4_096) { bytes[index] = UInt8(generator.below(256)) }
        try bytes.write(to: URL(fileURLWithPath: file))
        let refused = try daemon.startRefused()
        #expect(refused.exit != 0 && refused.exit < 128, "\(refused)")
        #expect((refused.errorText + refused.text).contains("restore"), "it says what to do: \(refused)")
    }

    @Test func checkTellsACopyThatAStartRefuses() throws {
        let (daemon, other) = (try Daemon(), try Daemon())
        for daemon in [daemon, other] {
            try daemon.createInstance("plant")
            #expect(try daemon.terminate() == 0)
        }
        #expect(try daemon.offline("check").exit == 0)
        try FileManager.default.removeItem(atPath: daemon.dataFile)
        try FileManager.default.copyItem(atPath: other.dataFile, toPath: daemon.dataFile)
        for refused in [try daemon.startRefused(), try daemon.offline("check")] {
            #expect(refused.exit == 1, "\(refused)")
            #expect((refused.errorText + refused.text).contains("another history"), "\(refused)")
        }
    }

    /// A sanitizer has a handler of its own, and says more.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["CAREG_SANITIZER"] == nil))
    func aDaemonThatIsKilledForAPageThatCannotBeReadSaysWhatToDo() throws {
        let daemon = try Daemon(started: false)
        // The runtime's own handler says more, too, where it is asked for.
        try daemon.start(environment: ["SWIFT_BACKTRACE": "enable=no"])
        let client = try WireClient(path: daemon.adminSocket)
        #expect(
            try client.call(WireClient.registry, "CreateInstance", .init().text(1, "plant").integer(2, 2)).code == 0)
        // As a disk does that loses its blocks: only the two pages are left that tell where the others are.
        let file = daemon.dataFile
        #expect(unsafe truncate(file, 8_192) == 0)
        try client.sendRequest(WireClient.registry, "ListInstances")
        #expect(try daemon.waitForEnd() == 128 + SIGBUS)
        #expect(daemon.log.contains("run “caregd check”, and restore a backup"), "\(daemon.log)")
        #expect(try daemon.offline("check").exit == 1)
    }

    @Test func aDamagedRecordIsFoundByCheckAndAnsweredWithDataLoss() throws {
        let daemon = try Daemon()
        let shop = try CertificateShop()
        try daemon.createInstance("plant")
        let authority = try shop.eccAuthority("needle-in-the-haystack")
        try daemon.register(authority, with: "plant", from: shop)
        #expect(try daemon.terminate() == 0)
        let good = try daemon.offline("check")
        #expect(good.exit == 0, "\(good)")

        let file = daemon.dataFile
        var bytes = try Data(contentsOf: URL(fileURLWithPath: file))
        // The certificate's public key: neither a subject that is shown nor a length that would break the record.
        let point = try #require(try shop.der(of: authority.certificate).range(of: Data([0x03, 0x42, 0x00, 0x04])))
        let pattern = try shop.der(of: authority.certificate)[point.upperBound..<point.upperBound + 32]
        var start = bytes.startIndex
        var hits = 0
        while let hit = bytes[start...].range(of: pattern) {
            bytes[hit.lowerBound + 16] ^= 0xff
            start = hit.upperBound
            hits += 1
        }
        #expect(hits > 0, "the certificate is stored as it was uploaded")
        try bytes.write(to: URL(fileURLWithPath: file))

        let check = try daemon.offline("check")
        #expect(check.exit != 0 && check.exit < 128, "\(check)")
        try daemon.start()
        let refusal = try daemon.refusal("ca", "show", authority.serialNumber)
        #expect(refusal.code == "DATA_LOSS" && refusal.exit == 1, "\(refusal)")
        let status = try daemon.caregctl("status").text
        #expect(status.hasPrefix("not all is well: "), "\(status)")
        #expect(status.contains("\n- Since the daemon's start 1 call failed for a fault of the disk"), "\(status)")
    }

    @Test func aRestoreRevokesCodesAndBeginsANewHistoryAboveBothRevisions() throws {
        let daemon = try Daemon()
        let shop = try CertificateShop()
        let authority = try shop.eccAuthority("CA")
        try daemon.createInstance("plant")
        try daemon.register(authority, with: "plant", from: shop)
        let device = try shop.device("device", by: authority)
        try daemon.json("device", "register", "--instance", "plant", "--cert", device)
        let code = try daemon.issueCode("plant")
        let backup = shop.path("backup")
        let saved = try daemon.caregctl("backup", backup)
        #expect(saved.exit == 0, "\(saved)")
        let before = try daemon.json("status")

        try daemon.json("device", "delete", authority.serialNumber, try shop.serialNumber(of: device), "--yes")
        try daemon.json("ca", "unregister", authority.serialNumber)
        try daemon.createInstance("later")
        let last = try daemon.revision()
        #expect(try daemon.terminate() == 0)
        let restored = try daemon.offline("restore", backup)
        #expect(restored.exit == 0, "\(restored)")
        let said = restored.text + restored.errorText
        #expect(said.contains(authority.serialNumber), "every status that changes is printed: \(said)")

        try daemon.start()
        let after = try daemon.json("status")
        #expect(after["revision"]?.integer ?? 0 > last)
        #expect(after["historyId"]?.text != before["historyId"]?.text)
        #expect(try daemon.openCodes("plant").isEmpty)
        #expect(try daemon.refusal("instance", "show", "later").reason == "INSTANCE_NOT_FOUND")
        #expect(try daemon.verdict("plant", device).reason == "TRUSTED")
        let candidate = try shop.eccAuthority("candidate")
        let refusal = try daemon.refusal(
            "ca", "register", "--instance", "plant", "--ca", candidate.certificate,
            "--verification", try shop.verification(code: code, by: candidate))
        #expect(refusal.reason == "CODE_MISMATCH")
        #expect(try daemon.terminate() == 0)
        let check = try daemon.offline("check")
        #expect(check.exit == 0, "\(check)")
    }

    @Test func aBackupThatIsCutIsNotRestored() throws {
        let daemon = try Daemon()
        try daemon.createInstance("plant")
        let backup = daemon.folder + "/backup"
        #expect(try daemon.caregctl("backup", backup).exit == 0)
        #expect(try daemon.terminate() == 0)
        let bytes = try Data(contentsOf: URL(fileURLWithPath: backup))
        try bytes.prefix(bytes.count / 2).write(to: URL(fileURLWithPath: backup))
        let restored = try daemon.offline("restore", backup)
        #expect(restored.exit != 0 && restored.exit < 128, "\(restored)")
        try daemon.start()
        #expect(try daemon.json("instance", "show", "plant")["id"]?.text == "plant")
    }
}
