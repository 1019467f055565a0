internal import Glibc

/// Answers a unary call right where its frame was read, without a ``ServerCall``: for what takes a microsecond.
///
/// Is called on an event-loop thread, and must not block.
///
/// - Parameters:
///   - payload: the request's payload, where it stands in the receive buffer.
///   - caller: who asks.
///   - answer: takes the answer's payload, ``Method/inPlaceAnswerBytes`` at most.
/// - Returns: false where it has no answer: then ``Method/handler`` is called, and nothing of `answer` is sent.
public typealias InPlaceHandler =
    @Sendable (_ payload: Span<UInt8>, _ caller: InPlaceCaller, _ answer: inout OutputSpan<UInt8>) -> Bool

/// Who makes the calls that an ``InPlaceHandler`` answers: one for each connection.
///
/// Owner: the event loop of the connection, which alone calls handlers with it.
public final class InPlaceCaller {
    public let peer: PeerCredentials
    /// The label of the ``Listener`` that the peer connected to.
    public let listener: String
    /// What the handler wants to remember from one call to the next.
    public var memo: AnyObject?

    /// Remembers nothing yet.
    public init(peer: PeerCredentials, listener: String) {
        self.peer = peer
        self.listener = listener
    }
}

/// A method that a ``Server`` serves.
public struct Method: Sendable {
    public enum Kind: Hashable, Sendable {
        /// One request, one answer.
        case unary
        /// One request, any number of messages.
        case serverStream
    }

    /// The full name, `package.v1.SomeService`, without a slash.
    public let service: String
    public let name: String
    public let kind: Kind
    /// The longest Request frame's data, in bytes, where that is less than ``ServerLimits/requestBytes``.
    ///
    /// A request is held for as long as its call lasts. A method whose calls wait for something takes short ones only.
    public let requestBytes: Int?
    /// Is called on an event-loop thread, and must not block: it answers at once, or later from any thread.
    public let handler: @Sendable (ServerCall) -> Void
    /// Is asked before the handler is; for unary methods only.
    public let inPlace: InPlaceHandler?

    /// The longest payload that an ``InPlaceHandler`` may answer with, in bytes.
    public static let inPlaceAnswerBytes = 4_096

    public init(
        service: String, name: String, kind: Kind, requestBytes: Int? = nil, inPlace: InPlaceHandler? = nil,
        handler: @escaping @Sendable (ServerCall) -> Void
    ) {
        precondition(inPlace == nil || kind == .unary, "a stream cannot be answered in place")
        self.inPlace = inPlace
        self.service = service
        self.name = name
        self.kind = kind
        self.requestBytes = requestBytes
        self.handler = handler
    }
}

/// The methods of a server, found by the bytes of their names: no string is made of a request that is good.
struct MethodTable: Sendable {
    let methods: [Method]
    /// Their handlers in place, by themselves: a look at one does not copy a method.
    let inPlace: [InPlaceHandler?]
    /// The same for what is told of calls.
    let titles: [(service: String, name: String)]
    /// All names, one after the other, and where each method's stand.
    private let names: [UInt8]
    private let ranges: [(service: Range<Int>, name: Range<Int>)]
    private let services: Set<String>
    /// Open addressing with linear probing; at most half full, so that a probe ends soon.
    private var slots: [Int32]

    init(_ methods: [Method]) {
        self.methods = methods
        inPlace = methods.map(\.inPlace)
        titles = methods.map { ($0.service, $0.name) }
        var names: [UInt8] = []
        func add(_ name: String) -> Range<Int> {
            names.append(contentsOf: name.utf8)
            return names.count - name.utf8.count..<names.count
        }
        ranges = methods.map { (add($0.service), add($0.name)) }
        self.names = names
        services = Set(methods.map(\.service))
        var size = 16
        while size < methods.count * 2 { size *= 2 }
        slots = [Int32](repeating: -1, count: size)
        for (index, range) in ranges.enumerated() {
            let hash = Self.hash(names.span.extracting(range.service), names.span.extracting(range.name))
            var slot = hash & (size - 1)
            while slots[slot] >= 0 { slot = (slot + 1) & (size - 1) }
            slots[slot] = Int32(index)
        }
    }

    /// The longest request that a method takes.
    func requestBytes(of index: Int, _ limits: ServerLimits) -> Int {
        let method = methods[index]
        let longest = method.kind == .serverStream ? limits.streamRequestBytes : limits.requestBytes
        return min(longest, method.requestBytes ?? longest)
    }

    func knows(service: String) -> Bool { services.contains(service) }

    /// Whether a method has these names.
    func method(_ index: Int, is service: Span<UInt8>, _ name: Span<UInt8>) -> Bool {
        let names = names.span
        return Self.equal(names.extracting(ranges[index].service), service)
            && Self.equal(names.extracting(ranges[index].name), name)
    }

    func index(service: Span<UInt8>, name: Span<UInt8>) -> Int? {
        var slot = Self.hash(service, name) & (slots.count - 1)
        while slots[slot] >= 0 {
            let index = Int(slots[slot])
            if method(index, is: service, name) { return index }
            slot = (slot + 1) & (slots.count - 1)
        }
        return nil
    }

    /// FNV-1a. The table is made of our own names, so nobody can choose them to collide.
    private static func hash(_ service: Span<UInt8>, _ name: Span<UInt8>) -> Int {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for index in service.indices { hash = (hash ^ UInt64(service[index])) &* 0x100_0000_01b3 }
        hash = (hash ^ 0x2f) &* 0x100_0000_01b3
        for index in name.indices { hash = (hash ^ UInt64(name[index])) &* 0x100_0000_01b3 }
        return Int(truncatingIfNeeded: hash ^ (hash >> 32)) & Int.max
    }

    private static func equal(_ left: Span<UInt8>, _ right: Span<UInt8>) -> Bool {
        guard left.count == right.count else { return false }
        let count = left.count
        // Safe: both are read, and are of that length.
        return unsafe left.withUnsafeBytes { left in
            unsafe right.withUnsafeBytes { right in
                guard let left = left.baseAddress, let right = right.baseAddress else { return true }
                return unsafe memcmp(left, right, count) == 0
            }
        }
    }
}
