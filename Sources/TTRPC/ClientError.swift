/// Why a ``Client`` has no answer.
public enum ClientError: Error, Hashable, Sendable {
    /// Nothing accepts at the path.
    case connect(path: String, errno: Int32)
    /// The server refused the call.
    case refused(RPCFailure)
    /// The connection ended before the answer: what was asked for may have been done, or not.
    case connectionLost(String)
    /// The answer did not come in time: what was asked for may have been done, or not.
    case timedOut
    /// The peer sent what is no ttrpc.
    case protocolViolation(String)
}
