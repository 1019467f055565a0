internal import Certificates
internal import RegistryStore
internal import Signatures
internal import Verification

/// Decides one Verify in one snapshot.
///
/// A known device is decided on the path that it was registered with, and needs no signature check. Where that path is in the
/// way, and for a device that is seen for the first time, paths are searched.
struct Judge {
    let registry: Registry
    let snapshot: Snapshot
    let instance: InstanceRecord
    let chain: PresentedChain
    /// SHA-256 of the device certificate.
    let fingerprint: SHA256Digest
    let instant: Instant
    let tools: VerificationTools
    let hearsOf: Set<String>?

    private var device: Certificate { chain.device }

    mutating func decide(_ verdict: Verdict) throws -> Registry.Decision {
        var verdict = verdict
        let contentHash = SHA256Digest(hashing: device.toBeSignedBytes)
        let known = try snapshot.devices(contentHash: contentHash, of: instance.number)
        for record in known where try decideKnown(record, &verdict) {
            return Registry.Decision(verdict: verdict)
        }
        return try search(verdict, known: known, contentHash: contentHash)
    }

    // MARK: Known devices

    /// Decides a device that is known by this very certificate: without a signature check. Nil where it takes more.
    func decideAtOnce(_ verdict: Verdict) throws -> Verdict? {
        let known = try snapshot.devices(
            contentHash: SHA256Digest(hashing: device.toBeSignedBytes), of: instance.number)
        // Of several, the first that its path decides: that may take signatures.
        guard known.count == 1, let record = known.first, fingerprint == record.fingerprint else {
            return nil
        }
        var verdict = verdict
        return try decideKnown(record, &verdict) ? verdict : nil
    }

    /// Decides a device on its stored path.
    ///
    /// - Returns: false where that path, or the signature, is in the way: then another one may do.
    private func decideKnown(_ record: DeviceRecord, _ verdict: inout Verdict) throws -> Bool {
        let path = try snapshot.path(record.path)
        guard path.ca == record.ca, let ca = try snapshot.ca(path.ca) else {
            throw StoreFault.damaged(table: "paths", key: bigEndianBytes(record.path.number), finding: .disagreement)
        }
        guard ca.status == .active, path.notBefore <= instant, instant <= path.notAfter,
            try snapshot.keysAreGood(path),
            try snapshot.keyState(SHA256Digest(hashing: device.publicKeyInfoBytes), of: instance.number) != .inactive,
            try isSigned(like: record, path, ca)
        else { return false }
        verdict.ca = ca.serialNumber
        if let flaw = periodFlaw {
            verdict.reason = flaw.reason
            verdict.detail = flaw.detail
            verdict.validUntil = end(of: flaw.reason, anchor: nil)
            if record.status != .active {
                var barred = verdict
                judgeKnown(record, contentHash: record.contentHash, &barred)
                verdict.detail += "; also: " + barred.detail
            }
            return true
        }
        verdict.validUntil = firstMoment(after: min(path.notAfter, device.notAfter))
        judgeKnown(record, contentHash: record.contentHash, &verdict)
        return true
    }

    /// Whether the certificate is the one that was seen, or has another good signature of the same key: anybody can make a
    /// second signature of an ECDSA one (r, n-s).
    private func isSigned(like record: DeviceRecord, _ path: PathRecord, _ ca: CaRecord) throws -> Bool {
        if fingerprint == record.fingerprint { return true }
        let issuer: Certificate
        if let first = path.intermediates.first {
            issuer = try storedCertificate(try snapshot.intermediate(first), table: "intermediates", id: 0)
        } else {
            issuer = try storedCertificate(ca.der, table: "cas", id: ca.id.number)
        }
        return device.signatureAlgorithmsAgree && tools.signatures.verifies(device, with: issuer)
    }

    private var periodFlaw: Flaw? {
        if instant > device.notAfter { return Flaw(.deviceExpired, "the device certificate has expired") }
        if instant < device.notBefore { return Flaw(.deviceNotYetValid, "the device certificate is not valid yet") }
        return nil
    }

    /// When time alone ends a refusal: what is not valid yet will be.
    private func end(of reason: VerdictReason, anchor: TrustAnchor?) -> Instant? {
        switch reason {
        case .deviceNotYetValid: device.notBefore
        case .caNotYetValid: anchor?.certificate.notBefore
        default: nil
        }
    }

    private func firstMoment(after last: Instant) -> Instant? {
        let (moment, overflows) = last.secondsSince1970.addingReportingOverflow(1)
        return overflows ? nil : Instant(secondsSince1970: moment)
    }

    // MARK: Search

    /// A path to a CA record that does not let an unknown device in by itself.
    private struct Reluctant {
        var verdict: Verdict
        var sighting: Registry.Sighting?
    }

    private func search(
        _ initial: Verdict, known: [DeviceRecord], contentHash: SHA256Digest
    ) throws -> Registry.Decision {
        let anchors = InstanceAnchors(snapshot: snapshot, instance: instance, tools: tools)
        var search = PathSearch(
            device: device, others: chain.others + (try storedIntermediates(known)), at: instant,
            limits: registry.limits.verification, environment: anchors)
        var decided: Registry.Decision?
        var reluctant: Reluctant?
        let outcome = try search.run { path in
            let decision = try decide(
                initial, on: path, ca: try anchors.met.record(of: path.anchor), known: known, contentHash: contentHash)
            // A CA certificate that registers devices by itself may be behind one that does not.
            if decision.verdict.reason == .devicePending && decision.sighting != nil
                || decision.verdict.reason == .deviceNotRegistered
            {
                if reluctant == nil || reluctant?.sighting == nil && decision.sighting != nil {
                    reluctant = Reluctant(verdict: decision.verdict, sighting: decision.sighting)
                }
                return false
            }
            decided = decision
            return true
        }
        if let decided { return decided }
        if let reluctant { return Registry.Decision(verdict: reluctant.verdict, sighting: reluctant.sighting) }
        guard case .refused(let flaws, let anchor) = outcome else {
            preconditionFailure("a path was accepted and not decided")
        }
        return Registry.Decision(verdict: try refused(initial, flaws, anchor, known))
    }

