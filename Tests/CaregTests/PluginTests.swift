import CCareg
import Foundation
import Glibc
import Testing
import TrustMap

/// The plugin in a program that does what Mosquitto does to it.
@Suite(.enabled(if: isLibraryLoadable)) struct PluginTests {
    /// Mosquitto's numbers.
    private static let success = 0
    private static let refused = 11
    private static let denied = 12
    private static let passed = 17
    private static let read = 1
    private static let write = 2
    private static let subscribe = 4

    /// One program that stands for a broker, in a runtime folder with a map.
    private final class Broker {
        let place: Place
        private let process = Process()
        private let input = Pipe()
        private let output = Pipe()
        private var buffered = Data()

        init(_ place: Place) throws {
            self.place = place
            let built = try compile(program("broker.c"), into: place.folder, ["-ldl", "-lcrypto", "-rdynamic"])
            process.executableURL = URL(fileURLWithPath: built)
            process.standardInput = input
            process.standardOutput = output
            try process.run()
        }

        deinit {
            // A runner's threads hold signals back, and so may their children.
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }

        /// Says a line; gives what comes back before the dot.
        @discardableResult
        func say(_ line: String) throws -> [String] {
            try input.fileHandleForWriting.write(contentsOf: Data("\(line)\n".utf8))
            var lines: [String] = []
            while true {
                while let end = buffered.firstIndex(of: 0x0a) {
                    let text = String(decoding: buffered[..<end], as: UTF8.self)
                    buffered = Data(buffered[buffered.index(after: end)...])
                    if text == "." { return lines }
                    lines.append(text)
                }
                let more = output.fileHandleForReading.availableData
                guard !more.isEmpty else { throw TestFailure("the broker is gone after `\(line)`: \(lines)") }
                buffered += more
            }
        }

        @discardableResult
        func load(_ options: String = "") throws -> [String] {
            try say("load \(productFolder)/libmosquitto_careg.so instance=plant runtime_dir=\(place.folder) \(options)")
        }

        func auth(_ client: String) throws -> Int { try number(say("auth \(client)"), "auth") }

        func acl(_ client: String, _ access: Int) throws -> Int { try number(say("acl \(client) \(access)"), "acl") }

        private func number(_ lines: [String], _ word: String) throws -> Int {
            let line = try #require(lines.last)
            return try #require(Int(line.dropFirst(word.count + 1)), "\(lines)")
        }
    }

    /// A certificate that OpenSSL reads, and the device that the map has for it.
    private struct Shown {
        let path: String
        let fingerprint: MapFingerprint

        init(_ place: Place, _ name: String, serial: String = "0x0b77") throws {
            path = place.path("\(name).pem")
            let result = try run(
                "openssl",
                [
                    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=\(name)", "-set_serial", serial, "-keyout", "/dev/null", "-out", path,
                ])
            guard result.exit == 0 else { throw TestFailure(result.description) }
            let der = place.path("\(name).der")
            try run("openssl", ["x509", "-in", path, "-outform", "der", "-out", der])
            let bytes = try Data(contentsOf: URL(fileURLWithPath: der))
            fingerprint = try #require(MapFingerprint(digest: digest(Array(bytes))))
        }

        func device(_ status: TrustMapStatus = .trusted, period: TrustMapPeriod = .always) -> TrustMapDevice {
            TrustMapDevice(instanceID: "plant", fingerprint: fingerprint, path: 1, period: period, status: status)
        }
    }

    @Test func aTrustedDeviceConnectsAndIsCutOffWhenItIsNotTrustedAnyMore() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        let pump = try Shown(place, "pump")
        let fan = try Shown(place, "fan")
        writer.put(pump.device(), revision: 2)
        writer.put(fan.device(), revision: 3)
        let broker = try Broker(place)
        let start = try broker.load()
        #expect(start.prefix(1) == ["version 5 -1"] && start.last == "init 0", "\(start)")
        #expect(start.contains { $0.contains("instance plant") && $0.contains("closed on failure") })
        try broker.say("client pump 4 \(pump.path)")
        try broker.say("client fan 4 \(fan.path)")
        #expect(try broker.auth("pump") == Self.passed)
        #expect(try broker.auth("fan") == Self.passed)
        for access in [1, 2, 4, 8] { #expect(try broker.acl("pump", access) == Self.passed) }
        #expect(try broker.say("tick") == [])

        writer.update(revision: 4) { _ = $0.setDeviceStatus(pump.fingerprint, of: "plant", .refused(reason: 17)) }
        // Before any tick: a message is refused at once, and the log says so once.
        let lines = try broker.say("acl pump \(Self.write)")
        #expect(
            lines == ["log 2 careg: client pump refused: DEVICE_INACTIVE, ca sn 0a1b, device sn 0b77", "acl 12"])
        #expect(try broker.say("acl pump \(Self.write)") == ["acl 12"])
        #expect(try broker.acl("fan", Self.write) == Self.passed)
        // The broker asks whether it may keep its subscriptions: that is not the plugin's to say.
        #expect(try broker.say("tick") == ["kick pump will 0 subscribe 17"])
        #expect(try broker.say("tick") == [])
        #expect(try broker.acl("fan", Self.read) == Self.passed)

        writer.update(revision: 5) { _ = $0.setPathStatus(1, .refused(reason: 8)) }
        #expect(
            try broker.say("tick") == [
                "log 2 careg: client fan cut off: CA_INACTIVE, ca sn 0a1b, device sn 0b77",
                "kick fan will 0 subscribe 17",
            ])
        try broker.say("free pump")
        try broker.say("client pump 4 \(fan.path)")
        #expect(try broker.auth("pump") == Self.refused)
        writer.update(revision: 6) { _ = $0.setPathStatus(1, .trusted) }
        #expect(try broker.auth("pump") == Self.passed)
        #expect(try broker.say("unload") == ["cleanup 0"])
    }

    @Test(arguments: [("defer", 17, 17), ("connect", 0, 17), ("allow", 0, 0)])
    func whatATrustedClientGetsIsAnOption(choice: String, connect: Int, access: Int) throws {
        let place = try Place()
        let writer = try place.makeWriter()
        let pump = try Shown(place, "pump")
        writer.put(pump.device(), revision: 2)
        let broker = try Broker(place)
        try broker.load("when_trusted=\(choice)")
        try broker.say("client pump 4 \(pump.path)")
        #expect(try broker.auth("pump") == connect)
        #expect(try broker.acl("pump", Self.write) == access)
        writer.update(revision: 3) { _ = $0.setPathStatus(1, .refused(reason: 8)) }
        #expect(try broker.acl("pump", Self.write) == Self.denied)
        #expect(try broker.auth("pump") == Self.refused)
    }

    @Test func aClientThatConnectWasNotAskedAboutIsDecidedOnByWhatItDoes() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        let good = try Shown(place, "good")
        let bad = try Shown(place, "bad", serial: "-12345")
        writer.put(good.device(), revision: 2)
        writer.put(bad.device(.refused(reason: 20)), revision: 3)
        let broker = try Broker(place)
        try broker.load()
        // As with use_identity_as_username: no question at CONNECT.
        try broker.say("client good 4 \(good.path)")
        try broker.say("client bad 4 \(bad.path)")
        #expect(try broker.acl("good", Self.subscribe) == Self.passed)
        let lines = try broker.say("acl bad \(Self.read)")
        #expect(lines == ["log 2 careg: client bad refused: DEVICE_DELETED, ca sn 0a1b, device sn -3039", "acl 12"])
        #expect(try broker.say("tick") == ["kick bad will 0 subscribe 17"])
        #expect(try broker.acl("good", Self.write) == Self.passed)
    }

    @Test func anAddressThatIsUsedAgainIsNobodysTrust() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        let good = try Shown(place, "good")
        let bad = try Shown(place, "bad")
        writer.put(good.device(), revision: 2)
        writer.put(bad.device(.refused(reason: 17)), revision: 3)
        let broker = try Broker(place)
        try broker.load()
        try broker.say("client same 4 \(good.path)")
        #expect(try broker.auth("same") == Self.passed)
        #expect(try broker.acl("same", Self.write) == Self.passed)
        // Freed without a word, and taken by another client of the same name that CONNECT is not asked about.
        try broker.say("free same")
        try broker.say("client same 4 \(bad.path)")
        #expect(try broker.acl("same", Self.write) == Self.denied)
        try broker.say("show same \(good.path)")
        #expect(try broker.acl("same", Self.write) == Self.passed)
        try broker.say("show same -")
        #expect(
            try broker.acl("same", Self.subscribe) == Self.passed, "the will or the session of a client that is gone")
        try broker.say("free same")
        try broker.say("client other 4 -")
        #expect(try broker.acl("other", Self.write) == Self.denied)
    }

    @Test func clientsThatAreGoneHaveTheirLastWillsDecidedOn() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        let good = try Shown(place, "good")
        let other = try Shown(place, "other")
        writer.put(good.device(), revision: 2)
        writer.put(other.device(), revision: 2)
        let broker = try Broker(place)
        try broker.load()
        for (name, protocolVersion, shown) in [("a", 4, good), ("b", 5, good), ("c", 4, other)] {
            try broker.say("client \(name) \(protocolVersion) \(shown.path)")
            #expect(try broker.auth(name) == Self.passed)
        }
        writer.update(revision: 3) { _ = $0.setDeviceStatus(other.fingerprint, of: "plant", .refused(reason: 17)) }
        for name in ["a", "b", "c"] { try broker.say("drop \(name)") }
        #expect(try broker.acl("a", Self.write) == Self.passed)
        #expect(try broker.acl("c", Self.write) == Self.denied)
        try broker.say("tick")
        #expect(try broker.acl("a", Self.write) == Self.denied, "its will came long ago")
        #expect(try broker.acl("b", Self.write) == Self.passed, "MQTT 5 has wills that come later")
        writer.update(revision: 4) { _ = $0.setPathStatus(1, .refused(reason: 8)) }
        #expect(try broker.acl("b", Self.write) == Self.denied)
        #expect(try broker.say("tick").filter { $0.hasPrefix("kick") } == [], "nobody is left to be cut off")
    }

    @Test func messagesForClientsThatAreAwayAndRetainedOnesAreLeftToTheBroker() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        let broker = try Broker(place)
        try broker.load()
        // A persistent session that the broker has read from its disk.
        try broker.say("client away 4 -")
        #expect(try broker.acl("away", Self.read) == Self.passed)
        #expect(try broker.acl("away", Self.write) == Self.denied)
        #expect(try broker.acl("away", Self.subscribe) == Self.denied)
        // What check_retain_source makes up to ask about the publisher of a retained message.
        try broker.say("client source 0 -")
        #expect(try broker.acl("source", Self.write) == Self.passed)
        withExtendedLifetime(writer) {}
    }

    @Test func aClientWithoutACertificateIsRefusedUnlessTheOptionSaysOtherwise() throws {
        let place = try Place()
        let broker = try Broker(place)
        try broker.load()
        try broker.say("client local 4 -")
        let lines = try broker.say("auth local")
        #expect(lines == ["log 2 careg: client local refused: it has shown no certificate", "auth 11"])
        let lenient = try Broker(try Place())
        try lenient.load("without_certificate=defer")
        try lenient.say("client local 4 -")
        #expect(try lenient.auth("local") == Self.passed)
        #expect(try lenient.acl("local", Self.write) == Self.passed)
    }

    @Test func whatAClientWithoutACertificateReadsIsTheBrokersToAllow() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        let broker = try Broker(place)
        try broker.load("without_certificate=defer when_trusted=allow")
        try broker.say("client local 4 -")
        try broker.say("client away 4 -")
        #expect(try broker.auth("local") == Self.passed)
        // Its subscription to everything gets what acl_file lets it read, no more.
        for access in [Self.read, Self.write, Self.subscribe] {
            #expect(try broker.acl("local", access) == Self.passed)
        }
        // What is queued for a session that is away is kept.
        #expect(try broker.acl("away", Self.read) == 0)
        try broker.say("drop local")
        #expect(try broker.auth("local") == Self.passed)
        #expect(try broker.acl("local", Self.read) == Self.passed)
        withExtendedLifetime(writer) {}
    }

    @Test func whereNobodyAnswersItIsClosedUnlessTheOptionSaysOtherwise() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        let known = try Shown(place, "known")
        let barred = try Shown(place, "barred")
        let unknown = try Shown(place, "unknown")
        writer.put(known.device(), revision: 2)
        writer.put(barred.device(.refused(reason: 17)), revision: 3)
        let closed = try Broker(place)
        try closed.load("staleness_ms=60000")
        let open = try Broker(place)
        try open.load("staleness_ms=60000 on_failure=open")
        for broker in [closed, open] {
            try broker.say("client known 4 \(known.path)")
            try broker.say("client barred 4 \(barred.path)")
            try broker.say("client unknown 4 \(unknown.path)")
            #expect(try broker.auth("known") == Self.passed)
            #expect(try broker.auth("barred") == Self.refused)
        }
        let lines = try closed.say("auth unknown")
        #expect(
            lines == [
                "log 4 careg: the daemon does not answer (CAREG_E_UNAVAILABLE): who cannot be decided on is refused",
                "log 2 careg: client unknown refused: CAREG_E_UNAVAILABLE, ca sn unknown, device sn 0b77", "auth 11",
            ])
        #expect(try open.auth("unknown") == Self.passed)
        #expect(try open.acl("unknown", Self.write) == Self.passed)

        try place.age(milliseconds: 61_000)
        for broker in [closed, open] { #expect(try broker.auth("barred") == Self.refused, "stale or not") }
        #expect(try closed.acl("known", Self.write) == Self.denied)
        #expect(try closed.say("tick") == ["kick known will 0 subscribe 17"])
        try closed.say("show known \(known.path)")
        #expect(try closed.say("auth known").contains { $0.contains("client known refused: CAREG_E_STALE") })
        #expect(try open.acl("known", Self.write) == Self.passed)
        #expect(try open.say("tick") == [])
        #expect(try open.auth("known") == Self.passed)

        // It answers again: all is well, and whoever was let in unseen is looked at.
        let daemon = try FakeDaemon(place) { _, _ in .response(Protobuf.verdict(reason: 6)) }
        defer { daemon.stop() }
        writer.heartbeat()
        #expect(try closed.auth("known") == Self.passed)
        var seen: [String] = []
        try eventually {
            writer.heartbeat()
            seen += try open.say("tick")
            return seen.contains("kick unknown will 0 subscribe 17")
        }
        #expect(seen.contains("log 2 careg: the daemon answers again"), "\(seen)")
        #expect(try open.acl("known", Self.write) == Self.passed)
    }

    @Test func aMapThatIsReplacedCutsNobodyOff() throws {
        let place = try Place()
        var writer = try place.makeWriter()
        let pump = try Shown(place, "pump")
        writer.put(pump.device(), revision: 2)
        let broker = try Broker(place)
        try broker.load("timeout_ms=50")
        try broker.say("client pump 4 \(pump.path)")
        #expect(try broker.auth("pump") == Self.passed)
        // A daemon that starts: its predecessor's map is marked, and its own is not there yet.
        #expect(TrustMapWriter.markSuperseded(path: place.map) == .superseded)
        #expect(try broker.say("tick").filter { $0.hasPrefix("kick") } == [])
        #expect(try broker.acl("pump", Self.write) == Self.denied, "nobody can tell: not let through")
        #expect(try broker.say("tick").filter { $0.hasPrefix("kick") } == [])
        writer = try place.makeWriter()
        writer.put(pump.device(), revision: 3)
        try eventually {
            writer.heartbeat()
            return try broker.acl("pump", Self.write) == Self.passed
        }
        #expect(try broker.say("tick").filter { $0.hasPrefix("kick") } == [])
        writer.update(revision: 4) { _ = $0.setPathStatus(1, .refused(reason: 8)) }
        #expect(try broker.say("tick").last == "kick pump will 0 subscribe 17")
    }

    @Test func aDeviceThatTheMapDoesNotHoldIsLookedAtWhenTheRegistryChanges() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        let pump = try Shown(place, "pump")
        writer.update(revision: 7) { _ in }
        let daemon = try FakeDaemon(place) { _, number in
            .response(Protobuf.verdict(reason: number == 0 ? 1 : 17, revision: UInt64(7 + number)))
        }
        defer { daemon.stop() }
        let broker = try Broker(place)
        try broker.load()
        try broker.say("client pump 4 \(pump.path)")
        #expect(try broker.auth("pump") == Self.passed)
        for _ in 0..<100 {
            #expect(try broker.acl("pump", Self.write) == Self.passed)
            #expect(try broker.say("tick") == [])
        }
        #expect(daemon.questions.count == 1, "nothing has changed: nobody is asked")
        writer.update(revision: 8) { _ in }
        #expect(try broker.say("tick").last == "kick pump will 0 subscribe 17")
    }

    @Test func timeAloneCutsOff() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        let pump = try Shown(place, "pump")
        let broker = try Broker(place)
        try broker.load()
        let end = Int64(Date().timeIntervalSince1970) + 2
        writer.put(pump.device(period: TrustMapPeriod(notBefore: 0, notAfter: end)), revision: 2)
        writer.heartbeat()
        try broker.say("client pump 4 \(pump.path)")
        #expect(try broker.auth("pump") == Self.passed)
        #expect(try broker.say("tick") == [])
        var seen: [String] = []
        try eventually {
            writer.heartbeat()
            seen = try broker.say("tick")
            return !seen.isEmpty
        }
        #expect(
            seen == [
                "log 2 careg: client pump cut off: DEVICE_EXPIRED, ca sn 0a1b, device sn 0b77",
                "kick pump will 0 subscribe 17",
            ])
    }

    @Test(arguments: [
        "staleness_ms=abc", "staleness_ms=0", "staleness_ms=3600001", "on_failure=maybe", "when_trusted=yes",
        "without_certificate=ok", "timeout_ms=-1", "tiemout_ms=1", "instance=a/b", "map=../x",
    ])
    func anOptionThatMakesNoSenseKeepsTheBrokerFromStarting(option: String) throws {
        let broker = try Broker(try Place())
        let lines = try broker.load(option)
        #expect(lines.last == "init 3", "\(lines)")
        #expect(lines.contains { $0.hasPrefix("log 8 careg: ") })
    }

    @Test func manyClientsComeAndGo() throws {
        let place = try Place()
        let writer = try place.makeWriter()
        let shown = try (0..<4).map { try Shown(place, "device\($0)") }
        for device in shown { writer.put(device.device(), revision: 2) }
        let broker = try Broker(place)
        try broker.load()
        var generator = SeededGenerator(seed: 7)
        var online: [String: Int] = [:]
        for round in 0..<2_000 {
            let name = "client\(Int.random(in: 0..<12, using: &generator))"
            if let device = online[name] {
                #expect(try broker.acl(name, Self.write) == Self.passed)
                if round % 3 == 0 {
                    try broker.say("drop \(name)")
                    try broker.say("free \(name)")
                    online[name] = nil
                } else if round % 50 == 1 {
                    writer.put(shown[device].device(.refused(reason: 17)), revision: UInt64(round + 3))
                    let kicked = try broker.say("tick").filter { $0.hasPrefix("kick") }
                    let expected = online.filter { $0.value == device }.keys.map { "kick \($0) will 0 subscribe 17" }
                    #expect(Set(kicked) == Set(expected) && kicked.count == expected.count)
                    for other in online.filter({ $0.value == device }).keys {
                        try broker.say("free \(other)")
                        online[other] = nil
                    }
                    writer.put(shown[device].device(), revision: UInt64(round + 3))
                }
            } else {
                let device = Int.random(in: 0..<shown.count, using: &generator)
                try broker.say("client \(name) \(4 + round % 2) \(shown[device].path)")
                if round % 4 != 0 { #expect(try broker.auth(name) == Self.passed) }
                #expect(try broker.acl(name, Self.subscribe) == Self.passed)
                online[name] = device
            }
            if round % 7 == 0 { #expect(try broker.say("tick") == []) }
            writer.heartbeat()
        }
        #expect(try broker.say("unload") == ["cleanup 0"])
    }
}
