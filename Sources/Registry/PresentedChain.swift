internal import Certificates
internal import Verification

/// The certificates of a Verify, read.
struct PresentedChain {
    let device: Certificate
    /// The others, without repetitions.
    let others: [Certificate]

    /// Reads what was sent: DER, the device's certificate first. One element that is no certificate spoils all.
    static func parse(_ chain: [[UInt8]], limits: RegistryLimits) -> Result<PresentedChain, Flaw> {
        guard !chain.isEmpty else {
            return .failure(Flaw(.certificateMalformed, "no certificate was sent"))
        }
        guard chain.count <= limits.chainCertificates else {
            return .failure(
                Flaw(
                    .chainInvalid,
                    "the chain has \(chain.count) certificates, \(limits.chainCertificates) at most may be"))
        }
        for (index, der) in chain.enumerated() where der.count > limits.certificateBytes {
            return .failure(
                Flaw(
                    .certificateTooLarge,
                    "chain[\(index)] has \(der.count) bytes, \(limits.certificateBytes) at most may be"))
        }
        let total = chain.reduce(0) { $0 + $1.count }
        guard total <= limits.chainBytes else {
            return .failure(
                Flaw(.certificateTooLarge, "the chain has \(total) bytes, \(limits.chainBytes) at most may be"))
        }
        var certificates: [Certificate] = []
        for (index, der) in chain.enumerated() where !certificates.contains(where: { $0.der == der }) {
            do {
                certificates.append(try Certificate(der: der))
            } catch {
                return .failure(Flaw(.certificateMalformed, "chain[\(index)] is no certificate: \(error)"))
            }
        }
        return .success(PresentedChain(device: certificates[0], others: Array(certificates.dropFirst())))
    }
}

/// Refuses an upload that holds no certificate that could be looked at.
///
/// - Parameter what: what the file should be, as the beginning of a sentence.
func uploadRefusal(_ error: PEM.UploadError, _ what: String) -> Refusal {
    switch error {
    case .privateKey:
        Refusal(
            .privateKeyUploaded,
            "\(what) also holds a private key. It was neither stored nor logged; send the certificate alone, and consider "
                + "the key as exposed.")
    case .tooLarge:
        Refusal(.certificateTooLarge, "\(what) has more than \(PEM.maximumCertificateBytes) bytes.")
    case .malformed(let why):
        Refusal(.certificateMalformed, "\(what) is not one certificate in PEM or DER: \(why).")
    }
}

/// Reads a certificate that was uploaded.
func readUpload(_ der: [UInt8], _ what: String) throws(Refusal) -> Certificate {
    do {
        return try Certificate(der: der)
    } catch {
        throw Refusal(
            .certificateMalformed, "\(what) is not a certificate in strict DER: \(error).",
            metadata: ["offset": String(error.offset), "field": error.field.rawValue])
    }
}
