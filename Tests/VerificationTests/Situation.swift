import TestPKI
import Testing
import Verification

/// One row of a table of worlds: what the situation is, and which verdicts are right in it.
struct Situation: Sendable, CustomTestStringConvertible {
    let name: String
    /// More than one where the rules leave it open.
    let expected: [VerdictReason]
    /// What the detail has to speak of.
    let detail: [String]
    let world: @Sendable () -> World

    init(
        _ name: String, _ expected: VerdictReason..., detail: [String] = [], world: @escaping @Sendable () -> World
    ) {
        self.init(name, expected, detail: detail, world: world)
    }

    init(
        _ name: String, _ expected: [VerdictReason], detail: [String] = [], world: @escaping @Sendable () -> World
    ) {
        self.name = name
        self.expected = expected
        self.detail = detail
        self.world = world
    }

    var testDescription: String { name }
}

/// Asks for the verdict and compares; then asks again with everything in another order, for no order may matter.
func expectVerdict(_ situation: Situation, sourceLocation: SourceLocation = #_sourceLocation) {
    let world = situation.world()
    let verdict = judge(world)
    #expect(
        situation.expected.contains(verdict.reason), "\(situation.name): \(verdict.reason), \(verdict.detail)",
        sourceLocation: sourceLocation)
    for text in situation.detail {
        #expect(verdict.detail.contains(text), "\(situation.name): \(verdict.detail)", sourceLocation: sourceLocation)
    }
    var turned = world
    turned.anchors.reverse()
    if let device = world.chain.first { turned.chain = [device] + world.chain.dropFirst().reversed() }
    let again = judge(turned)
    #expect(
        again.reason == verdict.reason,
        "\(situation.name), in another order: \(again.reason), \(again.detail) and not \(verdict.reason)",
        sourceLocation: sourceLocation)
}
