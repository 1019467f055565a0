internal import Certificates

/// A certificate of a path, as the rules on whole paths ask of it. What takes work is found out once for a search, however
/// many paths lead through the certificate.
final class PathCertificate {
    let certificate: Certificate
    private let makeName: () -> String

    /// - Parameter name: what people call it; it is made only where there is something to tell.
    init(_ certificate: Certificate, name: @escaping () -> String) {
        self.certificate = certificate
        makeName = name
    }

    private(set) lazy var name: String = makeName()
    private(set) lazy var isSelfIssued: Bool = certificate.isSelfIssued
    /// The names that the constraints of others speak of.
    private(set) lazy var constrainedNames = ConstrainedNames(certificate)
    /// Its own constraints on the names of those below.
    private(set) lazy var nameConstraints: NameConstraintBases? = certificate.nameConstraints.map(
        NameConstraintBases.init)
}
