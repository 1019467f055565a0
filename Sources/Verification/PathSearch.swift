public import Certificates

/// Builds and validates paths (RFC 5280 section 6.1, RFC 4158) from a device certificate to the anchors of an instance.
///
/// Depth first, the best candidates first, all of them within a budget of work: key identifiers order the search and decide
/// nothing. The order depends on the certificates alone, never on that in which they were sent or registered, so that the same
/// question has the same answer.
public struct PathSearch {
    /// What became of a search.
    public enum Outcome {
        /// A path that keeps every rule was accepted.
        case accepted
        /// No path was. The flaws of the one that came closest; empty where paths were found, and none of them accepted.
        case refused([Flaw], anchor: TrustAnchor?)
    }

    private let chain: [ChainLink]
    private var keys: Numbering
    private let instant: Instant
    private let ignoresDevicePeriod: Bool
    private let limits: VerificationLimits
    private var budget: WorkBudget
    /// The registry that is asked, with what it remembers.
    public private(set) var environment: any VerificationEnvironment
    private var verified: [LinkName: Bool] = [:]
    /// By the number of their name.
    private var anchors: [Int: [AnchorLink]] = [:]
    private var candidates: [CandidateList: [Candidate]] = [:]
    /// Whether a certificate of the chain has the key of Inactive CA certificates.
    private var inactiveKeys: [Int: Bool] = [:]
    private var closest: Attempt?
    private var leads: [CandidateList: Bool] = [:]

    private struct LinkName: Hashable {
        var subject: Int
        var issuerKey: Int
    }

    private struct CandidateList: Hashable {
        var subject: Int
        var diagnosing: Bool
    }

    private final class AnchorLink {
        let anchor: TrustAnchor
        let facts: PathCertificate
        let keyNumber: Int
        let flaws: [Flaw]
        let leastReason: UInt8

        init(_ anchor: TrustAnchor, keyNumber: Int, flaws: [Flaw]) {
            self.anchor = anchor
            self.keyNumber = keyNumber
            self.flaws = flaws
            leastReason = flaws.leastReason
            facts = PathCertificate(anchor.certificate) { Self.name(anchor.certificate) }
        }

        var name: String { facts.name }

        static func name(_ certificate: Certificate) -> String {
            "CA certificate \(certificate.serialNumber.text)"
        }
    }

    private enum Candidate {
        case anchor(AnchorLink)
        case intermediate(Int)
    }

    /// A path that was tried, and what is in its way.
    private struct Attempt {
        var flaws: [Flaw]
        var anchor: TrustAnchor?
        /// All its signatures verify.
        var isSigned: Bool

        /// How close it came: signed paths first, then the one whose first flaw an operator would mend last.
        var closeness: (Int, UInt8) { (isSigned ? 1 : 0, flaws.leastReason) }
    }

    /// - Parameters:
    ///   - device: the end entity.
    ///   - others: what was sent beside it, in any order; superfluous ones do no harm.
    ///   - instant: the moment to answer for.
    ///   - ignoresDevicePeriod: for a device that is registered ahead of its time, or behind it.
    public init(
        device: Certificate, others: [Certificate], at instant: Instant, limits: VerificationLimits,
        ignoresDevicePeriod: Bool = false, environment: any VerificationEnvironment
    ) {
        self.instant = instant
        self.ignoresDevicePeriod = ignoresDevicePeriod
        self.limits = limits
        budget = WorkBudget(limits)
        self.environment = environment
        var (names, keys) = (Numbering(), Numbering())
        chain = ([device] + others).enumerated().map { index, certificate in
            ChainLink(index: index, certificate, at: instant, limits, &names, &keys)
        }
        self.keys = keys
    }

