internal import ArgumentParser
internal import CaregClient
internal import CaregProto
internal import Foundation

struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Ask whether a device certificate is trusted, and why not.",
        discussion: """
            Without --dry-run this is what a broker asks: a device that is seen for the first time may be registered. \
            The exit status is 0 where it is trusted, 1 where it is not.

              caregctl verify --instance plant-1 --dry-run device.crt intermediate.crt
              caregctl verify --instance plant-1 --dry-run --at 2030-01-01T00:00:00Z device.crt
            """)

    @OptionGroup var global: GlobalOptions
    @Option(help: "The instance that the device connects to.", completion: LiveCompletion.instances) var instance:
        String
    @Flag(help: "Register nothing.") var dryRun = false
    @Option(
        help: ArgumentHelp(
            "Answer for this moment: RFC 3339 or unix seconds. Only with --dry-run.", valueName: "time"))
    var at: TimeArgument?
    @Argument(
        help: ArgumentHelp(
            "PEM (one or more certificates) or DER: the device's first, then any others.", valueName: "file"),
        completion: .file())
    var files: [String]

    func run() throws {
        var request = Careg_V1_VerifyRequest()
        request.instanceID = instance
        request.dryRun = dryRun
        if let at { request.at = at.timestamp }
        for file in files {
            request.chain += try CertificateFile.certificates(in: InputFile.read(file), path: file).map { Data($0) }
        }
        let verdict = try global.connect().verify(request).verdict
        try global.print(verdict) { Self.lines(verdict) }
        if !verdict.trusted { throw ExitCode(Failure.Exit.refused.rawValue) }
    }

    static func lines(_ verdict: Careg_V1_Verdict) -> String {
        var pairs = [
            ("trusted", verdict.trusted ? Cell("yes", .good) : Cell("no", .bad)),
            ("reason", Cell(Readable.constant(verdict.reason, of: "Reason"))),
        ]
        if !verdict.detail.isEmpty { pairs.append(("detail", Cell(verdict.detail))) }
        pairs += [
            ("ca sn", Cell(verdict.caSn.isEmpty ? "-" : verdict.caSn)),
            ("device sn", Cell(verdict.deviceSn.isEmpty ? "-" : verdict.deviceSn)),
            ("fingerprint", Cell(verdict.fingerprint.isEmpty ? "-" : verdict.fingerprint)),
            ("valid until", Cell(Readable.time(verdict.validUntil, isSet: verdict.hasValidUntil))),
            ("registered now", Cell(verdict.registered ? "yes" : "no")),
            ("revision", Cell(verdict.revision)),
        ]
        return Listing.lines(pairs)
    }
}
