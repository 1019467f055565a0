/// The limits of a ``Server``. Past a limit on requests or answers in flight, reading pauses; nothing is lost.
public struct ServerLimits: Hashable, Sendable {
    /// Connections, of all listeners together. One too many is accepted and closed at once.
    public var connections: Int = 1024
    /// How many of ``connections`` only listeners with `usesReserve` may take.
    public var reservedConnections: Int = 16
    /// Calls in flight on one connection, server streams among them.
    public var requestsPerConnection: Int = 1024
    /// Calls in flight over all connections. Past it, a connection may still have a few.
    public var requestsInFlight: Int = 8192
    /// Data of one Request frame, in bytes. A longer one is refused, and its bytes are skipped, not kept.
    public var requestBytes: Int = 1_048_576
    /// Data of any frame, in bytes, sent or received. A longer one ends the connection.
    public var frameBytes: Int = 4_194_304
    /// Requests in flight over all connections, unfinished frames included, in bytes.
    public var requestBytesInFlight: Int = 12 * 1_048_576
    /// Answers that peers have not taken, over all connections, in bytes. At twice as many, those who have read nothing
    /// for the longest time are cut off.
    public var unsentBytes: Int = 8 * 1_048_576
    /// How long a peer may stall in the middle of a frame, or leave answers unread.
    public var stall: Duration = .seconds(10)
    /// Threads that read, decode, call the handlers and write.
    public var eventLoops: Int = 2

    public init() {}
}

extension ServerLimits {
    /// Descriptors left to the rest of the process.
    static let descriptorsForTheRest = 64
    /// What one connection may read in a turn of its event loop, in bytes: less where many have something to say.
    static let readBytes = 65_536
    static let leastReadBytes = 4_096
    /// What all connections of an event loop read in a turn, about, in bytes.
    static let readBytesOfAll = 262_144
    /// Calls that one connection may start in a turn of its event loop: fewer where many have something to say.
    static let callsPerTurn = 128
    static let leastCallsPerTurn = 16
    /// Calls that all connections of an event loop start in a turn, about.
    static let callsOfAllPerTurn = 256
    /// Calls answered in place in one turn of an event loop from which on it looks a few times more before it sleeps.
    static let callsOfBusyTurn = 16
    static let looksBeforeSleep = 48
    /// Connections accepted in a turn of the event loop, of each listener.
    static let acceptsPerTurn = 16
    /// Reads of one connection at a shutdown, so that what was sent before gets an answer.
    static let readsAtShutdown = 32
    /// Calls that a connection may have in flight where all have more than they may.
    static let guaranteedCalls = 4
    /// How long a connection that ended for a protocol error is still drained, so that the peer gets to read why.
    static let linger: Duration = .seconds(1)
    /// How much is drained then, in bytes.
    static let lingerBytes = 8 * 1_048_576
    /// Unsent bytes of a connection from which a server stream on it has to wait, and from which its socket is written to
    /// before its next request is looked at.
    static let streamWindowBytes = 262_144
    /// The latter, where all connections together leave much unread.
    static let streamWindowBytesWhereMuchIsUnsent = 16_384
    /// How long a peer has read nothing before it is cut off because far too much is unread.
    static let reliefPatience: Duration = .milliseconds(20)
    /// Buffers that an event loop keeps for reuse, and their greatest size in bytes.
    static let spareBuffers = 4
    static let spareBufferBytes = 262_144

    /// Requests of up to so many bytes, a sixteenth of the largest, have a part of the budget for themselves.
    var smallRequestBytes: Int { requestBytes / 16 }
    /// What every connection may hold whatever the others do, in bytes: three eighths of the budget, divided.
    var guaranteedBytesPerConnection: Int { requestBytesInFlight / 8 * 3 / max(1, connections) }
    /// What small requests share beyond that, in bytes.
    var smallSharedRequestBytes: Int { max(smallRequestBytes, requestBytesInFlight / 8) }
    /// What is shared beyond that, in bytes.
    var sharedRequestBytes: Int { max(requestBytes, requestBytesInFlight / 8 * 3) }
    /// What one connection may have of the shared part, in bytes: at least one request.
    var shareOfRequestBytes: Int { max(requestBytes, sharedRequestBytes / 4) }
    /// Bytes that were read and not looked at, because a limit came first; from then on less is read at a time.
    var unparsedBytes: Int { requestBytesInFlight / 8 }
    /// What one connection may leave unsent before its next request waits, in bytes.
    var shareOfUnsentBytes: Int { max(1, unsentBytes / 4) }
    /// What one connection may leave unsent even where all together leave far too much, in bytes.
    var evenShareOfUnsentBytes: Int { max(1, unsentBytes / max(1, connections)) }
    /// From how many unsent bytes on large answers wait; the listeners with the reserve have a quarter for themselves.
    func unsentBytesForAnswers(usesReserve: Bool) -> Int { usesReserve ? unsentBytes : unsentBytes - unsentBytes / 4 }
    /// How long a peer may leave answers unread while others wait for room for theirs.
    var stallWhereRoomIsShort: Duration { stall / 4 }
    /// How long a peer that has some of the shared request budget may send nothing in the middle of a frame while others
    /// wait for theirs.
    var stallWhereRequestsWait: Duration { stall / 8 }
    /// The largest request of a server stream, in bytes: it is held for as long as the stream lives.
    var streamRequestBytes: Int { min(requestBytes, 16_384) }

    /// The limits that this process can keep, and what was lowered, in words.
    func fitted(toDescriptors descriptors: Int) -> (limits: ServerLimits, notices: [String]) {
        var fitted = self
        var notices: [String] = []
        fitted.connections = max(1, connections)
        fitted.eventLoops = max(1, eventLoops)
        fitted.requestsPerConnection = max(1, requestsPerConnection)
        fitted.requestsInFlight = max(1, requestsInFlight)
        let room = max(descriptors - Self.descriptorsForTheRest, descriptors / 4, 1)
        if fitted.connections > room {
            notices.append(
                "connections lowered from \(connections) to \(room): the process may open \(descriptors) descriptors")
            fitted.connections = room
        }
        fitted.reservedConnections = min(max(0, reservedConnections), fitted.connections / 2)
        return (fitted, notices)
    }
}
