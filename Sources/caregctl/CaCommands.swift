internal import ArgumentParser
internal import CaregClient
internal import CaregProto
internal import Foundation
internal import SwiftProtobuf

struct CaCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ca",
        abstract: "CA certificates: register, find, switch on and off.",
        subcommands: [
            Register.self, List.self, Search.self, Show.self, Download.self, Devices.self, Update.self, Activate.self,
            Unregister.self, Delete.self,
        ])
}

extension CaCommand {
    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List CA certificates, all or those that fit.",
            discussion: """
                  caregctl ca list --instance plant-1 --status active
                  caregctl ca list --expires-within 30d --output json
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var paging: PagingOptions
        @Option(help: "Of one instance only.", completion: LiveCompletion.instances) var instance: String?
        @OptionGroup var filters: CertificateFilters

        func run() throws {
            var request = Careg_V1_ListCaCertificatesRequest()
            request.instanceID = instance ?? ""
            if let status = filters.status { request.status = status.message }
            request.snPrefix = filters.snPrefix?.text ?? ""
            request.subject = filters.subject ?? ""
            if let time = filters.expiresBefore { request.expiresBefore = time }
            try CaListing.list(request, Paging(paging), global)
        }
    }

    struct Search: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Find CA certificates by serial number: a whole one or its beginning.",
            discussion: """
                An empty list is no failure.

                  caregctl ca search 5f:3a
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var paging: PagingOptions
        @Argument(
            help: "Hex digits; upper case, colons, 0x and serial= are fine.", completion: LiveCompletion.authorities)
        var sn: SerialNumberArgument

        func run() throws {
            var request = Careg_V1_ListCaCertificatesRequest()
            request.snPrefix = sn.text
            try CaListing.list(request, Paging(paging), global)
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one CA certificate.")

        @OptionGroup var global: GlobalOptions
        @Argument(completion: LiveCompletion.authorities) var sn: SerialNumberArgument

        func run() throws {
            try CaListing.show(CaListing.get(sn, from: global.connect()), global)
        }
    }

    struct Download: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write a CA certificate, as it was uploaded, to standard output or a file.",
            discussion: """
                  caregctl ca download 5f3a9c --format der --out CA.der
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var file: DownloadOptions
        @Argument(completion: LiveCompletion.authorities) var sn: SerialNumberArgument

        func run() throws {
            let certificate = try CaListing.get(sn, from: global.connect())
            try file.write(der: certificate.der, pem: certificate.pem)
        }
    }

    struct Devices: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the device certificates under a CA certificate: as device list --ca SN.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var paging: PagingOptions
        @OptionGroup var filters: CertificateFilters
        @Argument(completion: LiveCompletion.authorities) var sn: SerialNumberArgument

        func run() throws {
            try DeviceListing.list(ca: sn, filters, Paging(paging), global)
        }
    }

    struct Update: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change a CA certificate's name, or what happens to unknown devices.",
            discussion: """
                  caregctl ca update 5f3a9c --name "line 1, until 2030" --device-registration pending
                """)

        @OptionGroup var global: GlobalOptions
        @Argument(completion: LiveCompletion.authorities) var sn: SerialNumberArgument
        @Option(help: "Free text for people; an empty one removes it.") var name: String?
        @Option(help: "automatic, pending or explicit.") var deviceRegistration: DeviceRegistrationArgument?

        func validate() throws {
            if name == nil, deviceRegistration == nil {
                throw ValidationError("Say what to change: --name, --device-registration, or both.")
            }
        }

        func run() throws {
            var request = Careg_V1_UpdateCaCertificateRequest()
            request.sn = sn.text
            if let name { request.name = name }
            if let deviceRegistration { request.deviceRegistration = deviceRegistration.message }
            try CaListing.show(global.connect().updateCaCertificate(request).caCertificate, global)
        }
    }

    struct Activate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a CA certificate Active: its devices are let in again.",
            discussion: "Devices that were deactivated one by one stay so.")

        @OptionGroup var global: GlobalOptions
        @Argument(completion: LiveCompletion.authorities) var sn: SerialNumberArgument

        func run() throws {
            var request = Careg_V1_ActivateCaCertificateRequest()
            request.sn = sn.text
            try CaListing.show(global.connect().activateCaCertificate(request).caCertificate, global)
        }
    }
}

/// Filters that lists of certificates share.
struct CertificateFilters: ParsableArguments {
    @Option(help: "active, inactive or, for devices, pending.") var status: StatusArgument?
    @Option(help: "Part of the subject, case ignored.") var subject: String?
    @Option(help: "The serial number's beginning.") var snPrefix: SerialNumberArgument?
    @Option(help: "Only those that expire within 90s 15m 12h 30d 2w, or have.") var expiresWithin: DurationArgument?

    /// The moment that `--expires-within` means.
    var expiresBefore: Google_Protobuf_Timestamp? { expiresWithin?.timestamp(after: Date()) }
}

/// Where a downloaded certificate goes.
struct DownloadOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("Write here, whole or not at all. (default: standard output)", valueName: "file"),
        completion: .file())
    var out: String?
    @Option(help: "pem or der.") var format: CertificateFormat = .pem

    func write(der: Data, pem: String) throws {
        switch format {
        case .pem: try OutputFile.write(Array(pem.utf8), to: out)
        case .der: try OutputFile.write(Array(der), to: out)
        }
    }
}
