import TestPKI
import Testing
import Verification

private let now = TestTime.now

/// Both ends of a validity period belong to it (RFC 5280 section 4.1.2.5).
@Suite struct ValidityTests {
    /// A world in which one of the three certificates has this period.
    private static func world(
        device: (Int64, Int64)? = nil, intermediate: (Int64, Int64)? = nil, anchor: (Int64, Int64)? = nil,
        instant: Int64 = now
    ) -> World {
        let root = Entity.root { recipe in
            if let anchor { recipe.setValidity(anchor.0, anchor.1) }
        }
        let middle = root.authority(key: .p256(2)) { recipe in
            if let intermediate { recipe.setValidity(intermediate.0, intermediate.1) }
        }
        let leaf = middle.device { recipe in
            if let device { recipe.setValidity(device.0, device.1) }
        }
        return World(root, chain: [leaf, middle], instant: instant)
    }

    static let periods: [Situation] = [
        Situation("device in its first second", .trusted) { world(device: (now, now + 60)) },
        Situation("device in its last second", .trusted) { world(device: (now - 60, now)) },
        Situation("device whose period is one second", .trusted) { world(device: (now, now)) },
        Situation("device one second too early", .deviceNotYetValid) { world(device: (now + 1, now + 60)) },
        Situation("device one second too late", .deviceExpired) { world(device: (now - 60, now - 1)) },
        Situation("device whose period ends before it starts", .deviceExpired, .deviceNotYetValid) {
            world(device: (now + 60, now - 60))
        },
        Situation("device whose period ends before it starts, both ahead", .deviceNotYetValid, .deviceExpired) {
            world(device: (now + 60, now + 30))
        },
        Situation("intermediate in its first second", .trusted) { world(intermediate: (now, now + 60)) },
        Situation("intermediate in its last second", .trusted) { world(intermediate: (now - 60, now)) },
        Situation("intermediate one second too early", .chainInvalid, detail: ["Intermediate"]) {
            world(intermediate: (now + 1, now + 60))
        },
        Situation("intermediate one second too late", .chainInvalid, detail: ["Intermediate"]) {
            world(intermediate: (now - 60, now - 1))
        },
        Situation("anchor in its first second", .trusted) { world(anchor: (now, now + 60)) },
        Situation("anchor in its last second", .trusted) { world(anchor: (now - 60, now)) },
        Situation("anchor one second too early", .caNotYetValid) { world(anchor: (now + 1, now + 60)) },
        Situation("anchor one second too late", .caExpired) { world(anchor: (now - 60, now - 1)) },
        Situation("device that outlives its issuer", .trusted) {
            world(device: (now - 60, now + 600), intermediate: (now - 60, now + 60))
        },
        Situation("device older than its issuer", .trusted) {
            world(device: (now - 600, now + 60), intermediate: (now - 60, now + 60))
        },
    ]

    @Test(arguments: periods) func aPeriodIsKeptToTheSecond(situation: Situation) { expectVerdict(situation) }

    /// The moments at which the ways to write a year change.
    static let years: [Situation] = [
        Situation("UTCTime 50 is 1950", .trusted) {
            written(DER.utcTime("500101000000Z"), DER.utcTime("300101000000Z"), at: TestTime.seconds(1950, 1, 1))
        },
        Situation("one second before 1950", .deviceNotYetValid) {
            written(DER.utcTime("500101000000Z"), DER.utcTime("300101000000Z"), at: TestTime.seconds(1950, 1, 1) - 1)
        },
        Situation("UTCTime 49 is 2049", .trusted) {
            written(
                DER.utcTime("200101000000Z"), DER.utcTime("491231235959Z"),
                at: TestTime.seconds(2049, 12, 31, 23, 59, 59))
        },
        Situation("one second after 2049", .deviceExpired) {
            written(DER.utcTime("200101000000Z"), DER.utcTime("491231235959Z"), at: TestTime.seconds(2050, 1, 1))
        },
        Situation("GeneralizedTime from 2050 on", .trusted) {
            written(
                DER.utcTime("200101000000Z"), DER.generalizedTime("20500101000000Z"), at: TestTime.seconds(2050, 1, 1))
        },
        Situation("GeneralizedTime before 2050", .trusted) {
            written(DER.generalizedTime("20200101000000Z"), DER.generalizedTime("20491231235959Z"), at: now)
        },
        Situation("no well-defined end", .trusted) {
            written(DER.utcTime("200101000000Z"), DER.generalizedTime("99991231235959Z"), at: now)
        },
        Situation("the last second of 9999", .trusted) {
            written(
                DER.utcTime("200101000000Z"), DER.generalizedTime("99991231235959Z"),
                at: TestTime.seconds(9999, 12, 31, 23, 59, 59))
        },
        Situation("after 2038", .trusted) {
            written(DER.utcTime("380119031408Z"), DER.utcTime("380119031408Z"), at: 0x8000_0000)
        },
    ]

    /// A device certificate with these times, under an anchor that is valid from 1950 through 9999.
    private static func written(_ notBefore: [UInt8], _ notAfter: [UInt8], at instant: Int64) -> World {
        let root = Entity.root { recipe in
            recipe.notBefore = DER.generalizedTime("19000101000000Z")
            recipe.notAfter = DER.generalizedTime("99991231235959Z")
        }
        let device = root.device { recipe in
            recipe.notBefore = notBefore
            recipe.notAfter = notAfter
        }
        return World(root, chain: [device], instant: instant)
    }

    @Test(arguments: years) func aYearIsReadAsItIsWritten(situation: Situation) { expectVerdict(situation) }
}
