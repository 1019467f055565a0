import CCareg
import Foundation
import Glibc
import Testing
import TrustMap

@Suite struct MovingOverTests {
    /// Says "nobody answers" at once: there is no daemon in these tests.
    private func verify(_ handle: Handle, _ number: Int) -> Answer { handle.verify(certificate(number)) }

    @Test func aSupersededMapSaysNothingAndVerifyMovesOver() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        writer.put(device(1), revision: 2)
        let handle = try Handle(place, timeoutMilliseconds: 2_000)
        let (_, session) = handle.session(checking: certificate(1))
        let before = handle.changes()

        let next = try place.makeWriter()
        #expect(handle.check(1).code == CAREG_NOT_IN_MAP)
        #expect(handle.check(session).code == CAREG_NOT_IN_MAP)
        #expect(handle.changes().code == CAREG_NOT_IN_MAP)
        #expect(handle.changes().statuses != before.statuses)
        next.put(device(1), revision: 3)
        let moved = verify(handle, 1)
        #expect(moved.isTrusted && moved.source == UInt32(CAREG_SOURCE_MAP), "\(moved)")
        #expect(handle.check(1).isTrusted)
        // A session outlives its map.
        #expect(handle.check(session).isTrusted)
        #expect(handle.changes().statuses != before.statuses)
        next.update(revision: 4) { _ = $0.setPathStatus(1, .refused(reason: 8)) }
        #expect(handle.check(session).reason == UInt32(CAREG_REASON_CA_INACTIVE))
    }

    @Test func aMapThatGrowsIsFollowed() throws {
        let place = try Place()
        let writer = try place.makeWriter(deviceSlots: 16)
        let handle = try Handle(place, timeoutMilliseconds: 2_000)
        var sessions: [careg_session] = []
        for number in 0..<2_000 {
            writer.put(device(number), revision: UInt64(number + 2))
            if writer.needsGrowth {
                #expect(try writer.grow())
                // What found no room before.
                writer.put(device(number), revision: nil)
            }
            let (answer, session) = handle.session(verifying: [certificate(number)])
            #expect(answer.isTrusted, "\(number): \(answer)")
            sessions.append(session)
        }
        #expect(sessions.allSatisfy { handle.check($0).isTrusted })
        writer.update(revision: 5_000) { _ = $0.setPathStatus(1, .refused(reason: 8)) }
        #expect(sessions.allSatisfy { handle.check($0).reason == 8 })
    }

    @Test func aMapThatComesLaterIsFound() throws {
        let place = try Place()
        let handle = try Handle(place)
        #expect(handle.check(1).code == CAREG_NOT_IN_MAP)
        #expect(handle.changes().code == CAREG_NOT_IN_MAP)
        #expect(verify(handle, 1).code == CAREG_E_UNAVAILABLE)
        let writer = try place.makeWriter()
        writer.put(device(1), revision: 2)
        try eventually { verify(handle, 1).isTrusted }
        #expect(handle.check(1).isTrusted)
    }

    @Test func aMapThatWentStaleGivesWayToTheNextOneAtItsPlace() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        writer.put(device(1), revision: 2)
        let handle = try Handle(place)
        #expect(handle.check(1).isTrusted)
        // The runtime folder was emptied: the old file cannot be marked by the next daemon.
        try place.age(milliseconds: 10_000)
        try FileManager.default.removeItem(atPath: place.map)
        let next = try place.makeWriter()
        next.put(device(1, .refused(reason: 17)), revision: 3)
        try eventually { verify(handle, 1).reason == UInt32(CAREG_REASON_DEVICE_INACTIVE) }
        withExtendedLifetime(writer) {}
    }

    @Test func aSupersededMapWithoutASuccessorIsWaitedForUntilTheDeadline() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        writer.put(device(1), revision: 2)
        let handle = try Handle(place, timeoutMilliseconds: 60_000)
        #expect(handle.check(1).isTrusted)
        #expect(TrustMapWriter.markSuperseded(path: place.map) == .superseded)
        // The next daemon publishes its map while a caller waits for it.
        let thread = Thread {
            while handle.check(1).code != CAREG_NOT_IN_MAP {}
            guard let next = try? place.makeWriter() else { return }
            next.put(device(1), revision: 3)
            next.heartbeat()
        }
        thread.start()
        try eventually { verify(handle, 1).isTrusted }
        withExtendedLifetime(writer) {}
    }

    @Test func aGroupsMapIsFoundWhereTheGeneralOneLacksTheInstance() throws {
        let place = try Place()
        let general = try place.makeWriter(instance: "others")
        let group = try place.makeWriter(name: "trust.brokers.map", instance: "plant")
        group.put(device(1), revision: 2)
        try "no map".write(toFile: place.path("trust.x.map"), atomically: true, encoding: .utf8)
        #expect(try Handle(place).check(1).isTrusted)
        #expect(try Handle(place, map: "trust.brokers.map").check(1).isTrusted)
        #expect(try Handle(place, map: "trust.map").check(1).code == CAREG_NOT_IN_MAP)
        #expect(try Handle(place, map: "trust.x.map").check(1).code == CAREG_E_TRUNCATED)
        withExtendedLifetime(general) {}
    }

    @Test func anInstanceThatMovesToAGroupsMapIsFollowed() throws {
        let place = try Place()
        let general = try place.makeWriter()
        general.put(device(1), revision: 2)
        let handle = try Handle(place)
        #expect(handle.check(1).isTrusted)
        general.update(revision: 3) { $0.removeInstance("plant") }
        let group = try place.makeWriter(name: "trust.brokers.map")
        group.put(device(1), revision: 3)
        // The search goes on once a second as long as there is a good map.
        try eventually { verify(handle, 1).isTrusted }
        #expect(handle.check(1).isTrusted)
    }

    @Test func manyReplacementsLeakNoMemoryOfMaps() throws {
        let place = try Place()
        var writer = try place.makeWriter()
        let handle = try Handle(place, timeoutMilliseconds: 5_000)
        for round in 0..<400 {
            writer = try place.makeWriter()
            writer.put(device(round), revision: 2)
            #expect(verify(handle, round).isTrusted)
        }
        let maps = try run("cat", ["/proc/\(getpid())/maps"]).output
        let held = maps.split(separator: "\n").filter { $0.contains(place.folder) && $0.contains("r--s") }
        #expect(held.count == 1, "\(held)")
    }
}

/// Waits until something holds, bounded.
func eventually(
    seconds: Double = 30, _ condition: () throws -> Bool, sourceLocation: SourceLocation = #_sourceLocation
) throws {
    let deadline = Date(timeIntervalSinceNow: seconds)
    while try !condition() {
        guard Date() < deadline else {
            Issue.record("not within \(seconds) s", sourceLocation: sourceLocation)
            return
        }
    }
}
