public import Certificates
public import RegistryStore
public import Signatures
public import Verification

/// The answer to Verify, before it is encoded.
public struct Verdict: Sendable {
    public var reason: VerdictReason
    /// SN of the CA record that the path ended at, or that the reason is about.
    public var ca: SerialNumber?
    public var device: SerialNumber?
    public var fingerprint: SHA256Digest?
    /// The first moment at which time alone ends the verdict.
    public var validUntil: Instant?
    public var revision: Revision
    public var registered = false
    /// For people.
    public var detail = ""

    /// Trusted now.
    public var isTrusted: Bool { reason == .trusted }

    /// A verdict that says no more than its reason.
    public init(reason: VerdictReason, revision: Revision) {
        self.reason = reason
        self.revision = revision
    }
}

/// A question to ``Registry/verify(_:tools:caller:again:completion:)``.
public struct VerifyQuestion: Sendable {
    public var instanceID: String
    /// DER, the device's certificate first.
    public var chain: [[UInt8]]
    /// Registers nothing.
    public var isDryRun: Bool
    /// Another time than now.
    public var at: Instant?
    /// The instances of which the caller may hear that a device belongs to them; nil: all.
    public var hearsOf: Set<String>?

    /// All fields.
    public init(instanceID: String, chain: [[UInt8]], isDryRun: Bool, at: Instant?, hearsOf: Set<String>?) {
        self.instanceID = instanceID
        self.chain = chain
        self.isDryRun = isDryRun
        self.at = at
        self.hearsOf = hearsOf
    }

    var byteCount: Int { chain.reduce(0) { $0 + $1.count } }
}

extension Registry {
    /// How often an explicit registration is judged again because the registry changed under it.
    static let firstSightAttempts = 4

    /// Verify: a verdict, and for a device that is seen for the first time its registration.
    ///
    /// `completion` is called on this thread where nothing is to be registered, else between two commits.
    ///
    /// - Parameters:
    ///   - tools: this thread's.
    ///   - again: takes work to a thread like this one, for what has to be decided once more; not the writer's, whose other
    ///     callers would wait for it. Where it drops the work, nobody is told.
    public func verify(
        _ question: VerifyQuestion, tools: VerificationTools, caller: Caller,
        again: @escaping OnVerificationThread = { $0(VerificationTools()) },
        completion: @escaping @Sendable (Result<Verdict, any Error>) -> Void
    ) {
        do {
            let decision = try decide(question, tools: tools)
            guard let sighting = decision.sighting, !question.isDryRun else {
                return completion(.success(decision.verdict))
            }
            // The verdict stands; the device registers when it next connects.
            guard !writer.isHeld, writer.hasRoomToSpare(bytes: sighting.byteCount + question.byteCount) else {
                return completion(.success(decision.verdict))
            }
            register(sighting, of: decision.verdict, question, caller: caller, completion: completion) {
                // A change was committed between the verdict and its registration, or the device was registered, perhaps
                // on another path: what stands now decides, and registers nothing.
                again { tools in
                    completion(Result { try self.decide(question, tools: tools).verdict })
                }
            }
        } catch {
            completion(.failure(error))
        }
    }

    /// Runs work on a thread that may check signatures, with that thread's tools.
    public typealias OnVerificationThread = @Sendable (@escaping @Sendable (VerificationTools) -> Void) -> Void

    /// A device that was found trusted, or to be registered Pending, and is not known yet.
    struct Sighting: Sendable {
        var instanceID: String
        var certificate: Certificate
        var fingerprint: SHA256Digest
        var contentHash: SHA256Digest
        var signingKeyHash: SHA256Digest
        var ca: CaID
        var mode: DeviceRegistration
        var path: PathRecord
        var intermediates: [[UInt8]]

        var status: DeviceStatus { mode == .pending ? .pending : .active }

        var byteCount: Int { intermediates.reduce(certificate.der.count) { $0 + $1.count } }
    }

    struct Decision {
        var verdict: Verdict
        var sighting: Sighting?
    }

    /// Verify where it takes no signature check, for a thread that must not be kept: a device that is known by this very
    /// certificate, and what cannot be read.
    ///
    /// - Returns: nil where it takes more: ask ``verify(_:tools:caller:again:completion:)``.
    public func verifyAtOnce(_ question: VerifyQuestion) throws -> Verdict? {
        try judge(question, tools: VerificationTools()) { judge, verdict in try judge.decideAtOnce(verdict) }
    }

    /// Whether a chain is one of certificates, within the limits: what is known of its first one then decides.
    public func isReadable(_ chain: [[UInt8]]) -> Bool {
        if case .success = PresentedChain.parse(chain, limits: limits) { true } else { false }
    }

    func decide(_ question: VerifyQuestion, tools: VerificationTools) throws -> Decision {
        var decision: Decision?
        let early = try judge(question, tools: tools) { judge, verdict in
            decision = try judge.decide(verdict)
            return nil
        }
        if let decision { return decision }
        guard let early else { preconditionFailure("a question was neither judged nor answered") }
        return Decision(verdict: early)
    }

