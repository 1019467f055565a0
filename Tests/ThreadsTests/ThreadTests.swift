import Dispatch
import Foundation
import Synchronization
import Testing
import Threads

/// Threads are named, take no signals but those of their own faults, and stand back only where they are told to.
@Suite struct ThreadTests {
    /// What a thread says of itself.
    private struct Facts: Sendable, Equatable {
        var name = ""
        var niceness: Int32 = 0
        var signals: [Int32] = []
    }

    private final class Noted: Sendable {
        let facts = Mutex(Facts())
    }

    private static var niceness: Int32 { getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0) }

    private func facts(of name: String, _ scheduling: ThreadScheduling) throws -> Facts {
        let noted = Noted()
        let done = DispatchSemaphore(value: 0)
        try startThread(name, scheduling) {
            var blocked = sigset_t()
            unsafe pthread_sigmask(SIG_SETMASK, nil, &blocked)
            let signals = [SIGTERM, SIGHUP, SIGINT, SIGUSR1, SIGBUS, SIGSEGV].filter {
                unsafe sigismember(&blocked, $0) == 0
            }
            let name = (try? String(contentsOfFile: "/proc/thread-self/comm", encoding: .utf8)) ?? ""
            noted.facts.withLock {
                $0 = Facts(name: name, niceness: Self.niceness, signals: signals)
            }
            yieldProcessor()
            done.signal()
        }
        try #require(done.wait(timeout: .now() + 20) == .success)
        return noted.facts.withLock { $0 }
    }

    @Test func anOrdinaryThreadIsAsNiceAsItsProcess() throws {
        let expected = Facts(name: "ordinary\n", niceness: Self.niceness, signals: [SIGBUS, SIGSEGV])
        #expect(try facts(of: "ordinary", .ordinary) == expected)
    }

    @Test(arguments: [0, 5, 40]) func aThreadThatYieldsIsNicerBySoMuchAndItsProcessIsNot(more: Int32) throws {
        let before = Self.niceness
        #expect(try facts(of: "nice", .yielding(niceness: more)).niceness == min(before + more, 19))
        #expect(Self.niceness == before)
    }

    @Test func fifteenBytesOfANameAreShown() throws {
        #expect(try facts(of: "a name that is too long", .ordinary).name == "a name that is \n")
    }
}
