import CTrustMap
import Foundation
import Glibc
import Synchronization
import Testing

@testable import TrustMap

/// A folder of its own for the maps of one test.
final class MapFolder: Sendable {
    let folder: String

    init() throws {
        var template = Array("/tmp/cm-XXXXXX".utf8CString)
        guard unsafe mkdtemp(&template) != nil else { throw TrustMapReadingFault.system(call: "mkdtemp", code: errno) }
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    var path: String { folder + "/trust.map" }

    func makeWriter(
        deviceSlots: UInt32 = 1 << 8, maximumDevices: UInt32 = 1 << 20, pathSlots: UInt32 = 16
    ) throws -> TrustMapWriter {
        var configuration = TrustMapConfiguration(path: path)
        configuration.deviceSlots = deviceSlots
        configuration.maximumDevices = maximumDevices
        configuration.pathSlots = pathSlots
        let writer = try TrustMapWriter(configuration)
        writer.update(revision: 1) { update in
            update.addInstance("plant")
            update.addPath(somePath(1))
        }
        return writer
    }
}

func somePath(_ id: TrustMapNumber, instance: String = "plant", _ status: TrustMapStatus = .trusted) -> TrustMapPath {
    TrustMapPath(
        id: id, instanceID: instance, anchor: id, anchorSerialNumber: "0\(id % 10)",
        period: TrustMapPeriod(notBefore: 0, notAfter: 2_000), status: status)
}

func fingerprint(_ number: Int) -> MapFingerprint {
    // As spread out as a digest's.
    let mixed = UInt64(number + 1) &* 0x9e37_79b9_7f4a_7c15
    return MapFingerprint(word0: mixed, word1: ~mixed, word2: mixed >> 7, word3: UInt64(number))
}

func someDevice(
    _ number: Int, instance: String = "plant", path: TrustMapNumber = 1, _ status: TrustMapStatus = .trusted
) -> TrustMapDevice {
    TrustMapDevice(
        instanceID: instance, fingerprint: fingerprint(number), path: path,
        period: TrustMapPeriod(notBefore: 100, notAfter: 1_000), status: status)
}

@Suite struct WriterTests {
    private let now: Int64 = 500

    @Test func aDeviceIsFoundWithTheEndOfItsTimeAndTheRevision() throws {
        let place = try MapFolder()
        let writer = try place.makeWriter()
        writer.update(revision: 5) { _ = $0.addDevice(someDevice(1)) }
        let reader = try TrustMapReader(path: place.path)
        let answer = try reader.look(up: fingerprint(1), of: "plant", at: now)
        #expect(answer == TrustMapAnswer(reason: 1, validUntil: 1_001, revision: 5))
        #expect(try reader.look(up: fingerprint(2), of: "plant", at: now).reason == nil)
        #expect(throws: TrustMapReadingFault.instanceUnknown) {
            try reader.look(up: fingerprint(1), of: "other", at: now)
        }
    }

    @Test(arguments: [(99, 16), (100, 1), (1_000, 1), (1_001, 15), (2_000, 15), (2_001, nil)] as [(Int64, UInt8?)])
    func timeDecidesAsVerifyDoes(moment: Int64, reason: UInt8?) throws {
        let place = try MapFolder()
        let writer = try place.makeWriter()
        writer.update(revision: 5) { _ = $0.addDevice(someDevice(1)) }
        let reader = try TrustMapReader(path: place.path)
        #expect(try reader.look(up: fingerprint(1), of: "plant", at: moment).reason == reason)
    }

