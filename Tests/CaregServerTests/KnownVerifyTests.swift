import CaregClient
import CaregProto
import Certificates
import Foundation
import Registry
import Signatures
import SwiftProtobuf
import Synchronization
import TTRPC
import Testing
import TrustMap

@testable import CaregServer

/// A trust map of a few devices.
private struct Devices: KnownDevices {
    struct Entry {
        var anchor: String
        var validUntil: Int64?
        var revision: UInt64
    }

    var entries: [String: Entry] = [:]
    let asked = Asked()

    final class Asked: Sendable {
        let count = Atomic<Int>(0)
    }

    static func key(_ fingerprint: MapFingerprint, _ instance: some Sequence<UInt8>) -> String {
        "\(String(decoding: Array(instance), as: UTF8.self)) \(fingerprint)"
    }

    mutating func add(_ der: [UInt8], _ instance: String, _ entry: Entry) {
        let fingerprint = MapFingerprint(littleEndianWords: SHA256Digest(hashing: der).littleEndianWords)
        entries[Self.key(fingerprint, instance.utf8)] = entry
    }

    func withTrust(
        in fingerprint: MapFingerprint, of instanceID: Span<UInt8>, _ body: (borrowing TrustMapTrust) -> Void
    ) -> Bool {
        asked.count.add(1, ordering: .relaxed)
        guard let entry = entries[Self.key(fingerprint, instanceID.indices.map { instanceID[$0] })] else {
            return false
        }
        let text = Array(entry.anchor.utf8)
        body(TrustMapTrust(anchorSerialNumber: text.span, validUntil: entry.validUntil, revision: entry.revision))
        return true
    }
}

extension PeerCredentials {
    fileprivate static let ofThisProcess = PeerCredentials(userID: 1_000, groupID: 1_000, processID: 42, groups: [])
}

/// So much of a certificate as a known one is looked at for.
private func certificate(serial: [UInt8], isVersion1: Bool = false, filling: Int = 800) -> [UInt8] {
    func element(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
        let count = content.count
        if count < 0x80 { return [tag, UInt8(count)] + content }
        if count < 0x100 { return [tag, 0x81, UInt8(count)] + content }
        return [tag, 0x82, UInt8(count >> 8), UInt8(count & 0xff)] + content
    }
    let version: [UInt8] = isVersion1 ? [] : [0xa0, 3, 2, 1, 2]
    return element(0x30, element(0x30, version + element(2, serial) + element(4, .init(repeating: 7, count: filling))))
}

/// The answer from bytes to bytes is the answer of the long way round.
@Suite struct KnownVerifyTests {
    private static let certificates = [
        certificate(serial: [0]), certificate(serial: [1]), certificate(serial: [0, 0xff]),
        certificate(serial: [0x7f] + .init(repeating: 9, count: 19), isVersion1: true),
        certificate(serial: [0] + .init(repeating: 0xee, count: 128)),
        certificate(serial: [0xff, 1]), certificate(serial: .init(repeating: 1, count: 130)),
        certificate(serial: [5], filling: 1), certificate(serial: [6], filling: 60_000), [], [1, 2, 3],
    ]

    private static let instances = ["a", "plant-1", String(repeating: "x", count: 64)]
    private static let ends: [Int64?] = [
        nil, 1, 0, -5, 1_800_000_000, 253_402_300_799, 253_402_300_800, .max, .min, -62_135_596_800,
    ]

    private var devices: Devices {
        var devices = Devices()
        var count = 0
        for instance in Self.instances {
            for der in Self.certificates {
                count += 1
                let anchor = ["00", "0a12", String(repeating: "ab", count: 128), String(repeating: "7c", count: 64)]
                devices.add(
                    der, instance,
                    Devices.Entry(
                        anchor: anchor[count % 4], validUntil: Self.ends[count % Self.ends.count],
                        revision: [0, 1, 127, 128, .max][count % 5]))
            }
        }
        return devices
    }

