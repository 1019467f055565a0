internal import Certificates

/// RFC 5280 sections 4.2.1.10 and 6.1.3 (b), (c): the name constraints of each CA certificate of a path, its anchor among
/// them, hold for every certificate below it, self-issued intermediates left out.
///
/// DNS constraints speak of subjectAltName only, not of CommonName. A constraint of a form that cannot be compared, or with
/// distances that nobody can read, forbids every name of its form.
///
/// - Parameter path: the device first, the anchor last.
/// - Returns: false where the budget is used up.
func checkNameConstraints(
    _ path: [PathCertificate], _ budget: inout WorkBudget, _ flaws: inout [Flaw]
) -> Bool {
    for (index, authority) in path.enumerated().dropFirst() {
        guard let constraints = authority.nameConstraints else { continue }
        for (position, below) in path[..<index].enumerated() {
            if position > 0, below.isSelfIssued { continue }
            switch constraints.firstRefused(of: below.constrainedNames, &budget) {
            case .budgetIsUsedUp: return false
            case .none: break
            case .name(let name):
                flaws.append(
                    Flaw(
                        .nameNotPermitted,
                        "\(below.name): the name constraints of \(authority.name) do not permit \(name.words)"))
            }
        }
    }
    return true
}

/// The names of a certificate that constraints speak of: its subject, subjectAltName, and where there is none of that the
/// e-mail addresses of the subject (RFC 5280 section 4.2.1.10).
struct ConstrainedNames {
    /// By the number of the form.
    fileprivate var byForm = [[(name: GeneralName, comparable: ComparableName)]](
        repeating: [], count: GeneralName.formCount)

    init(_ certificate: Certificate) {
        for name in certificate.subjectAltNames { add(name) }
        let subject = certificate.subject
        if certificate.extensions.subjectAltName == nil {
            // One that is no text fits no constraint.
            for address in subject.emailAddresses { add(.email(Array((address ?? "").utf8))) }
        }
        if !subject.isEmpty { add(.directory(subject)) }
    }

    private mutating func add(_ name: GeneralName) {
        byForm[name.formIndex].append((name, ComparableName(name)))
    }
}

/// The subtrees of a nameConstraints extension, ready to be compared with.
struct NameConstraintBases {
    /// By the number of the form.
    private var permitted = [[SubtreeBase]](repeating: [], count: GeneralName.formCount)
    private var excluded = [[SubtreeBase]](repeating: [], count: GeneralName.formCount)

    init(_ constraints: NameConstraints) {
        for subtree in constraints.permitted { permitted[subtree.base.formIndex].append(SubtreeBase(subtree)) }
        for subtree in constraints.excluded { excluded[subtree.base.formIndex].append(SubtreeBase(subtree)) }
    }

    enum Refusal {
        case none
        case name(GeneralName)
        case budgetIsUsedUp
    }

    /// The first name that is excluded, or of a form of which others only are permitted. Only forms that there are constraints
    /// of cost anything.
    func firstRefused(of names: ConstrainedNames, _ budget: inout WorkBudget) -> Refusal {
        for form in 0..<GeneralName.formCount where !(permitted[form].isEmpty && excluded[form].isEmpty) {
            for (name, comparable) in names.byForm[form] {
                guard let allowed = allow(comparable, form, &budget) else { return .budgetIsUsedUp }
                if !allowed { return .name(name) }
            }
        }
        return .none
    }

    /// Whether a name is permitted and not excluded; nil where the budget is used up.
    private func allow(_ name: ComparableName, _ form: Int, _ budget: inout WorkBudget) -> Bool? {
        for base in excluded[form] {
            guard budget.takeNameComparison() else { return nil }
            if base.contains(name, .excluded) { return false }
        }
        for base in permitted[form] {
            guard budget.takeNameComparison() else { return nil }
            if base.contains(name, .permitted) { return true }
        }
        return permitted[form].isEmpty
    }
}

extension GeneralName {
    /// The forms have the numbers 0 to 8 (RFC 5280 section 4.2.1.6).
    fileprivate static let formCount = 9

    /// The number of the form's tag.
    fileprivate var formIndex: Int {
        switch self {
        case .email: 1
        case .dns: 2
        case .directory: 4
        case .uri: 6
        case .ipAddress: 7
        case .other(let number): min(Int(number), Self.formCount - 1)
        }
    }

    fileprivate var words: String {
        switch self {
        case .email(let text): "the e-mail address \(Self.shown(text))"
        case .dns(let text): "the DNS name \(Self.shown(text))"
        case .uri(let text): "the URI \(Self.shown(text))"
        case .ipAddress(let bytes): "the IP address \(bytes.map { String($0) }.joined(separator: "."))"
        case .directory(let name): "the name \(String(name.description.prefix(200)))"
        case .other: "a name of a form that is not compared"
        }
    }

    private static func shown(_ text: [UInt8]) -> String {
        var shown = ""
        for byte in text.prefix(200) {
            shown += (0x21...0x7e).contains(byte) ? String(Unicode.Scalar(byte)) : "\\" + String(byte, radix: 16)
        }
        return shown
    }
}
