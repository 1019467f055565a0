import CCareg
import CCaregSystem
import Foundation
import Glibc
import Testing
import TrustMap

struct TestFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// A runtime folder with a trust map, as a daemon keeps one.
final class Place: Sendable {
    let folder: String

    init() throws {
        var template = Array("/tmp/cf-XXXXXX".utf8CString)
        guard unsafe mkdtemp(&template) != nil else { throw TestFailure("mkdtemp: errno \(errno)") }
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    func path(_ name: String) -> String { "\(folder)/\(name)" }

    var map: String { path("trust.map") }

    /// A map with one instance, `plant`, and one good path, 1, to a CA of serial number 0a1b.
    func makeWriter(
        name: String = "trust.map", instance: String = "plant", deviceSlots: UInt32 = 1 << 10
    ) throws -> TrustMapWriter {
        var configuration = TrustMapConfiguration(path: path(name))
        configuration.deviceSlots = deviceSlots
        let writer = try TrustMapWriter(configuration)
        writer.update(revision: 1) { update in
            update.addInstance(instance)
            update.addPath(Self.goodPath(1, instance: instance))
        }
        return writer
    }

    static func goodPath(_ id: UInt64, instance: String = "plant") -> TrustMapPath {
        TrustMapPath(
            id: id, instanceID: instance, anchor: id, anchorSerialNumber: "0a1b", period: .always, status: .trusted)
    }

    // MARK: What tests do to a file behind the writer's back

    func store(_ word: UInt64, at offset: Int, name: String = "trust.map") throws {
        let file = unsafe open(path(name), O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { throw TestFailure("open: errno \(errno)") }
        defer { close(file) }
        var word = word
        guard unsafe pwrite(file, &word, 8, off_t(offset)) == 8 else { throw TestFailure("pwrite: errno \(errno)") }
    }

    /// Makes the last sign of life as old as said.
    func age(milliseconds: UInt64, name: String = "trust.map") throws {
        try store(careg_system_nanoseconds() - milliseconds * 1_000_000, at: 208, name: name)
    }

    /// Sets a byte of the header's checked part, and makes the checksum fit.
    func patchHeader(_ offset: Int, _ value: UInt8) throws {
        var bytes = try Data(contentsOf: URL(fileURLWithPath: map))
        bytes[offset] = value
        var sum: UInt64 = 0xcbf2_9ce4_8422_2325
        for index in 0..<128 where index < 12 || index >= 16 {
            sum = (sum ^ UInt64(bytes[index])) &* 0x0000_0100_0000_01b3
        }
        for index in 0..<8 { bytes[128 + index] = UInt8(truncatingIfNeeded: sum >> UInt64(8 * index)) }
        // Another file: whoever has mapped the old one keeps it as it was.
        try bytes.write(to: URL(fileURLWithPath: map), options: .atomic)
    }
}

extension TrustMapWriter {
    /// Adds a device, or changes it, as one commit.
    @discardableResult
    func put(_ device: TrustMapDevice, revision: UInt64?) -> TrustMapAddition {
        update(revision: revision) { $0.setDevice(device) }
    }
}

extension TrustMapPeriod {
    static let always = TrustMapPeriod(notBefore: 0, notAfter: 4_000_000_000)
}

/// Something that stands for a device certificate: the map only knows its digest.
func certificate(_ number: Int) -> [UInt8] { Array("device certificate number \(number)".utf8) }

func digest(_ bytes: [UInt8]) -> [UInt8] {
    var words = [UInt64](repeating: 0, count: 4)
    unsafe careg_system_sha256(bytes, bytes.count, &words)
    return words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(8 * $0)) } }
}

func device(
    _ number: Int, instance: String = "plant", path: UInt64 = 1, period: TrustMapPeriod = .always,
    _ status: TrustMapStatus = .trusted
) -> TrustMapDevice {
    guard let fingerprint = MapFingerprint(digest: digest(certificate(number))) else {
        preconditionFailure("SHA-256 has 32 bytes")
    }
    return TrustMapDevice(
        instanceID: instance, fingerprint: fingerprint, path: path, period: period, status: status)
}

