internal import Certificates
public import RegistryStore
internal import Signatures
internal import Verification

/// What RegisterDeviceCertificate is given.
public struct DeviceUpload: Sendable {
    public var instanceID: String
    /// PEM or DER.
    public var certificate: [UInt8]
    /// Intermediates, PEM (several in one element are fine) or DER, in any order.
    public var chain: [[UInt8]]

    /// All fields.
    public init(instanceID: String, certificate: [UInt8], chain: [[UInt8]]) {
        self.instanceID = instanceID
        self.certificate = certificate
        self.chain = chain
    }
}

extension Registry {
    /// RegisterDeviceCertificate: judged as Verify judges, but for its validity period, and stored Active. A tombstone is lifted.
    ///
    /// - Parameters:
    ///   - tools: this thread's.
    ///   - again: takes work to a thread like this one; where it drops it, nobody is told.
    public func registerDevice(
        _ upload: DeviceUpload, tools: VerificationTools, caller: Caller,
        again: @escaping OnVerificationThread = { $0(VerificationTools()) },
        completion: @escaping @Sendable (Result<DeviceView, any Error>) -> Void
    ) {
        registerDevice(
            upload, tools: tools, caller: caller, attempts: Self.firstSightAttempts, again: again,
            completion: completion)
    }

    private func registerDevice(
        _ upload: DeviceUpload, tools: VerificationTools, caller: Caller, attempts: Int,
        again: @escaping OnVerificationThread, completion: @escaping @Sendable (Result<DeviceView, any Error>) -> Void
    ) {
        let sighting: Sighting
        do {
            sighting = try read { snapshot in
                try self.sighting(of: upload, in: snapshot, tools: tools)
            }
        } catch {
            return completion(.failure(error))
        }
        writer.submit(method: "RegisterDeviceCertificate", caller: caller, bytes: sighting.byteCount) { context in
            try context.registerExplicitly(sighting)
        } completion: { (result: Result<DeviceView?, any Error>) in
            switch result {
            case .success(let view?): completion(.success(view))
            case .success(nil) where attempts > 1:
                // A change was committed in between: judged again.
                again { tools in
                    self.registerDevice(
                        upload, tools: tools, caller: caller, attempts: attempts - 1, again: again,
                        completion: completion)
                }
            case .success(nil):
                completion(
                    .failure(
                        Refusal(
                            .deviceNotIssuedByCa,
                            "The CA certificates of the instance were changed while the device was registered. Try again."
                        )))
            case .failure(let error): completion(.failure(error))
            }
        }
    }

    private func sighting(
        of upload: DeviceUpload, in snapshot: Snapshot, tools: VerificationTools
    ) throws -> Sighting {
        let instance = try snapshot.requireInstance(upload.instanceID)
        let (device, others) = try certificates(of: upload)
        let anchors = InstanceAnchors(snapshot: snapshot, instance: instance, tools: tools)
        var search = PathSearch(
            device: device, others: others, at: now, limits: limits.verification, ignoresDevicePeriod: true,
            environment: anchors)
        var found: ValidatedPath?
        let outcome = try search.run { path in
            found = path
            return true
        }
        if let found {
            return Sighting(
                found, of: device, fingerprint: SHA256Digest(hashing: device.der),
                contentHash: SHA256Digest(hashing: device.toBeSignedBytes), ca: try anchors.met.record(of: found.anchor)
            )
        }
        guard case .refused(let flaws, let anchor) = outcome else {
            preconditionFailure("a path was accepted and not found")
        }
        throw Self.refusal(flaws, anchor, instance)
    }

    private func certificates(of upload: DeviceUpload) throws -> (device: Certificate, others: [Certificate]) {
        let what = "The device certificate's file"
        let deviceDER: [UInt8]
        do throws(PEM.UploadError) {
            deviceDER = try PEM.certificate(in: upload.certificate)
        } catch {
            throw uploadRefusal(error, what)
        }
        var others: [Certificate] = []
        var bytes = deviceDER.count
        for (index, element) in upload.chain.enumerated() {
            let whatElement = "Element \(index) of the chain"
            let ders: [[UInt8]]
            do throws(PEM.UploadError) {
                ders = try PEM.certificates(in: element)
            } catch {
                throw uploadRefusal(error, whatElement)
            }
            for der in ders {
                let certificate = try readUpload(der, whatElement)
                guard der != deviceDER, !others.contains(certificate) else { continue }
                others.append(certificate)
                bytes += der.count
                guard bytes <= limits.chainBytes else {
                    throw Refusal(
                        .certificateTooLarge,
                        "The device certificate and its chain have more than \(limits.chainBytes) bytes.",
                        metadata: ["field": "chain"])
                }
            }
        }
        guard others.count < limits.chainCertificates else {
            throw Refusal(
                .argumentInvalid,
                "The chain holds \(others.count) certificates; \(limits.chainCertificates - 1) beside the device's are taken.",
                metadata: ["field": "chain"])
        }
        return (try readUpload(deviceDER, what), others)
    }