    private func known(_ devices: Devices, _ access: AccessPolicy = AccessPolicy()) -> KnownVerify {
        KnownVerify(
            devices: devices, policy: PolicyInForce(access),
            metrics: ServiceMetrics(MetricsRegistry(), limits: ServiceLimits()))
    }

    /// What the method answers in place; nil where it takes a closer look.
    private func short(_ known: KnownVerify, _ payload: [UInt8], _ caller: InPlaceCaller) -> [UInt8]? {
        var isAnswered = false
        let answer = unsafe [UInt8](unsafeUninitializedCapacity: TTRPC.Method.inPlaceAnswerBytes) { buffer, count in
            var output = unsafe OutputSpan(buffer: buffer, initializedCount: 0)
            isAnswered = known.answer(payload.span, caller, &output)
            count = unsafe output.finalize(for: buffer)
        }
        return isAnswered ? answer : nil
    }

    /// The same by way of the generated code.
    private func long(_ known: KnownVerify, _ payload: [UInt8]) -> [UInt8]? {
        guard let request = try? Careg_V1_VerifyRequest(serializedBytes: payload) else { return nil }
        let question = VerifyQuestion(
            instanceID: request.instanceID, chain: request.chain.map { Array($0) }, isDryRun: request.dryRun,
            at: request.hasAt ? Instant(secondsSince1970: request.at.seconds) : nil, hearsOf: nil)
        guard let verdict = known.verdict(on: question) else { return nil }
        return try? Careg_V1_VerifyResponse.with { $0.verdict = Careg_V1_Verdict(verdict) }.serializedBytes()
    }

    @Test func whatIsAnsweredInPlaceIsWhatTheLongWayAnswersByteForByte() throws {
        var generator = SystemRandomNumberGenerator()
        let seed =
            ProcessInfo.processInfo.environment["CAREG_TEST_SEED"].flatMap { UInt64($0) } ?? generator.next()
        var payloads = Payloads(seed: seed, instances: Self.instances, certificates: Self.certificates)
        let known = known(devices)
        let caller = InPlaceCaller(peer: .ofThisProcess, listener: "broker")
        var answered = 0
        for round in 0..<20_000 {
            let payload = payloads.next()
            let hint: Comment = "round \(round), CAREG_TEST_SEED=\(seed)"
            guard let answer = short(known, payload, caller) else { continue }
            answered += 1
            #expect(answer == long(known, payload), hint)
        }
        #expect(answered > 2_000, "\(answered) of 20000, CAREG_TEST_SEED=\(seed)")
    }

    @Test func everyPlainRequestOfADeviceWithAUsualSerialNumberIsAnsweredInPlace() throws {
        let known = known(devices)
        let caller = InPlaceCaller(peer: .ofThisProcess, listener: "broker")
        for instance in Self.instances {
            for der in Self.certificates[..<5] + Self.certificates[7...8] {
                let payload: [UInt8] = try Careg_V1_VerifyRequest.with {
                    $0.instanceID = instance
                    $0.chain = [Data(der)]
                }.serializedBytes()
                let answer = try #require(short(known, payload, caller))
                #expect(answer == long(known, payload))
            }
        }
    }

    @Test func aCallerHearsOfItsInstancesOnlyAndOfNoneUnderAPolicyThatTookThemAway() throws {
        let user = PeerCredentials.ofThisProcess.userID
        func policy(_ instances: Set<String>) -> AccessPolicy {
            AccessPolicy(rules: [.init(subject: .user(user), services: [.verifier], instances: instances)])
        }
        let known = known(devices, policy(["a"]))
        let caller = InPlaceCaller(peer: .ofThisProcess, listener: "broker")
        func payload(_ instance: String) throws -> [UInt8] {
            try Careg_V1_VerifyRequest.with {
                $0.instanceID = instance
                $0.chain = [Data(Self.certificates[1])]
            }.serializedBytes()
        }
        #expect(try short(known, payload("a"), caller) != nil)
        #expect(try short(known, payload("plant-1"), caller) == nil)
        known.policy.current = policy(["plant-1"])
        #expect(try short(known, payload("a"), caller) == nil)
        #expect(try short(known, payload("plant-1"), caller) != nil)
        known.policy.current = AccessPolicy(rules: [], admitsOthers: false)
        #expect(try short(known, payload("plant-1"), caller) == nil)
    }

