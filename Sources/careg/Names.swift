internal import CCareg

// What people read: names of numbers, and the version. Literals end with a NUL, and live as long as the library.

private let versionText: StaticString = "1.0.0"

private func text(_ text: StaticString) -> UnsafePointer<CChar>? {
    unsafe UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
}

@c @implementation
public func careg_version() -> UnsafePointer<CChar>? { unsafe text(versionText) }

@c @implementation
public func careg_reason_name(_ reason: UInt32) -> UnsafePointer<CChar>? {
    switch Int(reason) {
    case CAREG_REASON_TRUSTED: unsafe text("TRUSTED")
    case CAREG_REASON_INSTANCE_UNKNOWN: unsafe text("INSTANCE_UNKNOWN")
    case CAREG_REASON_CERTIFICATE_MALFORMED: unsafe text("CERTIFICATE_MALFORMED")
    case CAREG_REASON_CERTIFICATE_TOO_LARGE: unsafe text("CERTIFICATE_TOO_LARGE")
    case CAREG_REASON_ALGORITHM_NOT_ALLOWED: unsafe text("ALGORITHM_NOT_ALLOWED")
    case CAREG_REASON_CA_UNKNOWN: unsafe text("CA_UNKNOWN")
    case CAREG_REASON_CA_OF_ANOTHER_INSTANCE: unsafe text("CA_OF_ANOTHER_INSTANCE")
    case CAREG_REASON_CA_INACTIVE: unsafe text("CA_INACTIVE")
    case CAREG_REASON_CA_EXPIRED: unsafe text("CA_EXPIRED")
    case CAREG_REASON_CA_NOT_YET_VALID: unsafe text("CA_NOT_YET_VALID")
    case CAREG_REASON_SIGNATURE_INVALID: unsafe text("SIGNATURE_INVALID")
    case CAREG_REASON_CHAIN_INVALID: unsafe text("CHAIN_INVALID")
    case CAREG_REASON_NAME_NOT_PERMITTED: unsafe text("NAME_NOT_PERMITTED")
    case CAREG_REASON_USAGE_NOT_ALLOWED: unsafe text("USAGE_NOT_ALLOWED")
    case CAREG_REASON_DEVICE_EXPIRED: unsafe text("DEVICE_EXPIRED")
    case CAREG_REASON_DEVICE_NOT_YET_VALID: unsafe text("DEVICE_NOT_YET_VALID")
    case CAREG_REASON_DEVICE_INACTIVE: unsafe text("DEVICE_INACTIVE")
    case CAREG_REASON_DEVICE_PENDING: unsafe text("DEVICE_PENDING")
    case CAREG_REASON_DEVICE_NOT_REGISTERED: unsafe text("DEVICE_NOT_REGISTERED")
    case CAREG_REASON_DEVICE_DELETED: unsafe text("DEVICE_DELETED")
    case CAREG_REASON_DEVICE_SERIAL_REUSED: unsafe text("DEVICE_SERIAL_REUSED")
    default: unsafe text("UNKNOWN")
    }
}

@c @implementation
public func careg_error_name(_ code: CInt) -> UnsafePointer<CChar>? {
    switch code {
    case CAREG_ANSWERED: unsafe text("CAREG_ANSWERED")
    case CAREG_NOT_IN_MAP: unsafe text("CAREG_NOT_IN_MAP")
    case CAREG_E_ARGUMENT: unsafe text("CAREG_E_ARGUMENT")
    case CAREG_E_MEMORY: unsafe text("CAREG_E_MEMORY")
    case CAREG_E_STALE: unsafe text("CAREG_E_STALE")
    case CAREG_E_UNAVAILABLE: unsafe text("CAREG_E_UNAVAILABLE")
    case CAREG_E_TIMEOUT: unsafe text("CAREG_E_TIMEOUT")
    case CAREG_E_DENIED: unsafe text("CAREG_E_DENIED")
    case CAREG_E_PROTOCOL: unsafe text("CAREG_E_PROTOCOL")
    case CAREG_E_FAULT: unsafe text("CAREG_E_FAULT")
    case CAREG_E_LAYOUT: unsafe text("CAREG_E_LAYOUT")
    case CAREG_E_FOREIGN: unsafe text("CAREG_E_FOREIGN")
    case CAREG_E_TRUNCATED: unsafe text("CAREG_E_TRUNCATED")
    case CAREG_E_DAMAGED: unsafe text("CAREG_E_DAMAGED")
    case CAREG_E_SYSTEM: unsafe text("CAREG_E_SYSTEM")
    default: unsafe text("CAREG_E_UNKNOWN")
    }
}
