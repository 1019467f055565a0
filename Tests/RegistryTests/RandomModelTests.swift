import Certificates
import Foundation
import Registry
import RegistryStore
import Signatures
import TestPKI
import Testing
import Verification

/// Random commands, one by one and many in one commit, through restarts: the registry against a plain model.
@Suite struct RandomModelTests {
    private static let steps = ProcessInfo.processInfo.environment["CAREG_MODEL_STEPS"].flatMap { Int($0) } ?? 500

    @Test func theRegistryDoesWhatAPlainModelDoesThroughRestarts() throws {
        let seed = TestSeed.start(otherwise: 20_251_125)
        print("model: CAREG_TEST_SEED=\(seed) CAREG_MODEL_STEPS=\(Self.steps)")
        var play = try ModelPlay(seed: seed)
        for step in 0..<Self.steps {
            do {
                try play.step()
            } catch {
                Issue.record("seed \(seed), step \(step): \(error)")
                return
            }
        }
        try play.finish()
        print(
            "model: \(play.counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", "))")
    }
}

/// What differs between the registry and the model.
struct ModelMismatch: Error, CustomStringConvertible {
    let description: String
}

/// One run of the random test.
struct ModelPlay {
    private let cast = ModelCast()
    private let bench: Bench
    private var generator: SeededGenerator
    /// What the model may be: more than one where the rules leave something open, until it shows.
    private var worlds: [Model]
    private var knownCodes: [String] = ["none"]
    private(set) var counts: [String: Int] = [:]
    private let ids = ["alpha", "beta", "gamma", "delta", "epsilon"]

    init(seed: UInt64) throws {
        generator = SeededGenerator(seed: seed)
        var limits = RegistryLimits()
        limits.instances = 4
        limits.caCertificatesPerInstance = 6
        limits.caCertificates = 11
        limits.openCodesPerInstance = 4
        bench = try Bench(limits: limits, seed: seed)
        worlds = [Model(cast: cast, limits: limits)]
    }

    private var model: Model { worlds[0] }

    mutating func step() throws {
        switch generator.below(10) {
        case 0: bench.clock.advance(milliseconds: Int64(generator.below(3_600_000)))
        case 1 where generator.oneIn(10): bench.clock.advance(seconds: 86_400)
        default: bench.clock.advance(milliseconds: Int64(generator.below(50)))
        }
        for index in worlds.indices { worlds[index].now = bench.clock.now }
        if generator.oneIn(8) {
            try runTogether((0..<(2 + generator.below(9))).map { _ in pickCommand() })
        } else {
            try runTogether([pickCommand()])
        }
        if worlds.count > 1 || generator.oneIn(12) { try compare() }
        if generator.oneIn(60) { try restart() }
    }

    mutating func finish() throws {
        try compare()
        try restart()
        try compareVerdicts()
    }

    private mutating func restart() throws {
        counts["restarts", default: 0] += 1
        try bench.crashAndReopen()
        try bench.expectSound()
        try compare()
        try compareVerdicts()
    }

    // MARK: Commands

