import TestPKI
import Testing
import Verification

/// Thousands of chains, each asked of OpenSSL's `X509_verify_cert` as well: whatever differs is in a table, with its reason.
@Suite struct DifferentialTests {
    /// A property in which OpenSSL is known to answer otherwise.
    struct Difference: Sendable {
        let property: String
        /// Nil: wherever the property is.
        var place: ChainProperty.Place?
        /// Our answer; OpenSSL's is the other one.
        let weTrust: Bool
        let reason: String
    }

    private static func trusted(_ property: String, on place: ChainProperty.Place? = nil, _ reason: String)
        -> Difference
    {
        Difference(property: property, place: place, weTrust: true, reason: reason)
    }

    private static func refused(_ property: String, on place: ChainProperty.Place? = nil, _ reason: String)
        -> Difference
    {
        Difference(property: property, place: place, weTrust: false, reason: reason)
    }

    static let differences: [Difference] = [
        // We trust, OpenSSL does not.
        trusted(
            "validity: last second", "RFC 5280 4.1.2.5: both ends belong to the period; OpenSSL refuses the last second"
        ),
        trusted("extKeyUsage: any", "RFC 5280 4.2.1.12: any purpose is meant; OpenSSL wants clientAuth itself"),
        trusted(
            "extKeyUsage: any and servers", "RFC 5280 4.2.1.12: any purpose is meant; OpenSSL wants clientAuth itself"),
        trusted(
            "authorityKeyIdentifier: another's",
            "RFC 5280 4.2.1.1, RFC 4158 3.5.12: it helps to find, it decides nothing"),
        trusted(
            "authorityKeyIdentifier: another issuer and serial number",
            "RFC 5280 4.2.1.1, RFC 4158 3.5.12: it helps to find, it decides nothing"),
        trusted(
            "subjectKeyIdentifier: another's", "RFC 5280 4.2.1.2, RFC 4158 3.5.12: it helps to find, it decides nothing"
        ),
        trusted(
            "subjectKeyIdentifier: critical",
            "RFC 5280 4.2: it is recognised; OpenSSL does not count it among those that it handles"),
        trusted(
            "name: subject that is no UTF-8", "RFC 5280 4.1.2.4: invalid text inside a name is tolerated on reading"),
        trusted(
            "DNS constraint: CommonName",
            "RFC 5280 4.2.1.10: DNS constraints speak of subjectAltName; OpenSSL applies them to CommonName"),
        trusted(
            "e-mail constraint: attribute outside, beside a DNS name",
            "RFC 5280 4.2.1.10: they apply to the attribute where there is no subjectAltName"),
        trusted(
            "URI constraint: user",
            "RFC 3986 3.2: the host stands behind the user; OpenSSL 3.0 takes the user for the host"),
        // We refuse, OpenSSL does not.
        refused("basicConstraints: TRUE on a device", "a CA certificate is no device's"),
        refused(
            "keyUsage: keyCertSign on a device", on: .device,
            "RFC 5280 4.2.1.3: not without cA; OpenSSL says so in its strict mode only"),
        refused(
            "path length: on a device", on: .device,
            "RFC 5280 4.2.1.9: not without cA; OpenSSL says so in its strict mode only"),
        refused("extension: unknown, twice", "RFC 5280 4.2: no extension stands twice"),
        refused("extension: critical CRL distribution points", "RFC 5280 4.2: nobody here processes them"),
        refused("extension: the list is empty", "RFC 5280 4.1: SIZE (1..MAX)"),
        refused(
            "signature: another algorithm inside", on: .anchor,
            "RFC 5280 4.1.1.2: the two are the same; OpenSSL does not look at an anchor's"),
        refused(
            "signature: another algorithm outside", on: .anchor,
            "RFC 5280 4.1.1.2: the two are the same; OpenSSL does not look at an anchor's"),
        refused(
            "signature: unused bits", on: .anchor, "RFC 5280 4.1.1.3: whole bytes; OpenSSL does not look at an anchor's"
        ),
        refused("signature: MD5", "not SHA-256, SHA-384 or SHA-512; OpenSSL 3.0 takes it at its default level"),
        refused("signature: SHA-1", "not SHA-256, SHA-384 or SHA-512; OpenSSL 3.0 takes it at its default level"),
        refused("signature: SHA-224", "not SHA-256, SHA-384 or SHA-512"),
        refused(
            "signature: PSS with SHA-1", "not SHA-256, SHA-384 or SHA-512; OpenSSL 3.0 takes it at its default level"),
        refused("authority's key: RSA 1024", "shorter than 2048 bits"),
        refused("authority's key: RSA exponent of 34 bits", "more than 33 bits: its arithmetic is not bounded"),
        refused("authority's key: secp256k1", "not one of the three curves"),
        refused("authority's key: Ed25519", "for devices only"),
        refused("authority's key: DSA", "neither RSA nor one of the three curves"),
        refused("key: RSA 1024", "shorter than 2048 bits"),
        refused("key: RSA 2047", "shorter than 2048 bits"),
        refused("key: RSA exponent of 34 bits", "more than 33 bits: its arithmetic is not bounded"),
        refused("key: secp256k1", "not one of the three curves"),
        refused("key: DSA", "neither RSA nor one of the three curves"),
        refused("name: subject with a SET out of order", "X.690 11.6"),
        refused("version: 1 with extensions", "RFC 5280 4.1.2.9: only version 3 has them"),
        refused("version: 2 with extensions", "RFC 5280 4.1.2.9: only version 3 has them"),
        refused("version: 4", "RFC 5280 4.1.2.1: there is none"),
        refused("unique identifiers in version 1", "RFC 5280 4.1.2.8: only versions 2 and 3 have them"),
        refused("serial number: 129 bytes", "the registry's limit is 128"),
        refused("IP constraint: a mask with holes", "RFC 5280 4.2.1.10: in the style of CIDR"),
        refused(
            "URI constraint: an address, excluded",
            "RFC 5280 4.2.1.10: a URI without a host name is refused under any constraint on URIs"),
        refused("name constraints: neither list", "RFC 5280 4.2.1.10: it must not be an empty sequence"),
        refused("name constraints: an empty list", "RFC 5280 4.2.1.10: SIZE (1..MAX)"),
        refused("encoding: a byte after the certificate", "X.690 8.1: OpenSSL reads the first element and stops"),
        refused("encoding: a byte after an extension's value", "X.690 8.1: OpenSSL reads the first element and stops"),
        refused("encoding: indefinite length", "X.690 10.1"),
        refused("encoding: a length in too many bytes", "X.690 10.1"),
        refused("encoding: a long length of a short element", "X.690 10.1"),
        refused("encoding: keyUsage with zero bits at its end", "X.690 11.2.2"),
    ]

