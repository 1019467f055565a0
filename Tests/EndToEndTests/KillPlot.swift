import Foundation
import TestPKI

/// The numbers of careg.v1.Status.
enum KillStatus {
    static let active: UInt64 = 1
    static let inactive: UInt64 = 2
    static let pending: UInt64 = 3
}

/// One instance with all that is registered with it, as the answers told it. One client's alone, with one call under way
/// at a time: what is acknowledged is known to the last field.
struct KillPlot: Sendable {
    struct Instance: Sendable {
        var edition: UInt64
        var revision: UInt64
    }

    struct Code: Sendable {
        var prefix: String
        /// nil where the answer that held it never came.
        var text: String?
        var revision: UInt64
    }

    struct Ca: Sendable {
        var status: UInt64
        var mode: UInt64
        var name: String
        var revision: UInt64
        var devices: [Int: Device] = [:]

        var deviceCount: Int { devices.values.count { $0.status != nil } }
    }

    struct Device: Sendable {
        /// nil for a tombstone.
        var status: UInt64?
        var revision: UInt64
        /// When the verdict came that registered it; nil once an acknowledged change has made it durable.
        var automaticSince: Date?
    }

    /// What the answer to a call must be.
    enum Expectation: Sendable {
        /// One more entry in the log; for a Verify with this verdict.
        case change(KillEntry, verdict: UInt64?)
        /// Done already: the revision of the resource stays.
        case unchanged(revision: UInt64)
        case verdict(UInt64)
        case refused(String)
    }

    let id: String
    let cast: KillCast
    var instance: Instance?
    var codes: [Code] = []
    var usedCodes: [String] = []
    var cas: [Int: Ca] = [:]
    /// What was sent and is not answered.
    var underWay: KillOperation?
    /// The entries that answers promised, by revision, since the last comparison.
    var acknowledged: [UInt64: KillEntry] = [:]
    /// Calls of which the daemon said itself that they failed: it was stopping.
    var refusedByStop = 0
    /// The highest revision that an answer told which nothing may take back.
    var highestRevision: UInt64 = 0

    init(number: Int) {
        id = "plot-\(number)"
        cast = KillCast(plot: number)
    }

    var deviceCount: Int { cas.values.map(\.deviceCount).reduce(0, +) }

    // MARK: Questions

    /// Any call that may be made now. Now and then one that must be refused, or that finds its work done.
    func choose(_ generator: inout SeededGenerator) -> KillOperation {
        guard let instance else {
            return generator.oneIn(20) ? .verify(0, 0) : .createInstance(edition: UInt64(1 + generator.below(3)))
        }
        var options: [KillOperation] = [.issueCode, .issueCode]
        options.append(.updateInstance(edition: UInt64(1 + generator.below(3))))
        if instance.edition == 1 || generator.oneIn(4) { options.append(.deleteInstance) }
        if let code = codes.randomElement(using: &generator) { options.append(.revokeCode(prefix: code.prefix)) }
        for index in 0..<KillCast.authorityCount {
            options += self.options(forCa: index, &generator)
        }
        if codes.count >= 4 { options.removeAll { $0 == .issueCode } }
        return generator.pick(options)
    }

