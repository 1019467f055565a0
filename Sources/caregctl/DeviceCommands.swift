internal import ArgumentParser
internal import CaregClient
internal import CaregProto
internal import Foundation
internal import SwiftProtobuf

struct DeviceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "device",
        abstract: "Device certificates: register, find, switch on and off.",
        subcommands: [
            Register.self, List.self, Show.self, Download.self, Activate.self, Deactivate.self, Delete.self,
        ])
}

/// Which device certificate is meant.
struct DeviceSelectorOptions: ParsableArguments {
    @Argument(
        help: "Serial number of the CA certificate that it is listed under.", completion: LiveCompletion.authorities)
    var caSn: SerialNumberArgument
    @Argument(
        help: "The device certificate's own serial number; a negative one is fine.", completion: LiveCompletion.devices)
    var sn: SerialNumberArgument
    @Option(
        help: ArgumentHelp(
            "SHA-256 of the certificate, where the serial numbers fit several.", valueName: "hex"))
    var fingerprint: String?

    func get(from client: CaregClient) throws -> Careg_V1_DeviceCertificate {
        var request = Careg_V1_GetDeviceCertificateRequest()
        request.caSn = caSn.text
        request.sn = sn.text
        request.fingerprint = fingerprint ?? ""
        return try client.getDeviceCertificate(request).deviceCertificate
    }
}

extension DeviceCommand {
    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the device certificates under a CA certificate.",
            discussion: """
                  caregctl device list --ca 5f3a9c --status pending
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var paging: PagingOptions
        @Option(
            help: ArgumentHelp("The CA certificate's serial number.", valueName: "sn"),
            completion: LiveCompletion.authorities)
        var ca: SerialNumberArgument
        @OptionGroup var filters: CertificateFilters

        func run() throws {
            try DeviceListing.list(ca: ca, filters, Paging(paging), global)
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one device certificate.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var device: DeviceSelectorOptions

        func run() throws {
            try DeviceListing.show(device.get(from: global.connect()), global)
        }
    }

    struct Download: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write a device certificate, as it was first seen, to standard output or a file.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var device: DeviceSelectorOptions
        @OptionGroup var file: DownloadOptions

        func run() throws {
            let certificate = try device.get(from: global.connect())
            try file.write(der: certificate.der, pem: certificate.pem)
        }
    }

    struct Activate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let a device in: one that was deactivated, or that waits.",
            discussion: """
                  caregctl device activate 5f3a9c 77
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var device: DeviceSelectorOptions

        func run() throws {
            var request = Careg_V1_ActivateDeviceCertificateRequest()
            request.caSn = device.caSn.text
            request.sn = device.sn.text
            request.fingerprint = device.fingerprint ?? ""
            try DeviceListing.show(global.connect().activateDeviceCertificate(request).deviceCertificate, global)
        }
    }

    struct Deactivate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Refuse one device from now on, on every path. activate takes it back.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var device: DeviceSelectorOptions

        func run() throws {
            var request = Careg_V1_DeactivateDeviceCertificateRequest()
            request.caSn = device.caSn.text
            request.sn = device.sn.text
            request.fingerprint = device.fingerprint ?? ""
            try DeviceListing.show(global.connect().deactivateDeviceCertificate(request).deviceCertificate, global)
        }
    }

    struct Delete: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete a device certificate. It does not register itself again.",
            discussion: """
                Only caregctl device register lets it in again. On a terminal you are asked first; without one, \
                --yes is needed.
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var confirmation: ConfirmationOptions
        @OptionGroup var device: DeviceSelectorOptions

        func run() throws {
            let client = try global.connect()
            let certificate = try device.get(from: client)
            try confirmation.ask(
                [
                    "this deletes 1 device certificate, \(certificate.sn) (\(certificate.subject)) under the CA "
                        + "certificate \(certificate.caSn): it is refused until it is registered explicitly"
                ], output: global.output, withoutTerminal: .refuse)
            var request = Careg_V1_DeleteDeviceCertificateRequest()
            request.caSn = device.caSn.text
            request.sn = device.sn.text
            // What was shown is what is deleted, whatever else has come under these serial numbers meanwhile.
            request.fingerprint = certificate.fingerprint
            try DeviceListing.show(client.deleteDeviceCertificate(request).deviceCertificate, global)
        }
    }
}

/// Device certificates as people and programs read them.
enum DeviceListing {
    static func list(
        ca: SerialNumberArgument, _ filters: CertificateFilters, _ paging: Paging, _ global: GlobalOptions
    ) throws {
        let client = try global.connect()
        var query = Careg_V1_ListDeviceCertificatesRequest()
        query.caSn = ca.text
        if let status = filters.status { query.status = status.message }
        query.snPrefix = filters.snPrefix?.text ?? ""
        query.subject = filters.subject ?? ""
        if let time = filters.expiresBefore { query.expiresBefore = time }
        try paging.printList(
            as: global.output, header: ["SN", "STATUS", "EXPIRES", "REGISTERED", "FINGERPRINT", "SUBJECT"],
            row: {
                [
                    Cell($0.sn), Readable.status($0.status), Cell(Readable.shortTime($0.notAfter)),
                    Cell(Readable.shortTime($0.registerTime)), Cell(String($0.fingerprint.prefix(16))),
                    Cell($0.subject),
                ]
            },
            fetch: { size, token in
                var request = query
                request.pageSize = size
                request.pageToken = token
                return try client.listDeviceCertificates(request)
            })
    }

    static func show(_ certificate: Careg_V1_DeviceCertificate, _ global: GlobalOptions) throws {
        try global.print(certificate) {
            Listing.lines([
                ("sn", Cell(certificate.sn)),
                ("ca sn", Cell(certificate.caSn)),
                ("instance", Cell(certificate.instanceID)),
                ("status", Readable.status(certificate.status)),
                ("subject", Cell(certificate.subject)),
                ("common name", Cell(certificate.commonName)),
                ("valid from", Cell(Readable.time(certificate.notBefore))),
                ("valid to", Cell(Readable.time(certificate.notAfter))),
                ("fingerprint", Cell(certificate.fingerprint)),
                ("registered", Cell(Readable.time(certificate.registerTime))),
                ("updated", Cell(Readable.time(certificate.updateTime, isSet: certificate.hasUpdateTime))),
                ("revision", Cell(certificate.revision)),
            ])
        }
    }
}
