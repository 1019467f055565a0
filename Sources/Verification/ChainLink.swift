internal import Certificates

/// A certificate of the chain that was sent.
struct ChainLink {
    let facts: PathCertificate
    /// Where it stands in what was sent: 0 is the device's.
    let index: Int
    /// The normalized name of its issuer.
    let issuer: [UInt8]
    /// Numbers that are equal where names or keys are: nothing is compared byte by byte in the search itself. The device's
    /// name is nobody's issuer, and has none.
    let subjectNumber: Int?
    let issuerNumber: Int
    let keyNumber: Int
    /// What bars it as an intermediate.
    let intermediateFlaws: [Flaw]
    let leastReason: UInt8

    var certificate: Certificate { facts.certificate }
    var name: String { facts.name }
}

extension ChainLink {
    init(
        index: Int, _ certificate: Certificate, at instant: Instant, _ limits: VerificationLimits,
        _ names: inout Numbering,
        _ keys: inout Numbering
    ) {
        let facts = PathCertificate(certificate) {
            if index == 0 { return "the device certificate" }
            return "chain[\(index)] (\(String(certificate.subject.description.prefix(120))))"
        }
        self.facts = facts
        self.index = index
        issuer = certificate.issuer.normalized
        issuerNumber = names.number(of: issuer)
        keyNumber = keys.number(of: certificate.publicKeyInfoBytes)
        guard index > 0 else {
            subjectNumber = nil
            intermediateFlaws = []
            leastReason = .max
            return
        }
        subjectNumber = names.number(of: certificate.subject.normalized)
        var name: String { facts.name }
        var flaws: [Flaw] = []
        checkForm(of: certificate, name, limits, &flaws)
        if !certificate.signatureAlgorithm.isAllowedInPaths {
            flaws.append(Flaw(.algorithmNotAllowed, "\(name): its signature algorithm is not allowed"))
        }
        if let flaw = KeyRule.flaw(ofCaKey: certificate.keyAlgorithm) {
            flaws.append(Flaw(.algorithmNotAllowed, "\(name) has \(flaw.words)"))
        }
        checkIntermediate(certificate, name, &flaws)
        checkExtendedKeyUsage(of: certificate, name, &flaws)
        checkValidity(
            of: certificate, name, at: instant, expired: .chainInvalid, notYetValid: .chainInvalid, &flaws)
        intermediateFlaws = flaws
        leastReason = flaws.leastReason
    }
}

extension [Flaw] {
    /// The raw value of the reason that would be told first.
    var leastReason: UInt8 { reduce(.max) { Swift.min($0, $1.reason.rawValue) } }
}
