internal import CaregProto
internal import Foundation
internal import SwiftProtobuf
internal import Testing

@testable internal import caregctl

@Suite struct ProtobufJSONTests {
    @Test func defaultsAreWrittenAndAbsentMessagesAreNot() throws {
        #expect(
            try ProtobufJSON.encode(Careg_V1_Verdict())
                == #"{"trusted":false,"reason":"REASON_UNSPECIFIED","caSn":"","deviceSn":"","fingerprint":"","#
                + #""revision":"0","registered":false,"detail":""}"#)
    }

    @Test func everyKindOfFieldIsWrittenAsProtobufSpellsIt() throws {
        var certificate = Careg_V1_CaCertificate()
        certificate.sn = "0a"
        certificate.name = "quote \" backslash \\ line\nend\u{2028}\u{202e}\u{e9}"
        certificate.status = .active
        certificate.notBefore = Google_Protobuf_Timestamp(seconds: 1_767_225_600, nanos: 0)
        certificate.notAfter = Google_Protobuf_Timestamp(seconds: -1, nanos: 500_000_000)
        certificate.keyAlgorithm = .ecc
        certificate.keyBits = 256
        certificate.der = Data([0, 1, 2, 255])
        certificate.revision = .max
        certificate.vouchedBy = ["0b", ""]
        let json = try ProtobufJSON.encode(certificate)
        #expect(json.hasPrefix(#"{"sn":"0a","instanceId":"","name":"quote \" backslash \\ line\nend\u2028\u202e"#))
        #expect(json.contains(#""status":"STATUS_ACTIVE","fingerprint":"","subject":"","issuer":"","#))
        #expect(json.contains(#""notBefore":"2026-01-01T00:00:00Z","notAfter":"1969-12-31T23:59:59.500Z","#))
        #expect(json.contains(#""keyAlgorithm":"KEY_ALGORITHM_ECC","keyBits":256,"#))
        #expect(json.contains(#""deviceRegistration":"DEVICE_REGISTRATION_UNSPECIFIED","der":"AAEC/w==","pem":"","#))
        #expect(json.hasSuffix(#""deviceCount":0,"revision":"18446744073709551615","vouchedBy":["0b",""]}"#))
    }

    @Test func anEmptyListKeepsItsFields() throws {
        #expect(
            try ProtobufJSON.encode(Careg_V1_ListCaCertificatesResponse())
                == #"{"caCertificates":[],"nextPageToken":"","totalSize":0}"#)
    }

    @Test func anOptionalFieldIsWrittenOnlyWhereItIsSet() throws {
        var limit = Careg_V1_Limit()
        limit.name = "stall-seconds"
        limit.value = 10
        #expect(try ProtobufJSON.encode(limit) == #"{"name":"stall-seconds","value":"10"}"#)
        limit.used = 0
        #expect(try ProtobufJSON.encode(limit) == #"{"name":"stall-seconds","value":"10","used":"0"}"#)
    }

    @Test func negativeAndUnknownNumbersSurvive() throws {
        var record = Careg_V1_AuditRecord()
        record.callerPid = -1
        record.type = .UNRECOGNIZED(99)
        let json = try ProtobufJSON.encode(record)
        #expect(json.contains(#""type":99,"callerUid":0,"callerGid":0,"callerPid":-1,"#))
    }

    @Test func durationsAndNestedMessagesAreWritten() throws {
        var status = Careg_V1_DaemonStatus()
        status.uptime = Google_Protobuf_Duration(seconds: 90, nanos: 0)
        status.trustMaps = [Careg_V1_TrustMapStatus()]
        let json = try ProtobufJSON.encode(status)
        #expect(json.contains(#""uptime":"90s","#))
        #expect(json.contains(#""trustMaps":[{"file":"","generation":"0","#))
    }

    /// swift-protobuf reads back what was written: the two agree on names, types and spelling.
    @Test func swiftProtobufReadsItBack() throws {
        var response = Careg_V1_ListDeviceCertificatesResponse()
        for number in 0..<3 {
            var device = Careg_V1_DeviceCertificate()
            device.sn = "-0\(number)"
            device.commonName = "d\u{1f600}\u{7}"
            device.status = .pending
            device.der = Data(repeating: UInt8(number), count: number)
            device.registerTime = Google_Protobuf_Timestamp(seconds: 1_800_000_000, nanos: 123_000_000)
            device.revision = UInt64(number)
            response.deviceCertificates.append(device)
        }
        response.nextPageToken = "t"
        response.totalSize = 3
        let json = try ProtobufJSON.encode(response)
        #expect(try Careg_V1_ListDeviceCertificatesResponse(jsonString: json) == response)
        #expect(!json.contains { $0.isNewline })
    }

    @Test func everyMessageThatIsPrintedIsKnown() {
        let names: [any SwiftProtobuf.Message.Type] = [
            Careg_V1_Instance.self, Careg_V1_RegistrationCode.self, Careg_V1_CaCertificate.self,
            Careg_V1_DeviceCertificate.self, Careg_V1_Verdict.self, Careg_V1_WatchResponse.self,
            Careg_V1_DaemonStatus.self, Careg_V1_GetMetricsResponse.self, Careg_V1_ListAuditRecordsResponse.self,
            Careg_V1_AuditVerification.self, Careg_V1_BackupResponse.self, Careg_V1_ListTrustAnchorsResponse.self,
            Careg_V1_ListInstancesResponse.self, Careg_V1_ListRegistrationCodesResponse.self,
        ]
        for name in names {
            #expect(MessageTypes.all.fields["." + name.protoMessageName]?.isEmpty == false)
        }
    }
}
