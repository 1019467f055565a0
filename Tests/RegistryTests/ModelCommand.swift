import Certificates
import Registry
import RegistryStore
import Signatures
import TestPKI
import Verification

/// A call to the registry, and what the model says about it.
enum ModelCommand {
    case createInstance(String, Edition)
    case updateInstance(String, Edition)
    case deleteInstance(String)
    case issueCode(String, seconds: Int64?)
    case revokeCode(String, prefix: String)
    case registerCa(authority: Int, instance: String, code: String, isOwnProof: Bool, name: String, DeviceRegistration)
    case updateCa(SerialNumber, name: String?, DeviceRegistration?)
    case activateCa(SerialNumber)
    case unregisterCa(SerialNumber)
    case deleteCa(SerialNumber)
    case registerDevice(device: Int, pool: Set<Int>, instance: String)
    case changeDevice(DeviceStatus, ca: SerialNumber, serial: SerialNumber, fingerprint: SHA256Digest?)
    case verify(device: Int, pool: Set<Int>, instance: String, isDryRun: Bool)

    /// An answer that is right, and the model after it.
    typealias Outcome = (answer: String, after: Model)

    /// What one command comes to.
    enum Course {
        /// Answered from what was there when it was asked.
        case answered([Outcome])
        /// Decided by the writer, on what is there by then.
        case submitted((Model) -> Decision)
    }

    enum Decision {
        case done([Outcome])
        /// What it was judged on has changed: it is judged again.
        case again
    }

    // MARK: The rules

    /// The ways in which it may go, of which one must be the registry's.
    ///
    /// - Parameter learned: what only the registry can know: the text of the code that it issued.
    func courses(_ model: Model, learned: String?) -> [Course] {
        switch self {
        case .createInstance(let id, let edition):
            [submitted { try $0.createInstance(id, edition) }]
        case .updateInstance(let id, let edition):
            [submitted { try $0.updateInstance(id, edition) }]
        case .deleteInstance(let id):
            [submitted { try $0.deleteInstance(id) }]
        case .issueCode(let id, let seconds):
            [submitted { try $0.issueCode(id, seconds, text: learned ?? "") }]
        case .revokeCode(let id, let prefix):
            [submitted { try $0.revokeCode(id, prefix) }]
        case .registerCa(let authority, let instance, let code, let isOwnProof, let name, let mode):
            registrationCourses(
                model, instance,
                submitted {
                    try $0.registerCa(authority, instance, code: code, isOwnProof: isOwnProof, name: name, mode)
                }, authority: authority, code: code)
        case .updateCa(let sn, let name, let mode):
            [
                submitted {
                    try $0.changeCa(sn, .caUpdated, "UpdateCaCertificate") { ca in
                        if let name { ca.name = name }
                        if let mode { ca.mode = mode }
                    }
                }
            ]
        case .activateCa(let sn):
            [submitted { try $0.changeCa(sn, .caActivated, "ActivateCaCertificate") { $0.status = .active } }]
        case .unregisterCa(let sn):
            [submitted { try $0.changeCa(sn, .caUnregistered, "UnregisterCaCertificate") { $0.status = .inactive } }]
        case .deleteCa(let sn):
            [.submitted { model in .done(model.deletions(of: sn)) }]
        case .registerDevice(let device, let pool, let instance):
            model.explicitCourses(device, pool, instance)
        case .changeDevice(let status, let ca, let serial, let fingerprint):
            [submitted { try $0.changeDevice(status, ca, serial, fingerprint) }]
        case .verify(let device, let pool, let instance, let isDryRun):
            model.verifyCourses(device, pool, instance, isDryRun: isDryRun)
        }
    }

    private func submitted(_ body: @escaping (inout Model) throws -> String) -> Course {
        .submitted { model in .done([Self.outcome(model, body)]) }
    }

    private static func outcome(_ model: Model, _ body: (inout Model) throws -> String) -> Outcome {
        var after = model
        do {
            let answer = try body(&after)
            return (answer, after)
        } catch let refusal as ModelRefusal {
            return ("refused \(refusal.reason)", model)
        } catch {
            return ("error \(error)", model)
        }
    }

