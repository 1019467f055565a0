import CaregProto
import Certificates
import Foundation
import Signatures
import SwiftProtobuf
import TestPKI

@testable import RegistryStore
@testable import TTRPC

/// Writes the corpora that the fuzzers begin with: `Seeds FOLDER`. They follow from TestPKI alone, but for what is random in
/// signatures.
@main struct Seeds {
    static func main() throws {
        let folder = CommandLine.arguments.count > 1 ? CommandLine.arguments[1] : "Corpora"
        let corpora = [
            "FuzzCertificate": certificates, "FuzzPEM": texts, "FuzzSerialNumber": serialNumbers,
            "FuzzNameConstraints": constraints, "FuzzPath": paths, "FuzzEnvelope": envelopes,
            "FuzzConnection": connections, "FuzzVerifyRequest": requests, "FuzzRecord": records,
        ]
        for (name, inputs) in corpora {
            let place = URL(fileURLWithPath: folder).appendingPathComponent(name)
            try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
            for (number, input) in inputs.enumerated() {
                try Data(input).write(to: place.appendingPathComponent("seed-\(number)"))
            }
        }
    }

    private static let root = Entity.root()

    private static var certificates: [[UInt8]] {
        [
            root.der,
            Entity.root(key: .rsa2048) {
                $0.scheme = .pss(.sha384)
                $0.set(.nameConstraints(permitted: [.dns("a.test"), .ip([10, 0, 0, 0, 255, 0, 0, 0])]))
                $0.set(.certificatePolicies(TestPKI.OID.anyPolicy))
            }.der,
            root.authority(key: .p384(2)) {
                $0.set(.authorityKeyIdentifier([1], issuer: "Root", serial: [1]))
                $0.set(.nameConstraints(excluded: [.directory("x"), .uri(".a"), .email("a@b")]))
            }.der,
            root.device(TestName(parts: [[.utf8(TestPKI.OID.commonName, "a"), .bmp(TestPKI.OID.organization, "ß")]])) {
                $0.set(
                    .subjectAltName(
                        .dns("a"), .email("a@b"), .uri("a://b"), .ip([1, 2, 3, 4]), .directory("d"),
                        .other("1.2", DER.null), .registeredID("1.2.3")))
                $0.uniqueIdentifiers = DER.implicit(1, [0, 1])
            }.der,
            root.device(key: .ed25519(3)) { $0.makeVersion1() }.der,
        ]
    }

    private static var texts: [[UInt8]] {
        let pem = PEM.encode(Array(certificates[4].prefix(60)))
        let text = String(decoding: pem, as: UTF8.self)
        return [
            pem, pem + pem, Array(text.replacingOccurrences(of: "\n", with: "\r\n").utf8),
            Array("\u{FEFF}Subject: a\n\n".utf8) + pem.dropLast(), certificates[4],
            Array(text.replacingOccurrences(of: "CERTIFICATE", with: "EC PRIVATE KEY").utf8),
        ]
    }

    private static var serialNumbers: [[UInt8]] {
        ["00", "-0a", "0x01:02:ff", "serial=ABCDEF0", "- 1", "\u{80}\u{0}"].map { Array($0.utf8) }
    }

    /// The first two bytes say how the rest is read.
    private static var constraints: [[UInt8]] {
        let pairs: [(form: UInt8, name: String, base: String)] = [
            (2, "a.b.test", "b.test"), (2, "*.test", "a.test"), (1, "u@b.test", ".test"), (1, "u@b.test", "u@b.test"),
            (6, "x://u@a.test:1/p", ".test"), (4, "a", "A "), (7, "abcd", "abcd"),
        ]
        return pairs.map { pair in [0, pair.form] + sized(Array(pair.name.utf8)) + sized(Array(pair.base.utf8)) } + [
            [3, 2] + sized(TestGeneralName.dns("a").der) + sized(TestGeneralName.directory("a").der),
            [4, 2] + sized([97]) + sized([97]) + sized([0x80, 1, 0]),
        ]
    }

    private static func sized(_ bytes: [UInt8]) -> [UInt8] { [UInt8(bytes.count)] + bytes }

