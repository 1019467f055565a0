public import Certificates
public import RegistryStore
public import Signatures

/// What one page of a list holds.
public struct Page<Row: Sendable, Cursor: Sendable>: Sendable {
    public var rows: [Row]
    /// Where the next page begins; nil on the last one.
    public var next: Cursor?
    /// See the method in the protocol.
    public var totalSize: Int64
}

/// Filters of a list of CA certificates.
public struct CaFilter: Sendable {
    public var instanceID: String?
    public var status: CaStatus?
    public var prefix: SerialNumberPrefix?
    /// Part of the subject's text, case ignored.
    public var subject: String?
    public var expiresBefore: Instant?

    /// Lets everything pass.
    public init() {}

    var needsCertificate: Bool { subject != nil || expiresBefore != nil }

    fileprivate func fits(_ record: CaRecord) throws -> Bool {
        if let status, record.status != status { return false }
        if let prefix, !prefix.matches(record.serialNumber) { return false }
        guard needsCertificate else { return true }
        return certificateFits(
            try storedCertificate(record.der, table: "cas", id: record.id.number), subject: subject,
            expiresBefore: expiresBefore)
    }
}

/// Filters of a list of device certificates.
public struct DeviceFilter: Sendable {
    public var status: DeviceStatus?
    public var prefix: SerialNumberPrefix?
    public var subject: String?
    public var expiresBefore: Instant?

    /// Lets everything pass.
    public init() {}
}

private func certificateFits(_ certificate: Certificate, subject: String?, expiresBefore: Instant?) -> Bool {
    if let expiresBefore, certificate.notAfter >= expiresBefore { return false }
    if let subject, !subject.isEmpty {
        return certificate.subject.description.lowercased().contains(subject.lowercased())
    }
    return true
}

extension RegistryLimits {
    /// Bytes of certificates in one page: a page of long ones comes back short.
    static let pageCertificateBytes = 2_097_152
}

extension Snapshot {
    /// How many CA records fit a filter; nil where counting them would walk more rows than a page may.
    ///
    /// - Parameter instance: nil for all instances.
    func count(_ filter: CaFilter, of instance: InstanceNumber?, limits: RegistryLimits) throws -> Int64? {
        if filter.prefix == nil {
            let all = try instance.map { try tally(of: $0).cas } ?? regionTally().cas
            guard all <= Int64(limits.walkedRowsPerPage) else { return nil }
        }
        var count: Int64 = 0
        var walked = 0
        var isWhole = true
        for range in filter.prefix?.ranges ?? [.all] {
            try cas(of: instance, from: range.lowerBound, after: nil) { record in
                guard range.contains(record.serialNumber) else { return false }
                guard walked < limits.walkedRowsPerPage else {
                    isWhole = false
                    return false
                }
                walked += 1
                if try filter.fits(record) { count += 1 }
                return true
            }
        }
        return isWhole ? count : nil
    }
}

extension Registry {
    /// ListInstances.
    public func instances(after cursor: String?, pageSize: Int) throws -> Page<InstanceView, String> {
        try read { snapshot in
            var page = Page<InstanceView, String>(rows: [], next: nil, totalSize: Int64(try snapshot.instanceCount()))
            try snapshot.instances(after: cursor) { record in
                if page.rows.count == pageSize {
                    page.next = page.rows.last?.record.id
                    return false
                }
                page.rows.append(InstanceView(record: record, tally: try snapshot.tally(of: record.number)))
                return true
            }
            return page
        }
    }

    /// ListRegistrationCodes: the open ones. INSTANCE_NOT_FOUND.
    public func codes(
        of instanceID: String, after cursor: SHA256Digest?, pageSize: Int
    ) throws -> Page<CodeView, SHA256Digest> {
        let now = clock()
        return try read { snapshot in
            let instance = try snapshot.requireInstance(instanceID)
            var page = Page<CodeView, SHA256Digest>(rows: [], next: nil, totalSize: 0)
            var isBeyondCursor = cursor == nil
            try snapshot.codes(of: instance.number) { code in
                defer { if code.hash == cursor { isBeyondCursor = true } }
                guard code.record.isOpen(at: now) else { return true }
                page.totalSize += 1
                let isWanted = isBeyondCursor || cursor.map { $0 < code.hash } ?? true
                if isWanted, code.hash != cursor {
                    if page.rows.count < pageSize {
                        page.rows.append(
                            CodeView(
                                text: code.record.prefix, instanceID: instance.id, hash: code.hash, record: code.record)
                        )
                    } else {
                        page.next = page.rows.last?.hash
                    }
                }
                return true
            }
            return page
        }
    }

