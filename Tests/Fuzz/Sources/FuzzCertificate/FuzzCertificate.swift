import Fuzzer

@testable import Certificates

@main struct FuzzCertificate {
    /// Everything that can be asked of a certificate.
    static func main() {
        fuzz { input in
            guard let certificate = try? Certificate(der: input) else { return }
            for name in [certificate.subject, certificate.issuer] {
                precondition(name.description.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f })
                precondition(name.isWithin(name) && name.normalizedSets.count == name.attributeSets.count)
                _ = (name.displayCommonName, name.emailAddresses, name.normalized)
            }
            let serial = certificate.serialNumber
            precondition((try? SerialNumber(text: serial.text)) == serial)
            precondition(certificate.subjectAltNames.isEmpty == (certificate.extensions.subjectAltName == nil))
            precondition((certificate.nameConstraints == nil) == (certificate.extensions.nameConstraints == nil))
            _ = (certificate.isSelfIssued, certificate.publicKeyInfoBytes.count, certificate.toBeSignedBytes.count)
        }
    }
}
