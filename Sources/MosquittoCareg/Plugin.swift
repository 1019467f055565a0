internal import CCareg
internal import CCaregSystem
public import CMosquitto

/// One loaded plugin: the broker calls it from one thread.
@safe struct Plugin {
    typealias Pointer = UnsafeMutablePointer<Plugin>

    let identifier: OpaquePointer
    let options: PluginOptions
    /// The fast path of the instance.
    let library: OpaquePointer
    var clients: ClientTable

    /// What careg_changes said last.
    var statuses: UInt64 = 0
    var revision: UInt64 = 0
    /// Unix seconds: the earliest end of a settled client's trust by time alone.
    var nextEnd = Int64.max
    /// CLOCK_MONOTONIC: no look at unsettled clients before that.
    var nextRetry: UInt64 = 0
    var isScanWanted = false
    /// Nobody has answered lately.
    var isOut = false
    /// The last verdict against a client that is remembered, and the client's certificate: what is logged of it needs no
    /// other question.
    var lastRefusal = careg_verdict()
    var lastRefused: UnsafeMutableRawPointer?
    /// There are ticks, or the log has said that there are none.
    var hasTicks = false
    let startedAt = careg_system_nanoseconds()

    init(identifier: OpaquePointer, options: PluginOptions, library: OpaquePointer, clients: ClientTable) {
        unsafe self.identifier = unsafe identifier
        self.options = options
        unsafe self.library = unsafe library
        self.clients = clients
    }
}

// MARK: Callbacks

private func plugin(_ userdata: UnsafeMutableRawPointer?) -> Plugin.Pointer? {
    unsafe userdata?.assumingMemoryBound(to: Plugin.self)
}

private func basicAuth(
    _ event: CInt, _ data: UnsafeMutableRawPointer?, _ userdata: UnsafeMutableRawPointer?
) -> CInt {
    guard let plugin = unsafe plugin(userdata),
        let client = unsafe data?.assumingMemoryBound(to: mosquitto_evt_basic_auth.self).pointee.client
    else { return MOSQUITTO_REFUSED }
    return unsafe Plugin.connect(plugin, client)
}

private func aclCheck(
    _ event: CInt, _ data: UnsafeMutableRawPointer?, _ userdata: UnsafeMutableRawPointer?
) -> CInt {
    guard let plugin = unsafe plugin(userdata),
        let request = unsafe data?.assumingMemoryBound(to: mosquitto_evt_acl_check.self),
        let client = unsafe request.pointee.client
    else { return MOSQUITTO_ACL_DENIED }
    return unsafe Plugin.checkAccess(plugin, client, access: request.pointee.access)
}

private func tick(_ event: CInt, _ data: UnsafeMutableRawPointer?, _ userdata: UnsafeMutableRawPointer?) -> CInt {
    if let plugin = unsafe plugin(userdata) { unsafe Plugin.tick(plugin) }
    return MOSQUITTO_SUCCESS
}

private func disconnected(
    _ event: CInt, _ data: UnsafeMutableRawPointer?, _ userdata: UnsafeMutableRawPointer?
) -> CInt {
    if let plugin = unsafe plugin(userdata),
        let client = unsafe data?.assumingMemoryBound(to: mosquitto_evt_disconnect.self).pointee.client
    {
        unsafe Plugin.disconnect(plugin, client)
    }
    return MOSQUITTO_SUCCESS
}

// MARK: What the broker calls

@c @implementation
public func mosquitto_plugin_version(_ count: CInt, _ versions: UnsafePointer<CInt>?) -> CInt {
    for index in 0..<max(0, Int(count)) {
        if let versions = unsafe versions, unsafe versions[index] == MOSQUITTO_PLUGIN_INTERFACE {
            return MOSQUITTO_PLUGIN_INTERFACE
        }
    }
    return -1
}

