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

/// A call of a known method that has ended; or several that were answered in place, one right after the other.
public struct CallRecord: Hashable, Sendable {
    public let service: String
    public let method: String
    /// The method's place among those that the server was made with.
    public let methodIndex: Int
    /// The gRPC code's number: 0 for success, 1 (CANCELLED) where the connection was gone before the answer.
    public let status: Int32
    /// From the whole request to the answer. Of several calls: from when they were read to when they were all answered.
    public let durationNanoseconds: Int64
    /// How many calls these are.
    public let count: Int

    public init(
        service: String, method: String, methodIndex: Int, status: Int32, durationNanoseconds: Int64, count: Int = 1
    ) {
        self.service = service
        self.method = method
        self.methodIndex = methodIndex
        self.status = status
        self.durationNanoseconds = durationNanoseconds
        self.count = count
    }
}
