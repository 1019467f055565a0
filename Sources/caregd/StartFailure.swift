/// Why the program ends before, or instead of, doing its work: a sentence, and an exit status of sysexits.h.
struct StartFailure: Error, CustomStringConvertible {
    /// What scripts and service managers tell apart.
    enum Exit: Int32 {
        /// A damaged registry, or what a check found.
        case damaged = 1
        /// EX_DATAERR: a copy that cannot be restored.
        case data = 65
        /// EX_NOINPUT: no registry, or no file.
        case noInput = 66
        /// EX_UNAVAILABLE: somebody else has the sockets.
        case unavailable = 69
        /// EX_OSERR.
        case system = 71
        /// EX_IOERR: what the disk holds is not known.
        case inputOutput = 74
        /// EX_TEMPFAIL: another caregd works on the folder.
        case busy = 75
        /// EX_NOPERM: a folder that others may write to.
        case permission = 77
        /// EX_CONFIG.
        case configuration = 78
    }

    var exit: Exit
    var sentence: String

    init(_ exit: Exit, _ sentence: String) {
        self.exit = exit
        self.sentence = sentence
    }

    var description: String { sentence }
}