    /// Reads a question in one snapshot, and has it judged where it can be.
    private func judge(
        _ question: VerifyQuestion, tools: VerificationTools, _ body: (inout Judge, Verdict) throws -> Verdict?
    ) throws -> Verdict? {
        let instant = question.at ?? now
        return try read { snapshot in
            var verdict = Verdict(reason: .instanceUnknown, revision: try tools.authorities.revision(of: snapshot))
            let fingerprint = SHA256Digest(hashing: question.chain.first ?? [])
            if !question.chain.isEmpty { verdict.fingerprint = fingerprint }
            guard InstanceID.isValid(question.instanceID),
                let instance = try tools.authorities.instance(question.instanceID, in: snapshot)
            else {
                verdict.detail = "there is no instance \(quoted(question.instanceID)) in this region"
                return verdict
            }
            let chain: PresentedChain
            switch PresentedChain.parse(question.chain, limits: limits) {
            case .success(let parsed): chain = parsed
            case .failure(let flaw):
                verdict.reason = flaw.reason
                verdict.detail = flaw.detail
                return verdict
            }
            verdict.device = chain.device.serialNumber
            var judge = Judge(
                registry: self, snapshot: snapshot, instance: instance, chain: chain, fingerprint: fingerprint,
                instant: instant, tools: tools, hearsOf: question.hearsOf)
            return try body(&judge, verdict)
        }
    }

    /// Registers a sighting, unless what it was decided on has changed: then `overtaken` is called instead of `completion`.
    private func register(
        _ sighting: Sighting, of verdict: Verdict, _ question: VerifyQuestion, caller: Caller,
        completion: @escaping @Sendable (Result<Verdict, any Error>) -> Void, overtaken: @escaping @Sendable () -> Void
    ) {
        let bytes = sighting.byteCount + question.byteCount
        writer.submit(method: "Verify", caller: caller, bytes: bytes) { context in
            try context.register(sighting)
        } completion: { (result: Result<RegisteredSighting, any Error>) in
            var verdict = verdict
            switch result {
            case .success(.registered(let revision)):
                verdict.registered = true
                verdict.revision = revision
                completion(.success(verdict))
            case .success(.reused(let record, let revision)):
                verdict.revision = revision
                judgeKnown(record, contentHash: sighting.contentHash, &verdict)
                completion(.success(verdict))
            case .success(.overtaken): overtaken()
            case .failure(let fault as StoreFault) where fault.isDiskFull:
                // The verdict stands; the device registers when it next connects.
                completion(.success(verdict))
            case .failure(let refusal as Refusal) where refusal.reason == .limitReached:
                completion(.success(verdict))
            case .failure(let error):
                completion(.failure(error))
            }
        }
    }
}

/// What became of a sighting.
enum RegisteredSighting: Sendable {
    case registered(Revision)
    /// Another certificate has its signing key and serial number.
    case reused(DeviceRecord, Revision)
    /// What it was decided on stands no longer, or the device is known by now.
    case overtaken
}

extension CommandContext {
    /// Registers a device that was seen for the first time, if all that it was decided on still stands.
    func register(_ sighting: Registry.Sighting) throws -> RegisteredSighting {
        let snapshot = store.snapshot
        guard let ca = try snapshot.ca(sighting.ca), ca.status == .active, ca.deviceRegistration == sighting.mode,
            let instance = try snapshot.instance(sighting.instanceID), instance.number == ca.instance,
            try snapshot.keysAreGood(sighting.path)
        else { return .overtaken }
        if let record = try snapshot.device(
            signingKeyHash: sighting.signingKeyHash, serialNumber: sighting.certificate.serialNumber,
            contentHash: sighting.contentHash, of: instance.number)
        {
            return record.contentHash == sighting.contentHash ? .overtaken : .reused(record, try store.revision())
        }
        let record = try insertDevice(sighting, status: sighting.status, ca: ca, instance: instance)
        return .registered(record.revision)
    }

    func insertDevice(
        _ sighting: Registry.Sighting, status: DeviceStatus, ca: CaRecord, instance: InstanceRecord
    ) throws -> DeviceRecord {
        let path = try store.intern(sighting.path, certificates: sighting.intermediates).id
        let record = DeviceRecord(
            id: try store.newDeviceID(), instance: instance.number, ca: ca.id, path: path,
            signingKeyHash: sighting.signingKeyHash, serialNumber: sighting.certificate.serialNumber, status: status,
            registerTime: now, updateTime: now, revision: try nextRevision(), fingerprint: sighting.fingerprint,
            contentHash: sighting.contentHash, der: sighting.certificate.der)
        try store.insert(record)
        _ = try self.record(.deviceRegistered, instance: instance, ca: ca, device: record)
        return record
    }
}

extension Snapshot {
    /// No intermediate of the path has the key of an Inactive registered CA certificate of the instance, unless an Active
    /// one has that key too.
    func keysAreGood(_ path: PathRecord) throws -> Bool {
        try path.intermediateKeys.allSatisfy { key in
            try keyState(key, of: path.instance) != .inactive
        }
    }

    func keyState(_ keyHash: SHA256Digest, of instance: InstanceNumber) throws -> RegisteredKeyState {
        let registered = try cas(keyHash: keyHash).filter { $0.instance == instance }
        if registered.isEmpty { return .notRegistered }
        return registered.contains { $0.status == .active } ? .active : .inactive
    }
}

/// What a known device's record adds to a path that is good.
func judgeKnown(_ record: DeviceRecord, contentHash: SHA256Digest, _ verdict: inout Verdict) {
    guard record.contentHash == contentHash else {
        verdict.reason = .deviceSerialReused
        verdict.validUntil = nil
        verdict.detail =
            "another certificate with this serial number, signed by the same key, is registered: fingerprint "
            + record.fingerprint.hex
        return
    }
    switch record.status {
    case .active:
        verdict.reason = .trusted
    case .inactive:
        verdict.reason = .deviceInactive
        verdict.detail = "the device certificate was deactivated; activate it"
    case .pending:
        verdict.reason = .devicePending
        verdict.detail = "the device certificate waits for its activation"
    case .deleted:
        verdict.reason = .deviceDeleted
        verdict.detail = "the device certificate was deleted; only an explicit registration brings it back"
    }
    if record.status != .active { verdict.validUntil = nil }
}
