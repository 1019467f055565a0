import Certificates
import Fuzzer
import TestPKI

@testable import Verification

@main struct FuzzNameConstraints {
    /// Names under the constraints of their CA: as bytes, and as texts that are well encoded.
    static func main() {
        fuzz { input in
            var pieces = Pieces(input)
            let (mode, form) = (pieces.byte(), pieces.number(below: 9))
            let name = mode & 1 == 0 ? generalName(form, pieces.some(), isBase: false) : pieces.some()
            let base = mode & 2 == 0 ? generalName(form, pieces.some(), isBase: true) : pieces.some()
            let subtrees = [DER.sequence(base, mode & 4 == 0 ? [] : pieces.some())]
            let device = certificate(TestExtension(TestPKI.OID.subjectAltName, DER.sequence(name)))
            let permits = certificate(.nameConstraints(permittedSubtrees: subtrees, excludedSubtrees: nil))
            let excludes = certificate(.nameConstraints(permittedSubtrees: nil, excludedSubtrees: subtrees))
            guard let device, let permits, let excludes else { return }
            let isPermitted = isGood(device, permits)
            // What lies in a subtree cannot lie outside of it; in doubt a name is neither permitted nor let through.
            precondition(!(isPermitted && isGood(device, excludes)) || permits.form != device.form)
        }
    }

    private static func generalName(_ form: Int, _ bytes: [UInt8], isBase: Bool) -> [UInt8] {
        let ascii = bytes.map { $0 & 0x7f }
        switch form {
        case 1, 2, 6: return DER.implicit(UInt8(form), ascii)
        case 4:
            return DER.explicit(4, TestName(.utf8(TestPKI.OID.commonName, String(decoding: bytes, as: UTF8.self))).der)
        case 7:
            let address = Array((bytes + [UInt8](repeating: 0, count: 16)).prefix(bytes.count % 2 == 0 ? 4 : 16))
            let mask = [UInt8](repeating: 0xff, count: address.count - 1) + [0xf0]
            return DER.implicit(7, isBase ? address + mask : address)
        default: return DER.element(bytes.first ?? 0, Array(bytes.dropFirst()))
        }
    }

    private static let root = Entity.root()

    private static func certificate(_ one: TestExtension) -> Certificate? {
        var recipe = root.recipe
        recipe.subject = TestName.empty.der
        recipe.extensions = [one]
        let scheme = root.key.defaultScheme
        return try? Certificate(
            der: DER.sequence(recipe.tbs(scheme: scheme), scheme.algorithmIdentifier, DER.bitString([0])))
    }

    private static func isGood(_ device: Certificate, _ authority: Certificate) -> Bool {
        var (budget, flaws) = (WorkBudget(VerificationLimits()), [Flaw]())
        let path = [device, authority].map { PathCertificate($0) { "it" } }
        precondition(checkNameConstraints(path, &budget, &flaws))
        return flaws.isEmpty
    }
}

extension Certificate {
    /// The form of its one name, or of its one constraint.
    fileprivate var form: UInt8? {
        let constraint = nameConstraints.flatMap { $0.permitted.first ?? $0.excluded.first }?.form
        guard let name = subjectAltNames.first else { return constraint }
        switch name {
        case .email: return 1
        case .dns: return 2
        case .directory: return 4
        case .uri: return 6
        case .ipAddress: return 7
        case .other(let number): return number
        }
    }
}