    private static let chainCount = 2_400
    private static let parts = 6
    private static let usualStart: UInt64 = 1

    /// The line of the table that explains a difference, and what to say where none does.
    private struct Finding: Sendable {
        var line: Int?
        var words: String
    }

    private static func finding(_ seed: UInt64) -> Finding? {
        let chain = ChainGenerator.chain(seed: seed)
        let ours = judge(chain.world)
        let theirs = OpenSSLOracle.verify(chain.world)
        let weTrust = ours.reason == .trusted
        guard weTrust != theirs.isTrusted else { return nil }
        let line = differences.firstIndex {
            $0.property == chain.property && $0.weTrust == weTrust && ($0.place == nil || $0.place == chain.place)
        }
        return Finding(
            line: line,
            words: """
                seed \(seed), \(chain.property ?? "nothing changed"), on the \(chain.place): ours \(ours.reason), \
                \(ours.detail); OpenSSL \(theirs)
                """)
    }

    @Test func everyDifferenceToOpenSSLIsExplained() async {
        let start = TestSeed.start(otherwise: Self.usualStart)
        let findings = await withTaskGroup { group in
            for part in 0..<Self.parts {
                group.addTask {
                    stride(from: part, to: Self.chainCount, by: Self.parts).compactMap {
                        Self.finding(start + UInt64($0))
                    }
                }
            }
            return await group.reduce(into: []) { $0 += $1 }
        }
        for finding in findings where finding.line == nil { Issue.record("\(finding.words)") }
        // Other seeds need not reach every line.
        guard start == Self.usualStart else { return }
        let used = Set(findings.compactMap(\.line))
        let unused = Self.differences.indices.filter { !used.contains($0) }.map { Self.differences[$0].property }
        #expect(unused.isEmpty, "lines of the table that explain nothing")
    }

    @Test func theTableNamesPropertiesThatThereAre() {
        let names = ChainGenerator.properties.map(\.name)
        #expect(Set(names).count == names.count)
        for difference in Self.differences { #expect(names.contains(difference.property), "\(difference.property)") }
    }
}
