import Foundation
import Glibc
import Testing

/// The daemon as a service manager has it: what it tells, and the sockets that it is given.
@Suite(.serialized) struct ServiceManagerTests {
    private let daemon: Daemon
    private let manager: NotifySocket

    init() throws {
        daemon = try Daemon(started: false)
        manager = try NotifySocket(path: daemon.folder + "/notify")
    }

    private var environment: [String: String] {
        ["NOTIFY_SOCKET": manager.path, "JOURNAL_STREAM": "1:1", "CONFIGURATION_DIRECTORY": daemon.folder]
    }

    private func create(_ id: String, _ client: WireClient) throws -> WireResponse {
        try client.call(WireClient.registry, "CreateInstance", .init().text(1, id).integer(2, 2))
    }

    private func configure(_ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: daemon.folder + "/caregd.conf"))
    }

    // MARK: What it tells

    @Test func itIsReadyWhenItServesTellsItsCountsAndSaysThatItStops() throws {
        try daemon.start(environment: environment)
        try manager.await { $0 == "READY=1" }
        // Whoever waited for it finds the daemon at work.
        let client = try WireClient(path: daemon.adminSocket)
        #expect(try create("plant-1", client).code == 0)
        try manager.await {
            $0.hasPrefix("STATUS=region default, revision 1: 1 instance, 0 CA certificates, 0 device certificates, ")
        }
        daemon.signalTermination()
        try manager.await { $0 == "STOPPING=1" }
        #expect(try daemon.waitForEnd() == 0)
        // The journal's priorities, and no time of its own.
        let lines = daemon.log.split(separator: "\n")
        #expect(lines.contains { $0.hasPrefix("<6>serving ") }, "\(daemon.log)")
        #expect(lines.allSatisfy { $0.wholeMatch(of: /<[2-7]>[a-z].*/) != nil }, "\(daemon.log)")
    }

    @Test func aReloadIsToldFromItsBeginningToItsEndAndChangesWhatIsLogged() throws {
        try configure("log_level = notice\n")
        try daemon.start(environment: environment)
        try manager.await { $0 == "READY=1" }
        let client = try WireClient(path: daemon.adminSocket)
        #expect(try create("before", client).code == 0)

        try configure("log_level = debug\n")
        kill(try daemon.processID, SIGHUP)
        try manager.await { $0.wholeMatch(of: /RELOADING=1\nMONOTONIC_USEC=[0-9]+/) != nil }
        try manager.await { $0 == "READY=1" }
        #expect(try create("after", client).code == 0)
        #expect(try create("after", client).reason == "INSTANCE_ALREADY_EXISTS")
        let log = daemon.log
        let answered = log.split(separator: "\n").filter { $0.contains("call answered") }
        let call =
            /<7>call answered gid=\d+ method=CreateInstance microseconds=\d+ pid=\d+ request=\d+ socket=admin uid=\d+/
        #expect(answered.count == 1 && answered[0].wholeMatch(of: call) != nil, "\(log)")
        #expect(log.contains("<5>change refused"), "\(log)")
        #expect(log.contains("reason=INSTANCE_ALREADY_EXISTS"), "\(log)")

        // A slip of the pen is said with its place, and what was in force stays.
        try configure("log_level = debug\nlog_levle = info\n")
        kill(try daemon.processID, SIGHUP)
        try manager.await { $0.hasPrefix("RELOADING=1") }
        try manager.await { $0 == "READY=1" }
        #expect(daemon.log.contains("caregd.conf:2"), "\(daemon.log)")
        #expect(daemon.log.contains("log_level"), "\(daemon.log)")
        #expect(try create("still", client).code == 0)
        #expect(daemon.log.contains("request="), "\(daemon.log)")
        #expect(try daemon.terminate() == 0)
    }

    // MARK: The watchdog

    private static let period = Duration.milliseconds(800)

    private var watched: [String: String] {
        environment.merging(["WATCHDOG_USEC": "\(Int(Self.period / .microseconds(1)))"]) { $1 }
    }

    @Test func theWatchdogStarvesWhileTheDaemonStandsStill() throws {
        try daemon.start(environment: watched)
        try manager.await { $0 == "READY=1" }
        for _ in 0..<3 { try manager.await { $0 == "WATCHDOG=1" } }
        let process = try daemon.processID
        kill(process, SIGSTOP)
        defer { kill(process, SIGCONT) }
        try manager.expectSilence(of: "WATCHDOG=1", for: Self.period)
        kill(process, SIGCONT)
        try manager.await { $0 == "WATCHDOG=1" }
        #expect(try daemon.terminate() == 0)
    }

    @Test(.enabled(if: hasCompiler)) func theWatchdogStarvesWhileTheDiskDoesNotAnswerAndVerdictsGoOn() throws {
        let disk = try FailingDisk()
        let daemon = disk.daemon
        try daemon.start(environment: watched.merging(disk.environment) { $1 })
        try manager.await { $0 == "READY=1" }
        let client = try WireClient(path: daemon.adminSocket)
        #expect(try create("before", client).code == 0)
        for _ in 0..<3 { try manager.await { $0 == "WATCHDOG=1" } }

        try disk.begin(DiskFault(name: "stall", error: 1))
        let stream = try client.sendRequest(
            WireClient.registry, "CreateInstance", .init().text(1, "late").integer(2, 2))
        try manager.expectSilence(of: "WATCHDOG=1", for: Self.period)
        let broker = try WireClient(path: daemon.brokerSocket)
        let verdict = try broker.call(WireClient.verifier, "Verify", .init().text(1, "nowhere").bytes(2, [0x30, 0]))
        #expect(verdict.code == 0, "\(verdict)")

        try disk.end()
        let answer = try client.frame()
        #expect(try answer.stream == stream && WireResponse(answer).code == 0)
        try manager.await { $0 == "WATCHDOG=1" }
        #expect(try daemon.terminate() == 0)
    }

    @Test func aWatchdogOfAnotherProcessIsNotFed() throws {
        try daemon.start(environment: watched.merging(["WATCHDOG_PID": "1"]) { $1 })
        try manager.await { $0 == "READY=1" }
        try manager.expectSilence(of: "WATCHDOG=1", for: Self.period)
        #expect(try daemon.terminate() == 0)
    }

    // MARK: Sockets that it is given

    private static let socketActivate = ["/usr/bin/systemd-socket-activate", "/bin/systemd-socket-activate"]
        .first { FileManager.default.isExecutableFile(atPath: $0) }

    private func activated(names: String) throws -> (process: ChildProcess, admin: String, broker: String) {
        let (admin, broker) = (daemon.folder + "/a", daemon.folder + "/b")
        let log = unsafe open(daemon.logFile, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard log >= 0 else { throw TestFailure("no log file: errno \(errno)") }
        defer { close(log) }
        // What .ci/long has the thread sanitizer told by, where it is there.
        let passedOn =
            ["NOTIFY_SOCKET"]
            + ["LD_PRELOAD", "TSAN_OPTIONS"].filter { ProcessInfo.processInfo.environment[$0] != nil }
        let process = try ChildProcess(
            try #require(Self.socketActivate),
            passedOn.map { "--setenv=\($0)" } + [
                "--listen=\(admin)", "--listen=\(broker)", "--fdname=\(names)", program("caregd"),
                "--state-dir", daemon.stateFolder, "--runtime-dir", daemon.runtimeFolder,
            ], environment: environment, output: log, errors: log)
        return (process, admin, broker)
    }

    /// Connects once systemd-socket-activate listens, which it says in its log.
    private func connect(_ path: String, _ process: ChildProcess) throws -> WireClient {
        let deadline = Date(timeIntervalSinceNow: 20)
        while !WireClient.accepts(path: path) {
            if process.hasEnded(within: 20) || deadline < Date() { throw TestFailure("nobody listens:\n\(daemon.log)") }
        }
        return try WireClient(path: path)
    }

    @Test(.enabled(if: socketActivate != nil)) func itServesTheSocketsThatItIsGivenAndLeavesThemWhereTheyAre() throws {
        let (process, admin, broker) = try activated(names: "admin:broker")
        let client = try connect(admin, process)
        #expect(try create("plant-1", client).code == 0)
        try manager.await { $0 == "READY=1" }
        let asked = try WireClient(path: broker)
        #expect(try asked.call(WireClient.verifier, "Poll").code == 0)
        #expect(try create("plant-2", asked).reason == "CALLER_NOT_ALLOWED")
        let files = try FileManager.default.contentsOfDirectory(atPath: daemon.runtimeFolder)
        #expect(files.contains("trust.map") && !files.contains { $0.hasSuffix(".sock") }, "\(files)")
        process.signal(SIGTERM)
        #expect(try process.wait(seconds: 20) == 0, "\(daemon.log)")
        #expect(FileManager.default.fileExists(atPath: admin))
        #expect(FileManager.default.fileExists(atPath: broker))
    }

    @Test(.enabled(if: socketActivate != nil), arguments: ["admin:other", "admin:admin"])
    func aSocketOfNoUseIsRefusedInASentence(names: String) throws {
        let (process, admin, _) = try activated(names: names)
        let client = try connect(admin, process)
        _ = try? client.sendRequest(WireClient.verifier, "Poll")
        #expect(try process.wait(seconds: 20) == 78, "\(daemon.log)")
        #expect(daemon.log.contains("inherited socket"), "\(daemon.log)")
    }
}

