internal import CCareg
internal import CCaregSystem
internal import CMosquitto

/// A client of the broker: one that has shown a certificate, or is known to have none.
///
/// The reference to the certificate that it holds is what identifies a connection: as long as it is held, no other
/// certificate has its address, so that a connection that got the memory of an ended one is not mistaken for it.
@safe struct Client {
    typealias Pointer = UnsafeMutablePointer<Client>

    /// Where a client stands; each is in one list.
    enum Place: Int {
        /// Decided on by the map.
        case settled
        /// Decided on by the daemon: the map does not hold it.
        case asked
        /// Nobody answers; admitted earlier, or by `on_failure open`.
        case unsettled
        /// To be decided on again.
        case pending
        /// To be disconnected.
        case doomed
        /// Disconnected; its last will may be asked about at once, or later.
        case left, leftForLong
        /// Connected without a certificate: nothing of it is decided here.
        case plain
    }

    static var placeCount: Int { 8 }

    /// The broker's client: an address, never looked into.
    let key: OpaquePointer
    /// An X509, with a reference of ours; nil where it has shown none.
    let certificate: UnsafeMutableRawPointer?
    /// A copy of its id.
    let id: UnsafeMutablePointer<CChar>
    var session = careg_session()
    var hasSession = false
    /// The session is the daemon's: the map does not hold the device.
    var isFromDaemon = false
    /// Unix seconds at which time alone ends the trust; `Int64.max`: never.
    var validUntil = Int64.max
    /// CLOCK_MONOTONIC since when nobody has answered; 0: all is well.
    var unsettledSince: UInt64 = 0
    var isRefusalLogged = false
    var isBeingKicked = false
    var place = Place.settled

    // The table's.
    var previous: Pointer?
    var next: Pointer?
    var nextInBucket: Pointer?

    /// nil where there is no memory; the reference to the certificate stays the caller's then.
    static func make(_ key: OpaquePointer, _ certificate: UnsafeMutableRawPointer?) -> Pointer? {
        guard let name = unsafe mosquitto_client_id(key), let id = unsafe strdup(name) else { return nil }
        guard let memory = unsafe calloc(1, MemoryLayout<Client>.size) else {
            unsafe CCaregSystem.free(id)
            return nil
        }
        let client = unsafe memory.assumingMemoryBound(to: Client.self)
        unsafe client.initialize(to: Client(key: key, certificate: certificate, id: id))
        return unsafe client
    }

    static func free(_ client: Pointer) {
        if let certificate = unsafe client.pointee.certificate { unsafe careg_mosquitto_free_certificate(certificate) }
        unsafe CCaregSystem.free(client.pointee.id)
        unsafe client.deinitialize(count: 1)
        unsafe CCaregSystem.free(client)
    }

    /// Whether a connection is the one that this client was made for.
    ///
    /// - Parameter id: of the connection.
    func hasID(_ id: UnsafePointer<CChar>?) -> Bool {
        guard let id = unsafe id else { return false }
        return unsafe strcmp(id, self.id) == 0
    }
}
