internal import CCareg
internal import CTrustMap

/// What a `careg_session` holds.
///
/// It is the caller's memory: whatever it says is checked like anything that a peer says.
struct Session {
    /// "careg" and the layout of these words.
    private static let mark: UInt64 = 0x6765_7261_6300_0001

    var fingerprint: MapFingerprint
    /// The map that was in use; 0: none.
    var nonce: UInt64
    var revision: UInt64
    /// Unix seconds; 0: time does not end it.
    var validUntil: Int64
    /// Unix seconds of the verdict.
    var issuedAt: Int64
    /// The device's slot in that map; `MapReading.noSlot` where it was not in it.
    var slot: UInt32
    var reason: UInt32
    var isFromDaemon: Bool

    /// nil where no verdict has given it.
    init?(_ session: UnsafePointer<careg_session>) {
        let words = unsafe session.pointee.opaque
        guard words.0 == Self.mark else { return nil }
        nonce = words.1
        revision = words.2
        validUntil = Int64(bitPattern: words.3)
        fingerprint = MapFingerprint(word0: words.4, word1: words.5, word2: words.6, word3: words.7)
        slot = UInt32(truncatingIfNeeded: words.8)
        reason = UInt32(truncatingIfNeeded: words.8 &>> 32) & 0x00ff_ffff
        isFromDaemon = words.8 &>> 63 != 0
        issuedAt = Int64(bitPattern: words.9)
    }

    /// The nonce alone, of a session that may be none: a map's is random, and nobody else's.
    @inline(__always)
    static func nonce(_ session: UnsafePointer<careg_session>) -> UInt64 { unsafe session.pointee.opaque.1 }

    /// The slot alone.
    @inline(__always)
    static func slot(_ session: UnsafePointer<careg_session>) -> UInt32 {
        UInt32(truncatingIfNeeded: unsafe session.pointee.opaque.8)
    }

    init(
        fingerprint: MapFingerprint, nonce: UInt64, revision: UInt64, validUntil: Int64, issuedAt: Int64, slot: UInt32,
        reason: UInt32, isFromDaemon: Bool
    ) {
        self.fingerprint = fingerprint
        self.nonce = nonce
        self.revision = revision
        self.validUntil = validUntil
        self.issuedAt = issuedAt
        self.slot = slot
        self.reason = reason
        self.isFromDaemon = isFromDaemon
    }

    var opaque: careg_session {
        let source: UInt64 = isFromDaemon ? 1 &<< 63 : 0
        let place = UInt64(slot) | UInt64(reason & 0x00ff_ffff) &<< 32 | source
        return careg_session(
            opaque: (
                Self.mark, nonce, revision, UInt64(bitPattern: validUntil), fingerprint.word0, fingerprint.word1,
                fingerprint.word2, fingerprint.word3, place, UInt64(bitPattern: issuedAt)
            ))
    }

    /// Whether a yes that the daemon gave still stands, of a device that the map does not hold: nothing has changed in
    /// the registry since, and no time has run out.
    ///
    /// - Parameter view: a live map that is fresh.
    func stands(in view: borrowing MapView, at seconds: Int64) -> Bool {
        guard isFromDaemon, reason == TRUST_MAP_WORD_TRUSTED, nonce == view.nonce, nonce != 0 else { return false }
        // A clock that was set back may be before what the daemon has looked at.
        guard seconds >= issuedAt, validUntil == 0 || seconds < validUntil else { return false }
        return revision == view.revision
    }
}
