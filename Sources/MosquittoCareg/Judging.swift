internal import CCareg
internal import CCaregSystem
internal import CMosquitto

/// What is known of a client at one moment.
enum Judgement {
    case trusted
    /// A verdict's raw reason.
    case refused(UInt32)
    /// Nobody tells: a return value of careg_verify.
    case unknown(CInt)
}

extension Plugin {
    /// Decides on a client: by its session, a few loads; else by its certificate.
    static func judge(_ plugin: Pointer, _ client: Client.Pointer) -> Judgement {
        guard unsafe client.pointee.hasSession else { return unsafe verify(plugin, client) }
        var reason: UInt32 = 0
        guard unsafe careg_session_check(plugin.pointee.library, &client.pointee.session, &reason) == CAREG_ANSWERED
        else { return unsafe verify(plugin, client) }
        return reason == UInt32(CAREG_REASON_TRUSTED) ? .trusted : .refused(reason)
    }

    /// Decides on a client by its certificate, and keeps the session.
    private static func verify(_ plugin: Pointer, _ client: Client.Pointer) -> Judgement {
        var verdict = careg_verdict()
        let code = unsafe verify(plugin, client.pointee.certificate, &verdict)
        guard code == CAREG_ANSWERED else { return .unknown(code) }
        unsafe keep(verdict, client)
        if verdict.reason == UInt32(CAREG_REASON_TRUSTED) { return .trusted }
        unsafe plugin.pointee.lastRefusal = verdict
        unsafe plugin.pointee.lastRefused = unsafe client.pointee.certificate
        return .refused(verdict.reason)
    }

    static func keep(_ verdict: careg_verdict, _ client: Client.Pointer) {
        unsafe client.pointee.session = verdict.session
        unsafe client.pointee.hasSession = true
        unsafe client.pointee.isFromDaemon = verdict.source == UInt32(CAREG_SOURCE_DAEMON)
        unsafe client.pointee.validUntil = verdict.valid_until == 0 ? Int64.max : verdict.valid_until
    }

    /// Decides on a certificate; the broker shows plugins the device's own only.
    static func verify(
        _ plugin: Pointer, _ certificate: UnsafeMutableRawPointer?, _ verdict: inout careg_verdict
    ) -> CInt {
        verdict = careg_verdict()
        verdict.size = MemoryLayout<careg_verdict>.size
        var der: UnsafeMutablePointer<UInt8>?
        let length = unsafe careg_mosquitto_der(certificate, &der)
        guard length > 0, let bytes = unsafe der else { return CAREG_E_MEMORY }
        defer { unsafe careg_mosquitto_free_der(bytes) }
        var leaf: UnsafePointer<UInt8>? = unsafe UnsafePointer(bytes)
        var size = Int(length)
        let code = unsafe careg_verify(plugin.pointee.library, &leaf, &size, 1, &verdict)
        unsafe noteOutage(plugin, code)
        return code
    }

    // MARK: Outages

    /// Whether a return value says that nobody answers, rather than that something is wrong with the question.
    static func isOutage(_ code: CInt) -> Bool {
        code == CAREG_E_STALE || code == CAREG_E_UNAVAILABLE || code == CAREG_E_TIMEOUT
    }

    /// Says once that nobody answers, and once that somebody does again.
    private static func noteOutage(_ plugin: Pointer, _ code: CInt) {
        let isOut = isOutage(code)
        guard unsafe isOut != plugin.pointee.isOut else { return }
        unsafe plugin.pointee.isOut = isOut
        var line = LogLine()
        guard isOut else {
            unsafe line.add("careg: the daemon answers again")
            return line.log(MOSQUITTO_LOG_NOTICE)
        }
        unsafe line.add("careg: the daemon does not answer (")
        unsafe line.add(careg_error_name(code))
        switch unsafe plugin.pointee.options.onFailure {
        case .closed: unsafe line.add("): who cannot be decided on is refused")
        case .open: unsafe line.add("): who cannot be decided on is admitted, for on_failure is open")
        }
        line.log(MOSQUITTO_LOG_WARNING)
    }

    // MARK: The log

    /// Writes one line about a client that is not let in, or not any more.
    static func logRefusal(
        _ what: StaticString, id: UnsafePointer<CChar>?, _ judgement: Judgement, _ verdict: careg_verdict?,
        certificate: UnsafeMutableRawPointer?
    ) {
        var line = LogLine()
        unsafe line.add("careg: client ")
        if let id = unsafe id { unsafe line.add(escaping: id, limit: PluginLimits.loggedIDBytes) }
        line.add(what)
        switch judgement {
        case .trusted: break
        case .refused(let reason): unsafe line.add(careg_reason_name(reason))
        case .unknown(let code): unsafe line.add(careg_error_name(code))
        }
        unsafe line.add(", ca sn ")
        var isKnown = false
        if var verdict, verdict.ca_sn.0 != 0 {
            isKnown = true
            unsafe withUnsafeBytes(of: &verdict.ca_sn) { bytes in
                unsafe line.add(bytes.baseAddress?.assumingMemoryBound(to: CChar.self))
            }
        }
        if !isKnown { unsafe line.add("unknown") }
        unsafe line.add(", device sn ")
        var der: UnsafeMutablePointer<UInt8>?
        let length = unsafe careg_mosquitto_der(certificate, &der)
        if length > 0, let bytes = unsafe der {
            unsafe line.add(serialOf: UnsafeRawBufferPointer(start: bytes, count: Int(length)))
            unsafe careg_mosquitto_free_der(bytes)
        } else {
            unsafe line.add("unknown")
        }
        line.log(MOSQUITTO_LOG_NOTICE)
    }

    /// The same, with the CA's serial number looked up once more where it was not told just now: it is not kept for each
    /// client.
    static func logRefusal(_ plugin: Pointer, _ what: StaticString, _ client: Client.Pointer, _ judgement: Judgement) {
        var verdict: careg_verdict?
        if case .refused = judgement {
            var found = careg_verdict()
            if let last = unsafe plugin.pointee.lastRefused, unsafe last == client.pointee.certificate {
                unsafe verdict = plugin.pointee.lastRefusal
                // For this line only: the address may be another certificate's later.
                unsafe plugin.pointee.lastRefused = nil
            } else if unsafe verify(plugin, client.pointee.certificate, &found) == CAREG_ANSWERED {
                verdict = found
            }
        }
        unsafe logRefusal(
            what, id: client.pointee.id, judgement, verdict, certificate: client.pointee.certificate)
    }
}
