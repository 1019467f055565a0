public import CaregProto

// careg.v1.VerifierService, in the order of its .proto file, which says what each method may refuse.

extension CaregClient {
    public func verify(
        _ request: Careg_V1_VerifyRequest
    ) throws -> Careg_V1_VerifyResponse {
        try call(.verifier, "Verify", request)
    }

    public func listTrustAnchors(
        _ request: Careg_V1_ListTrustAnchorsRequest
    ) throws -> Careg_V1_ListTrustAnchorsResponse {
        try call(.verifier, "ListTrustAnchors", request)
    }

    public func poll(
        _ request: Careg_V1_PollRequest
    ) throws -> Careg_V1_PollResponse {
        try call(.verifier, "Poll", request)
    }

    /// - Parameters:
    ///   - request: the revision to begin after, and the history that it belongs to.
    ///   - onMessage: called for each message; false ends the stream.
    public func watch(
        _ request: Careg_V1_WatchRequest, onMessage: (Careg_V1_WatchResponse) throws -> Bool
    ) throws {
        try stream(.verifier, "Watch", request, onMessage: onMessage)
    }
}