    @Test func overTheWireItIsAnsweredWithoutTheRegistryAndCounted() throws {
        let devices = devices
        let daemon = try TestDaemon(knownDevices: devices)
        defer { daemon.stop() }
        let client = try daemon.client(.broker)
        for _ in 0..<3 {
            let verdict = try client.verify(
                .with {
                    $0.instanceID = "a"
                    $0.chain = [Data(Self.certificates[1])]
                }
            ).verdict
            #expect(verdict.trusted && verdict.deviceSn == "01" && verdict.fingerprint.count == 64)
        }
        #expect(devices.asked.count.load(ordering: .relaxed) == 3)
        // What the map does not say, the registry does.
        let unknown = try client.verify(.with { $0.instanceID = "nobody" }).verdict
        #expect(unknown.reason == .instanceUnknown)
        let text = try daemon.services.metricsText
        #expect(text.contains("\n" + #"careg_verdicts_total{instance="a",reason="TRUSTED"} 3"# + "\n"), "\(text)")
        #expect(text.contains("\n" + #"careg_calls_total{code="OK",method="Verify"} 4"# + "\n"), "\(text)")
        #expect(text.contains("\n" + #"careg_call_duration_seconds_count{method="Verify"} 4"# + "\n"), "\(text)")
    }
}

/// VerifyRequests, right and wrong ones.
private struct Payloads {
    private var state: UInt64
    private let instances: [String]
    private let certificates: [[UInt8]]

    init(seed: UInt64, instances: [String], certificates: [[UInt8]]) {
        state = seed
        self.instances = instances
        self.certificates = certificates
    }

    // SplitMix64
    private mutating func below(_ bound: Int) -> Int {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return Int((value ^ (value >> 31)) % UInt64(bound))
    }

    private mutating func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }

    private mutating func varint(_ number: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = number
        while rest >= 0x80 {
            bytes.append(UInt8(rest & 0x7f) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
        // Longer than it needs to be, which is allowed.
        if below(40) == 0 {
            bytes[bytes.count - 1] |= 0x80
            bytes.append(0)
        }
        return bytes
    }

    private mutating func field(_ number: Int, _ content: [UInt8]) -> [UInt8] {
        varint(number << 3 | 2) + varint(content.count) + content
    }

    private mutating func someField() -> [UInt8] {
        switch below(16) {
        case 0: varint(3 << 3) + varint(pick([0, 1, 2, 300]))
        case 1: field(4, pick([[], [8, 5], [8, 0], [16, 1], [1]]))
        case 2: field(pick([5, 15, 16, 2_000]), [1, 2])
        case 3: [pick([0x07, 0x0b, 0x0c, 0x0d, 0x19, 0x80])]
        case 4, 5, 6: field(1, Array(pick(instances + ["", "é", "none"]).utf8))
        default: field(2, pick(certificates))
        }
    }

    mutating func next() -> [UInt8] {
        var payload = field(1, Array(pick(instances).utf8)) + field(2, pick(certificates))
        if below(3) == 0 { payload += varint(3 << 3) + varint(below(2)) }
        switch below(5) {
        case 0: for _ in 0...below(3) { payload = Bool(below(2) == 0) ? someField() + payload : payload + someField() }
        case 1:
            payload = []
            for _ in 0..<below(5) { payload += someField() }
        case 2:
            // The first bytes are where the fields are told apart.
            let place = below(min(payload.count, 80))
            payload[place] = UInt8(below(256))
        case 3: if below(2) == 0 { payload.removeLast(below(payload.count)) }
        default: break
        }
        return payload
    }
}
