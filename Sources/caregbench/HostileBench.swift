internal import CaregProto
internal import Foundation
internal import Glibc
internal import SwiftProtobuf
internal import Synchronization

/// What a known device waits, and what memory the daemon takes, while other peers do it ill: they never send, stop within a
/// header or a large frame, never read what they asked for, drip, send noise, and go away in mid-stream.
struct HostileBench {
    private static let calls = 2_000
    /// Of each kind that stays.
    private static let peers = 50
    private static let mostMebibytes = 32.0
    private let workshop: Workshop
    private let rounds: Int

    init(_ workshop: Workshop, rounds: Int) {
        self.workshop = workshop
        self.rounds = rounds
    }

    func run(into report: inout Report) throws {
        // The daemon and the device share a processor, at rest as well; those who do them ill have the other one.
        try Processors.pinned(0) { try measure(into: &report) }
    }

    private func measure(into report: inout Report) throws {
        let daemon = try BenchDaemon(folder: workshop.folder, processor: 0)
        defer { daemon.stop() }
        let known = try daemon.knownDevice("known", by: "hostile", of: workshop)
        let frame = try BenchDaemon.verifyFrame(known.certificate)
        let connection = try LoadConnection(path: daemon.brokerSocket)
        _ = try connection.paced(frame, count: Self.calls)
        let rest = try connection.latency(frame, count: Self.calls, rounds: rounds)
        let before = try daemon.ownMebibytes()
        let peers = try HostilePeers(socket: daemon.brokerSocket, frame: frame, ofEachKind: Self.peers)
        // While they come, what they have sent is answered, or kept, up to the limits.
        let arrival = try connection.paced(frame, count: Self.calls)
        var most = max(before, try daemon.ownMebibytes())
        let disturbed = try connection.latency(frame, count: Self.calls, rounds: rounds) {
            most = max(most, try daemon.ownMebibytes())
        }
        let passers = try peers.stop()
        report.note("\(peers.count) hostile peers stayed, and \(passers) came, sent noise or calls, and went")
        report.add(
            Figure(
                name: "known device while hostile peers come, p99", unit: "us", value: arrival.percentile(0.99),
                baselineName: "at rest", baseline: rest.tail.median, target: .told, spread: 0))
        report.add(
            Figure(
                name: "known device beside hostile peers, p50", unit: "us", value: disturbed.median.median,
                baselineName: "at rest", baseline: rest.median.median, target: .told,
                spread: disturbed.median.spread))
        report.add(
            Figure(
                name: "known device beside hostile peers, p99", unit: "us", value: disturbed.tail.median,
                baselineName: "at rest", baseline: rest.tail.median, target: .atMost(3), spread: disturbed.tail.spread))
        report.add(
            Figure(
                name: "memory for hostile peers", unit: "MiB", value: most - before, baselineName: "32 MiB",
                baseline: Self.mostMebibytes, target: .atMost(1), spread: 0))
    }
}

/// Peers that stay, and a thread that goes on with them, drips on some, and lets others come and go.
private final class HostilePeers: Sendable {
    private static let pauseMicroseconds: UInt32 = 500
    /// In how many turns it comes to each peer.
    private static let turns = 10
    private static let noiseBytes = 512
    private let socket: String
    private let peers: [HostilePeer]
    private let drips: [HostilePeer]
    /// What one that goes away in mid-stream has sent.
    private let calls: [UInt8]
    private let isOver = Atomic<Bool>(false)
    private let passers = Outcome<Int>()

    var count: Int { peers.count + drips.count }

    init(socket: String, frame: [UInt8], ofEachKind number: Int) throws {
        self.socket = socket
        let watch = LoadConnection.request(
            "careg.v1.VerifierService", "Watch", try Careg_V1_WatchRequest().serializedBytes())
        let large = LoadConnection.request(
            "careg.v1.VerifierService", "Verify", [UInt8](repeating: 0, count: 1_000_000))
        let flood = (0..<2_000).flatMap { LoadConnection.numbered(frame, stream: UInt32($0 * 2 + 1)) }
        calls = Array(flood.prefix(20 * frame.count + 7))
        let sent: [[UInt8]] = [[], Array(frame.prefix(5)), Array(large.prefix(900_000)), flood, watch]
        peers = try sent.flatMap { bytes in
            try (0..<number).map { _ in try HostilePeer(socket, bytes) }
        }
        drips = try (0..<number).map { _ in try HostilePeer(socket, large) }
        Thread.detachNewThread { [self] in
            passers.set(.success(Processors.pinned(Processors.other) { disturb() }))
        }
    }

    /// - Returns: how many came and went.
    private func disturb() -> Int {
        var turn = 0
        var passers = 0
        while !isOver.load(ordering: .relaxed) {
            for index in stride(from: turn % Self.turns, to: peers.count, by: Self.turns) {
                peers[index].send(atMost: .max)
            }
            turn += 1
            usleep(Self.pauseMicroseconds)
            guard turn.isMultiple(of: Self.turns) else { continue }
            drips[turn / Self.turns % drips.count].send(atMost: 1)
            let noise = (0..<Self.noiseBytes).map { _ in UInt8.random(in: .min ... .max) }
            if let passer = try? HostilePeer(socket, turn.isMultiple(of: 2 * Self.turns) ? noise : calls) {
                passer.send(atMost: .max)
                passers += 1
            }
        }
        return passers
    }

    /// - Returns: how many came and went.
    func stop() throws -> Int {
        isOver.store(true, ordering: .relaxed)
        return try passers.wait()
    }
}

/// A connection that sends as much as the daemon takes, reads nothing and never waits.
@safe private final class HostilePeer: Sendable {
    private let connection: Int32
    private let bytes: [UInt8]
    private let sent = Atomic<Int>(0)

    init(_ socket: String, _ bytes: [UInt8]) throws {
        connection = try LoadConnection.open(socket)
        self.bytes = bytes
    }

    deinit { close(connection) }

    /// Goes on with its bytes.
    func send(atMost count: Int) {
        let rest = bytes.dropFirst(sent.load(ordering: .relaxed)).prefix(count)
        if rest.isEmpty { return }
        // Safe: reads the slice for the duration of the call.
        let taken = unsafe rest.withUnsafeBytes {
            unsafe Glibc.send(connection, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
        }
        sent.add(max(0, taken), ordering: .relaxed)
    }
}
