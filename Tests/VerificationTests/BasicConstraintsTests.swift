import TestPKI
import Testing
import Verification

/// Who may issue certificates, and how many levels deep (RFC 5280 sections 4.2.1.3, 4.2.1.9 and 6.1.4 (k) to (n)).
@Suite struct BasicConstraintsTests {
    private static func intermediate(_ change: @escaping @Sendable (inout CertificateRecipe) -> Void) -> World {
        let root = Entity.root()
        let middle = root.authority(key: .p256(2), changing: change)
        return World(root, chain: [middle.device(), middle])
    }

    static let issuers: [Situation] = [
        Situation("intermediate with CA:TRUE and keyCertSign", .trusted) { intermediate { _ in } },
        Situation("intermediate without basicConstraints", .chainInvalid, detail: ["Intermediate"]) {
            intermediate { $0.remove(OID.basicConstraints) }
        },
        Situation("intermediate with empty basicConstraints", .chainInvalid) {
            intermediate { $0.set(.basicConstraints(isCA: nil)) }
        },
        Situation("intermediate with CA:FALSE written out", .chainInvalid) {
            intermediate { $0.set(.basicConstraints(isCA: false)) }
        },
        Situation("intermediate without extensions", .chainInvalid) { intermediate { $0.extensions = [] } },
        Situation("intermediate of version 1", .chainInvalid) { intermediate { $0.makeVersion1() } },
        Situation("intermediate whose basicConstraints are not critical", .trusted) {
            intermediate { $0.set(.basicConstraints(critical: false)) }
        },
        Situation("intermediate without keyUsage", .trusted) { intermediate { $0.remove(OID.keyUsage) } },
        Situation("intermediate with keyCertSign alone", .trusted) { intermediate { $0.set(.keyUsage(.keyCertSign)) } },
        Situation("intermediate whose keyUsage is not critical", .trusted) {
            intermediate { $0.set(.keyUsage(.keyCertSign, critical: false)) }
        },
        Situation("intermediate with cRLSign alone", .chainInvalid, detail: ["Intermediate"]) {
            intermediate { $0.set(.keyUsage(.cRLSign)) }
        },
        Situation("intermediate with every bit but keyCertSign", .chainInvalid) {
            intermediate {
                $0.set(
                    .keyUsage(
                        .digitalSignature, .nonRepudiation, .keyEncipherment, .dataEncipherment, .keyAgreement,
                        .cRLSign,
                        .decipherOnly))
            }
        },
        Situation("intermediate whose keyUsage is not critical and lacks keyCertSign", .chainInvalid) {
            intermediate { $0.set(.keyUsage(.digitalSignature, critical: false)) }
        },
        Situation("device certificate that issued another", .chainInvalid) {
            let root = Entity.root()
            let middle = root.authority(key: .p256(2))
            let first = middle.device("first", key: .p256(3))
            return World(root, chain: [first.device("second"), first, middle])
        },
        Situation("device certificate of version 1 that issued another", .chainInvalid) {
            let root = Entity.root()
            let first = root.device("first", key: .p256(3)) { $0.makeVersion1() }
            return World(root, chain: [first.device("second"), first])
        },
        Situation("intermediate whose keyUsage has no bit", .chainInvalid, .certificateMalformed) {
            intermediate { $0.set(.keyUsage()) }
        },
        Situation("intermediate without subject key identifier", .trusted) {
            intermediate { $0.remove(OID.subjectKeyIdentifier) }
        },
    ]

    @Test(arguments: issuers) func onlyACAIssues(situation: Situation) { expectVerdict(situation) }

    /// Path lengths from the anchor down, nil for none; a level that starts with `self` has its issuer's name.
    private enum Level: Sendable {
        case ca(Int?)
        case selfIssued(Int?)
    }

    private static func levels(anchor: Int?, _ levels: [Level], selfIssuedDevice: Bool = false) -> World {
        let root = Entity.root { $0.set(.basicConstraints(pathLength: anchor)) }
        var issuer = root
        var issuerName: TestName = "Root"
        var chain: [Entity] = []
        for (number, level) in levels.enumerated() {
            let length: Int?
            switch level {
            case .ca(let value):
                issuerName = TestName(commonName: "Level \(number + 1)")
                length = value
            case .selfIssued(let value): length = value
            }
            issuer = issuer.authority(issuerName, key: .p256(10 + number)) {
                $0.set(.basicConstraints(pathLength: length))
            }
            chain.insert(issuer, at: 0)
        }
        return World(root, chain: [issuer.device(selfIssuedDevice ? issuerName : "device")] + chain)
    }

