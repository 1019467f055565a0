internal import CaregClient
internal import CaregProto
internal import Foundation
internal import Glibc
internal import Signatures
internal import SwiftProtobuf

/// Verify of a known device over the broker's socket, against the same bytes thrown to and fro.
struct RPCBench {
    private static let serialCalls = 4_000
    private static let pipelinedCalls = 40_000
    private let workshop: Workshop
    private let rounds: Int

    init(_ workshop: Workshop, rounds: Int) {
        self.workshop = workshop
        self.rounds = rounds
    }

    func run(into report: inout Report) throws {
        let daemon = try BenchDaemon(folder: workshop.folder)
        defer { daemon.stop() }
        let device = try registerDevice(daemon)
        let payload: [UInt8] = try Careg_V1_VerifyRequest.with {
            $0.instanceID = BenchRegistry.instance
            $0.chain = [Data(device)]
        }.serializedBytes()
        let connection = try RawConnection(path: daemon.brokerSocket)
        let request = RawConnection.request("careg.v1.VerifierService", "Verify", payload)
        let responseBytes = try connection.roundTrip(request)
        let echo = try EchoPair(requestBytes: request.count, responseBytes: responseBytes)
        let hash = nanosecondsPerCall(20_000) { _ in _ = SHA256Digest(hashing: device) } / 1_000

        var (serial, raw, tail, rawTail, cpu, rate) = (Rounds(), Rounds(), Rounds(), Rounds(), Rounds(), Rounds())
        for _ in 0..<rounds {
            let times = try roundTrips(Self.serialCalls) { _ = try connection.roundTrip(request) }
            serial.append(times.percentile(0.5))
            tail.append(times.percentile(0.99))
            let echoes = try roundTrips(Self.serialCalls) { try echo.roundTrip() }
            raw.append(echoes.percentile(0.5) + hash)
            rawTail.append(echoes.percentile(0.99) + hash)
            let before = try daemon.cpuMicroseconds()
            let start = nanoseconds()
            try connection.pipeline(request, responseBytes: responseBytes, count: Self.pipelinedCalls, outstanding: 64)
            rate.append(Double(Self.pipelinedCalls) / (nanoseconds() - start) * 1e9)
            cpu.append((try daemon.cpuMicroseconds() - before) / Double(Self.pipelinedCalls))
        }
        report.add(
            Figure(
                name: "verify round trip, p50", unit: "us", value: serial.median, baselineName: "ping-pong + SHA-256",
                baseline: raw.median, target: .atMost(1.6), spread: serial.spread))
        report.add(
            Figure(
                name: "verify round trip, p99", unit: "us", value: tail.median, baselineName: "ping-pong + SHA-256",
                baseline: rawTail.median, target: .atMost(3), spread: tail.spread))
        report.add(
            Figure(
                name: "server CPU a call, 64 outstanding", unit: "us", value: cpu.median,
                baselineName: "SHA-256 + 1.5 us", baseline: hash + 1.5, target: .atMost(1), spread: cpu.spread))
        report.add(
            Figure(
                name: "calls, 64 outstanding", unit: "/s", value: rate.median, baselineName: "1 / SHA-256",
                baseline: 1e6 / hash, target: .told, spread: rate.spread))
    }

    private func roundTrips(_ count: Int, _ body: () throws -> Void) throws -> Rounds {
        var rounds = Rounds()
        for _ in 0..<count {
            let start = nanoseconds()
            try body()
            rounds.append((nanoseconds() - start) / 1_000)
        }
        return rounds
    }

    private func registerDevice(_ daemon: BenchDaemon) throws -> [UInt8] {
        let client = try CaregClient(path: daemon.adminSocket)
        _ = try client.createInstance(
            .with {
                $0.id = BenchRegistry.instance
                $0.edition = .platinum
            })
        let code = try client.issueRegistrationCode(.with { $0.instanceID = BenchRegistry.instance }).registrationCode
            .code
        let authority = try workshop.authority(.p256, name: "rpc")
        _ = try client.registerCaCertificate(
            .with {
                $0.instanceID = BenchRegistry.instance
                $0.caCertificate = Data(try workshop.bytes(of: authority.certificate))
                $0.verificationCertificate = Data(try workshop.proof(code: code, by: authority))
            })
        let device = try workshop.device("device", by: authority)
        let verdict = try client.verify(
            .with {
                $0.instanceID = BenchRegistry.instance
                $0.chain = [Data(device)]
            }
        ).verdict
        guard verdict.trusted else { throw BenchFailure("the device is not trusted: \(verdict.detail)") }
        return device
    }
}

/// A daemon of its own.
final class BenchDaemon {
    private let process = Process()
    let runtimeFolder: String

    var adminSocket: String { runtimeFolder + "/admin.sock" }
    var brokerSocket: String { runtimeFolder + "/broker.sock" }

