import Foundation
import Glibc
import Testing

/// The daemon with few descriptors, or with none left.
@Suite(.serialized) struct DescriptorTests {
    /// Seconds that a process has had of a processor.
    private func processorSeconds(_ process: pid_t) throws -> Double {
        let text = try String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8)
        // After the name in parentheses, utime and stime are the 12th and 13th field.
        let fields = text[(text.lastIndex(of: ")") ?? text.startIndex)...].split(separator: " ")
        guard fields.count > 13, let user = Double(fields[12]), let system = Double(fields[13]) else {
            throw TestFailure("/proc/\(process)/stat: \(text)")
        }
        return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// The highest descriptor that a process has open.
    private func highestDescriptor(_ process: pid_t) throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd").compactMap { Int($0) }.max() ?? 0
    }

    private func allow(_ descriptors: Int, _ process: pid_t) throws {
        // The soft limit alone: it can be raised again.
        let set = try run("prlimit", ["--pid", "\(process)", "--nofile=\(descriptors):"])
        guard set.exit == 0 else { throw TestFailure("\(set)") }
    }

    /// Waits half a second by the daemon's own clock, on a connection that is open already.
    private func waitHalfASecond(_ client: WireClient) throws {
        let wait = ProtobufMessage.Builder().integer(2, 500_000_000).encoded
        let revision = try client.call(WireClient.verifier, "Poll").payload.integer(3)
        let answer = try client.call(
            WireClient.verifier, "Poll", ProtobufMessage.Builder().integer(1, revision).bytes(2, wait))
        #expect(answer.code == 0, "\(answer)")
    }

    @Test(arguments: [48, 64, 100]) func itStartsLowersItsLimitSaysSoAndGoesOnWhileConnectionsAreRefused(count: Int)
        throws
    {
        let daemon = try Daemon(started: false)
        try daemon.start(descriptors: count)
        let process = try daemon.processID
        #expect(daemon.log.contains("connections lowered from 1024 to"), "\(daemon.log)")
        let admin = try WireClient(path: daemon.adminSocket)
        let status = try daemon.json("status")
        let problems = (status["problems"]?.elements ?? []).compactMap(\.text)
        #expect(problems.contains { $0.contains("onnections lowered from 1024 to") }, "\(problems)")
        let limit = status["limits"]?.elements?.first { $0["name"]?.text == "connections" }?["value"]?.integer
        #expect((limit ?? 1024) < count, "\(status)")

        let before = try processorSeconds(process)
        let clients = try (0..<200).map { _ in try WireClient(path: daemon.brokerSocket) }
        #expect(try clients[199].receive() == nil, "one too many is accepted and closed at once")
        #expect(try clients[0].call(WireClient.verifier, "Poll").code == 0)
        let created = try admin.call(WireClient.registry, "CreateInstance", .init().text(1, "plant").integer(2, 2))
        #expect(created.code == 0, "\(created)")
        try waitHalfASecond(admin)
        let used = try processorSeconds(process) - before
        #expect(used < (isSanitized ? 3 : 0.4), "\(used) s of processor time for 200 refused connections")
        #expect(try daemon.terminate() == 0, "\(daemon.log.suffix(2000))")
    }

    @Test func withNoDescriptorLeftItRefusesConnectionsWithoutSpinningAndServesThoseThatItHas() throws {
        let daemon = try Daemon()
        let shop = try CertificateShop()
        let process = try daemon.processID
        try daemon.createInstance("plant")
        let authority = try shop.eccAuthority("CA")
        let verification = try shop.verification(code: try daemon.issueCode("plant"), by: authority)
        let device = try shop.der(of: try shop.device("device", by: authority))
        let admin = try WireClient(path: daemon.adminSocket)
        let broker = try WireClient(path: daemon.brokerSocket)
        #expect(try admin.call(WireClient.admin, "GetStatus").code == 0)
        #expect(try broker.call(WireClient.verifier, "Poll").code == 0)
        let highest = try highestDescriptor(process)
        try allow(highest + 1, process)
        // Whatever is free below that is filled first.
        var fillers: [WireClient] = []
        while fillers.count <= highest {
            let filler = try WireClient(path: daemon.brokerSocket)
            guard (try? filler.call(WireClient.verifier, "Poll")) != nil else { break }
            fillers.append(filler)
        }
        try #require(fillers.count <= highest, "there is no descriptor for it: it is closed at once")

        let before = try processorSeconds(process)
        for _ in 0..<200 {
            let refused = try WireClient(path: daemon.brokerSocket)
            #expect(try refused.receive() == nil)
        }
        let register = ProtobufMessage.Builder().text(1, "plant").bytes(2, Array(try shop.read(authority.certificate)))
            .bytes(3, Array(try shop.read(verification)))
        let registered = try admin.call(WireClient.registry, "RegisterCaCertificate", register)
        #expect(registered.code == 0, "\(registered)")
        let question = ProtobufMessage.Builder().text(1, "plant").bytes(2, Array(device))
        let verdict = try broker.call(WireClient.verifier, "Verify", question).payload.message(1)
        #expect(verdict.integer(2) == 1 && verdict.integer(8) == 1, "\(verdict)")
        try waitHalfASecond(admin)
        let used = try processorSeconds(process) - before
        #expect(used < (isSanitized ? 3 : 0.5), "\(used) s of processor time for 200 refused connections")

        fillers = []
        try allow(1_000, process)
        #expect(try daemon.verdict("plant", [authority.certificate]).reason == "USAGE_NOT_ALLOWED")
        let anchors = daemon.runtimeFolder + "/anchors/plant.pem"
        let deadline = Date(timeIntervalSinceNow: 15)
        var isMended = false
        var last = JSONValue.null
        while !isMended, Date() < deadline {
            last = try daemon.json("status")
            isMended = (last["problems"]?.elements ?? []).isEmpty && FileManager.default.fileExists(atPath: anchors)
        }
        #expect(isMended, "what could not be written is written once there are descriptors: \(last)")
        try daemon.crash()
        try daemon.start()
        #expect(try daemon.json("ca", "show", authority.serialNumber)["status"]?.text == "STATUS_ACTIVE")
    }
}
