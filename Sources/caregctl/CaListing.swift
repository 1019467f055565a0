internal import CaregClient
internal import CaregProto
internal import SwiftProtobuf

/// CA certificates as people and programs read them.
enum CaListing {
    static func get(_ sn: SerialNumberArgument, from client: CaregClient) throws -> Careg_V1_CaCertificate {
        var request = Careg_V1_GetCaCertificateRequest()
        request.sn = sn.text
        return try client.getCaCertificate(request).caCertificate
    }

    /// - Parameter query: its page size and token are set here.
    static func list(_ query: Careg_V1_ListCaCertificatesRequest, _ paging: Paging, _ global: GlobalOptions) throws {
        let client = try global.connect()
        try paging.printList(
            as: global.output, header: ["SN", "INSTANCE", "STATUS", "EXPIRES", "DEVICES", "NAME", "SUBJECT"],
            row: {
                [
                    Cell($0.sn), Cell($0.instanceID), Readable.status($0.status), Cell(Readable.shortTime($0.notAfter)),
                    Cell($0.deviceCount), Cell($0.name.isEmpty ? "-" : $0.name), Cell($0.subject),
                ]
            },
            fetch: { size, token in
                var request = query
                request.pageSize = size
                request.pageToken = token
                return try client.listCaCertificates(request)
            })
    }

    static func show(_ certificate: Careg_V1_CaCertificate, _ global: GlobalOptions) throws {
        try global.print(certificate) { lines(certificate) }
    }

    static func lines(_ certificate: Careg_V1_CaCertificate) -> String {
        var pairs = [
            ("sn", Cell(certificate.sn)),
            ("instance", Cell(certificate.instanceID)),
            ("name", Cell(certificate.name)),
            ("status", Readable.status(certificate.status)),
            ("subject", Cell(certificate.subject)),
            ("issuer", Cell(certificate.issuer)),
            ("valid from", Cell(Readable.time(certificate.notBefore))),
            ("valid to", Cell(Readable.time(certificate.notAfter))),
            (
                "key",
                Cell("\(Readable.constant(certificate.keyAlgorithm, of: "KeyAlgorithm")) \(certificate.keyBits)")
            ),
            ("fingerprint", Cell(certificate.fingerprint)),
            (
                "device registration",
                Cell(Readable.words(certificate.deviceRegistration, of: "DeviceRegistration"))
            ),
            ("device certificates", Cell(certificate.deviceCount)),
            ("registered", Cell(Readable.time(certificate.registerTime))),
            ("updated", Cell(Readable.time(certificate.updateTime, isSet: certificate.hasUpdateTime))),
            ("revision", Cell(certificate.revision)),
        ]
        for sn in certificate.vouchedBy { pairs.append(("vouched for by", Cell(sn))) }
        return Listing.lines(pairs)
    }
}
