import Foundation
import Glibc
import RegistryStore
import TestPKI
import Testing

/// Registries that other versions of caregd have made.
@Suite struct SchemaTests {
    /// The certificates of the fixtures (Fixtures/README.md). Signatures differ from run to run; what is signed does not.
    private struct Cast {
        let keys: [Entity] = [
            .root("Ålesund RSA", key: .rsa2048), .root("P-256", key: .p256(801)), .root("P-384", key: .p384(802)),
            .root("P-521", key: .p521(803)) { $0.serial = [0x00, 0x80] },
            .root("Given up", key: .p256(804)),
        ]
        let intermediate: Entity
        /// With what is sent beside each, the key that it is listed under, and its instance.
        let devices: [(device: Entity, chain: [Entity], ca: Int, instance: String)]

        init() {
            intermediate = keys[1].authority("Line 1", key: .p256(810))
            devices = [
                (keys[1].device("active"), [], 1, "alpha"),
                (keys[1].device("inactive"), [], 1, "alpha"),
                (keys[1].device("deleted"), [], 1, "alpha"),
                (intermediate.device("behind"), [intermediate], 1, "alpha"),
                (keys[2].device("waiting"), [], 2, "beta"),
                (keys[0].device("automatic", key: .ed25519(905)) { $0.serial = [0xff] }, [], 0, "alpha"),
                (keys[3].device("stranger"), [], 3, "beta"),
                (keys[4].device("given up"), [], 4, "beta"),
            ]
        }

        func sn(_ entity: Entity) -> String { KillCast.Certificate(entity).serialNumber }
    }

    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("Fixtures/schema-1").path

    /// Writes a certificate where caregctl reads it.
    private func file(_ der: [UInt8], _ daemon: Daemon) throws -> String {
        let path = "\(daemon.folder)/\(UUID().uuidString).der"
        try Data(der).write(to: URL(fileURLWithPath: path))
        return path
    }

    private func register(_ entity: Entity, with instance: String, _ daemon: Daemon, _ options: String...) throws {
        let code = try daemon.issueCode(instance)
        let proof = entity.issue(TestName(commonName: code), key: .p256(950), []) { $0.makeVersion1() }
        try daemon.json(
            [
                "ca", "register", "--instance", instance, "--ca", try file(entity.der, daemon), "--verification",
                try file(proof.der, daemon),
            ] + options)
    }

    /// Does a little of everything.
    private func populate(_ daemon: Daemon, _ cast: Cast) throws {
        for (id, edition) in [
            ("alpha", "professional"), ("beta", "platinum"), ("gamma", "standard"), ("gone", "platinum"),
        ] {
            try daemon.createInstance(id, edition: edition)
        }
        try daemon.json("instance", "delete", "gone")
        try daemon.json("instance", "update", "gamma", "--edition", "professional")
        try daemon.json("instance", "update", "gamma", "--edition", "standard")
        for _ in 0..<2 { _ = try daemon.issueCode("alpha", "--ttl", "3650d") }
        try daemon.json("code", "revoke", "beta", try daemon.issueCode("beta"))
        try register(cast.keys[0], with: "alpha", daemon, "--name", "Ålesund \"1\"")
        try register(cast.keys[1], with: "alpha", daemon, "--device-registration", "explicit")
        try register(cast.keys[2], with: "beta", daemon, "--device-registration", "pending")
        try register(cast.keys[3], with: "beta", daemon)
        try register(cast.keys[4], with: "beta", daemon)
        for index in 0..<4 {
            let (device, chain, _, instance) = cast.devices[index]
            try daemon.json(
                ["device", "register", "--instance", instance, "--cert", try file(device.der, daemon)]
                    + chain.flatMap { ["--chain", try file($0.der, daemon)] })
        }
        let ca = cast.sn(cast.keys[1])
        try daemon.json("device", "deactivate", ca, cast.sn(cast.devices[1].device))
        try daemon.json("device", "delete", ca, cast.sn(cast.devices[2].device), "--yes")
        for index in [4, 5] {
            let (device, _, _, instance) = cast.devices[index]
            #expect(try daemon.verdict(instance, try file(device.der, daemon)).registered == true)
        }
        try daemon.json("ca", "unregister", cast.sn(cast.keys[3]))
        try daemon.json("ca", "delete", cast.sn(cast.keys[4]), "--yes")
    }

    /// All that can be asked.
    private func answers(_ daemon: Daemon, _ cast: Cast) throws -> [String: JSONValue] {
        var answers: [String: JSONValue] = [:]
        func ask(_ arguments: String...) throws {
            answers[arguments.joined(separator: " ")] = try daemon.json(arguments)
        }
        try ask("instance", "list")
        for id in ["alpha", "beta", "gamma"] {
            try ask("code", "list", id)
            try ask("anchors", "--instance", id)
        }
        try ask("ca", "list")
        for entity in cast.keys.prefix(4) {
            try ask("ca", "show", cast.sn(entity))
            try ask("device", "list", "--ca", cast.sn(entity))
        }
        for index in [0, 1, 3, 4] {
            try ask("device", "show", cast.sn(cast.keys[cast.devices[index].ca]), cast.sn(cast.devices[index].device))
        }
        try ask("audit", "list")
        try ask("audit", "verify")
        for (index, (device, chain, _, instance)) in cast.devices.enumerated() {
            let files = try ([device] + chain).map { try file($0.der, daemon) }
            let verdict = try daemon.verdict(instance, files, ["--dry-run"])
            let told = ["reason", "caSn", "deviceSn", "validUntil", "trusted", "registered"].map {
                ($0, verdict.json[$0] ?? .null)
            }
            answers["verdict on device \(index)"] = .object(Dictionary(uniqueKeysWithValues: told))
        }
        let status = try daemon.json("status")
        for name in ["region", "historyId", "revision", "instanceCount", "caCount", "activeCaCount", "deviceCount"] {
            answers["status, \(name)"] = status[name]
        }
        return answers
    }

