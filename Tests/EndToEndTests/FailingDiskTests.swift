import Foundation
import Glibc
import Testing

/// A disk that fails: the daemon never says that something is kept when the disk has not said so.
@Suite(.enabled(if: hasCompiler)) struct FailingDiskTests {
    typealias Fault = DiskFault
    private typealias Place = FailingDisk

    private func create(_ id: String, _ client: WireClient) throws -> WireResponse {
        try client.call(WireClient.registry, "CreateInstance", .init().text(1, id).integer(2, 2))
    }

    @Test(arguments: [
        Fault(name: "sync", error: EIO), Fault(name: "data", error: EIO), Fault(name: "meta", error: EIO),
        // Want of room is survived, but not where it leaves open what the disk holds.
        Fault(name: "meta", error: ENOSPC),
    ])
    func aFailedCommitEndsTheDaemonWithoutAnAnswer(fault: Fault) throws {
        let place = try Place()
        let daemon = place.daemon
        try daemon.start(environment: place.environment)
        let clients = try (0..<8).map { _ in try WireClient(path: daemon.adminSocket) }
        for (index, client) in clients.enumerated() {
            #expect(try create("kept-\(index)", client).code == 0)
        }
        try place.begin(fault)
        for (index, client) in clients.enumerated() {
            // One that comes after the end of the daemon finds nobody: that is an end without an answer, too.
            _ = try? client.sendRequest(
                WireClient.registry, "CreateInstance", .init().text(1, "lost-\(index)").integer(2, 2))
        }
        #expect(try daemon.waitForEnd() == 74)
        #expect(daemon.log.contains("a commit failed"), "\(daemon.log)")
        // What it said before its end is still to be read.
        for client in clients {
            while let frame = try? client.receive() {
                let response = try WireResponse(frame)
                #expect(response.code != 0, "a change was acknowledged that the disk refused: \(response)")
            }
        }

        try place.end()
        let check = try daemon.offline("check")
        #expect(check.exit == 0, "\(check)")
        try daemon.start()
        let client = try WireClient(path: daemon.adminSocket)
        for index in clients.indices {
            let kept = try client.call(WireClient.registry, "GetInstance", .init().text(1, "kept-\(index)"))
            #expect(kept.code == 0, "kept-\(index) was acknowledged: \(kept)")
        }
        #expect(try create("after", client).code == 0)
        #expect(try daemon.caregctl("audit", "verify").exit == 0)
        #expect(try daemon.terminate() == 0)
    }

    @Test(arguments: [
        Fault(name: "sync", error: ENOSPC), Fault(name: "data", error: ENOSPC), Fault(name: "data", error: EDQUOT),
    ])
    func wantOfRoomRefusesChangesUntilThereIsRoom(fault: Fault) throws {
        let place = try Place()
        let daemon = place.daemon
        try daemon.start(environment: place.environment)
        let client = try WireClient(path: daemon.adminSocket)
        #expect(try create("kept", client).code == 0)
        try place.begin(fault)
        let refused = try create("refused", client)
        #expect(refused.code == 8 && refused.reason == "DISK_FULL", "\(refused)")
        #expect(try client.call(WireClient.registry, "GetInstance", .init().text(1, "kept")).code == 0)
        #expect(try client.call(WireClient.registry, "GetInstance", .init().text(1, "refused")).code == 5)
        try place.end()
        #expect(try create("after", client).code == 0)
        try daemon.crash()
        try daemon.start()
        let fresh = try WireClient(path: daemon.adminSocket)
        for (id, code) in [("kept", 0), ("refused", 5), ("after", 0)] {
            #expect(try fresh.call(WireClient.registry, "GetInstance", .init().text(1, id)).code == code, "\(id)")
        }
        #expect(try daemon.terminate() == 0)
    }

    @Test func aDiskThatFailsWhileARegistryIsMadeLeavesNoHalfOne() throws {
        let place = try Place()
        let daemon = place.daemon
        // Under its provisional name the file is not the data file yet: the fault is to hit it there.
        let environment = place.environment.merging(["CAREG_FAULT_SUFFIX": "/registry.mdb.new"]) { $1 }
        try place.begin(Fault(name: "sync", error: EIO))
        let refused = try run(
            program("caregd"), ["--state-dir", daemon.stateFolder, "--runtime-dir", daemon.runtimeFolder],
            environment: environment, seconds: 15)
        #expect(refused.exit != 0 && refused.exit < 128, "\(refused)")
        #expect((refused.text + refused.errorText).contains(daemon.stateFolder), "\(refused)")
        try place.end()
        try daemon.start()
        #expect(try daemon.revision() == 0)
        #expect(try daemon.terminate() == 0)
    }
}
