internal import Certificates
internal import Registry
internal import RegistryStore
internal import Signatures
internal import SwiftProtobuf
internal import TTRPC
public import TrustMap
internal import Verification

/// The devices that are trusted without a look at a table or a signature: what the trust maps hold.
public protocol KnownDevices: Sendable {
    /// Looks for a device.
    ///
    /// - Parameters:
    ///   - instanceID: the bytes of the instance's id.
    ///   - body: called once where the device is trusted now.
    /// - Returns: false where it is not, or where that takes more than a look. Must not block.
    func withTrust(
        in fingerprint: MapFingerprint, of instanceID: Span<UInt8>, _ body: (borrowing TrustMapTrust) -> Void
    ) -> Bool
}

/// Verify for a device that a trust map trusts: no table is read, no signature checked.
///
/// What is no yes here, or is asked in an unusual way, goes on to ``VerifierService``.
struct KnownVerify: Sendable {
    let devices: any KnownDevices
    let policy: PolicyInForce
    let metrics: ServiceMetrics

    /// The verdict on the device's certificate, if the others of the chain are certificates at all.
    ///
    /// - Returns: nil where the maps say no, or do not say: then the registry is asked.
    func verdict(on question: VerifyQuestion) -> Verdict? {
        guard question.at == nil, let der = question.chain.first else { return nil }
        let digest = SHA256Digest(hashing: der)
        let instance = Array(question.instanceID.utf8)
        var verdict: Verdict?
        _ = devices.withTrust(
            in: MapFingerprint(littleEndianWords: digest.littleEndianWords), of: instance.span
        ) { trust in
            let text = trust.anchorSerialNumber
            let serial = String(decoding: text.indices.map { text[$0] }, as: UTF8.self)
            guard let ca = try? SerialNumber(text: serial) else { return }
            var known = Verdict(reason: .trusted, revision: Revision(trust.revision))
            known.ca = ca
            known.device = Certificate.serialNumber(inKnown: der)
            known.fingerprint = digest
            known.validUntil = trust.validUntil.map { Instant(secondsSince1970: $0) }
            verdict = known
        }
        return verdict
    }

    /// The same, from the request's bytes to the answer's, on the thread that read the frame.
    var handler: InPlaceHandler {
        { payload, caller, answer in self.answer(payload, caller, &answer) }
    }

    /// - Returns: false where it takes a closer look; nothing that was written to `answer` counts then.
    func answer(_ payload: Span<UInt8>, _ caller: InPlaceCaller, _ answer: inout OutputSpan<UInt8>) -> Bool {
        guard let request = PlainVerifyRequest(payload) else { return false }
        let instance = payload.extracting(request.instanceID)
        guard let memo = memo(of: caller), let place = memo.place(of: instance) else { return false }
        // No known device's is longer: not worth the hash.
        guard request.certificate.count <= PEM.maximumCertificateBytes else { return false }
        let der = payload.extracting(request.certificate)
        let digest = SHA256Digest(hashing: der)
        guard let serial = Certificate.serialNumberContents(inKnown: der) else { return false }
        let device = der.extracting(serial)
        // A negative one is written as another number.
        guard device.count <= SerialNumber.maximumByteCount + 1, device[0] < 0x80 else { return false }
        var isWritten = false
        let isTrusted = devices.withTrust(
            in: MapFingerprint(littleEndianWords: digest.littleEndianWords), of: instance
        ) { trust in
            isWritten = KnownAnswer(device: device, digest: digest, trust: trust).write(to: &answer)
        }
        guard isTrusted, isWritten else { return false }
        memo.countTrusted(place, metrics)
        return true
    }

    // MARK: Who may

    /// What is known of a caller; nil where it may ask for nothing: the closer look says why.
    private func memo(of caller: InPlaceCaller) -> KnownVerifyMemo? {
        let generation = policy.generation
        if let memo = caller.memo as? KnownVerifyMemo, memo.generation == generation { return memo }
        let role = SocketRole(rawValue: caller.listener) ?? .broker
        guard let access = try? policy.current.access(of: caller.peer, to: .verifier, on: role) else { return nil }
        let memo = KnownVerifyMemo(generation: generation, access: access)
        caller.memo = memo
        return memo
    }
}

/// What one connection's calls have in common.
private final class KnownVerifyMemo {
    /// Brokers ask for one instance, or a few; of more, the one that has been kept longest is looked up anew.
    private static let instancesKept = 8

    private struct Entry {
        let bytes: [UInt8]
        let id: String
        /// Of its verdicts, once there was one: names that callers make up are no labels.
        var counter: CounterSeries?
    }

    let generation: UInt64
    private let access: Access
    private var entries: [Entry] = []
    private var oldest = 0

    init(generation: UInt64, access: Access) {
        self.generation = generation
        self.access = access
    }

    /// Where an instance is kept that the caller may ask for; nil for any other.
    func place(of instance: Span<UInt8>) -> Int? {
        for index in entries.indices where equal(entries[index].bytes, instance) { return index }
        guard instance.count <= InstanceID.maximumCharacters else { return nil }
        let bytes = instance.indices.map { instance[$0] }
        let id = String(decoding: bytes, as: UTF8.self)
        guard InstanceID.isValid(id), access.covers(id) else { return nil }
        let entry = Entry(bytes: bytes, id: id, counter: nil)
        if entries.count < Self.instancesKept {
            entries.append(entry)
            return entries.count - 1
        }
        defer { oldest = (oldest + 1) % Self.instancesKept }
        entries[oldest] = entry
        return oldest
    }

