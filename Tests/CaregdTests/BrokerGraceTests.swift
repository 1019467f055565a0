import Foundation
import Testing
import TrustMap

@testable import caregd

/// How long a daemon that starts must keep its hands off the registry.
@Suite struct BrokerGraceTests {
    private let staleness = 60_000

    private func grace(_ place: Place) -> BrokerGrace {
        BrokerGrace(
            stateFolder: place.path, own: [place.path + "/trust.map"], stalenessMilliseconds: staleness)
    }

    private func makeMap(_ place: Place) throws -> TrustMapReader {
        _ = try TrustMapWriter(TrustMapConfiguration(path: place.path + "/trust.map"))
        return try TrustMapReader(path: place.path + "/trust.map")
    }

    @Test func aFreshFolderWaitsForNothing() throws {
        #expect(grace(try Place()).endMilliseconds == nil)
    }

    @Test func aMapThatIsFoundIsSupersededAndNothingWaits() throws {
        let place = try Place()
        let map = try makeMap(place)
        try grace(place).note(
            maps: [place.path + "/trust.map"], stalenessMilliseconds: staleness, isStopping: false)
        // That one marked it, as a start does; a daemon's map is made after it.
        let second = try makeMap(place)
        #expect(grace(place).endMilliseconds == nil)
        #expect(map.isSuperseded && second.isSuperseded)
    }

    @Test func aMapThatIsGoneAfterACrashIsWaitedForAsLongAsBrokersMayBelieveIt() throws {
        let place = try Place()
        try grace(place).note(
            maps: [place.path + "/trust.map"], stalenessMilliseconds: staleness, isStopping: false)
        let before = BrokerGrace.nowMilliseconds
        let end = try #require(grace(place).endMilliseconds)
        #expect(end >= before + UInt64(staleness))
    }

    @Test func aMapThatIsGoneAfterACleanStopIsWaitedForFromThatStopOn() throws {
        let place = try Place()
        let stop = BrokerGrace.nowMilliseconds
        try grace(place).note(
            maps: ["/nonexistent/trust.map"], stalenessMilliseconds: staleness, isStopping: true)
        let end = try #require(grace(place).endMilliseconds)
        #expect(end >= stop + UInt64(staleness) && end <= BrokerGrace.nowMilliseconds + UInt64(staleness))
        try grace(place).note(maps: ["/nonexistent/trust.map"], stalenessMilliseconds: 0, isStopping: true)
        #expect(grace(place).endMilliseconds == nil, "the stop was long enough ago")
    }

    @Test func theMapOfAnotherBootIsStaleWhateverItSays() throws {
        let place = try Place()
        let record = BrokerGrace.Record(
            boot: "another", stalenessMilliseconds: 60_000, maps: ["/nonexistent/trust.map"])
        try place.write(record.text, to: "brokers")
        #expect(grace(place).endMilliseconds == nil)
        #expect(BrokerGrace.Record(text: record.text) == record)
    }

    @Test func whatIsNoMapAndStandsInItsPlaceIsWaitedFor() throws {
        let place = try Place()
        try place.write(String(repeating: "x", count: 64), to: "trust.map")
        #expect(grace(place).endMilliseconds != nil)
    }
}