    @Test func ofSeveralThingsInTheWayTheDaemonTellsWhich() throws {
        let place = try MapFolder()
        let writer = try place.makeWriter()
        writer.update(revision: 5) { _ = $0.addDevice(someDevice(1, .refused(reason: 17))) }
        let reader = try TrustMapReader(path: place.path)
        func reason(at moment: Int64) throws -> UInt8? {
            try reader.look(up: fingerprint(1), of: "plant", at: moment).reason
        }
        #expect(try reason(at: now) == 17)
        #expect(try reason(at: 1_500) == nil, "inactive and expired")
        writer.update(revision: 6) { _ = $0.setPathStatus(1, .refused(reason: 8)) }
        #expect(try reason(at: now) == nil, "inactive, and its CA too")
        writer.update(revision: 7) { _ = $0.setDeviceStatus(fingerprint(1), of: "plant", .trusted) }
        #expect(try reason(at: now) == 8)
        #expect(try reason(at: 1_500) == nil)
        writer.update(revision: 8) { _ = $0.setPathStatus(1, .ask) }
        #expect(try reason(at: now) == nil)
    }

    @Test func whatIsNotInTheMapIsSaidToWhoeverPutsItThere() throws {
        let place = try MapFolder()
        let writer = try place.makeWriter()
        writer.update(revision: 2) { update in
            #expect(update.addInstance("plant") == .present)
            #expect(update.addInstance("no instance") == .unplaced)
            #expect(update.addPath(somePath(1)) == .present)
            #expect(update.addPath(somePath(2, instance: "other")) == .unplaced)
            #expect(update.addDevice(someDevice(1, path: 7)) == .unplaced)
            #expect(update.addDevice(someDevice(1, instance: "other")) == .unplaced)
            #expect(update.addDevice(someDevice(1)) == .added)
            #expect(update.addDevice(someDevice(1, .refused(reason: 17))) == .present)
            let isPathKnown = update.setPathStatus(9, .ask)
            let isDeviceKnown = update.setDeviceStatus(fingerprint(9), of: "plant", .ask)
            #expect(!isPathKnown && !isDeviceKnown)
        }
        let reader = try TrustMapReader(path: place.path)
        #expect(try reader.look(up: fingerprint(1), of: "plant", at: now).reason == 1, "addDevice changes nothing")
        // A path that the map lacks: what it held of the device does not hold any more.
        writer.update(revision: 3) { update in
            #expect(update.setDevice(someDevice(1, path: 7)) == .unplaced)
        }
        #expect(try reader.look(up: fingerprint(1), of: "plant", at: now).reason == nil)
    }

    @Test func aDeviceMayChangeItsPath() throws {
        let place = try MapFolder()
        let writer = try place.makeWriter()
        writer.update(revision: 2) { update in
            _ = update.addPath(somePath(2, .refused(reason: 8)))
            _ = update.addDevice(someDevice(1))
        }
        let reader = try TrustMapReader(path: place.path)
        #expect(try reader.look(up: fingerprint(1), of: "plant", at: now).reason == 1)
        writer.update(revision: 3) { _ = $0.setDevice(someDevice(1, path: 2)) }
        #expect(try reader.look(up: fingerprint(1), of: "plant", at: now).reason == 8)
    }

    @Test func aReasonThatIsNoneAsks() throws {
        let place = try MapFolder()
        let writer = try place.makeWriter()
        for reason: UInt8 in [0, 1, 240, 255] {
            writer.update(revision: 2) { _ = $0.setDevice(someDevice(1, .refused(reason: reason))) }
            let reader = try TrustMapReader(path: place.path)
            #expect(try reader.look(up: fingerprint(1), of: "plant", at: now).reason == nil, "\(reason)")
        }
    }

    // MARK: Files

