internal import CCareg
internal import CCaregSystem
internal import CMosquitto

// TICK: clients that are not trusted any more are cut off.

extension Plugin {
    /// Looks whether anything has changed, and only then at the clients.
    ///
    /// The broker calls this with every turn of its loop.
    static func tick(_ plugin: Pointer) {
        unsafe plugin.pointee.hasTicks = true
        while let gone = unsafe plugin.pointee.clients.first(.left) { unsafe plugin.pointee.clients.remove(gone) }
        unsafe noteChanges(plugin)
        if unsafe plugin.pointee.clients.first(.pending) != nil { unsafe scan(plugin) }
        unsafe cutOff(plugin)
    }

    /// Marks for another decision those whom a change may concern.
    private static func noteChanges(_ plugin: Pointer) {
        var statuses: UInt64 = 0
        var revision: UInt64 = 0
        _ = unsafe careg_changes(plugin.pointee.library, &statuses, &revision)
        let isChanged = unsafe statuses != plugin.pointee.statuses
        let isRevised = unsafe revision != plugin.pointee.revision
        unsafe plugin.pointee.statuses = statuses
        unsafe plugin.pointee.revision = revision
        let isOver = unsafe careg_system_seconds() >= plugin.pointee.nextEnd
        if unsafe isChanged || isOver || plugin.pointee.isScanWanted {
            unsafe plugin.pointee.isScanWanted = false
            unsafe plugin.pointee.nextEnd = Int64.max
            unsafe plugin.pointee.clients.moveAll(.settled, to: .pending)
        }
        if isChanged || isRevised || isOver { unsafe plugin.pointee.clients.moveAll(.asked, to: .pending) }
        guard unsafe plugin.pointee.clients.first(.unsettled) != nil else { return }
        let now = careg_system_nanoseconds()
        if unsafe isChanged || now >= plugin.pointee.nextRetry {
            unsafe plugin.pointee.nextRetry = now &+ PluginLimits.retry
            unsafe plugin.pointee.clients.moveAll(.unsettled, to: .pending)
        }
    }

    /// Decides on the clients that are marked, as far as time allows.
    private static func scan(_ plugin: Pointer) {
        let start = careg_system_nanoseconds()
        var count = 0
        while let client = unsafe plugin.pointee.clients.first(.pending) {
            unsafe decide(plugin, client)
            count &+= 1
            let hasAsked = unsafe client.pointee.isFromDaemon || client.pointee.unsettledSince != 0
            guard hasAsked || count % PluginLimits.clientsPerLook == 0 else { continue }
            if careg_system_nanoseconds() &- start > PluginLimits.tick { return }
        }
    }

    private static func decide(_ plugin: Pointer, _ client: Client.Pointer) {
        let judgement = unsafe judge(plugin, client)
        switch judgement {
        case .trusted:
            unsafe client.pointee.unsettledSince = 0
            unsafe client.pointee.isRefusalLogged = false
            unsafe settle(plugin, client)
        case .refused: unsafe doom(plugin, client, judgement)
        case .unknown(let code):
            if unsafe isOutage(code) && mayWait(plugin, client, code) {
                unsafe settle(plugin, client)
            } else {
                unsafe doom(plugin, client, judgement)
            }
        }
    }

    /// Whether a client about whom nobody answers stays connected for now. What it does is decided on each time.
    ///
    /// A daemon that is being replaced is away for a moment: nobody is cut off for that. After the staleness limit, it
    /// is the options that decide.
    private static func mayWait(_ plugin: Pointer, _ client: Client.Pointer, _ code: CInt) -> Bool {
        let now = careg_system_nanoseconds()
        if unsafe client.pointee.unsettledSince == 0 { unsafe client.pointee.unsettledSince = max(1, now) }
        if unsafe plugin.pointee.options.onFailure == .open { return true }
        let limit = unsafe UInt64(plugin.pointee.options.stalenessMilliseconds) &* 1_000_000
        return unsafe code != CAREG_E_STALE && now &- client.pointee.unsettledSince < limit
    }

    /// Puts a client that may stay where it is looked for when something changes.
    static func settle(_ plugin: Pointer, _ client: Client.Pointer) {
        if unsafe client.pointee.unsettledSince != 0 {
            return unsafe plugin.pointee.clients.move(client, to: .unsettled)
        }
        unsafe plugin.pointee.nextEnd = unsafe min(plugin.pointee.nextEnd, client.pointee.validUntil)
        unsafe plugin.pointee.clients.move(client, to: client.pointee.isFromDaemon ? .asked : .settled)
    }

    private static func doom(_ plugin: Pointer, _ client: Client.Pointer, _ judgement: Judgement) {
        unsafe plugin.pointee.clients.move(client, to: .doomed)
        guard unsafe !client.pointee.isRefusalLogged else { return }
        unsafe client.pointee.isRefusalLogged = true
        unsafe logRefusal(plugin, " cut off: ", client, judgement)
    }

    /// Disconnects those who have to go, without their last will.
    private static func cutOff(_ plugin: Pointer) {
        while let client = unsafe plugin.pointee.clients.first(.doomed) {
            unsafe client.pointee.isBeingKicked = true
            let key = unsafe client.pointee.key
            let result = unsafe mosquitto_kick_client_by_clientid(client.pointee.id, false)
            // The broker has said that it is disconnected, which put it in another list. If not, it is not the broker's
            // any more.
            guard let after = unsafe plugin.pointee.clients.find(key), unsafe after == client else { continue }
            if unsafe result != MOSQUITTO_SUCCESS || client.pointee.place == .doomed {
                unsafe plugin.pointee.clients.remove(client)
            }
        }
    }
}
