/// What a question is asked in: which CA certificates are registered, what the device sent, and when.
public struct World: Sendable {
    /// A registered CA certificate.
    public struct Anchor: Sendable {
        public var der: [UInt8]
        public var isActive: Bool

        public init(_ der: [UInt8], isActive: Bool = true) {
            self.der = der
            self.isActive = isActive
        }
    }

    public var anchors: [Anchor]
    /// The device's certificate first.
    public var chain: [[UInt8]]
    /// Seconds since 1970.
    public var instant: Int64 = TestTime.now

    public init(anchors: [Anchor], chain: [[UInt8]], instant: Int64 = TestTime.now) {
        self.anchors = anchors
        self.chain = chain
        self.instant = instant
    }

    /// All anchors Active, except for those that stand in `inactive`.
    public init(_ anchors: Entity..., inactive: [Entity] = [], chain: [Entity], instant: Int64 = TestTime.now) {
        self.anchors = anchors.map { Anchor($0.der) } + inactive.map { Anchor($0.der, isActive: false) }
        self.chain = chain.map(\.der)
        self.instant = instant
    }
}
