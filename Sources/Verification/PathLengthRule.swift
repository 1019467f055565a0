internal import Certificates

/// RFC 5280 sections 4.2.1.9 and 6.1.4 (l), (m): a pathLenConstraint counts the intermediates below that are not self-issued.
///
/// - Parameter path: the device's issuer first, the anchor last.
func checkPathLengths(_ path: [PathCertificate], _ flaws: inout [Flaw]) {
    var below = 0
    for (index, link) in path.enumerated() {
        if let limit = link.certificate.extensions.basicConstraints?.pathLength, below > limit {
            flaws.append(
                Flaw(
                    .chainInvalid,
                    "\(link.name): its path length constraint is \(limit), and \(below) intermediates follow"))
        }
        // The anchor is no intermediate, and the count ends with it.
        if index < path.count - 1, !link.isSelfIssued { below += 1 }
    }
}
