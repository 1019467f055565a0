internal import CaregProto
internal import Certificates
internal import Registry
internal import RegistryStore
internal import Signatures
internal import SwiftProtobuf

/// The device certificates' part of careg.v1.RegistryService.
extension RegistryService {
    func registerDeviceCertificate(
        _ request: Careg_V1_RegisterDeviceCertificateRequest,
        _ call: Call<Careg_V1_RegisterDeviceCertificateResponse>, turn: VerificationTurn
    ) throws {
        let upload = DeviceUpload(
            instanceID: request.instanceID, certificate: Array(request.certificate),
            chain: request.chain.map { Array($0) })
        registry.registerDevice(upload, tools: turn.tools, caller: call.caller, again: turn.again) { result in
            call.complete(result) { view in
                try .with { $0.deviceCertificate = try Careg_V1_DeviceCertificate(view, .full) }
            }
        }
    }

    func getDeviceCertificate(
        _ request: Careg_V1_GetDeviceCertificateRequest, _ call: Call<Careg_V1_GetDeviceCertificateResponse>
    ) throws {
        let selector = try DeviceSelector(caSn: request.caSn, sn: request.sn, fingerprint: request.fingerprint)
        let view = try registry.read { snapshot in
            let (device, ca) = try snapshot.requireDevice(selector)
            return DeviceView(record: device, ca: ca)
        }
        let resource = try Careg_V1_DeviceCertificate(view, .full)
        call.succeed(.with { $0.deviceCertificate = resource })
    }

    func listDeviceCertificates(
        _ request: Careg_V1_ListDeviceCertificatesRequest, _ call: Call<Careg_V1_ListDeviceCertificatesResponse>
    ) throws {
        let ca = try SerialNumber(caText: request.caSn)
        var filter = DeviceFilter()
        filter.status = try request.status.deviceFilter()
        filter.prefix = try SerialNumberPrefix(filterText: request.snPrefix)
        filter.subject = request.subject.isEmpty ? nil : request.subject
        filter.expiresBefore =
            request.hasExpiresBefore ? try Instant(request.expiresBefore, field: "expires_before") : nil
        let tokens = PageTokens(
            query: "devices", ca.text, request.status.rawValue.description, request.snPrefix, request.subject,
            filter.expiresBefore.map { $0.secondsSince1970.description } ?? "")
        let cursor = try tokens.open(request.pageToken).map { bytes in
            guard bytes.count >= 10, bytes[8] <= 1 else { throw PageTokens.refusal }
            let serialNumber = SerialNumber(isNegative: bytes[8] == 1, magnitude: Array(bytes.dropFirst(9)))
            return DeviceCursor(serialNumber: serialNumber, id: DeviceID(integer(bigEndian: bytes.prefix(8))))
        }
        let page = try registry.devices(
            of: ca, filter, after: cursor, pageSize: try limits.pageSize(request.pageSize))
        let all = try page.rows.map { try Careg_V1_DeviceCertificate($0, .none) }
        let rows = all.fitting(bytes: limits.pageBytes) { $0.sizeEstimate }
        var next = page.next
        if rows.count < all.count {
            let last = page.rows[rows.count - 1].record
            next = DeviceCursor(serialNumber: last.serialNumber, id: last.id)
        }
        call.succeed(
            .with {
                $0.deviceCertificates = rows
                $0.nextPageToken = tokens.seal(
                    next.map {
                        bigEndianBytes($0.id.number) + [$0.serialNumber.isNegative ? 1 : 0] + $0.serialNumber.magnitude
                    })
                $0.totalSize = UInt32(clamping: page.totalSize)
            })
    }

    func activateDeviceCertificate(
        _ request: Careg_V1_ActivateDeviceCertificateRequest,
        _ call: Call<Careg_V1_ActivateDeviceCertificateResponse>
    ) throws {
        let selector = try DeviceSelector(caSn: request.caSn, sn: request.sn, fingerprint: request.fingerprint)
        registry.activateDevice(selector, caller: call.caller) { result in
            call.complete(result) { view in
                try .with { $0.deviceCertificate = try Careg_V1_DeviceCertificate(view, .full) }
            }
        }
    }

    func deactivateDeviceCertificate(
        _ request: Careg_V1_DeactivateDeviceCertificateRequest,
        _ call: Call<Careg_V1_DeactivateDeviceCertificateResponse>
    ) throws {
        let selector = try DeviceSelector(caSn: request.caSn, sn: request.sn, fingerprint: request.fingerprint)
        registry.deactivateDevice(selector, caller: call.caller) { result in
            call.complete(result) { view in
                try .with { $0.deviceCertificate = try Careg_V1_DeviceCertificate(view, .full) }
            }
        }
    }

    func deleteDeviceCertificate(
        _ request: Careg_V1_DeleteDeviceCertificateRequest, _ call: Call<Careg_V1_DeleteDeviceCertificateResponse>
    ) throws {
        let selector = try DeviceSelector(caSn: request.caSn, sn: request.sn, fingerprint: request.fingerprint)
        registry.deleteDevice(selector, caller: call.caller) { result in
            call.complete(result) { view in
                try .with { $0.deviceCertificate = try Careg_V1_DeviceCertificate(view, .full) }
            }
        }
    }
}
