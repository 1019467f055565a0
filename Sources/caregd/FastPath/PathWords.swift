internal import RegistryStore
internal import Signatures
internal import TrustMap
internal import Verification

/// What is known of the CA records of one instance, as far as paths depend on it.
struct InstanceAuthorities {
    struct Authority: Equatable {
        var status: CaStatus
        var keyHash: SHA256Digest
        var serialNumber: String
    }

    private var authorities: [CaID: Authority] = [:]
    private var keys: [SHA256Digest: (active: Int, all: Int)] = [:]
    private var activeCount = 0

    subscript(id: CaID) -> Authority? { authorities[id] }

    var count: Int { authorities.count }

    mutating func set(_ id: CaID, _ authority: Authority?) {
        if let old = authorities[id] { count(old, by: -1) }
        authorities[id] = authority
        if let authority { count(authority, by: 1) }
    }

    private mutating func count(_ authority: Authority, by change: Int) {
        var key = keys[authority.keyHash] ?? (0, 0)
        key.all += change
        if authority.status == .active {
            key.active += change
            activeCount += change
        }
        keys[authority.keyHash] = key.all == 0 ? nil : key
    }

    /// Whether a registered CA certificate, of any status, has a key.
    func knows(key: SHA256Digest) -> Bool {
        keys[key] != nil
    }

    /// What the map says of a path.
    ///
    /// Trusted: its anchor is Active, and no intermediate has the key of a registered CA certificate that is Inactive,
    /// unless an Active one has that key too. A no is said only where no other CA record can be in the answer: then it is
    /// what Verify says. Below the CA itself that is so whatever else is registered: only its key verifies the device's
    /// signature, and no path may go through it.
    func word(of path: PathRecord) -> TrustMapStatus {
        guard let anchor = authorities[path.ca] else { return .ask }
        switch anchor.status {
        case .active:
            let isBarred = path.intermediateKeys.contains { key in
                guard let known = keys[key] else { return false }
                return known.active == 0
            }
            return isBarred ? .ask : .trusted
        case .inactive:
            let isAlone =
                path.intermediateKeys.isEmpty
                || activeCount == 0 && !path.intermediateKeys.contains { knows(key: $0) }
            return isAlone && keys[anchor.keyHash]?.all == 1
                ? .refused(reason: VerdictReason.caInactive.rawValue) : .ask
        }
    }
}

extension DeviceStatus {
    /// What the map says of a device of this status on a good path.
    var mapWord: TrustMapStatus {
        switch self {
        case .active: .trusted
        case .inactive: .refused(reason: VerdictReason.deviceInactive.rawValue)
        case .pending: .refused(reason: VerdictReason.devicePending.rawValue)
        case .deleted: .refused(reason: VerdictReason.deviceDeleted.rawValue)
        }
    }
}

/// Keys that devices in a map may have: a set that says yes to some that it does not hold, and never no to one it does.
///
/// A device certificate with the key of a registered CA certificate is a matter for Verify. Such a device is as good as
/// never there; this tells cheaply when to look for it.
struct DeviceKeyFilter {
    private static let bits = 25
    private var words = [UInt64](repeating: 0, count: 1 << (bits - 6))

    mutating func insert(_ key: SHA256Digest) {
        let position = Self.position(key)
        words[position >> 6] |= 1 << UInt64(position & 63)
    }

    func mayContain(_ key: SHA256Digest) -> Bool {
        let position = Self.position(key)
        return words[position >> 6] & (1 << UInt64(position & 63)) != 0
    }

    private static func position(_ key: SHA256Digest) -> Int {
        key.bytes.prefix(4).reduce(0) { $0 << 8 | Int($1) } & (1 << bits - 1)
    }
}
