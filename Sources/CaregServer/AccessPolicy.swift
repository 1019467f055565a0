internal import Registry
internal import Synchronization
internal import TTRPC

/// The sockets of the daemon. The raw values are the labels of their listeners.
public enum SocketRole: String, Sendable, CaseIterable {
    case admin
    case broker
}

/// The services of careg.v1. The raw values are their full names.
public enum ServiceName: String, Sendable, CaseIterable {
    case registry = "careg.v1.RegistryService"
    case verifier = "careg.v1.VerifierService"
    case admin = "careg.v1.AdminService"
}

/// Which caller may call which service, and about which instances.
///
/// Without rules, whoever the mode of a socket lets in may call all that the socket serves, about every instance.
public struct AccessPolicy: Sendable {
    /// Whether a socket serves a service, whatever the rules say.
    public static func serves(_ service: ServiceName, on role: SocketRole) -> Bool {
        switch (role, service) {
        case (.admin, _), (.broker, .verifier): true
        case (.broker, .registry), (.broker, .admin): false
        }
    }

    /// Whom a rule is about.
    public enum Subject: Hashable, Sendable {
        case user(UInt32)
        /// The primary group or a supplementary one.
        case group(UInt32)
    }

    /// What a subject may. Of several rules that name a caller, what any of them allows is allowed.
    public struct Rule: Sendable {
        public var subject: Subject
        public var services: Set<ServiceName>
        /// Nil: every instance. A caller that is restricted to some may call VerifierService only: the other services
        /// speak of the whole region.
        public var instances: Set<String>?

        /// All fields.
        public init(
            subject: Subject, services: Set<ServiceName> = Set(ServiceName.allCases), instances: Set<String>? = nil
        ) {
            self.subject = subject
            self.services = services
            self.instances = instances
        }
    }

    public var rules: [Rule]
    /// Whether callers that no rule names may call what the socket serves.
    public var admitsOthers: Bool

    /// Both fields.
    public init(rules: [Rule] = [], admitsOthers: Bool = true) {
        self.rules = rules
        self.admitsOthers = admitsOthers
    }

    /// The instances of each group that is restricted to some.
    public var restrictedGroups: [UInt32: Set<String>] {
        var groups: [UInt32: Set<String>] = [:]
        for rule in rules {
            guard case .group(let number) = rule.subject, let instances = rule.instances else { continue }
            groups[number, default: []].formUnion(instances)
        }
        return groups
    }

    /// The instances that some rule restricts a caller to: they are in no file that others can read.
    public var restrictedInstances: Set<String> {
        rules.reduce(into: []) { $0.formUnion($1.instances ?? []) }
    }
}

/// The policy in force, which may change while the daemon runs: calls that begin later are judged by the new one.
final class PolicyInForce: Sendable {
    private let policy: Mutex<AccessPolicy>
    private let number = Atomic<UInt64>(0)

    init(_ policy: AccessPolicy) {
        self.policy = Mutex(policy)
    }

    var current: AccessPolicy {
        get { policy.withLock { $0 } }
        set {
            policy.withLock { $0 = newValue }
            number.add(1, ordering: .sequentiallyConsistent)
        }
    }

    /// Counts the policies. To be read before the policy is: what is derived from that holds as long as this stays.
    var generation: UInt64 { number.load(ordering: .acquiring) }
}

/// What a caller may, once it was let in.
struct Access: Sendable, Equatable {
    /// Nil: every instance.
    var instances: Set<String>?
    /// Whether the caller may hear that a device belongs to another instance.
    var mayHearOfOthers: Bool

    /// Whether the caller may ask for an instance.
    func covers(_ instanceID: String) -> Bool {
        instances?.contains(instanceID) ?? true
    }

    /// - Throws: ``Registry/Refusal`` CALLER_NOT_ALLOWED.
    func require(_ instanceID: String) throws {
        guard covers(instanceID) else {
            throw Refusal(
                .callerNotAllowed,
                "This caller may ask for some instances only, and not for this one. The daemon's access rules say which.",
                metadata: ["instance_id": String(instanceID.prefix(64))])
        }
    }
}

extension AccessPolicy {
    /// The access of a caller to a service.
    ///
    /// - Throws: ``Registry/Refusal`` CALLER_NOT_ALLOWED.
    func access(of wire: ServerCall, to service: ServiceName) throws -> Access {
        // A listener of another label serves what the brokers' socket does: the least.
        try access(of: wire.peer, to: service, on: SocketRole(rawValue: wire.listener) ?? .broker)
    }

    /// The access of a peer to a service.
    ///
    /// - Parameter role: of the socket that it connected to.
    /// - Throws: ``Registry/Refusal`` CALLER_NOT_ALLOWED.
    func access(of peer: PeerCredentials, to service: ServiceName, on role: SocketRole) throws -> Access {
        guard Self.serves(service, on: role) else {
            throw Refusal(
                .callerNotAllowed,
                "\(role.rawValue).sock serves \(ServiceName.verifier.rawValue) only. Use admin.sock.",
                metadata: ["service": service.rawValue])
        }
        let applying = rules.filter { rule in
            switch rule.subject {
            case .user(let number): number == peer.userID
            case .group(let number): number == peer.groupID || peer.groups.contains(number)
            }
        }
        if applying.isEmpty {
            guard admitsOthers else { throw refusal(peer, service) }
            return Access(instances: nil, mayHearOfOthers: true)
        }
        // What a rule allows counts for the services of that rule.
        let granting = applying.filter { $0.services.contains(service) }
        if granting.contains(where: { $0.instances == nil }) { return Access(instances: nil, mayHearOfOthers: true) }
        guard !granting.isEmpty, service == .verifier else { throw refusal(peer, service) }
        let instances = granting.reduce(into: Set<String>()) { $0.formUnion($1.instances ?? []) }
        return Access(instances: instances, mayHearOfOthers: role == .admin)
    }

    private func refusal(_ peer: PeerCredentials, _ service: ServiceName) -> Refusal {
        Refusal(
            .callerNotAllowed,
            "User \(peer.userID), group \(peer.groupID) may not call \(service.rawValue): the daemon's access rules say so.",
            metadata: ["service": service.rawValue])
    }
}
