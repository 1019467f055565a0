internal import Certificates

// Whether names lie in subtrees (RFC 5280 section 4.2.1.10). Both are taken apart once, before they are compared: a certificate
// may hold tens of thousands of either, and long ones.

/// A name, as subtrees are compared with it.
enum ComparableName {
    /// A dNSName, in lower case; its first label may be `*`.
    case dns([UInt8])
    case email(local: [UInt8], host: [UInt8])
    /// The host of a URI, in lower case.
    case uri(host: [UInt8])
    case ipAddress([UInt8])
    /// The normalized relative distinguished names.
    case directory([[UInt8]])
    /// Nobody can say where it lies: it is in no subtree that permits, and in each that excludes.
    case unclear

    init(_ name: GeneralName) {
        switch name {
        case .dns(let text):
            let name = lowercased(text)
            self = isHostName(name, wildcard: true) ? .dns(name) : .unclear
        case .email(let text): self = Self.email(text) ?? .unclear
        case .uri(let text): self = host(ofURI: text).map { .uri(host: $0) } ?? .unclear
        case .ipAddress(let address): self = .ipAddress(address)
        case .directory(let name): self = .directory(name.normalizedSets)
        case .other: self = .unclear
        }
    }

    /// A mailbox. The part before `@` is compared in its case (RFC 5321 section 2.4).
    fileprivate static func email(_ name: [UInt8]) -> ComparableName? {
        guard let split = name.lastIndex(of: at), split > 0 else { return nil }
        let (local, host) = (Array(name[..<split]), lowercased(name[(split + 1)...]))
        guard isHostName(host), local.first == UInt8(ascii: "\"") || !local.contains(at) else { return nil }
        return .email(local: local, host: host)
    }
}

/// The base of a subtree, as names are compared with it.
enum SubtreeBase {
    enum Side {
        case permitted
        case excluded
    }

    /// A dNSName: it is in the subtree, unless `wantsMore`, and so are the names that have labels before it. Empty: all are.
    case dns([UInt8], wantsMore: Bool)
    case mailbox(local: [UInt8], host: [UInt8])
    /// E-mail addresses of hosts.
    case emailHosts(Hosts)
    case uriHosts(Hosts)
    /// An address and its mask.
    case network([UInt8])
    case directory([[UInt8]])
    /// Nobody can say what lies in it, so that in doubt all does where it excludes, and nothing where it permits.
    case unclear

    /// A host, or with a leading dot all hosts below, or all there are: how e-mail and URI constraints say it.
    struct Hosts {
        let base: [UInt8]

        /// nil for what is no host name, behind a leading dot or without.
        init?(_ text: [UInt8]) {
            base = lowercased(text)
            guard base.isEmpty || isHostName(base.first == dot ? base[1...] : base[...]) else { return nil }
        }

        func contains(_ host: [UInt8]) -> Bool {
            guard base.first == dot else { return base.isEmpty || host == base }
            return host.count > base.count && host.hasSuffix(base[...])
        }
    }

    init(_ subtree: NameConstraints.Subtree) {
        guard !subtree.hasDistances else {
            self = .unclear
            return
        }
        switch subtree.base {
        case .dns(let text):
            let base = lowercased(text)
            let wantsMore = base.first == dot
            let bare = wantsMore ? Array(base.dropFirst()) : base
            self = base.isEmpty || isHostName(bare) ? .dns(bare, wantsMore: wantsMore) : .unclear
        case .email(let text):
            if text.contains(at) {
                self =
                    if case .email(let local, let host)? = ComparableName.email(text) {
                        .mailbox(local: local, host: host)
                    } else {
                        .unclear
                    }
            } else {
                self = Hosts(text).map { .emailHosts($0) } ?? .unclear
            }
        case .uri(let text): self = Hosts(text).map { .uriHosts($0) } ?? .unclear
        case .ipAddress(let network): self = .network(network)
        case .directory(let name): self = .directory(name.normalizedSets)
        case .other: self = .unclear
        }
    }