/// What a call has said.
struct Answer: Equatable, CustomStringConvertible {
    var code: Int32
    var reason: UInt32?
    var serial = ""
    var validUntil: Int64 = 0
    var revision: UInt64 = 0
    var source: UInt32 = 0

    static let trusted: UInt32 = 1

    var isTrusted: Bool { code == 0 && reason == Self.trusted }

    var description: String {
        let name = unsafe careg_error_name(code).map { unsafe String(cString: $0) } ?? "?"
        let why = reason.map { number in unsafe careg_reason_name(number).map { unsafe String(cString: $0) } ?? "?" }
        return "\(name) \(why ?? "")"
    }
}

/// A handle of the library, as Swift sources of the same code have it.
@safe final class Handle: @unchecked Sendable {
    private let handle: OpaquePointer
    static let verdictSize = MemoryLayout<careg_verdict>.size

    init(
        _ place: Place, instance: String = "plant", stalenessMilliseconds: UInt32 = 0,
        timeoutMilliseconds: UInt32 = 0, map: String? = nil
    ) throws {
        var opened: OpaquePointer?
        let code = unsafe place.folder.withCString { folder in
            unsafe instance.withCString { instance in
                unsafe withOptionalCString(map) { map in
                    var options = unsafe careg_options(
                        size: MemoryLayout<careg_options>.size, runtime_dir: folder, instance: instance,
                        staleness_ms: stalenessMilliseconds, timeout_ms: timeoutMilliseconds, map: map)
                    return unsafe careg_open(&options, &opened)
                }
            }
        }
        guard code == 0, let opened = unsafe opened else { throw TestFailure("careg_open: \(code)") }
        unsafe handle = unsafe opened
    }

    deinit { unsafe careg_close(handle) }

    func check(_ der: [UInt8]) -> Answer { session(checking: der).answer }

    func check(_ number: Int) -> Answer { check(certificate(number)) }

    func session(checking der: [UInt8]) -> (answer: Answer, session: careg_session) {
        var verdict = careg_verdict()
        verdict.size = Self.verdictSize
        let code = unsafe careg_check(handle, der, der.count, &verdict)
        return (Self.answer(code, verdict), verdict.session)
    }

    func verify(_ chain: [UInt8]...) -> Answer { session(verifying: chain).answer }

    func session(verifying chain: [[UInt8]]) -> (answer: Answer, session: careg_session) {
        var verdict = careg_verdict()
        verdict.size = Self.verdictSize
        let lengths = chain.map(\.count)
        let memory = unsafe chain.map { certificate -> UnsafeMutableBufferPointer<UInt8> in
            let copy = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: certificate.count)
            _ = unsafe copy.initialize(from: certificate)
            return unsafe copy
        }
        defer { unsafe memory.forEach { unsafe $0.deallocate() } }
        let pointers = unsafe memory.map { unsafe UnsafePointer($0.baseAddress) }
        let code = unsafe careg_verify(handle, pointers, lengths, chain.count, &verdict)
        return (Self.answer(code, verdict), verdict.session)
    }

    func check(_ session: careg_session) -> Answer {
        var session = session
        var reason: UInt32 = 0
        let code = unsafe careg_session_check(handle, &session, &reason)
        return Answer(code: code, reason: code == 0 ? reason : nil)
    }

    func changes() -> (code: Int32, statuses: UInt64, revision: UInt64) {
        var statuses: UInt64 = 0
        var revision: UInt64 = 0
        let code = unsafe careg_changes(handle, &statuses, &revision)
        return (code, statuses, revision)
    }

    private static func answer(_ code: Int32, _ verdict: careg_verdict) -> Answer {
        guard code == 0 else { return Answer(code: code) }
        var verdict = verdict
        let serial = unsafe withUnsafeBytes(of: &verdict.ca_sn) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        return Answer(
            code: code, reason: verdict.reason, serial: serial, validUntil: verdict.valid_until,
            revision: verdict.revision, source: verdict.source)
    }
}

private func withOptionalCString<Result>(_ text: String?, _ body: (UnsafePointer<CChar>?) -> Result) -> Result {
    guard let text else { return body(nil) }
    return unsafe text.withCString { unsafe body($0) }
}