    private mutating func pickCommand() -> ModelCommand {
        // Mostly what may succeed; now and then anything.
        let mayRegister = model.instances.filter { $0.value.edition.mayRegister }.keys.sorted()
        let instance = mayRegister.isEmpty || generator.oneIn(5) ? generator.pick(ids) : generator.pick(mayRegister)
        let registered = model.cas.keys.sorted { $0.text < $1.text }
        let sn =
            registered.isEmpty || generator.oneIn(10)
            ? generator.pick(cast.authorities).sn : generator.pick(registered)
        let mode = generator.pick([DeviceRegistration.automatic, .automatic, .pending, .explicit])
        switch generator.below(100) {
        case 0..<3:
            return .createInstance(
                generator.oneIn(20) ? "a b" : generator.pick(ids), generator.pick(Edition.allCases + [.platinum]))
        case 3..<5: return .updateInstance(generator.pick(ids), generator.pick(Edition.allCases + [.platinum]))
        case 5: return .deleteInstance(generator.pick(ids))
        case 6..<18:
            return .issueCode(instance, seconds: generator.oneIn(4) ? Int64(1 + generator.below(7_200)) : nil)
        case 18..<20:
            let code = generator.pick(knownCodes)
            return .revokeCode(instance, prefix: generator.oneIn(2) ? code : String(code.prefix(generator.below(9))))
        case 20..<34: return pickRegistration(instance, mode)
        case 34..<39:
            return .updateCa(
                sn, name: generator.oneIn(2) ? generator.pick(["", "x", "y"]) : nil, generator.oneIn(2) ? mode : nil)
        case 39..<44: return .activateCa(sn)
        case 44..<47: return .unregisterCa(sn)
        case 47..<49: return .deleteCa(sn)
        case 49..<57:
            let (device, pool, home) = pickDevice(near: sn, otherwise: instance)
            return .registerDevice(device: device, pool: pool, instance: home)
        case 57..<75: return pickDeviceChange(sn)
        default:
            let (device, pool, home) = pickDevice(near: sn, otherwise: instance)
            return .verify(device: device, pool: pool, instance: home, isDryRun: generator.oneIn(5))
        }
    }

    private mutating func pickRegistration(_ instance: String, _ mode: DeviceRegistration) -> ModelCommand {
        let free = cast.authorities.indices.filter { index in
            !model.cas.values.contains {
                $0.authority == index
                    || $0.instance != instance && model.authority($0).keyName == cast.authorities[index].keyName
            }
        }
        let authority =
            free.isEmpty || generator.oneIn(4) ? generator.below(cast.authorities.count) : generator.pick(free)
        let open = model.openCodes(instance).map(\.text)
        let code = open.isEmpty || generator.oneIn(6) ? generator.pick(knownCodes) : generator.pick(open)
        return .registerCa(
            authority: authority, instance: instance, code: code, isOwnProof: !generator.oneIn(12),
            name: generator.pick(["", "line", "Straße"]), mode)
    }

    /// A device that a CA record vouches for, itself or through intermediates.
    private mutating func pickDevice(
        near sn: SerialNumber, otherwise instance: String
    ) -> (device: Int, pool: Set<Int>, instance: String) {
        let key = model.cas[sn].map { model.authority($0).keyName }
        let near = cast.devices.indices.filter { index in
            let device = cast.devices[index]
            return device.signerName == key
                || device.intermediates.contains { cast.authorities[$0].signerName == key }
        }
        let device =
            near.isEmpty || generator.oneIn(8) ? generator.below(cast.devices.count) : generator.pick(near)
        let pool: Set<Int> =
            switch generator.below(8) {
            case 0: []
            case 1: Set(generator.pick(cast.devices).intermediates)
            default: Set(cast.devices[device].intermediates)
            }
        return (device, pool, generator.oneIn(8) ? instance : model.cas[sn]?.instance ?? instance)
    }

    private mutating func pickDeviceChange(_ sn: SerialNumber) -> ModelCommand {
        let known = model.devices.values.sorted { ($0.revision, $0.ca.text) < ($1.revision, $1.ca.text) }
        let record = known.isEmpty || generator.oneIn(8) ? nil : generator.pick(known)
        let meant = record.map { cast.devices[$0.device] } ?? generator.pick(cast.devices)
        return .changeDevice(
            generator.pick([.active, .active, .inactive, .inactive, .deleted]),
            ca: generator.oneIn(8) ? sn : record?.ca ?? sn, serial: meant.serial,
            fingerprint: generator.oneIn(3) ? meant.entity.fingerprint : nil)
    }

