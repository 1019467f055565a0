import CCareg
import CCaregSystem
import Foundation
import Testing
import TrustMap

@Suite struct CheckTests {
    @Test func aKnownDeviceIsAnsweredWithAllThatAVerdictHas() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        let period = TrustMapPeriod(notBefore: 0, notAfter: 3_000_000_000)
        writer.put(device(1, period: period), revision: 7)
        let answer = try Handle(place).check(1)
        #expect(answer.isTrusted, "\(answer)")
        #expect(answer.serial == "0a1b")
        #expect(answer.validUntil == 3_000_000_001)
        #expect(answer.revision == 7)
        #expect(answer.source == UInt32(CAREG_SOURCE_MAP))
    }

    @Test func aDeviceThatIsNotInTheMapIsNeitherAYesNorANo() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        writer.put(device(1), revision: 2)
        let handle = try Handle(place)
        #expect(handle.check(2).code == CAREG_NOT_IN_MAP)
        #expect(handle.check([]).code == CAREG_NOT_IN_MAP)
        #expect(try Handle(place, instance: "other").check(1).code == CAREG_NOT_IN_MAP)
    }

    @Test func aChangeThatHasReturnedIsInTheNextAnswer() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        let device = device(1)
        writer.update(revision: 2) { _ = $0.addDevice(device) }
        let handle = try Handle(place)
        let (first, session) = handle.session(checking: certificate(1))
        #expect(first.isTrusted)
        for revision in UInt64(3)...200 {
            let isRefused = revision % 2 == 1
            writer.update(revision: revision) {
                _ = $0.setPathStatus(1, isRefused ? .refused(reason: 8) : .trusted)
            }
            let expected: UInt32 = isRefused ? 8 : 1
            #expect(handle.check(1).reason == expected)
            #expect(handle.check(session).reason == expected)
        }
        writer.update(revision: 201) { _ = $0.setDeviceStatus(device.fingerprint, of: "plant", .refused(reason: 17)) }
        #expect(handle.check(1).reason == UInt32(CAREG_REASON_DEVICE_INACTIVE))
        #expect(handle.check(session).reason == UInt32(CAREG_REASON_DEVICE_INACTIVE))
    }

    @Test func wordsThatAskAreNotAnswered() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        writer.put(device(1), revision: 2)
        let handle = try Handle(place)
        let session = handle.session(checking: certificate(1)).session
        writer.update(revision: 3) { _ = $0.setPathStatus(1, .ask) }
        #expect(handle.check(1).code == CAREG_NOT_IN_MAP)
        #expect(handle.check(session).code == CAREG_NOT_IN_MAP)
        writer.update(revision: 4) { update in
            _ = update.setPathStatus(1, .trusted)
            update.removeInstance("plant")
        }
        #expect(handle.check(1).code == CAREG_NOT_IN_MAP)
        #expect(handle.check(session).code == CAREG_NOT_IN_MAP)
    }

    @Test func bothEndsBelongToAPeriod() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        let now = careg_system_seconds()
        let periods = [(1, now - 100, now - 10), (2, now + 1000, now + 2000), (3, now - 10, now + 1000)]
        for (number, start, end) in periods {
            let period = TrustMapPeriod(notBefore: start, notAfter: end)
            writer.put(device(number, period: period), revision: 2)
        }
        let handle = try Handle(place)
        #expect(handle.check(1).reason == UInt32(CAREG_REASON_DEVICE_EXPIRED))
        #expect(handle.check(2).reason == UInt32(CAREG_REASON_DEVICE_NOT_YET_VALID))
        #expect(handle.check(3).isTrusted)
    }

    @Test func aStaleMapDecidesNothing() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        writer.put(device(1), revision: 2)
        let handle = try Handle(place)
        let session = handle.session(checking: certificate(1)).session
        let fresh = handle.changes()
        #expect(fresh.code == CAREG_ANSWERED)
        try place.age(milliseconds: 5_100)
        #expect(handle.check(1).code == CAREG_E_STALE)
        #expect(handle.check(session).code == CAREG_E_STALE)
        let stale = handle.changes()
        #expect(stale.code == CAREG_E_STALE && stale.statuses != fresh.statuses)
        // One of the future is no sign of life either.
        try place.store(careg_system_nanoseconds() + 1_000_000_000_000, at: 208)
        #expect(handle.check(1).code == CAREG_E_STALE)
        writer.heartbeat()
        #expect(handle.check(1).isTrusted)
        #expect(handle.check(session).isTrusted)
        #expect(handle.changes().statuses == fresh.statuses)
    }

    @Test(arguments: [1, 2_000, 59_000])
    func theStalenessLimitIsTheHandlesOwn(limit: Int) throws {
        let place = try Place()
        let writer = try place.makeWriter()
        writer.put(device(1), revision: 2)
        let handle = try Handle(place, stalenessMilliseconds: UInt32(limit))
        try place.age(milliseconds: UInt64(limit) + 100)
        #expect(handle.check(1).code == CAREG_E_STALE)
        if limit > 1 {
            try place.age(milliseconds: UInt64(limit) - 1_000)
            #expect(handle.check(1).isTrusted)
        }
    }

    @Test func theMapsLongestStalenessCapsTheHandles() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        writer.put(device(1), revision: 2)
        let handle = try Handle(place, stalenessMilliseconds: 3_600_000)
        try place.age(milliseconds: 60_100)
        #expect(handle.check(1).code == CAREG_E_STALE)
    }

    @Test func aMapOfAnotherBootIsStale() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        writer.put(device(1), revision: 2)
        let bytes = try Data(contentsOf: URL(fileURLWithPath: place.map))
        try place.patchHeader(32, bytes[32] ^ 1)
        #expect(try Handle(place).check(1).code == CAREG_E_STALE)
    }

    @Test func aMapWhoseEpochStaysOddAsks() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        writer.put(device(1), revision: 2)
        let handle = try Handle(place)
        let session = handle.session(checking: certificate(1)).session
        // A daemon that died in the middle of a change.
        try place.store(7, at: 192)
        #expect(handle.check(1).code == CAREG_NOT_IN_MAP)
        #expect(handle.check(session).code == CAREG_NOT_IN_MAP)
    }

    @Test func everyKindOfBadMapHasAnErrorOfItsOwn() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        let good = try Data(contentsOf: URL(fileURLWithPath: place.map))
        func code(_ bytes: Data) throws -> Int32 {
            try bytes.write(to: URL(fileURLWithPath: place.map), options: .atomic)
            return try Handle(place).check(1).code
        }
        #expect(try code(Data()) == CAREG_E_TRUNCATED)
        #expect(try code(good.prefix(100)) == CAREG_E_TRUNCATED)
        #expect(try code(good.prefix(good.count - 1)) == CAREG_E_TRUNCATED)
        #expect(try code(Data("not a map, but a text that is longer than a header is ".utf8)) == CAREG_E_FOREIGN)
        #expect(try code(Data(repeating: 0, count: 100_000)) == CAREG_E_FOREIGN)
        var other = good
        other[8] = 200
        #expect(try code(other) == CAREG_E_LAYOUT)
        other = good
        other[64] ^= 1
        #expect(try code(other) == CAREG_E_DAMAGED)
        try good.write(to: URL(fileURLWithPath: place.map), options: .atomic)
        // An offset beyond the file, with a checksum that fits.
        try place.patchHeader(79, 0x7f)
        #expect(try Handle(place).check(1).code == CAREG_E_DAMAGED)
        try FileManager.default.removeItem(atPath: place.map)
        #expect(try Handle(place).check(1).code == CAREG_NOT_IN_MAP)
        try FileManager.default.createDirectory(atPath: place.map, withIntermediateDirectories: false)
        #expect(try Handle(place).check(1).code == CAREG_E_FOREIGN)
        withExtendedLifetime(writer) {}
    }

    @Test func argumentsThatMakeNoSenseAreRefused() throws {
        let place = try Place()
        for instance in ["", "a b", "plant/7", String(repeating: "a", count: 65), "ä"] {
            #expect(throws: TestFailure.self) { try Handle(place, instance: instance) }
        }
        #expect(throws: TestFailure.self) { try Handle(place, stalenessMilliseconds: 3_600_001) }
        #expect(throws: TestFailure.self) { try Handle(place, timeoutMilliseconds: 60_001) }
        #expect(throws: TestFailure.self) { try Handle(place, map: "../trust.map") }
        _ = try Handle(place, instance: String(repeating: "a", count: 64))

        var opened: OpaquePointer?
        #expect(unsafe careg_open(nil, &opened) == CAREG_E_ARGUMENT)
        var options = unsafe careg_options()
        #expect(unsafe careg_open(&options, &opened) == CAREG_E_ARGUMENT)
        #expect(unsafe careg_open(&options, nil) == CAREG_E_ARGUMENT)
        var verdict = careg_verdict()
        #expect(unsafe careg_check(nil, [1], 1, &verdict) == CAREG_E_ARGUMENT)
        #expect(unsafe careg_verify(nil, nil, nil, 0, &verdict) == CAREG_E_ARGUMENT)
        #expect(careg_session_check(nil, nil, nil) == CAREG_E_ARGUMENT)
        #expect(careg_changes(nil, nil, nil) == CAREG_E_ARGUMENT)
        careg_close(nil)
    }

    @Test func anOlderOptionsStructIsTakenAndAVerdictWithoutItsSizeIsNot() throws {
        let place = try Place()
        unsafe place.folder.withCString { folder in
            unsafe "plant".withCString { instance in
                var options = unsafe careg_options()
                unsafe options.size = 32
                unsafe options.runtime_dir = unsafe folder
                unsafe options.instance = unsafe instance
                // Beyond the size that was given: not to be looked at.
                unsafe options.map = UnsafePointer(bitPattern: 1)
                var handle: OpaquePointer?
                #expect(unsafe careg_open(&options, &handle) == CAREG_ANSWERED)
                var verdict = careg_verdict()
                #expect(unsafe careg_check(handle, [1], 1, &verdict) == CAREG_E_ARGUMENT)
                verdict.size = Handle.verdictSize
                #expect(unsafe careg_check(handle, nil, 1, &verdict) == CAREG_E_ARGUMENT)
                #expect(unsafe careg_check(handle, nil, 0, &verdict) == CAREG_NOT_IN_MAP)
                var session = careg_session()
                var reason: UInt32 = 0
                #expect(unsafe careg_session_check(handle, &session, &reason) == CAREG_E_ARGUMENT)
                unsafe careg_close(handle)
            }
        }
    }

    @Test func everyNumberHasAName() {
        let reasons = (0...22).map { number in
            unsafe careg_reason_name(UInt32(number)).map { unsafe String(cString: $0) }
        }
        #expect(Set(reasons).count == 22, "21 reasons, and one name for what is none")
        #expect(reasons[1] == "TRUSTED" && reasons[8] == "CA_INACTIVE" && reasons[21] == "DEVICE_SERIAL_REUSED")
        #expect(reasons[0] == "UNKNOWN" && reasons[22] == "UNKNOWN")
        let codes = (-14...2).map { number in unsafe careg_error_name(Int32(number)).map { unsafe String(cString: $0) }
        }
        #expect(Set(codes).count == 16)
        #expect(unsafe String(cString: careg_version()) == "1.0.0")
    }
}
