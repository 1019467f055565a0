import CTrustMap

/// The registry's id of a path, of an instance or of an anchor is a number that is never used again: 64 bits.
public typealias TrustMapNumber = UInt64

/// What the status word of a path or of a device says.
public enum TrustMapStatus: Sendable, Hashable {
    /// Nothing is in the way.
    case trusted
    /// Exactly this is what Verify says: a verdict's raw reason, 2 to 239.
    case refused(reason: UInt8)
    /// The map cannot decide alone: readers ask the daemon.
    case ask

    var word: UInt32 {
        switch self {
        case .trusted: return UInt32(TRUST_MAP_WORD_TRUSTED)
        case .refused(let reason):
            let word = UInt32(reason)
            // A reason that is none asks: a map must not say what nobody can read.
            return word > TRUST_MAP_WORD_TRUSTED && word <= TRUST_MAP_WORD_LAST_REASON ? word : TRUST_MAP_WORD_ASK
        case .ask: return UInt32(TRUST_MAP_WORD_ASK)
        }
    }
}

/// A period of unix seconds, both ends included.
public struct TrustMapPeriod: Sendable, Hashable {
    public var notBefore: Int64
    public var notAfter: Int64

    /// All fields.
    public init(notBefore: Int64, notAfter: Int64) {
        self.notBefore = notBefore
        self.notAfter = notAfter
    }
}

/// A path of the registry, as the map holds it.
public struct TrustMapPath: Sendable, Hashable {
    public var id: TrustMapNumber
    /// The instance's id, 1 to 64 characters `A-Z a-z 0-9 - _`.
    public var instanceID: String
    /// The registry's id of the CA record that the path ends at.
    public var anchor: TrustMapNumber
    /// That record's serial number in text: lowercase hex, 256 characters at most.
    public var anchorSerialNumber: String
    /// The common period of all its certificates, the anchor's included, the device's left out.
    public var period: TrustMapPeriod
    public var status: TrustMapStatus

    /// All fields.
    public init(
        id: TrustMapNumber, instanceID: String, anchor: TrustMapNumber, anchorSerialNumber: String,
        period: TrustMapPeriod, status: TrustMapStatus
    ) {
        self.id = id
        self.instanceID = instanceID
        self.anchor = anchor
        self.anchorSerialNumber = anchorSerialNumber
        self.period = period
        self.status = status
    }
}

/// A known device certificate, as the map holds it.
public struct TrustMapDevice: Sendable, Hashable {
    public var instanceID: String
    /// SHA-256 of the DER.
    public var fingerprint: MapFingerprint
    /// The id of its path.
    public var path: TrustMapNumber
    /// The device certificate's own period.
    public var period: TrustMapPeriod
    public var status: TrustMapStatus

    /// All fields.
    public init(
        instanceID: String, fingerprint: MapFingerprint, path: TrustMapNumber, period: TrustMapPeriod,
        status: TrustMapStatus
    ) {
        self.instanceID = instanceID
        self.fingerprint = fingerprint
        self.path = path
        self.period = period
        self.status = status
    }
}

extension MapFingerprint {
    /// - Parameter digest: the 32 bytes of SHA-256 over the DER; nil where they are not 32.
    public init?(digest: some Sequence<UInt8>) {
        var words: [UInt64] = [0, 0, 0, 0]
        var count = 0
        for byte in digest {
            guard count < 32 else { return nil }
            words[count / 8] |= UInt64(byte) << UInt64(count % 8 * 8)
            count += 1
        }
        guard count == 32 else { return nil }
        self.init(word0: words[0], word1: words[1], word2: words[2], word3: words[3])
    }
}

extension MapFingerprint {
    /// - Parameter words: the digest's bytes, the first one in each word the lowest.
    public init(littleEndianWords words: (UInt64, UInt64, UInt64, UInt64)) {
        self.init(word0: words.0, word1: words.1, word2: words.2, word3: words.3)
    }
}

extension MapInstanceID {
    /// nil where the bytes are no instance id.
    init?(_ bytes: Span<UInt8>) {
        self.init()
        for index in bytes.indices where !append(bytes[index]) { return nil }
        guard length > 0 else { return nil }
    }

    /// nil where the text is no instance id.
    init?(_ text: String) {
        self.init()
        for byte in text.utf8 where !append(byte) { return nil }
        guard length > 0 else { return nil }
    }
}

/// What the owner of a map may have to say to an operator.
public enum TrustMapFault: Error, Sendable, Equatable, CustomStringConvertible {
    /// The file system would have less than half of its free bytes left.
    case notEnoughSpace(needed: UInt64, free: UInt64)
    /// A system call failed.
    case system(call: String, path: String, code: Int32)
    /// What stands at the path is no trust map.
    case foreign(path: String)

    public var description: String {
        switch self {
        case .notEnoughSpace(let needed, let free):
            return
                "the trust map needs \(needed) bytes, and the runtime folder's file system has \(free) free, of which "
                + "a map may take half: free some space or lower the map's limit; brokers ask the daemon meanwhile"
        case .system(let call, let path, let code):
            return "\(call) failed for \(path): \(systemText(code))"
        case .foreign(let path):
            return "\(path) is not a trust map: move it away"
        }
    }
}

/// A device that the map trusts at one moment.
public struct TrustMapTrust: ~Escapable {
    /// SN of the CA record that its path ends at, in text.
    public let anchorSerialNumber: Span<UInt8>
    /// Unix seconds: the first moment at which time alone ends it; nil where time does not.
    public let validUntil: Int64?
    public let revision: UInt64

    /// All fields.
    @_lifetime(copy anchorSerialNumber)
    public init(anchorSerialNumber: Span<UInt8>, validUntil: Int64?, revision: UInt64) {
        self.anchorSerialNumber = anchorSerialNumber
        self.validUntil = validUntil
        self.revision = revision
    }
}

/// How an addition to the map ended.
public enum TrustMapAddition: Sendable, Equatable {
    case added
    /// It was there already.
    case present
    /// No room: readers ask about it. `TrustMapWriter.grow()` makes room, unless the limit is reached.
    case full
    /// Its instance or path is not in the map, or its key cannot be one: readers ask about it.
    case unplaced
}
