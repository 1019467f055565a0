import Foundation
import Glibc
import TestPKI
import Testing

/// The limits that are promised, at their defaults where that does not take too long: what they still take, and what is one
/// too many.
@Suite struct LimitTests {
    private typealias Request = (method: String, payload: ProtobufMessage.Builder)

    /// Sends all requests at once, and gives their answers in the same order.
    private func callAll(_ client: WireClient, _ requests: [Request]) throws -> [WireResponse] {
        var streams: [UInt32: Int] = [:]
        for (index, request) in requests.enumerated() {
            streams[try client.sendRequest(WireClient.registry, request.method, request.payload)] = index
        }
        var answers: [Int: WireResponse] = [:]
        while answers.count < requests.count {
            let frame = try client.frame()
            answers[try #require(streams[frame.stream])] = try WireResponse(frame)
        }
        return requests.indices.compactMap { answers[$0] }
    }

    private func create(_ ids: String..., at client: WireClient) throws -> [WireResponse] {
        try callAll(client, ids.map { ("CreateInstance", .init().text(1, $0).integer(2, 2)) })
    }

    private func issueCodes(_ count: Int, _ instance: String, at client: WireClient) throws -> [WireResponse] {
        try callAll(client, (0..<count).map { _ in ("IssueRegistrationCode", .init().text(1, instance)) })
    }

    private func register(_ roots: [Entity], _ instance: String, at client: WireClient) throws -> [WireResponse] {
        let codes = try issueCodes(roots.count, instance, at: client).map { try $0.payload.message(1).text(1) }
        return try callAll(
            client,
            zip(roots, codes).map { root, code in
                let proof = root.issue(TestName(commonName: code), key: .p256(950), []) { $0.makeVersion1() }
                return (
                    "RegisterCaCertificate", .init().text(1, instance).bytes(2, root.der).bytes(3, proof.der)
                )
            })
    }

    private func root(_ number: Int) -> Entity { .root("Root \(number)", key: .p256(2_000 + number)) }

    private func expectLimit(
        _ response: WireResponse?, _ name: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(response?.code == 8, "\(String(describing: response))", sourceLocation: sourceLocation)
        #expect(response?.reason == "LIMIT_REACHED", sourceLocation: sourceLocation)
        #expect(response?.metadata["limit"] == name, sourceLocation: sourceLocation)
    }

    @Test func theStatusTellsTheLimitsThatArePromised() throws {
        let daemon = try Daemon()
        let status = try daemon.json("status")
        var limits: [String: Int] = [:]
        for limit in status["limits"]?.elements ?? [] {
            limits[try #require(limit["name"]?.text)] = try #require(limit["value"]?.integer)
        }
        let promised = [
            "request_bytes": 1_048_576, "certificate_bytes": 65_536, "chain_certificates": 16, "chain_bytes": 262_144,
            "signature_checks": 100, "path_steps": 200_000, "name_comparisons": 250_000, "connections": 1_024,
            "reserved_connections": 16, "requests_per_connection": 1_024, "request_bytes_in_flight": 12 * 1_048_576,
            "unsent_bytes": 8 * 1_048_576, "stall_milliseconds": 10_000, "instances": 100_000,
            "ca_certificates": 100_000, "ca_certificates_per_instance": 1_000, "trust_map_devices": 16_000_000,
            "open_codes_per_instance": 1_000, "frame_bytes": 4_194_304,
        ]
        for (name, value) in promised { #expect(limits[name] == value, "\(name)") }
    }

    @Test func anInstanceHasAThousandOpenCodes() throws {
        let daemon = try Daemon()
        let client = try WireClient(path: daemon.adminSocket)
        #expect(try create("plant", "other", at: client).allSatisfy { $0.code == 0 })
        let issued = try issueCodes(1_001, "plant", at: client)
        #expect(issued.count { $0.code == 0 } == 1_000)
        expectLimit(issued.first { $0.code != 0 }, "open_codes_per_instance")
        #expect(try issueCodes(1, "other", at: client)[0].code == 0, "each instance has its own")
        let prefix = try issued.first { $0.code == 0 }?.payload.message(1).text(1) ?? ""
        let revoked = try client.call(
            WireClient.registry, "RevokeRegistrationCode", .init().text(1, "plant").text(2, prefix))
        #expect(revoked.code == 0, "\(revoked)")
        #expect(try issueCodes(1, "plant", at: client)[0].code == 0)
        expectLimit(try issueCodes(1, "plant", at: client)[0], "open_codes_per_instance")
    }

    @Test func anInstanceHasAThousandCaCertificates() throws {
        let daemon = try Daemon()
        let client = try WireClient(path: daemon.adminSocket)
        #expect(try create("plant", "other", at: client).allSatisfy { $0.code == 0 })
        for hundred in 0..<10 {
            let answers = try register((0..<100).map { root(hundred * 100 + $0) }, "plant", at: client)
            #expect(answers.allSatisfy { $0.code == 0 }, "\(String(describing: answers.first { $0.code != 0 }))")
        }
        expectLimit(try register([root(1_000)], "plant", at: client)[0], "ca_certificates_per_instance")
        #expect(try register([root(1_000)], "other", at: client)[0].code == 0, "each instance has its own")
        let instance = try client.call(WireClient.registry, "GetInstance", .init().text(1, "plant"))
        #expect(try instance.payload.message(1).integer(4) == 1_000)

        // The last of them is found like the first.
        for number in [0, 999] {
            let device = root(number).device("device")
            let verdict = try client.call(
                WireClient.verifier, "Verify", .init().text(1, "plant").bytes(2, device.der)
            ).payload.message(1)
            #expect(verdict.integer(2) == 1, "\(verdict.text(9))")
        }
    }

    @Test func theRegionHasAsManyInstancesAndCaCertificatesAsAreConfigured() throws {
        let daemon = try Daemon(started: false)
        try daemon.start(environment: ["CAREGD_INSTANCES": "3", "CAREGD_CA_CERTIFICATES": "2"])
        let client = try WireClient(path: daemon.adminSocket)
        #expect(try create("a", "b", "c", at: client).map(\.code) == [0, 0, 0])
        expectLimit(try create("d", at: client)[0], "instances")
        #expect(try register([root(0)], "a", at: client)[0].code == 0)
        #expect(try register([root(1)], "b", at: client)[0].code == 0)
        expectLimit(try register([root(2)], "c", at: client)[0], "ca_certificates")
        // Lower than what is there: nothing is lost, and nothing more is taken.
        #expect(try daemon.terminate() == 0)
        try daemon.start(environment: ["CAREGD_INSTANCES": "1", "CAREGD_CA_CERTIFICATES": "1"])
        let later = try WireClient(path: daemon.adminSocket)
        for id in ["a", "b", "c"] {
            #expect(try later.call(WireClient.registry, "GetInstance", .init().text(1, id)).code == 0)
        }
        expectLimit(try create("d", at: later)[0], "instances")
        expectLimit(try register([root(2)], "c", at: later)[0], "ca_certificates")
    }

    /// A certificate of exactly so many bytes, which leads nowhere. RSA: its signatures are all of one length.
    private func stranger(bytes: Int) -> Entity {
        func make(_ padding: Int) -> Entity {
            .root("Stranger", key: .otherRSA2048) { recipe in
                let content = DER.octetString([UInt8](repeating: 1, count: padding))
                recipe.set(TestExtension(OID.unknownExtension, critical: false, content))
            }
        }
        let some = 50_000
        return make(some + bytes - make(some).der.count)
    }

    @Test func aChainOfSixteenCertificatesAndOf256KiBIsDecided() throws {
        let daemon = try Daemon()
        let client = try WireClient(path: daemon.brokerSocket)
        let admin = try WireClient(path: daemon.adminSocket)
        #expect(try create("plant", at: admin)[0].code == 0)
        // An RSA key: the size of what it signs does not change from run to run.
        let ca = Entity.root("CA", key: .rsa2048)
        #expect(try register([ca], "plant", at: admin)[0].code == 0)
        let device = ca.device()
        func reason(_ others: [Entity]) throws -> UInt64 {
            var question = ProtobufMessage.Builder().text(1, "plant").element(2, device.der)
            for other in others { question = question.element(2, other.der) }
            let answer = try client.call(WireClient.verifier, "Verify", question.integer(3, 1))
            #expect(answer.code == 0, "\(answer)")
            return try answer.payload.message(1).integer(2)
        }
        let (trusted, tooLarge, chainInvalid): (UInt64, UInt64, UInt64) = (1, 4, 12)
        let strangers = (0..<16).map { root($0) }
        #expect(try reason(Array(strangers.prefix(15))) == trusted)
        #expect(try reason(strangers) == chainInvalid)

        let (most, more) = (stranger(bytes: 65_536), stranger(bytes: 65_537))
        try #require(most.der.count == 65_536 && more.der.count == 65_537)
        #expect(try reason([most]) == trusted)
        #expect(try reason([more]) == tooLarge)

        let rest = 262_144 - device.der.count - 3 * 65_536
        let (last, oneMore) = (stranger(bytes: rest), stranger(bytes: rest + 1))
        try #require(last.der.count == rest && oneMore.der.count == rest + 1)
        #expect(try reason([most, most, most, last]) == trusted)
        #expect(try reason([most, most, most, oneMore]) == tooLarge)
    }

    @Test func aNameHas128CharactersAnIDHas64AndAPageAThousandRows() throws {
        let daemon = try Daemon()
        let client = try WireClient(path: daemon.adminSocket)
        let id = String(repeating: "x", count: 64)
        #expect(try create(id, at: client)[0].code == 0)
        #expect(try create(id + "x", at: client)[0].reason == "INSTANCE_ID_INVALID")
        #expect(try register([root(0)], id, at: client)[0].code == 0)
        let sn = KillCast.Certificate(root(0)).serialNumber
        func rename(_ count: Int) throws -> WireResponse {
            try client.call(
                WireClient.registry, "UpdateCaCertificate",
                .init().text(1, sn).text(2, String(repeating: "ä", count: count)))
        }
        #expect(try rename(128).code == 0)
        #expect(try rename(129).reason == "ARGUMENT_INVALID")
        func list(_ rows: UInt64) throws -> WireResponse {
            try client.call(WireClient.registry, "ListCaCertificates", .init().integer(6, rows))
        }
        #expect(try list(1_000).code == 0)
        #expect(try list(1_001).reason == "ARGUMENT_INVALID")
    }
}
