internal import ArgumentParser
internal import CaregClient
internal import CaregProto

struct CodeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "code",
        abstract: "Registration codes: what a verification certificate's CommonName must be.",
        subcommands: [Issue.self, List.self, Revoke.self])
}

extension CodeCommand {
    struct Issue: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Issue a registration code. It is shown this once only.",
            discussion: """
                Prove possession of a CA's key with it:

                  openssl req -new -key device.key -subj "/CN=CODE" -out verification.csr
                  openssl x509 -req -in verification.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
                -sha256 -out verification.pem
                  caregctl ca register --instance ID --ca ca.pem --verification verification.pem
                """)

        @OptionGroup var global: GlobalOptions
        @Argument(completion: LiveCompletion.instances) var instance: String
        @Option(help: "How long it is valid: 90s 15m 12h 30d 2w. (default: 30d)") var ttl: DurationArgument?

        func run() throws {
            var request = Careg_V1_IssueRegistrationCodeRequest()
            request.instanceID = instance
            if let ttl { request.ttl = ttl.message }
            try CodeCommand.show(global.connect().issueRegistrationCode(request).registrationCode, global)
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List an instance's open codes: their first 8 characters.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var paging: PagingOptions
        @Argument(completion: LiveCompletion.instances) var instance: String

        func run() throws {
            let client = try global.connect()
            try Paging(paging).printList(
                as: global.output, header: ["CODE", "ISSUED", "EXPIRES"],
                row: {
                    [Cell($0.code), Cell(Readable.shortTime($0.createTime)), Cell(Readable.shortTime($0.expireTime))]
                },
                fetch: { size, token in
                    var request = Careg_V1_ListRegistrationCodesRequest()
                    request.instanceID = instance
                    request.pageSize = size
                    request.pageToken = token
                    return try client.listRegistrationCodes(request)
                })
        }
    }

    struct Revoke: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Revoke an open code.")

        @OptionGroup var global: GlobalOptions
        @Argument(completion: LiveCompletion.instances) var instance: String
        @Argument(
            help: "The code or its beginning; it must fit one open code only.", completion: LiveCompletion.codes)
        var prefix: String

        func run() throws {
            var request = Careg_V1_RevokeRegistrationCodeRequest()
            request.instanceID = instance
            request.prefix = prefix
            try CodeCommand.show(global.connect().revokeRegistrationCode(request).registrationCode, global)
        }
    }

    fileprivate static func show(_ code: Careg_V1_RegistrationCode, _ global: GlobalOptions) throws {
        try global.print(code) {
            Listing.lines([
                ("code", Cell(code.code)),
                ("instance", Cell(code.instanceID)),
                ("issued", Cell(Readable.time(code.createTime))),
                ("expires", Cell(Readable.time(code.expireTime))),
                ("revision", Cell(code.revision)),
            ])
        }
    }
}