    init(folder: String) throws {
        runtimeFolder = folder + "/r"
        process.executableURL = URL(fileURLWithPath: Workshop.program("caregd"))
        process.arguments = ["--state-dir", folder + "/s", "--runtime-dir", runtimeFolder]
        process.standardError = FileHandle.nullDevice
        try process.run()
        let deadline = nanoseconds() + 10e9
        while (try? CaregClient(path: adminSocket)) == nil {
            guard nanoseconds() < deadline, process.isRunning else { throw BenchFailure("caregd does not start") }
            usleep(5_000)
        }
    }

    func stop() {
        process.terminate()
        process.waitUntilExit()
    }

    /// User and system time of the daemon.
    func cpuMicroseconds() throws -> Double {
        let text = try String(contentsOfFile: "/proc/\(process.processIdentifier)/stat", encoding: .utf8)
        let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
        guard fields.count > 13, let user = Double(fields[11]), let system = Double(fields[12]) else {
            throw BenchFailure("no CPU time of the daemon")
        }
        return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK))) * 1e6
    }
}

/// A connection that sends ready frames.
final class RawConnection {
    private let descriptor: Int32
    private var stream: UInt32 = 1
    private var buffer = [UInt8](repeating: 0, count: 1 << 16)

    init(path: String) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8) + [0]
        guard bytes.count <= 108 else { throw BenchFailure("the socket's path is too long") }
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else { throw BenchFailure("connect: errno \(errno)") }
    }

    deinit { close(descriptor) }

    /// A Request frame; its stream id is set when it is sent.
    static func request(_ service: String, _ method: String, _ payload: [UInt8]) -> [UInt8] {
        func varint(_ value: Int) -> [UInt8] {
            value < 128 ? [UInt8(value)] : [UInt8(value & 0x7f | 0x80)] + varint(value >> 7)
        }
        func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] { [number << 3 | 2] + varint(bytes.count) + bytes }
        let body = field(1, Array(service.utf8)) + field(2, Array(method.utf8)) + field(3, payload)
        return bigEndian(UInt32(body.count)) + [0, 0, 0, 0, 1, 0] + body
    }

    private static func bigEndian(_ value: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
    }

    private func stamped(_ request: [UInt8]) -> [UInt8] {
        var frame = request
        for (index, byte) in Self.bigEndian(stream).enumerated() { frame[4 + index] = byte }
        stream &+= 2
        return frame
    }

    private func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = unsafe bytes.withUnsafeBytes {
                unsafe write(descriptor, $0.baseAddress.map { unsafe $0 + sent }, bytes.count - sent)
            }
            guard count > 0 else { throw BenchFailure("write: errno \(errno)") }
            sent += count
        }
    }

    private func receive() throws -> Int {
        let count = unsafe buffer.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, $0.count) }
        guard count > 0 else { throw BenchFailure("read: errno \(errno)") }
        return count
    }

    /// - Returns: bytes of the answer's frame.
    func roundTrip(_ request: [UInt8]) throws -> Int {
        try send(stamped(request))
        var received = try receive()
        while received < 10 { received += try receive() }
        return received
    }

    /// Keeps so many calls outstanding until all are answered.
    func pipeline(_ request: [UInt8], responseBytes: Int, count: Int, outstanding: Int) throws {
        var started = 0
        var received = 0
        while received < count * responseBytes {
            let answered = received / responseBytes
            var batch: [UInt8] = []
            while started < count, started - answered < outstanding {
                batch += stamped(request)
                started += 1
            }
            if !batch.isEmpty { try send(batch) }
            received += try receive()
        }
    }
}

/// Two ends of a socket, one of which answers so many bytes with so many others.
final class EchoPair {
    private let near: Int32
    private let request: [UInt8]
    private let responseBytes: Int
    private var buffer: [UInt8]

    init(requestBytes: Int, responseBytes: Int) throws {
        var ends: [Int32] = [0, 0]
        guard unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0 else {
            throw BenchFailure("socketpair: errno \(errno)")
        }
        near = ends[0]
        let far = ends[1]
        request = [UInt8](repeating: 1, count: requestBytes)
        self.responseBytes = responseBytes
        buffer = [UInt8](repeating: 0, count: 1 << 16)
        Thread.detachNewThread {
            var input = [UInt8](repeating: 0, count: 1 << 16)
            let answer = [UInt8](repeating: 2, count: responseBytes)
            var received = 0
            while true {
                let count = unsafe input.withUnsafeMutableBytes { unsafe read(far, $0.baseAddress, $0.count) }
                if count <= 0 { break }
                received += count
                while received >= requestBytes {
                    received -= requestBytes
                    _ = unsafe answer.withUnsafeBytes { unsafe write(far, $0.baseAddress, $0.count) }
                }
            }
            close(far)
        }
    }

    deinit { close(near) }

    func roundTrip() throws {
        guard unsafe request.withUnsafeBytes({ unsafe write(near, $0.baseAddress, $0.count) }) == request.count else {
            throw BenchFailure("write: errno \(errno)")
        }
        var received = 0
        while received < responseBytes {
            let count = unsafe buffer.withUnsafeMutableBytes { unsafe read(near, $0.baseAddress, $0.count) }
            guard count > 0 else { throw BenchFailure("read: errno \(errno)") }
            received += count
        }
    }
}