    private func registrationCourses(
        _ model: Model, _ instance: String, _ course: Course, authority: Int, code: String
    ) -> [Course] {
        // The instance and its edition are looked at beforehand, too.
        guard let record = model.instances[instance] else {
            return [.answered([("refused \(RefusalReason.instanceNotFound)", model)])]
        }
        guard record.edition.mayRegister else {
            return [.answered([("refused \(RefusalReason.editionNotSupported)", model)])]
        }
        // A code that was used and would have expired since may be forgotten or not.
        return [
            course,
            .submitted { model in
                let isForgettable =
                    model.instances[instance]?.codes.contains {
                        $0.text == code && $0.isUsed && model.now >= $0.expireTime
                    } ?? false
                return .done(isForgettable ? [("refused \(RefusalReason.codeMismatch)", model)] : [])
            },
        ]
    }
}

/// The model's no.
struct ModelRefusal: Error {
    let reason: RefusalReason

    init(_ reason: RefusalReason) { self.reason = reason }
}

extension Model {
    private func requireInstance(_ id: String) throws -> Instance {
        guard let instance = instances[id] else { throw ModelRefusal(.instanceNotFound) }
        return instance
    }

    private func requireCa(_ sn: SerialNumber) throws -> Ca {
        guard let ca = cas[sn] else { throw ModelRefusal(.caNotFound) }
        return ca
    }

    // MARK: Instances and codes

    mutating func createInstance(_ id: String, _ edition: Edition) throws -> String {
        if id.isEmpty || id.contains(" ") { throw ModelRefusal(.instanceIDInvalid) }
        if instances[id] != nil { throw ModelRefusal(.instanceAlreadyExists) }
        if instances.count >= limits.instances { throw ModelRefusal(.limitReached) }
        let instance = Instance(edition: edition, createTime: now, revision: revision + 1)
        instances[id] = instance
        record(.instanceCreated, "CreateInstance", instance: id)
        return text(instance: id, instance)
    }

    mutating func updateInstance(_ id: String, _ edition: Edition) throws -> String {
        var instance = try requireInstance(id)
        if instance.edition == edition { return text(instance: id, instance) }
        if edition == .standard, !cas(of: id).isEmpty { throw ModelRefusal(.instanceNotEmpty) }
        instance.edition = edition
        instance.revision = revision + 1
        instances[id] = instance
        record(.instanceUpdated, "UpdateInstance", instance: id)
        return text(instance: id, instance)
    }

    mutating func deleteInstance(_ id: String) throws -> String {
        var instance = try requireInstance(id)
        if !cas(of: id).isEmpty { throw ModelRefusal(.instanceNotEmpty) }
        instances[id] = nil
        record(.instanceDeleted, "DeleteInstance", instance: id)
        instance.revision = revision
        return text(instance: id, instance)
    }

    mutating func issueCode(_ id: String, _ seconds: Int64?, text: String) throws -> String {
        var instance = try requireInstance(id)
        if !instance.edition.mayRegister { throw ModelRefusal(.editionNotSupported) }
        if openCodes(id).count >= limits.openCodesPerInstance { throw ModelRefusal(.limitReached) }
        let code = Code(
            text: text, createTime: now,
            expireTime: WallTime(
                milliseconds: now.milliseconds + (seconds ?? limits.codeLifetimeSeconds) * 1_000),
            revision: revision + 1)
        instance.codes.append(code)
        instances[id] = instance
        record(.codeIssued, "IssueRegistrationCode", instance: id)
        return "issued \(text) " + self.text(code: code, of: id)
    }

    mutating func revokeCode(_ id: String, _ prefix: String) throws -> String {
        let instance = try requireInstance(id)
        if prefix.isEmpty || prefix.utf8.count > 64 { throw ModelRefusal(.argumentInvalid) }
        let fits = instance.codes.indices.filter {
            isOpen(instance.codes[$0]) && instance.codes[$0].text.hasPrefix(prefix)
        }
        guard let index = fits.first else { throw ModelRefusal(.codeNotFound) }
        if fits.count > 1 { throw ModelRefusal(.argumentInvalid) }
        var code = instance.codes[index]
        instances[id]?.codes.remove(at: index)
        record(.codeRevoked, "RevokeRegistrationCode", instance: id)
        code.revision = revision
        return text(code: code, of: id)
    }