    private func options(forCa index: Int, _ generator: inout SeededGenerator) -> [KillOperation] {
        let name = "name \(generator.next() % 1_000_000)"
        let mode = UInt64(1 + generator.below(3))
        guard let ca = cas[index] else {
            var options: [KillOperation] = generator.oneIn(6) ? [.verify(index, 0)] : []
            if let code = codes.compactMap(\.text).randomElement(using: &generator) {
                let register = KillOperation.registerCa(index, code: code, name: name, mode: mode)
                options += [register, register, register]
            }
            if let code = usedCodes.randomElement(using: &generator), generator.oneIn(4) {
                options.append(.registerCa(index, code: code, name: name, mode: mode))
            }
            return options
        }
        var options: [KillOperation] = [.updateCa(index, name: name, mode: mode)]
        options.append(ca.status == KillStatus.active ? .unregisterCa(index) : .activateCa(index))
        if ca.status != KillStatus.active { options.append(.activateCa(index)) }
        if generator.oneIn(4) { options.append(.activateCa(index)) }
        if generator.oneIn(3) { options.append(.deleteCa(index)) }
        for number in 0..<KillCast.deviceCount {
            options.append(.verify(index, number))
            switch ca.devices[number]?.status {
            case .some(let status):
                options.append(
                    status == KillStatus.active ? .deactivateDevice(index, number) : .activateDevice(index, number))
                if generator.oneIn(2) { options.append(.deleteDevice(index, number)) }
            case nil:
                if ca.status == KillStatus.active { options.append(.registerDevice(index, number)) }
            }
        }
        return options
    }

    // MARK: Answers

    func expectation(_ operation: KillOperation) -> Expectation {
        func change(_ status: UInt64 = 0, verdict: UInt64? = nil) -> Expectation {
            .change(KillEntry(operation, instance: id, cast, status: status), verdict: verdict)
        }
        switch operation {
        case .createInstance, .revokeCode: return change()
        case .updateInstance(let edition):
            if edition == instance?.edition { return .unchanged(revision: instance?.revision ?? 0) }
            return edition == 1 && !cas.isEmpty ? .refused("INSTANCE_NOT_EMPTY") : change()
        case .deleteInstance: return cas.isEmpty ? change() : .refused("INSTANCE_NOT_EMPTY")
        case .issueCode: return instance?.edition == 1 ? .refused("EDITION_NOT_SUPPORTED") : change()
        case .registerCa(_, let code, _, _):
            if instance?.edition == 1 { return .refused("EDITION_NOT_SUPPORTED") }
            return usedCodes.contains(code) ? .refused("CODE_USED") : change(KillStatus.active)
        case .updateCa(let index, _, _): return change(cas[index]?.status ?? 0)
        case .activateCa(let index):
            guard let ca = cas[index], ca.status == KillStatus.active else { return change(KillStatus.active) }
            return .unchanged(revision: ca.revision)
        case .unregisterCa: return change(KillStatus.inactive)
        case .deleteCa, .deleteDevice: return change()
        case .registerDevice, .activateDevice: return change(KillStatus.active)
        case .deactivateDevice: return change(KillStatus.inactive)
        case .verify(let index, let number):
            let known = verdict(index, number)
            guard let ca = cas[index], ca.status == KillStatus.active, ca.devices[number] == nil, ca.mode != 3 else {
                return .verdict(known)
            }
            return change(ca.mode == 1 ? KillStatus.active : KillStatus.pending, verdict: known)
        }
    }

    /// Number of the Reason that a Verify must answer with.
    func verdict(_ index: Int, _ number: Int) -> UInt64 {
        if instance == nil { return 2 }
        guard let ca = cas[index] else { return 6 }
        if ca.status != KillStatus.active { return 8 }
        guard let device = ca.devices[number] else { return [1, 18, 19][Int(ca.mode) - 1] }
        switch device.status {
        case nil: return 20
        case KillStatus.active: return 1
        case KillStatus.inactive: return 17
        default: return 18
        }
    }