    /// The bytes that CertificateSource picks by; any will do, for all mean something.
    private static var paths: [[UInt8]] {
        func certificate(_ subject: UInt8, _ issuer: UInt8, _ key: UInt8, isCA: Bool) -> [UInt8] {
            [subject, issuer, key, 1, isCA ? 0 : 0x10, 0, 0]
        }
        let (device, anchor) = (certificate(4, 1, 2, isCA: false), certificate(0, 0, 0, isCA: true))
        var generator = SeededGenerator(seed: 3)
        return [
            device + [1] + certificate(1, 1, 0, isCA: true) + [0],
            device + [1] + anchor + [1] + certificate(1, 0, 1, isCA: true),
            device + [1] + anchor + [3] + certificate(1, 2, 1, isCA: true) + certificate(2, 3, 2, isCA: true)
                + certificate(3, 0, 3, isCA: true),
        ] + (0..<4).map { generator.bytes(200 + 200 * $0) }
    }

    private static var envelope: [UInt8] {
        var envelope: [UInt8] = []
        AnswerFrame.appendField(1, Array("s".utf8), to: &envelope)
        AnswerFrame.appendField(2, Array("u".utf8), to: &envelope)
        AnswerFrame.appendField(3, [1, 2, 3], to: &envelope)
        envelope += [0x20, 0xff, 0x01]
        AnswerFrame.appendField(5, [0x0a, 1, 97, 0x12, 1, 98], to: &envelope)
        return envelope
    }

    private static var envelopes: [[UInt8]] {
        var failure: [UInt8] = []
        AnswerFrame.appendFailure(
            RPCFailure(code: 3, message: "a", details: [RPCFailure.Detail(typeURL: "b", value: [1])]), stream: 1,
            limit: 1_000, to: &failure)
        return [envelope, Array(failure.dropFirst(FrameHeader.byteCount)), [0x12, 2, 1, 2], envelope + [0x33, 0x34]]
    }

    private static var connections: [[UInt8]] {
        func frame(_ stream: UInt32, _ type: UInt8, _ flags: UInt8, _ data: [UInt8]) -> [UInt8] {
            var frame: [UInt8] = []
            FrameHeader(length: data.count, stream: stream, type: type, flags: flags).append(to: &frame)
            return frame + data
        }
        return [
            [3, 1] + frame(1, 1, 0, envelope) + frame(3, 1, 0, envelope) + frame(3, 3, 5, []),
            [0, 1] + frame(2, 1, 0, envelope) + frame(5, 9, 0, [1, 2]) + frame(7, 1, 0, [0xff]),
            [9, 0] + [0x98, 0, 1, 0, 0xb8, 2, 1, 1, 3, 1, 0xd8, 9] + [1, 2, 3, 4, 5, 6, 7, 8, 9, 3, 0],
        ]
    }

    private static var requests: [[UInt8]] {
        let request = Careg_V1_VerifyRequest.with {
            $0.instanceID = "a"
            $0.chain = [Data([0x30, 0]), Data([0x30, 1, 0])]
            $0.dryRun = true
            $0.at = Google_Protobuf_Timestamp(seconds: 1, nanos: 2)
        }
        return [(try? request.serializedBytes()) ?? [], [0x12, 0, 0x12, 1, 0x30], [0x33, 0x34]]
    }

    private static var records: [[UInt8]] {
        let digest = SHA256Digest(hashing: [1])
        func row(_ table: UInt8, _ record: some StoredRecord) -> [UInt8] {
            var writer = RecordWriter()
            record.encode(into: &writer)
            return [table] + writer.bytes
        }
        let (time, number) = (WallTime(milliseconds: 1), SerialNumber(isNegative: true, magnitude: [1]))
        return [
            row(
                0,
                InstanceRecord(
                    id: "a", number: InstanceNumber(1), edition: .professional, createTime: time, revision: Revision(1))
            ),
            row(1, CodeRecord(prefix: "a", createTime: time, expireTime: time, revision: Revision(1), isUsed: true)),
            row(
                2,
                CaRecord(
                    id: CaID(1), instance: InstanceNumber(1), instanceID: "a", serialNumber: number, name: "b",
                    status: .active, deviceRegistration: .pending, registerTime: time, updateTime: time,
                    revision: Revision(1), fingerprint: digest, keyHash: digest, subjectHash: digest, der: [0x30, 0])),
            row(
                4,
                PathRecord(
                    instance: InstanceNumber(1), ca: CaID(1), intermediates: [digest], intermediateKeys: [digest],
                    notBefore: Instant(secondsSince1970: 0), notAfter: Instant(secondsSince1970: 1))),
            row(5, IntermediateRecord(der: [0x30, 0], pathCount: 1)),
            row(6, ListedDevice(id: DeviceID(1), status: .active)),
            row(
                7,
                ChangeRecord(
                    kind: .caDeleted, time: time, method: "m",
                    caller: Caller(userID: 1, groupID: 2, processID: 3), instanceID: "a")),
            row(8, MetaRecord([1, 2])),
        ]
    }
}
