internal import SwiftProtobuf
internal import TTRPC

/// A connection to caregd: one function for each method of its three services.
///
/// Every function blocks until the answer is there. It throws ``CaregFailure`` where the daemon refuses, and
/// ``CaregConnectionError`` where no answer comes.
public final class CaregClient: Sendable {
    /// The daemon's socket.
    public let path: String
    /// How long a unary call may take; nil for as long as the connection lives.
    public let timeout: Duration?
    private let client: Client

    /// Connects to the socket.
    ///
    /// - Throws: ``CaregConnectionError/noDaemon(path:errno:)``.
    public init(path: String, timeout: Duration? = nil) throws {
        self.path = path
        self.timeout = timeout
        do {
            client = try Client(path: path)
        } catch {
            throw Self.translate(error)
        }
    }

    func call<Response: SwiftProtobuf.Message>(
        _ service: Service, _ method: String, _ request: some SwiftProtobuf.Message
    ) throws -> Response {
        let payload: [UInt8] = try request.serializedBytes()
        let answer: [UInt8]
        do {
            answer = try client.call(service: service.rawValue, method: method, payload: payload, timeout: timeout)
        } catch {
            throw Self.translate(error)
        }
        return try Self.decode(answer, of: method)
    }

    /// - Parameter onMessage: false ends the stream.
    func stream<Response: SwiftProtobuf.Message>(
        _ service: Service, _ method: String, _ request: some SwiftProtobuf.Message,
        onMessage: (Response) throws -> Bool
    ) throws {
        let payload: [UInt8] = try request.serializedBytes()
        do {
            try client.stream(service: service.rawValue, method: method, payload: payload) { bytes in
                try onMessage(Self.decode(bytes, of: method))
            }
        } catch let error as ClientError {
            throw Self.translate(error)
        }
    }

    /// What comes next, of many calls.
    public enum Supply<Request> {
        case request(Request)
        /// Nothing yet, without a wait.
        case notYet
        /// Nothing more.
        case end
    }

    /// - Parameter onAnswer: false: no more is asked for.
    func callEach<Request: SwiftProtobuf.Message, Response: SwiftProtobuf.Message>(
        _ service: Service, _ method: String, outstanding: Int,
        next: (_ mayWait: Bool) throws -> Supply<Request>,
        onAnswer: (Int, Result<Response, CaregFailure>) throws -> Bool
    ) throws {
        do {
            try client.callEach(
                service: service.rawValue, method: method, outstanding: outstanding,
                next: { mayWait in
                    switch try next(mayWait) {
                    case .request(let request): .request(try request.serializedBytes())
                    case .notYet: .notYet
                    case .end: .end
                    }
                },
                onAnswer: { number, answer in
                    switch answer {
                    case .success(let payload): try onAnswer(number, .success(Self.decode(payload, of: method)))
                    case .failure(let failure): try onAnswer(number, .failure(CaregFailure(failure)))
                    }
                })
        } catch let error as ClientError {
            throw Self.translate(error)
        }
    }

    private static func decode<Response: SwiftProtobuf.Message>(_ bytes: [UInt8], of method: String) throws -> Response
    {
        do {
            return try Response(serializedBytes: bytes)
        } catch {
            throw CaregConnectionError.protocolViolation("the answer of \(method) does not decode")
        }
    }

    private static func translate(_ error: ClientError) -> any Error {
        switch error {
        case .refused(let failure): CaregFailure(failure)
        case .connect(let path, let errno): CaregConnectionError.noDaemon(path: path, errno: errno)
        case .connectionLost(let why): CaregConnectionError.connectionLost(why)
        case .timedOut: CaregConnectionError.timedOut
        case .protocolViolation(let why): CaregConnectionError.protocolViolation(why)
        }
    }
}

/// The full names of the services, as the wire has them.
enum Service: String {
    case registry = "careg.v1.RegistryService"
    case verifier = "careg.v1.VerifierService"
    case admin = "careg.v1.AdminService"
}
