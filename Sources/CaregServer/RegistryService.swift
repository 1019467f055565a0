internal import CaregProto
internal import Certificates
internal import Registry
internal import RegistryStore
internal import Signatures
internal import SwiftProtobuf

/// careg.v1.RegistryService: decode, call the registry, encode.
struct RegistryService: Sendable {
    let registry: Registry
    let limits: ServiceLimits

    // MARK: Instances

    func createInstance(_ request: Careg_V1_CreateInstanceRequest, _ call: Call<Careg_V1_CreateInstanceResponse>) throws
    {
        registry.createInstance(id: request.id, edition: try Edition(request.edition), caller: call.caller) { result in
            call.complete(result) { view in .with { $0.instance = Careg_V1_Instance(view) } }
        }
    }

    func getInstance(_ request: Careg_V1_GetInstanceRequest, _ call: Call<Careg_V1_GetInstanceResponse>) throws {
        let view = try registry.instance(request.id)
        call.succeed(.with { $0.instance = Careg_V1_Instance(view) })
    }

    func listInstances(_ request: Careg_V1_ListInstancesRequest, _ call: Call<Careg_V1_ListInstancesResponse>) throws {
        let tokens = PageTokens(query: "instances")
        let cursor = try tokens.open(request.pageToken).map { String(decoding: $0, as: UTF8.self) }
        let page = try registry.instances(after: cursor, pageSize: try limits.pageSize(request.pageSize))
        call.succeed(
            .with {
                $0.instances = page.rows.map(Careg_V1_Instance.init)
                $0.nextPageToken = tokens.seal(page.next.map { Array($0.utf8) })
                $0.totalSize = UInt32(clamping: page.totalSize)
            })
    }

    func updateInstance(_ request: Careg_V1_UpdateInstanceRequest, _ call: Call<Careg_V1_UpdateInstanceResponse>) throws
    {
        registry.updateInstance(id: request.id, edition: try Edition(request.edition), caller: call.caller) { result in
            call.complete(result) { view in .with { $0.instance = Careg_V1_Instance(view) } }
        }
    }

    func deleteInstance(_ request: Careg_V1_DeleteInstanceRequest, _ call: Call<Careg_V1_DeleteInstanceResponse>) throws
    {
        registry.deleteInstance(id: request.id, caller: call.caller) { result in
            call.complete(result) { view in .with { $0.instance = Careg_V1_Instance(view) } }
        }
    }

    // MARK: Registration codes

    func issueRegistrationCode(
        _ request: Careg_V1_IssueRegistrationCodeRequest, _ call: Call<Careg_V1_IssueRegistrationCodeResponse>
    ) throws {
        let lifetime = request.hasTtl ? try request.ttl.wholeSeconds(field: "ttl") : nil
        registry.issueCode(instanceID: request.instanceID, lifetime: lifetime, caller: call.caller) { result in
            call.complete(result) { view in .with { $0.registrationCode = Careg_V1_RegistrationCode(view) } }
        }
    }

    func listRegistrationCodes(
        _ request: Careg_V1_ListRegistrationCodesRequest, _ call: Call<Careg_V1_ListRegistrationCodesResponse>
    ) throws {
        let tokens = PageTokens(query: "codes", request.instanceID)
        let cursor = try tokens.open(request.pageToken).map { bytes in
            guard let hash = SHA256Digest(bytes: bytes) else { throw PageTokens.refusal }
            return hash
        }
        let page = try registry.codes(
            of: request.instanceID, after: cursor, pageSize: try limits.pageSize(request.pageSize))
        call.succeed(
            .with {
                $0.registrationCodes = page.rows.map(Careg_V1_RegistrationCode.init)
                $0.nextPageToken = tokens.seal(page.next?.bytes)
                $0.totalSize = UInt32(clamping: page.totalSize)
            })
    }

    func revokeRegistrationCode(
        _ request: Careg_V1_RevokeRegistrationCodeRequest, _ call: Call<Careg_V1_RevokeRegistrationCodeResponse>
    ) throws {
        registry.revokeCode(instanceID: request.instanceID, prefix: request.prefix, caller: call.caller) { result in
            call.complete(result) { view in .with { $0.registrationCode = Careg_V1_RegistrationCode(view) } }
        }
    }

    // MARK: CA certificates

