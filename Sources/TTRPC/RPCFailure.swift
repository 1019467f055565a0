/// A call that was refused: google.rpc.Status.
public struct RPCFailure: Error, Hashable, Sendable {
    /// The gRPC code's number. 0 would read as success, and is sent as 2 (UNKNOWN).
    public var code: Int32
    /// A sentence that a person can act on.
    public var message: String
    /// google.protobuf.Any values.
    public var details: [Detail]

    public init(code: Int32, message: String, details: [Detail] = []) {
        self.code = code
        self.message = message
        self.details = details
    }

    /// google.protobuf.Any.
    public struct Detail: Hashable, Sendable {
        public var typeURL: String
        public var value: [UInt8]

        public init(typeURL: String, value: [UInt8]) {
            self.typeURL = typeURL
            self.value = value
        }
    }
}

/// What the transport itself refuses. The owner of a ``Server`` maps each to an ``RPCFailure``.
public enum ProtocolFailure: Hashable, Sendable {
    /// The stream id is even, 0, in flight, or unknown; the text says which. Status 3.
    case streamInvalid(String)
    /// The data of a Request frame is not a Request message. Status 3.
    case requestMalformed
    /// A frame's data is longer than any frame's may be; the connection ends. `limit` in bytes. Status 8.
    case frameTooLarge(limit: Int)
    /// A Request frame's data is longer than a request's may be; the connection lives. `limit` in bytes. Status 8.
    case requestTooLarge(limit: Int)
    /// The answer would not fit in a frame. `limit` in bytes. Status 8.
    case responseTooLarge(limit: Int)
    /// Status 12.
    case serviceUnknown(String)
    /// Status 12.
    case methodUnknown(service: String, method: String)
    /// Status 4.
    case deadlineExceeded
    /// So many server streams are open on the connection that waiting for one to end could take for ever. Status 8.
    case tooManyRequests(limit: Int)
    /// Status 14.
    case shuttingDown
}
