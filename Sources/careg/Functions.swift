public import CCareg
internal import CCaregSystem
internal import CTrustMap
internal import Synchronization

// The functions of careg.h, in its order. Their documentation is there.

@c @implementation
public func careg_open(_ options: UnsafePointer<careg_options>?, _ out: UnsafeMutablePointer<OpaquePointer?>?) -> CInt {
    guard let out = unsafe out else { return CAREG_E_ARGUMENT }
    unsafe out.pointee = nil
    guard let options = unsafe options, let checked = unsafe CheckedOptions(options) else { return CAREG_E_ARGUMENT }
    var handle: UnsafeMutablePointer<Handle>?
    let code = unsafe Handle.make(checked, &handle)
    guard let handle = unsafe handle else { return code }
    _ = unsafe Handle.moveOver(handle, at: careg_system_nanoseconds())
    unsafe out.pointee = OpaquePointer(handle)
    return CAREG_ANSWERED
}

@c @implementation
public func careg_check(
    _ handle: OpaquePointer?, _ der: UnsafePointer<UInt8>?, _ length: Int, _ out: UnsafeMutablePointer<careg_verdict>?
) -> CInt {
    guard let handle = unsafe handle.map({ unsafe UnsafeMutablePointer<Handle>($0) }), let out = unsafe out,
        unsafe careg_verdict.isUsable(out), unsafe der != nil || length == 0, length >= 0
    else { return CAREG_E_ARGUMENT }
    let key = unsafe fingerprint(of: der, length)
    let lookup = unsafe Handle.lookUp(handle, key)
    switch lookup.standing {
    case .none: return unsafe handle.pointee.mapFault.load(ordering: .relaxed)
    case .superseded: return CAREG_NOT_IN_MAP
    case .stale: return CAREG_E_STALE
    case .fresh:
        guard lookup.reading.outcome == .decided else { return CAREG_NOT_IN_MAP }
        unsafe careg_verdict.fill(out, lookup, reason: lookup.reading.reason, key)
        return CAREG_ANSWERED
    }
}

@c @implementation
public func careg_verify(
    _ handle: OpaquePointer?, _ chain: UnsafePointer<UnsafePointer<UInt8>?>?, _ lengths: UnsafePointer<Int>?,
    _ count: Int, _ out: UnsafeMutablePointer<careg_verdict>?
) -> CInt {
    guard let handle = unsafe handle.map({ unsafe UnsafeMutablePointer<Handle>($0) }), let out = unsafe out,
        unsafe careg_verdict.isUsable(out), let chain = unsafe chain, let lengths = unsafe lengths,
        let question = unsafe Question(handle.pointee.instance, chain, lengths, count)
    else { return CAREG_E_ARGUMENT }
    return unsafe Handle.decide(handle, question, out)
}

@c @implementation
public func careg_session_check(
    _ handle: OpaquePointer?, _ session: UnsafePointer<careg_session>?, _ reason: UnsafeMutablePointer<UInt32>?
) -> CInt {
    guard let handle = unsafe handle.map({ unsafe UnsafeMutablePointer<Handle>($0) }), let reason = unsafe reason,
        let session = unsafe session
    else { return CAREG_E_ARGUMENT }
    if unsafe Handle.isTrusted(handle, session) {
        unsafe reason.pointee = UInt32(CAREG_REASON_TRUSTED)
        return CAREG_ANSWERED
    }
    return unsafe explain(handle, session, reason)
}

/// A session that is not simply trusted.
@inline(never)
private func explain(
    _ handle: UnsafeMutablePointer<Handle>, _ session: UnsafePointer<careg_session>,
    _ reason: UnsafeMutablePointer<UInt32>
) -> CInt {
    guard let session = unsafe Session(session) else { return CAREG_E_ARGUMENT }
    let lookup = unsafe Handle.lookUp(handle, session.fingerprint, hint: session.slot)
    switch lookup.standing {
    case .none, .superseded: return CAREG_NOT_IN_MAP
    case .stale: return CAREG_E_STALE
    case .fresh:
        if lookup.reading.outcome == .decided {
            unsafe reason.pointee = lookup.reading.reason
            return CAREG_ANSWERED
        }
        guard let map = unsafe lookup.map, unsafe session.stands(in: map.pointee.view, at: lookup.seconds) else {
            return CAREG_NOT_IN_MAP
        }
        unsafe reason.pointee = session.reason
        return CAREG_ANSWERED
    }
}

@c @implementation
public func careg_changes(
    _ handle: OpaquePointer?, _ statuses: UnsafeMutablePointer<UInt64>?, _ revision: UnsafeMutablePointer<UInt64>?
) -> CInt {
    guard let handle = unsafe handle.map({ unsafe UnsafeMutablePointer<Handle>($0) }) else { return CAREG_E_ARGUMENT }
    var code = CAREG_NOT_IN_MAP
    var mark: UInt64 = 0
    var seen: UInt64 = 0
    if let map = unsafe handle.pointee.map.load(ordering: .acquiring), unsafe map.pointee.view.isLive {
        code = unsafe Handle.isFresh(map, handle) ? CAREG_ANSWERED : CAREG_E_STALE
        seen = unsafe map.pointee.view.revision
        // The map's random number, so that no two maps have the same; the epoch moves with every change of a status.
        mark = unsafe map.pointee.view.nonce ^ map.pointee.view.epoch &* 0x9e37_79b9_7f4a_7c15
        if code != CAREG_ANSWERED { mark = ~mark }
    }
    if let statuses = unsafe statuses { unsafe statuses.pointee = mark }
    if let revision = unsafe revision { unsafe revision.pointee = seen }
    return code
}

@c @implementation
public func careg_close(_ handle: OpaquePointer?) {
    guard let handle = unsafe handle.map({ unsafe UnsafeMutablePointer<Handle>($0) }) else { return }
    unsafe Handle.free(handle)
}
