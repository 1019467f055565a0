internal import COpenSSL
internal import CaregClient
internal import CaregProto
internal import Certificates
internal import Foundation
internal import SwiftProtobuf

/// What a known device waits while new ones come by the ten thousand, are verified and registered.
struct StormBench {
    private static let newDevices = 100_000
    private static let knownCalls = 2_000
    private static let connections = 2
    private static let outstanding = 64
    private let workshop: Workshop
    private let rounds: Int

    init(_ workshop: Workshop, rounds: Int) {
        self.workshop = workshop
        self.rounds = rounds
    }

    func run(into report: inout Report) throws {
        let daemon = try BenchDaemon(folder: workshop.folder)
        defer { daemon.stop() }
        let known = try daemon.knownDevice("known", by: "storm", of: workshop)
        let template = try workshop.device("device", by: known.authority, serial: DeviceFactory.templateSerial)
        let factory = try SignedDevices(template: template, keyFile: known.authority.key, workshop)
        let frame = try BenchDaemon.verifyFrame(known.certificate)
        let connection = try LoadConnection(path: daemon.brokerSocket)
        let responseBytes = try connection.roundTrip(frame)
        _ = try connection.roundTrips(frame, responseBytes: responseBytes, count: Self.knownCalls)

        let rest = try connection.latency(frame, count: Self.knownCalls, rounds: rounds)
        var frames = Frames()
        for number in 0..<Self.newDevices {
            frames.append(try BenchDaemon.verifyFrame(factory.device(UInt64(number) + 1)))
        }
        let storm = Self.storm(of: frames, socket: daemon.brokerSocket)
        let changes = Self.changes(of: known.sn, socket: daemon.adminSocket, until: storm)
        // Times of the whole storm, from its first answer to its last.
        let times = try connection.paced(frame, count: .max, while: { !storm.isThere })
        let seconds = try storm.wait()
        let changeTimes = try changes.wait()
        report.note(
            String(
                format:
                    "a CA's new name in the storm, until it is on disk and answered: p50 %.1f ms, p99 %.1f ms of %d",
                changeTimes.percentile(0.5), changeTimes.percentile(0.99), changeTimes.count))
        try tell(times, rest, seconds, report: &report)
        // What is still to be written is on disk within 100 ms; a Get of the CA waits for no commit.
        let client = try CaregClient(path: daemon.adminSocket)
        let deadline = nanoseconds() + 5e9
        var registered: UInt32 = 0
        while registered < UInt32(Self.newDevices), nanoseconds() < deadline {
            registered = try client.getCaCertificate(.with { $0.sn = known.sn }).caCertificate.deviceCount
        }
        guard registered == UInt32(Self.newDevices) + 1 else {
            throw BenchFailure("\(registered) devices are registered after the storm")
        }
    }

    private func tell(_ times: Rounds, _ rest: Latency, _ seconds: Double, report: inout Report) throws {
        report.note(
            String(
                format: "storm: %d new devices verified and registered in %.1f s, %.0f /s; meanwhile %d known ones",
                Self.newDevices, seconds, Double(Self.newDevices) / seconds, times.count))
        report.add(
            Figure(
                name: "known device in a storm, p50", unit: "us", value: times.percentile(0.5), baselineName: "at rest",
                baseline: rest.median.median, target: .told, spread: rest.median.spread))
        report.add(
            Figure(
                name: "known device in a storm, p99", unit: "us", value: times.percentile(0.99),
                baselineName: "at rest", baseline: rest.tail.median, target: .atMost(3), spread: rest.tail.spread))
    }
    /// New devices on two connections: the seconds that they take.
    private static func storm(of frames: Frames, socket: String) -> Outcome<Double> {
        Outcome {
            let start = nanoseconds()
            let connections = try (0..<Self.connections).map { _ in try LoadConnection(path: socket) }
            let good = try pipeline(
                connections, frames, leastResponseBytes: 120, count: newDevices, outstanding: outstanding,
                spins: false)
            guard good == newDevices else { throw BenchFailure("\(newDevices - good) new devices got no yes") }
            return (nanoseconds() - start) / 1e9
        }
    }

    /// New names of the CA, one every now and then, as operators give them while the storm goes on: milliseconds of each.
    private static func changes(of sn: String, socket: String, until storm: Outcome<Double>) -> Outcome<Rounds> {
        Outcome {
            let client = try CaregClient(path: socket)
            var times = Rounds()
            while !storm.isThere {
                let start = nanoseconds()
                _ = try client.updateCaCertificate(
                    .with {
                        $0.sn = sn
                        $0.name = "change \(times.count)"
                    })
                times.append((nanoseconds() - start) / 1e6)
                usleep(50_000)
            }
            return times
        }
    }
}

/// Device certificates that differ in their serial numbers, each with a signature of its own.
@safe struct SignedDevices {
    private let certificates: NumberedCertificates
    private let template: Certificate
    private let key: SigningKey

    init(template: [UInt8], keyFile: String, _ workshop: Workshop) throws {
        certificates = try NumberedCertificates(template: template)
        self.template = try Certificate(der: template)
        let der = try workshop.run("openssl", ["pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in", keyFile])
        key = try SigningKey(der: Array(der))
    }

    func device(_ number: UInt64) throws -> [UInt8] {
        let tbs = Array(certificates.der(Int(number))[template.toBeSigned])
        let signature = try key.sign(tbs)
        // What stands between TBSCertificate and signature is the same in all: AlgorithmIdentifier.
        let algorithmEnd = template.signature.lowerBound - 3
        let algorithm = template.der[template.toBeSigned.upperBound..<algorithmEnd]
        let body = tbs + algorithm + [0x03, UInt8(signature.count + 1), 0] + signature
        return [0x30, 0x82, UInt8(body.count >> 8), UInt8(body.count & 0xff)] + body
    }
}

/// An ECDSA key.
@safe private final class SigningKey {
    private let key: OpaquePointer
    private let context: OpaquePointer

    init(der: [UInt8]) throws {
        let loaded = unsafe der.withUnsafeBufferPointer { bytes in
            var position = bytes.baseAddress
            return unsafe d2i_AutoPrivateKey(nil, &position, bytes.count)
        }
        guard let loaded = unsafe loaded, let context = unsafe EVP_MD_CTX_new() else { throw BenchFailure("no key") }
        unsafe key = unsafe loaded
        unsafe self.context = unsafe context
    }

    deinit {
        unsafe EVP_MD_CTX_free(context)
        unsafe EVP_PKEY_free(key)
    }

    func sign(_ message: [UInt8]) throws -> [UInt8] {
        var signature = [UInt8](repeating: 0, count: 80)
        var count = signature.count
        let isDone =
            unsafe EVP_DigestSignInit(context, nil, EVP_sha256(), nil, key) == 1
            && EVP_DigestSign(context, &signature, &count, message, message.count) == 1
        guard isDone else { throw BenchFailure("a certificate cannot be signed") }
        return Array(signature.prefix(count))
    }
}
