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
