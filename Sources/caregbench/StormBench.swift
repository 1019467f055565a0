internal import COpenSSL
internal import CaregClient
internal import CaregProto
internal import Certificates
internal import Dispatch
internal import Foundation
internal import SwiftProtobuf
internal import Synchronization

/// What a known device waits while new ones come by the ten thousand, are verified and registered.
struct StormBench {
    private static let newDevices = 100_000
    private static let knownCalls = 2_000
    private let workshop: Workshop
    private let rounds: Int

    init(_ workshop: Workshop, rounds: Int) {
        self.workshop = workshop
        self.rounds = rounds
    }

    func run(into report: inout Report) throws {
        let daemon = try BenchDaemon(folder: workshop.folder)
        defer { daemon.stop() }
        let authority = try workshop.authority(.p256, name: "storm")
        let sn = try daemon.register(authority, of: workshop)
        let known = try workshop.device("known", by: authority)
        try daemon.registerDevice(known)
        let template = try workshop.device("device", by: authority, serial: DeviceFactory.templateSerial)
        let factory = try SignedDevices(template: template, keyFile: authority.key, workshop)
        let frame = try BenchDaemon.verifyFrame(known)
        let connection = try LoadConnection(path: daemon.brokerSocket)
        let responseBytes = try connection.roundTrip(frame)
        _ = try connection.roundTrips(frame, responseBytes: responseBytes, count: Self.knownCalls)

        var (rest, restMedian) = (Rounds(), Rounds())
        for _ in 0..<max(3, rounds) {
            let times = try connection.paced(frame, count: Self.knownCalls, while: { true })
            rest.append(times.percentile(0.99))
            restMedian.append(times.percentile(0.5))
        }
        var frames = Frames()
        for number in 0..<Self.newDevices {
            frames.append(try BenchDaemon.verifyFrame(factory.device(UInt64(number) + 1)))
        }
        let storm = Storm(frames, count: Self.newDevices, socket: daemon.brokerSocket)
        let changes = Changes(of: sn, socket: daemon.adminSocket, while: storm)
        // Times of the whole storm, from its first answer to its last.
        let times = try connection.paced(frame, count: .max, while: { !storm.isOver })
        let seconds = try storm.wait()
        let changeTimes = try changes.wait()
        report.note(
            String(
                format:
                    "a CA's new name in the storm, until it is on disk and answered: p50 %.1f ms, p99 %.1f ms of %d",
                changeTimes.percentile(0.5), changeTimes.percentile(0.99), changeTimes.count))
        try tell(times, rest, restMedian, seconds, report: &report)
        // What is still to be written is on disk within 100 ms; a Get of the CA waits for no commit.
        let client = try CaregClient(path: daemon.adminSocket)
        let deadline = nanoseconds() + 5e9
        var registered: UInt32 = 0
        while registered < UInt32(Self.newDevices), nanoseconds() < deadline {
            registered = try client.getCaCertificate(.with { $0.sn = sn }).caCertificate.deviceCount
        }
        guard registered == UInt32(Self.newDevices) + 1 else {
            throw BenchFailure("\(registered) devices are registered after the storm")
        }
    }

    private func tell(
        _ times: Rounds, _ rest: Rounds, _ restMedian: Rounds, _ seconds: Double, report: inout Report
    ) throws {
        report.note(
            String(
                format: "storm: %d new devices verified and registered in %.1f s, %.0f /s; meanwhile %d known ones",
                Self.newDevices, seconds, Double(Self.newDevices) / seconds, times.count))
        report.add(
            Figure(
                name: "known device in a storm, p50", unit: "us", value: times.percentile(0.5), baselineName: "at rest",
                baseline: restMedian.median, target: .told, spread: restMedian.spread))
        report.add(
            Figure(
                name: "known device in a storm, p99", unit: "us", value: times.percentile(0.99),
                baselineName: "at rest", baseline: rest.median, target: .atMost(3), spread: rest.spread))
    }
}

/// New devices on two connections, from a thread of its own.
private final class Storm: Sendable {
    private static let connections = 2
    private static let outstanding = 64
    private let outcome = Mutex<Result<Double, any Error>?>(nil)
    private let isDone = DispatchSemaphore(value: 0)

    var isOver: Bool { outcome.withLock { $0 != nil } }

    init(_ frames: Frames, count: Int, socket: String) {
        Thread.detachNewThread { [self] in
            let start = nanoseconds()
            let result = Result<Double, any Error> {
                let connections = try (0..<Self.connections).map { _ in try LoadConnection(path: socket) }
                let good = try pipeline(
                    connections, frames, leastResponseBytes: 120, count: count, outstanding: Self.outstanding,
                    spins: false)
                guard good == count else { throw BenchFailure("\(count - good) new devices got no yes") }
                return (nanoseconds() - start) / 1e9
            }
            outcome.withLock { $0 = result }
            isDone.signal()
        }
    }

    func wait() throws -> Double {
        isDone.wait()
        guard let result = outcome.withLock({ $0 }) else { throw BenchFailure("no storm") }
        return try result.get()
    }
}

/// Changes of the CA, one every now and then, as operators make them while the storm goes on.
private final class Changes: Sendable {
    private let outcome = Mutex<Result<Rounds, any Error>?>(nil)
    private let isDone = DispatchSemaphore(value: 0)

    init(of sn: String, socket: String, while storm: Storm) {
        Thread.detachNewThread { [self] in
            let result = Result<Rounds, any Error> {
                let client = try CaregClient(path: socket)
                var times = Rounds()
                while !storm.isOver {
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
            outcome.withLock { $0 = result }
            isDone.signal()
        }
    }

    /// Milliseconds of each.
    func wait() throws -> Rounds {
        isDone.wait()
        guard let result = outcome.withLock({ $0 }) else { throw BenchFailure("no changes") }
        return try result.get()
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
