public import Certificates
public import RegistryStore
public import Threads

/// The rules of the region: a command in, a change out.
///
/// Commands are methods that take a completion; queries are methods that return. Both throw or complete with a ``Refusal``
/// for an expected no, and with ``RegistryStore/StoreFault`` for a fault. Queries and verdicts run on any thread, each in
/// its own snapshot.
public final class Registry: Sendable {
    let store: Store
    let limits: RegistryLimits
    let clock: @Sendable () -> WallTime
    let randomBytes: @Sendable (Int) throws -> [UInt8]

    /// The one writer.
    public let writer: Writer

    /// - Parameters:
    ///   - clock: the host's clock.
    ///   - randomBytes: the system's generator, for registration codes.
    /// - Throws: there is no thread for the writer.
    public init(
        store: Store, limits: RegistryLimits, clock: @escaping @Sendable () -> WallTime,
        randomBytes: @escaping @Sendable (Int) throws -> [UInt8], mirrors: [any Mirror] = [],
        onCommit: @escaping @Sendable (Revision) -> Void = { _ in },
        onFatal: @escaping @Sendable (StoreFault) -> Void
    ) throws(ThreadError) {
        self.store = store
        self.limits = limits
        self.clock = clock
        self.randomBytes = randomBytes
        writer = try Writer(
            store: store, limits: limits, clock: clock, mirrors: mirrors, onCommit: onCommit, onFatal: onFatal)
    }

    /// Runs a query in one consistent snapshot.
    public func read<Result>(_ body: (Snapshot) throws -> Result) throws -> Result {
        try store.read(body)
    }

    /// The host's clock, in whole seconds.
    public var now: Instant { clock().instant }
}

extension Snapshot {
    /// The instance of that id.
    ///
    /// - Throws: ``Refusal`` INSTANCE_NOT_FOUND.
    public func requireInstance(_ id: String) throws -> InstanceRecord {
        guard InstanceID.isValid(id), let record = try instance(id) else {
            throw Refusal(
                .instanceNotFound, "There is no instance \(quoted(id)) in this region. List them, or create it first.",
                metadata: ["instance_id": String(id.prefix(64))])
        }
        return record
    }

    /// The CA record with that serial number.
    ///
    /// - Throws: ``Refusal`` CA_NOT_FOUND.
    public func requireCa(_ serialNumber: SerialNumber) throws -> CaRecord {
        guard let record = try ca(serialNumber) else {
            throw Refusal(
                .caNotFound, "No CA certificate with SN \(serialNumber.text) is registered in this region.",
                metadata: ["sn": serialNumber.text])
        }
        return record
    }

    func requireInstance(of ca: CaRecord) throws -> InstanceRecord {
        guard let record = try instance(ca.instanceID), record.number == ca.instance else {
            throw StoreFault.damaged(table: "instances", key: Array(ca.instanceID.utf8), finding: .missing)
        }
        return record
    }
}

/// The form of an instance's id.
public enum InstanceID {
    /// The longest id, in characters.
    public static let maximumCharacters = 64

    /// 1 to 64 characters out of `A-Z a-z 0-9 - _`.
    public static func isValid(_ text: String) -> Bool {
        (1...maximumCharacters).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }
}

/// Somebody's text inside a sentence: bounded, on one line, in quotes.
func quoted(_ text: String) -> String {
    var shown = ""
    for scalar in text.unicodeScalars.prefix(80) {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned:
            shown += "\\u{" + String(scalar.value, radix: 16) + "}"
        default: shown.unicodeScalars.append(scalar)
        }
    }
    if text.unicodeScalars.count > 80 { shown += "…" }
    return "“\(shown)”"
}
