internal import CaregServer
internal import Synchronization
internal import TrustMap

extension FastPath: KnownDevices {
    func withTrust(
        in fingerprint: MapFingerprint, of instanceID: Span<UInt8>, _ body: (borrowing TrustMapTrust) -> Void
    ) -> Bool {
        if firstMap.withTrust(in: fingerprint, of: instanceID, body) { return true }
        for map in otherMaps.withLock({ $0 }) where map.withTrust(in: fingerprint, of: instanceID, body) { return true }
        return false
    }
}
