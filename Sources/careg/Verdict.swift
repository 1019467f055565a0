internal import CCareg
internal import CCaregSystem
internal import CTrustMap

/// A verdict of the daemon, as it came.
@safe struct DaemonVerdict {
    var reason: UInt32 = 0
    var isTrusted = false
    var validUntil: Int64 = 0
    var revision: UInt64 = 0
    /// Within the connection's buffer: good until the next question.
    var serial = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
}

extension careg_verdict {
    /// Whether a caller's struct is one that this library can fill.
    @inline(__always)
    static func isUsable(_ out: UnsafeMutablePointer<careg_verdict>) -> Bool {
        unsafe out.pointee.size >= MemoryLayout<careg_verdict>.size
    }

    /// Fills a caller's struct with what the map says.
    ///
    /// - Parameter reason: the reason to tell; the reading's own, or the one that bars the device.
    @inline(__always)
    static func fill(
        _ out: UnsafeMutablePointer<careg_verdict>, _ lookup: Lookup, reason: UInt32, _ fingerprint: MapFingerprint
    ) {
        let reading = lookup.reading
        unsafe out.pointee.reason = reason
        unsafe out.pointee.source = UInt32(CAREG_SOURCE_MAP)
        unsafe out.pointee.valid_until = reading.validUntil
        unsafe out.pointee.revision = reading.revision
        var nonce: UInt64 = 0
        var serial = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        if let map = unsafe lookup.map {
            nonce = unsafe map.pointee.view.nonce
            if unsafe reading.path < map.pointee.view.pathCapacity,
                let found = unsafe map.pointee.view.serial(ofPath: reading.path)
            {
                unsafe serial = unsafe found
            }
        }
        unsafe setSerial(out, serial)
        unsafe out.pointee.session =
            Session(
                fingerprint: fingerprint, nonce: nonce, revision: reading.revision, validUntil: reading.validUntil,
                issuedAt: lookup.seconds, slot: reading.slot, reason: reason, isFromDaemon: false
            ).opaque
    }

    /// Fills a caller's struct with what the daemon says.
    ///
    /// - Parameter nonce: of the map that was in use when the question was sent; 0: none.
    static func fill(
        _ out: UnsafeMutablePointer<careg_verdict>, _ verdict: DaemonVerdict, _ fingerprint: MapFingerprint,
        nonce: UInt64, at seconds: Int64
    ) {
        unsafe out.pointee.reason = verdict.reason
        unsafe out.pointee.source = UInt32(CAREG_SOURCE_DAEMON)
        unsafe out.pointee.valid_until = verdict.validUntil
        unsafe out.pointee.revision = verdict.revision
        unsafe setSerial(out, verdict.serial)
        unsafe out.pointee.session =
            Session(
                fingerprint: fingerprint, nonce: nonce, revision: verdict.revision, validUntil: verdict.validUntil,
                issuedAt: seconds, slot: MapReading.noSlot, reason: verdict.reason, isFromDaemon: true
            ).opaque
    }

    @inline(__always)
    private static func setSerial(_ out: UnsafeMutablePointer<careg_verdict>, _ serial: UnsafeRawBufferPointer) {
        unsafe withUnsafeMutableBytes(of: &out.pointee.ca_sn) { room in
            guard let start = room.baseAddress, let from = serial.baseAddress,
                serial.count < room.count
            else {
                unsafe room[0] = 0
                return
            }
            unsafe start.copyMemory(from: from, byteCount: serial.count)
            unsafe room[serial.count] = 0
        }
    }
}
