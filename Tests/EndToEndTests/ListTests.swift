import Foundation
import Testing

/// Lists: pages, filters, and what people and programs read.
@Suite(.serialized) struct ListTests {
    private struct Fixture: Sendable {
        let daemon: Daemon
        let shop: CertificateShop
        let key: String

        init() throws {
            daemon = try Daemon()
            shop = try CertificateShop()
            key = try shop.eccKey()
            for instance in ["paging", "filters", "tables"] { try daemon.createInstance(instance) }
        }
    }

    private static let fixture = Result { try Fixture() }
    private let daemon: Daemon
    private let shop: CertificateShop
    private let key: String

    init() throws {
        let fixture = try Self.fixture.get()
        daemon = fixture.daemon
        shop = fixture.shop
        key = fixture.key
    }

    private func add(_ serial: Int, to instance: String) throws -> String {
        let serial = String(format: "%04x", serial)
        let authority = try shop.eccAuthority("CA \(serial)", serial: "0x" + serial)
        try daemon.register(authority, with: instance, from: shop)
        return serial
    }

    private func serialNumbers(_ list: JSONValue) -> [String] {
        (list["caCertificates"]?.elements ?? []).compactMap { $0["sn"]?.text }
    }

    @Test func pagesNeitherSkipNorRepeatARowWhileRowsComeAndGo() throws {
        let rows = try (0..<25).map { try add(0x1000 + $0 * 0x10, to: "paging") }
        var seen: [String] = []
        var token = ""
        var pages = 0
        repeat {
            let page = try daemon.json(
                ["ca", "list", "--instance", "paging", "--limit", "4"]
                    + (token.isEmpty ? [] : ["--page-token", token]))
            let found = serialNumbers(page)
            #expect(found.count <= 4)
            seen += found
            token = try #require(page["nextPageToken"]?.text)
            pages += 1
            if pages == 2 {
                try daemon.json("ca", "delete", rows[1], "--yes")
                try daemon.json("ca", "delete", rows[7], "--yes")
                try daemon.json("ca", "delete", rows[20], "--yes")
                _ = try add(0x1008, to: "paging")
                _ = try add(0x1108, to: "paging")
            }
        } while !token.isEmpty && pages < 40
        #expect(token.isEmpty)
        #expect(Set(seen).count == seen.count, "no row twice: \(seen)")
        #expect(seen == seen.sorted())
        var untouched = Set(rows)
        untouched.remove(rows[20])
        #expect(untouched.isSubset(of: Set(seen)), "no row skipped: \(untouched.subtracting(seen))")
        #expect(seen.contains("1108") && !seen.contains("1008"))
        let all = try daemon.json("ca", "list", "--instance", "paging")
        #expect(all["totalSize"]?.integer == 24)
        #expect(serialNumbers(all).count == 24)
        #expect(all["nextPageToken"]?.text == "")
        let first = try daemon.json("ca", "search", "10")
        #expect(serialNumbers(first).allSatisfy { $0.hasPrefix("10") } && serialNumbers(first).contains("1000"))
    }

    @Test func filtersPickByStatusSubjectInstanceAndExpiry() throws {
        let long = try shop.eccAuthority("long", subject: "/O=Kraftwerk Nord/CN=Long", serial: "0xa001")
        let shortKey = try shop.eccKey()
        let end = Date(timeIntervalSinceNow: 10 * 86400)
        let format = DateFormatter()
        format.locale = Locale(identifier: "en_US_POSIX")
        format.timeZone = TimeZone(secondsFromGMT: 0)
        format.dateFormat = "yyyyMMddHHmmss'Z'"
        let short = try shop.authority(
            key: shortKey,
            certificate: try shop.issue(
                key: shortKey, subject: "/CN=Short", by: nil, from: "20200101000000Z", to: format.string(from: end),
                extensions: "basicConstraints=critical,CA:TRUE"))
        for authority in [long, short] { try daemon.register(authority, with: "filters", from: shop) }
        try daemon.json("ca", "unregister", long.serialNumber)

        func list(_ options: String...) throws -> [String] {
            serialNumbers(try daemon.json(["ca", "list", "--instance", "filters"] + options))
        }
        #expect(try list("--status", "inactive") == [long.serialNumber])
        #expect(try list("--status", "active") == [short.serialNumber])
        #expect(try list("--subject", "kraftWERK n") == [long.serialNumber])
        #expect(try list("--subject", "nothing like it").isEmpty)
        #expect(try list("--expires-within", "30d") == [short.serialNumber])
        #expect(try list("--expires-within", "5d").isEmpty)
        #expect(try list("--expires-within", "30d", "--status", "inactive").isEmpty)
        #expect(try list().count == 2)
    }

