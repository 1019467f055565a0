import Foundation
import Glibc
import Synchronization
import Testing

/// The daemon is killed in the middle of changes while another process reads its trust map: nobody who was refused is
/// ever let in.
@Suite(.enabled(if: hasCompiler)) struct MosquittoCrashTests {
    private static let deviceCount = 4

    /// What is so for sure, for the process that reads the map (Tests/CaregTests/Programs/watcher.c).
    @safe private final class Ledger {
        let path: String
        private let words: UnsafeMutablePointer<Atomic<UInt64>>

        init(_ folder: String) throws {
            path = "\(folder)/ledger"
            try Data(count: (deviceCount + 1) * 8).write(to: URL(fileURLWithPath: path))
            let file = unsafe open(path, O_RDWR | O_CLOEXEC)
            defer { close(file) }
            guard let memory = unsafe mmap(nil, (deviceCount + 1) * 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0),
                unsafe memory != MAP_FAILED
            else { throw TestFailure("mmap: errno \(errno)") }
            unsafe words = unsafe memory.assumingMemoryBound(to: Atomic<UInt64>.self)
            mark(.unsure)
        }

        deinit { unsafe munmap(words, (deviceCount + 1) * 8) }

        enum State: UInt64 {
            case refused, unsure, trusted
        }

        /// Says it of all devices.
        func mark(_ state: State) {
            for index in 0..<deviceCount {
                let word = unsafe words[index].load(ordering: .relaxed)
                unsafe words[index].store((word >> 2 + 1) << 2 | state.rawValue, ordering: .sequentiallyConsistent)
            }
            atomicMemoryFence(ordering: .sequentiallyConsistent)
        }

        func end() { unsafe words[deviceCount].store(1, ordering: .sequentiallyConsistent) }
    }

    private func compileWatcher(into folder: String) throws -> String {
        let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let package = tests.deletingLastPathComponent()
        let target = "\(folder)/watcher"
        let result = try run(
            "cc",
            [
                "-std=gnu11", "-O2", "-I", package.appendingPathComponent("Sources/careg/include").path,
                tests.appendingPathComponent("CaregTests/Programs/watcher.c").path, "-o", target, "-L", programFolder,
                "-Wl,-rpath,\(programFolder)", "-lcareg", "-lpthread",
            ])
        guard result.exit == 0 else { throw TestFailure("\(result)") }
        return target
    }

    @Test func nobodyIsLetInAgainByADaemonThatIsKilledInTheMiddleOfIt() throws {
        let rounds = Int(ProcessInfo.processInfo.environment["CAREG_CRASHES"] ?? "") ?? 12
        let seed =
            UInt64(ProcessInfo.processInfo.environment["CAREG_CRASH_SEED"] ?? "") ?? UInt64.random(in: 0...1 << 40)
        print("seed \(seed): CAREG_CRASH_SEED repeats it, CAREG_CRASHES sets the number of crashes")
        var generator = Splitmix(state: seed)

        let daemon = try Daemon()
        let shop = try CertificateShop()
        try daemon.createInstance("plant")
        let authority = try shop.eccAuthority("CA")
        try daemon.register(authority, with: "plant", from: shop)
        for number in 0..<Self.deviceCount {
            let device = try shop.device("device \(number)", by: authority)
            try shop.der(of: device).write(to: URL(fileURLWithPath: shop.path("\(number).der")))
            #expect(try daemon.verdict("plant", device).trusted == true)
        }
        let ledger = try Ledger(shop.folder)
        ledger.mark(.trusted)
        let ends = try socketPair()
        defer { close(ends[0]) }
        let watcher = try ChildProcess(
            try compileWatcher(into: shop.folder),
            [daemon.runtimeFolder, ledger.path, "\(Self.deviceCount)", shop.folder, "patient"], output: ends[1],
            errors: ends[1])
        close(ends[1])

        var acknowledged = 0
        for _ in 0..<rounds {
            ledger.mark(.unsure)
            if try change(
                "UnregisterCaCertificate", authority, daemon,
                killAfterMilliseconds: Int32.random(in: 0...40, using: &generator))
            {
                // It has said so, and then died: so it is, whoever is asked, and whenever.
                ledger.mark(.refused)
                acknowledged += 1
            }
            try daemon.crash()
            try daemon.start()
            ledger.mark(.unsure)
            try daemon.json("ca", "unregister", authority.serialNumber)
            ledger.mark(.refused)
            // The map of a daemon that has just started is filled while it is read.
            #expect(try daemon.verdict("plant", [shop.path("0.der")]).reason == "CA_INACTIVE")
            ledger.mark(.unsure)
            try daemon.json("ca", "activate", authority.serialNumber)
            ledger.mark(.trusted)
            #expect(try daemon.verdict("plant", [shop.path("0.der")]).trusted == true)
        }
        ledger.end()
        let status = try watcher.wait(seconds: 30)
        var buffer = [UInt8](repeating: 0, count: 65536)
        let count = unsafe read(ends[0], &buffer, buffer.count)
        let report = String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
        transcript("\(rounds) crashes, \(acknowledged) of them after the answer; a reader of the map saw: \(report)")
        #expect(status == 0 && report.contains("violations 0"), "\(report)")
        #expect(!report.contains("trusted 0 ") && !report.contains("refused 0 "), "\(report)")
    }

    /// Sends a change, and kills the daemon after a moment, or after its answer.
    ///
    /// - Returns: whether it was acknowledged before.
    private func change(
        _ method: String, _ authority: Authority, _ daemon: Daemon, killAfterMilliseconds: Int32
    ) throws -> Bool {
        let client = try WireClient(path: daemon.adminSocket)
        let request = ProtobufMessage.Builder().text(1, authority.serialNumber)
        try client.sendRequest(WireClient.registry, method, request)
        guard client.hasInput(milliseconds: killAfterMilliseconds), let frame = try client.receive() else {
            return false
        }
        return try WireResponse(frame).code == 0
    }
}

private struct Splitmix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
