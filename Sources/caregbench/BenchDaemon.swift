internal import CaregClient
internal import CaregProto
internal import Foundation
internal import Glibc
internal import SwiftProtobuf

/// A daemon of its own, with the instance `bench`. Its state folder is `s` in the folder that it is given.
final class BenchDaemon {
    private let process = Process()
    let runtimeFolder: String

    var adminSocket: String { runtimeFolder + "/admin.sock" }
    var brokerSocket: String { runtimeFolder + "/broker.sock" }
    var processIdentifier: Int32 { process.processIdentifier }

    /// - Parameters:
    ///   - processor: where it runs; nil: on any.
    ///   - createsInstance: false where its registry has one already.
    init(folder: String, processor: Int32? = nil, createsInstance: Bool = true) throws {
        runtimeFolder = folder + "/r"
        process.executableURL = URL(fileURLWithPath: Workshop.program("caregd"))
        process.arguments = ["--state-dir", Self.stateFolder(in: folder), "--runtime-dir", runtimeFolder]
        process.standardError = FileHandle.nullDevice
        try Processors.pinned(processor) { try process.run() }
        let deadline = nanoseconds() + 10e9
        while (try? CaregClient(path: adminSocket)) == nil {
            guard nanoseconds() < deadline, process.isRunning else { throw BenchFailure("caregd does not start") }
            usleep(5_000)
        }
        guard createsInstance else { return }
        _ = try CaregClient(path: adminSocket).createInstance(
            .with {
                $0.id = BenchRegistry.instance
                $0.edition = .platinum
            })
    }

    static func stateFolder(in folder: String) -> String { folder + "/s" }

    func stop() {
        process.terminate()
        process.waitUntilExit()
    }

    /// What memory it has, in MiB, without the map and LMDB's pages, which are files.
    func ownMebibytes() throws -> Double {
        let status = try String(contentsOfFile: "/proc/\(processIdentifier)/status", encoding: .utf8)
        let line = status.split(separator: "\n").first { $0.hasPrefix("RssAnon:") }
        guard let kibibytes = line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({ Double($0) })
        else {
            throw BenchFailure("the kernel does not tell of a process's own memory")
        }
        return kibibytes / 1_024
    }

    /// - Returns: the SN.
    @discardableResult
    func register(_ authority: Workshop.Authority, of workshop: Workshop) throws -> String {
        let client = try CaregClient(path: adminSocket)
        let code = try client.issueRegistrationCode(.with { $0.instanceID = BenchRegistry.instance }).registrationCode
            .code
        return try client.registerCaCertificate(
            .with {
                $0.instanceID = BenchRegistry.instance
                $0.caCertificate = Data(try workshop.bytes(of: authority.certificate))
                $0.verificationCertificate = Data(try workshop.proof(code: code, by: authority))
            }
        ).caCertificate.sn
    }

    /// A device that is known, and in the map, with its CA.
    struct KnownDevice {
        var authority: Workshop.Authority
        /// Of the CA certificate.
        var sn: String
        /// DER.
        var certificate: [UInt8]
    }

    /// - Parameters:
    ///   - name: the device's.
    ///   - authorityName: its CA's.
    func knownDevice(_ name: String, by authorityName: String, of workshop: Workshop) throws -> KnownDevice {
        let authority = try workshop.authority(.p256, name: authorityName)
        let sn = try register(authority, of: workshop)
        let device = try workshop.device(name, by: authority)
        try requireTrusted(device)
        return KnownDevice(authority: authority, sn: sn, certificate: device)
    }

    /// Has a device verified, which registers it.
    func requireTrusted(_ device: [UInt8]) throws {
        let verdict = try CaregClient(path: adminSocket).verify(Self.question(device)).verdict
        guard verdict.trusted else { throw BenchFailure("the device is not trusted: \(verdict.detail)") }
    }

    private static func question(_ device: [UInt8]) -> Careg_V1_VerifyRequest {
        .with {
            $0.instanceID = BenchRegistry.instance
            $0.chain = [Data(device)]
        }
    }

    /// The Request frame of a Verify.
    static func verifyFrame(_ device: [UInt8]) throws -> [UInt8] {
        let payload: [UInt8] = try question(device).serializedBytes()
        return LoadConnection.request("careg.v1.VerifierService", "Verify", payload)
    }
}
