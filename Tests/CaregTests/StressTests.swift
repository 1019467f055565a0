import CCareg
import Foundation
import Glibc
import Synchronization
import Testing
import TrustMap

/// Readers of another process while statuses flip, maps grow and are replaced: nobody who is refused is ever let in.
@Suite(.enabled(if: isLibraryLoadable)) struct StressTests {
    private static let deviceCount = 96
    private static let pathCount = 4

    /// The writer's side: what the registry says, the map that follows, and the ledger that readers compare with.
    @safe private final class Region {
        let place: Place
        var writer: TrustMapWriter
        private let ledger: UnsafeMutablePointer<Atomic<UInt64>>
        private var isDeviceTrusted = [Bool](repeating: true, count: deviceCount)
        private var isPathTrusted = [Bool](repeating: true, count: pathCount)
        private var revision: UInt64 = 1
        private var fillers = 0
        private(set) var flips = 0
        private(set) var growths = 0
        private(set) var replacements = 0

        init() throws {
            place = try Place()
            let path = place.path("ledger")
            let bytes = (deviceCount + 1) * 8
            try Data(count: bytes).write(to: URL(fileURLWithPath: path))
            let file = unsafe open(path, O_RDWR)
            defer { close(file) }
            guard let memory = unsafe mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0),
                unsafe memory != MAP_FAILED
            else { throw TestFailure("mmap: errno \(errno)") }
            unsafe ledger = unsafe memory.assumingMemoryBound(to: Atomic<UInt64>.self)
            writer = try place.makeWriter(deviceSlots: 128)
            fill()
            for device in 0..<deviceCount { mark(device, 2) }
        }

        deinit { unsafe munmap(ledger, (deviceCount + 1) * 8) }

        var ledgerPath: String { place.path("ledger") }

        func end() { unsafe ledger[deviceCount].store(1, ordering: .sequentiallyConsistent) }

        private func path(of device: Int) -> Int { device % pathCount }

        private func isTrusted(_ device: Int) -> Bool { isDeviceTrusted[device] && isPathTrusted[path(of: device)] }

        /// Says that a change of these devices is under way, applies it, and says what is so now.
        private func change(_ devices: [Int], _ body: () -> Void) {
            for device in devices { mark(device, 1) }
            body()
            for device in devices { mark(device, isTrusted(device) ? 2 : 0) }
        }

        private func mark(_ device: Int, _ state: UInt64) {
            let word = unsafe ledger[device].load(ordering: .relaxed)
            unsafe ledger[device].store((word >> 2 + 1) << 2 | state, ordering: .sequentiallyConsistent)
            atomicMemoryFence(ordering: .sequentiallyConsistent)
        }

        private func status(_ isGood: Bool, _ reason: UInt8) -> TrustMapStatus {
            isGood ? .trusted : .refused(reason: reason)
        }

        private func next() -> UInt64 {
            revision += 1
            return revision
        }

        /// All that is known, into a map that is new.
        private func fill() {
            let revision = next()
            writer.update(revision: revision) { update in
                update.addInstance("plant")
                for path in 0..<pathCount {
                    var added = Place.goodPath(UInt64(path + 1))
                    added.status = status(isPathTrusted[path], 8)
                    update.addPath(added)
                    // The first one is there already.
                    update.setPathStatus(added.id, added.status)
                }
                for number in 0..<deviceCount {
                    update.setDevice(
                        device(number, path: UInt64(path(of: number) + 1), status(isDeviceTrusted[number], 17)))
                }
            }
        }

        func flipDevice(_ number: Int) {
            flips += 1
            change([number]) {
                isDeviceTrusted[number].toggle()
                writer.put(
                    device(number, path: UInt64(path(of: number) + 1), status(isDeviceTrusted[number], 17)),
                    revision: next())
            }
        }

        func flipPath(_ path: Int) {
            flips += 1
            change((0..<deviceCount).filter { self.path(of: $0) == path }) {
                isPathTrusted[path].toggle()
                let revision = next()
                writer.update(revision: revision) {
                    _ = $0.setPathStatus(UInt64(path + 1), status(isPathTrusted[path], 8))
                }
            }
        }

        /// Devices that nobody asks about, until the map has to grow.
        func crowd() throws {
            for _ in 0..<64 {
                fillers += 1
                writer.put(device(1_000_000 + fillers), revision: next())
            }
            writer.heartbeat()
            if writer.needsGrowth, try writer.grow() { growths += 1 }
        }

        /// A daemon that starts anew.
        func replace() throws {
            replacements += 1
            writer = try place.makeWriter(deviceSlots: 128)
            fill()
        }
    }

    @Test func nobodyWhoIsRefusedIsLetInWhileTheMapChangesGrowsAndIsReplaced() throws {
        let region = try Region()
        let built = try compile(program("watcher.c"), into: region.place.folder)
        let seconds = Double(ProcessInfo.processInfo.environment["CAREG_STRESS_SECONDS"] ?? "") ?? 3
        let seed =
            UInt64(ProcessInfo.processInfo.environment["CAREG_STRESS_SEED"] ?? "") ?? UInt64.random(in: 0...1 << 40)
        print("seed \(seed): CAREG_STRESS_SEED repeats it, CAREG_STRESS_SECONDS lengthens it")
        var generator = SeededGenerator(seed: seed)

        let process = Process()
        process.executableURL = URL(fileURLWithPath: built)
        process.arguments = [region.place.folder, region.ledgerPath, "\(Self.deviceCount)"]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        #expect(output.fileHandleForReading.availableData == Data("ready\n".utf8))
        let deadline = Date(timeIntervalSinceNow: seconds)
        while Date() < deadline {
            for _ in 0..<200 {
                switch Int.random(in: 0..<1000, using: &generator) {
                case 0: try region.replace()
                case 1..<6: try region.crowd()
                case 6..<400: region.flipPath(Int.random(in: 0..<Self.pathCount, using: &generator))
                default: region.flipDevice(Int.random(in: 0..<Self.deviceCount, using: &generator))
                }
            }
        }
        region.end()
        let report = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        print(
            "\(region.flips) flips, \(region.growths) growths, \(region.replacements) replacements; readers: \(report)")
        #expect(process.terminationStatus == 0, "\(report)")
        #expect(report.contains("violations 0") && report.contains(" other 0 "))
        #expect(!report.hasPrefix("trusted 0 "))
        #expect(region.growths > 0 && region.replacements > 0)
    }
}
