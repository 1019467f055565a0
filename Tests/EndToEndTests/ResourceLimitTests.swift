import Foundation
import Glibc
import Testing

/// What happens where the host runs out: descriptors, connections, disk.
@Suite(.serialized) struct ResourceLimitTests {
    @Test func withFewDescriptorsTheDaemonStartsWithALowerLimitAndSaysSo() throws {
        let daemon = try Daemon(started: false)
        try daemon.start(descriptors: 128)
        let status = try daemon.json("status")
        let problems = try #require(status["problems"]?.elements)
        #expect(!problems.isEmpty || daemon.log.contains("descriptors"), "\(status)\n\(daemon.log)")

        // More connections than there are descriptors: the broker's are closed, the operator's stay possible.
        let clients = try (0..<150).map { _ in try WireClient(path: daemon.brokerSocket) }
        let admin = try WireClient(path: daemon.adminSocket)
        let response = try admin.call(WireClient.admin, "GetStatus")
        #expect(response.code == 0, "\(response)")
        let last = try #require(clients.last)
        #expect(try last.receive() == nil, "one too many is accepted and closed at once")
        #expect(try clients[0].call(WireClient.verifier, "Poll").code == 0)
        #expect(try daemon.terminate() == 0, "\(daemon.log)")
    }

    @Test func oneConnectionTooManyIsClosedAtOnceAndTheOthersLive() throws {
        var limit = rlimit()
        unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        let daemon = try Daemon()
        // The last 16 of 1024 are for admin.sock.
        let clients = try (0..<1009).map { _ in try WireClient(path: daemon.brokerSocket) }
        #expect(try clients[1008].receive() == nil)
        #expect(try clients[0].call(WireClient.verifier, "Poll").code == 0)
        #expect(try clients[1007].call(WireClient.verifier, "Poll").code == 0)
        let operators = try (0..<17).map { _ in try WireClient(path: daemon.adminSocket) }
        #expect(try operators[16].receive() == nil)
        let status = try operators[15].call(WireClient.admin, "GetStatus")
        #expect(status.code == 0, "\(status)")
        let count = try status.payload.message(1).integer(11)
        #expect(count == 1024)
    }

    @Test(.enabled(if: geteuid() == 0, "only root can mount a small file system"))
    func aFullDiskRefusesWritesAnswersVerdictsAndIsSurvived() throws {
        let daemon = try Daemon(started: false)
        let shop = try CertificateShop()
        let state = daemon.stateFolder
        try FileManager.default.createDirectory(atPath: state, withIntermediateDirectories: true)
        let mounted = try run("mount", ["-t", "tmpfs", "-o", "size=8m", "none", state])
        try #require(mounted.exit == 0, "\(mounted)")
        defer {
            try? daemon.crash()
            _ = try? run("umount", ["-l", state])
        }
        try daemon.start()
        try daemon.createInstance("plant")
        let authority = try shop.eccAuthority("CA")
        try daemon.register(authority, with: "plant", from: shop)
        let known = try shop.device("known", by: authority)
        #expect(try daemon.verdict("plant", known).registered == true)
        let unknown = try shop.device("unknown", by: authority)

        let ballast = state + "/ballast"
        _ = try run("dd", ["if=/dev/zero", "of=" + ballast, "bs=4096"])
        let client = try WireClient(path: daemon.adminSocket)
        var acknowledged: [String] = []
        var refusal: WireResponse?
        for number in 0..<5000 where refusal == nil {
            let name = "filler-\(number)"
            let response = try client.call(
                WireClient.registry, "CreateInstance", .init().text(1, name).integer(2, 2))
            if response.code == 0 { acknowledged.append(name) } else { refusal = response }
        }
        #expect(refusal?.code == 8 && refusal?.reason == "DISK_FULL", "\(String(describing: refusal))")
        #expect(try daemon.json("status")["diskFull"]?.flag == true)
        #expect(try daemon.verdict("plant", known).reason == "TRUSTED")
        let first = try daemon.verdict("plant", unknown)
        #expect(first.reason == "TRUSTED" && first.registered == false, "\(first.json)")

        try FileManager.default.removeItem(atPath: ballast)
        let deadline = Date(timeIntervalSinceNow: 10)
        var created = false
        while !created, Date() < deadline {
            created = try daemon.caregctl("instance", "create", "after", "--edition", "platinum").exit == 0
        }
        #expect(created, "there is room again")
        #expect(try daemon.json("status")["diskFull"]?.flag == false)
        #expect(try daemon.verdict("plant", unknown).registered == true)
        #expect(try daemon.terminate() == 0, "\(daemon.log)")
        #expect(try daemon.offline("check").exit == 0)
        try daemon.start()
        let fresh = try WireClient(path: daemon.adminSocket)
        for name in acknowledged + ["after"] {
            #expect(try fresh.call(WireClient.registry, "GetInstance", .init().text(1, name)).code == 0, "\(name)")
        }
    }

    @Test func theEnvironmentNamesTheFoldersAsSystemdSetsThem() throws {
        let daemon = try Daemon(started: false)
        let environment = ["STATE_DIRECTORY": daemon.stateFolder, "RUNTIME_DIRECTORY": daemon.runtimeFolder]
        let log = unsafe open(daemon.logFile, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
        defer { close(log) }
        let child = try ChildProcess(program("caregd"), [], environment: environment, output: log, errors: log)
        let deadline = Date(timeIntervalSinceNow: 20)
        while !WireClient.accepts(path: daemon.adminSocket), Date() < deadline, !child.hasEnded(within: 5) {}
        let status = try daemon.json("status")
        #expect(status["stateDir"]?.text == daemon.stateFolder)
        #expect(status["runtimeDir"]?.text == daemon.runtimeFolder)
        child.signal(SIGTERM)
        #expect(try child.wait(seconds: 10) == 0, "\(daemon.log)")
    }
}
