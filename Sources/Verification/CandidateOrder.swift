internal import Certificates

/// In which order candidates are tried: all of it is in the certificates themselves.
struct CandidateOrder: Comparable {
    /// 0: the key identifiers say so; 1: they say nothing; 2: they say otherwise.
    let keyIdentifiers: Int
    let isIntermediate: Int
    let preference: Int
    let latestNotAfter: Int64
    let der: [UInt8]

    init(_ issuer: Certificate, of subject: Certificate, isIntermediate: Bool, preference: Int) {
        if let wanted = subject.extensions.authorityKeyIdentifier, let own = issuer.extensions.subjectKeyIdentifier {
            keyIdentifiers = subject.der[wanted] == issuer.der[own] ? 0 : 2
        } else {
            keyIdentifiers = 1
        }
        self.isIntermediate = isIntermediate ? 1 : 0
        self.preference = preference
        latestNotAfter = issuer.notAfter.secondsSince1970
        der = issuer.der
    }

    static func < (left: CandidateOrder, right: CandidateOrder) -> Bool {
        let first = (left.keyIdentifiers, left.isIntermediate, left.preference, -left.latestNotAfter)
        let second = (right.keyIdentifiers, right.isIntermediate, right.preference, -right.latestNotAfter)
        return first == second ? left.der.lexicographicallyPrecedes(right.der) : first < second
    }
}