    @Test func aStartingWriterMarksWhatItFindsAndTakesItsPlace() throws {
        let place = try MapFolder()
        #expect(TrustMapWriter.markSuperseded(path: place.path) == .none)
        let first = try place.makeWriter()
        first.update(revision: 5) { _ = $0.addDevice(someDevice(1)) }
        let reader = try TrustMapReader(path: place.path)
        let second = try place.makeWriter()
        #expect(reader.isSuperseded)
        #expect(throws: TrustMapReadingFault.superseded) {
            try reader.look(up: fingerprint(1), of: "plant", at: now)
        }
        let next = try TrustMapReader(path: place.path)
        #expect(next.generation == reader.generation + 1)
        #expect(try next.look(up: fingerprint(1), of: "plant", at: now).reason == nil)
        #expect(TrustMapWriter.markSuperseded(path: place.path) == .superseded)
        #expect(next.isSuperseded)
        withExtendedLifetime(second) {}
    }

    @Test func whatIsNoMapIsNotTouched() throws {
        let place = try MapFolder()
        for text in ["", "short", "something that is longer than the part that never changes"] {
            try text.write(toFile: place.path, atomically: true, encoding: .utf8)
            #expect(TrustMapWriter.markSuperseded(path: place.path) == .unmarkable(.foreign(path: place.path)))
            #expect(try String(contentsOfFile: place.path, encoding: .utf8) == text)
        }
        // A map of a layout that is not known is marked all the same: its first 16 bytes stay where they are for ever.
        let writer = try place.makeWriter()
        var bytes = try Data(contentsOf: URL(fileURLWithPath: place.path))
        bytes[8] = 99
        try bytes.write(to: URL(fileURLWithPath: place.path))
        #expect(throws: TrustMapReadingFault.otherLayout) { try TrustMapReader(path: place.path) }
        #expect(TrustMapWriter.markSuperseded(path: place.path) == .superseded)
        #expect(try Data(contentsOf: URL(fileURLWithPath: place.path))[12] == 2)
        withExtendedLifetime(writer) {}
    }

    @Test func aSymbolicLinkIsNotFollowed() throws {
        let place = try MapFolder()
        let victim = place.folder + "/victim"
        try "precious".write(toFile: victim, atomically: true, encoding: .utf8)
        try FileManager.default.createSymbolicLink(atPath: place.path, withDestinationPath: victim)
        guard case .unmarkable = TrustMapWriter.markSuperseded(path: place.path) else {
            Issue.record("followed")
            return
        }
        _ = try place.makeWriter()
        #expect(try String(contentsOfFile: victim, encoding: .utf8) == "precious")
    }

    @Test func onlyItsOwnerWritesAndOnlyItsGroupReads() throws {
        let place = try MapFolder()
        let former = umask(0o077)
        defer { umask(former) }
        let writer = try place.makeWriter()
        var status = stat()
        #expect(unsafe stat(place.path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o640)
        #expect(status.st_blocks * 512 >= status.st_size, "allocated before it is used")
        #expect(!FileManager.default.fileExists(atPath: place.path + ".new"))
        withExtendedLifetime(writer) {}
    }

    @Test func aMapThatCannotBeMadeIsAFaultAndLeavesNothingBehind() throws {
        let place = try MapFolder()
        var configuration = TrustMapConfiguration(path: place.folder + "/missing/trust.map")
        #expect(throws: TrustMapFault.self) { try TrustMapWriter(configuration) }
        configuration.path = place.path
        // More than half of what is free.
        configuration.deviceSlots = 1 << 31
        #expect {
            try TrustMapWriter(configuration)
        } throws: { error in
            guard case .notEnoughSpace(let needed, let free)? = error as? TrustMapFault else { return false }
            return needed > 1 << 36 && "\(error)".contains("\(free)")
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: place.folder) == [])
    }

    // MARK: Growth

    @Test func aMapGrowsWhileDevicesComeAndGo() throws {
        let place = try MapFolder()
        let writer = try place.makeWriter(deviceSlots: 64)
        let count = 20_000
        let omitted = Mutex<[Int]>([])
        let isOver = Mutex(false)
        let grower = Thread {
            while !isOver.withLock({ $0 }) {
                if writer.needsGrowth { _ = try? writer.grow() }
            }
        }
        grower.start()
        for number in 0..<count {
            let result = writer.update(revision: UInt64(number)) { $0.setDevice(someDevice(number)) }
            if result == .full { omitted.withLock { $0.append(number) } }
            if number % 3 == 0 {
                writer.update(revision: nil) {
                    _ = $0.setDeviceStatus(fingerprint(number), of: "plant", .refused(reason: 17))
                }
            }
        }
        // What found no room comes once more, as the daemon does it.
        for number in omitted.withLock({ $0 }) {
            let status: TrustMapStatus = number % 3 == 0 ? .refused(reason: 17) : .trusted
            while writer.update(revision: nil, { $0.setDevice(someDevice(number, status)) }) == .full {}
        }
        isOver.withLock { $0 = true }
        let reader = try TrustMapReader(path: place.path)
        for number in 0..<count {
            let expected: UInt8 = number % 3 == 0 ? 17 : 1
            #expect(try reader.look(up: fingerprint(number), of: "plant", at: now).reason == expected, "\(number)")
        }
        #expect(reader.generation > 5)
        #expect(writer.statistics.devices == UInt64(count))
    }

    @Test func aRetiredMapSendsItsReadersAwayAndIsNotReplacedByAGrowth() throws {
        let folder = try MapFolder()
        let writer = try folder.makeWriter(deviceSlots: 64)
        writer.update(revision: 2) { update in
            for number in 0..<50 { update.addDevice(someDevice(number)) }
        }
        #expect(writer.needsGrowth)
        let reader = try TrustMapReader(path: folder.path)
        writer.retire()
        #expect(reader.isSuperseded)
        #expect(!writer.needsGrowth)
        #expect(try !writer.grow())
        writer.heartbeat()
        #expect(try TrustMapReader(path: folder.path).isSuperseded)
        #expect(!FileManager.default.fileExists(atPath: folder.path + ".new"))
        // The next one takes its place.
        let next = try folder.makeWriter()
        #expect(try !TrustMapReader(path: folder.path).isSuperseded)
        withExtendedLifetime(next) {}
    }

    @Test func atItsLimitAMapLeavesDevicesOut() throws {
        let place = try MapFolder()
        let writer = try place.makeWriter(deviceSlots: 64, maximumDevices: 128)
        var added = 0
        for number in 0..<500 {
            if writer.update(revision: nil, { $0.setDevice(someDevice(number)) }) == .added { added += 1 }
            if writer.needsGrowth { _ = try writer.grow() }
        }
        #expect(added == 128)
        #expect(writer.statistics.omitted > 0)
        let reader = try TrustMapReader(path: place.path)
        let reasons = try (0..<500).map { try reader.look(up: fingerprint($0), of: "plant", at: now).reason }
        #expect(reasons.filter { $0 == 1 }.count == added && reasons.allSatisfy { $0 == 1 || $0 == nil })
    }

    @Test func pathsAndInstancesGrowToo() throws {
        let place = try MapFolder()
        let writer = try place.makeWriter(pathSlots: 2)
        for number in 1..<2_000 {
            let id = "instance-\(number)"
            while writer.update(
                revision: nil,
                { update in
                    let instance = update.addInstance(id)
                    let path = update.addPath(somePath(UInt64(number + 10), instance: id))
                    return instance == .full || path == .full
                })
            {
                #expect(writer.needsGrowth)
                #expect(try writer.grow())
            }
            writer.update(revision: nil) {
                _ = $0.setDevice(someDevice(number, instance: id, path: UInt64(number + 10)))
            }
            if writer.needsGrowth { _ = try writer.grow() }
        }
        let reader = try TrustMapReader(path: place.path)
        for number in 1..<2_000 {
            let answer = try reader.look(up: fingerprint(number), of: "instance-\(number)", at: now)
            #expect(answer.reason == 1, "\(number)")
        }
    }

    @Test func aHeartbeatAgesAndIsOfThisBoot() throws {
        let place = try MapFolder()
        let writer = try place.makeWriter()
        let reader = try TrustMapReader(path: place.path)
        writer.heartbeat()
        #expect(reader.isFresh(milliseconds: 60_000))
        #expect(
            bootIdentity(text: Array("0123456789abcdef-0123456789abcdef".utf8)) == (
                0x0123_4567_89ab_cdef, 0x0123_4567_89ab_cdef
            ))
        #expect(bootIdentity(text: Array("0123".utf8)) == (0, 0))
        #expect(bootIdentity() != (0, 0))
    }
}