    /// Takes the answer to what is under way: compares it with what it must be, and follows it.
    ///
    /// - Returns: whether it acknowledged a change.
    mutating func take(_ response: WireResponse) throws -> Bool {
        guard let operation = underWay else { throw TestFailure("\(id): an answer to nothing: \(response)") }
        underWay = nil
        if response.code == 14, response.reason == "SHUTTING_DOWN" {
            refusedByStop += 1
            return false
        }
        let expectation = expectation(operation)
        if case .refused(let reason) = expectation {
            guard response.reason == reason else { throw mismatch(operation, expectation, response) }
            return false
        }
        guard response.code == 0 else { throw mismatch(operation, expectation, response) }
        let resource = try response.payload.message(1)
        switch expectation {
        case .refused: return false
        case .verdict(let reason):
            guard resource.integer(2) == reason, resource.integer(8) == 0 else {
                throw mismatch(operation, expectation, response)
            }
            return false
        case .unchanged(let revision):
            guard revisionField(operation, resource) == revision else {
                throw mismatch(operation, expectation, response)
            }
            return false
        case .change(let entry, let reason):
            let revision = revisionField(operation, resource)
            guard revision > 0 else { throw mismatch(operation, expectation, response) }
            if let reason {
                guard resource.integer(2) == reason, resource.integer(8) == 1 else {
                    throw mismatch(operation, expectation, response)
                }
            } else {
                highestRevision = max(highestRevision, revision)
            }
            acknowledged[revision] = entry
            apply(operation, revision: revision, code: operation == .issueCode ? resource.text(1) : nil)
            return true
        }
    }

    private func revisionField(_ operation: KillOperation, _ resource: ProtobufMessage) -> UInt64 {
        switch operation {
        case .createInstance, .updateInstance, .deleteInstance: resource.integer(6)
        case .issueCode, .revokeCode: resource.integer(5)
        case .registerCa, .updateCa, .activateCa, .unregisterCa, .deleteCa: resource.integer(18)
        case .registerDevice, .activateDevice, .deactivateDevice, .deleteDevice: resource.integer(14)
        case .verify: resource.integer(7)
        }
    }

    private func mismatch(
        _ operation: KillOperation, _ expectation: Expectation, _ response: WireResponse
    ) -> TestFailure {
        let payload = try? response.payload.message(1)
        return TestFailure(
            "\(id): \(operation) was answered with code \(response.code) \(response.reason ?? "") \(response.message), "
                + "revision \(payload.map { revisionField(operation, $0) } ?? 0), field 2 \(payload?.integer(2) ?? 0), "
                + "expected \(expectation)")
    }

    /// Makes a change that is on disk.
    ///
    /// - Parameter code: of a code that was issued, the whole text, or the beginning where it is not known.
    mutating func apply(_ operation: KillOperation, revision: UInt64, code: String? = nil, answered: Bool = true) {
        switch operation {
        case .createInstance(let edition), .updateInstance(let edition):
            instance = Instance(edition: edition, revision: revision)
        case .deleteInstance:
            instance = nil
            codes = []
            usedCodes = []
        case .issueCode:
            let text = code ?? ""
            codes.append(Code(prefix: String(text.prefix(8)), text: answered ? text : nil, revision: revision))
        case .revokeCode(let prefix): codes.removeAll { $0.prefix == prefix }
        case .registerCa(let index, let code, let name, let mode):
            codes.removeAll { $0.text == code }
            usedCodes.append(code)
            cas[index] = Ca(status: KillStatus.active, mode: mode, name: name, revision: revision)
        case .updateCa(let index, let name, let mode):
            cas[index]?.name = name
            cas[index]?.mode = mode
            cas[index]?.revision = revision
        case .activateCa(let index):
            cas[index]?.status = KillStatus.active
            cas[index]?.revision = revision
        case .unregisterCa(let index):
            cas[index]?.status = KillStatus.inactive
            cas[index]?.revision = revision
        case .deleteCa(let index): cas[index] = nil
        case .registerDevice(let index, let number), .activateDevice(let index, let number):
            cas[index]?.devices[number] = Device(status: KillStatus.active, revision: revision)
        case .deactivateDevice(let index, let number):
            cas[index]?.devices[number] = Device(status: KillStatus.inactive, revision: revision)
        case .deleteDevice(let index, let number):
            cas[index]?.devices[number] = Device(status: nil, revision: revision)
        case .verify(let index, let number):
            let status = cas[index]?.mode == 1 ? KillStatus.active : KillStatus.pending
            cas[index]?.devices[number] = Device(
                status: status, revision: revision, automaticSince: answered ? Date() : nil)
        }
    }
}
