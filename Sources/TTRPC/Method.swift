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

    public init(
        service: String, name: String, kind: Kind, requestBytes: Int? = nil,
        handler: @escaping @Sendable (ServerCall) -> Void
    ) {
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
    private let names: [(service: [UInt8], name: [UInt8])]
    private let services: Set<String>
    /// Open addressing with linear probing; at most half full, so that a probe ends soon.
    private var slots: [Int32]

    init(_ methods: [Method]) {
        self.methods = methods
        names = methods.map { (Array($0.service.utf8), Array($0.name.utf8)) }
        services = Set(methods.map(\.service))
        var size = 16
        while size < methods.count * 2 { size *= 2 }
        slots = [Int32](repeating: -1, count: size)
        for (index, name) in names.enumerated() {
            var slot = Self.hash(name.service.span, name.name.span) & (size - 1)
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

    func index(service: Span<UInt8>, name: Span<UInt8>) -> Int? {
        var slot = Self.hash(service, name) & (slots.count - 1)
        while slots[slot] >= 0 {
            let index = Int(slots[slot])
            let (candidateService, candidateName) = names[index]
            if Self.equal(candidateService.span, service) && Self.equal(candidateName.span, name) { return index }
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
        for index in left.indices where left[index] != right[index] { return false }
        return true
    }
}