    // MARK: CA certificates

    mutating func registerCa(
        _ index: Int, _ id: String, code text: String, isOwnProof: Bool, name: String, _ mode: DeviceRegistration
    ) throws -> String {
        let instance = try requireInstance(id)
        if !instance.edition.mayRegister { throw ModelRefusal(.editionNotSupported) }
        guard let code = instance.codes.firstIndex(where: { $0.text == text }) else {
            throw ModelRefusal(.codeMismatch)
        }
        if instance.codes[code].isUsed { throw ModelRefusal(.codeUsed) }
        if !isOpen(instance.codes[code]) { throw ModelRefusal(.codeExpired) }
        if !isOwnProof { throw ModelRefusal(.verificationNotSignedByCa) }
        let candidate = cast.authorities[index]
        if cas.values.contains(where: { $0.authority == index }) { throw ModelRefusal(.caAlreadyRegistered) }
        if cas.values.contains(where: { authority($0).keyName == candidate.keyName && $0.instance != id }) {
            throw ModelRefusal(.caOfAnotherInstance)
        }
        if cas[candidate.sn] != nil { throw ModelRefusal(.snAlreadyRegistered) }
        if cas(of: id).count >= limits.caCertificatesPerInstance || cas.count >= limits.caCertificates {
            throw ModelRefusal(.limitReached)
        }
        lastNumber += 1
        let ca = Ca(
            number: lastNumber, authority: index, instance: id, name: name, status: .active, mode: mode,
            registerTime: now, updateTime: now, revision: revision + 1)
        cas[candidate.sn] = ca
        instances[id]?.codes[code].isUsed = true
        record(
            .caRegistered, "RegisterCaCertificate", instance: id, ca: index, status: CaStatus.active.rawValue)
        return self.text(ca: ca)
    }

    mutating func changeCa(
        _ sn: SerialNumber, _ kind: ChangeKind, _ method: String, _ change: (inout Ca) -> Void
    ) throws -> String {
        let old = try requireCa(sn)
        var ca = old
        change(&ca)
        if (ca.name, ca.status, ca.mode) == (old.name, old.status, old.mode) { return text(ca: old) }
        ca.updateTime = now
        ca.revision = revision + 1
        cas[sn] = ca
        record(kind, method, instance: ca.instance, ca: ca.authority, status: ca.status.rawValue)
        return text(ca: ca)
    }

    /// A delete moves the devices to any one CA certificate of the instance with the same key.
    func deletions(of sn: SerialNumber) -> [ModelCommand.Outcome] {
        guard let ca = cas[sn] else { return [("refused \(RefusalReason.caNotFound)", self)] }
        let heirs = cas(of: ca.instance).filter {
            $0.number != ca.number && authority($0).keyName == authority(ca).keyName
        }
        let own = devices(of: sn).isEmpty ? heirs.prefix(1) : heirs[...]
        return (own.isEmpty ? [nil] : own.map { Optional($0) }).map { heir in
            var after = self
            var gone = ca
            gone.updateTime = now
            gone.revision = revision + 1
            let answer = text(ca: gone)
            for (identity, device) in devices where device.ca == sn {
                after.devices[identity] = heir == nil ? nil : device
                if let heir { after.devices[identity]?.ca = authority(heir).sn }
            }
            after.cas[sn] = nil
            after.record(.caDeleted, "DeleteCaCertificate", instance: ca.instance, ca: ca.authority)
            return (answer, after)
        }
    }

    // MARK: Devices

