public import CaregProto

// careg.v1.AdminService, in the order of its .proto file, which says what each method may refuse.

extension CaregClient {
    public func getStatus(
        _ request: Careg_V1_GetStatusRequest
    ) throws -> Careg_V1_GetStatusResponse {
        try call(.admin, "GetStatus", request)
    }

    public func getMetrics(
        _ request: Careg_V1_GetMetricsRequest
    ) throws -> Careg_V1_GetMetricsResponse {
        try call(.admin, "GetMetrics", request)
    }

    public func listAuditRecords(
        _ request: Careg_V1_ListAuditRecordsRequest
    ) throws -> Careg_V1_ListAuditRecordsResponse {
        try call(.admin, "ListAuditRecords", request)
    }

    public func listRefusals(
        _ request: Careg_V1_ListRefusalsRequest
    ) throws -> Careg_V1_ListRefusalsResponse {
        try call(.admin, "ListRefusals", request)
    }

    public func verifyAuditLog(
        _ request: Careg_V1_VerifyAuditLogRequest
    ) throws -> Careg_V1_VerifyAuditLogResponse {
        try call(.admin, "VerifyAuditLog", request)
    }

    /// - Parameters:
    ///   - request: has no fields.
    ///   - onMessage: called for each message; false ends the stream.
    public func backup(
        _ request: Careg_V1_BackupRequest, onMessage: (Careg_V1_BackupResponse) throws -> Bool
    ) throws {
        try stream(.admin, "Backup", request, onMessage: onMessage)
    }
}
