public import Certificates
public import RegistryStore

/// How much the region holds, for the status and the metrics.
public struct RegistryFigures: Sendable {
    public var identity: Store.Identity
    public var revision: Revision
    public var instances: Int
    public var tally: Tally
}

/// When an Active CA certificate ends.
public struct CaExpiry: Sendable, Equatable {
    public var serialNumber: SerialNumber
    public var instanceID: String
    public var notAfter: Instant

    /// All fields.
    public init(serialNumber: SerialNumber, instanceID: String, notAfter: Instant) {
        self.serialNumber = serialNumber
        self.instanceID = instanceID
        self.notAfter = notAfter
    }
}

extension Registry {
    /// The counts of one moment.
    public func figures() throws -> RegistryFigures {
        try read { snapshot in
            RegistryFigures(
                identity: try snapshot.identity(), revision: try snapshot.revision(),
                instances: try snapshot.instanceCount(), tally: try snapshot.regionTally())
        }
    }

    /// The Active CA certificates of the region that end before a moment, the first to end first.
    ///
    /// Reads every CA record: not for an event loop.
    public func casEnding(before limit: Instant) throws -> [CaExpiry] {
        var ending: [CaExpiry] = []
        try read { snapshot in
            try snapshot.cas(of: nil, after: nil) { record in
                guard record.status == .active else { return true }
                let notAfter = try storedCertificate(record.der, table: "cas", id: record.id.number).notAfter
                if notAfter < limit {
                    ending.append(
                        CaExpiry(
                            serialNumber: record.serialNumber, instanceID: record.instanceID, notAfter: notAfter))
                }
                return true
            }
        }
        return ending.sorted { $0.notAfter < $1.notAfter }
    }

    /// Bytes that the tables take, by the last commit's own account.
    public func neededBytes() throws -> Int {
        try store.neededBytes()
    }

    /// Writes a compacted, consistent copy of the registry to a file descriptor. Pins the pages of its snapshot until it
    /// returns.
    public func copy(to descriptor: Int32) throws {
        try store.copy(to: descriptor)
    }
}
