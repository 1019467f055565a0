import Certificates
import Foundation
import Glibc
import Registry
import RegistryStore
import Signatures
import TestPKI
import Testing
import Verification

/// What a flipped bit does: `check` finds it, and no reader takes it for something else.
@Suite(.serialized) struct DamageTests {
    /// A registry that holds a row of every kind, and what is known about it.
    fileprivate final class Estate {
        let bench: Bench
        let cas: [Entity]
        let devices: [(name: String, chain: [Entity], reason: VerdictReason)]
        let instances: [String]
        private(set) var codes: [(text: String, instance: InstanceNumber)] = []

        init() throws {
            bench = try Bench(seed: 7)
            instances = ["plant", "other"] + (0..<120).map { "instance-\($0)" }
            for id in instances { try bench.createInstance(id) }
            let root = authority(1, serial: [1])
            let renewal = authority(1, serial: [2])
            let inactive = authority(2, serial: [3])
            let line = root.authority("Line", key: .p256(11)) { $0.serial = [4] }
            let large = authority(3, serial: [5]) { recipe in
                recipe.set(
                    TestExtension(
                        OID.unknownExtension, critical: false, DER.octetString([UInt8](repeating: 1, count: 5_000))))
            }
            cas = [root, renewal, inactive, large]
            try bench.register(root, with: "plant")
            try bench.register(inactive, with: "plant")
            try bench.register(large, with: "other", .explicit)
            // Registered itself, and Inactive: it bars the paths through it.
            let barred = root.authority("Barred", key: .p256(12)) { $0.serial = [6] }
            try bench.register(barred, with: "plant")
            try bench.unregister(barred)
            let active = root.device("active", key: .p256(901))
            let stopped = root.device("stopped", key: .p256(902))
            let deleted = root.device("deleted", key: .p256(903)) { $0.serial = [9] }
            let pending = root.device("pending", key: .p256(904))
            let behind = line.device("behind", key: .p256(905))
            let ofInactive = inactive.device("of inactive", key: .p256(906))
            for device in [active, stopped, deleted] { try bench.registerDevice(device, with: "plant") }
            try bench.registerDevice(behind, line, with: "plant")
            try bench.registerDevice(ofInactive, with: "plant")
            try bench.deactivateDevice(stopped, under: root)
            try bench.deleteDevice(deleted, under: root)
            try bench.update(root, name: "Root", .pending)
            _ = try bench.verify(pending, with: "plant")
            try bench.register(renewal, with: "plant", .explicit)
            try bench.unregister(inactive)
            for number in 0..<60 {
                try bench.registerDevice(large.device("d", key: .p256(2_000 + number)), with: "other")
            }
            for id in ["plant", "other"] {
                codes.append((try bench.issueCode(id).text, try bench.registry.instance(id).record.number))
            }
            let reissued = root.device("reissued", key: .p256(907)) { $0.serial = [9] }
            devices = [
                ("active", [active], .trusted), ("stopped", [stopped], .deviceInactive),
                ("deleted", [deleted], .deviceDeleted), ("pending", [pending], .devicePending),
                ("behind", [behind, line], .trusted), ("behind alone", [behind], .trusted),
                ("of inactive", [ofInactive], .caInactive),
                ("new of inactive", [inactive.device("new", key: .p256(908))], .caInactive),
                ("reissued", [reissued], .deviceSerialReused),
                ("barred", [barred.device("barred", key: .p256(912)), barred], .caInactive),
                ("fresh", [root.device("fresh", key: .p256(909))], .devicePending),
                ("elsewhere", [large.device("elsewhere", key: .p256(910))], .caOfAnotherInstance),
                ("stranger", [authority(8).device("stranger", key: .p256(911))], .caUnknown),
            ]
        }

        /// Every question about every record, each with its answer; nil where the answer is a fault.
        func answers(_ registry: Registry) -> [(question: String, answer: String?)] {
            var answers: [(question: String, answer: String?)] = []
            func ask(_ question: String, _ body: () throws -> [any CustomStringConvertible]) {
                do {
                    answers.append((question, try body().map(\.description).joined(separator: " ")))
                } catch let refusal as Refusal {
                    answers.append((question, "refused: \(refusal.reason)"))
                } catch is StoreFault {
                    answers.append((question, nil))
                } catch {
                    answers.append((question, "error: \(error)"))
                }
            }
            for id in instances {
                ask("instance \(id)") {
                    let view = try registry.instance(id)
                    return [view.record.number.number, view.tally.cas, view.tally.devices]
                }
            }
            ask("instances") { try registry.instances(after: nil, pageSize: 1_000).rows.map(\.record.id) }
            ask("no instance") { [try registry.instance("none").record.id] }
            for id in ["plant", "other"] {
                ask("codes of \(id)") { try registry.codes(of: id, after: nil, pageSize: 10).rows.map(\.text) }
                ask("anchors of \(id)") {
                    try registry.trustAnchors(of: id, after: nil, pageSize: 10, pageBytes: .max).rows
                        .map(\.record.serialNumber.text)
                }
                var filter = CaFilter()
                filter.instanceID = id
                ask("CAs of \(id)") {
                    try registry.cas(filter, after: nil, pageSize: 100).rows.map(\.record.serialNumber.text)
                }
            }
            ask("CAs") {
                try registry.cas(CaFilter(), after: nil, pageSize: 100).rows.map(\.record.serialNumber.text)
            }
            for ca in cas {
                let sn = ca.serialNumber.text
                ask("CA \(sn)") {
                    let (view, vouching) = try registry.ca(ca.serialNumber, signatures: SignatureVerifier())
                    return [view.record.id.number, view.deviceCount] + vouching.map(\.text)
                }
                ask("CA \(sn) by fingerprint") {
                    [try registry.read { try $0.ca(fingerprint: ca.fingerprint)?.id.number } ?? 0]
                }
                ask("devices of \(sn)") {
                    try registry.devices(of: ca.serialNumber, DeviceFilter(), after: nil, pageSize: 1_000).rows
                        .map(\.record.id.number)
                }
            }
            for device in devices {
                let name = device.name
                ask("verdict on \(name)") {
                    let answer = Answer<Verdict>()
                    registry.verify(
                        VerifyQuestion(
                            instanceID: "plant", chain: device.chain.map(\.der), isDryRun: true, at: nil,
                            hearsOf: nil),
                        tools: VerificationTools(), caller: Bench.caller
                    ) { answer.set($0) }
                    let verdict = try answer.get()
                    return [
                        "\(verdict.reason)", verdict.ca?.text ?? "-",
                        verdict.validUntil?.secondsSince1970.description ?? "-",
                    ]
                }
                ask("record of \(name)") {
                    let selector = DeviceSelector(
                        ca: cas[0].serialNumber, serialNumber: device.chain[0].serialNumber, fingerprint: nil)
                    return [try registry.read { try $0.requireDevice(selector).device.id.number }]
                }
            }
            for since in stride(from: UInt64(0), to: 230, by: 10) {
                ask("changes after \(since)") {
                    try registry.changes(after: Revision(since), limit: 12).entries.map(\.revision.number)
                }
            }
            for code in codes {
                ask("code of \(code.instance.number)") {
                    let hash = RegistrationCode.hash(code.text)
                    return [try registry.read { try $0.code(hash, of: code.instance)?.prefix ?? "none" }]
                }
            }
            ask("figures") {
                let figures = try registry.figures()
                return [figures.revision.number, figures.instances, figures.tally.cas, figures.tally.deviceRecords]
            }
            return answers
        }
    }

