internal import CBaselines
internal import Foundation
internal import RegistryStore

/// Where processes run: on a machine of one processor, everywhere.
enum Processors {
    static var count: Int { ProcessInfo.processInfo.activeProcessorCount }

    /// The last one: what is measured runs on the first.
    static var other: Int32 { count > 1 ? 1 : 0 }

    /// Runs `body` with this thread, and whatever it starts, on one processor; nil: on any.
    static func pinned<Result>(_ processor: Int32?, _ body: () throws -> Result) rethrows -> Result {
        _ = cbaselines_pin(0, processor ?? -1)
        defer { _ = cbaselines_pin(0, -1) }
        return try body()
    }
}

/// A connection that sends ready Request frames: the load of all servers that are compared.
@safe final class LoadConnection {
    let descriptor: Int32
    fileprivate var stream: UInt32 = 1

    init(path: String) throws {
        descriptor = try Self.open(path)
    }

    /// A connected, blocking stream socket, which the caller closes.
    static func open(_ path: String) throws -> Int32 {
        let descriptor = unsafe cbaselines_connect(path)
        guard descriptor >= 0 else { throw BenchFailure("connect: errno \(-descriptor)") }
        return descriptor
    }

    fileprivate init(descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// A Request frame; its stream id is set when it is sent.
    static func request(_ service: String, _ method: String, _ payload: [UInt8]) -> [UInt8] {
        func varint(_ value: Int) -> [UInt8] {
            value < 128 ? [UInt8(value)] : [UInt8(value & 0x7f | 0x80)] + varint(value >> 7)
        }
        func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] { [number << 3 | 2] + varint(bytes.count) + bytes }
        let body = field(1, Array(service.utf8)) + field(2, Array(method.utf8)) + field(3, payload)
        return bigEndianBytes(UInt32(body.count)) + [0, 0, 0, 0, 1, 0] + body
    }

    /// A Request frame with its stream id.
    static func numbered(_ frame: [UInt8], stream: UInt32) -> [UInt8] {
        var frame = frame
        frame.replaceSubrange(4..<8, with: bigEndianBytes(stream))
        return frame
    }

    /// - Returns: bytes of the answer's frame.
    func roundTrip(_ request: [UInt8]) throws -> Int {
        var frame = request
        let bytes = unsafe cbaselines_round_trips(descriptor, &frame, frame.count, 0, 1, &stream, nil)
        guard bytes > 0 else { throw BenchFailure("a round trip: errno \(-bytes)") }
        return bytes
    }

    /// - Returns: microseconds of each round trip.
    func roundTrips(_ request: [UInt8], responseBytes: Int, count: Int) throws -> Rounds {
        var frame = request
        var times = [Int64](repeating: 0, count: count)
        let bytes = unsafe cbaselines_round_trips(
            descriptor, &frame, frame.count, responseBytes, count, &stream, &times)
        guard bytes > 0 else { throw BenchFailure("a round trip: errno \(-bytes)") }
        var rounds = Rounds()
        for time in times { rounds.append(Double(time) / 1_000) }
        return rounds
    }
}

extension LoadConnection {
    /// One call after the other, with a pause in between: a broker has other things to do.
    ///
    /// - Returns: microseconds of each round trip.
    func paced(_ request: [UInt8], count: Int, while goesOn: () -> Bool = { true }) throws -> Rounds {
        var times = Rounds()
        while times.count < count, goesOn() {
            let start = nanoseconds()
            _ = try roundTrip(request)
            times.append((nanoseconds() - start) / 1_000)
            usleep(200)
        }
        return times
    }
}

/// What calls of several rounds waited, in microseconds.
struct Latency {
    private(set) var median = Rounds()
    private(set) var tail = Rounds()

    /// - Parameter times: of the calls of one round.
    mutating func append(_ times: Rounds) {
        median.append(times.median)
        tail.append(times.percentile(0.99))
    }
}

extension LoadConnection {
    /// Rounds of ``paced(_:count:while:)``.
    ///
    /// - Parameter afterEach: called when a round is over.
    func latency(
        _ request: [UInt8], count: Int, rounds: Int, afterEach: () throws -> Void = {}
    ) throws -> Latency {
        var latency = Latency()
        for _ in 0..<max(3, rounds) {
            latency.append(try paced(request, count: count))
            try afterEach()
        }
        return latency
    }
}

/// Frames that are sent in turn.
struct Frames {
    fileprivate var bytes: [UInt8] = []
    fileprivate var lengths: [Int] = []

    mutating func append(_ frame: [UInt8]) {
        bytes += frame
        lengths.append(frame.count)
    }

    init(_ frame: [UInt8]) { append(frame) }
    init() {}
}

/// Keeps calls outstanding on some connections.
///
/// - Parameter spins: never sleeps, so that what it takes to wake this process is not measured; it needs a processor of
///   its own.
/// - Returns: how many answers have at least so many bytes: a refusal is shorter than a yes.
@discardableResult
func pipeline(
    _ connections: [LoadConnection], _ frames: Frames, leastResponseBytes: Int, count: Int, outstanding: Int,
    spins: Bool = Processors.count > 1
) throws -> Int {
    var good = 0
    var stream: UInt32 = connections.map(\.stream).max() ?? 1
    let code = unsafe cbaselines_pipeline(
        connections.map(\.descriptor), connections.count, frames.bytes, frames.lengths, frames.lengths.count,
        leastResponseBytes, count, outstanding, spins ? 1 : 0, &stream, &good)
    for connection in connections { connection.stream = stream }
    guard code == 0 else { throw BenchFailure("a load: errno \(-code)") }
    return good
}

/// A process that answers so many bytes with so many others, and does nothing else.
@safe final class EchoProcess {
    let connection: LoadConnection
    private let process: Int32

    init(requestBytes: Int, responseBytes: Int) throws {
        var descriptor: Int32 = -1
        process = unsafe cbaselines_echo_start(requestBytes, responseBytes, &descriptor)
        guard process > 0 else { throw BenchFailure("no echo process: errno \(-process)") }
        connection = LoadConnection(descriptor: descriptor)
    }

    deinit {
        kill(process, SIGKILL)
        waitpid(process, nil, 0)
    }

    func pin(_ processor: Int32) { _ = cbaselines_pin(process, processor) }
}

/// User and system time of a process, in microseconds.
func cpuMicroseconds(of process: Int32) throws -> Double {
    let time = cbaselines_process_nanoseconds(process)
    guard time >= 0 else { throw BenchFailure("no CPU time of process \(process): errno \(-time)") }
    return Double(time) / 1_000
}
