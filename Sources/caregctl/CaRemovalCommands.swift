internal import ArgumentParser
internal import CaregClient
internal import CaregProto

// The verbs that shut devices out: they say beforehand what they will do.

extension CaCommand {
    struct Unregister: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a CA certificate Inactive: its devices are refused from then on.",
            discussion: """
                The SN and the ownership stay; caregctl ca activate takes it back. On a terminal you are asked first, \
                unless --yes is given.
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var confirmation: ConfirmationOptions
        @Argument(completion: LiveCompletion.authorities) var sn: SerialNumberArgument

        func run() throws {
            let client = try global.connect()
            let certificate = try CaListing.get(sn, from: client)
            try confirmation.ask(Self.consequences(certificate), output: global.output, withoutTerminal: .goOn)
            var request = Careg_V1_UnregisterCaCertificateRequest()
            request.sn = sn.text
            try CaListing.show(client.unregisterCaCertificate(request).caCertificate, global)
        }

        static func consequences(_ certificate: Careg_V1_CaCertificate) -> [String] {
            guard certificate.status != .inactive else {
                return ["this changes nothing: the CA certificate \(certificate.sn) is inactive already"]
            }
            let devices = Readable.count(certificate.deviceCount, "device certificate")
            return [
                "this makes the CA certificate \(certificate.sn) (\(certificate.subject)) of the instance "
                    + "\(certificate.instanceID) inactive: its \(devices) will be refused"
            ]
        }
    }

    struct Delete: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete a CA certificate and its device certificates for good.",
            discussion: """
                Its SN is free for any instance afterwards. A deleted CA certificate is forgotten: where another one \
                of the instance vouches for it, its devices stay trusted through that one; unregister refuses them. \
                On a terminal you are asked first; without one, --yes is needed.
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var confirmation: ConfirmationOptions
        @Argument(completion: LiveCompletion.authorities) var sn: SerialNumberArgument

        func run() throws {
            let client = try global.connect()
            let certificate = try CaListing.get(sn, from: client)
            try confirmation.ask(Self.consequences(certificate), output: global.output, withoutTerminal: .refuse)
            var request = Careg_V1_DeleteCaCertificateRequest()
            request.sn = sn.text
            try CaListing.show(client.deleteCaCertificate(request).caCertificate, global)
        }

        static func consequences(_ certificate: Careg_V1_CaCertificate) -> [String] {
            let devices = Readable.count(certificate.deviceCount, "device certificate")
            var sentences = [
                "this deletes the CA certificate \(certificate.sn) (\(certificate.subject)) of the instance "
                    + "\(certificate.instanceID) and its \(devices) for good"
            ]
            for sn in certificate.vouchedBy {
                sentences.append(
                    "SN \(sn) vouches for it: its devices stay trusted through that one (unregister refuses them)")
            }
            return sentences
        }
    }
}
