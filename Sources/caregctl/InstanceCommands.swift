internal import ArgumentParser
internal import CaregClient
internal import CaregProto

struct InstanceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "instance",
        abstract: "MQTT instances: who may register CA certificates.",
        subcommands: [Create.self, List.self, Show.self, Update.self, Delete.self])
}

extension InstanceCommand {
    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create an instance.",
            discussion: """
                  caregctl instance create plant-1 --edition professional
                """)

        @OptionGroup var global: GlobalOptions
        @Argument(help: "1 to 64 characters out of A-Z a-z 0-9 - _.") var id: String
        @Option(help: "standard (no CA certificates of its own), professional or platinum.")
        var edition: EditionArgument

        func run() throws {
            var request = Careg_V1_CreateInstanceRequest()
            request.id = id
            request.edition = edition.message
            try InstanceCommand.show(global.connect().createInstance(request).instance, global)
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the instances of the region.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var paging: PagingOptions

        func run() throws {
            let client = try global.connect()
            try Paging(paging).printList(
                as: global.output, header: ["ID", "EDITION", "CAS", "DEVICES", "CREATED"],
                row: {
                    [
                        Cell($0.id), Cell(Readable.words($0.edition, of: "Edition")), Cell($0.caCount),
                        Cell($0.deviceCount), Cell(Readable.shortTime($0.createTime)),
                    ]
                },
                fetch: { size, token in
                    var request = Careg_V1_ListInstancesRequest()
                    request.pageSize = size
                    request.pageToken = token
                    return try client.listInstances(request)
                })
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one instance.")

        @OptionGroup var global: GlobalOptions
        @Argument(completion: LiveCompletion.instances) var id: String

        func run() throws {
            var request = Careg_V1_GetInstanceRequest()
            request.id = id
            try InstanceCommand.show(global.connect().getInstance(request).instance, global)
        }
    }

    struct Update: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Change an instance's edition.")

        @OptionGroup var global: GlobalOptions
        @Argument(completion: LiveCompletion.instances) var id: String
        @Option(help: "To standard only while it holds no CA certificate.") var edition: EditionArgument

        func run() throws {
            var request = Careg_V1_UpdateInstanceRequest()
            request.id = id
            request.edition = edition.message
            try InstanceCommand.show(global.connect().updateInstance(request).instance, global)
        }
    }

    struct Delete: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete an instance that holds no CA certificate, and its open registration codes.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var confirmation: ConfirmationOptions
        @Argument(completion: LiveCompletion.instances) var id: String

        func run() throws {
            let client = try global.connect()
            var lookup = Careg_V1_GetInstanceRequest()
            lookup.id = id
            let instance = try client.getInstance(lookup).instance
            if instance.caCount == 0 {
                try confirmation.ask(
                    ["this deletes the instance \(instance.id), and its open registration codes with it"],
                    output: global.output, withoutTerminal: .goOn)
            }
            // One that still holds CA certificates is the daemon's to refuse.
            var request = Careg_V1_DeleteInstanceRequest()
            request.id = id
            try InstanceCommand.show(client.deleteInstance(request).instance, global)
        }
    }

    fileprivate static func show(_ instance: Careg_V1_Instance, _ global: GlobalOptions) throws {
        try global.print(instance) {
            Listing.lines([
                ("id", Cell(instance.id)),
                ("edition", Cell(Readable.words(instance.edition, of: "Edition"))),
                ("created", Cell(Readable.time(instance.createTime))),
                ("ca certificates", Cell(instance.caCount)),
                ("device certificates", Cell(instance.deviceCount)),
                ("revision", Cell(instance.revision)),
            ])
        }
    }
}
