internal import Glibc

/// What is set for the process as a whole, before it has any other thread.
enum ProcessSetup {
    /// Descriptors for all but connections: the registry, sockets, maps, logs.
    private static let descriptorsForTheRest = 128

    /// Signals that the main thread waits for, held back everywhere.
    static var awaitedSignals: sigset_t {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for number in [SIGTERM, SIGINT, SIGHUP] { unsafe sigaddset(&set, number) }
        return set
    }

    static func run() {
        // Whatever is made is ours alone, unless a mode says otherwise.
        umask(0o077)
        signal(SIGPIPE, SIG_IGN)
        // A core would hold certificates and whatever callers sent.
        var none = rlimit(rlim_cur: 0, rlim_max: 0)
        unsafe setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
    }

    static func holdSignals() {
        var set = awaitedSignals
        unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    /// Has a sentence written before the process is killed for what it read: of a data file that is damaged or whose disk
    /// fails, no more may be left than a page that cannot be read.
    ///
    /// Whoever has a handler already, a sanitizer or the runtime's own, keeps it.
    static func explainFaults() {
        for number in [SIGBUS, SIGSEGV] {
            var present = sigaction()
            guard unsafe sigaction(number, nil, &present) == 0,
                unsafe present.__sigaction_handler.sa_handler == nil
            else { continue }
            var action = sigaction()
            unsafe action.__sigaction_handler.sa_handler = { number in
                // Nothing but a write of constant bytes: whatever was interrupted may hold any lock.
                let text: StaticString =
                    number == SIGBUS
                    ? "caregd: a page of the registry's data file cannot be read: it is damaged, or its disk fails. Stop caregd, run “caregd check”, and restore a backup\n"
                    : "caregd: ended for a wrong address: the registry's data file may be damaged. Stop caregd, and run “caregd check”; if it finds nothing, report this\n"
                _ = unsafe write(STDERR_FILENO, text.utf8Start, text.utf8CodeUnitCount)
                // Back to what kills, which happens when the same is read again. Not before the sentence: another thread
                // may read the same.
                signal(number, SIG_DFL)
            }
            unsafe sigaction(number, &action, nil)
        }
    }

    /// Waits for one of the signals.
    static func nextSignal() -> Int32 {
        var set = awaitedSignals
        var number: Int32 = 0
        while unsafe sigwait(&set, &number) != 0 {}
        return number
    }

    /// Raises the soft limit of descriptors as far as the connections need it and the hard limit lets.
    static func allowDescriptors(forConnections connections: Int) {
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        var limit = rlimit()
        guard unsafe getrlimit(resource, &limit) == 0 else { return }
        let wanted = min(limit.rlim_max, rlim_t(connections + descriptorsForTheRest))
        if limit.rlim_cur < wanted {
            limit.rlim_cur = wanted
            unsafe setrlimit(resource, &limit)
        }
    }

    /// Bytes that are free for this user on the file system of a folder, and the size of a file.
    static func freeBytes(of folder: String) -> UInt64 {
        var space = statvfs()
        guard unsafe statvfs(folder, &space) == 0 else { return 0 }
        return UInt64(space.f_bavail) &* UInt64(space.f_frsize)
    }

    static func size(of file: String) -> UInt64 {
        var status = stat()
        guard unsafe stat(file, &status) == 0 else { return 0 }
        return UInt64(status.st_size)
    }
}