    /// One bit of a data file.
    fileprivate struct Flip: Sendable, Codable, CustomStringConvertible {
        var what: String
        var offset: Int
        var mask: UInt8

        init(_ what: String, in range: Range<Int>, _ generator: inout SeededGenerator) {
            offset = range.lowerBound + generator.below(range.count)
            mask = 1 << UInt8(generator.below(8))
            self.what = what
        }

        var description: String { "\(what), mask \(mask), at \(offset)" }
    }

    /// How many bits of each part of each table are tried.
    fileprivate static let samples =
        ProcessInfo.processInfo.environment["CAREG_DAMAGE_SAMPLES"].flatMap { Int($0) } ?? 1

    fileprivate func generator(_ what: String) -> SeededGenerator {
        let seed = TestSeed.start(otherwise: 20_251_124)
        print("\(what): CAREG_TEST_SEED=\(seed) CAREG_DAMAGE_SAMPLES=\(Self.samples)")
        return SeededGenerator(seed: seed)
    }

    // MARK: Keys and values

    @Test func aFlippedBitInARecordOrKeyIsFoundByCheckAndTakenForNothingElseByReaders() throws {
        let estate = try Estate()
        let path = estate.bench.folder + "/flipped.mdb"
        try FileManager.default.copyItem(atPath: estate.bench.dataFile, toPath: path)
        let bytes = try #require(try Files.read(path, limit: 1 << 30))
        let pages = DataFilePages(bytes)
        try #require(pages.longValueCount > 0 && pages.spans.contains { $0.part == .separator })
        try #require(Set(pages.spans.map(\.table)).count == 19, "every table has rows")

        let store = try Store(path: path, creating: nil, isReadOnly: true)
        let clock = estate.bench.clock
        let registry = try Registry(
            store: store, limits: estate.bench.limits, clock: { clock.now }, randomBytes: { _ in [] },
            onFatal: { _ in })
        try #require(try store.check().isSound)
        let good = estate.answers(registry)
        for (question, answer) in good { try #require(answer != nil, "\(question)") }
        for device in estate.devices {
            let question = "verdict on \(device.name)"
            #expect(good.contains { $0.question == question && $0.answer?.hasPrefix("\(device.reason)") == true })
        }

        let file = unsafe open(path, O_RDWR | O_CLOEXEC)
        try #require(file >= 0)
        defer { close(file) }
        // The file's pages are what the store has mapped: what is written is what it reads.
        func put(_ byte: UInt8, at offset: Int) throws {
            var byte = byte
            try #require(unsafe pwrite(file, &byte, 1, off_t(offset)) == 1)
        }
        var generator = generator("keys and values")
        var unfound: [String] = []
        var mistaken: [String: String] = [:]
        for (group, spans) in Dictionary(grouping: pages.spans, by: { "\($0.part) of \($0.table)" }).sorted(
            by: { $0.key < $1.key })
        {
            for _ in 0..<Self.samples {
                let flip = Flip(group, in: generator.pick(spans).range, &generator)
                try put(bytes[flip.offset] ^ flip.mask, at: flip.offset)
                let isFound = (try? store.check().isSound) != true
                var isHarmless = true
                for (before, after) in zip(good, estate.answers(registry)) where after.answer != before.answer {
                    isHarmless = false
                    guard let answer = after.answer else { continue }
                    mistaken["\(group): \(after.question.prefix { !$0.isNumber })"] =
                        "\(flip): \(before.answer?.prefix(60) ?? "") became \(answer.prefix(60))"
                }
                // A separator may be another one that leads to the same pages.
                if !isFound, !isHarmless || !group.hasPrefix("separator") { unfound.append("\(flip)") }
                try put(bytes[flip.offset], at: flip.offset)
            }
        }
        #expect(try store.check().isSound)
        #expect(unfound.isEmpty, "not found by check:\n\(unfound.joined(separator: "\n"))")
        let lines = mistaken.sorted { $0.key < $1.key }.map { "\($0.key) | \($0.value)" }
        #expect(mistaken.isEmpty, "taken for something else:\n\(lines.joined(separator: "\n"))")
    }
}

/// What the pages are made of: LMDB may die of it, so each walk is a child's.
extension DamageTests {
    /// How a child's walk of one damaged file ended, as its exit status says.
    private enum Walk: Int32 {
        case refusedOrUnsound = 11
        case soundAndTheSame = 12
        case soundAndOther = 13
    }