    mutating func changeDevice(
        _ status: DeviceStatus, _ sn: SerialNumber, _ serial: SerialNumber, _ fingerprint: SHA256Digest?
    ) throws -> String {
        let ca = try requireCa(sn)
        let fits = devices.filter { _, device in
            let certificate = cast.devices[device.device]
            return device.ca == sn && certificate.serial == serial && device.status != .deleted
                && (fingerprint == nil || certificate.entity.fingerprint == fingerprint)
        }
        guard let (identity, old) = fits.first else { throw ModelRefusal(.deviceNotFound) }
        if fits.count > 1 { throw ModelRefusal(.argumentInvalid) }
        if old.status == status { return text(device: old, in: ca.instance) }
        var device = old
        device.status = status
        device.updateTime = now
        device.revision = revision + 1
        devices[identity] = device
        let (kind, method): (ChangeKind, String) =
            switch status {
            case .active: (.deviceActivated, "ActivateDeviceCertificate")
            case .inactive: (.deviceDeactivated, "DeactivateDeviceCertificate")
            case .pending, .deleted: (.deviceDeleted, "DeleteDeviceCertificate")
            }
        record(
            kind, method, instance: ca.instance, ca: ca.authority, device: device.device,
            status: status == .deleted ? 0 : status.rawValue)
        // A deleted one is told as it was.
        if status == .deleted { device.status = old.status }
        return text(device: device, in: ca.instance)
    }

    func explicitCourses(_ device: Int, _ pool: Set<Int>, _ instance: String) -> [ModelCommand.Course] {
        guard instances[instance] != nil else {
            return [.answered([("refused \(RefusalReason.instanceNotFound)", self)])]
        }
        let good = paths(of: device, in: instance, pool: pool).filter { isGood($0, in: instance) }
        if good.isEmpty { return [.answered([("refused \(RefusalReason.deviceNotIssuedByCa)", self)])] }
        return good.map { path in
            let number = cas[path.ca]?.number
            return .submitted { model in
                guard model.cas[path.ca]?.number == number, model.isGood(path, in: instance) else { return .again }
                let known = model.devices[model.identity(of: device, in: instance)]
                if let known, known.status != .deleted {
                    return .done([("refused \(RefusalReason.deviceAlreadyRegistered)", model)])
                }
                var after = model
                let record = after.store(device, in: instance, on: path, .active, "RegisterDeviceCertificate")
                return .done([(after.text(device: record, in: instance), after)])
            }
        }
    }

    // MARK: Verify

    static func verdictText(
        _ reason: VerdictReason, ca: String?, validUntil: Int64?, revision: Int, isRegistered: Bool
    ) -> String {
        "verdict \(reason) ca \(ca ?? "-") until \(validUntil.map(String.init) ?? "-") revision \(revision)"
            + (isRegistered ? " registered" : "")
    }

    private func validUntil(_ device: Int, _ path: Path) -> Int64 {
        func end(_ authority: Int) -> Int64 { cast.notAfter(authority) }
        let ends =
            [cast.devices[device].notAfter] + path.intermediates.map(end)
            + (cas[path.ca].map { [end($0.authority)] } ?? [])
        return (ends.min() ?? 0) + 1
    }

    /// What a known device's record says on a path that is good.
    private func answers(
        _ device: Int, known record: Device, _ good: [Path]
    ) -> [ModelCommand.Outcome] {
        good.flatMap { path -> [ModelCommand.Outcome] in
            let isSame = cast.devices[record.device].content == cast.devices[device].content
            let (reason, isTrusted): (VerdictReason, Bool) =
                switch record.status {
                case _ where !isSame: (.deviceSerialReused, false)
                case .active: (.trusted, true)
                case .inactive: (.deviceInactive, false)
                case .pending: (.devicePending, false)
                case .deleted: (.deviceDeleted, false)
                }
            let until = validUntil(device, path)
            // Until when a refusal holds is left open.
            return (isTrusted ? [until] : [nil, until]).map { until in
                (
                    Self.verdictText(
                        reason, ca: path.ca.text, validUntil: until, revision: revision, isRegistered: false), self
                )
            }
        }
    }

