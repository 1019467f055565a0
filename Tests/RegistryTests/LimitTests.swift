import Certificates
import Registry
import RegistryStore
import Signatures
import TestPKI
import Testing
import Verification

/// Each limit: what it still takes, and what it does not.
@Suite struct LimitTests {
    private func bench(_ change: (inout RegistryLimits) -> Void) throws -> Bench {
        var limits = RegistryLimits()
        change(&limits)
        let bench = try Bench(limits: limits)
        return bench
    }

    private func expectLimit(_ bench: Bench, _ name: String, _ body: () throws -> some Any) throws {
        let refusal = try bench.refused(.limitReached) { try body() }
        #expect(refusal.metadata["limit"] == name)
    }

    @Test func instances() throws {
        let bench = try bench { $0.instances = 3 }
        for number in 0..<3 { try bench.createInstance("instance-\(number)") }
        try expectLimit(bench, "instances") { try bench.createInstance("instance-3") }
        // One that is there already is told before there is no room.
        try bench.refused(.instanceAlreadyExists) { try bench.createInstance("instance-0") }
        try bench.deleteInstance("instance-1")
        try bench.createInstance("instance-3")
    }

    @Test func instancesInOneCommit() throws {
        let bench = try bench { $0.instances = 3 }
        let answers = (0..<6).map { _ in Answer<InstanceView>() }
        bench.inOneCommit { registry in
            for (number, answer) in answers.enumerated() {
                registry.createInstance(id: "instance-\(number)", edition: .standard, caller: Bench.caller) {
                    answer.set($0)
                }
            }
        }
        #expect(answers.map { (try? $0.get()) != nil } == [true, true, true, false, false, false])
    }

    @Test func caCertificatesOfAnInstanceAndOfTheRegion() throws {
        let bench = try bench {
            $0.caCertificatesPerInstance = 2
            $0.caCertificates = 3
        }
        for instance in ["plant", "other"] { try bench.createInstance(instance) }
        let code = try bench.issueCode("plant").text
        let otherCode = try bench.issueCode("other").text
        try bench.register(authority(1), with: "plant")
        try bench.register(authority(2), with: "plant")
        try expectLimit(bench, "ca_certificates_per_instance") {
            try bench.register(bench.upload(authority(3), "plant", code: code))
        }
        #expect(try bench.openCodes("plant").count == 1, "the code is not used up")
        try bench.register(authority(4), with: "other")
        try expectLimit(bench, "ca_certificates") {
            try bench.register(bench.upload(authority(5), "other", code: otherCode))
        }
        // Inactive ones count.
        try bench.unregister(authority(1))
        try expectLimit(bench, "ca_certificates_per_instance") {
            try bench.register(bench.upload(authority(3), "plant", code: code))
        }
        try bench.delete(authority(1))
        try bench.register(bench.upload(authority(3), "plant", code: code))
        try bench.expectSound()
    }

    @Test func caCertificatesInOneCommit() throws {
        let bench = try bench { $0.caCertificatesPerInstance = 2 }
        try bench.createInstance("plant")
        let uploads = try (1...4).map { number in
            bench.upload(authority(number), "plant", code: try bench.issueCode("plant").text)
        }
        let answers = uploads.map { _ in Answer<CaView>() }
        bench.inOneCommit { registry in
            for (upload, answer) in zip(uploads, answers) {
                registry.registerCa(upload, signatures: SignatureVerifier(), caller: Bench.caller) { answer.set($0) }
            }
        }
        #expect(answers.map { (try? $0.get()) != nil } == [true, true, false, false])
        try bench.expectSound()
    }

    @Test func openCodesOfAnInstance() throws {
        let bench = try bench { $0.openCodesPerInstance = 2 }
        for instance in ["plant", "other"] { try bench.createInstance(instance) }
        let first = try bench.issueCode("plant").text
        _ = try bench.issueCode("plant", seconds: 10)
        try expectLimit(bench, "open_codes_per_instance") { try bench.issueCode("plant") }
        _ = try bench.issueCode("other")
        // Expired, used and revoked ones do not count.
        bench.clock.advance(seconds: 10)
        let third = try bench.issueCode("plant").text
        try expectLimit(bench, "open_codes_per_instance") { try bench.issueCode("plant") }
        try bench.register(bench.upload(authority(1), "plant", code: first))
        _ = try bench.issueCode("plant")
        try bench.revokeCode("plant", third)
        _ = try bench.issueCode("plant")
        try expectLimit(bench, "open_codes_per_instance") { try bench.issueCode("plant") }
        #expect(try bench.openCodes("plant").count == 2)
    }

    @Test func anInstancesID() throws {
        let bench = try bench { _ in }
        for id in ["a", "Z", "0", "-", "_", String(repeating: "x", count: 64), "a-B_9"] {
            #expect(try bench.createInstance(id).record.id == id)
        }
        for id in ["", String(repeating: "x", count: 65), "a b", "a.b", "a/b", "ä", "a\n", "a\0", "..", " a"] {
            try bench.refused(.instanceIDInvalid) { try bench.createInstance(id) }
            try bench.refused(.instanceNotFound) { try bench.deleteInstance(id) }
            #expect(throws: Refusal.self) { try bench.registry.instance(id) }
            #expect(try bench.verify(authority(1).device(), with: id).reason == .instanceUnknown)
        }
        try bench.expectSound()
    }

