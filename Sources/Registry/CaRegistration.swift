internal import Certificates
public import RegistryStore
public import Signatures
internal import Verification

/// What RegisterCaCertificate is given.
public struct CaUpload: Sendable {
    public var instanceID: String
    /// PEM or DER.
    public var caCertificate: [UInt8]
    /// PEM or DER: the proof of possession.
    public var verificationCertificate: [UInt8]
    public var name: String
    public var deviceRegistration: DeviceRegistration

    /// All fields.
    public init(
        instanceID: String, caCertificate: [UInt8], verificationCertificate: [UInt8], name: String,
        deviceRegistration: DeviceRegistration
    ) {
        self.instanceID = instanceID
        self.caCertificate = caCertificate
        self.verificationCertificate = verificationCertificate
        self.name = name
        self.deviceRegistration = deviceRegistration
    }
}

extension Registry {
    /// RegisterCaCertificate: the first check that fails is the answer, and then nothing has changed.
    ///
    /// What the files say is judged here; what can change between two callers is decided inside the write transaction, in
    /// the same order.
    ///
    /// - Parameter signatures: this thread's checker.
    public func registerCa(
        _ upload: CaUpload, signatures: SignatureVerifier, caller: Caller,
        completion: @escaping @Sendable (Result<CaView, any Error>) -> Void
    ) {
        let candidate: CaCandidate
        do {
            try read { snapshot in
                try requireEdition(of: try snapshot.requireInstance(upload.instanceID))
            }
            try requireName(upload.name, limits: limits)
            candidate = try CaCandidate(upload, at: now, signatures: signatures)
        } catch {
            return completion(.failure(error))
        }
        let limits = limits
        let bytes = upload.caCertificate.count + upload.verificationCertificate.count
        writer.submit(method: "RegisterCaCertificate", caller: caller, bytes: bytes) { context in
            try context.register(candidate, upload, limits: limits)
        } completion: {
            completion($0)
        }
    }
}

/// A CA certificate that may become a trust anchor, with its proof.
struct CaCandidate: Sendable {
    let certificate: Certificate
    let fingerprint: SHA256Digest
    let keyHash: SHA256Digest
    let subjectHash: SHA256Digest
    /// The proof's one CommonName; nil where it has none or several.
    let code: String?
    /// What is wrong with the proof besides its code: told after the code was looked at.
    let proofRefusal: Refusal?

    /// Judges what the files say.
    ///
    /// - Throws: ``Refusal``.
    init(_ upload: CaUpload, at now: Instant, signatures: SignatureVerifier) throws {
        let (caBytes, proofBytes) = try Self.uploads(upload)
        certificate = try readUpload(caBytes, CaRules.what)
        let proof = try readUpload(proofBytes, "The verification certificate's file")
        try CaRules.checkKey(of: certificate, signatures: signatures)
        try CaRules.checkIsCa(certificate)
        try CaRules.checkValidity(of: certificate, at: now)
        try CaRules.checkSignature(of: certificate, signatures: signatures)
        try CaRules.checkSerialNumber(of: certificate)
        fingerprint = SHA256Digest(hashing: certificate.der)
        keyHash = SHA256Digest(hashing: certificate.publicKeyInfoBytes)
        subjectHash = SHA256Digest(hashing: certificate.subject.normalized)
        let names = proof.subject.commonNames
        code = names.count == 1 ? names[0] : nil
        do throws(Refusal) {
            try ProofRules.check(proof, of: certificate, at: now, signatures: signatures)
            proofRefusal = nil
        } catch {
            proofRefusal = error
        }
    }