    @Test func aFlippedBitInAPagesStructureIsFoundUnlessItChangesNothing() async throws {
        let estate = try Estate()
        let path = estate.bench.dataFile
        let bytes = try #require(try Files.read(path, limit: 1 << 30))
        var generator = generator("structure")
        let ranges = DataFilePages(bytes).structure
        let contents = try Self.contents(of: estate.bench.store)
        var overlooked: [String] = []
        var outcomes: [String: Int] = [:]
        for _ in 0..<max(10, 10 * Self.samples) {
            let flip = Flip("structure", in: generator.pick(ranges), &generator)
            let damaged = estate.bench.folder + "/structure.mdb"
            var copy = bytes
            copy[flip.offset] ^= flip.mask
            try Data(copy).write(to: URL(fileURLWithPath: damaged))
            let result = await #expect(processExitsWith: .failure) {
                [damaged = damaged as String, contents = contents as String] in
                // A walk in circles ends, too.
                alarm(20)
                do {
                    let store = try Store(path: damaged, creating: nil, isReadOnly: true)
                    guard try store.check().isSound else { exit(Walk.refusedOrUnsound.rawValue) }
                    let same = try DamageTests.contents(of: store) == contents
                    exit(same ? Walk.soundAndTheSame.rawValue : Walk.soundAndOther.rawValue)
                } catch {
                    exit(Walk.refusedOrUnsound.rawValue)
                }
            }
            switch result?.exitStatus {
            case .exitCode(Walk.soundAndOther.rawValue): overlooked.append("\(flip): sound, and other contents")
            case .signal(SIGALRM): overlooked.append("\(flip): the walk does not end")
            case .none: overlooked.append("\(flip): no outcome")
            default: break
            }
            outcomes[result.map { "\($0.exitStatus)" } ?? "none", default: 0] += 1
        }
        print("structure: \(outcomes.sorted { $0.key < $1.key })")
        #expect(overlooked.isEmpty, "\(overlooked.joined(separator: "\n"))")
    }

    /// A digest of every row that the tables tell of.
    fileprivate static func contents(of store: Store) throws -> String {
        var text = ""
        try store.read { snapshot in
            text += "\(try snapshot.identity()) \(try snapshot.regionTally())\n"
            try snapshot.instances(after: nil) { record in
                text += "\(record) \(try snapshot.tally(of: record.number))\n"
                try snapshot.codes(of: record.number) { code in
                    text += "\(code)\n"
                    return true
                }
                return try snapshot.instance(record.id) != nil
            }
            try snapshot.cas(of: nil, after: nil) { record in
                text += "\(record) \(try snapshot.tally(of: record.id))\n"
                try snapshot.deviceList(of: record.id) { id, status in
                    text += "\(id) \(status)\n"
                    return true
                }
                return true
            }
            try snapshot.devices(from: DeviceID(0)) { record in
                text += "\(record) \(try snapshot.path(record.path))\n"
                return true
            }
            try snapshot.changes(after: Revision(0)) { entry in
                text += "\(entry)\n"
                return true
            }
        }
        return SHA256Digest(hashing: Array(text.utf8)).hex
    }
}