    @Test func theChainOfAVerify() throws {
        let bench = try bench {
            $0.chainCertificates = 4
            $0.certificateBytes = 700
            $0.chainBytes = 1_500
        }
        try bench.createInstance("plant")
        let ca = authority(1)
        try bench.register(ca, with: "plant")
        let device = ca.device()
        let strangers = (2...5).map { authority($0) }
        func ask(_ chain: [[UInt8]]) throws -> VerdictReason {
            try bench.call {
                $0.verify(
                    VerifyQuestion(instanceID: "plant", chain: chain, isDryRun: true, at: nil, hearsOf: nil),
                    tools: VerificationTools(), caller: Bench.caller, completion: $1)
            }.reason
        }
        #expect(try ask([]) == .certificateMalformed)
        let small = strangers.prefix(3).map(\.der)
        let sizes = ([device.der] + small).map(\.count).reduce(0, +)
        try #require(sizes <= 1_500 && device.der.count <= 700)
        #expect(try ask([device.der] + small) == .trusted)
        #expect(try ask([device.der] + strangers.map(\.der)) == .chainInvalid)
        let large = authority(6) { recipe in
            recipe.set(
                TestExtension(OID.unknownExtension, critical: false, DER.octetString([UInt8](repeating: 1, count: 300)))
            )
        }
        try #require(large.der.count > 640 && large.der.count <= 700)
        #expect(try ask([device.der, large.der]) == .trusted)
        #expect(
            try ask([device.der, large.der, small[0], small[1]])
                == (device.der.count + large.der.count + small[0].count + small[1].count > 1_500
                    ? .certificateTooLarge : .trusted))
        #expect(try ask([device.der, [UInt8](repeating: 0x30, count: 701)]) == .certificateTooLarge)
        #expect(try ask([device.der, [UInt8](repeating: 0x30, count: 700)]) == .certificateMalformed)
    }

    @Test func theChainOfAnExplicitRegistration() throws {
        let bench = try bench { $0.chainCertificates = 4 }
        try bench.createInstance("plant")
        let ca = authority(1)
        try bench.register(ca, with: "plant")
        let strangers = (2...5).map { authority($0) }
        let device = ca.device()
        func ask(_ chain: [Entity]) throws -> DeviceView {
            try bench.call {
                $0.registerDevice(
                    DeviceUpload(instanceID: "plant", certificate: device.der, chain: chain.map(\.der)),
                    tools: VerificationTools(), caller: Bench.caller, completion: $1)
            }
        }
        #expect(throws: Refusal.self) { try ask(strangers) }
        #expect(try ask(Array(strangers.prefix(3))).record.status == .active)
    }

    @Test func signatureChecksOfAVerify() throws {
        // Same-named CA certificates of other keys: each is a candidate that takes a check.
        for (checks, isTrusted) in [(6, true), (5, false)] {
            let bench = try bench { $0.signatureChecks = checks }
            try bench.createInstance("plant")
            for number in 1...6 {
                try bench.register(
                    .root("Same", key: .p256(number)) { $0.serial = [UInt8(number)] }, with: "plant")
            }
            var verdicts: [Verdict] = []
            for number in 1...6 {
                let ca = Entity.root("Same", key: .p256(number)) { $0.serial = [UInt8(number)] }
                // Without key identifiers nothing orders the search.
                let device = ca.device(key: .p256(900 + number)) { $0.remove(OID.authorityKeyIdentifier) }
                verdicts.append(try bench.verify(device, with: "plant", dryRun: true))
            }
            #expect(verdicts.allSatisfy(\.isTrusted) == isTrusted)
            let refused = verdicts.filter { !$0.isTrusted }
            #expect(refused.allSatisfy { $0.reason == .chainInvalid && !$0.detail.isEmpty })
        }
    }

    @Test func theRowsOfAPage() throws {
        let bench = try bench {
            $0.walkedRowsPerPage = 3
        }
        try bench.createInstance("plant")
        for number in 1...10 { try bench.register(authority(number, serial: [UInt8(number)]), with: "plant") }
        try bench.unregister(authority(10, serial: [10]))
        var filter = CaFilter()
        filter.status = .inactive
        var found: [String] = []
        var pages = 0
        var cursor: SerialNumber?
        repeat {
            let page = try bench.registry.cas(filter, after: cursor, pageSize: 100)
            found += page.rows.map(\.record.serialNumber.text)
            cursor = page.next
            pages += 1
            #expect(page.totalSize == 1)
        } while cursor != nil && pages < 20
        #expect(found == ["0a"] && pages > 1, "a page that walked far comes back short, and goes on")
    }
}
