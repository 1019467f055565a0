import Foundation
import Glibc
import Synchronization

/// What a program said and how it ended.
struct ProgramResult: Sendable, CustomStringConvertible {
    let commandLine: String
    /// The exit status, or 128 + the signal that ended it.
    let exit: Int32
    let output: Data
    let errorText: String

    var text: String { String(decoding: output, as: UTF8.self) }

    var description: String {
        "`\(commandLine)` ended with \(exit)\nstdout: \(text.prefix(2000))\nstderr: \(errorText.prefix(2000))"
    }
}

/// Why a test could not get at what it wanted to look at.
struct TestFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// A child process whose standard input is a socket of ours, which tells its end without a wait for a clock.
final class ChildProcess: Sendable {
    let processID: pid_t
    private let standardInput: Int32
    private let exitStatus = Mutex<Int32?>(nil)

    /// Starts `program`; its output goes to the given descriptors, which stay the caller's.
    init(
        _ program: String, _ arguments: [String], environment: [String: String] = [:], output: Int32, errors: Int32
    ) throws {
        let ends = try socketPair()
        // Whoever reads the standard input finds its end at once.
        shutdown(ends[1], Int32(SHUT_WR))
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_adddup2(&actions, ends[0], 0)
        unsafe posix_spawn_file_actions_adddup2(&actions, output, 1)
        unsafe posix_spawn_file_actions_adddup2(&actions, errors, 2)

        // The threads of a test runner may hold signals back: a child must not inherit that.
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        unsafe sigemptyset(&none)
        var all = sigset_t()
        unsafe sigfillset(&all)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setsigdefault(&attributes, &all)
        unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

        var variables = ProcessInfo.processInfo.environment
        for name in ["STATE_DIRECTORY", "RUNTIME_DIRECTORY", "CONFIGURATION_DIRECTORY", "CAREG_SOCKET"] {
            variables[name] = nil
        }
        variables.merge(environment) { $1 }
        var argumentVector = unsafe ([program] + arguments).map { unsafe strdup($0) } + [nil]
        var environmentVector = unsafe variables.map { unsafe strdup("\($0.key)=\($0.value)") } + [nil]
        defer {
            unsafe argumentVector.forEach { unsafe free($0) }
            unsafe environmentVector.forEach { unsafe free($0) }
        }
        var child: pid_t = 0
        let result = unsafe posix_spawnp(
            &child, program, &actions, &attributes, &argumentVector, &environmentVector)
        close(ends[0])
        guard result == 0 else {
            close(ends[1])
            throw TestFailure("\(program) does not start: errno \(result)")
        }
        processID = child
        standardInput = ends[1]
    }

    deinit {
        if exitStatus.withLock({ $0 }) == nil { signal(SIGKILL) }
        _ = try? wait(seconds: 10)
        close(standardInput)
    }

    func signal(_ number: Int32) {
        exitStatus.withLock { status in
            if status == nil { kill(processID, number) }
        }
    }

    /// Whether the child has ended, asked for at most `milliseconds`: a socket whose peer is gone hangs up.
    func hasEnded(within milliseconds: Int32) -> Bool {
        if exitStatus.withLock({ $0 }) != nil { return true }
        var descriptor = pollfd(fd: standardInput, events: 0, revents: 0)
        return unsafe poll(&descriptor, 1, milliseconds) > 0
    }

    /// Waits for the end of the child: its exit status, or 128 + the signal.
    func wait(seconds: Int32) throws -> Int32 {
        guard hasEnded(within: seconds * 1000) else {
            throw TestFailure("process \(processID) still runs after \(seconds) s")
        }
        return exitStatus.withLock { known in
            if let known { return known }
            var status: Int32 = 0
            while unsafe waitpid(processID, &status, 0) < 0, errno == EINTR {}
            let signal = status & 0x7f
            let value = signal == 0 ? (status >> 8) & 0xff : 128 + signal
            known = value
            return value
        }
    }
}

/// Runs a program to its end and gives what it said; one that takes longer than `seconds` is ended and is a failure.
func run(
    _ program: String, _ arguments: [String], environment: [String: String] = [:], seconds: Int = 60
) throws -> ProgramResult {
    let outputEnds = try socketPair()
    let errorEnds = try socketPair()
    defer { for end in [outputEnds[0], errorEnds[0]] { close(end) } }
    let commandLine = ([program] + arguments).joined(separator: " ")
    let child: ChildProcess
    do {
        defer { for end in [outputEnds[1], errorEnds[1]] { close(end) } }
        child = try ChildProcess(
            program, arguments, environment: environment, output: outputEnds[1], errors: errorEnds[1])
    }
    let read = try drain([outputEnds[0], errorEnds[0]], until: Date(timeIntervalSinceNow: Double(seconds)))
    guard let read else {
        child.signal(SIGKILL)
        throw TestFailure("`\(commandLine)` still runs after \(seconds) s")
    }
    let exit = try child.wait(seconds: 10)
    return ProgramResult(
        commandLine: commandLine, exit: exit, output: read[0],
        errorText: String(decoding: read[1], as: UTF8.self))
}

/// Two connected descriptors that no other child inherits.
func socketPair() throws -> [Int32] {
    var ends: [Int32] = [0, 0]
    guard unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
        throw TestFailure("socketpair: errno \(errno)")
    }
    return ends
}

/// Reads the descriptors to their ends; nil where that takes longer than `deadline`.
private func drain(_ descriptors: [Int32], until deadline: Date) throws -> [Data]? {
    var read = descriptors.map { _ in Data() }
    var open = Set(descriptors.indices)
    var buffer = [UInt8](repeating: 0, count: 65536)
    while !open.isEmpty {
        let left = deadline.timeIntervalSinceNow
        guard left > 0 else { return nil }
        var polled = descriptors.enumerated().map { index, descriptor in
            pollfd(fd: open.contains(index) ? descriptor : -1, events: Int16(POLLIN), revents: 0)
        }
        let ready = unsafe poll(&polled, nfds_t(polled.count), Int32(left * 1000) + 1)
        if ready < 0, errno != EINTR { throw TestFailure("poll: errno \(errno)") }
        for index in open where ready > 0 && polled[index].revents != 0 {
            let count = unsafe Glibc.read(descriptors[index], &buffer, buffer.count)
            if count > 0 {
                read[index].append(contentsOf: buffer[..<count])
            } else {
                open.remove(index)
            }
        }
    }
    return read
}
