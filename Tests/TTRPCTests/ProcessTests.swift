import CEpoll
import Foundation
import Glibc
import TTRPC
import Testing

/// What needs a process of its own: its descriptors, its memory and its processor time are counted. Its exit status tells
/// which expectation failed.
@Suite(.enabled(if: !isSanitized, "a sanitizer takes too much of all that")) struct ProcessTests {
    @Test func withoutDescriptorsConnectionsAreClosedAndTheServerGoesOn() async {
        await #expect(processExitsWith: .success) {
            let server = try TestServer()
            let client = try RawClient(server.path)
            try client.send(requestFrame(1, "Echo", [1]))
            guard try client.answer().status == 0 else { exit(1) }
            // Room for the sockets of those who come, and for none of the server's.
            var limit = rlimit()
            _ = unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            let probe = cepoll_null_open()
            cepoll_close(probe)
            limit.rlim_cur = rlim_t(probe + 1)
            _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            for _ in 0..<50 { try RawClient(server.path).waitForEnd() }
            guard eventually({ server.server.statistics.refusedConnections == 50 }) else { exit(2) }
            let before = processorSeconds()
            try client.send(requestFrame(1, "Hold", timeout: 200_000_000))
            guard try client.answer().status == 4 else { exit(3) }
            guard processorSeconds() - before < 0.1 else { exit(4) }
            limit.rlim_cur = rlim_t(probe + 10)
            _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            let second = try RawClient(server.path)
            try second.send(requestFrame(1, "Echo", [1]))
            guard try second.answer().status == 0 else { exit(5) }
        }
    }

    @Test func whoeverWaitsWaitsWithoutSpinning() async {
        await #expect(processExitsWith: .success) {
            var limits = ServerLimits()
            limits.requestsPerConnection = 2
            let server = try TestServer(limits: limits)
            let large = [UInt8](repeating: 0, count: 1_000_000)
            // Beyond its share of request bytes.
            let first = try RawClient(server.path)
            try first.send(requestFrame(1, "Hold", large))
            _ = try first.sendSome(requestFrame(3, "Hold", large).encoded, seconds: 0.01)
            // As many calls as may be, half-closed.
            let second = try RawClient(server.path)
            try second.send(requestFrame(1, "Hold"), requestFrame(3, "Hold"), requestFrame(5, "Hold"))
            second.finishSending()
            // In the line for request bytes.
            let others = try (0..<5).map { _ in try RawClient(server.path) }
            for other in others { _ = try other.sendSome(requestFrame(1, "Hold", large).encoded, seconds: 0.01) }
            // Answers unread.
            let third = try RawClient(server.path)
            for stream: UInt32 in [1, 3, 5, 7] { try third.send(requestFrame(stream, "Large", Array("1500000".utf8))) }
            let clock = try RawClient(server.path)
            try clock.send(requestFrame(1, "Hold", timeout: 50_000_000))
            guard try clock.answer().status == 4 else { exit(1) }
            let before = processorSeconds()
            try clock.send(requestFrame(1, "Hold", timeout: 500_000_000))
            guard try clock.answer().status == 4 else { exit(2) }
            guard processorSeconds() - before < 0.15 else { exit(3) }
        }
    }

    @Test func hostilePeersGetLittleMemory() async {
        await #expect(processExitsWith: .success) {
            var limits = ServerLimits()
            limits.stall = .seconds(60)
            let server = try TestServer(limits: limits)
            let quiet = try RawClient(server.path)
            try quiet.send(requestFrame(1, "Echo", [1]))
            guard try quiet.answer().status == 0 else { exit(1) }
            let before = residentBytes()
            // Ten thousand come, a thousand stay: in the middle of a large frame, with a flood, with answers unread.
            let large = Array(requestFrame(1, "Hold", [UInt8](repeating: 0, count: 1_000_000)).encoded[..<900_000])
            let flood = (0..<2_000).flatMap { requestFrame(UInt32($0 * 2 + 1), "Hold", [1]).encoded }
            let greedy = (0..<2_000).flatMap { requestFrame(UInt32($0 * 2 + 1), "Large", Array("1000".utf8)).encoded }
            let patient = (0..<50).flatMap {
                requestFrame(UInt32($0 * 2 + 1), "LargeLater", Array("1000000".utf8)).encoded
            }
            var kept: [RawClient] = []
            for number in 0..<10_000 {
                let client = try RawClient(server.path + "2")
                if number % 10 != 0 { continue }
                kept.append(client)
                let bytes = [large, flood, greedy, patient][number / 10 % 4]
                _ = try? client.sendNow(bytes)
            }
            var most = residentBytes() - before
            // The others are answered all the while.
            for number in 0..<200 {
                let began = ContinuousClock.now
                try quiet.send(requestFrame(UInt32(number * 2 + 1), "Echo", [1]))
                guard try quiet.answer().status == 0 else { exit(2) }
                guard ContinuousClock.now - began < .seconds(1) else { exit(3) }
                for client in kept { _ = try? client.sendNow([0]) }
                most = max(most, residentBytes() - before)
            }
            guard most < 32 * 1_048_576 + RawClientCost.bytes * kept.count else { exit(4) }
            kept.removeAll()
            guard eventually(seconds: 20, { server.isAtRest(connections: 1) }) else { exit(5) }
            _exit(0)
        }
    }
}

/// What a client of the tests has of its own, in this process.
private enum RawClientCost {
    static let bytes = 1_024
}

private func processorSeconds() -> Double {
    var usage = rusage()
    _ = unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return [usage.ru_utime, usage.ru_stime].reduce(0) { $0 + Double($1.tv_sec) + Double($1.tv_usec) / 1e6 }
}

private func residentBytes() -> Int {
    let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
    let pages = text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
}