    /// Decides a device on a path that keeps every rule.
    private func decide(
        _ initial: Verdict, on path: ValidatedPath, ca: CaRecord, known: [DeviceRecord], contentHash: SHA256Digest
    ) throws -> Registry.Decision {
        var verdict = initial
        verdict.ca = ca.serialNumber
        verdict.validUntil = firstMoment(after: min(path.validity.notAfter, device.notAfter))
        // Barred once, barred on every path, whichever key a signature of it verifies with.
        if let barred = known.first(where: { $0.status != .active }) {
            judgeKnown(barred, contentHash: contentHash, &verdict)
            return Registry.Decision(verdict: verdict)
        }
        let sighting = Registry.Sighting(
            path, of: device, fingerprint: fingerprint, contentHash: contentHash, ca: ca)
        if let record = try snapshot.device(
            signingKeyHash: sighting.signingKeyHash, serialNumber: device.serialNumber, of: instance.number,
            sameContent: known)
        {
            judgeKnown(record, contentHash: contentHash, &verdict)
            return Registry.Decision(verdict: verdict)
        }
        switch ca.deviceRegistration {
        case .automatic:
            verdict.reason = .trusted
            return Registry.Decision(verdict: verdict, sighting: sighting)
        case .pending:
            verdict.reason = .devicePending
            verdict.detail = "the device certificate waits for its activation"
            verdict.validUntil = nil
            return Registry.Decision(verdict: verdict, sighting: sighting)
        case .explicit:
            verdict.reason = .deviceNotRegistered
            verdict.detail =
                "CA certificate \(ca.serialNumber.text) takes devices that were registered beforehand only; register this one"
            verdict.validUntil = nil
            return Registry.Decision(verdict: verdict)
        }
    }

    /// The intermediates that a known device was registered with: a broker may show its certificate alone.
    private func storedIntermediates(_ known: [DeviceRecord]) throws -> [Certificate] {
        var stored: [Certificate] = []
        for record in known {
            for hash in try snapshot.path(record.path).intermediates {
                let certificate = try storedCertificate(
                    try snapshot.intermediate(hash), table: "intermediates", id: 0)
                if !chain.others.contains(certificate), !stored.contains(certificate) { stored.append(certificate) }
            }
        }
        return stored
    }

    // MARK: Refusals

    private func refused(
        _ initial: Verdict, _ flaws: [Flaw], _ anchor: TrustAnchor?, _ known: [DeviceRecord]
    ) throws -> Verdict {
        var verdict = initial
        var flaws = flaws
        for record in known where record.status != .active {
            var barred = initial
            judgeKnown(record, contentHash: record.contentHash, &barred)
            flaws.append(Flaw(barred.reason, barred.detail))
        }
        let answer = summary(of: flaws) ?? Flaw(.caUnknown, "no path leads to a CA certificate of the instance")
        verdict.reason = answer.reason
        verdict.detail = answer.detail
        verdict.ca = anchor?.certificate.serialNumber
        verdict.validUntil = end(of: answer.reason, anchor: anchor)
        guard [.caUnknown, .signatureInvalid].contains(answer.reason),
            hearsOf != [], let owner = try foreignOwner()
        else { return verdict }
        verdict.reason = .caOfAnotherInstance
        verdict.ca = owner.serialNumber
        verdict.detail =
            "the device certificate belongs to CA certificate \(owner.serialNumber.text) of the instance "
            + quoted(owner.instanceID)
        return verdict
    }

    /// The CA record of another instance that signed paths of this device lead to.
    private func foreignOwner() throws -> CaRecord? {
        var search = PathSearch(
            device: device, others: chain.others, at: instant, limits: registry.limits.verification,
            ignoresDevicePeriod: true,
            environment: ForeignAnchors(
                snapshot: snapshot, instance: instance, signatures: tools.signatures,
                limit: registry.limits.foreignAnchors, instances: hearsOf))
        var found: TrustAnchor?
        let outcome = try search.run { path in
            found = path.anchor
            return true
        }
        if case .refused(let flaws, let anchor) = outcome,
            !flaws.contains(where: { [.caUnknown, .signatureInvalid, .algorithmNotAllowed].contains($0.reason) })
        {
            found = anchor
        }
        return try found.flatMap { try snapshot.ca(CaID($0.number)) }
    }
}

extension Registry.Sighting {
    /// What is kept of a device that was seen on a path.
    init(
        _ path: ValidatedPath, of device: Certificate, fingerprint: SHA256Digest, contentHash: SHA256Digest,
        ca: CaRecord
    ) {
        self.init(
            instanceID: ca.instanceID, certificate: device, fingerprint: fingerprint,
            contentHash: contentHash, signingKeyHash: SHA256Digest(hashing: path.issuer.publicKeyInfoBytes), ca: ca.id,
            mode: ca.deviceRegistration,
            path: PathRecord(
                instance: ca.instance, ca: ca.id,
                intermediates: path.intermediates.map { SHA256Digest(hashing: $0.der) },
                intermediateKeys: path.intermediates.map { SHA256Digest(hashing: $0.publicKeyInfoBytes) },
                notBefore: path.validity.notBefore, notAfter: path.validity.notAfter),
            intermediates: path.intermediates.map(\.der))
    }
}
