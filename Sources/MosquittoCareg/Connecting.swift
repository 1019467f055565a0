internal import CCareg
internal import CCaregSystem
internal import CMosquitto

// CONNECT, and what a client does after it.

extension Plugin {
    /// What a client gets that the plugin has nothing against, when it connects.
    private static func connectPass(_ plugin: Pointer) -> CInt {
        unsafe plugin.pointee.options.whenTrusted == .defer ? MOSQUITTO_DEFER : MOSQUITTO_SUCCESS
    }

    /// The same, for what it does then.
    private static func accessPass(_ plugin: Pointer) -> CInt {
        unsafe plugin.pointee.options.whenTrusted == .allow ? MOSQUITTO_SUCCESS : MOSQUITTO_DEFER
    }

    /// Decides on a client at CONNECT.
    static func connect(_ plugin: Pointer, _ key: OpaquePointer) -> CInt {
        // Whoever had this address before is gone.
        if let former = unsafe plugin.pointee.clients.find(key) { unsafe plugin.pointee.clients.remove(former) }
        unsafe warnWithoutTicks(plugin)
        guard let certificate = unsafe mosquitto_client_certificate(key) else {
            if unsafe plugin.pointee.options.withoutCertificate == .defer {
                // Without memory to remember that it is here, it is not let in: what it reads would be taken for what is
                // queued for somebody who is away.
                guard let client = unsafe Client.make(key, nil) else { return MOSQUITTO_REFUSED }
                unsafe client.pointee.place = .plain
                unsafe plugin.pointee.clients.insert(client)
                return MOSQUITTO_DEFER
            }
            var line = LogLine()
            unsafe line.add("careg: client ")
            if let id = unsafe mosquitto_client_id(key) {
                unsafe line.add(escaping: id, limit: PluginLimits.loggedIDBytes)
            }
            unsafe line.add(" refused: it has shown no certificate")
            line.log(MOSQUITTO_LOG_NOTICE)
            return MOSQUITTO_REFUSED
        }
        return unsafe admit(plugin, key, certificate, isConnected: false) ? connectPass(plugin) : MOSQUITTO_REFUSED
    }

    /// Decides on a certificate that a client has shown, and remembers the client where it may go on.
    ///
    /// - Parameters:
    ///   - certificate: with a reference that is this function's to keep or to give back.
    ///   - isConnected: the client is in already: one that may not go on is cut off with the next tick.
    private static func admit(
        _ plugin: Pointer, _ key: OpaquePointer, _ certificate: UnsafeMutableRawPointer, isConnected: Bool
    ) -> Bool {
        var verdict = careg_verdict()
        let code = unsafe verify(plugin, certificate, &verdict)
        let isTrusted = code == CAREG_ANSWERED && verdict.reason == UInt32(CAREG_REASON_TRUSTED)
        let isTolerated = unsafe isOutage(code) && plugin.pointee.options.onFailure == .open
        guard isTrusted || isTolerated else {
            let judgement = code == CAREG_ANSWERED ? Judgement.refused(verdict.reason) : .unknown(code)
            unsafe logRefusal(
                " refused: ", id: mosquitto_client_id(key), judgement, code == CAREG_ANSWERED ? verdict : nil,
                certificate: certificate)
            guard isConnected, let client = unsafe Client.make(key, certificate) else {
                unsafe careg_mosquitto_free_certificate(certificate)
                return false
            }
            unsafe client.pointee.isRefusalLogged = true
            unsafe client.pointee.place = .doomed
            unsafe plugin.pointee.clients.insert(client)
            return false
        }
        guard let client = unsafe Client.make(key, certificate) else {
            // Without memory to watch it by, nobody is let in.
            unsafe careg_mosquitto_free_certificate(certificate)
            return false
        }
        if isTrusted { unsafe keep(verdict, client) }
        unsafe client.pointee.unsettledSince = isTrusted ? 0 : careg_system_nanoseconds()
        unsafe plugin.pointee.clients.insert(client)
        unsafe settle(plugin, client)
        return true
    }

