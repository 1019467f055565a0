internal import ArgumentParser
internal import CaregClient
internal import CaregProto
internal import Foundation

extension CaCommand {
    struct Register: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Register a CA certificate, or a folder of them, with the proof that you hold its private key.",
            discussion: """
                Get a registration code first: caregctl code issue --help says how the proof is made.

                  caregctl ca register --instance plant-1 --ca CA.crt --verification proof.crt
                  caregctl ca register --instance plant-1 --folder cas/

                In a folder, a CA certificate and its verification certificate are two files (.pem .crt .cer .der) of \
                which the second has the first one's name and "verification" behind it: line1.crt goes with \
                line1-verification.crt, line1.verification.pem or line1_verification.crt. CA.crt and \
                verificationCert.crt are a pair, too, and so they are in each folder that stands in it. The pair's name \
                becomes the CA certificate's. What will be done is said first; a file without its partner is named. \
                Those that are registered already are left as they are. The exit status is 1 where any was refused or \
                lacks its partner.

                With --folder, --output json is {"registered":N,"alreadyRegistered":N,"refused":N,"turnedAway":N,\
                "unanswered":N,"passedOver":N,"failures":[{"source":...,"error":{...}}]}.
                """)

        @OptionGroup var global: GlobalOptions
        @Option(help: "The instance that registers it.", completion: LiveCompletion.instances) var instance: String
        @Option(help: ArgumentHelp("The CA certificate, PEM or DER.", valueName: "file"), completion: .file())
        var ca: String?
        @Option(
            help: ArgumentHelp(
                "A certificate with the registration code as CommonName, signed by the CA's key.", valueName: "file"),
            completion: .file())
        var verification: String?
        @Option(
            help: ArgumentHelp("Pairs of CA and verification certificates.", valueName: "dir"), completion: .directory)
        var folder: String?
        @Option(help: "Free text for people.") var name: String?
        @Option(help: "What happens to unknown devices: automatic (default), pending or explicit.")
        var deviceRegistration: DeviceRegistrationArgument?

        func validate() throws {
            if folder != nil {
                guard ca == nil, verification == nil, name == nil else {
                    throw ValidationError("--folder stands alone: without --ca, --verification and --name.")
                }
            } else if ca == nil {
                throw ValidationError("Say what to register: --ca and --verification, or --folder.")
            } else if verification == nil {
                let steps = Proof.steps(instance: instance, ca: ca ?? "CA.crt").joined(separator: "\n")
                throw ValidationError("--verification is missing: the proof that you hold the CA's key.\n\(steps)")
            }
        }

        func run() throws {
            var request = Careg_V1_RegisterCaCertificateRequest()
            request.instanceID = instance
            if let deviceRegistration { request.deviceRegistration = deviceRegistration.message }
            if let folder {
                let work = CaRegistrations(request: request, pairs: try CaPairs(folder: folder), folder: folder)
                try work.run(on: global.connect(), output: global.output)
                return try work.summary.report(as: global.output)
            }
            guard let ca, let verification else { return }
            request.caCertificate = Data(try InputFile.read(ca))
            request.verificationCertificate = Data(try InputFile.read(verification))
            request.name = name ?? ""
            do {
                try CaListing.show(global.connect().registerCaCertificate(request).caCertificate, global)
            } catch let refusal as CaregFailure where Proof.isNeeded(after: refusal) {
                var failure = Failure(refusal)
                failure.advice = Proof.steps(instance: instance, ca: ca)
                throw failure
            }
        }
    }
}

/// How possession of a CA's key is proved.
enum Proof {
    /// Whether another verification certificate is what a refusal asks for.
    static func isNeeded(after refusal: CaregFailure) -> Bool {
        ["CODE_MISMATCH", "CODE_EXPIRED", "CODE_USED", "VERIFICATION_NOT_SIGNED_BY_CA", "VERIFICATION_EXPIRED"]
            .contains(refusal.reason)
    }

    /// What to type, from the code on.
    static func steps(instance: String, ca: String) -> [String] {
        [
            "  next: 1. caregctl code issue \(instance)",
            "        2. openssl req -new -newkey rsa:2048 -nodes -keyout verification.key -subj \"/CN=CODE\" "
                + "-out verification.csr",
            "        3. openssl x509 -req -in verification.csr -CA \(ca) -CAkey CA.key -CAcreateserial -days 30 -sha256 "
                + "-out verification.crt",
            "        4. caregctl ca register --instance \(instance) --ca \(ca) --verification verification.crt",
        ].map(TerminalText.escape)
    }
}

