public import CaregProto

// careg.v1.RegistryService, in the order of its .proto file, which says what each method may refuse.

extension CaregClient {
    public func createInstance(
        _ request: Careg_V1_CreateInstanceRequest
    ) throws -> Careg_V1_CreateInstanceResponse {
        try call(.registry, "CreateInstance", request)
    }

    public func getInstance(
        _ request: Careg_V1_GetInstanceRequest
    ) throws -> Careg_V1_GetInstanceResponse {
        try call(.registry, "GetInstance", request)
    }

    public func listInstances(
        _ request: Careg_V1_ListInstancesRequest
    ) throws -> Careg_V1_ListInstancesResponse {
        try call(.registry, "ListInstances", request)
    }

    public func updateInstance(
        _ request: Careg_V1_UpdateInstanceRequest
    ) throws -> Careg_V1_UpdateInstanceResponse {
        try call(.registry, "UpdateInstance", request)
    }

    public func deleteInstance(
        _ request: Careg_V1_DeleteInstanceRequest
    ) throws -> Careg_V1_DeleteInstanceResponse {
        try call(.registry, "DeleteInstance", request)
    }

    public func issueRegistrationCode(
        _ request: Careg_V1_IssueRegistrationCodeRequest
    ) throws -> Careg_V1_IssueRegistrationCodeResponse {
        try call(.registry, "IssueRegistrationCode", request)
    }

    public func listRegistrationCodes(
        _ request: Careg_V1_ListRegistrationCodesRequest
    ) throws -> Careg_V1_ListRegistrationCodesResponse {
        try call(.registry, "ListRegistrationCodes", request)
    }

    public func revokeRegistrationCode(
        _ request: Careg_V1_RevokeRegistrationCodeRequest
    ) throws -> Careg_V1_RevokeRegistrationCodeResponse {
        try call(.registry, "RevokeRegistrationCode", request)
    }

    public func registerCaCertificate(
        _ request: Careg_V1_RegisterCaCertificateRequest
    ) throws -> Careg_V1_RegisterCaCertificateResponse {
        try call(.registry, "RegisterCaCertificate", request)
    }

    public func getCaCertificate(
        _ request: Careg_V1_GetCaCertificateRequest
    ) throws -> Careg_V1_GetCaCertificateResponse {
        try call(.registry, "GetCaCertificate", request)
    }

    public func listCaCertificates(
        _ request: Careg_V1_ListCaCertificatesRequest
    ) throws -> Careg_V1_ListCaCertificatesResponse {
        try call(.registry, "ListCaCertificates", request)
    }

    public func updateCaCertificate(
        _ request: Careg_V1_UpdateCaCertificateRequest
    ) throws -> Careg_V1_UpdateCaCertificateResponse {
        try call(.registry, "UpdateCaCertificate", request)
    }

    public func activateCaCertificate(
        _ request: Careg_V1_ActivateCaCertificateRequest
    ) throws -> Careg_V1_ActivateCaCertificateResponse {
        try call(.registry, "ActivateCaCertificate", request)
    }

    public func unregisterCaCertificate(
        _ request: Careg_V1_UnregisterCaCertificateRequest
    ) throws -> Careg_V1_UnregisterCaCertificateResponse {
        try call(.registry, "UnregisterCaCertificate", request)
    }

    public func deleteCaCertificate(
        _ request: Careg_V1_DeleteCaCertificateRequest
    ) throws -> Careg_V1_DeleteCaCertificateResponse {
        try call(.registry, "DeleteCaCertificate", request)
    }

    public func registerDeviceCertificate(
        _ request: Careg_V1_RegisterDeviceCertificateRequest
    ) throws -> Careg_V1_RegisterDeviceCertificateResponse {
        try call(.registry, "RegisterDeviceCertificate", request)
    }

    /// Registers many device certificates, several calls at once on this connection.
    ///
    /// - Parameters:
    ///   - outstanding: how many calls wait for their answers at most.
    ///   - next: the next request. While calls are under way it may not wait for it, so that their answers are taken.
    ///   - onAnswer: takes each answer as it comes, in any order, with the number of its request, from 0 on. False: no
    ///     more is asked for; what is under way is still answered. Neither closure may call this client.
    public func registerDeviceCertificates(
        outstanding: Int, next: (_ mayWait: Bool) throws -> Supply<Careg_V1_RegisterDeviceCertificateRequest>,
        onAnswer: (Int, Result<Careg_V1_RegisterDeviceCertificateResponse, CaregFailure>) throws -> Bool
    ) throws {
        try callEach(.registry, "RegisterDeviceCertificate", outstanding: outstanding, next: next, onAnswer: onAnswer)
    }

    public func getDeviceCertificate(
        _ request: Careg_V1_GetDeviceCertificateRequest
    ) throws -> Careg_V1_GetDeviceCertificateResponse {
        try call(.registry, "GetDeviceCertificate", request)
    }

    public func listDeviceCertificates(
        _ request: Careg_V1_ListDeviceCertificatesRequest
    ) throws -> Careg_V1_ListDeviceCertificatesResponse {
        try call(.registry, "ListDeviceCertificates", request)
    }

    public func activateDeviceCertificate(
        _ request: Careg_V1_ActivateDeviceCertificateRequest
    ) throws -> Careg_V1_ActivateDeviceCertificateResponse {
        try call(.registry, "ActivateDeviceCertificate", request)
    }

    public func deactivateDeviceCertificate(
        _ request: Careg_V1_DeactivateDeviceCertificateRequest
    ) throws -> Careg_V1_DeactivateDeviceCertificateResponse {
        try call(.registry, "DeactivateDeviceCertificate", request)
    }

    public func deleteDeviceCertificate(
        _ request: Careg_V1_DeleteDeviceCertificateRequest
    ) throws -> Careg_V1_DeleteDeviceCertificateResponse {
        try call(.registry, "DeleteDeviceCertificate", request)
    }
}