@c @implementation
public func mosquitto_plugin_init(
    _ identifier: OpaquePointer?, _ userdata: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
    _ options: UnsafeMutablePointer<mosquitto_opt>?, _ count: CInt
) -> CInt {
    guard let identifier = unsafe identifier, let userdata = unsafe userdata,
        var options = unsafe PluginOptions(options, count: count)
    else { return MOSQUITTO_INVALID }
    var library: OpaquePointer?
    let code = unsafe careg_open(&options.library, &library)
    guard let library = unsafe library else {
        var line = LogLine()
        unsafe line.add("careg: instance, runtime_dir, map, staleness_ms or timeout_ms is not good: ")
        unsafe line.add(careg_error_name(code))
        line.log(MOSQUITTO_LOG_ERROR)
        return code == CAREG_E_MEMORY ? MOSQUITTO_NO_MEMORY : MOSQUITTO_INVALID
    }
    logStart(options)
    // The texts of the options are the broker's, and gone when this has returned.
    unsafe options.library.instance = nil
    unsafe options.library.runtime_dir = nil
    unsafe options.library.map = nil
    guard let clients = ClientTable(), let memory = unsafe calloc(1, MemoryLayout<Plugin>.size) else {
        unsafe careg_close(library)
        return MOSQUITTO_NO_MEMORY
    }
    let plugin = unsafe memory.assumingMemoryBound(to: Plugin.self)
    unsafe plugin.initialize(
        to: Plugin(identifier: identifier, options: options, library: library, clients: clients))
    unsafe userdata.pointee = unsafe memory
    let results = unsafe (
        mosquitto_callback_register(identifier, MOSQUITTO_BASIC_AUTH, basicAuth, nil, memory),
        mosquitto_callback_register(identifier, MOSQUITTO_ACL_CHECK, aclCheck, nil, memory),
        mosquitto_callback_register(identifier, MOSQUITTO_TICK, tick, nil, memory),
        mosquitto_callback_register(identifier, MOSQUITTO_DISCONNECT, disconnected, nil, memory)
    )
    // One that is missing would leave a hole: then the broker does not start.
    guard results == (MOSQUITTO_SUCCESS, MOSQUITTO_SUCCESS, MOSQUITTO_SUCCESS, MOSQUITTO_SUCCESS) else {
        unsafe release(plugin)
        unsafe userdata.pointee = nil
        return MOSQUITTO_UNKNOWN
    }
    return MOSQUITTO_SUCCESS
}

@c @implementation
public func mosquitto_plugin_cleanup(
    _ userdata: UnsafeMutableRawPointer?, _ options: UnsafeMutablePointer<mosquitto_opt>?, _ count: CInt
) -> CInt {
    if let plugin = unsafe plugin(userdata) { unsafe release(plugin) }
    return MOSQUITTO_SUCCESS
}

private func release(_ plugin: Plugin.Pointer) {
    let identifier = unsafe plugin.pointee.identifier
    _ = unsafe mosquitto_callback_unregister(identifier, MOSQUITTO_BASIC_AUTH, basicAuth, nil)
    _ = unsafe mosquitto_callback_unregister(identifier, MOSQUITTO_ACL_CHECK, aclCheck, nil)
    _ = unsafe mosquitto_callback_unregister(identifier, MOSQUITTO_TICK, tick, nil)
    _ = unsafe mosquitto_callback_unregister(identifier, MOSQUITTO_DISCONNECT, disconnected, nil)
    unsafe plugin.pointee.clients.removeAll()
    unsafe careg_close(plugin.pointee.library)
    unsafe plugin.deinitialize(count: 1)
    unsafe free(plugin)
}

private func logStart(_ options: PluginOptions) {
    var line = LogLine()
    unsafe line.add("careg ")
    unsafe line.add(careg_version())
    unsafe line.add(": instance ")
    unsafe line.add(options.library.instance)
    unsafe line.add(", staleness limit ")
    line.add(options.stalenessMilliseconds)
    switch options.onFailure {
    case .closed: unsafe line.add(" ms, closed on failure")
    case .open: unsafe line.add(" ms, open on failure")
    }
    line.log(MOSQUITTO_LOG_INFO)
}
