internal import CaregClient
internal import CaregProto
internal import Foundation
internal import SwiftProtobuf

/// What a daemon takes that starts on a registry of many devices: time until it answers, and memory of its own.
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
        let client = try CaregClient(path: daemon.adminSocket)
        let question = Careg_V1_VerifyRequest.with {
            $0.instanceID = BenchRegistry.instance
            $0.chain = [Data(known)]
        }
        guard try client.verify(question).verdict.trusted else { throw BenchFailure("a known device is not trusted") }
        let served = nanoseconds() - start
        while try !isMapComplete(client) {
            guard nanoseconds() - start < Self.fillSeconds * 1e9 else { throw BenchFailure("the map is not filled") }
            usleep(20_000)
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
        report.note(String(format: "%d devices: the map is whole %.1f s after the start", devices, filled / 1e9))
    }

    private func isMapComplete(_ client: CaregClient) throws -> Bool {
        let maps = try client.getStatus(.init()).status.trustMaps
        return !maps.isEmpty && maps.allSatisfy { $0.complete && $0.entries >= UInt64(devices) }
    }
}
