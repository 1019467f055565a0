import Foundation
import Glibc
import Testing

/// The change log as operators see it: watched, listed and verified.
@Suite(.serialized) struct WatchAuditTests {
    private struct Fixture: Sendable {
        let daemon: Daemon
        let shop: CertificateShop

        init() throws {
            daemon = try Daemon()
            shop = try CertificateShop()
        }
    }

    private static let fixture = Result { try Fixture() }
    private let daemon: Daemon
    private let shop: CertificateShop

    init() throws {
        let fixture = try Self.fixture.get()
        daemon = fixture.daemon
        shop = fixture.shop
    }

    @Test func watchTellsEveryChangeInOrderFromTheRevisionThatItIsGiven() throws {
        let start = try daemon.revision()
        try daemon.createInstance("watched")
        let watch = try Watch(daemon, since: start)
        let head = try watch.next()
        #expect(head["change"] == nil || head["change"] == .null, "the first line says where the stream begins")

        let authority = try shop.eccAuthority("watched")
        try daemon.register(authority, with: "watched", from: shop)
        let device = try shop.device("device", by: authority)
        #expect(try daemon.verdict("watched", device).registered == true)
        let sn = authority.serialNumber
        let deviceSN = try shop.serialNumber(of: device)
        try daemon.json("device", "deactivate", sn, deviceSN)
        try daemon.json("device", "activate", sn, deviceSN)
        try daemon.json("device", "delete", sn, deviceSN, "--yes")
        try daemon.json("ca", "update", sn, "--name", "new name")
        try daemon.json("ca", "unregister", sn)
        try daemon.json("ca", "activate", sn)
        try daemon.json("ca", "delete", sn, "--yes")
        let code = try daemon.issueCode("watched")
        try daemon.json("code", "revoke", "watched", code)
        try daemon.json("instance", "update", "watched", "--edition", "platinum")
        try daemon.json("instance", "delete", "watched")

        let expected = [
            "INSTANCE_CREATED", "CODE_ISSUED", "CA_REGISTERED", "DEVICE_REGISTERED", "DEVICE_DEACTIVATED",
            "DEVICE_ACTIVATED", "DEVICE_DELETED", "CA_UPDATED", "CA_UNREGISTERED", "CA_ACTIVATED", "CA_DELETED",
            "CODE_ISSUED", "CODE_REVOKED", "INSTANCE_UPDATED", "INSTANCE_DELETED",
        ]
        for (index, type) in expected.enumerated() {
            let line = try watch.next()
            let change = try #require(line["change"], "\(line)")
            #expect(change["type"]?.text == "CHANGE_TYPE_" + type, "\(line)")
            #expect(change["revision"]?.integer == start + index + 1, "no gap: \(line)")
            #expect(line["revision"]?.integer == start + index + 1)
            #expect(change["instanceId"]?.text == "watched")
            if type.hasPrefix("CA_") || type.hasPrefix("DEVICE_") { #expect(change["caSn"]?.text == sn, "\(line)") }
            if type.hasPrefix("DEVICE_") { #expect(change["deviceSn"]?.text == deviceSN, "\(line)") }
        }
        #expect(try daemon.revision() == start + expected.count)

        let later = try Watch(daemon, since: start + 5)
        _ = try later.next()
        #expect(try later.next()["change"]?["revision"]?.integer == start + 6)
    }

    @Test func theAuditLogNamesMethodAndCallerOfEachChangeAndVerifies() throws {
        let start = try daemon.revision()
        try daemon.createInstance("audited")
        let authority = try shop.eccAuthority("audited")
        try daemon.register(authority, with: "audited", from: shop)
        #expect(try daemon.verdict("audited", try shop.device("device", by: authority)).registered == true)
        try daemon.json("ca", "unregister", authority.serialNumber)
        _ = try daemon.refusal("ca", "show", "0badcafe")

        let records = try #require(
            try daemon.json("audit", "list", "--since", "\(start)")["auditRecords"]?.elements)
        let methods = [
            "CreateInstance", "IssueRegistrationCode", "RegisterCaCertificate", "Verify", "UnregisterCaCertificate",
        ]
        #expect(records.compactMap { $0["method"]?.text } == methods)
        #expect(records.compactMap { $0["revision"]?.integer } == methods.indices.map { start + 1 + $0 })
        for record in records {
            #expect(record["callerUid"]?.integer == Int(getuid()))
            #expect(record["callerGid"]?.integer == Int(getgid()))
            #expect(record["callerPid"]?.integer ?? 0 > 1)
            #expect(record["hash"]?.text?.count == 64)
        }
        #expect(records[2]["fingerprint"]?.text?.count == 64)

        let verified = try daemon.caregctl("audit", "verify")
        #expect(verified.exit == 0, "\(verified)")
        let verification = try daemon.json("audit", "verify")
        #expect(verification["intact"]?.flag == true)
        #expect(verification["lastRevision"]?.integer == start + methods.count)
        #expect(verification["lastHash"]?.text == records.last?["hash"]?.text)
    }

    @Test func everyMutationGrowsTheRevisionByOneAndAnswersIt() throws {
        var revision = try daemon.revision()
        let calls: [[String]] = [
            ["instance", "create", "counted", "--edition", "professional"],
            ["instance", "update", "counted", "--edition", "platinum"], ["code", "issue", "counted"],
            ["instance", "delete", "counted"],
        ]
        for call in calls {
            let answer = try daemon.json(call)
            revision += 1
            #expect(answer["revision"]?.integer == revision, "\(call): \(answer)")
            #expect(try daemon.revision() == revision, "\(call)")
        }
    }

    @Test func aRevisionBeyondTheLastIsRefused() throws {
        let beyond = try daemon.revision() + 1000
        let result = try daemon.caregctl("watch", "--since", "\(beyond)", "--output", "json")
        #expect(result.exit == 1, "\(result)")
        #expect(try Refusal(result).reason == "REVISION_AHEAD")
    }
}

/// A `caregctl watch` that runs beside the test.
private final class Watch {
    private let child: ChildProcess
    private let output: Int32
    private var unread = Data()

    init(_ daemon: Daemon, since revision: Int) throws {
        let ends = try socketPair()
        defer { close(ends[1]) }
        output = ends[0]
        child = try ChildProcess(
            program("caregctl"),
            ["--socket", daemon.adminSocket, "watch", "--since", "\(revision)", "--output", "json"],
            output: ends[1], errors: ends[1])
    }

    deinit {
        child.signal(SIGKILL)
        close(output)
    }

    /// The next line, waited for.
    func next() throws -> JSONValue {
        let deadline = Date(timeIntervalSinceNow: 20)
        while true {
            if let end = unread.firstIndex(of: 10) {
                let line = Data(unread[..<end])
                unread = Data(unread[(end + 1)...])
                return try JSONValue(parsing: line)
            }
            var polled = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
            let left = deadline.timeIntervalSinceNow
            guard left > 0, unsafe poll(&polled, 1, Int32(left * 1000) + 1) > 0 else {
                throw TestFailure("watch says nothing more; unread: \(String(decoding: unread, as: UTF8.self))")
            }
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = unsafe read(output, &buffer, buffer.count)
            guard count > 0 else {
                throw TestFailure("watch ended; unread: \(String(decoding: unread, as: UTF8.self))")
            }
            unread.append(contentsOf: buffer[..<count])
        }
    }
}
