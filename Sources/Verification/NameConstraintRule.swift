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
    _ path: [NamedCertificate], _ budget: inout WorkBudget, _ flaws: inout [Flaw]
) -> Bool {
    for (index, authority) in path.enumerated().dropFirst() {
        guard let constraints = authority.certificate.nameConstraints else { continue }
        for (position, below) in path[..<index].enumerated() {
            if position > 0, below.certificate.isSelfIssued { continue }
            for name in constrainedNames(of: below.certificate) {
                guard let allowed = constraints.allow(name, &budget) else { return false }
                if !allowed {
                    flaws.append(
                        Flaw(
                            .nameNotPermitted,
                            "\(below.name()): the name constraints of \(authority.name()) do not permit \(name.words)"))
                    break
                }
            }
        }
    }
    return true
}

/// The names of a certificate that constraints speak of: its subject, subjectAltName, and where there is none of that the
/// e-mail addresses of the subject (RFC 5280 section 4.2.1.10).
private func constrainedNames(of certificate: Certificate) -> [GeneralName] {
    var names = certificate.subjectAltNames
    let subject = certificate.subject
    if certificate.extensions.subjectAltName == nil {
        // One that is no text fits no constraint.
        names += subject.emailAddresses.map { .email(Array(($0 ?? "").utf8)) }
    }
    if !subject.isEmpty { names.append(.directory(subject)) }
    return names
}

extension NameConstraints {
    /// Whether a name is permitted and not excluded; nil where the budget is used up.
    func allow(_ name: GeneralName, _ budget: inout WorkBudget) -> Bool? {
        for subtree in excluded where subtree.form == name.formNumber {
            guard budget.takeNameComparison() else { return nil }
            if subtree.hasDistances || NameMatch.isInside(name, subtree.base, .excluded) { return false }
        }
        var isConstrained = false
        for subtree in permitted where subtree.form == name.formNumber {
            guard budget.takeNameComparison() else { return nil }
            isConstrained = true
            if !subtree.hasDistances, NameMatch.isInside(name, subtree.base, .permitted) { return true }
        }
        return !isConstrained
    }
}

extension GeneralName {
    fileprivate var formNumber: UInt8 {
        switch self {
        case .email: 1
        case .dns: 2
        case .directory: 4
        case .uri: 6
        case .ipAddress: 7
        case .other(let number): number
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

/// Whether names lie in subtrees (RFC 5280 section 4.2.1.10). In doubt a name is not permitted, and is excluded.
enum NameMatch {
    enum Side {
        case permitted
        case excluded
    }

    static func isInside(_ name: GeneralName, _ base: GeneralName, _ side: Side) -> Bool {
        switch (name, base) {
        case (.dns(let name), .dns(let base)): return dns(lowercased(name), lowercased(base), side)
        case (.email(let name), .email(let base)): return email(name, base, side)
        case (.uri(let name), .uri(let base)): return uri(name, lowercased(base), side)
        case (.ipAddress(let name), .ipAddress(let base)): return address(name, base)
        case (.directory(let name), .directory(let base)): return name.isWithin(base)
        default: return side == .excluded
        }
    }

    private static func lowercased(_ text: [UInt8]) -> [UInt8] {
        text.map { (0x41...0x5a).contains($0) ? $0 | 0x20 : $0 }
    }

    private static let dot = UInt8(ascii: ".")
    private static let at = UInt8(ascii: "@")

    /// Labels of letters, digits, `-` and `_`, none of them empty or too long; a first label `*` where `wildcard` says so.
    private static func isHostName(_ name: [UInt8], wildcard: Bool = false) -> Bool {
        guard !name.isEmpty, name.count <= 253 else { return false }
        for (index, label) in name.split(separator: dot, omittingEmptySubsequences: false).enumerated() {
            if wildcard, index == 0, label.elementsEqual([UInt8(ascii: "*")]) { continue }
            let isGood = label.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "-"), UInt8(ascii: "_"): true
                default: false
                }
            }
            guard isGood, (1...63).contains(label.count) else { return false }
        }
        return true
    }