    func countTrusted(_ place: Int, _ metrics: ServiceMetrics) {
        metrics.countKnown()
        if let counter = entries[place].counter { return counter.increment(by: 1) }
        let counter = metrics.counter(of: .trusted, instanceID: entries[place].id)
        entries[place].counter = counter
        counter.increment(by: 1)
    }
}

private func equal(_ left: [UInt8], _ right: Span<UInt8>) -> Bool {
    guard left.count == right.count else { return false }
    for index in left.indices where left[index] != right[index] { return false }
    return true
}

/// A VerifyRequest as brokers send it: an instance, one certificate, perhaps `dry_run`, each once at most, and no more.
struct PlainVerifyRequest {
    let instanceID: Range<Int>
    let certificate: Range<Int>

    /// Nil for any other, which may be a good one too.
    init?(_ bytes: Span<UInt8>) {
        var instanceID = 0..<0
        var certificate = 0..<0
        var position = 0
        var last: UInt8 = 0
        while position < bytes.count {
            let tag = bytes[position]
            position += 1
            // Each field once, in the order in which every library writes them.
            guard tag > last else { return nil }
            last = tag
            switch tag {
            case 0x0a, 0x12:
                guard let range = Self.range(bytes, &position) else { return nil }
                if tag == 0x0a { instanceID = range } else { certificate = range }
            case 0x18:
                // Nothing is registered here in any case.
                guard position < bytes.count, bytes[position] <= 1 else { return nil }
                position += 1
            default: return nil
            }
        }
        guard !instanceID.isEmpty, !certificate.isEmpty else { return nil }
        self.instanceID = instanceID
        self.certificate = certificate
    }

    /// A length of one to three bytes, and what it is the length of.
    private static func range(_ bytes: Span<UInt8>, _ position: inout Int) -> Range<Int>? {
        var length = 0
        for shift in [0, 7, 14] {
            guard position < bytes.count else { return nil }
            let byte = bytes[position]
            position += 1
            length |= Int(byte & 0x7f) << shift
            if byte < 0x80 {
                guard length <= bytes.count - position else { return nil }
                let start = position
                position += length
                return start..<position
            }
        }
        return nil
    }
}

/// The VerifyResponse for a trusted device, byte by byte as the generated code writes it.
private struct KnownAnswer: ~Escapable {
    private static let longest = 1_024

    /// The contents of the serial number's INTEGER, not negative.
    let device: Span<UInt8>
    let digest: SHA256Digest
    let trust: TrustMapTrust

    @_lifetime(copy device, copy trust)
    init(device: Span<UInt8>, digest: SHA256Digest, trust: borrowing TrustMapTrust) {
        self.device = device
        self.digest = digest
        self.trust = copy trust
    }

    /// - Returns: false where there is too little room.
    func write(to output: inout OutputSpan<UInt8>) -> Bool {
        let significant = device.count > 1 && device[0] == 0 ? device.extracting(1...) : device
        let ca = trust.anchorSerialNumber
        guard !ca.isEmpty, ca.count <= 2 * SerialNumber.maximumByteCount, output.freeCapacity >= Self.longest else {
            return false
        }
        let end = trust.validUntil.flatMap { Google_Protobuf_Timestamp.expressibleSeconds.contains($0) ? $0 : nil }
        let endBytes = end.map { $0 == 0 ? 0 : 1 + Varint.length(UInt64(bitPattern: $0)) }
        let revision = trust.revision

        var length = 4
        length += 1 + Varint.length(UInt64(ca.count)) + ca.count
        length += 1 + Varint.length(UInt64(2 * significant.count)) + 2 * significant.count
        length += 2 + 2 * SHA256Digest.byteCount
        if let endBytes { length += 2 + endBytes }
        if revision != 0 { length += 1 + Varint.length(revision) }

        output.append(0x0a)
        Varint.append(UInt64(length), to: &output)
        output.append(0x08)
        output.append(1)
        output.append(0x10)
        output.append(VerdictReason.trusted.rawValue)
        output.append(0x1a)
        Varint.append(UInt64(ca.count), to: &output)
        for index in ca.indices { output.append(ca[index]) }
        output.append(0x22)
        Varint.append(UInt64(2 * significant.count), to: &output)
        for index in significant.indices { appendHex(significant[index], to: &output) }
        output.append(0x2a)
        output.append(UInt8(2 * SHA256Digest.byteCount))
        let words = digest.littleEndianWords
        appendHex(words.0, to: &output)
        appendHex(words.1, to: &output)
        appendHex(words.2, to: &output)
        appendHex(words.3, to: &output)
        if let end, let endBytes {
            output.append(0x32)
            output.append(UInt8(endBytes))
            if end != 0 {
                output.append(0x08)
                Varint.append(UInt64(bitPattern: end), to: &output)
            }
        }
        if revision != 0 {
            output.append(0x38)
            Varint.append(revision, to: &output)
        }
        return true
    }

    /// The eight bytes of a word, the lowest one first.
    private func appendHex(_ word: UInt64, to output: inout OutputSpan<UInt8>) {
        for index: UInt64 in 0..<8 { appendHex(UInt8(truncatingIfNeeded: word >> (8 * index)), to: &output) }
    }

    private func appendHex(_ byte: UInt8, to output: inout OutputSpan<UInt8>) {
        func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x57 + value }
        output.append(digit(byte >> 4))
        output.append(digit(byte & 15))
    }
}

/// Numbers of the protobuf encoding.
private enum Varint {
    static func length(_ value: UInt64) -> Int { max(1, (70 - value.leadingZeroBitCount) / 7) }

    static func append(_ value: UInt64, to output: inout OutputSpan<UInt8>) {
        var rest = value
        while rest >= 0x80 {
            output.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        output.append(UInt8(truncatingIfNeeded: rest))
    }
}
