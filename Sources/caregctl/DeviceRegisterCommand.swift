internal import ArgumentParser
internal import CaregClient
internal import CaregProto
internal import Foundation

extension DeviceCommand {
    struct Register: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Register device certificates explicitly: they are Active then.",
            discussion: """
                Also lifts the mark that a deleted device certificate leaves.

                  caregctl device register --instance plant-1 --cert a.crt --chain b.crt
                  caregctl device register --instance plant-1 --folder devices/
                  cat *.pem | caregctl device register --instance plant-1 --stream -

                Of a folder, the files .pem .crt .cer .der are taken; those that hold keys or requests only are passed \
                over. A stream is PEM certificates one after the other; each is a device's. Many are registered over \
                one connection, several at once. One that is refused does not stop the others; at the end stands how \
                many were registered, were there already, and were refused and why. Run again, those that are there \
                already are left as they are. The exit status is 1 where any was refused.

                With one --cert the answer is the device certificate; with more, or with --folder or --stream, \
                --output json is {"registered":N,"alreadyRegistered":N,"refused":N,"turnedAway":N,"unanswered":N,\
                "passedOver":N,"failures":[{"source":...,"error":{...}}]}.
                """)

        @OptionGroup var global: GlobalOptions
        @Option(help: "The instance that the devices connect to.", completion: LiveCompletion.instances) var instance:
            String
        @Option(
            help: ArgumentHelp("A device certificate, PEM or DER. May be repeated.", valueName: "file"),
            completion: .file())
        var cert: [String] = []
        @Option(
            help: ArgumentHelp("A folder: every certificate file in it.", valueName: "dir"), completion: .directory)
        var folder: String?
        @Option(
            help: ArgumentHelp("Concatenated PEM certificates; - for standard input.", valueName: "file"),
            completion: .file())
        var stream: String?
        @Option(
            help: ArgumentHelp(
                "Intermediates: PEM with one or more certificates, or DER. May be repeated.", valueName: "file"),
            completion: .file())
        var chain: [String] = []

        func validate() throws {
            if cert.isEmpty, folder == nil, stream == nil {
                throw ValidationError("Say what to register: --cert, --folder or --stream.")
            }
        }

        func run() throws {
            var request = Careg_V1_RegisterDeviceCertificateRequest()
            request.instanceID = instance
            request.chain = try chain.map { Data(try InputFile.read($0)) }
            if cert.count == 1, folder == nil, stream == nil {
                request.certificate = Data(try InputFile.read(cert[0]))
                try DeviceListing.show(global.connect().registerDeviceCertificate(request).deviceCertificate, global)
                return
            }
            let work = DeviceRegistrations(
                request: request, queue: try UploadQueue(files: cert, folder: folder, stream: stream))
            try work.run(on: global.connect())
            try work.summary.report(as: global.output)
        }
    }
}

/// Many device certificates on their way into the registry.
final class DeviceRegistrations {
    /// Calls without an answer at most: enough for full commits, few enough to leave room for others.
    private static let outstanding = 256

    /// Without its certificate.
    private let request: Careg_V1_RegisterDeviceCertificateRequest
    private var queue: UploadQueue
    private(set) var summary = BulkSummary()
    private var progress = ProgressLine()
    private let pace = Pace()
    /// What each call under way is about, by its number.
    private var sources: [Int: String] = [:]
    private var asked = 0

    init(request: Careg_V1_RegisterDeviceCertificateRequest, queue: UploadQueue) {
        self.request = request
        self.queue = queue
    }

    /// Registers all of them, and notes what became of each.
    ///
    /// - Throws: what was wrong before the first one.
    func run(on client: CaregClient) throws {
        // A wrong instance is told once, and not of each certificate.
        var known = Careg_V1_GetInstanceRequest()
        known.id = request.instanceID
        _ = try client.getInstance(known)
        defer {
            progress.clear()
            summary.passedOver = queue.passedOver
        }
        do {
            try client.registerDeviceCertificates(
                outstanding: Self.outstanding, next: next, onAnswer: { self.take($1, of: $0) })
        } catch let error as CaregConnectionError {
            summary.unanswered = sources.count
            summary.stop = Failure(error)
        }
        if summary.isEmpty, summary.stop == nil, summary.unanswered == 0 { throw queue.emptiness }
    }

    /// The next request; those that cannot be read are noted on the way.
    private func next(mayWait: Bool) throws -> CaregClient.Supply<Careg_V1_RegisterDeviceCertificateRequest> {
        while true {
            let next: UploadQueue.Next
            do {
                next = try queue.next(mayWait: mayWait)
            } catch let failure as Failure {
                // What was sent is still answered, and told of.
                summary.stop = failure
                return .end
            }
            switch next {
            case .end: return .end
            case .notYet: return .notYet
            case .upload(let upload):
                showProgress()
                switch upload.contents {
                case .failure(let failure): summary.note(failure, of: upload.source)
                case .success(let bytes):
                    sources[asked] = upload.source
                    asked += 1
                    var request = request
                    request.certificate = Data(bytes)
                    return .request(request)
                }
            }
        }
    }

    /// - Returns: whether to go on.
    private func take(
        _ answer: Result<Careg_V1_RegisterDeviceCertificateResponse, CaregFailure>, of number: Int
    ) -> Bool {
        defer { showProgress() }
        let source = sources.removeValue(forKey: number) ?? "?"
        switch answer {
        case .success:
            summary.noteRegistered()
            return true
        case .failure(let refusal):
            // The daemon knows whether it is this device that is there, or one that is in its way.
            if refusal.reason == "DEVICE_ALREADY_REGISTERED", refusal.metadata["same_device"] == "true" {
                summary.noteAlreadyRegistered(status: refusal.metadata["status"])
                return true
            }
            return summary.note(refusal, of: source)
        }
    }

    private func showProgress() {
        let of = queue.count.map { " of \($0)" } ?? ""
        progress.show("\(summary.done)\(of): \(summary.inShort); \(pace.text(done: summary.done))")
    }
}
