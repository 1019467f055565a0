import Foundation
import Glibc
import Synchronization
import Testing

/// Where the programs under test are: `CAREG_BIN_DIR`, or beside the running tests.
let programFolder: String = {
    if let folder = ProcessInfo.processInfo.environment["CAREG_BIN_DIR"] { return folder }
    let files = FileManager.default
    let starts =
        [try? files.destinationOfSymbolicLink(atPath: "/proc/self/exe")] + CommandLine.arguments.map(Optional.some)
    for case .some(let start) in starts where start.hasPrefix("/") {
        var url = URL(fileURLWithPath: start)
        while url.path != "/" {
            url.deleteLastPathComponent()
            if files.isExecutableFile(atPath: url.appendingPathComponent("caregd").path) { return url.path }
        }
    }
    return "/usr/bin"
}()

func program(_ name: String) -> String { "\(programFolder)/\(name)" }

/// A temporary folder of the shortest path there is: a Unix socket's path holds 107 bytes.
func makeTemporaryFolder() throws -> String {
    var template = Array("/tmp/cg-XXXXXX".utf8CString)
    guard unsafe mkdtemp(&template) != nil else { throw TestFailure("mkdtemp: errno \(errno)") }
    let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    unsafe chmod(path, 0o755)
    leftovers.withLock { _ = $0.folders.insert(path) }
    atexitRegistration
    return path
}

func removeTemporaryFolder(_ path: String) {
    try? FileManager.default.removeItem(atPath: path)
    _ = leftovers.withLock { $0.folders.remove(path) }
}

/// Daemons and folders that suites share: they end with the test run.
private struct Leftovers {
    var folders: Set<String> = []
    var processes: Set<pid_t> = []
}

private let leftovers = Mutex(Leftovers())

private let atexitRegistration: Void = {
    atexit {
        leftovers.withLock { left in
            for process in left.processes { kill(process, SIGKILL) }
            for folder in left.folders { try? FileManager.default.removeItem(atPath: folder) }
        }
    }
    return ()
}()

/// A caregd of its own, with its own folders, as a user would start it.
final class Daemon: Sendable {
    let folder: String
    private let process = Mutex<ChildProcess?>(nil)

    var stateFolder: String { folder + "/s" }
    var runtimeFolder: String { folder + "/r" }
    var adminSocket: String { runtimeFolder + "/admin.sock" }
    var brokerSocket: String { runtimeFolder + "/broker.sock" }
    var logFile: String { folder + "/log" }

    /// Makes the folders and, unless told otherwise, starts the daemon and waits until it accepts.
    init(region: String? = nil, started: Bool = true) throws {
        folder = try makeTemporaryFolder()
        if started { try start(region: region) }
    }

    deinit {
        process.withLock { child in
            if let child {
                child.signal(SIGKILL)
                _ = try? child.wait(seconds: 10)
                _ = leftovers.withLock { $0.processes.remove(child.processID) }
            }
            child = nil
        }
        removeTemporaryFolder(folder)
    }

    var log: String { (try? String(contentsOfFile: logFile, encoding: .utf8)) ?? "" }

    /// The data file of the registry. LMDB's file of locks beside it may be larger.
    var dataFile: String { stateFolder + "/registry.mdb" }

    private func arguments(region: String?) -> [String] {
        ["--state-dir", stateFolder, "--runtime-dir", runtimeFolder] + (region.map { ["--region", $0] } ?? [])
    }

    /// Starts the daemon and waits until `admin.sock` accepts.
    ///
    /// - Parameters:
    ///   - descriptors: how many files it may have open; the limit of the tests where it is left out.
    ///   - environment: variables beside those of the tests.
    func start(region: String? = nil, descriptors: Int? = nil, environment: [String: String] = [:]) throws {
        let child = try launch(region: region, descriptors: descriptors, environment: environment)
        let deadline = Date(timeIntervalSinceNow: 30)
        while !WireClient.accepts(path: adminSocket) {
            // The wait is for the child's end: a daemon that gives up is seen at once.
            if child.hasEnded(within: 5) {
                let exit = try child.wait(seconds: 1)
                throw TestFailure("caregd ended with \(exit) at its start:\n\(self.log.suffix(3000))")
            }
            if deadline.timeIntervalSinceNow < 0 {
                throw TestFailure("admin.sock does not accept after 30 s:\n\(self.log.suffix(3000))")
            }
        }
    }