    func registerCaCertificate(
        _ request: Careg_V1_RegisterCaCertificateRequest, _ call: Call<Careg_V1_RegisterCaCertificateResponse>,
        turn: VerificationTurn
    ) throws {
        let upload = CaUpload(
            instanceID: request.instanceID, caCertificate: Array(request.caCertificate),
            verificationCertificate: Array(request.verificationCertificate), name: request.name,
            deviceRegistration: try DeviceRegistration.given(request.deviceRegistration) ?? .automatic)
        registry.registerCa(upload, signatures: turn.tools.signatures, caller: call.caller) { result in
            call.complete(result) { view in try .with { $0.caCertificate = try Careg_V1_CaCertificate(view, .full) } }
        }
    }

    func getCaCertificate(
        _ request: Careg_V1_GetCaCertificateRequest, _ call: Call<Careg_V1_GetCaCertificateResponse>,
        turn: VerificationTurn
    ) throws {
        let serialNumber = try SerialNumber(caText: request.sn)
        let (view, vouching) = try registry.ca(serialNumber, signatures: turn.tools.signatures)
        var resource = try Careg_V1_CaCertificate(view, .full)
        resource.vouchedBy = vouching.map(\.text)
        call.succeed(.with { $0.caCertificate = resource })
    }

    func listCaCertificates(
        _ request: Careg_V1_ListCaCertificatesRequest, _ call: Call<Careg_V1_ListCaCertificatesResponse>
    ) throws {
        var filter = CaFilter()
        filter.instanceID = request.instanceID.isEmpty ? nil : request.instanceID
        filter.status = try request.status.caFilter()
        filter.prefix = try SerialNumberPrefix(filterText: request.snPrefix)
        filter.subject = request.subject.isEmpty ? nil : request.subject
        filter.expiresBefore =
            request.hasExpiresBefore ? try Instant(request.expiresBefore, field: "expires_before") : nil
        let tokens = PageTokens(
            query: "cas", request.instanceID, request.status.rawValue.description, request.snPrefix, request.subject,
            filter.expiresBefore.map { $0.secondsSince1970.description } ?? "")
        let cursor = try tokens.open(request.pageToken).map { SerialNumber(isNegative: false, magnitude: $0) }
        let page = try registry.cas(filter, after: cursor, pageSize: try limits.pageSize(request.pageSize))
        let all = try page.rows.map { try Careg_V1_CaCertificate($0, .none) }
        let rows = all.fitting(bytes: limits.pageBytes) { $0.sizeEstimate }
        let next = rows.count < all.count ? page.rows[rows.count - 1].record.serialNumber : page.next
        call.succeed(
            .with {
                $0.caCertificates = rows
                $0.nextPageToken = tokens.seal(next?.magnitude)
                $0.totalSize = UInt32(clamping: page.totalSize)
            })
    }

    func updateCaCertificate(
        _ request: Careg_V1_UpdateCaCertificateRequest, _ call: Call<Careg_V1_UpdateCaCertificateResponse>
    ) throws {
        registry.updateCa(
            try SerialNumber(caText: request.sn), name: request.hasName ? request.name : nil,
            deviceRegistration: try DeviceRegistration.given(request.deviceRegistration), caller: call.caller
        ) { result in
            call.complete(result) { view in try .with { $0.caCertificate = try Careg_V1_CaCertificate(view, .full) } }
        }
    }

    func activateCaCertificate(
        _ request: Careg_V1_ActivateCaCertificateRequest, _ call: Call<Careg_V1_ActivateCaCertificateResponse>
    ) throws {
        registry.activateCa(try SerialNumber(caText: request.sn), caller: call.caller) { result in
            call.complete(result) { view in try .with { $0.caCertificate = try Careg_V1_CaCertificate(view, .full) } }
        }
    }

    func unregisterCaCertificate(
        _ request: Careg_V1_UnregisterCaCertificateRequest, _ call: Call<Careg_V1_UnregisterCaCertificateResponse>
    ) throws {
        registry.unregisterCa(try SerialNumber(caText: request.sn), caller: call.caller) { result in
            call.complete(result) { view in try .with { $0.caCertificate = try Careg_V1_CaCertificate(view, .full) } }
        }
    }

    func deleteCaCertificate(
        _ request: Careg_V1_DeleteCaCertificateRequest, _ call: Call<Careg_V1_DeleteCaCertificateResponse>
    ) throws {
        registry.deleteCa(try SerialNumber(caText: request.sn), caller: call.caller) { result in
            call.complete(result) { view in try .with { $0.caCertificate = try Careg_V1_CaCertificate(view, .full) } }
        }
    }
}