    @Test(.enabled(if: ProcessInfo.processInfo.environment["CAREG_MAKE_FIXTURE"] != nil, "makes a fixture"))
    func makeFixture() throws {
        let target = try #require(ProcessInfo.processInfo.environment["CAREG_MAKE_FIXTURE"])
        let daemon = try Daemon(region: "north-1")
        let cast = Cast()
        try populate(daemon, cast)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
        try encoder.encode(try answers(daemon, cast)).write(to: URL(fileURLWithPath: target + "/answers.json"))
        let backup = daemon.folder + "/registry.mdb"
        #expect(try daemon.caregctl("backup", backup).exit == 0)
        #expect(try daemon.terminate() == 0)
        let packed = try run("gzip", ["-9", "-n", "-c", backup])
        #expect(packed.exit == 0)
        try packed.output.write(to: URL(fileURLWithPath: target + "/registry.mdb.gz"))
        try? FileManager.default.removeItem(atPath: target + "/registry.id")
        try FileManager.default.copyItem(atPath: daemon.stateFolder + "/registry.id", toPath: target + "/registry.id")
    }

    @Test func aRegistryOfSchemaVersion1IsReadAndWrittenAsBefore() throws {
        let daemon = try Daemon(started: false)
        try FileManager.default.createDirectory(atPath: daemon.stateFolder, withIntermediateDirectories: true)
        let unpacked = try run("gzip", ["-dc", Self.folder + "/registry.mdb.gz"])
        try #require(unpacked.exit == 0, "\(unpacked)")
        try unpacked.output.write(to: URL(fileURLWithPath: daemon.stateFolder + "/registry.mdb"))
        try FileManager.default.copyItem(
            atPath: Self.folder + "/registry.id", toPath: daemon.stateFolder + "/registry.id")
        let check = try daemon.offline("check")
        #expect(check.exit == 0, "\(check)")
        try daemon.start()
        let cast = Cast()
        let document = try Data(contentsOf: URL(fileURLWithPath: Self.folder + "/answers.json"))
        guard case .object(let expected) = try JSONValue(parsing: document) else {
            throw TestFailure("answers.json is no object")
        }
        let seen = try answers(daemon, cast)
        #expect(Set(seen.keys) == Set(expected.keys))
        for (question, answer) in expected { #expect(seen[question] == answer, "\(question)") }

        // What was kept is worked on like what is new.
        let ca = cast.sn(cast.keys[1])
        try daemon.json("device", "activate", ca, cast.sn(cast.devices[1].device))
        #expect(try daemon.verdict("alpha", try file(cast.devices[1].device.der, daemon)).reason == "TRUSTED")
        try daemon.json(
            "device", "register", "--instance", "alpha", "--cert", try file(cast.devices[2].device.der, daemon))
        try daemon.json("ca", "activate", cast.sn(cast.keys[3]))
        #expect(
            try daemon.verdict("beta", try file(cast.devices[6].device.der, daemon)).registered == true)
        try register(cast.keys[4], with: "beta", daemon)
        try daemon.json("ca", "delete", ca, "--yes")
        #expect(try daemon.caregctl("audit", "verify").exit == 0)
        #expect(try daemon.terminate() == 0)
        let after = try daemon.offline("check")
        #expect(after.exit == 0, "\(after)")
    }

    @Test func aRegistryOfANewerSchemaVersionIsRefusedAndLeftAsItIs() throws {
        let daemon = try Daemon(started: false)
        try FileManager.default.createDirectory(atPath: daemon.stateFolder, withIntermediateDirectories: true)
        let file = daemon.stateFolder + "/registry.mdb"
        let version = Store.schemaVersion + 1
        do {
            _ = try Store(
                path: file,
                creating: Store.Identity(
                    region: "default", historyID: String(repeating: "a", count: 32), schemaVersion: version))
        }
        let before = try Data(contentsOf: URL(fileURLWithPath: file))
        for refused in [try daemon.startRefused(), try daemon.offline("check")] {
            #expect(refused.exit != 0 && refused.exit < 128, "\(refused)")
            let said = refused.text + refused.errorText
            #expect(said.contains("schema version \(version)") && said.contains("newer caregd"), "\(refused)")
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == before)

        // As a backup it is refused too, and what stands in its way stays.
        let other = try Daemon()
        try other.createInstance("plant")
        #expect(try other.terminate() == 0)
        let restored = try other.offline("restore", file)
        #expect(restored.exit != 0 && restored.exit < 128, "\(restored)")
        #expect((restored.text + restored.errorText).contains("schema version \(version)"), "\(restored)")
        try other.start()
        #expect(try other.json("instance", "show", "plant")["id"]?.text == "plant")
    }
}
