import Foundation
import TestPKI
import Testing

/// Clients change everything there is to change while the daemon is killed: what was acknowledged is there afterwards, and
/// what was not is there whole or not at all.
@Suite(.serialized) struct KillTests {
    private static let rounds = ProcessInfo.processInfo.environment["CAREG_KILL_ROUNDS"].flatMap { Int($0) } ?? 20
    /// A registry is killed so often before a new one begins: the log that is walked each time stays short.
    private static let roundsPerRegistry = 25

    @Test func nothingThatWasAcknowledgedIsLostByAKillAtAnyInstant() throws {
        let seed = TestSeed.start(otherwise: 20_251_126)
        print("kill: CAREG_TEST_SEED=\(seed) CAREG_KILL_ROUNDS=\(Self.rounds)")
        var generator = SeededGenerator(seed: seed)
        var figures = KillFigures()
        // Both ends of an unanswered call must be seen: chance may want a few rounds more for that.
        func isEnough() -> Bool {
            figures.rounds >= Self.rounds && figures.failed > 0 && figures.failedButPersisted > 0
                || figures.rounds >= Self.rounds * 4
        }
        while !isEnough() {
            var estate = try KillEstate(figures: figures)
            repeat {
                do {
                    try estate.round(&generator)
                } catch {
                    Issue.record("CAREG_TEST_SEED=\(seed), round \(estate.figures.rounds): \(error)")
                    return
                }
                figures = estate.figures
            } while figures.rounds % Self.roundsPerRegistry != 0 && !isEnough()
        }
        print("kill: \(figures)")
        #expect(figures.failed > 0 && figures.failedButPersisted > 0, "both were to be seen: \(figures)")
        #expect(figures.acknowledged > 0, "\(figures)")
    }
}