    /// Decides on what a client does, or on what is to be delivered to it.
    static func checkAccess(_ plugin: Pointer, _ key: OpaquePointer, access: CInt) -> CInt {
        let known = unsafe plugin.pointee.clients.find(key)
        guard let certificate = unsafe mosquitto_client_certificate(key) else {
            return unsafe checkOffline(plugin, key, known, access: access)
        }
        // A connection that CONNECT has not asked about (use_identity_as_username), or that has an ended one's address.
        guard let client = unsafe known, unsafe client.pointee.certificate == certificate else {
            if let other = unsafe known { unsafe plugin.pointee.clients.remove(other) }
            return unsafe admit(plugin, key, certificate, isConnected: true) ? accessPass(plugin) : MOSQUITTO_ACL_DENIED
        }
        unsafe careg_mosquitto_free_certificate(certificate)
        // The broker asks whether a client that is cut off may keep its subscriptions: as without this plugin, for it
        // gets nothing out of them until it connects again.
        if unsafe client.pointee.isBeingKicked && access == MOSQUITTO_SUBSCRIBE { return unsafe accessPass(plugin) }
        return unsafe mayGoOn(plugin, client) ? accessPass(plugin) : MOSQUITTO_ACL_DENIED
    }

    private static func mayGoOn(_ plugin: Pointer, _ client: Client.Pointer) -> Bool {
        let judgement = unsafe judge(plugin, client)
        switch judgement {
        case .trusted:
            unsafe client.pointee.isRefusalLogged = false
            return true
        case .unknown(let code):
            if unsafe isOutage(code) && plugin.pointee.options.onFailure == .open { return true }
        case .refused: break
        }
        // The next tick cuts it off.
        unsafe plugin.pointee.isScanWanted = true
        if unsafe !client.pointee.isRefusalLogged {
            unsafe client.pointee.isRefusalLogged = true
            unsafe logRefusal(plugin, " refused: ", client, judgement)
        }
        return false
    }

    /// Decides where there is no connection to look at, or one without a certificate.
    private static func checkOffline(
        _ plugin: Pointer, _ key: OpaquePointer, _ known: Client.Pointer?, access: CInt
    ) -> CInt {
        // It is here, and has none: the broker's own rules are all there is.
        if let client = unsafe known, unsafe client.pointee.place == .plain { return MOSQUITTO_DEFER }
        // What is queued for a client that is not connected is asked about again when it connects, with its certificate.
        if access == MOSQUITTO_READ { return unsafe accessPass(plugin) }
        // The last will of a client that is gone: the client table has kept it for that.
        if let client = unsafe known, unsafe client.pointee.hasID(mosquitto_client_id(key)) {
            return unsafe mayGoOn(plugin, client) ? accessPass(plugin) : MOSQUITTO_ACL_DENIED
        }
        // Not a client but a retained message, whose publisher was decided on when it came (check_retain_source): it has
        // no protocol.
        if access == MOSQUITTO_WRITE, unsafe mosquitto_client_protocol_version(key) == 0 {
            return unsafe accessPass(plugin)
        }
        return unsafe plugin.pointee.options.withoutCertificate == .defer ? MOSQUITTO_DEFER : MOSQUITTO_ACL_DENIED
    }

    /// Keeps a client that is gone for as long as its last will may be asked about.
    static func disconnect(_ plugin: Pointer, _ key: OpaquePointer) {
        guard let client = unsafe plugin.pointee.clients.find(key) else { return }
        guard unsafe client.pointee.place != .plain else { return unsafe plugin.pointee.clients.remove(client) }
        // MQTT 5 has wills that come later; the others are asked about now.
        let isLong = unsafe mosquitto_client_protocol_version(key) >= 5
        unsafe plugin.pointee.clients.move(client, to: isLong ? .leftForLong : .left)
        let place = unsafe client.pointee.place
        guard unsafe plugin.pointee.clients.count(place) > PluginLimits.leftClients else { return }
        if let oldest = unsafe plugin.pointee.clients.first(place) { unsafe plugin.pointee.clients.remove(oldest) }
    }

    /// Says what it means where the broker sends no ticks.
    private static func warnWithoutTicks(_ plugin: Pointer) {
        let now = careg_system_nanoseconds()
        guard unsafe !plugin.pointee.hasTicks, unsafe now &- plugin.pointee.startedAt > PluginLimits.missingTick else {
            return
        }
        unsafe plugin.pointee.hasTicks = true
        var line = LogLine()
        unsafe line.add(
            "careg: the broker sends no ticks, as with per_listener_settings true: devices that are not trusted any ")
        unsafe line.add("more are refused with their next message, but stay connected")
        line.log(MOSQUITTO_LOG_WARNING)
    }
}