/// What readers see while it changes, on one mapping, so that a thread sanitizer sees all of it.
@Suite struct SharedWordsTests {
    @Test func nobodySeesHalfAChange() throws {
        let place = try MapFolder()
        let file = try MapFile(
            creating: place.path, capacity: MapCapacity(instances: 4, paths: 4, strings: 64, devices: 1 << 14),
            group: nil, generation: 1, longestStalenessMilliseconds: 1_000)
        let id = try #require(MapInstanceID("plant"))
        let trusted = UInt32(TRUST_MAP_WORD_TRUSTED)
        let instance = try #require(file.insertInstance(id, word: trusted))
        var path = trust_map_path()
        path.not_after = 2_000
        path.word = 8
        file.insertPath(path, at: 0)
        @Sendable func slot(_ number: Int) -> trust_map_device {
            let key = fingerprint(number)
            var device = trust_map_device()
            device.fingerprint = (key.word0, key.word1, key.word2, key.word3)
            device.instance = instance
            device.not_after = 1_000
            device.word = trusted
            return device
        }
        let device = try #require(file.insertDevice(slot(0)))
        let isOver = Atomic(false)
        let seen = Mutex<[UInt32: Int]>([:])
        let flips = ProcessInfo.processInfo.environment["CAREG_FLIPS"].flatMap { Int($0) } ?? 200_000

        let readers = DispatchGroup()
        let running = Atomic(0)
        for thread in 1...3 {
            readers.enter()
            let reader = Thread {
                var counts: [UInt32: Int] = [:]
                let view = file.view
                var number = thread
                running.add(1, ordering: .sequentiallyConsistent)
                while !isOver.load(ordering: .sequentiallyConsistent) {
                    let key = fingerprint(0)
                    let first = MapPlace(slot: view.firstSlot(of: key, instance: instance), isHint: false)
                    let reading = view.read(key, instance: instance, at: first, now: 500)
                    counts[reading.outcome == .decided ? reading.reason : 0, default: 0] += 1
                    if view.isTrusted(slot: device, instance: instance, now: 500) { counts[1, default: 0] += 1 }
                    // One that may just be on its way in.
                    let other = fingerprint(number)
                    let place = MapPlace(slot: view.firstSlot(of: other, instance: instance), isHint: false)
                    let found = view.read(other, instance: instance, at: place, now: 500)
                    if found.outcome == .decided { counts[found.reason == 1 ? 2 : found.reason, default: 0] += 1 }
                    number = number % 8_000 + 1
                }
                seen.withLock { $0.merge(counts, uniquingKeysWith: +) }
                readers.leave()
            }
            reader.start()
        }
        while running.load(ordering: .sequentiallyConsistent) < 3 { sched_yield() }
        // Either its CA is in the way, or the device itself: one ends as the other begins, and there is no moment in
        // between at which it is trusted.
        var number = 1
        for round in 0..<flips {
            file.openEpoch()
            if round % 2 == 0 {
                file.setPathWord(0, trusted)
                file.setDeviceWord(device, 17)
            } else {
                file.setDeviceWord(device, trusted)
                file.setPathWord(0, 8)
            }
            file.setRevision(UInt64(round))
            file.closeEpoch()
            // New devices do not move the epoch.
            if round % 64 == 0, number < 8_000 {
                _ = file.insertDevice(slot(number))
                number += 1
            }
        }
        isOver.store(true, ordering: .sequentiallyConsistent)
        readers.wait()
        let all = seen.withLock { $0 }
        print("\(flips) flips; readers saw \(all)")
        #expect(all[1] == nil, "trusted in the middle of a change")
        #expect(Set(all.keys).isSubset(of: [0, 2, 8, 17]))
        #expect(all[8] != nil || all[17] != nil)
    }
}
