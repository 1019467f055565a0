/// What a ``Server`` counts.
public struct ServerStatistics: Hashable, Sendable {
    /// Open connections.
    public var connections: Int = 0
    /// Calls that were not answered in their handler and are in flight.
    public var callsInFlight: Int = 0
    /// Bytes of requests in flight beyond what every connection is guaranteed.
    public var requestBytes: Int = 0
    /// Bytes of answers that peers have not taken.
    public var unsentBytes: Int = 0
    /// Connections accepted since the start.
    public var accepted: Int = 0
    /// Connections closed at once, for there were too many.
    public var refusedConnections: Int = 0
    /// Connections cut off for a stall.
    public var cutOff: Int = 0
    /// Requests that the transport itself refused.
    public var refusedRequests: Int = 0

    public init() {}
}

/// One call of a known method that has ended.
public struct CallRecord: Hashable, Sendable {
    public let service: String
    public let method: String
    /// The gRPC code's number: 0 for success, 1 (CANCELLED) where the connection was gone before the answer.
    public let status: Int32
    /// From the whole request to the answer.
    public let durationNanoseconds: Int64

    public init(service: String, method: String, status: Int32, durationNanoseconds: Int64) {
        self.service = service
        self.method = method
        self.status = status
        self.durationNanoseconds = durationNanoseconds
    }
}
