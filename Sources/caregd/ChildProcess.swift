internal import Foundation

/// This program again, for work that damaged data may kill: a mapped file that is cut ends who reads it by a signal.
enum ChildProcess {
    enum End: Equatable {
        case exited(Int32)
        case signalled(Int32)
    }

    /// Bytes of a line of the child's that are kept.
    private static let lineBytes = 1 << 16

    /// Runs `caregd` with these arguments until it ends, and gives each line of its standard output to `onLine`.
    ///
    /// - Throws: ``StartFailure`` where it cannot be started.
    static func run(_ arguments: [String], onLine: (String) -> Void) throws(StartFailure) -> End {
        var ends: [Int32] = [-1, -1]
        guard unsafe pipe(&ends) == 0 else { throw failure("pipe", errno) }
        defer { close(ends[0]) }
        // Nobody else starts processes: no descriptor gets into one by chance.
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        let started = Result { () throws(StartFailure) in try start(arguments, output: ends[1]) }
        close(ends[1])
        let child = try started.get()
        readLines(from: ends[0], onLine)
        var status: Int32 = 0
        while unsafe waitpid(child, &status, 0) < 0 {
            guard errno == EINTR else { throw failure("waitpid", errno) }
        }
        let signal = status & 0x7f
        return signal == 0 ? .exited((status >> 8) & 0xff) : .signalled(signal)
    }

    private static func start(_ arguments: [String], output: Int32) throws(StartFailure) -> pid_t {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)

        // The daemon holds its signals back; a child must not inherit that.
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        unsafe sigemptyset(&none)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))

        // Its death is an answer: no report of it is wanted.
        let environment = ["PATH=/usr/bin:/bin", "SWIFT_BACKTRACE=enable=no", "LC_ALL=C"]
        var argumentVector = unsafe (["caregd"] + arguments).map { unsafe strdup($0) } + [nil]
        var environmentVector = unsafe environment.map { unsafe strdup($0) } + [nil]
        defer {
            unsafe argumentVector.forEach { unsafe free($0) }
            unsafe environmentVector.forEach { unsafe free($0) }
        }
        var child: pid_t = 0
        let result = unsafe posix_spawn(
            &child, "/proc/self/exe", &actions, &attributes, &argumentVector, &environmentVector)
        guard result == 0 else { throw failure("posix_spawn", result) }
        return child
    }

    private static func readLines(from descriptor: Int32, _ onLine: (String) -> Void) {
        var line: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            for byte in buffer[..<count] {
                if byte == UInt8(ascii: "\n") {
                    onLine(String(decoding: line, as: UTF8.self))
                    line.removeAll(keepingCapacity: true)
                } else if line.count < lineBytes {
                    line.append(byte)
                }
            }
        }
        if !line.isEmpty { onLine(String(decoding: line, as: UTF8.self)) }
    }

    private static func failure(_ call: String, _ code: Int32) -> StartFailure {
        let words = unsafe String(cString: strerror(code))
        return StartFailure(.system, "a process of our own cannot be started: \(call): \(words)")
    }
}

/// What a walk through a data file in a process of its own came to.
struct WalkOutcome {
    /// Findings, or the summary of a sound file.
    var lines: [String] = []
    var isSound = false
    /// The schema version, where this caregd does not know it; nothing else was looked at then.
    var newerSchemaVersion: UInt32?

    private static let mostLines = 1_001

    /// Reads all of a data file.
    ///
    /// - Parameter progress: tells how far it has come; nil: nobody looks at it.
    static func of(_ file: String, showing progress: ProgressLine? = nil) throws(StartFailure) -> WalkOutcome {
        var outcome = WalkOutcome()
        defer { progress?.clear() }
        let options = progress == nil ? [] : ["--progress"]
        let end = try ChildProcess.run([WalkCommand.name] + options + [file]) { line in
            if let progress, line.hasPrefix(WalkCommand.progressMark) {
                progress.show("\(file): \(line)")
            } else if outcome.lines.count < mostLines {
                outcome.lines.append(line)
            }
        }
        switch end {
        case .exited(0): outcome.isSound = true
        case .exited(WalkCommand.newerSchemaExit):
            outcome.newerSchemaVersion = outcome.lines.last.flatMap { UInt32($0) }
        case .exited: break
        case .signalled(let signal):
            let word = unsafe String(cString: strsignal(signal))
            outcome.lines.append("the data file is damaged: reading it ends in signal \(signal) (\(word))")
        }
        return outcome
    }

    /// The same as an answer for ``RegistryStore/StateFolder``: what could not be walked is not sound.
    static func isSound(_ file: String) -> Bool {
        (try? of(file))?.isSound ?? false
    }
}