    /// Searches for a path that `accept` takes.
    ///
    /// - Parameter accept: is given each path that keeps every rule, the best one first, until it returns true.
    public mutating func run(accept: (ValidatedPath) throws -> Bool) throws -> Outcome {
        let deviceFlaws = try ownFlaws()
        // Nothing that a path could say would matter.
        if deviceFlaws.contains(where: { $0.reason.rawValue < VerdictReason.caUnknown.rawValue }) {
            return .refused(deviceFlaws, anchor: nil)
        }
        var wasFound = false
        if deviceFlaws.isEmpty {
            var isAccepted = false
            try extend([], diagnosing: false) { path in
                wasFound = true
                isAccepted = try accept(path)
                return isAccepted
            }
            if isAccepted { return .accepted }
        }
        if let exhausted = budget.exhausted {
            return .refused([Flaw(.chainInvalid, exhausted)] + deviceFlaws, anchor: nil)
        }
        if wasFound { return .refused([], anchor: nil) }
        // Once more, now through what keeps no rule, to tell what is in the way.
        try extend([], diagnosing: true) { _ in false }
        if let exhausted = budget.exhausted, closest?.isSigned != true {
            return .refused([Flaw(.chainInvalid, exhausted)] + deviceFlaws, anchor: nil)
        }
        let flaws = closest?.flaws ?? [Flaw(.caUnknown, "no path leads to a CA certificate of the instance")]
        return .refused(flaws + deviceFlaws, anchor: closest?.anchor)
    }

    /// What is in the device certificate's own way, on whatever path.
    private mutating func ownFlaws() throws -> [Flaw] {
        let device = chain[0]
        var flaws: [Flaw] = []
        checkForm(of: device.certificate, device.name, limits, &flaws)
        if !device.certificate.signatureAlgorithm.isAllowedInPaths {
            flaws.append(Flaw(.algorithmNotAllowed, "\(device.name): its signature algorithm is not allowed"))
        }
        if let words = KeyRule.flaw(ofDeviceKey: device.certificate.keyAlgorithm) {
            flaws.append(Flaw(.algorithmNotAllowed, "\(device.name) has \(words)"))
        } else if !environment.hasSoundKey(device.certificate) {
            flaws.append(Flaw(.algorithmNotAllowed, "\(device.name): its public key is no point of its curve"))
        }
        if try hasInactiveKey(0) {
            flaws.append(Flaw(.caInactive, "\(device.name) has the key of an Inactive CA certificate"))
        }
        checkDevice(device.certificate, device.name, &flaws)
        if !ignoresDevicePeriod {
            checkValidity(
                of: device.certificate, device.name, at: instant, expired: .deviceExpired,
                notYetValid: .deviceNotYetValid, &flaws)
        }
        return flaws
    }

    // MARK: The search

    /// Goes on from the last certificate of a path, all of whose signatures verify.
    ///
    /// - Parameters:
    ///   - path: indices of intermediates, the device's issuer first.
    ///   - diagnosing: also through candidates that break rules; each path that reaches an anchor is an attempt.
    /// - Returns: true where the search is over.
    @discardableResult
    private mutating func extend(
        _ path: [Int], diagnosing: Bool, accept: (ValidatedPath) throws -> Bool
    ) throws -> Bool {
        let last = path.last ?? 0
        for candidate in try candidates(for: last, diagnosing: diagnosing) {
            guard budget.takePathSteps(1) else { return true }
            switch candidate {
            case .anchor(let link):
                if repeats(chain[last].issuerNumber, link.keyNumber, in: path) { continue }
                // What is looked at is the path as a whole.
                guard budget.takePathSteps(path.count) else { return true }
                guard let verifies = verifies(last, link.anchor.certificate, link.keyNumber) else { return true }
                if diagnosing {
                    try note(path, link, unsigned: verifies ? nil : last)
                } else if verifies, try isGood(path, link), try accept(validated(path, link.anchor)) {
                    return true
                }
                if budget.exhausted != nil { return true }
            case .intermediate(let index):
                let link = chain[index]
                // A longer path than this is no path; to tell so, the whole chain is looked at.
                guard diagnosing || path.count < limits.intermediates,
                    !repeats(link.subjectNumber, link.keyNumber, in: path)
                else { continue }
                guard let verifies = verifies(last, link.certificate, link.keyNumber) else { return true }
                guard verifies || diagnosing else { continue }
                guard let leads = verifies ? try leadsToAnchor(index, diagnosing: diagnosing) : false else {
                    return true
                }
                let isOver: Bool
                if leads {
                    isOver = try extend(path + [index], diagnosing: diagnosing, accept: accept)
                } else if diagnosing {
                    var visited: Set<Int> = [index]
                    isOver = try noteUnsigned(path + [index], unsigned: verifies ? nil : last, &visited)
                } else {
                    isOver = false
                }
                if isOver { return true }
            }
        }
        return false
    }