    @Test func jsonKeepsFieldsThatHaveTheirDefaultValue() throws {
        let list = try daemon.json("ca", "list", "--subject", "nothing like it")
        #expect(list["caCertificates"]?.elements == [])
        #expect(list["nextPageToken"]?.text == "")
        let instance = try daemon.json("instance", "show", "tables")
        #expect(instance["deviceCount"]?.integer == 0)
        let device = try shop.device("device", by: try shop.eccAuthority("nobody's"))
        let verdict = try daemon.verdict("tables", device)
        #expect(verdict.trusted == false && verdict.registered == false, "\(verdict.json)")
    }

    @Test func aSubjectWithControlCharactersForgesNoLineOfATable() throws {
        let forged = "harmless\nff00ff00  plant  FORGED-ROW\u{1b}[2K"
        let authority = try shop.eccAuthority("forged", subject: "/CN=\(forged)", serial: "0xb001")
        try daemon.register(authority, with: "tables", from: shop, "--name", "tabled")
        let device = try shop.device(forged, by: authority)
        #expect(try daemon.verdict("tables", device).reason == "TRUSTED")
        for arguments in [
            ["ca", "list", "--instance", "tables"], ["ca", "show", "b001"], ["ca", "search", "b001"],
            ["device", "list", "--ca", "b001"], ["device", "show", "b001", try shop.serialNumber(of: device)],
        ] {
            let result = try daemon.caregctl(arguments)
            #expect(result.exit == 0, "\(result)")
            #expect(!result.text.contains("\u{1b}"), "\(result)")
            let lines = result.text.split(separator: "\n")
            #expect(!lines.contains { $0.hasPrefix("ff00ff00") }, "\(result)")
        }
        #expect(!daemon.log.contains("\nff00ff00") && !daemon.log.contains("\u{1b}"))
    }

    @Test func codesAreListedByTheirFirstEightCharactersOnly() throws {
        let code = try daemon.issueCode("tables")
        #expect(try daemon.openCodes("tables").contains(String(code.prefix(8))))
        for output in ["table", "json"] {
            let result = try daemon.caregctl("code", "list", "tables", "--output", output)
            #expect(result.exit == 0 && !result.text.contains(code), "\(result)")
        }
        #expect(!daemon.log.contains(code))
        let stored = try run("grep", ["-r", "-l", "-a", "-F", "-e", code, daemon.stateFolder])
        #expect(stored.exit == 1, "the code itself is stored: \(stored)")
    }

    @Test func statusAndMetricsTellOfTheRegistry() throws {
        let status = try daemon.json("status")
        #expect(status["instanceCount"]?.integer == 3)
        #expect(status["processId"]?.integer ?? 0 > 0)
        let limits = try #require(status["limits"]?.elements)
        #expect(limits.contains { $0["value"]?.integer == 1_048_576 })
        #expect(limits.count >= 10)
        #expect(status["historyId"]?.text?.count == 32)
        let metrics = try daemon.caregctl("metrics")
        #expect(metrics.exit == 0 && metrics.text.contains("# TYPE"), "\(metrics)")
    }
}
