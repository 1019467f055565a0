internal import COpenSSL
internal import Certificates
internal import Dispatch
internal import Registry
internal import Signatures
internal import Synchronization

/// The first sight of a device: path search and signature check, in the registry, without the wire.
struct FirstSightBench {
    private static let callsPerRound = 4_000
    private let workshop: Workshop
    private let rounds: Int

    init(_ workshop: Workshop, rounds: Int) {
        self.workshop = workshop
        self.rounds = rounds
    }

    func run(into report: inout Report) throws {
        for (kind, least) in [(Workshop.KeyKind.p256, 0.90), (.rsa, 0.80)] {
            let authority = try workshop.authority(kind, name: "first sight \(kind.rawValue)")
            let bench = try workshop.registry()
            try bench.register(authority)
            let device = try workshop.device("device", by: authority)
            try measure(kind, least, bench, device, authority, &report)
        }
    }

    private func measure(
        _ kind: Workshop.KeyKind, _ least: Double, _ bench: BenchRegistry, _ device: [UInt8],
        _ authority: Workshop.Authority, _ report: inout Report
    ) throws {
        let tools = VerificationTools()
        guard try bench.verify([device], tools: tools, isDryRun: true).isTrusted else {
            throw BenchFailure("the device is not trusted")
        }
        let anchor = try Certificate(der: PEM.certificate(in: workshop.bytes(of: authority.certificate)))
        let bare = try BareVerification(of: try Certificate(der: device), with: anchor)
        let library = try LibraryVerification(anchor: anchor.der)
        var (own, bareRounds, libraryRounds, both) = (Rounds(), Rounds(), Rounds(), Rounds())
        for _ in 0..<rounds {
            own.append(
                1e9
                    / (try nanosecondsPerCall(Self.callsPerRound) { _ in
                        _ = try bench.verify([device], tools: tools, isDryRun: true)
                    }))
            bareRounds.append(1e9 / nanosecondsPerCall(Self.callsPerRound) { _ in bare.check() })
            libraryRounds.append(1e9 / nanosecondsPerCall(Self.callsPerRound / 4) { _ in library.check(device) })
            both.append(try rateOfTwoThreads(bench, device))
        }
        let name = "first sight \(kind.rawValue)"
        report.add(
            Figure(
                name: name, unit: "/s", value: own.median, baselineName: "EVP_PKEY_verify", baseline: bareRounds.median,
                target: .atLeast(least), spread: own.spread))
        report.add(
            Figure(
                name: name, unit: "/s", value: own.median, baselineName: "d2i_X509 + X509_verify_cert",
                baseline: libraryRounds.median, target: .atLeast(2.5), spread: libraryRounds.spread))
        report.add(
            Figure(
                name: name + ", two threads", unit: "/s", value: both.median, baselineName: "one thread",
                baseline: own.median, target: .atLeast(1.9), spread: both.spread))
    }

    private func rateOfTwoThreads(_ bench: BenchRegistry, _ device: [UInt8]) throws -> Double {
        let calls = Self.callsPerRound
        let failures = Atomic<Int>(0)
        let registry = bench.registry
        let start = nanoseconds()
        DispatchQueue.concurrentPerform(iterations: 2) { _ in
            let tools = VerificationTools()
            let question = VerifyQuestion(
                instanceID: BenchRegistry.instance, chain: [device], isDryRun: true, at: nil, hearsOf: [])
            for _ in 0..<calls {
                registry.verify(question, tools: tools, caller: BenchRegistry.caller) { result in
                    if case .success(let verdict) = result, verdict.isTrusted { return }
                    failures.add(1, ordering: .relaxed)
                }
            }
        }
        guard failures.load(ordering: .relaxed) == 0 else { throw BenchFailure("a verdict of two threads is wrong") }
        return Double(2 * calls) / (nanoseconds() - start) * 1e9
    }
}

/// The primitive alone: one digest, one key, one context.
@safe private final class BareVerification {
    private let context: OpaquePointer
    private let key: OpaquePointer
    private let digest: [UInt8]
    private let signature: [UInt8]

    init(of certificate: Certificate, with issuer: Certificate) throws {
        let loaded = unsafe issuer.publicKeyInfoBytes.withUnsafeBufferPointer { bytes in
            var position = bytes.baseAddress
            return unsafe d2i_PUBKEY(nil, &position, bytes.count)
        }
        guard let loaded = unsafe loaded, let context = unsafe EVP_PKEY_CTX_new_from_pkey(nil, loaded, nil),
            unsafe EVP_PKEY_verify_init(context) == 1,
            unsafe EVP_PKEY_CTX_set_signature_md(context, EVP_get_digestbyname("SHA256")) == 1
        else { throw BenchFailure("no key for the baseline") }
        unsafe key = unsafe loaded
        unsafe self.context = unsafe context
        digest = SHA256Digest(hashing: certificate.toBeSignedBytes).bytes
        signature = Array(certificate.der[certificate.signature])
        guard isGood else { throw BenchFailure("the baseline's signature does not verify") }
    }

    deinit {
        unsafe EVP_PKEY_CTX_free(context)
        unsafe EVP_PKEY_free(key)
    }

    private var isGood: Bool {
        unsafe EVP_PKEY_verify(context, signature, signature.count, digest, digest.count) == 1
    }

    func check() { precondition(isGood) }
}

/// What a broker does today: parse with OpenSSL, verify with OpenSSL.
@safe private final class LibraryVerification {
    private let store: OpaquePointer

    init(anchor: [UInt8]) throws {
        guard let store = unsafe X509_STORE_new(), let certificate = unsafe Self.parse(anchor),
            unsafe X509_STORE_add_cert(store, certificate) == 1
        else { throw BenchFailure("no store for the baseline") }
        unsafe self.store = unsafe store
        unsafe X509_free(certificate)
    }

    deinit { unsafe X509_STORE_free(store) }

    private static func parse(_ der: [UInt8]) -> OpaquePointer? {
        unsafe der.withUnsafeBufferPointer { bytes in
            var position = bytes.baseAddress
            return unsafe d2i_X509(nil, &position, bytes.count)
        }
    }

    func check(_ der: [UInt8]) {
        guard let certificate = unsafe Self.parse(der), let context = unsafe X509_STORE_CTX_new() else { return }
        defer {
            unsafe X509_STORE_CTX_free(context)
            unsafe X509_free(certificate)
        }
        let isGood = unsafe X509_STORE_CTX_init(context, store, certificate, nil) == 1 && X509_verify_cert(context) == 1
        precondition(isGood)
    }
}