    /// Runs commands in one commit, and keeps the worlds in which they may be answered so.
    private mutating func runTogether(_ commands: [ModelCommand]) throws {
        let answers = commands.map { _ in ModelAnswer() }
        bench.inOneCommit { registry in
            for (command, answer) in zip(commands, answers) { submit(command, to: registry, answer) }
        }
        let texts = try answers.map { try $0.text() }
        for (command, answer) in zip(commands, answers) {
            if let code = answer.learned { knownCodes.append(code) }
            let name = String("\(command)".prefix { $0 != "(" })
            let isRefused = try answer.text().hasPrefix("refused")
            counts["\(name)\(isRefused ? "-refused" : "")", default: 0] += 1
        }
        if knownCodes.count > 40 { knownCodes.removeFirst(knownCodes.count - 40) }
        let before = worlds
        worlds = before.flatMap { follow($0, commands, texts, answers.map(\.learned), attempts: 4) }
        if worlds.isEmpty {
            let story = zip(commands, texts).map { "  \(short($0)) → \($1)" }.joined(separator: "\n")
            let expected = zip(commands, answers).flatMap { command, answer in
                command.courses(before[0], learned: answer.learned).flatMap { course -> [String] in
                    switch course {
                    case .answered(let outcomes): outcomes.map(\.answer)
                    case .submitted(let decide):
                        if case .done(let outcomes) = decide(before[0]) { outcomes.map(\.answer) } else { ["again"] }
                    }
                }
            }
            throw ModelMismatch(
                description:
                    "the model does not follow\n\(story)\nfrom revision \(before[0].revision); one by one it says\n  "
                    + expected.prefix(12).joined(separator: "\n  "))
        }
    }