    /// Whether, by names, there is a way from a certificate of the chain up to one that an anchor has signed. Without one it
    /// is a stranger's, whose signatures and their keys are not worth the work.
    ///
    /// It looks in the order of the search itself, so that it spends nothing that the search would not have spent before its
    /// first path.
    ///
    /// - Returns: nil where the budget is used up.
    private mutating func leadsToAnchor(_ index: Int, diagnosing: Bool) throws -> Bool? {
        let list = CandidateList(subject: index, diagnosing: diagnosing)
        if let known = leads[list] { return known }
        var visited: Set<Int> = [index]
        let answer = try leadsToAnchor(index, diagnosing: diagnosing, &visited)
        leads[list] = answer
        return answer
    }

    private mutating func leadsToAnchor(
        _ index: Int, diagnosing: Bool, _ visited: inout Set<Int>
    ) throws -> Bool? {
        for candidate in try candidates(for: index, diagnosing: diagnosing) {
            guard budget.takePathSteps(1) else { return nil }
            switch candidate {
            case .anchor(let link):
                guard let verifies = verifies(index, link.anchor.certificate, link.keyNumber) else { return nil }
                if verifies { return true }
            case .intermediate(let above):
                guard visited.insert(above).inserted else { continue }
                guard let leads = try leadsToAnchor(above, diagnosing: diagnosing, &visited) else { return nil }
                if leads { return true }
            }
        }
        return false
    }

    /// Goes on to the anchors, by names alone, from a path with a signature that does not verify: to tell where it breaks.
    ///
    /// - Parameters:
    ///   - unsigned: whose signature; nil where it is that of the topmost one, whichever that is.
    ///   - visited: one way through each certificate tells as much as all of them.
    /// - Returns: true where the search is over.
    private mutating func noteUnsigned(_ path: [Int], unsigned: Int?, _ visited: inout Set<Int>) throws -> Bool {
        let last = path.last ?? 0
        for candidate in try candidates(for: last, diagnosing: true) {
            guard budget.takePathSteps(1) else { return true }
            switch candidate {
            case .anchor(let link):
                if repeats(chain[last].issuerNumber, link.keyNumber, in: path) { continue }
                guard budget.takePathSteps(path.count) else { return true }
                try note(path, link, unsigned: unsigned ?? last)
            case .intermediate(let index):
                let link = chain[index]
                guard !repeats(link.subjectNumber, link.keyNumber, in: path), visited.insert(index).inserted else {
                    continue
                }
                if try noteUnsigned(path + [index], unsigned: unsigned, &visited) { return true }
            }
        }
        return false
    }

    /// Whether a certificate of the chain is signed with a key; nil where the budget is used up. What may not sign is not asked.
    private mutating func verifies(_ index: Int, _ issuer: Certificate, _ keyNumber: Int) -> Bool? {
        let link = LinkName(subject: index, issuerKey: keyNumber)
        if let known = verified[link] { return known }
        guard KeyRule.flaw(ofCaKey: issuer.keyAlgorithm) == nil,
            chain[index].certificate.signatureAlgorithm.isAllowedInPaths
        else { return false }
        guard budget.takeSignatureCheck() else { return nil }
        let verifies = environment.signatureVerifies(chain[index].certificate, with: issuer)
        verified[link] = verifies
        return verifies
    }

    /// Whether the path goes through this name and key already (RFC 4158 section 5.2): such a loop proves nothing new.
    private func repeats(_ nameNumber: Int?, _ keyNumber: Int, in path: [Int]) -> Bool {
        path.contains { chain[$0].keyNumber == keyNumber && chain[$0].subjectNumber == nameNumber }
    }

    // MARK: Candidates

    /// The certificates that may have issued one of the chain, by name, the best first.
    private mutating func candidates(for index: Int, diagnosing: Bool) throws -> [Candidate] {
        let list = CandidateList(subject: index, diagnosing: diagnosing)
        if let known = candidates[list] { return known }
        let subject = chain[index]
        var found: [(order: CandidateOrder, candidate: Candidate)] = []
        // RFC 5280 section 4.1.2.4: an issuer has a name.
        if !subject.certificate.issuer.isEmpty {
            for link in try anchorLinks(above: subject) where diagnosing || link.anchor.isActive && link.flaws.isEmpty {
                let order = CandidateOrder(
                    link.anchor.certificate, of: subject.certificate, isIntermediate: false,
                    preference: link.anchor.preference)
                found.append((order, .anchor(link)))
            }
            for link in chain.dropFirst() where link.subjectNumber == subject.issuerNumber && link.index != index {
                guard diagnosing || link.intermediateFlaws.isEmpty else { continue }
                let order = CandidateOrder(
                    link.certificate, of: subject.certificate, isIntermediate: true, preference: 0)
                found.append((order, .intermediate(link.index)))
            }
        }
        let sorted = found.sorted { $0.order < $1.order }.map(\.candidate)
        candidates[list] = sorted
        return sorted
    }