    /// Whether a name lies in the subtree. In doubt a name is not permitted, and is excluded.
    func contains(_ name: ComparableName, _ side: Side) -> Bool {
        switch (name, self) {
        case (.dns(let name), .dns(let bare, let wantsMore)): Self.dns(name, bare, wantsMore, side)
        case (.email(let local, let host), .mailbox(let baseLocal, let baseHost)):
            host == baseHost && local == baseLocal
        case (.email(_, let host), .emailHosts(let hosts)): hosts.contains(host)
        case (.uri(let host), .uriHosts(let hosts)): hosts.contains(host)
        case (.ipAddress(let address), .network(let network)): Self.address(address, network)
        case (.directory(let name), .directory(let base)): name.starts(with: base)
        default: side == .excluded
        }
    }

    private static func dns(_ name: [UInt8], _ bare: [UInt8], _ wantsMore: Bool, _ side: Side) -> Bool {
        if bare.isEmpty { return true }
        if name == bare { return !wantsMore || side == .excluded }
        if name.count > bare.count, name[name.count - bare.count - 1] == dot, name.hasSuffix(bare[...]) { return true }
        // `*.example` may stand for a host that is excluded, one label below.
        if side == .excluded, name.first == UInt8(ascii: "*") {
            return bare.hasSuffix(name.dropFirst()) && !bare.dropLast(name.count - 1).contains(dot)
        }
        return false
    }

    /// An address within a network. The two families are different forms to each other: neither fits the other.
    private static func address(_ name: [UInt8], _ base: [UInt8]) -> Bool {
        guard base.count == 2 * name.count else { return false }
        return name.indices.allSatisfy { name[$0] & base[name.count + $0] == base[$0] & base[name.count + $0] }
    }
}

private let dot = UInt8(ascii: ".")
private let at = UInt8(ascii: "@")

private func lowercased(_ text: some Sequence<UInt8>) -> [UInt8] {
    text.map { (0x41...0x5a).contains($0) ? $0 | 0x20 : $0 }
}

/// Labels of letters, digits, `-` and `_`, none of them empty or too long; a first label `*` where `wildcard` says so.
private func isHostName(_ name: some BidirectionalCollection<UInt8>, wildcard: Bool = false) -> Bool {
    guard !name.isEmpty, name.count <= 253 else { return false }
    if wildcard, name.first == UInt8(ascii: "*") {
        // The wildcard is a whole label.
        return name.count == 1 || name.dropFirst().first == dot && isHostName(name.dropFirst(2))
    }
    var labelCount = 0
    for byte in name {
        switch byte {
        case dot:
            guard labelCount > 0 else { return false }
            labelCount = 0
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "-"), UInt8(ascii: "_"):
            labelCount += 1
            guard labelCount <= 63 else { return false }
        default: return false
        }
    }
    return labelCount > 0
}

/// The host of a URI's authority (RFC 3986 section 3.2), in lower case; nil for one without a host name, which fits no
/// constraint.
private func host(ofURI name: [UInt8]) -> [UInt8]? {
    // What RFC 3986 keeps out of a URI: others may read another host from it than we do.
    let isWritten = name.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "\\"), UInt8(ascii: "^"),
            UInt8(ascii: "`"), UInt8(ascii: "{"), UInt8(ascii: "|"), UInt8(ascii: "}"):
            false
        default: (0x21...0x7e).contains(byte)
        }
    }
    guard isWritten else { return nil }
    let colon = UInt8(ascii: ":")
    guard let schemeEnd = name.firstIndex(of: colon), schemeEnd > 0,
        name[(schemeEnd + 1)...].starts(with: [UInt8(ascii: "/"), UInt8(ascii: "/")])
    else { return nil }
    var authority = name[(schemeEnd + 3)...].prefix {
        $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#")
    }
    if let userEnd = authority.lastIndex(of: at) { authority = authority[(userEnd + 1)...] }
    if let port = authority.lastIndex(of: colon) {
        guard authority[(port + 1)...].allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        authority = authority[..<port]
    }
    let host = lowercased(authority)
    // A host of digits in its last label is an IP address, which no constraint of this form speaks of.
    let lastLabel = host[(host.lastIndex(of: dot).map { $0 + 1 } ?? 0)...]
    return lastLabel.allSatisfy { (0x30...0x39).contains($0) } || !isHostName(host) ? nil : host
}

extension [UInt8] {
    fileprivate func hasSuffix(_ suffix: ArraySlice<UInt8>) -> Bool {
        count >= suffix.count && self[(count - suffix.count)...] == suffix
    }
}
