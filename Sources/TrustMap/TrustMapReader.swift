import CTrustMap
import Glibc

/// What the map says of a device.
public struct TrustMapAnswer: Sendable, Equatable {
    /// A verdict's raw reason: exactly what Verify says at that moment; nil: ask.
    public var reason: UInt8?
    /// Unix seconds: the first moment at which time alone ends the verdict; nil where time does not.
    public var validUntil: Int64?
    public var revision: UInt64
}

/// A map that cannot be read.
public enum TrustMapReadingFault: Error, Sendable, Equatable {
    case system(call: String, code: Int32)
    /// Shorter than its header says.
    case truncated
    case foreign
    case otherLayout
    case damaged
    case superseded
    /// The instance is not in the map.
    case instanceUnknown
}

/// A reader of a trust map in Swift: what libcareg does, for tests and for the daemon's own questions.
@safe public final class TrustMapReader: @unchecked Sendable {
    private let view: MapView
    private let base: UnsafeRawPointer
    private let byteCount: Int

    /// Maps the file at a path read-only.
    public init(path: String) throws(TrustMapReadingFault) {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw .system(call: "open", code: errno) }
        defer { close(file) }
        var status = stat()
        guard unsafe fstat(file, &status) == 0 else { throw .system(call: "fstat", code: errno) }
        let size = Int(status.st_size)
        guard size > 0 else { throw .truncated }
        guard let mapped = unsafe mmap(nil, size, PROT_READ, MAP_SHARED, file, 0), unsafe mapped != MAP_FAILED else {
            throw .system(call: "mmap", code: errno)
        }
        do {
            view = try unsafe MapView(base: UnsafeRawPointer(mapped), size: size)
        } catch {
            unsafe munmap(mapped, size)
            switch error {
            case .truncated: throw .truncated
            case .foreign: throw .foreign
            case .otherLayout: throw .otherLayout
            case .damaged: throw .damaged
            }
        }
        unsafe base = UnsafeRawPointer(mapped)
        byteCount = size
    }

    deinit {
        unsafe munmap(UnsafeMutableRawPointer(mutating: base), byteCount)
    }

    public var generation: UInt64 { view.generation }
    public var revision: UInt64 { view.revision }
    public var isSuperseded: Bool { !view.isLive }

    /// Whether the daemon gave a sign of life within a time.
    public func isFresh(milliseconds: UInt32) -> Bool {
        let boot = bootIdentity()
        guard view.bootID == boot, boot != (0, 0) else { return false }
        let heartbeat = view.heartbeat
        return view.isFresh(heartbeat: heartbeat, now: monotonicNanoseconds(), limit: milliseconds)
    }

    /// What the map says of a device of an instance now, or at another time (unix seconds).
    public func look(
        up fingerprint: MapFingerprint, of instanceID: String, at now: Int64? = nil
    ) throws(TrustMapReadingFault) -> TrustMapAnswer {
        guard view.isLive else { throw .superseded }
        guard let id = MapInstanceID(instanceID), let instance = view.findInstance(id) else {
            throw .instanceUnknown
        }
        let place = MapPlace(slot: view.firstSlot(of: fingerprint, instance: instance), isHint: false)
        let reading = view.read(fingerprint, instance: instance, at: place, now: now ?? unixSeconds())
        switch reading.outcome {
        case .superseded: throw .superseded
        case .ask: return TrustMapAnswer(reason: nil, validUntil: nil, revision: reading.revision)
        case .decided:
            return TrustMapAnswer(
                reason: UInt8(truncatingIfNeeded: reading.reason),
                validUntil: reading.validUntil == 0 ? nil : reading.validUntil, revision: reading.revision)
        }
    }
}
