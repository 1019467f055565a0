import TestPKI
import Testing
import Verification

/// Name constraints of every kind (RFC 5280 sections 4.2.1.10 and 6.1.4 (g)); each row is asked with the constraints on
/// the anchor and again with them on an intermediate.
@Suite struct NameConstraintsTests {
    /// One set of constraints, one device under it.
    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let expected: [VerdictReason]
        let constraints: TestExtension
        let subject: TestName
        let names: [TestGeneralName]

        var testDescription: String { name }
    }

    private static func row(
        _ name: String, _ expected: VerdictReason..., permitted: [TestGeneralName]? = nil,
        excluded: [TestGeneralName]? = nil, subject: TestName = "device", names: TestGeneralName...
    ) -> Row {
        Row(
            name: name, expected: expected, constraints: .nameConstraints(permitted: permitted, excluded: excluded),
            subject: subject, names: names)
    }

    private static func device(_ issuer: Entity, _ row: Row) -> Entity {
        issuer.device(row.subject) { recipe in
            guard !row.names.isEmpty else { return }
            recipe.set(TestExtension(OID.subjectAltName, DER.sequence(of: row.names.map(\.der))))
        }
    }

    private func expect(_ row: Row) {
        expectVerdict(
            Situation(row.name + ", constraints on the anchor", row.expected) {
                let root = Entity.root { $0.set(row.constraints) }
                return World(root, chain: [Self.device(root, row)])
            })
        expectVerdict(
            Situation(row.name + ", constraints on the intermediate", row.expected) {
                let root = Entity.root()
                let middle = root.authority(key: .p256(2)) { $0.set(row.constraints) }
                return World(root, chain: [Self.device(middle, row), middle])
            })
        expectVerdict(
            Situation(row.name + ", constraints two levels up", row.expected) {
                let root = Entity.root()
                let middle = root.authority(key: .p256(2)) { $0.set(row.constraints) }
                // A CA certificate has a subject; where the device has none, one that every row permits.
                let lower = middle.authority(row.subject == .empty ? Self.organization : row.subject, key: .p256(3))
                return World(root, chain: [Self.device(lower, row), lower, middle])
            })
    }

    // MARK: DNS

    private static let acme: [TestGeneralName] = [.dns("acme.example")]

    static let dns: [Row] = [
        row("the name itself", .trusted, permitted: acme, names: .dns("acme.example")),
        row("a name below", .trusted, permitted: acme, names: .dns("a.acme.example")),
        row("a name two labels below", .trusted, permitted: acme, names: .dns("b.a.acme.example")),
        row("another case", .trusted, permitted: acme, names: .dns("A.ACME.Example")),
        row("a constraint in another case", .trusted, permitted: [.dns("ACME.Example")], names: .dns("a.acme.example")),
        row("no label border", .nameNotPermitted, permitted: acme, names: .dns("badacme.example")),
        row("the name above", .nameNotPermitted, permitted: acme, names: .dns("example")),
        row("another name", .nameNotPermitted, permitted: acme, names: .dns("acme.test")),
        row("the name in front", .nameNotPermitted, permitted: acme, names: .dns("acme.example.evil.test")),
        row(
            "two names, both permitted", .trusted, permitted: acme, names: .dns("acme.example"), .dns("x.acme.example")),
        row(
            "two names, one permitted", .nameNotPermitted, permitted: acme, names: .dns("acme.example"),
            .dns("evil.test")),
        row(
            "two names, the first not permitted", .nameNotPermitted, permitted: acme, names: .dns("evil.test"),
            .dns("acme.example")),
        row(
            "either of two constraints", .trusted, permitted: acme + [.dns("acme.test")], names: .dns("a.acme.test"),
            .dns("acme.example")),
        row("no name of that kind", .trusted, permitted: acme),
        row(
            "names of other kinds", .trusted, permitted: acme, names: .email("a@evil.test"), .ip([1, 2, 3, 4]),
            .uri("urn:x:y")),
        row("CommonName is no DNS name", .trusted, permitted: acme, subject: "evil.test"),
        row(
            "CommonName is no DNS name beside one", .trusted, permitted: acme, subject: "evil.test",
            names: .dns("acme.example")),
        row("CommonName is no excluded DNS name", .trusted, excluded: acme, subject: "acme.example"),
        row("excluded itself", .nameNotPermitted, excluded: acme, names: .dns("acme.example")),
        row("excluded below", .nameNotPermitted, excluded: acme, names: .dns("a.acme.example")),
        row("excluded in another case", .nameNotPermitted, excluded: acme, names: .dns("A.Acme.EXAMPLE")),
        row("not excluded", .trusted, excluded: acme, names: .dns("badacme.example")),
        row(
            "excluded beats permitted", .nameNotPermitted, permitted: acme, excluded: acme, names: .dns("acme.example")),
        row(
            "excluded below permitted", .nameNotPermitted, permitted: acme, excluded: [.dns("a.acme.example")],
            names: .dns("x.a.acme.example")),
        row(
            "permitted beside excluded", .trusted, permitted: acme, excluded: [.dns("a.acme.example")],
            names: .dns("b.acme.example")),
        row(
            "permitted below excluded", .nameNotPermitted, permitted: [.dns("a.acme.example")], excluded: acme,
            names: .dns("a.acme.example")),
        row("the empty constraint permits every name", .trusted, permitted: [.dns("")], names: .dns("any.test")),
        row(
            "the empty constraint excludes every name", .nameNotPermitted, excluded: [.dns("")], names: .dns("any.test")
        ),
        row("the empty constraint excludes no other kind", .trusted, excluded: [.dns("")], names: .email("a@any.test")),
        row(
            "an excluded kind of one name permits the others", .trusted, excluded: [.dns("x.test")],
            names: .dns("y.test")),
        row(
            "a leading dot, a name below", .trusted, .nameNotPermitted, .certificateMalformed,
            permitted: [.dns(".acme.example")], names: .dns("a.acme.example")),
        row(
            "a leading dot, no label border", .nameNotPermitted, .certificateMalformed,
            permitted: [.dns(".acme.example")], names: .dns("badacme.example")),
        row(
            "an excluded leading dot, a name below", .nameNotPermitted, .certificateMalformed,
            excluded: [.dns(".acme.example")], names: .dns("a.acme.example")),
        row("a wildcard below", .trusted, permitted: acme, names: .dns("*.acme.example")),
        row("a wildcard elsewhere", .nameNotPermitted, permitted: acme, names: .dns("*.evil.test")),
        row(
            "a wildcard that covers the excluded name", .nameNotPermitted, .trusted, excluded: [.dns("a.acme.example")],
            names: .dns("*.acme.example")),
        row(
            "a wildcard below the excluded name", .nameNotPermitted, excluded: acme, names: .dns("*.acme.example")),
        row(
            "a wildcard that is one label short of the excluded name", .trusted, excluded: [.dns("b.a.acme.example")],
            names: .dns("*.acme.example")),
        row(
            "a wildcard beside the excluded name", .trusted, excluded: [.dns("a.acme.example")],
            names: .dns("*.other.example")),
        row(
            "a wildcard of one permitted name only", .nameNotPermitted, permitted: [.dns("a.acme.example")],
            names: .dns("*.acme.example")),
        row("a wildcard above", .nameNotPermitted, permitted: acme, names: .dns("*.example")),
        row(
            "NUL before the constraint's name", .nameNotPermitted, .certificateMalformed, permitted: acme,
            names: .dns("evil.test\u{0}.acme.example")),
        row(
            "NUL after the constraint's name", .nameNotPermitted, .certificateMalformed, permitted: acme,
            names: .dns("acme.example\u{0}.evil.test")),
        row(
            "a byte beyond ASCII", .nameNotPermitted, .certificateMalformed, permitted: acme,
            names: .raw(DER.implicit(2, [0xC3, 0xA4] + Array(".acme.example".utf8)))),
        row("an empty name", .nameNotPermitted, .certificateMalformed, permitted: acme, names: .dns("")),
        row("only a dot", .nameNotPermitted, .certificateMalformed, permitted: acme, names: .dns(".")),
        row(
            "a root dot behind an excluded name", .nameNotPermitted, .certificateMalformed, excluded: acme,
            names: .dns("acme.example.")),
        row(
            "a root dot behind another name", .nameNotPermitted, .certificateMalformed, permitted: acme,
            names: .dns("evil.test.")),
        row(
            "an empty label below the constraint", .trusted, .nameNotPermitted, .certificateMalformed, permitted: acme,
            names: .dns("a..acme.example")),
    ]

    @Test(arguments: dns) func dnsNames(row: Row) { expect(row) }

    // MARK: E-mail

    private static let host: [TestGeneralName] = [.email("acme.example")]
    private static let domain: [TestGeneralName] = [.email(".acme.example")]
    private static let mailbox: [TestGeneralName] = [.email("root@acme.example")]

    private static func mail(_ address: String) -> TestName {
        TestName(.utf8(OID.commonName, "device"), .ia5(OID.emailAddress, address))
    }

    static let email: [Row] = [
        row("a mailbox itself", .trusted, permitted: mailbox, names: .email("root@acme.example")),
        row("a mailbox, its host in another case", .trusted, permitted: mailbox, names: .email("root@ACME.example")),
        row(
            "a mailbox, its local part in another case", .nameNotPermitted, permitted: mailbox,
            names: .email("Root@acme.example")),
        row("another mailbox of the host", .nameNotPermitted, permitted: mailbox, names: .email("toor@acme.example")),
        row("a mailbox that ends like it", .nameNotPermitted, permitted: mailbox, names: .email("xroot@acme.example")),
        row("the mailbox at a host below", .nameNotPermitted, permitted: mailbox, names: .email("root@a.acme.example")),
        row("any mailbox of a host", .trusted, permitted: host, names: .email("root@acme.example")),
        row("any mailbox of a host in another case", .trusted, permitted: host, names: .email("Root@Acme.EXAMPLE")),
        row("a mailbox of a host below", .nameNotPermitted, permitted: host, names: .email("root@a.acme.example")),
        row(
            "a mailbox of a host that ends like it", .nameNotPermitted, permitted: host,
            names: .email("root@badacme.example")),
        row("a mailbox in a domain", .trusted, permitted: domain, names: .email("root@a.acme.example")),
        row("a mailbox deep in a domain", .trusted, permitted: domain, names: .email("root@b.a.acme.example")),
        row("a mailbox in a domain, another case", .trusted, permitted: domain, names: .email("root@A.ACME.example")),
        row(
            "a mailbox of the domain's own host", .nameNotPermitted, permitted: domain,
            names: .email("root@acme.example")),
        row(
            "a mailbox of no label border", .nameNotPermitted, permitted: domain, names: .email("root@badacme.example")),
        row("no mailbox at all", .trusted, permitted: host),
        row("names of other kinds", .trusted, permitted: host, names: .dns("evil.test")),
        row(
            "two mailboxes, one permitted", .nameNotPermitted, permitted: host, names: .email("a@acme.example"),
            .email("a@evil.test")),
        row("excluded mailbox", .nameNotPermitted, excluded: mailbox, names: .email("root@acme.example")),
        row("beside the excluded mailbox", .trusted, excluded: mailbox, names: .email("toor@acme.example")),
        row(
            "an excluded host with a dot at its end", .nameNotPermitted, excluded: [.email("acme.example.")],
            names: .email("a@acme.example")),
        row(
            "an excluded host with a wildcard", .nameNotPermitted, excluded: [.email("*.acme.example")],
            names: .email("a@b.acme.example")),
        row(
            "an excluded mailbox without a local part", .nameNotPermitted, excluded: [.email("@acme.example")],
            names: .email("a@acme.example")),
        row(
            "an excluded mailbox with two", .nameNotPermitted, excluded: [.email("a@b@acme.example")],
            names: .email("a@acme.example")),
        row(
            "a permitted host that is none", .nameNotPermitted, permitted: [.email("acme.example.")],
            names: .email("a@acme.example")),
        row("excluded host", .nameNotPermitted, excluded: host, names: .email("toor@acme.example")),
        row("below the excluded host", .trusted, excluded: host, names: .email("root@a.acme.example")),
        row("excluded domain", .nameNotPermitted, excluded: domain, names: .email("root@a.acme.example")),
        row("the excluded domain's own host", .trusted, excluded: domain, names: .email("root@acme.example")),
        row(
            "excluded beats permitted", .nameNotPermitted, permitted: host, excluded: mailbox,
            names: .email("root@acme.example")),
        row("in the subject, permitted", .trusted, permitted: host, subject: mail("a@acme.example")),
        row("in the subject, not permitted", .nameNotPermitted, permitted: host, subject: mail("a@evil.test")),
        row("in the subject, excluded", .nameNotPermitted, excluded: host, subject: mail("a@acme.example")),
        row(
            "in the subject, excluded, another case", .nameNotPermitted, excluded: host, subject: mail("A@ACME.example")
        ),
        row(
            "in the subject, beside a permitted alternative name", .trusted, .nameNotPermitted, permitted: host,
            subject: mail("a@evil.test"), names: .email("a@acme.example")),
        row(
            "in the subject permitted, beside an alternative name that is not", .nameNotPermitted, permitted: host,
            subject: mail("a@acme.example"), names: .email("a@evil.test")),
        row("no at sign", .nameNotPermitted, .certificateMalformed, permitted: host, names: .email("acme.example")),
        row(
            "nothing before the at sign", .trusted, .nameNotPermitted, .certificateMalformed, permitted: host,
            names: .email("@acme.example")),
        row(
            "a host hidden behind a second at sign", .nameNotPermitted, .certificateMalformed, permitted: host,
            names: .email("a@acme.example@evil.test")),
        row(
            "a second at sign in front of the host", .nameNotPermitted, .certificateMalformed, permitted: host,
            names: .email("a@evil.test@acme.example")),
        row(
            "an excluded host behind a second at sign", .nameNotPermitted, .certificateMalformed, excluded: host,
            names: .email("a@other.test@acme.example")),
        row(
            "an at sign in a quoted local part", .trusted, .nameNotPermitted, permitted: host,
            names: .email("\"a@evil.test\"@acme.example")),
        row(
            "the host in a quoted local part", .nameNotPermitted, permitted: host,
            names: .email("\"a@acme.example\"@evil.test")),
        row(
            "a quoted local part of an excluded host", .nameNotPermitted, excluded: host,
            names: .email("\"a@other.test\"@acme.example")),
        row(
            "a local part that is quoted at its end only", .nameNotPermitted, .certificateMalformed, permitted: host,
            names: .email("a@evil.test\"@acme.example")),
        row(
            "NUL in the host", .nameNotPermitted, .certificateMalformed, permitted: host,
            names: .email("a@evil.test\u{0}acme.example")),
        row("an empty address", .nameNotPermitted, .certificateMalformed, permitted: host, names: .email("")),
        row(
            "the empty constraint excludes every mailbox", .nameNotPermitted, .certificateMalformed,
            excluded: [.email("")], names: .email("a@any.test")),
    ]

    @Test(arguments: email) func emailAddresses(row: Row) { expect(row) }

    // MARK: IP

    private static let net4: [TestGeneralName] = [.ip([192, 0, 2, 0, 255, 255, 255, 0])]
    private static let address6: [UInt8] = [0x20, 0x01, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 12)
    private static let net6: [TestGeneralName] = [
        .ip(address6 + [0xFF, 0xFF, 0xFF, 0xFF] + [UInt8](repeating: 0, count: 12))
    ]
    private static let all4: [TestGeneralName] = [.ip([UInt8](repeating: 0, count: 8))]
    private static let all6: [TestGeneralName] = [.ip([UInt8](repeating: 0, count: 32))]

    static let ip: [Row] = [
        row("the first address of a network", .trusted, permitted: net4, names: .ip([192, 0, 2, 0])),
        row("the last address of a network", .trusted, permitted: net4, names: .ip([192, 0, 2, 255])),
        row("an address below the network", .nameNotPermitted, permitted: net4, names: .ip([192, 0, 1, 255])),
        row("an address above the network", .nameNotPermitted, permitted: net4, names: .ip([192, 0, 3, 0])),
        row(
            "bits of the network's address beyond its mask", .trusted,
            permitted: [.ip([192, 0, 2, 77, 255, 255, 255, 0])], names: .ip([192, 0, 2, 5])),
        row(
            "a mask of 25 bits, inside", .trusted, permitted: [.ip([192, 0, 2, 128, 255, 255, 255, 128])],
            names: .ip([192, 0, 2, 128])),
        row(
            "a mask of 25 bits, outside", .nameNotPermitted, permitted: [.ip([192, 0, 2, 128, 255, 255, 255, 128])],
            names: .ip([192, 0, 2, 127])),
        row(
            "one address, itself", .trusted, permitted: [.ip([192, 0, 2, 1, 255, 255, 255, 255])],
            names: .ip([192, 0, 2, 1])),
        row(
            "one address, the next", .nameNotPermitted, permitted: [.ip([192, 0, 2, 1, 255, 255, 255, 255])],
            names: .ip([192, 0, 2, 2])),
        row("every address", .trusted, permitted: all4, names: .ip([8, 8, 8, 8])),
        row("every address excluded", .nameNotPermitted, excluded: all4, names: .ip([8, 8, 8, 8])),
        row("an address of version 6 in its network", .trusted, permitted: net6, names: .ip(address6)),
        row(
            "an address of version 6 outside", .nameNotPermitted, permitted: net6,
            names: .ip([0x20, 0x01, 0x0D, 0xB9] + address6.dropFirst(4))),
        row("version 6 where only version 4 is permitted", .nameNotPermitted, permitted: all4, names: .ip(address6)),
        row(
            "version 4 where only version 6 is permitted", .nameNotPermitted, permitted: all6, names: .ip([8, 8, 8, 8])),
        row("version 6 where only version 4 is excluded", .trusted, excluded: all4, names: .ip(address6)),
        row("version 4 where only version 6 is excluded", .trusted, excluded: all6, names: .ip([8, 8, 8, 8])),
        row("both versions permitted", .trusted, permitted: net4 + net6, names: .ip([192, 0, 2, 9]), .ip(address6)),
        row("excluded", .nameNotPermitted, excluded: net4, names: .ip([192, 0, 2, 1])),
        row("not excluded", .trusted, excluded: net4, names: .ip([192, 0, 3, 1])),
        row(
            "excluded beats permitted", .nameNotPermitted, permitted: all4, excluded: net4, names: .ip([192, 0, 2, 1])),
        row("no address", .trusted, permitted: net4, names: .dns("device.test")),
        row(
            "a mask with holes", .trusted, .nameNotPermitted, .certificateMalformed, .chainInvalid,
            permitted: [.ip([192, 0, 2, 1, 255, 0, 255, 255])], names: .ip([192, 9, 2, 1])),
        row(
            "a mask with holes, an address that differs where it looks", .nameNotPermitted, .certificateMalformed,
            .chainInvalid, permitted: [.ip([192, 0, 2, 1, 255, 0, 255, 255])], names: .ip([192, 9, 3, 1])),
        row(
            "an address of 5 bytes", .certificateMalformed, .nameNotPermitted, permitted: net4,
            names: .ip([192, 0, 2, 1, 0])),
        row(
            "an address of 8 bytes", .certificateMalformed, .nameNotPermitted, permitted: net4,
            names: .ip([192, 0, 2, 1, 255, 255, 255, 0])),
        row(
            "a constraint of 4 bytes", .certificateMalformed, .nameNotPermitted, permitted: [.ip([192, 0, 2, 1])],
            names: .ip([192, 0, 2, 1])),
        row(
            "a constraint of 16 bytes", .certificateMalformed, .nameNotPermitted, permitted: [.ip(address6)],
            names: .ip(address6)),
        row(
            "an excluded constraint of 7 bytes", .certificateMalformed, .nameNotPermitted,
            excluded: [.ip([192, 0, 2, 1, 255, 255, 255])], names: .ip([192, 0, 2, 1])),
    ]

    @Test(arguments: ip) func ipAddresses(row: Row) { expect(row) }

    // MARK: URI

    private static let uriHost: [TestGeneralName] = [.uri("acme.example")]
    private static let uriDomain: [TestGeneralName] = [.uri(".acme.example")]

    static let uri: [Row] = [
        row("the host", .trusted, permitted: uriHost, names: .uri("https://acme.example/path")),
        row("the host without a path", .trusted, permitted: uriHost, names: .uri("https://acme.example")),
        row("the host with query and no path", .trusted, permitted: uriHost, names: .uri("https://acme.example?x")),
        row(
            "the host with a fragment and no path", .trusted, permitted: uriHost, names: .uri("https://acme.example#x")),
        row("the host in another case", .trusted, permitted: uriHost, names: .uri("HTTPS://Acme.Example/")),
        row("the host with a port", .trusted, permitted: uriHost, names: .uri("mqtts://acme.example:8883/")),
        row("the host with a user", .trusted, permitted: uriHost, names: .uri("https://user:secret@acme.example/")),
        row("any scheme", .trusted, permitted: uriHost, names: .uri("spiffe://acme.example/device")),
        row("a host below a host", .nameNotPermitted, permitted: uriHost, names: .uri("https://a.acme.example/")),
        row("a host in a domain", .trusted, permitted: uriDomain, names: .uri("https://a.acme.example/")),
        row("a host deep in a domain", .trusted, permitted: uriDomain, names: .uri("https://b.a.acme.example/")),
        row("the domain's own host", .nameNotPermitted, permitted: uriDomain, names: .uri("https://acme.example/")),
        row("no label border", .nameNotPermitted, permitted: uriDomain, names: .uri("https://badacme.example/")),
        row("another host", .nameNotPermitted, permitted: uriHost, names: .uri("https://evil.test/")),
        row(
            "the host as a user", .nameNotPermitted, permitted: uriHost, names: .uri("https://acme.example@evil.test/")),
        row(
            "the host as a user with a password", .nameNotPermitted, permitted: uriHost,
            names: .uri("https://acme.example:443@evil.test/")),
        row(
            "the host in the path", .nameNotPermitted, permitted: uriHost, names: .uri("https://evil.test/acme.example")
        ),
        row(
            "the host in the path behind an at sign", .nameNotPermitted, permitted: uriHost,
            names: .uri("https://evil.test/@acme.example")),
        row(
            "the host in the query behind an at sign", .nameNotPermitted, permitted: uriHost,
            names: .uri("https://evil.test?@acme.example")),
        row(
            "the host in the fragment behind an at sign", .nameNotPermitted, permitted: uriHost,
            names: .uri("https://evil.test#@acme.example")),
        row(
            "the host behind a backslash and an at sign", .nameNotPermitted, .certificateMalformed, permitted: uriHost,
            names: .uri("https://evil.test\\@acme.example")),
        row(
            "the host in front of another", .nameNotPermitted, permitted: uriHost,
            names: .uri("https://acme.example.evil.test/")),
        row(
            "NUL in the host", .nameNotPermitted, .certificateMalformed, permitted: uriHost,
            names: .uri("https://acme.example\u{0}.evil.test/")),
        row("an address instead of a host", .nameNotPermitted, permitted: uriHost, names: .uri("https://192.0.2.1/")),
        row(
            "an address instead of a host, excluding another", .nameNotPermitted, excluded: uriHost,
            names: .uri("https://192.0.2.1/")),
        row(
            "an address of version 6", .nameNotPermitted, permitted: uriHost, names: .uri("https://[2001:db8::1]:8883/")
        ),
        row(
            "an address of version 6, excluding another", .nameNotPermitted, excluded: uriHost,
            names: .uri("https://[2001:db8::1]/")),
        row(
            "no authority", .nameNotPermitted, permitted: uriHost,
            names: .uri("urn:uuid:00000000-0000-0000-0000-000000000000")),
        row(
            "no authority, excluding a host", .nameNotPermitted, excluded: uriHost,
            names: .uri("urn:example:acme.example")),
        row("no authority, a mailbox", .nameNotPermitted, permitted: uriHost, names: .uri("mailto:root@acme.example")),
        row("an empty authority", .nameNotPermitted, permitted: uriHost, names: .uri("file:///etc/passwd")),
        row("an authority of a port alone", .nameNotPermitted, permitted: uriHost, names: .uri("https://:443/")),
        row("no scheme", .nameNotPermitted, .certificateMalformed, permitted: uriHost, names: .uri("//acme.example/")),
        row(
            "an empty scheme", .nameNotPermitted, .certificateMalformed, permitted: uriHost,
            names: .uri("://acme.example/")),
        row("only a host", .nameNotPermitted, .certificateMalformed, permitted: uriHost, names: .uri("acme.example")),
        row("excluded host", .nameNotPermitted, excluded: uriHost, names: .uri("https://acme.example/")),
        row(
            "excluded host in another case with port and user", .nameNotPermitted, excluded: uriHost,
            names: .uri("https://u@ACME.example:1/")),
        row("excluded domain", .nameNotPermitted, excluded: uriDomain, names: .uri("https://a.acme.example/")),
        row("not excluded", .trusted, excluded: uriHost, names: .uri("https://other.test/")),
        row("without a constraint on URIs, no authority is fine", .trusted, permitted: acme, names: .uri("urn:x:y")),
        row("no URI", .trusted, permitted: uriHost, names: .dns("evil.test")),
    ]

    @Test(arguments: uri) func uniformResourceIdentifiers(row: Row) { expect(row) }

    // MARK: Directory names

    private static let organization = TestName(.printable(OID.country, "DE"), .utf8(OID.organization, "Acme"))
    private static let other = TestName(.printable(OID.country, "DE"), .utf8(OID.organization, "Other"))
    private static let deviceOfAcme = organization.adding(.utf8(OID.commonName, "device"))
    private static let tree: [TestGeneralName] = [.directory(organization)]

    static let directory: [Row] = [
        row("the subject within the tree", .trusted, permitted: tree, subject: deviceOfAcme),
        row("the subject is the tree's own name", .trusted, permitted: tree, subject: organization),
        row(
            "the subject within, in another case and string type", .trusted, permitted: tree,
            subject: TestName(
                .printable(OID.country, "de"), .printable(OID.organization, "ACME"), .utf8(OID.commonName, "d"))),
        row(
            "the subject within, blanks and all", .trusted, permitted: tree,
            subject: TestName(
                .printable(OID.country, "DE"), .utf8(OID.organization, " acme "), .utf8(OID.commonName, "d"))),
        row(
            "the subject in another tree", .nameNotPermitted, permitted: tree,
            subject: other.adding(.utf8(OID.commonName, "d"))),
        row(
            "the subject above the tree", .nameNotPermitted, permitted: tree,
            subject: TestName(.printable(OID.country, "DE"))),
        row("a subject of other attributes", .nameNotPermitted, permitted: tree, subject: "device"),
        row(
            "the tree's parts at the subject's end", .nameNotPermitted, permitted: tree,
            subject: TestName(
                .utf8(OID.commonName, "d"), .printable(OID.country, "DE"), .utf8(OID.organization, "Acme"))),
        row(
            "the organization begins with the tree's", .nameNotPermitted, permitted: tree,
            subject: TestName(.printable(OID.country, "DE"), .utf8(OID.organization, "Acme Evil"))),
        row(
            "a part with one attribute more", .nameNotPermitted, permitted: tree,
            subject: TestName(parts: [
                [.printable(OID.country, "DE")], [.utf8(OID.organization, "Acme"), .utf8(OID.organizationalUnit, "x")],
            ])),
        row("no subject", .trusted, permitted: tree, subject: .empty, names: .dns("device.test")),
        row("the empty tree permits every subject", .trusted, permitted: [.directory(.empty)], subject: deviceOfAcme),
        row(
            "the empty tree excludes every subject", .nameNotPermitted, excluded: [.directory(.empty)],
            subject: deviceOfAcme),
        row(
            "an alternative name within the tree", .trusted, permitted: tree, subject: deviceOfAcme,
            names: .directory(deviceOfAcme)),
        row(
            "an alternative name in another tree", .nameNotPermitted, permitted: tree, subject: deviceOfAcme,
            names: .directory(other)),
        row(
            "an alternative name within, the subject not", .nameNotPermitted, permitted: tree, subject: other,
            names: .directory(deviceOfAcme)),
        row(
            "no subject, an alternative name in another tree", .nameNotPermitted, permitted: tree, subject: .empty,
            names: .directory(other)),
        row("the subject excluded", .nameNotPermitted, excluded: tree, subject: deviceOfAcme),
        row(
            "the subject excluded in another case", .nameNotPermitted, excluded: tree,
            subject: TestName(.utf8(OID.country, "de"), .bmp(OID.organization, "ACME"))),
        row("the subject not excluded", .trusted, excluded: tree, subject: other),
        row(
            "an alternative name excluded", .nameNotPermitted, excluded: tree, subject: other,
            names: .directory(organization)),
        row(
            "excluded beats permitted", .nameNotPermitted, permitted: tree, excluded: [.directory(deviceOfAcme)],
            subject: deviceOfAcme),
        row(
            "beside the excluded", .trusted, permitted: tree, excluded: [.directory(deviceOfAcme)],
            subject: organization.adding(.utf8(OID.commonName, "e"))),
        row(
            "either of two trees", .trusted, permitted: tree + [.directory(other)],
            subject: other.adding(.utf8(OID.commonName, "d"))),
    ]

    @Test(arguments: directory) func directoryNames(row: Row) { expect(row) }

    // MARK: Kinds that no one can compare

    private static let identity = "1.3.6.1.4.1.311.20.2.3"
    private static let otherName = TestGeneralName.other(identity, DER.utf8String("user@acme.example"))

    static let unknownKinds: [Row] = [
        row("otherName without a constraint", .trusted, permitted: acme, names: otherName),
        row("registeredID without a constraint", .trusted, permitted: acme, names: .registeredID("1.2.3")),
        row("a constraint on otherName, and no such name", .trusted, permitted: [otherName], names: .dns("a.test")),
        row("a constraint on otherName, and such a name", .nameNotPermitted, permitted: [otherName], names: otherName),
        row(
            "an exclusion of otherName, and such a name", .nameNotPermitted, excluded: [otherName],
            names: .other(identity, DER.utf8String("b@other.test"))),
        row(
            "a constraint on registeredID, and such a name", .nameNotPermitted, permitted: [.registeredID("1.2.3")],
            names: .registeredID("1.2.3")),
        row(
            "an exclusion of registeredID, and such a name", .nameNotPermitted, excluded: [.registeredID("1.2.3")],
            names: .registeredID("1.2.4")),
        row(
            "an exclusion of registeredID, and no such name", .trusted, excluded: [.registeredID("1.2.3")],
            names: .dns("a.test")),
        row(
            "an exclusion of ediPartyName, and no such name", .trusted,
            excluded: [.raw(DER.element(0xA5, DER.explicit(1, DER.utf8String("x"))))], names: .dns("a.test")),
        row(
            "an exclusion of ediPartyName, and such a name", .nameNotPermitted,
            excluded: [.raw(DER.element(0xA5, DER.explicit(1, DER.utf8String("x"))))],
            names: .raw(DER.element(0xA5, DER.explicit(1, DER.utf8String("y"))))),
    ]

    @Test(arguments: unknownKinds) func aConstraintThatCannotBeCheckedBarsItsKind(row: Row) { expect(row) }

    // MARK: Shapes

    private static func shaped(
        _ name: String, _ expected: VerdictReason..., value: [UInt8], critical: Bool = true, names: TestGeneralName...
    ) -> Row {
        Row(
            name: name, expected: expected,
            constraints: TestExtension(OID.nameConstraints, critical: critical, value), subject: "device", names: names)
    }

    private static func subtree(_ base: TestGeneralName, _ distances: [UInt8]...) -> [UInt8] {
        DER.sequence(base.der, distances.flatMap(\.self))
    }

    private static let acmeBase = TestGeneralName.dns("acme.example")

    static let shapes: [Row] = [
        shaped(
            "minimum 0 written out", .trusted,
            value: DER.sequence(DER.element(0xA0, subtree(acmeBase, DER.implicit(0, [0])))),
            names: .dns("a.acme.example")),
        shaped(
            "minimum 0 written out still constrains", .nameNotPermitted,
            value: DER.sequence(DER.element(0xA0, subtree(acmeBase, DER.implicit(0, [0])))), names: .dns("evil.test")),
        shaped(
            "minimum 1, and such a name", .nameNotPermitted, .certificateMalformed, .chainInvalid,
            value: DER.sequence(DER.element(0xA0, subtree(acmeBase, DER.implicit(0, [1])))), names: .dns("acme.example")
        ),
        shaped(
            "a maximum, and such a name", .nameNotPermitted, .certificateMalformed, .chainInvalid,
            value: DER.sequence(DER.element(0xA0, subtree(acmeBase, DER.implicit(1, [1])))), names: .dns("acme.example")
        ),
        shaped(
            "an excluded maximum, and a deeper name", .nameNotPermitted, .certificateMalformed, .chainInvalid,
            value: DER.sequence(DER.element(0xA1, subtree(acmeBase, DER.implicit(1, [0])))),
            names: .dns("b.a.acme.example")),
        shaped(
            "constraints that are not critical count as well", .nameNotPermitted,
            value: DER.sequence(DER.element(0xA0, subtree(acmeBase))), critical: false, names: .dns("evil.test")),
        shaped("neither list", .trusted, .certificateMalformed, value: DER.sequence(), names: .dns("a.test")),
        shaped(
            "an empty permitted list", .certificateMalformed, value: DER.sequence([0xA0, 0]), names: .dns("a.test")),
        shaped("an empty excluded list", .certificateMalformed, value: DER.sequence([0xA1, 0]), names: .dns("a.test")),
        shaped(
            "the lists in the wrong order", .certificateMalformed,
            value: DER.sequence(DER.element(0xA1, subtree(.dns("x.test"))), DER.element(0xA0, subtree(acmeBase))),
            names: .dns("acme.example")),
        shaped(
            "the permitted list twice", .certificateMalformed,
            value: DER.sequence(DER.element(0xA0, subtree(acmeBase)), DER.element(0xA0, subtree(.dns("evil.test")))),
            names: .dns("evil.test")),
        shaped(
            "bytes after the lists", .certificateMalformed,
            value: DER.sequence(DER.element(0xA0, subtree(acmeBase))) + [0], names: .dns("acme.example")),
        shaped(
            "a name of no known kind", .certificateMalformed, .nameNotPermitted,
            value: DER.sequence(DER.element(0xA0, DER.sequence(DER.implicit(9, [1])))), names: .dns("acme.example")),
        shaped(
            "a subtree without a base", .certificateMalformed, value: DER.sequence(DER.element(0xA0, DER.sequence())),
            names: .dns("acme.example")),
        shaped(
            "a host that is not IA5", .certificateMalformed, .nameNotPermitted,
            value: DER.sequence(DER.element(0xA1, DER.sequence(DER.implicit(2, [0xC3, 0xA4])))),
            names: .dns("acme.example")),
    ]

    @Test(arguments: shapes) func aConstraintOfAnotherShape(row: Row) { expect(row) }

    // MARK: Along the path

    private static func dns(permitted: String...) -> TestExtension {
        .nameConstraints(permitted: permitted.map { .dns($0) })
    }

    private static func nested(_ upper: TestExtension, _ lower: TestExtension, _ names: TestGeneralName...) -> World {
        let root = Entity.root { $0.set(upper) }
        let middle = root.authority(key: .p256(2)) { $0.set(lower) }
        let device = middle.device { $0.set(TestExtension(OID.subjectAltName, DER.sequence(of: names.map(\.der)))) }
        return World(root, chain: [device, middle])
    }

    private static let treeOfAcme = TestExtension.nameConstraints(permitted: [.directory(organization)])

    static let paths: [Situation] = [
        Situation("the lower constraint narrows, within both", .trusted) {
            nested(dns(permitted: "acme.example"), dns(permitted: "a.acme.example"), .dns("x.a.acme.example"))
        },
        Situation("the lower constraint narrows, within the upper alone", .nameNotPermitted) {
            nested(dns(permitted: "acme.example"), dns(permitted: "a.acme.example"), .dns("b.acme.example"))
        },
        Situation("the lower constraint does not widen", .nameNotPermitted) {
            nested(dns(permitted: "a.acme.example"), dns(permitted: "acme.example"), .dns("b.acme.example"))
        },
        Situation("constraints without a common name", .nameNotPermitted) {
            nested(dns(permitted: "acme.example"), dns(permitted: "other.test"), .dns("other.test"))
        },
        Situation("constraints of two kinds, both kept", .trusted) {
            nested(
                dns(permitted: "acme.example"), .nameConstraints(permitted: net4), .dns("acme.example"),
                .ip([192, 0, 2, 1]))
        },
        Situation("constraints of two kinds, the upper one broken", .nameNotPermitted) {
            nested(
                dns(permitted: "acme.example"), .nameConstraints(permitted: net4), .dns("evil.test"),
                .ip([192, 0, 2, 1]))
        },
        Situation("excluded above, permitted below", .nameNotPermitted) {
            nested(.nameConstraints(excluded: acme), dns(permitted: "acme.example"), .dns("acme.example"))
        },
        Situation("permitted above, excluded below", .nameNotPermitted) {
            nested(
                dns(permitted: "acme.example"), .nameConstraints(excluded: [.dns("a.acme.example")]),
                .dns("a.acme.example"))
        },
        Situation("an intermediate's own alternative name is checked", .nameNotPermitted, detail: ["Intermediate"]) {
            let root = Entity.root { $0.set(dns(permitted: "acme.example")) }
            let middle = root.authority(key: .p256(2)) { $0.set(.subjectAltName(.dns("evil.test"))) }
            return World(root, chain: [middle.device(), middle])
        },
        Situation("an intermediate's own alternative name is permitted", .trusted) {
            let root = Entity.root { $0.set(dns(permitted: "acme.example")) }
            let middle = root.authority(key: .p256(2)) { $0.set(.subjectAltName(.dns("ca.acme.example"))) }
            return World(root, chain: [middle.device(), middle])
        },
        Situation("a constraint does not speak of its own certificate", .trusted) {
            let root = Entity.root()
            let middle = root.authority(key: .p256(2)) {
                $0.set(dns(permitted: "acme.example"))
                $0.set(.subjectAltName(.dns("elsewhere.test")))
            }
            return World(root, chain: [middle.device(), middle])
        },
        Situation("an intermediate's subject is checked", .nameNotPermitted) {
            let root = Entity.root { $0.set(treeOfAcme) }
            let middle = root.authority(other, key: .p256(2))
            return World(root, chain: [middle.device(deviceOfAcme), middle])
        },
        Situation("an intermediate's subject is permitted", .trusted) {
            let root = Entity.root { $0.set(treeOfAcme) }
            let middle = root.authority(organization, key: .p256(2))
            return World(root, chain: [middle.device(deviceOfAcme), middle])
        },
        Situation("an intermediate's e-mail attribute is checked", .nameNotPermitted) {
            let root = Entity.root { $0.set(.nameConstraints(permitted: host)) }
            let middle = root.authority(mail("ca@evil.test"), key: .p256(2))
            return World(root, chain: [middle.device(), middle])
        },
        Situation("a self-issued intermediate is not checked", .trusted) {
            let root = Entity.root("Root") { $0.set(treeOfAcme) }
            let middle = root.authority("Root", key: .p256(2))
            return World(root, chain: [middle.device(deviceOfAcme), middle])
        },
        Situation("a self-issued intermediate's alternative name is not checked", .trusted) {
            let root = Entity.root("Root") { $0.set(dns(permitted: "acme.example")) }
            let middle = root.authority("Root", key: .p256(2)) { $0.set(.subjectAltName(.dns("evil.test"))) }
            return World(root, chain: [middle.device(), middle])
        },
        Situation("a self-issued intermediate's own constraints count", .nameNotPermitted) {
            let root = Entity.root("Root")
            let middle = root.authority("Root", key: .p256(2)) { $0.set(dns(permitted: "acme.example")) }
            return World(root, chain: [middle.device { $0.set(.subjectAltName(.dns("evil.test"))) }, middle])
        },
        Situation("a self-issued device is checked", .nameNotPermitted) {
            let root = Entity.root("Root") { $0.set(treeOfAcme) }
            return World(root, chain: [root.device("Root")])
        },
        Situation(
            "constraints on the device's own certificate bind no one", .trusted, .certificateMalformed, .usageNotAllowed
        ) {
            let root = Entity.root()
            let device = root.device {
                $0.set(dns(permitted: "acme.example"))
                $0.set(.subjectAltName(.dns("evil.test")))
            }
            return World(root, chain: [device])
        },
        Situation("constraints of a certificate beside the path bind no one", .trusted) {
            let root = Entity.root()
            let strict = root.authority("Other", key: .p256(3)) { $0.set(dns(permitted: "acme.example")) }
            let middle = root.authority(key: .p256(2))
            return World(root, chain: [middle.device { $0.set(.subjectAltName(.dns("a.test"))) }, strict, middle])
        },
    ]

    @Test(arguments: paths) func constraintsAddUpAlongThePath(situation: Situation) { expectVerdict(situation) }
}