/// A service manager's side of sd_notify(3).
final class NotifySocket: Sendable {
    let path: String
    private let descriptor: Int32

    init(path: String) throws {
        self.path = path
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { target in
            unsafe target.copyBytes(from: Array(path.utf8).prefix(target.count - 1))
        }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe bind(descriptor, $0, size) }
        }
        guard descriptor >= 0, result == 0 else { throw TestFailure("no notify socket: errno \(errno)") }
    }

    deinit { close(descriptor) }

    /// The next message; nil where none comes in time.
    private func receive(milliseconds: Int32) throws -> String? {
        var polled = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard unsafe poll(&polled, 1, max(0, milliseconds)) > 0 else { return nil }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = unsafe recv(descriptor, &buffer, buffer.count, 0)
        guard count >= 0 else { throw TestFailure("recv: errno \(errno)") }
        return String(decoding: buffer[..<count], as: UTF8.self)
    }

    /// Reads on to the message that is waited for.
    func await(seconds: Double = 20, _ isWanted: (String) -> Bool) throws {
        let deadline = Date(timeIntervalSinceNow: seconds)
        var others: [String] = []
        while let message = try receive(milliseconds: Int32(deadline.timeIntervalSinceNow * 1000)) {
            if isWanted(message) { return }
            others.append(message)
        }
        throw TestFailure("the message did not come; what came is \(others.suffix(20))")
    }

    /// Waits until a message has not come for so long; those that were on their way come first.
    func expectSilence(of message: String, for time: Duration) throws {
        let deadline = Date(timeIntervalSinceNow: 20)
        var silentSince = Date()
        while Date().timeIntervalSince(silentSince) < time / .seconds(1) {
            guard Date() < deadline else { throw TestFailure("\(message) goes on coming") }
            if try receive(milliseconds: Int32(time / .milliseconds(1))) == message { silentSince = Date() }
        }
    }
}