    private mutating func anchorLinks(above subject: ChainLink) throws -> [AnchorLink] {
        if let known = anchors[subject.issuerNumber] { return known }
        var links: [AnchorLink] = []
        for anchor in try environment.anchors(named: subject.issuer) {
            let certificate = anchor.certificate
            var flaws: [Flaw] = []
            if !anchor.isActive { flaws.append(Flaw(.caInactive, "\(AnchorLink.name(certificate)) is Inactive")) }
            checkForm(of: certificate, AnchorLink.name(certificate), limits, &flaws)
            checkValidity(
                of: certificate, AnchorLink.name(certificate), at: instant, expired: .caExpired,
                notYetValid: .caNotYetValid, &flaws)
            checkExtendedKeyUsage(of: certificate, AnchorLink.name(certificate), &flaws)
            links.append(AnchorLink(anchor, keyNumber: keys.number(of: certificate.publicKeyInfoBytes), flaws: flaws))
        }
        anchors[subject.issuerNumber] = links
        return links
    }

    // MARK: Whole paths

    private func validated(_ path: [Int], _ anchor: TrustAnchor) -> ValidatedPath {
        ValidatedPath(anchor: anchor, intermediates: path.map { chain[$0].certificate })
    }

    private mutating func hasInactiveKey(_ index: Int) throws -> Bool {
        if let known = inactiveKeys[index] { return known }
        let isInactive = try environment.keyState(of: chain[index].certificate) == .inactive
        inactiveKeys[index] = isInactive
        return isInactive
    }

    /// The flaws of a path as a whole; nil where the budget is used up.
    private mutating func pathFlaws(_ path: [Int], _ link: AnchorLink) throws -> [Flaw]? {
        var flaws: [Flaw] = []
        for index in path where try hasInactiveKey(index) {
            flaws.append(Flaw(.caInactive, "\(chain[index].name) has the key of an Inactive CA certificate"))
        }
        let authorities = path.map { chain[$0].facts } + [link.facts]
        checkPathLengths(authorities, &flaws)
        return checkNameConstraints([chain[0].facts] + authorities, &budget, &flaws) ? flaws : nil
    }

    private mutating func isGood(_ path: [Int], _ link: AnchorLink) throws -> Bool {
        try pathFlaws(path, link)?.isEmpty ?? false
    }

    /// Keeps a path that breaks rules, where it came closer than the others.
    private mutating func note(_ path: [Int], _ link: AnchorLink, unsigned: Int?) throws {
        var leastReason = unsigned == nil ? UInt8.max : VerdictReason.signatureInvalid.rawValue
        leastReason = path.reduce(min(leastReason, link.leastReason)) { min($0, chain[$1].leastReason) }
        // What else is found out brings it no closer: most of many paths end here.
        if let closest, closest.closeness >= (unsigned == nil ? 1 : 0, leastReason) { return }
        var flaws = link.flaws
        for index in path { flaws += chain[index].intermediateFlaws }
        if path.count > limits.intermediates {
            flaws.append(Flaw(.chainInvalid, "the path has more than \(limits.intermediates) intermediates"))
        }
        // What nobody signed is not worth the work of comparing its names.
        if unsigned == nil {
            flaws += try pathFlaws(path, link) ?? [Flaw(.chainInvalid, budget.exhausted ?? "")]
        }
        if let unsigned, !flaws.contains(where: { $0.reason == .algorithmNotAllowed }) {
            // The name of the issuer is the right one, its key is not.
            let issuer = path.firstIndex(of: unsigned).map { $0 + 1 } ?? 0
            let issuerName = issuer < path.count ? chain[path[issuer]].name : link.name
            flaws.append(
                Flaw(
                    .signatureInvalid,
                    "the signature of \(chain[unsigned].name) does not verify with the key of \(issuerName)"))
        }
        let attempt = Attempt(flaws: flaws, anchor: link.anchor, isSigned: unsigned == nil)
        if let closest, closest.closeness >= attempt.closeness { return }
        closest = attempt
    }
}
