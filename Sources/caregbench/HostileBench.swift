internal import CaregProto
internal import Dispatch
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
        let authority = try workshop.authority(.p256, name: "hostile")
        try daemon.register(authority, of: workshop)
        let known = try workshop.device("known", by: authority)
        try daemon.registerDevice(known)
        let frame = try BenchDaemon.verifyFrame(known)
        let connection = try LoadConnection(path: daemon.brokerSocket)
        _ = try connection.paced(frame, count: Self.calls, while: { true })
        var (rest, restMedian) = (Rounds(), Rounds())
        for _ in 0..<max(3, rounds) {
            let times = try connection.paced(frame, count: Self.calls, while: { true })
            rest.append(times.percentile(0.99))
            restMedian.append(times.percentile(0.5))
        }
        let before = try daemon.ownMebibytes()
        let peers = try HostilePeers(socket: daemon.brokerSocket, frame: frame, ofEachKind: Self.peers)
        // While they come, what they have sent is answered, or kept, up to the limits.
        let arrival = try connection.paced(frame, count: Self.calls, while: { true })
        var most = max(before, try daemon.ownMebibytes())
        var (disturbed, disturbedMedian) = (Rounds(), Rounds())
        for _ in 0..<max(3, rounds) {
            let times = try connection.paced(frame, count: Self.calls, while: { true })
            disturbed.append(times.percentile(0.99))
            disturbedMedian.append(times.percentile(0.5))
            most = max(most, try daemon.ownMebibytes())
        }
        let passers = peers.stop()
        report.note("\(peers.count) hostile peers stayed, and \(passers) came, sent noise or calls, and went")
        report.add(
            Figure(
                name: "known device while hostile peers come, p99", unit: "us", value: arrival.percentile(0.99),
                baselineName: "at rest", baseline: rest.median, target: .told, spread: 0))
        report.add(
            Figure(
                name: "known device beside hostile peers, p50", unit: "us", value: disturbedMedian.median,
                baselineName: "at rest", baseline: restMedian.median, target: .told, spread: disturbedMedian.spread))
        report.add(
            Figure(
                name: "known device beside hostile peers, p99", unit: "us", value: disturbed.median,
                baselineName: "at rest", baseline: rest.median, target: .atMost(3), spread: disturbed.spread))
        report.add(
            Figure(
                name: "memory for hostile peers", unit: "MiB", value: most - before, baselineName: "32 MiB",
                baseline: Self.mostMebibytes, target: .atMost(1), spread: 0))
    }
}

/// Peers that stay, and a thread that drips on some and lets others come and go.
private final class HostilePeers: Sendable {
    private static let pauseMicroseconds: UInt32 = 500
    /// In how many turns it comes to each peer.
    private static let turns = 10
    private static let noiseBytes = 512
    let count: Int
    private let isOver = Atomic<Bool>(false)
    private let passers = Atomic<Int>(0)
    private let isDone = DispatchSemaphore(value: 0)

    init(socket: String, frame: [UInt8], ofEachKind number: Int) throws {
        let watch = LoadConnection.request(
            "careg.v1.VerifierService", "Watch", try Careg_V1_WatchRequest().serializedBytes())
        let large = LoadConnection.request(
            "careg.v1.VerifierService", "Verify", [UInt8](repeating: 0, count: 1_000_000))
        let flood = (0..<2_000).flatMap { HostilePeer.numbered(frame, stream: UInt32($0 * 2 + 1)) }
        let sent: [[UInt8]] = [[], Array(frame.prefix(5)), Array(large.prefix(900_000)), flood, watch]
        let peers = try sent.flatMap { bytes in
            try (0..<number).map { _ in try HostilePeer(socket, bytes) }
        }
        let drips = try (0..<number).map { _ in try HostilePeer(socket, large) }
        count = peers.count + drips.count
        Thread.detachNewThread { [self] in
            Processors.pinned(Processors.other) { disturb() }
            isDone.signal()
        }

        @Sendable func disturb() {
            var turn = 0
            while !isOver.load(ordering: .relaxed) {
                for index in stride(from: turn % Self.turns, to: peers.count, by: Self.turns) {
                    peers[index].send(atMost: .max)
                }
                turn += 1
                usleep(Self.pauseMicroseconds)
                guard turn.isMultiple(of: Self.turns) else { continue }
                drips[turn / Self.turns % drips.count].send(atMost: 1)
                let noise = (0..<Self.noiseBytes).map { _ in UInt8.random(in: .min ... .max) }
                let calls = Array(flood.prefix(20 * frame.count + 7))
                if let passer = try? HostilePeer(socket, turn.isMultiple(of: 2 * Self.turns) ? noise : calls) {
                    passer.send(atMost: .max)
                    passers.add(1, ordering: .relaxed)
                }
            }
        }
    }

    /// - Returns: how many came and went.
    func stop() -> Int {
        isOver.store(true, ordering: .relaxed)
        isDone.wait()
        return passers.load(ordering: .relaxed)
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

    /// A Request frame with its stream id.
    static func numbered(_ frame: [UInt8], stream: UInt32) -> [UInt8] {
        var frame = frame
        for index in 0..<4 { frame[4 + index] = UInt8(truncatingIfNeeded: stream >> (24 - 8 * UInt32(index))) }
        return frame
    }
}