    /// Starts the daemon and kills it a little later, wherever in its start it is by then.
    func crashInStart(milliseconds: Int32) throws {
        let child = try launch(region: nil, descriptors: nil, environment: [:])
        if child.hasEnded(within: milliseconds) {
            throw TestFailure("caregd ended at its start:\n\(log.suffix(3000))")
        }
        try crash()
    }

    private func launch(region: String?, descriptors: Int?, environment: [String: String]) throws -> ChildProcess {
        let log = unsafe open(logFile, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard log >= 0 else { throw TestFailure("no log file: errno \(errno)") }
        defer { close(log) }
        var command = [program("caregd")] + arguments(region: region)
        if let descriptors { command = ["prlimit", "--nofile=\(descriptors)", "--"] + command }
        let child = try ChildProcess(
            command[0], Array(command.dropFirst()), environment: environment, output: log, errors: log)
        leftovers.withLock { _ = $0.processes.insert(child.processID) }
        process.withLock { $0 = child }
        return child
    }

    var processID: pid_t {
        get throws {
            guard let child = process.withLock({ $0 }) else { throw TestFailure("no daemon runs") }
            return child.processID
        }
    }

    /// Whether the daemon has ended, asked for at most `milliseconds`.
    func hasEnded(within milliseconds: Int32) throws -> Bool {
        guard let child = process.withLock({ $0 }) else { throw TestFailure("no daemon runs") }
        return child.hasEnded(within: milliseconds)
    }

    /// Starts the daemon where it is expected to refuse: gives its exit status and what it said.
    func startRefused(region: String? = nil) throws -> ProgramResult {
        try run(program("caregd"), arguments(region: region), seconds: 15)
    }

    /// SIGTERM; gives the exit status.
    func terminate() throws -> Int32 { try end(by: SIGTERM) }

    /// SIGKILL, as a crash would be.
    func crash() throws { _ = try end(by: SIGKILL) }

    func signalTermination() { process.withLock { $0?.signal(SIGTERM) } }

    /// Waits for a daemon that ends by itself; gives the exit status.
    func waitForEnd() throws -> Int32 { try end(by: 0) }

    /// - Parameter signal: 0 for none.
    private func end(by signal: Int32) throws -> Int32 {
        guard let child = process.withLock({ $0 }) else { throw TestFailure("no daemon runs") }
        child.signal(signal)
        do {
            let exit = try child.wait(seconds: 20)
            leftovers.withLock { _ = $0.processes.remove(child.processID) }
            process.withLock { $0 = nil }
            return exit
        } catch {
            throw TestFailure("\(error)\n\(log.suffix(3000))")
        }
    }

    /// `caregd` with a verb that works offline.
    func offline(_ arguments: String...) throws -> ProgramResult {
        try run(program("caregd"), arguments + ["--state-dir", stateFolder])
    }

    func caregctl(_ arguments: [String]) throws -> ProgramResult {
        try run(program("caregctl"), ["--socket", adminSocket] + arguments)
    }

    func caregctl(_ arguments: String...) throws -> ProgramResult { try caregctl(arguments) }

    /// The JSON document of a call that must succeed.
    @discardableResult
    func json(_ arguments: [String]) throws -> JSONValue {
        let result = try caregctl(arguments + ["--output", "json"])
        guard result.exit == 0 else { throw TestFailure("\(result)\n\(log.suffix(1000))") }
        return try JSONValue(parsing: result.output)
    }

    @discardableResult
    func json(_ arguments: String...) throws -> JSONValue { try json(arguments) }

    /// The registry's last revision.
    func revision() throws -> Int {
        let status = try json("status")
        return try #require(status["revision"]?.integer, "status tells no revision: \(status)")
    }

    /// The refusal of a call that must be refused.
    func refusal(_ arguments: [String]) throws -> Refusal {
        let result = try caregctl(arguments + ["--output", "json"])
        guard result.exit != 0 else { throw TestFailure("not refused: \(result)") }
        return try Refusal(result)
    }

    func refusal(_ arguments: String...) throws -> Refusal { try refusal(arguments) }

    /// The verdict on a chain, and the exit status that told it.
    ///
    /// An automatic registration may be committed a little after its verdict: unless told otherwise, this waits for it,
    /// so that what the test does next meets a registry at rest.
    func verdict(
        _ instance: String, _ files: [String], _ options: [String] = [], settled: Bool = true
    ) throws -> Verdict {
        let result = try caregctl(["verify", "--instance", instance] + options + files + ["--output", "json"])
        guard result.exit == 0 || result.exit == 1, !result.output.isEmpty else {
            throw TestFailure("no verdict: \(result)\n\(log.suffix(1000))")
        }
        let verdict = Verdict(exit: result.exit, json: try JSONValue(parsing: result.output))
        if settled, verdict.registered == true, let fingerprint = verdict.json["fingerprint"]?.text {
            try awaitRegistration(of: fingerprint, since: verdict.json["revision"]?.integer ?? 0)
        }
        return verdict
    }

    /// Waits until the change log holds the registration of a device certificate.
    ///
    /// - Parameter revision: the one of the verdict, which may or may not be that of the registration already.
    func awaitRegistration(of fingerprint: String, since revision: Int) throws {
        let client = try WireClient(path: brokerSocket)
        var since = UInt64(max(revision - 1, 0))
        let deadline = Date(timeIntervalSinceNow: 10)
        while Date() < deadline {
            let wait = ProtobufMessage.Builder().integer(1, 5).encoded
            let request = ProtobufMessage.Builder().integer(1, since).bytes(2, wait)
            let answer = try client.call(WireClient.verifier, "Poll", request).payload
            // 11 is CHANGE_TYPE_DEVICE_REGISTERED.
            let changes = try answer.messages(2)
            if changes.contains(where: { $0.integer(3) == 11 && $0.text(7) == fingerprint }) { return }
            since = max(since, answer.integer(3))
        }
        throw TestFailure("the registration of \(fingerprint) is in no change after revision \(revision)")
    }

    func verdict(_ instance: String, _ files: String...) throws -> Verdict { try verdict(instance, files) }
}

/// A verdict as `caregctl verify --output json` tells it.
struct Verdict {
    let exit: Int32
    let json: JSONValue

    /// Without the enumeration's prefix.
    var reason: String {
        let name = json["reason"]?.text ?? "none"
        return name.hasPrefix("REASON_") ? String(name.dropFirst(7)) : name
    }

    var trusted: Bool? { json["trusted"]?.flag }
    var registered: Bool? { json["registered"]?.flag }
    var caSerialNumber: String? { json["caSn"]?.text }
    var deviceSerialNumber: String? { json["deviceSn"]?.text }
}

/// A refusal as `caregctl --output json` tells it on standard error.
struct Refusal: Equatable {
    let exit: Int32
    let code: String
    let reason: String
    let message: String
    let metadata: JSONValue?

    init(_ result: ProgramResult) throws {
        let document = try JSONValue(parsing: Data(result.errorText.utf8))
        guard let error = document["error"], let code = error["code"]?.text, let reason = error["reason"]?.text else {
            throw TestFailure("no refusal in JSON: \(result)")
        }
        exit = result.exit
        self.code = code
        self.reason = reason
        message = error["message"]?.text ?? ""
        metadata = error["metadata"]
    }
}
