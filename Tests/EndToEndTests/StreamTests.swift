import Foundation
import Glibc
import Testing

/// Server streams and the end of the daemon, frame by frame.
@Suite struct StreamTests {
    @Test(arguments: [0x01, 0x00, 0x02] as [UInt8])
    func aWatchTellsChangesAndEndsAsUnavailableWhenTheDaemonStops(flags: UInt8) throws {
        let daemon = try Daemon()
        try daemon.createInstance("before")
        let client = try WireClient(path: daemon.adminSocket)
        let stream = try client.sendRequest(WireClient.verifier, "Watch", flags: flags)
        func next() throws -> ProtobufMessage {
            let frame = try client.frame()
            #expect(frame.type == WireFrame.data && frame.stream == stream, "\(frame)")
            return try ProtobufMessage(frame.body)
        }
        #expect(try !next().has(2), "the first message says where the stream begins")
        #expect(try next().message(2).text(4) == "before")
        try daemon.createInstance("after")
        let change = try next().message(2)
        #expect(change.integer(1) == 2 && change.text(4) == "after" && change.integer(3) == 1)

        daemon.signalTermination()
        let end = try client.frame()
        #expect(end.stream == stream)
        let response = try WireResponse(end)
        #expect(response.code == 14 && response.reason == "SHUTTING_DOWN", "\(response)")
        #expect(try daemon.terminate() == 0, "\(daemon.log)")
    }

    @Test func aPollInFlightIsAnsweredWhenTheDaemonStopsInTime() throws {
        let daemon = try Daemon()
        let client = try WireClient(path: daemon.brokerSocket)
        let wait = ProtobufMessage.Builder().bytes(2, ProtobufMessage.Builder().integer(1, 30).encoded)
        try client.sendRequest(WireClient.verifier, "Poll", wait)
        // Answered in order of arrival on one connection: the Poll has been read when this one is answered.
        let stream = try client.sendRequest(WireClient.verifier, "Verify", .init().text(1, "nobody"))
        #expect(try client.frame().stream == stream)
        let began = Date()
        daemon.signalTermination()
        let response = try WireResponse(try client.frame())
        #expect(response.code == 0 || response.code == 14, "\(response)")
        #expect(try daemon.terminate() == 0, "\(daemon.log)")
        #expect(Date().timeIntervalSince(began) < 5)
        #expect(!WireClient.accepts(path: daemon.adminSocket))
    }

    @Test func aBackupIsDataFramesAndAnEmptyOneAtTheEnd() throws {
        let daemon = try Daemon()
        try daemon.createInstance("plant")
        let client = try WireClient(path: daemon.adminSocket)
        let stream = try client.sendRequest(WireClient.admin, "Backup", flags: 0x01)
        var copy: [UInt8] = []
        var total: UInt64 = 0
        var digest = ""
        while true {
            let frame = try client.frame()
            #expect(frame.type == WireFrame.data && frame.stream == stream, "\(frame.type) \(frame.flags)")
            if frame.body.isEmpty {
                #expect(frame.flags == 0x05)
                break
            }
            let message = try ProtobufMessage(frame.body)
            #expect(message.integer(2) == UInt64(copy.count))
            #expect(message.bytes(1).count <= 1_048_576)
            #expect(message.integer(4) == 1)
            copy += message.bytes(1)
            total = message.integer(3)
            digest = message.text(5)
        }
        #expect(total == UInt64(copy.count) && total > 0)
        let file = daemon.folder + "/copy"
        try Data(copy).write(to: URL(fileURLWithPath: file))
        let expected = try openssl("dgst", "-sha256", "-r", file).text.prefix(64)
        #expect(digest == expected)
        let response = try client.call(WireClient.verifier, "Poll")
        #expect(response.code == 0, "the connection lives")
    }

    @Test func aWatchBeyondTheLastRevisionIsAFailureOfItsStreamOnly() throws {
        let daemon = try Daemon()
        let client = try WireClient(path: daemon.adminSocket)
        let stream = try client.sendRequest(WireClient.verifier, "Watch", .init().integer(1, 99), flags: 0x01)
        let frame = try client.frame()
        #expect(frame.stream == stream)
        let response = try WireResponse(frame)
        #expect(response.code == 11 && response.reason == "REVISION_AHEAD", "\(response)")
        #expect(try client.call(WireClient.verifier, "Poll").code == 0)
    }

    @Test func socketsAndFilesOfTheRuntimeFolderHaveTheirModes() throws {
        let daemon = try Daemon()
        for (name, mode) in [("admin.sock", 0o660), ("broker.sock", 0o660), ("trust.map", 0o640)] {
            let attributes = try FileManager.default.attributesOfItem(atPath: "\(daemon.runtimeFolder)/\(name)")
            let permissions = (attributes[.posixPermissions] as? NSNumber)?.intValue
            #expect(permissions == mode, "\(name)")
        }
    }
}