    static let lengths: [Situation] = [
        Situation("anchor with 0, no intermediate", .trusted) { levels(anchor: 0, []) },
        Situation("anchor with 0, one intermediate", .chainInvalid) { levels(anchor: 0, [.ca(nil)]) },
        Situation("anchor with 1, one intermediate", .trusted) { levels(anchor: 1, [.ca(nil)]) },
        Situation("anchor with 1, two intermediates", .chainInvalid) { levels(anchor: 1, [.ca(nil), .ca(nil)]) },
        Situation("intermediate with 0 above the device", .trusted) { levels(anchor: nil, [.ca(nil), .ca(0)]) },
        Situation("intermediate with 0 above another", .chainInvalid, detail: ["Level"]) {
            levels(anchor: nil, [.ca(0), .ca(nil)])
        },
        Situation("intermediate with 0 above another with 0", .chainInvalid) { levels(anchor: nil, [.ca(0), .ca(0)]) },
        Situation("6, 4, 1, 1: one level too many", .chainInvalid) {
            levels(anchor: 6, [.ca(4), .ca(1), .ca(1), .ca(nil)])
        },
        Situation("6, 4, 1, none: as deep as may be", .trusted) { levels(anchor: 6, [.ca(4), .ca(1), .ca(nil)]) },
        Situation("a larger length below does not lift a smaller one above", .chainInvalid) {
            levels(anchor: 6, [.ca(0), .ca(4), .ca(nil)])
        },
        Situation("6, 0, 0: the upper 0 counts", .chainInvalid) { levels(anchor: 6, [.ca(0), .ca(0)]) },
        Situation("6, 3, 2, 1, 0: strictly going down", .trusted) {
            levels(anchor: 6, [.ca(3), .ca(2), .ca(1), .ca(0)])
        },
        Situation("anchor with 0, self-issued intermediate", .trusted) { levels(anchor: 0, [.selfIssued(nil)]) },
        Situation("anchor with 0, self-issued intermediate with 0", .trusted) { levels(anchor: 0, [.selfIssued(0)]) },
        Situation("anchor with 0, self-issued intermediate, then another", .chainInvalid) {
            levels(anchor: 0, [.selfIssued(nil), .ca(nil)])
        },
        Situation("anchor with 1, intermediate, then self-issued ones", .trusted) {
            levels(anchor: 1, [.selfIssued(nil), .ca(0), .selfIssued(0)])
        },
        Situation("self-issued intermediate whose own length is used up below", .chainInvalid) {
            levels(anchor: nil, [.selfIssued(0), .ca(nil)])
        },
        Situation("anchor with 0, self-issued device", .trusted) {
            levels(anchor: 0, [], selfIssuedDevice: true)
        },
        Situation("a huge length", .trusted) { levels(anchor: Int.max, [.ca(1 << 40), .ca(nil)]) },
        Situation("a length beyond 64 bits", .trusted) {
            let root = Entity.root {
                let huge = DER.integer(unsigned: [UInt8](repeating: 0x7F, count: 20))
                $0.set(TestExtension(OID.basicConstraints, critical: true, DER.sequence(DER.boolean(true), huge)))
            }
            let middle = root.authority(key: .p256(2))
            return World(root, chain: [middle.device(), middle])
        },
        Situation("a length below zero", .certificateMalformed, .chainInvalid) { levels(anchor: nil, [.ca(-1)]) },
        Situation("the anchor sent along does not count", .trusted) {
            let root = Entity.root { $0.set(.basicConstraints(pathLength: 0)) }
            return World(root, chain: [root.device(), root])
        },
        Situation("another self-signed certificate of the anchor's key does not count", .trusted) {
            let root = Entity.root { $0.set(.basicConstraints(pathLength: 0)) }
            let renewed = root.changed { $0.serial = [77] }
            return World(root, chain: [root.device(), renewed])
        },
    ]

    @Test(arguments: lengths) func aPathIsNoLongerThanItsAuthoritiesAllow(situation: Situation) {
        expectVerdict(situation)
    }
}
