import Foundation
import Glibc
import Testing

/// The plugin in Debian's Mosquitto, with the real daemon: certificates in, sessions cut.
@Suite(.enabled(if: hasMosquitto), .serialized) struct MosquittoTests {
    private func expectConnected(
        _ client: MosquittoClient, _ broker: MosquittoBroker, _ options: String = "",
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let answer = try client.connect(options)
        #expect(answer == "new" || answer == "resumed", "\(broker.log.suffix(2000))", sourceLocation: sourceLocation)
    }

    private func isRefused(_ answer: String) -> Bool { answer.hasPrefix("refused ") || answer.hasPrefix("no tls") }

    /// Publishes until the subscriber hears it, or the publisher is refused.
    private func waitUntil(seconds: Double = 20, _ what: String, _ condition: () throws -> Bool) throws {
        let deadline = Date(timeIntervalSinceNow: seconds)
        while try !condition() {
            guard Date() < deadline else { throw TestFailure("not within \(seconds) s: \(what)") }
        }
    }

    @Test func theWholeLifeOfADevice() throws {
        let daemon = try Daemon()
        let shop = try CertificateShop()
        try daemon.createInstance("plant")
        let watchers = try shop.eccAuthority("Watchers CA")
        try daemon.register(watchers, with: "plant", from: shop)
        let broker = try MosquittoBroker(daemon, shop, "plugin_opt_when_trusted allow", "allow_anonymous false")
        let watcher = try MosquittoClient(try ShopDevice("watcher", by: watchers, from: shop), at: broker)
        try expectConnected(watcher, broker)
        #expect(try watcher.say("subscribe news/#") == "granted")

        let authority = try shop.eccAuthority("Pumps CA")
        let pump = try ShopDevice("pump", by: authority, from: shop)
        let client = try MosquittoClient(pump, at: broker)
        let before = try client.connect()
        transcript("before its CA certificate is registered, pump gets: \(before)")
        #expect(isRefused(before))

        try daemon.register(authority, with: "plant", from: shop)
        try expectConnected(client, broker)
        transcript("CA \(authority.serialNumber) registered while the broker runs: pump connects")
        let listed = try daemon.json("ca", "devices", authority.serialNumber)
        let serialNumbers = listed["deviceCertificates"]?.elements?.compactMap { $0["sn"]?.text } ?? []
        transcript("ca devices \(authority.serialNumber): \(serialNumbers)")
        try waitUntil("the registration") {
            let devices = try daemon.json("ca", "devices", authority.serialNumber)["deviceCertificates"]?.elements
            return devices?.compactMap { $0["sn"]?.text } == [pump.serialNumber]
        }
        #expect(try client.say("publish news/pump one") == "acknowledged")
        #expect(try watcher.say("message 20") == "message news/pump one")
        // The next connection resumes the TLS session of this one.
        #expect(try client.connect("resume") == "resumed", "\(broker.log.suffix(2000))")
        transcript("pump connects once more, with a resumed TLS session: works as long as it is trusted")

        try unregister(authority, daemon, broker, pump, client, watcher)
        try daemon.json("ca", "activate", authority.serialNumber)
        try expectConnected(client, broker, "resume")
        #expect(try client.say("publish news/pump three") == "acknowledged")
        #expect(try watcher.say("message 20") == "message news/pump three")
        transcript("Activate: pump connects, and its message arrives")
        try deactivateOne(pump, authority, daemon, broker, shop, client)
    }

    /// Unregister: a publish right after it, the live session, and new ones.
    private func unregister(
        _ authority: Authority, _ daemon: Daemon, _ broker: MosquittoBroker, _ pump: ShopDevice,
        _ client: MosquittoClient, _ watcher: MosquittoClient
    ) throws {
        try daemon.json("ca", "unregister", authority.serialNumber)
        let returned = monotonicMilliseconds()
        // The broker acknowledges what it drops (MQTT 3.1.1 knows no other answer), or has cut the session already.
        let answer = try client.say("publish news/pump two")
        try client.startWaitingForTheEnd()
        let end = try client.end()
        transcript(
            "Unregister has returned; pump publishes at once: \(answer.prefix(12)); session cut after "
                + "\(Int((end - returned).rounded())) ms")
        #expect(end - returned < 200, "\(end - returned) ms")
        #expect(try watcher.say("message 0.5") == "nothing", "a publish after Unregister")
        let resumed = try client.connect("resume")
        let fresh = try client.connect()
        transcript("pump connects again: \(fresh); with the resumed TLS session: \(resumed)")
        #expect(resumed == "refused 5" && fresh == "refused 5", "the handshake still succeeds, the plugin does not")
        #expect(
            broker.pluginLines.contains {
                $0.hasPrefix("careg: client pump ") && $0.contains("CA_INACTIVE")
                    && $0.contains("device sn \(pump.serialNumber)")
            }, "\(broker.pluginLines)")
    }

    private func deactivateOne(
        _ pump: ShopDevice, _ authority: Authority, _ daemon: Daemon, _ broker: MosquittoBroker,
        _ shop: CertificateShop, _ client: MosquittoClient
    ) throws {
        let fan = try ShopDevice("fan", by: authority, from: shop)
        let other = try MosquittoClient(fan, at: broker)
        try expectConnected(other, broker)
        try client.startWaitingForTheEnd()
        try daemon.json("device", "deactivate", authority.serialNumber, pump.serialNumber)
        let returned = monotonicMilliseconds()
        let took = try client.end() - returned
        #expect(took < 200, "\(took) ms")
        #expect(try client.connect() == "refused 5")
        #expect(try other.say("ping") == "alive")
        #expect(try other.say("publish news/fan still") == "acknowledged")
        transcript("device deactivate pump: cut after \(Int(took.rounded())) ms, and refused; fan goes on")
        #expect(
            broker.pluginLines.contains(
                "careg: client pump cut off: DEVICE_INACTIVE, ca sn \(authority.serialNumber), "
                    + "device sn \(pump.serialNumber)"), "\(broker.pluginLines)")
    }

    @Test func theDaemonDiesAndComesBack() throws {
        let daemon = try Daemon()
        let shop = try CertificateShop()
        try daemon.createInstance("plant")
        let authority = try shop.eccAuthority("CA")
        try daemon.register(authority, with: "plant", from: shop)
        let limit = 3_000.0
        let closed = try MosquittoBroker(
            daemon, shop, "plugin_opt_when_trusted allow", "plugin_opt_staleness_ms \(Int(limit))",
            "allow_anonymous false")
        let open = try MosquittoBroker(
            daemon, shop, "plugin_opt_when_trusted allow", "plugin_opt_staleness_ms \(Int(limit))",
            "plugin_opt_on_failure open", "allow_anonymous false")
        let pump = try ShopDevice("pump", by: authority, from: shop)
        let late = try ShopDevice("late", by: authority, from: shop)
        let client = try MosquittoClient(pump, at: closed)
        let lenient = try MosquittoClient(pump, at: open)
        let stranger = try MosquittoClient(late, at: closed)
        try expectConnected(client, closed)
        try expectConnected(lenient, open)

        try daemon.crash()
        let died = monotonicMilliseconds()
        try expectConnected(client, closed)
        #expect(try client.say("publish a b") == "acknowledged")
        #expect(monotonicMilliseconds() - died < limit, "this machine is too slow for the test")
        #expect(try stranger.connect() == "refused 5", "nobody can tell of a device that the map does not hold")
        transcript("daemon killed: pump, known, connects; late, unknown, is refused")
        try client.startWaitingForTheEnd()
        let cut = try client.end() - died
        #expect(cut > limit - 1_000 && cut < limit + 1_000, "\(cut) ms")
        #expect(try client.connect() == "refused 5")
        #expect(try lenient.say("publish a b") == "acknowledged")
        #expect(try lenient.connect() == "new")
        transcript(
            "staleness limit of \(Int(limit)) ms over: pump cut off after \(Int(cut.rounded())) ms, and refused; with "
                + "on_failure open it goes on")

        try daemon.start()
        try waitUntil("the first connect after the daemon's return") { try client.connect() == "new" }
        try expectConnected(stranger, closed)
        transcript("daemon started anew: pump and late connect, nobody has touched the broker")
        try daemon.json("ca", "unregister", authority.serialNumber)
        #expect(try client.connect() == "refused 5")
        #expect(try lenient.connect() == "refused 5", "open is for failures, not for a no")
        for line in closed.pluginLines { transcript("broker's log: \(line)") }
    }

    @Test func aRestartOfTheDaemonCutsNobodyOffAndLosesNoMessage() throws {
        let daemon = try Daemon()
        let shop = try CertificateShop()
        try daemon.createInstance("plant")
        let authority = try shop.eccAuthority("CA")
        try daemon.register(authority, with: "plant", from: shop)
        let broker = try MosquittoBroker(
            daemon, shop, "plugin_opt_when_trusted allow", "plugin_opt_timeout_ms 10000", "allow_anonymous false")
        let sender = try MosquittoClient(try ShopDevice("sender", by: authority, from: shop), at: broker)
        let receiver = try MosquittoClient(try ShopDevice("receiver", by: authority, from: shop), at: broker)
        try expectConnected(sender, broker)
        try expectConnected(receiver, broker)
        #expect(try receiver.say("subscribe count") == "granted")
        for round in 0..<3 {
            #expect(try daemon.terminate() == 0)
            for number in 0..<5 {
                let text = "\(round).\(number)"
                if number == 2 { try daemon.start() }
                #expect(try sender.say("publish count \(text)") == "acknowledged", "\(broker.pluginLines)")
                #expect(try receiver.say("message 20") == "message count \(text)", "\(broker.pluginLines)")
            }
        }
        #expect(!broker.pluginLines.contains { $0.contains("cut off") }, "\(broker.pluginLines)")
    }

    @Test func devicesOfAnotherInstanceAreRefusedAlsoWhereTLSTrustsTheirCA() throws {
        let daemon = try Daemon()
        let shop = try CertificateShop()
        try daemon.createInstance("plant")
        try daemon.createInstance("other")
        let ours = try shop.eccAuthority("Our CA")
        let theirs = try shop.eccAuthority("Their CA")
        try daemon.register(ours, with: "plant", from: shop)
        try daemon.register(theirs, with: "other", from: shop)
        let both = try shop.write(try shop.readText(ours.certificate) + shop.readText(theirs.certificate))
        let broker = try MosquittoBroker(
            daemon, shop, authorities: "cafile \(both)", "plugin_opt_when_trusted allow", "allow_anonymous false")
        let good = try MosquittoClient(try ShopDevice("good", by: ours, from: shop), at: broker)
        let bad = try MosquittoClient(try ShopDevice("bad", by: theirs, from: shop), at: broker)
        try expectConnected(good, broker)
        #expect(try bad.connect() == "refused 5")
        let line = try #require(broker.pluginLines.last)
        transcript("a device of another instance: \(line)")
        #expect(line.hasPrefix("careg: client bad refused: CA_OF_ANOTHER_INSTANCE"))
    }

    @Test func aRegisteredCaThatIsNotSelfSignedIsAnAnchorAndSoAreDevicesBelowIntermediates() throws {
        let daemon = try Daemon()
        let shop = try CertificateShop()
        try daemon.createInstance("plant")
        let root = try shop.eccAuthority("Root that nobody registers")
        let issuing = try shop.intermediate("Issuing CA", under: root)
        try daemon.register(issuing, with: "plant", from: shop)
        let broker = try MosquittoBroker(daemon, shop, "plugin_opt_when_trusted allow", "allow_anonymous false")
        let client = try MosquittoClient(try ShopDevice("direct", by: issuing, from: shop), at: broker)
        try expectConnected(client, broker)

        // Below an intermediate that only the device sends: the broker shows plugins the leaf alone.
        let workshop = try shop.intermediate("Workshop CA", under: issuing)
        var deep = try ShopDevice("deep", by: workshop, from: shop)
        let chain = try shop.write(
            try shop.readText(deep.certificate) + shop.readText(workshop.certificate), suffix: "crt")
        try daemon.json(
            "device", "register", "--instance", "plant", "--cert", deep.certificate, "--chain", workshop.certificate)
        deep = ShopDevice(name: "deep", key: deep.key, certificate: chain, serialNumber: deep.serialNumber)
        try expectConnected(try MosquittoClient(deep, at: broker), broker)
    }

    // MARK: Options and neighbours

    @Test func passwordAndAclFilesDecideWhereThePluginDefers() throws {
        let daemon = try Daemon()
        let shop = try CertificateShop()
        try daemon.createInstance("plant")
        let authority = try shop.eccAuthority("CA")
        try daemon.register(authority, with: "plant", from: shop)
        let passwords = shop.freshPath("passwords")
        let made = try run("mosquitto_passwd", ["-b", "-c", passwords, "ann", "secret"])
        #expect(made.exit == 0, "\(made)")
        let topics = try shop.write("pattern readwrite open/#\nuser ann\ntopic readwrite mine/#\n")
        unsafe chmod(topics, 0o600)
        let pump = try ShopDevice("pump", by: authority, from: shop)

        // defer: the password has to be right, and the ACL file decides on topics.
        let deferring = try MosquittoBroker(
            daemon, shop, "acl_file \(topics)", "password_file \(passwords)", "allow_anonymous false")
        let client = try MosquittoClient(pump, at: deferring)
        #expect(try client.connect() == "refused 5")
        #expect(try client.connect("user=ann:wrong") == "refused 5")
        try expectConnected(client, deferring, "user=ann:secret")
        try expectTopics(client, open: true, mine: true, other: false)

        // connect: the certificate is enough to get in; the ACL file decides on topics.
        let connecting = try MosquittoBroker(
            daemon, shop, "plugin_opt_when_trusted connect", "acl_file \(topics)", "allow_anonymous false")
        let second = try MosquittoClient(pump, at: connecting)
        try expectConnected(second, connecting)
        try expectTopics(second, open: true, mine: false, other: false)

        // allow: the ACL file is not asked.
        let allowing = try MosquittoBroker(
            daemon, shop, "plugin_opt_when_trusted allow", "acl_file \(topics)", "allow_anonymous false")
        let third = try MosquittoClient(pump, at: allowing)
        try expectConnected(third, allowing)
        try expectTopics(third, open: true, mine: true, other: true)

        // defer with neither file: Mosquitto denies where all plugins defer.
        let bare = try MosquittoBroker(daemon, shop, "allow_anonymous true")
        let fourth = try MosquittoClient(pump, at: bare)
        try expectConnected(fourth, bare)
        try expectTopics(fourth, open: false, mine: false, other: false)
        let allowingBare = try MosquittoBroker(
            daemon, shop, "plugin_opt_when_trusted allow", "allow_anonymous false")
        let fifth = try MosquittoClient(pump, at: allowingBare)
        try expectConnected(fifth, allowingBare)
        try expectTopics(fifth, open: true, mine: true, other: true)

        try daemon.json("ca", "unregister", authority.serialNumber)
        for broker in [deferring, connecting, allowing, bare, allowingBare] {
            let late = try MosquittoClient(pump, at: broker, name: "late")
            #expect(try late.connect("user=ann:secret") == "refused 5")
        }
    }

    /// Which topics a client hears its own messages on.
    private func expectTopics(
        _ client: MosquittoClient, open: Bool, mine: Bool, other: Bool,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        for (topic, isAllowed) in [("open", open), ("mine", mine), ("other", other)] {
            let granted = try client.say("subscribe \(topic)/x")
            var isHeard = false
            if granted == "granted" {
                #expect(try client.say("publish \(topic)/x hello 0") == "sent")
                isHeard = try client.say("message \(isAllowed ? 20 : 0.3)") == "message \(topic)/x hello"
            }
            #expect(isHeard == isAllowed, "\(topic): \(granted)", sourceLocation: sourceLocation)
        }
    }

    @Test func aConfigurationThatSkipsTheQuestionAtConnectOpensNoHole() throws {
        let daemon = try Daemon()
        let shop = try CertificateShop()
        try daemon.createInstance("plant")
        let authority = try shop.eccAuthority("CA")
        try daemon.register(authority, with: "plant", from: shop)
        let broker = try MosquittoBroker(
            daemon, shop, "plugin_opt_when_trusted allow", "allow_anonymous false",
            "listener use_identity_as_username true")
        let watcher = try MosquittoClient(try ShopDevice("watcher", by: authority, from: shop), at: broker)
        try expectConnected(watcher, broker)
        #expect(try watcher.say("subscribe #") == "granted")
        let pump = try ShopDevice("pump", by: authority, from: shop)
        let client = try MosquittoClient(pump, at: broker)
        try expectConnected(client, broker, "keep")
        #expect(try client.say("subscribe orders") == "granted")
        #expect(try client.say("publish news first") == "acknowledged")
        #expect(try watcher.say("message 20") == "message news first")
        #expect(try client.say("vanish") == "vanished")
        #expect(try watcher.say("publish orders queued") == "acknowledged")
        #expect(try watcher.say("message 20") == "message orders queued")

        try daemon.json("device", "deactivate", authority.serialNumber, pump.serialNumber)
        // It is connected, but gets nothing in and nothing out, not even what was queued for it.
        let answer = try client.connect("keep will")
        #expect(answer == "new", "Mosquitto does not ask: \(answer)")
        let heard = try client.say("message 0.5")
        #expect(!heard.hasPrefix("message"), "\(heard)")
        _ = try client.say("publish news second 0")
        #expect(try watcher.say("message 0.5") == "nothing")
        #expect(broker.pluginLines.contains { $0.hasPrefix("careg: client pump refused: DEVICE_INACTIVE") })
    }

    @Test func willsRetainedMessagesAndQueuesWorkAsWithoutThePlugin() throws {
        let daemon = try Daemon()
        let shop = try CertificateShop()
        try daemon.createInstance("plant")
        let authority = try shop.eccAuthority("CA")
        try daemon.register(authority, with: "plant", from: shop)
        let broker = try MosquittoBroker(daemon, shop, "plugin_opt_when_trusted allow", "allow_anonymous false")
        let pump = try MosquittoClient(try ShopDevice("pump", by: authority, from: shop), at: broker)
        let fan = try MosquittoClient(try ShopDevice("fan", by: authority, from: shop), at: broker)
        try expectConnected(pump, broker, "keep will")
        try expectConnected(fan, broker)
        #expect(try fan.say("subscribe will") == "granted")
        #expect(try pump.say("subscribe orders") == "granted")
        #expect(try pump.say("publish state on 1r") == "acknowledged")
        #expect(try pump.say("vanish") == "vanished")
        #expect(try fan.say("message 20") == "message will gone: pump")
        // The publisher of the retained message is away: check_retain_source asks all the same.
        #expect(try fan.say("subscribe state") == "granted")
        #expect(try fan.say("message 20") == "message state on")
        #expect(try fan.say("publish orders queued") == "acknowledged")
        try expectConnected(pump, broker, "keep")
        #expect(try pump.say("message 20") == "message orders queued")
    }
}
