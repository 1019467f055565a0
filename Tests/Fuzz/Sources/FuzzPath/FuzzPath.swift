import Certificates
import Fuzzer
import TestPKI
import Verification

@main struct FuzzPath {
    /// A device, what it sent along, and the anchors of its instance, all made of the input. The answer must be sound, and
    /// must not depend on the order in which certificates were sent or registered.
    static func main() {
        fuzz { input in
            var source = CertificateSource(input)
            let device = source.certificate()
            let anchors = source.certificates(upTo: 5)
            let others = source.certificates(upTo: 15)
            guard let device else { return }
            var registry = FuzzRegistry(anchors)
            let path = search(device, others, &registry)
            registry.anchors.reverse()
            let again = search(device, others.reversed(), &registry)
            precondition(path == again)
            if let certificates = path.certificates { precondition(isSound(certificates)) }
        }
    }

    private struct Answer: Equatable {
        var certificates: [Certificate]?
        var reasons: [VerdictReason] = []
    }

    private static let now = Instant(secondsSince1970: TestTime.now)

    private static func search(
        _ device: Certificate, _ others: [Certificate], _ registry: inout FuzzRegistry
    ) -> Answer {
        var search = PathSearch(
            device: device, others: others, at: now, limits: VerificationLimits(), environment: registry)
        var accepted: [Certificate]?
        let outcome = try? search.run { path in
            accepted = [device] + path.intermediates + [path.anchor.certificate]
            return true
        }
        switch outcome {
        case .accepted: return Answer(certificates: accepted)
        case .refused(let flaws, _):
            precondition(summary(of: flaws).map { $0.detail.utf8.count < 5_000 } ?? false)
            return Answer(reasons: flaws.map(\.reason))
        case nil: preconditionFailure("this registry never fails")
        }
    }

    /// The plainest of the rules, written down once more.
    private static func isSound(_ path: [Certificate]) -> Bool {
        zip(path, path.dropFirst()).allSatisfy { subject, issuer in
            FuzzRegistry.isSigned(subject, issuer) && subject.issuer.normalized == issuer.subject.normalized
        }
            && path.allSatisfy { $0.notBefore <= now && now <= $0.notAfter && $0.extensions.unknownCritical == nil }
            && path.dropFirst().dropLast().allSatisfy { $0.extensions.basicConstraints?.isCA == true }
            && path.count <= 12 && path[0].extensions.basicConstraints?.isCA != true
    }
}