    /// A name that is the base, or has labels before it. A base that begins with a dot wants at least one more label.
    private static func dns(_ name: [UInt8], _ base: [UInt8], _ side: Side) -> Bool {
        guard isHostName(name, wildcard: true) else { return side == .excluded }
        if base.isEmpty { return true }
        let wantsMore = base.first == dot
        let bare = wantsMore ? Array(base.dropFirst()) : base
        guard isHostName(bare) else { return side == .excluded }
        if name == bare { return !wantsMore || side == .excluded }
        if name.count > bare.count, name.hasSuffix([dot] + bare) { return true }
        // `*.example` may stand for a host that is excluded, one label below.
        if side == .excluded, name.first == UInt8(ascii: "*") {
            return bare.hasSuffix(Array(name.dropFirst()))
                && !bare.dropLast(name.count - 1).contains(dot)
        }
        return false
    }

    /// A host, or with a leading dot all hosts below: how e-mail and URI constraints say it.
    private static func host(_ host: [UInt8], _ base: [UInt8], _ side: Side) -> Bool {
        guard isHostName(host) else { return side == .excluded }
        if base.isEmpty { return true }
        guard base.first == dot else { return host == base }
        return host.count > base.count && host.hasSuffix(base)
    }

    /// A mailbox, a host, or a domain with a leading dot. The part before `@` is compared in its case (RFC 5321 2.4).
    private static func email(_ name: [UInt8], _ base: [UInt8], _ side: Side) -> Bool {
        guard let split = name.lastIndex(of: at), split > 0 else { return side == .excluded }
        let (local, domain) = (Array(name[..<split]), lowercased(Array(name[(split + 1)...])))
        guard isHostName(domain), local.first == UInt8(ascii: "\"") || !local.contains(at) else {
            return side == .excluded
        }
        if let baseSplit = base.lastIndex(of: at) {
            return local == Array(base[..<baseSplit]) && domain == lowercased(Array(base[(baseSplit + 1)...]))
        }
        return host(domain, lowercased(base), side)
    }

    /// The host of a URI's authority (RFC 3986 section 3.2). One without a host name fits no constraint.
    private static func uri(_ name: [UInt8], _ base: [UInt8], _ side: Side) -> Bool {
        // What RFC 3986 keeps out of a URI: others may read another host from it than we do.
        let isWritten = name.allSatisfy { (0x21...0x7e).contains($0) && !Array("\"<>\\^`{|}".utf8).contains($0) }
        guard isWritten else { return side == .excluded }
        let colon = UInt8(ascii: ":")
        guard let schemeEnd = name.firstIndex(of: colon), schemeEnd > 0,
            name[(schemeEnd + 1)...].starts(with: [UInt8(ascii: "/"), UInt8(ascii: "/")])
        else { return side == .excluded }
        var authority = name[(schemeEnd + 3)...].prefix {
            ![UInt8(ascii: "/"), UInt8(ascii: "?"), UInt8(ascii: "#")].contains($0)
        }
        if let userEnd = authority.lastIndex(of: at) { authority = authority[(userEnd + 1)...] }
        if let port = authority.lastIndex(of: colon) {
            guard authority[(port + 1)...].allSatisfy({ (0x30...0x39).contains($0) }) else { return side == .excluded }
            authority = authority[..<port]
        }
        let hostName = lowercased(Array(authority))
        // A host of digits in its last label is an IP address, which no constraint of this form speaks of.
        let lastLabel = hostName.split(separator: dot, omittingEmptySubsequences: false).last ?? []
        if lastLabel.allSatisfy({ (0x30...0x39).contains($0) }) { return side == .excluded }
        return host(hostName, base, side)
    }

    /// An address within a network. The two families are different forms to each other: neither fits the other.
    private static func address(_ name: [UInt8], _ base: [UInt8]) -> Bool {
        guard base.count == 2 * name.count else { return false }
        return name.indices.allSatisfy { name[$0] & base[name.count + $0] == base[$0] & base[name.count + $0] }
    }
}

extension [UInt8] {
    fileprivate func hasSuffix(_ suffix: [UInt8]) -> Bool {
        count >= suffix.count && self[(count - suffix.count)...].elementsEqual(suffix)
    }
}