    /// What is said where no path is good. With several reasons, which of them is told is left open.
    private func refusals(_ device: Int, _ pool: Set<Int>, _ instance: String) -> [ModelCommand.Outcome] {
        var reasons: Set<VerdictReason> = []
        if !paths(of: device, in: instance, pool: pool).isEmpty {
            reasons.insert(.caInactive)
        } else {
            let others = instances.keys.filter { $0 != instance }
            let isForeign = others.contains { !paths(of: device, in: $0, pool: pool).isEmpty }
            reasons.insert(isForeign ? .caOfAnotherInstance : .caUnknown)
        }
        if let known = devices[identity(of: device, in: instance)],
            cast.devices[known.device].content == cast.devices[device].content
        {
            switch known.status {
            case .active: reasons.insert(.caUnknown)
            case .inactive: reasons.formUnion([.deviceInactive, .caUnknown])
            case .pending: reasons.formUnion([.devicePending, .caUnknown])
            case .deleted: reasons.formUnion([.deviceDeleted, .caUnknown])
            }
        }
        let named: [String?] = [nil] + cas.keys.map(\.text)
        return reasons.flatMap { reason in
            named.map { ca in
                (
                    Self.verdictText(reason, ca: ca, validUntil: nil, revision: revision, isRegistered: false), self
                )
            }
        }
    }

    /// A verdict that registers nothing.
    func verdicts(_ device: Int, _ pool: Set<Int>, _ instance: String) -> [ModelCommand.Outcome] {
        guard instances[instance] != nil else {
            return [
                (
                    Self.verdictText(
                        .instanceUnknown, ca: nil, validUntil: nil, revision: revision, isRegistered: false), self
                )
            ]
        }
        let known = devices[identity(of: device, in: instance)]
        var pool = pool
        if let known, cast.devices[known.device].content == cast.devices[device].content {
            pool.formUnion(known.intermediates)
        }
        let good = paths(of: device, in: instance, pool: pool).filter { isGood($0, in: instance) }
        if good.isEmpty { return refusals(device, pool, instance) }
        if let known { return answers(device, known: known, good) }
        return firstSights(device, good).map { path, mode in
            let (reason, until): (VerdictReason, Int64?) =
                switch mode {
                case .automatic: (.trusted, validUntil(device, path))
                case .pending: (.devicePending, nil)
                case .explicit: (.deviceNotRegistered, nil)
                }
            return (
                Self.verdictText(
                    reason, ca: path.ca.text, validUntil: until, revision: revision, isRegistered: false), self
            )
        }
    }

    /// Of the good paths those whose CA lets most devices in.
    private func firstSights(_ device: Int, _ good: [Path]) -> [(path: Path, mode: DeviceRegistration)] {
        let modes = good.compactMap { path in cas[path.ca].map { (path: path, mode: $0.mode) } }
        let best = modes.map(\.mode.rawValue).min() ?? DeviceRegistration.explicit.rawValue
        return modes.filter { $0.mode.rawValue == best }
    }

    func verifyCourses(
        _ device: Int, _ pool: Set<Int>, _ instance: String, isDryRun: Bool
    ) -> [ModelCommand.Course] {
        let good = paths(of: device, in: instance, pool: pool).filter { isGood($0, in: instance) }
        let isKnown = devices[identity(of: device, in: instance)] != nil
        let sights = firstSights(device, good)
        if isDryRun || isKnown || good.isEmpty || sights.allSatisfy({ $0.mode == .explicit }) {
            return [.answered(verdicts(device, pool, instance))]
        }
        return sights.map { path, mode in
            let number = cas[path.ca]?.number
            return .submitted { model in
                guard let ca = model.cas[path.ca], ca.number == number, ca.mode == mode,
                    model.isGood(path, in: instance)
                else { return .again }
                if let known = model.devices[model.identity(of: device, in: instance)] {
                    return .done(model.answers(device, known: known, [path]))
                }
                var after = model
                let status: DeviceStatus = mode == .automatic ? .active : .pending
                _ = after.store(device, in: instance, on: path, status, "Verify")
                let answer = Self.verdictText(
                    mode == .automatic ? .trusted : .devicePending, ca: path.ca.text,
                    validUntil: mode == .automatic ? after.validUntil(device, path) : nil, revision: after.revision,
                    isRegistered: true)
                return .done([(answer, after)])
            }
        }
    }
}

extension ModelCast {
    func notAfter(_ authority: Int) -> Int64 {
        // The roots end at different times; the intermediates where all else does.
        let serial = authorities[authority].entity.recipe.serial
        let variant = authority < 12 && serial.count == 2 ? Int64(serial[1]) : 0
        return TestTime.notAfter - variant * 1_000
    }
}