    private func short(_ command: ModelCommand) -> String {
        switch command {
        case .verify(let device, let pool, let instance, let isDryRun):
            "verify device \(device) (serial \(cast.devices[device].serial.text), by \(cast.devices[device].signerName)) "
                + "pool \(pool.sorted()) in \(instance)\(isDryRun ? " dry" : "")"
        case .registerDevice(let device, let pool, let instance):
            "registerDevice \(device) (serial \(cast.devices[device].serial.text), by \(cast.devices[device].signerName)) "
                + "pool \(pool.sorted()) in \(instance)"
        case .deleteCa(let sn), .activateCa(let sn), .unregisterCa(let sn):
            "\("\(command)".prefix { $0 != "(" }) \(sn.text)"
        default: "\("\(command)".prefix(300))"
        }
    }

    /// The worlds after commands that were handed in together, in which they are answered so.
    private func follow(
        _ start: Model, _ commands: [ModelCommand], _ answers: [String], _ learned: [String?], attempts: Int
    ) -> [Model] {
        var states: [(model: Model, again: [Int])] = [(start, [])]
        for (index, command) in commands.enumerated() {
            // Judged on what was there when it was handed in.
            let courses = command.courses(start, learned: learned[index])
            states = states.flatMap { model, again in
                courses.flatMap { course -> [(model: Model, again: [Int])] in
                    switch course {
                    case .answered(let outcomes):
                        return outcomes.contains { $0.answer == answers[index] } ? [(model, again)] : []
                    case .submitted(let decide):
                        switch decide(model) {
                        case .again: return [(model, again + [index])]
                        case .done(let outcomes):
                            return outcomes.filter { $0.answer == answers[index] }.map { ($0.after, again) }
                        }
                    }
                }
            }
        }
        return states.flatMap { model, again -> [Model] in
            // A verdict is judged once more on what was committed, and registers nothing then.
            for index in again {
                guard case .verify(let device, let pool, let instance, _) = commands[index] else { continue }
                if !model.verdicts(device, pool, instance).contains(where: { $0.answer == answers[index] }) {
                    return []
                }
            }
            let registrations = again.filter { if case .registerDevice = commands[$0] { true } else { false } }
            if registrations.isEmpty { return [model] }
            if attempts == 1 { return [] }
            return follow(
                model, registrations.map { commands[$0] }, registrations.map { answers[$0] },
                registrations.map { learned[$0] }, attempts: attempts - 1)
        }
    }

    // MARK: The registry's side

    private func submit(_ command: ModelCommand, to registry: Registry, _ answer: ModelAnswer) {
        let caller = Bench.caller
        switch command {
        case .createInstance(let id, let edition):
            registry.createInstance(id: id, edition: edition, caller: caller) { answer.set($0, Self.text) }
        case .updateInstance(let id, let edition):
            registry.updateInstance(id: id, edition: edition, caller: caller) { answer.set($0, Self.text) }
        case .deleteInstance(let id):
            registry.deleteInstance(id: id, caller: caller) { answer.set($0, Self.text) }
        case .issueCode(let id, let seconds):
            registry.issueCode(instanceID: id, lifetime: seconds, caller: caller) { result in
                if let view = try? result.get() { answer.learned = view.text }
                answer.set(result) { "issued \($0.text) " + Self.text($0) }
            }
        case .revokeCode(let id, let prefix):
            registry.revokeCode(instanceID: id, prefix: prefix, caller: caller) { answer.set($0, Self.text) }
        case .registerCa(let index, let instance, let code, let isOwnProof, let name, let mode):
            let ca = cast.authorities[index].entity
            let signer = isOwnProof ? ca : authority(99)
            let upload = CaUpload(
                instanceID: instance, caCertificate: ca.der, verificationCertificate: signer.verification(code).der,
                name: name, deviceRegistration: mode)
            registry.registerCa(upload, signatures: SignatureVerifier(), caller: caller) { answer.set($0, Self.text) }
        case .updateCa(let sn, let name, let mode):
            registry.updateCa(sn, name: name, deviceRegistration: mode, caller: caller) { answer.set($0, Self.text) }
        case .activateCa(let sn): registry.activateCa(sn, caller: caller) { answer.set($0, Self.text) }
        case .unregisterCa(let sn): registry.unregisterCa(sn, caller: caller) { answer.set($0, Self.text) }
        case .deleteCa(let sn): registry.deleteCa(sn, caller: caller) { answer.set($0, Self.text) }
        case .registerDevice(let device, let pool, let instance):
            let upload = DeviceUpload(
                instanceID: instance, certificate: cast.devices[device].entity.der,
                chain: pool.sorted().map { cast.authorities[$0].entity.der })
            registry.registerDevice(upload, tools: bench.tools, caller: caller) {
                answer.set($0, Self.text)
            }
        case .changeDevice(let status, let ca, let serial, let fingerprint):
            let selector = DeviceSelector(ca: ca, serialNumber: serial, fingerprint: fingerprint)
            let completion: @Sendable (Result<DeviceView, any Error>) -> Void = { answer.set($0, Self.text) }
            switch status {
            case .active: registry.activateDevice(selector, caller: caller, completion: completion)
            case .inactive: registry.deactivateDevice(selector, caller: caller, completion: completion)
            case .pending, .deleted: registry.deleteDevice(selector, caller: caller, completion: completion)
            }
        case .verify(let device, let pool, let instance, let isDryRun):
            registry.verify(
                question(device, pool, instance, isDryRun: isDryRun), tools: bench.tools, caller: caller
            ) { answer.set($0, Self.text) }
        }
    }

    private func question(_ device: Int, _ pool: Set<Int>, _ instance: String, isDryRun: Bool) -> VerifyQuestion {
        VerifyQuestion(
            instanceID: instance,
            chain: [cast.devices[device].entity.der] + pool.sorted().map { cast.authorities[$0].entity.der },
            isDryRun: isDryRun, at: nil, hearsOf: nil)
    }

    @Sendable private static func text(_ view: InstanceView) -> String {
        Model.instanceText(
            id: view.record.id, edition: view.record.edition, createTime: view.record.createTime,
            revision: Int(view.record.revision.number), cas: Int(view.tally.cas), devices: Int(view.tally.devices))
    }

    @Sendable private static func text(_ view: CodeView) -> String {
        Model.codeText(
            prefix: view.record.prefix, instance: view.instanceID, createTime: view.record.createTime,
            expireTime: view.record.expireTime, revision: Int(view.record.revision.number))
    }

    @Sendable private static func text(_ view: CaView) -> String {
        let record = view.record
        return Model.caText(
            sn: record.serialNumber.text, instance: record.instanceID, name: record.name, status: record.status,
            mode: record.deviceRegistration, registerTime: record.registerTime, updateTime: record.updateTime,
            revision: Int(record.revision.number), fingerprint: record.fingerprint, devices: Int(view.deviceCount))
    }

    @Sendable private static func text(_ view: DeviceView) -> String {
        let record = view.record
        return Model.deviceText(
            ca: view.caSerialNumber.text, sn: record.serialNumber.text, instance: view.instanceID,
            status: record.status, registerTime: record.registerTime, updateTime: record.updateTime,
            revision: Int(record.revision.number), fingerprint: record.fingerprint)
    }

    @Sendable private static func text(_ verdict: Verdict) -> String {
        Model.verdictText(
            verdict.reason, ca: verdict.ca?.text, validUntil: verdict.validUntil?.secondsSince1970,
            revision: Int(verdict.revision.number), isRegistered: verdict.registered)
    }

    // MARK: Comparison

    /// Compares all that can be seen, and drops the worlds that do not look so.
    private mutating func compare() throws {
        counts["comparisons", default: 0] += 1
        let pageSize = 1 + generator.below(4)
        let seen = try observed(pageSize: pageSize)
        let fitting = worlds.filter { $0.observed() == seen }
        if fitting.isEmpty {
            let expected = worlds[0].observed()
            let missing = expected.filter { !seen.contains($0) }
            let extra = seen.filter { !expected.contains($0) }
            throw ModelMismatch(
                description: "lists differ (pages of \(pageSize))\n  model: \(missing.joined(separator: "\n         "))"
                    + "\n  registry: \(extra.joined(separator: "\n            "))"
                    + (missing.isEmpty && extra.isEmpty ? "in their order only" : ""))
        }
        worlds = Array(fitting.prefix(1))
    }

    private func pages<Row, Cursor>(
        _ page: (Cursor?) throws -> Page<Row, Cursor>, total: (Int, Int64) throws -> Void
    ) throws -> [Row] {
        var rows: [Row] = []
        var cursor: Cursor?
        var size: Int64 = 0
        repeat {
            let next = try page(cursor)
            rows += next.rows
            cursor = next.next
            size = next.totalSize
        } while cursor != nil
        try total(rows.count, size)
        return rows
    }

    private func requireTotal(_ count: Int, _ total: Int64) throws {
        if Int64(count) != total {
            throw ModelMismatch(description: "a list of \(count) rows says that it has \(total)")
        }
    }

    private func observed(pageSize: Int) throws -> [String] {
        let registry = bench.registry
        var lines: [String] = []
        let instances = try pages(
            { try registry.instances(after: $0, pageSize: pageSize) }, total: requireTotal)
        lines += instances.map(Self.text)
        for view in instances where Self.text(try registry.instance(view.record.id)) != Self.text(view) {
            throw ModelMismatch(description: "a get and a list of \(view.record.id) differ")
        }
        for view in instances {
            let codes = try pages(
                { try registry.codes(of: view.record.id, after: $0, pageSize: pageSize) }, total: requireTotal)
            lines += codes.map(Self.text).sorted()
        }
        let cas = try pages(
            { try registry.cas(CaFilter(), after: $0, pageSize: pageSize) }, total: requireTotal)
        for view in cas {
            let (got, vouching) = try registry.ca(view.record.serialNumber, signatures: SignatureVerifier())
            if Self.text(got) != Self.text(view) {
                throw ModelMismatch(description: "a get and a list of \(view.record.serialNumber.text) differ")
            }
            lines.append(Self.text(view) + " vouching \(vouching.map(\.text).sorted())")
            lines += try deviceLines(of: view, pageSize: pageSize)
        }
        for view in instances {
            let anchors = try pages(
                {
                    try registry.trustAnchors(
                        of: view.record.id, after: $0, pageSize: pageSize, pageBytes: 1 + pageSize * 400)
                }, total: requireTotal)
            lines.append("anchors of \(view.record.id): \(anchors.map(\.record.serialNumber.text))")
            for status in [CaStatus.active, .inactive] {
                var filter = CaFilter()
                filter.instanceID = view.record.id
                filter.status = status
                let some = try pages(
                    { try registry.cas(filter, after: $0, pageSize: pageSize) }, total: requireTotal)
                let expected = cas.filter { $0.record.instanceID == view.record.id && $0.record.status == status }
                if some.map(Self.text) != expected.map(Self.text) {
                    throw ModelMismatch(
                        description: "a list of the \(status) CAs of \(view.record.id) is not part of all")
                }
            }
        }
        let figures = try registry.figures()
        lines.append(
            "figures \(figures.instances) \(figures.tally.activeCas) \(figures.tally.inactiveCas) "
                + "\(DeviceStatus.allCases.map { figures.tally[$0] })")
        return lines + (try logLines())
    }

    private func deviceLines(of ca: CaView, pageSize: Int) throws -> [String] {
        let registry = bench.registry
        let devices = try pages(
            { try registry.devices(of: ca.record.serialNumber, DeviceFilter(), after: $0, pageSize: pageSize) },
            total: requireTotal)
        var counts: [Int64] = []
        for status in DeviceStatus.allCases {
            if status == .deleted { continue }
            var filter = DeviceFilter()
            filter.status = status
            let some = try pages(
                { try registry.devices(of: ca.record.serialNumber, filter, after: $0, pageSize: pageSize) },
                total: requireTotal)
            if some.map(Self.text) != devices.filter({ $0.record.status == status }).map(Self.text) {
                throw ModelMismatch(description: "a list of the \(status) devices is not part of all")
            }
            counts.append(Int64(some.count))
        }
        let tally = try registry.read { try $0.tally(of: ca.record.id) }
        return devices.map(Self.text).sorted() + [
            "devices of \(ca.record.serialNumber.text): \(counts + [tally.deletedDevices])"
        ]
    }

    private func logLines() throws -> [String] {
        var entries: [ChangeRecord] = []
        var reached = Revision(0)
        repeat {
            let page = try bench.registry.changes(after: reached, limit: 50)
            entries += page.entries
            if page.entries.isEmpty || page.reached == page.last { break }
            reached = page.reached
        } while true
        for entry in entries where entry.caller != Bench.caller {
            throw ModelMismatch(description: "entry \(entry.revision.number) is of another caller")
        }
        return entries.map { entry in
            Model.entryText(
                revision: Int(entry.revision.number), kind: entry.kind, method: entry.method, time: entry.time,
                instance: entry.instanceID, ca: entry.caSerialNumber, device: entry.deviceSerialNumber,
                fingerprint: entry.fingerprint, status: entry.status)
        }
    }

    /// Asks about every device in every instance, with its intermediates and alone.
    private func compareVerdicts() throws {
        for instance in ids {
            for (index, device) in cast.devices.enumerated() {
                for pool in Set([Set(device.intermediates), []]) {
                    let answer = Answer<Verdict>()
                    let question = question(index, pool, instance, isDryRun: true)
                    bench.registry.verify(question, tools: bench.tools, caller: Bench.caller) {
                        answer.set($0)
                    }
                    let text = Self.text(try answer.get())
                    let expected = model.verdicts(index, pool, instance)
                    if !expected.contains(where: { $0.answer == text }) {
                        throw ModelMismatch(
                            description:
                                "\(short(.verify(device: index, pool: pool, instance: instance, isDryRun: true)))"
                                + " → \(text), where the model says \(Set(expected.prefix(6).map(\.answer)).sorted())")
                    }
                    if let atOnce = try bench.registry.verifyAtOnce(question), Self.text(atOnce) != text {
                        throw ModelMismatch(description: "at once: \(Self.text(atOnce)), else: \(text)")
                    }
                }
            }
        }
    }
}

/// The registry's answer as text.
final class ModelAnswer: Sendable {
    private let answer = Answer<String>()
    private let code = Collected<String>()

    var learned: String? {
        get { code.all.first }
        set { if let newValue { code.append(newValue) } }
    }

    func set<Value: Sendable>(_ result: Result<Value, any Error>, _ describe: @Sendable (Value) -> String) {
        answer.set(
            result.map(describe).flatMapError { error in
                if let refusal = error as? Refusal { .success("refused \(refusal.reason)") } else { .failure(error) }
            })
    }

    func text() throws -> String { try answer.get() }
}
