internal import Certificates
internal import Registry
internal import RegistryStore
internal import Signatures
internal import TrustMap
internal import Verification

extension FastPath {
    /// Verify for a device that a map trusts, as a broker is told by the map itself: no table is read, no signature checked.
    ///
    /// - Returns: nil where the maps say no, or do not say: then the registry is asked.
    func verdict(on question: VerifyQuestion) -> Verdict? {
        // What else was sent may be no certificate, which the registry has to say.
        guard question.at == nil, question.chain.count == 1, let der = question.chain.first else { return nil }
        let digest = SHA256Digest(hashing: der)
        guard let fingerprint = MapFingerprint(digest: digest.bytes),
            let trust = trust(in: fingerprint, of: question.instanceID),
            let ca = try? SerialNumber(text: trust.anchorSerialNumber)
        else { return nil }
        var verdict = Verdict(reason: .trusted, revision: Revision(trust.revision))
        verdict.ca = ca
        verdict.device = Certificate.serialNumber(inKnown: der)
        verdict.fingerprint = digest
        verdict.validUntil = trust.validUntil.map { Instant(secondsSince1970: $0) }
        return verdict
    }
}