/// The CA certificates of a folder on their way into the registry.
final class CaRegistrations {
    /// Without its certificates.
    private let request: Careg_V1_RegisterCaCertificateRequest
    private let pairs: CaPairs
    private let folder: String
    private(set) var summary = BulkSummary()
    private var progress = ProgressLine()

    init(request: Careg_V1_RegisterCaCertificateRequest, pairs: CaPairs, folder: String) {
        self.request = request
        self.pairs = pairs
        self.folder = folder
    }

    /// Says what will be done, does it, and notes what became of each.
    func run(on client: CaregClient, output: OutputFormat) throws {
        guard !pairs.pairs.isEmpty || !pairs.lonely.isEmpty else {
            throw Failure.cannotRead(folder, "there is no certificate in it")
        }
        let known = try registered(client)
        if output == .table {
            for line in intentions(known) { StandardError.write(line: line) }
        }
        for lonely in pairs.lonely { summary.note(.unpaired(lonely), of: lonely.file) }
        defer { progress.clear() }
        for (index, pair) in pairs.pairs.enumerated() {
            progress.show("\(index) of \(pairs.pairs.count): \(summary.inShort)")
            if let status = known[pair.ca] {
                summary.noteAlreadyRegistered(status: status)
            } else if try !register(pair, on: client) {
                break
            }
        }
    }

    /// - Returns: whether to go on.
    private func register(_ pair: CaPairs.Pair, on client: CaregClient) throws -> Bool {
        var request = request
        request.name = pair.name
        do {
            request.caCertificate = Data(try InputFile.read(pair.ca))
            request.verificationCertificate = Data(try InputFile.read(pair.verification))
            _ = try client.registerCaCertificate(request)
            summary.noteRegistered()
        } catch let failure as Failure {
            summary.note(failure, of: pair.ca)
        } catch let refusal as CaregFailure {
            return summary.note(refusal, of: pair.ca)
        } catch let error as CaregConnectionError {
            summary.unanswered = 1
            summary.stop = Failure(error)
            return false
        }
        return true
    }

    /// Those of the folder's CA certificates that the instance has, by their paths, with their status.
    ///
    /// Their codes are used up: the daemon would say so, and not that they are there.
    private func registered(_ client: CaregClient) throws -> [String: String] {
        let list = try Paging().collect { size, token in
            var query = Careg_V1_ListCaCertificatesRequest()
            query.instanceID = request.instanceID
            query.pageSize = size
            query.pageToken = token
            return try client.listCaCertificates(query)
        }
        let statuses = Dictionary(
            list.caCertificates.map { ($0.fingerprint, Readable.status($0.status).text) }, uniquingKeysWith: { $1 })
        var known: [String: String] = [:]
        for pair in pairs.pairs {
            // What cannot be read is told of when it is registered.
            guard let contents = try? InputFile.read(pair.ca),
                let certificates = try? CertificateFile.certificates(in: contents, path: pair.ca),
                let der = certificates.first, certificates.count == 1
            else { continue }
            var digest = SHA256()
            digest.update(der)
            known[pair.ca] = statuses[digest.hexDigits]
        }
        return known
    }

    private func intentions(_ known: [String: String]) -> [String] {
        let new = pairs.pairs.filter { known[$0.ca] == nil }
        let count = Readable.count(new.count, "CA certificate")
        var lines = ["caregctl: this registers \(count) with the instance \(request.instanceID)"]
        lines += new.map { "  \($0.name): \($0.ca), with \($0.verification)" }
        lines += pairs.pairs.filter { known[$0.ca] != nil }.map { "  \($0.name): \($0.ca) is registered already" }
        return lines.map(TerminalText.escape)
    }
}

extension Failure {
    /// A file of a folder that lacks its partner.
    static func unpaired(_ lonely: CaPairs.Lonely) -> Failure {
        Failure(
            exit: .refused, code: "INVALID_ARGUMENT", reason: "FILE_WITHOUT_PARTNER", message: lonely.sentence,
            metadata: ["file": lonely.file])
    }
}
