internal import CaregClient
internal import CaregProto
internal import Foundation
internal import SwiftProtobuf

/// What a daemon takes that starts on a registry of many devices, whose file the kernel has in memory: time until it answers,
/// and memory of its own.
struct StartBench {
    private static let mostMilliseconds = 1_000.0
    private static let mostMebibytes = 30.0
    private static let fillSeconds = 300.0
    /// With the state folder in it.
    let folder: String
    let devices: Int

    /// - Parameter known: the certificate of one of the devices.
    func run(known: [UInt8], into report: inout Report) throws {
        let start = nanoseconds()
        let daemon = try BenchDaemon(folder: folder, createsInstance: false)
        defer { daemon.stop() }
        try daemon.requireTrusted(known)
        let served = nanoseconds() - start
        let client = try CaregClient(path: daemon.adminSocket)
        var isWhole = try isMapComplete(client)
        while !isWhole, nanoseconds() - start < Self.fillSeconds * 1e9 {
            usleep(20_000)
            isWhole = try isMapComplete(client)
        }
        let filled = nanoseconds() - start
        report.add(
            Figure(
                name: "start to the first answer, \(devices) devices", unit: "ms", value: served / 1e6,
                baselineName: "1 s", baseline: Self.mostMilliseconds, target: .atMost(1), spread: 0))
        report.add(
            Figure(
                name: "daemon's own memory, \(devices) devices", unit: "MiB", value: try daemon.ownMebibytes(),
                baselineName: "30 MiB", baseline: Self.mostMebibytes, target: .atMost(1), spread: 0))
        let seconds = String(format: "%.1f", filled / 1e9)
        report.note("\(devices) devices: the map is \(isWhole ? "whole" : "not whole") \(seconds) s after the start")
    }

    private func isMapComplete(_ client: CaregClient) throws -> Bool {
        let maps = try client.getStatus(.init()).status.trustMaps
        return !maps.isEmpty && maps.allSatisfy { $0.complete && $0.entries >= UInt64(devices) }
    }
}