    /// What stands against an explicit registration, as a refusal.
    private static func refusal(_ flaws: [Flaw], _ anchor: TrustAnchor?, _ instance: InstanceRecord) -> Refusal {
        let answer = summary(of: flaws) ?? Flaw(.caUnknown, "no path leads to a CA certificate of the instance")
        var metadata = ["instance_id": instance.id]
        metadata["ca_sn"] = anchor?.certificate.serialNumber.text
        let reason: RefusalReason =
            switch answer.reason {
            case .certificateMalformed: .certificateMalformed
            case .certificateTooLarge: .certificateTooLarge
            case .algorithmNotAllowed: .algorithmNotAllowed
            case .caExpired: .caExpired
            case .caNotYetValid: .caNotYetValid
            case .trusted, .instanceUnknown, .caUnknown, .caOfAnotherInstance, .caInactive, .signatureInvalid,
                .chainInvalid, .nameNotPermitted, .usageNotAllowed, .deviceExpired, .deviceNotYetValid, .deviceInactive,
                .devicePending, .deviceNotRegistered, .deviceDeleted, .deviceSerialReused:
                .deviceNotIssuedByCa
            }
        return Refusal(
            reason,
            "The device certificate cannot be registered with the instance \(quoted(instance.id)): \(answer.detail).",
            metadata: metadata)
    }
}

extension CommandContext {
    /// Stores a device Active; nil where what it was judged on has changed.
    func registerExplicitly(_ sighting: Registry.Sighting) throws -> DeviceView? {
        let snapshot = store.snapshot
        guard let ca = try snapshot.ca(sighting.ca), ca.status == .active,
            let instance = try snapshot.instance(sighting.instanceID), instance.number == ca.instance,
            try snapshot.keysAreGood(sighting.path)
        else { return nil }
        let known = try snapshot.device(
            signingKeyHash: sighting.signingKeyHash, serialNumber: sighting.certificate.serialNumber,
            contentHash: sighting.contentHash, of: instance.number)
        guard let known else {
            let record = try insertDevice(sighting, status: .active, ca: ca, instance: instance)
            return DeviceView(record: record, ca: ca)
        }
        guard known.status == .deleted else { throw try alreadyRegistered(known, sighting) }
        var record = known
        record.ca = ca.id
        record.path = try store.intern(sighting.path, certificates: sighting.intermediates).id
        record.status = .active
        record.registerTime = now
        record.updateTime = now
        record.revision = try nextRevision()
        record.fingerprint = sighting.fingerprint
        record.contentHash = sighting.contentHash
        record.der = sighting.certificate.der
        try store.update(known, to: record)
        _ = try self.record(.deviceRegistered, instance: instance, ca: ca, device: record)
        return DeviceView(record: record, ca: ca)
    }

    private func alreadyRegistered(_ known: DeviceRecord, _ sighting: Registry.Sighting) throws -> Refusal {
        let isSame = known.contentHash == sighting.contentHash
        var metadata = [
            "sn": known.serialNumber.text, "fingerprint": known.fingerprint.hex, "status": "\(known.status)",
            // Whoever registers many tells those that are there from those that are in the way of others.
            "same_device": "\(isSame)",
        ]
        metadata["ca_sn"] = try store.snapshot.ca(known.ca)?.serialNumber.text
        return Refusal(
            .deviceAlreadyRegistered,
            isSame
                ? "This device certificate is registered already. Its status is changed with activate, deactivate and delete."
                : "Another device certificate with the SN \(known.serialNumber.text), signed by the same key, is registered. "
                    + "Issue the device certificate with a serial number of its own.",
            metadata: metadata)
    }
}