    /// The DER of both files. A private key in either is told before anything else.
    private static func uploads(_ upload: CaUpload) throws -> (ca: [UInt8], proof: [UInt8]) {
        var refusals: [(rank: Int, refusal: Refusal)] = []
        func read(_ bytes: [UInt8], _ what: String) -> [UInt8] {
            do throws(PEM.UploadError) {
                return try PEM.certificate(in: bytes)
            } catch {
                let rank =
                    switch error {
                    case .privateKey: 0
                    case .tooLarge: 1
                    case .malformed: 2
                    }
                refusals.append((rank, uploadRefusal(error, what)))
                return []
            }
        }
        let ca = read(upload.caCertificate, CaRules.what)
        let proof = read(upload.verificationCertificate, "The verification certificate's file")
        if let first = refusals.min(by: { $0.rank < $1.rank }) { throw first.refusal }
        return (ca, proof)
    }
}

extension CommandContext {
    /// Registers a candidate, unless what is registered stands against it.
    func register(_ candidate: CaCandidate, _ upload: CaUpload, limits: RegistryLimits) throws -> CaView {
        let snapshot = store.snapshot
        let instance = try snapshot.requireInstance(upload.instanceID)
        try requireEdition(of: instance)
        let codeHash = try snapshot.requireCode(candidate.code, of: instance, at: now)
        if let refusal = candidate.proofRefusal { throw refusal }
        try requireUnique(candidate, in: instance)
        try requireRoom(in: instance, limits: limits)

        let record = CaRecord(
            id: try store.newCaID(), instance: instance.number, instanceID: instance.id,
            serialNumber: candidate.certificate.serialNumber, name: upload.name, status: .active,
            deviceRegistration: upload.deviceRegistration, registerTime: now, updateTime: now,
            revision: try nextRevision(), fingerprint: candidate.fingerprint, keyHash: candidate.keyHash,
            subjectHash: candidate.subjectHash, der: candidate.certificate.der)
        try store.insert(record)
        guard var code = try snapshot.code(codeHash, of: instance.number) else {
            throw StoreFault.damaged(table: "codes", key: codeHash.bytes, finding: .missing)
        }
        // Kept until it would have expired, so that a second use is told from a guess.
        code.isUsed = true
        try store.put(KeptCode(hash: codeHash, record: code), of: instance.number)
        _ = try self.record(.caRegistered, instance: instance, ca: record)
        return CaView(record: record, deviceCount: 0)
    }

    private func requireUnique(_ candidate: CaCandidate, in instance: InstanceRecord) throws {
        let snapshot = store.snapshot
        func holder(_ record: CaRecord) -> [String: String] {
            ["sn": record.serialNumber.text, "instance_id": record.instanceID]
        }
        if let same = try snapshot.ca(fingerprint: candidate.fingerprint) {
            throw Refusal(
                .caAlreadyRegistered,
                "This CA certificate is registered already, with the instance \(quoted(same.instanceID)).",
                metadata: holder(same))
        }
        if let foreign = try snapshot.cas(keyHash: candidate.keyHash).first(where: { $0.instance != instance.number }) {
            throw Refusal(
                .caOfAnotherInstance,
                "A CA certificate with this public key is registered with the instance \(quoted(foreign.instanceID)). A CA "
                    + "belongs to one instance of a region.",
                metadata: holder(foreign))
        }
        if let other = try snapshot.ca(candidate.certificate.serialNumber) {
            throw Refusal(
                .snAlreadyRegistered,
                "Another CA certificate with the SN \(other.serialNumber.text) is registered with the instance "
                    + "\(quoted(other.instanceID)). SNs are unique in the region: issue the CA certificate with a new one.",
                metadata: holder(other))
        }
    }

    private func requireRoom(in instance: InstanceRecord, limits: RegistryLimits) throws {
        let held = try store.tally(of: instance.number).cas
        guard held < limits.caCertificatesPerInstance else {
            throw Refusal(
                .limitReached,
                "The instance \(quoted(instance.id)) holds \(held) CA certificates, which is the limit. Delete some.",
                metadata: ["instance_id": instance.id, "limit": "ca_certificates_per_instance"])
        }
        guard try store.snapshot.caCount() < limits.caCertificates else {
            throw Refusal(
                .limitReached, "The region holds \(limits.caCertificates) CA certificates, which is its limit.",
                metadata: ["limit": "ca_certificates"])
        }
    }
}
