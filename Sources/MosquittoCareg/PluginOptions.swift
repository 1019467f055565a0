internal import CCareg
internal import CCaregSystem
internal import CMosquitto

/// The `plugin_opt_…` lines of mosquitto.conf.
@safe struct PluginOptions {
    /// What becomes of a client whose trust nobody can tell.
    enum OnFailure {
        case closed, open
    }

    /// Whom a trusted client still has to satisfy.
    enum WhenTrusted {
        /// Password file, ACL file and other plugins decide, as without this plugin.
        case `defer`
        /// The certificate is enough to connect; the others decide on topics.
        case connect
        /// The certificate is enough for everything.
        case allow
    }

    /// What becomes of a client that has no certificate, on a listener without TLS for instance.
    enum WithoutCertificate {
        case refuse, `defer`
    }

    var library = unsafe careg_options(
        size: MemoryLayout<careg_options>.size, runtime_dir: nil, instance: nil, staleness_ms: 0, timeout_ms: 0,
        map: nil)
    var onFailure = OnFailure.closed
    var whenTrusted = WhenTrusted.defer
    var withoutCertificate = WithoutCertificate.refuse

    /// The staleness limit that holds.
    var stalenessMilliseconds: UInt32 { unsafe library.staleness_ms == 0 ? 5_000 : library.staleness_ms }

    /// Reads the options; one that is not known, or makes no sense, is logged and refused: a typing error in a limit
    /// must not go unnoticed.
    init?(_ options: UnsafePointer<mosquitto_opt>?, count: CInt) {
        for index in 0..<max(0, Int(count)) {
            guard let option = unsafe options.map({ unsafe $0 + index }), let key = unsafe option.pointee.key,
                let value = unsafe option.pointee.value
            else { continue }
            guard unsafe take(UnsafePointer(key), UnsafePointer(value)) else {
                var line = LogLine()
                unsafe line.add("careg: plugin_opt_")
                unsafe line.add(escaping: key, limit: 64)
                unsafe line.add(" cannot be ")
                unsafe line.add(escaping: value, limit: 128)
                line.log(MOSQUITTO_LOG_ERROR)
                return nil
            }
        }
        guard unsafe library.instance != nil else {
            var line = LogLine()
            unsafe line.add("careg: plugin_opt_instance is missing: it names the instance whose devices may connect")
            line.log(MOSQUITTO_LOG_ERROR)
            return nil
        }
    }

    private mutating func take(_ key: UnsafePointer<CChar>, _ value: UnsafePointer<CChar>) -> Bool {
        if unsafe equal(key, "instance") {
            unsafe library.instance = unsafe value
        } else if unsafe equal(key, "runtime_dir") {
            unsafe library.runtime_dir = unsafe value
        } else if unsafe equal(key, "map") {
            unsafe library.map = unsafe value
        } else if unsafe equal(key, "staleness_ms") {
            guard let number = unsafe positive(value) else { return false }
            unsafe library.staleness_ms = number
        } else if unsafe equal(key, "timeout_ms") {
            guard let number = unsafe positive(value) else { return false }
            unsafe library.timeout_ms = number
        } else if unsafe equal(key, "on_failure") {
            guard let choice: OnFailure = unsafe choose(value, ("closed", .closed), ("open", .open)) else {
                return false
            }
            onFailure = choice
        } else if unsafe equal(key, "when_trusted") {
            let isConnect = unsafe equal(value, "connect")
            guard
                let choice: WhenTrusted = isConnect
                    ? .connect : unsafe choose(value, ("defer", .defer), ("allow", .allow))
            else { return false }
            whenTrusted = choice
        } else if unsafe equal(key, "without_certificate") {
            guard let choice: WithoutCertificate = unsafe choose(value, ("refuse", .refuse), ("defer", .defer)) else {
                return false
            }
            withoutCertificate = choice
        } else {
            return false
        }
        return true
    }

    private func choose<Choice>(
        _ value: UnsafePointer<CChar>, _ first: (StaticString, Choice), _ second: (StaticString, Choice)
    ) -> Choice? {
        if unsafe equal(value, first.0) { return first.1 }
        return unsafe equal(value, second.0) ? second.1 : nil
    }

    private func positive(_ text: UnsafePointer<CChar>) -> UInt32? {
        var number: UInt32 = 0
        var next = unsafe text
        while unsafe next.pointee != 0 {
            let digit = unsafe UInt32(truncatingIfNeeded: next.pointee) &- 0x30
            guard digit < 10, number <= 100_000_000 else { return nil }
            number = number &* 10 &+ digit
            unsafe next += 1
        }
        return number > 0 ? number : nil
    }

    private func equal(_ text: UnsafePointer<CChar>, _ other: StaticString) -> Bool {
        unsafe strcmp(text, UnsafeRawPointer(other.utf8Start).assumingMemoryBound(to: CChar.self)) == 0
    }
}
