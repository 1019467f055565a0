public import Certificates
internal import RegistryStore
public import Signatures

extension Registry {
    /// GetCaCertificate: CA_NOT_FOUND.
    ///
    /// - Parameter signatures: this thread's checker.
    /// - Returns: the CA certificate, and the SNs of other Active ones of its instance that vouch for it: with the same key, or
    ///   its issuer. Its devices stay trusted through them after a delete.
    public func ca(
        _ serialNumber: SerialNumber, signatures: SignatureVerifier
    ) throws -> (view: CaView, vouching: [SerialNumber]) {
        try read { snapshot in
            let record = try snapshot.requireCa(serialNumber)
            let view = CaView(record: record, deviceCount: try snapshot.tally(of: record.id).devices)
            let certificate = try storedCertificate(record.der, table: "cas", id: record.id.number)
            var vouching = try snapshot.cas(keyHash: record.keyHash).filter { $0.instance == record.instance }
            let issuerHash = SHA256Digest(hashing: certificate.issuer.normalized)
            for issuer in try snapshot.cas(subjectHash: issuerHash, of: record.instance)
            where issuer.id != record.id && !vouching.contains(where: { $0.id == issuer.id }) {
                let issuing = try storedCertificate(issuer.der, table: "cas", id: issuer.id.number)
                if signatures.verifies(certificate, with: issuing) { vouching.append(issuer) }
            }
            let others = vouching.filter { $0.id != record.id && $0.status == .active }
            return (view, others.map(\.serialNumber))
        }
    }

    /// ListTrustAnchors: the Active CA certificates of an instance. INSTANCE_NOT_FOUND.
    ///
    /// - Parameter pageBytes: DER bytes from which on a page ends.
    public func trustAnchors(
        of instanceID: String, after cursor: SerialNumber?, pageSize: Int, pageBytes: Int
    ) throws -> Page<CaView, SerialNumber> {
        try read { snapshot in
            let instance = try snapshot.requireInstance(instanceID)
            var page = Page<CaView, SerialNumber>(
                rows: [], next: nil, totalSize: try snapshot.tally(of: instance.number).activeCas)
            var bytes = 0
            try snapshot.cas(of: instance.number, after: cursor) { record in
                guard record.status == .active else { return true }
                if page.rows.count == pageSize || (bytes > 0 && bytes + record.der.count > pageBytes) {
                    page.next = page.rows.last?.record.serialNumber
                    return false
                }
                bytes += record.der.count
                page.rows.append(CaView(record: record, deviceCount: try snapshot.tally(of: record.id).devices))
                return true
            }
            return page
        }
    }
}