    /// ListCaCertificates: INSTANCE_NOT_FOUND.
    public func cas(
        _ filter: CaFilter, after cursor: SerialNumber?, pageSize: Int
    ) throws -> Page<CaView, SerialNumber> {
        try read { snapshot in
            let instance = try filter.instanceID.map { try snapshot.requireInstance($0).number }
            let tally = try instance.map { try snapshot.tally(of: $0) } ?? snapshot.regionTally()
            let total = filter.status.map { tally[$0] } ?? tally.cas
            var page = Page<CaView, SerialNumber>(rows: [], next: nil, totalSize: total)
            if filter.prefix != nil || filter.needsCertificate {
                page.totalSize = try snapshot.count(filter, of: instance, limits: limits) ?? total
            }
            var walked = 0
            var bytes = 0
            var last: SerialNumber?
            for range in filter.prefix?.ranges ?? [.all] {
                try snapshot.cas(of: instance, from: range.lowerBound, after: cursor) { record in
                    guard range.contains(record.serialNumber) else { return false }
                    if page.rows.count == pageSize || walked == limits.walkedRowsPerPage
                        || bytes >= RegistryLimits.pageCertificateBytes
                    {
                        page.next = last
                        return false
                    }
                    walked += 1
                    last = record.serialNumber
                    if try filter.fits(record) {
                        bytes += record.der.count
                        page.rows.append(
                            CaView(record: record, deviceCount: try snapshot.tally(of: record.id).devices))
                    }
                    return true
                }
                if page.next != nil { break }
            }
            return page
        }
    }

    /// ListDeviceCertificates: CA_NOT_FOUND.
    public func devices(
        of serialNumber: SerialNumber, _ filter: DeviceFilter, after cursor: DeviceCursor?, pageSize: Int
    ) throws -> Page<DeviceView, DeviceCursor> {
        try read { snapshot in
            let ca = try snapshot.requireCa(serialNumber)
            let tally = try snapshot.tally(of: ca.id)
            let total = filter.status.map { tally[$0] } ?? tally.devices
            var page = Page<DeviceView, DeviceCursor>(rows: [], next: nil, totalSize: total)
            var walked = 0
            var bytes = 0
            var last: DeviceRecord?
            var lastID: DeviceID?
            let start = filter.prefix?.ranges.first.map { SerialNumber(isNegative: false, magnitude: $0.lowerBound) }
            try snapshot.deviceList(of: ca.id, from: filter.prefix == nil ? nil : start, after: cursor) { id, status in
                if page.rows.count == pageSize || walked == limits.walkedRowsPerPage
                    || bytes >= RegistryLimits.pageCertificateBytes
                {
                    if let lastID {
                        let record = try last ?? snapshot.requireDevice(lastID, under: ca.id)
                        page.next = DeviceCursor(serialNumber: record.serialNumber, id: record.id)
                    }
                    return false
                }
                walked += 1
                lastID = id
                last = nil
                guard status != .deleted, filter.status == nil || filter.status == status else { return true }
                let record = try snapshot.requireDevice(id, under: ca.id)
                last = record
                if let prefix = filter.prefix, !prefix.matches(record.serialNumber) {
                    // Beyond all that the prefix can fit, nothing more is walked.
                    return !prefix.isBehind(record.serialNumber)
                }
                if filter.subject != nil || filter.expiresBefore != nil {
                    let certificate = try storedCertificate(record.der, table: "devices", id: record.id.number)
                    guard
                        certificateFits(certificate, subject: filter.subject, expiresBefore: filter.expiresBefore)
                    else { return true }
                }
                bytes += record.der.count
                page.rows.append(DeviceView(record: record, ca: ca))
                return true
            }
            return page
        }
    }
}
