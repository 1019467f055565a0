/// How much the registry takes. The defaults are those of the contract; each may be configured.
public struct RegistryLimits: Sendable {
    /// Instances of the region.
    public var instances = 100_000
    /// CA certificates of the region.
    public var caCertificates = 100_000
    /// CA certificates of one instance.
    public var caCertificatesPerInstance = 1_000
    /// Unused, unexpired registration codes of one instance.
    public var openCodesPerInstance = 1_000
    /// Bytes of one certificate.
    public var certificateBytes = 65_536
    /// Certificates in the chain of a Verify.
    public var chainCertificates = 16
    /// Bytes of the chain of a Verify.
    public var chainBytes = 262_144
    /// Signature checks for one Verify.
    public var signatureChecks = 100
    /// Steps of the path search for one Verify.
    public var pathSteps = 200_000
    /// Comparisons of a name with a name constraint for one Verify.
    public var nameComparisons = 250_000
    /// Characters of a CA certificate's name.
    public var nameCharacters = 128
    /// Rows of a page, and what a page without a size holds.
    public var pageRows = 1_000
    public var defaultPageRows = 100
    /// Rows that one page walks past at the most: with a filter that fits few of them the page comes back short.
    public var walkedRowsPerPage = 20_000
    /// Same-named CA certificates of other instances that a Verify looks at, to tell whose device it is.
    public var foreignAnchors = 32
    /// Commands of one commit.
    public var commandsPerCommit = 1_000
    /// Bytes of the changes that wait for the writer: beyond it they are refused. First sights, which are more than request
    /// frames in flight where callers have given up, leave half of that room to others, and stand unregistered beyond it.
    public var waitingCommandBytes = 48 * 1_048_576
    /// Seconds for which an expired code is still told from one that never was.
    public var expiredCodeMemorySeconds: Int64 = 30 * 86_400
    /// Seconds that a code lives unless asked otherwise.
    public var codeLifetimeSeconds: Int64 = 30 * 86_400
    /// Seconds that a code may live.
    public var longestCodeLifetimeSeconds: Int64 = 3_650 * 86_400

    /// The defaults.
    public init() {}
}
