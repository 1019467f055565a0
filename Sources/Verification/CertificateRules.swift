internal import Certificates

// Rules that speak of one certificate of a path, wherever it stands. `name` is how people find it, and is
// made only where there is something to tell.

/// RFC 5280 sections 4.1.1.2, 4.1.2.2 and 4.2: what makes a certificate malformed although its DER can be read.
///
/// The longest serial number is 128 bytes: RFC 5280 asks for 20, and those who use more are left in up to here.
func checkForm(
    of certificate: Certificate, _ name: @autoclosure () -> String, _ limits: VerificationLimits, _ flaws: inout [Flaw]
) {
    if !certificate.signatureAlgorithmsAgree {
        flaws.append(Flaw(.certificateMalformed, "\(name()): the signature algorithms inside and outside differ"))
    }
    if let duplicate = certificate.extensions.duplicate {
        flaws.append(Flaw(.certificateMalformed, "\(name()): the extension \(duplicate) is there twice"))
    }
    if let unknown = certificate.extensions.unknownCritical {
        flaws.append(Flaw(.certificateMalformed, "\(name()): the critical extension \(unknown) is not known"))
    }
    if certificate.serialNumber.byteCount > limits.serialNumberBytes {
        flaws.append(
            Flaw(
                .certificateMalformed,
                "\(name()): the serial number has \(certificate.serialNumber.byteCount) bytes, \(limits.serialNumberBytes) "
                    + "at most may be"))
    }
}

/// RFC 5280 section 6.1.3 (a) (2). Both ends belong to the period: section 4.1.2.5.
func checkValidity(
    of certificate: Certificate, _ name: @autoclosure () -> String, at instant: Instant, expired: VerdictReason,
    notYetValid: VerdictReason, _ flaws: inout [Flaw]
) {
    if instant > certificate.notAfter {
        flaws.append(Flaw(expired, "\(name()) has expired"))
    } else if instant < certificate.notBefore {
        flaws.append(Flaw(notYetValid, "\(name()) is not valid yet"))
    }
}

/// RFC 5280 section 4.2.1.12, for client authentication: a CA certificate's extendedKeyUsage limits what is below it.
func checkExtendedKeyUsage(of certificate: Certificate, _ name: @autoclosure () -> String, _ flaws: inout [Flaw]) {
    if certificate.extensions.allowsClientAuth == false {
        flaws.append(Flaw(.usageNotAllowed, "\(name()): extendedKeyUsage is without clientAuth"))
    }
}

/// RFC 5280 section 6.1.4 (k) and (n): what an intermediate needs to sign certificates.
func checkIntermediate(_ certificate: Certificate, _ name: @autoclosure () -> String, _ flaws: inout [Flaw]) {
    if certificate.extensions.basicConstraints?.isCA != true {
        flaws.append(
            Flaw(.chainInvalid, "\(name()) signed another certificate and is no CA certificate (basicConstraints)"))
    }
    if let usage = certificate.extensions.keyUsage, !usage.contains(.keyCertSign) {
        flaws.append(Flaw(.chainInvalid, "\(name()) signed another certificate and keyUsage is without keyCertSign"))
    }
}

/// What a device certificate must be: an end entity that may authenticate itself as a TLS client.
///
/// keyUsage: RFC 8446 section 4.4.2.4 needs digitalSignature; keyAgreement is what static ECDH of TLS 1.2 needs.
func checkDevice(_ certificate: Certificate, _ name: @autoclosure () -> String, _ flaws: inout [Flaw]) {
    if certificate.extensions.basicConstraints?.isCA == true {
        flaws.append(Flaw(.usageNotAllowed, "\(name()) is a CA certificate, and no device's"))
    } else if certificate.extensions.nameConstraints != nil {
        // RFC 5280 section 4.2.1.10: only in a CA certificate.
        flaws.append(Flaw(.certificateMalformed, "\(name()) has nameConstraints and is no CA certificate"))
    }
    if certificate.extensions.basicConstraints?.isCA != true,
        certificate.extensions.basicConstraints?.pathLength != nil
            || certificate.extensions.keyUsage?.contains(.keyCertSign) == true
    {
        // RFC 5280 sections 4.2.1.3 and 4.2.1.9: neither without cA.
        flaws.append(
            Flaw(.usageNotAllowed, "\(name()) has keyCertSign or a path length, which a CA certificate alone may have"))
    }
    if let usage = certificate.extensions.keyUsage, usage.isDisjoint(with: [.digitalSignature, .keyAgreement]) {
        flaws.append(Flaw(.usageNotAllowed, "\(name()): keyUsage is without digitalSignature and keyAgreement"))
    }
    checkExtendedKeyUsage(of: certificate, name(), &flaws)
}
