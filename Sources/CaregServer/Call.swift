internal import CaregProto
internal import Registry
internal import RegistryStore
internal import SwiftProtobuf
internal import TTRPC

/// What goes with a call, whatever its messages are.
struct CallContext: Sendable {
    /// The call's number since the daemon's start, by which the log tells it from others.
    let request: UInt64
    let method: String
    /// The method changes the registry.
    let changes: Bool
    let access: Access
    let journal: CallJournal
}

/// A unary call with its messages' types: TTRPC's bytes on the one side, careg.v1 on the other.
struct Call<Response: Message>: Sendable {
    let wire: ServerCall
    let context: CallContext

    var access: Access { context.access }

    /// Who called, for the change log.
    var caller: Caller { Caller(wire.peer) }

    /// Answers.
    func succeed(_ response: Response) {
        do {
            let payload: [UInt8] = try response.serializedBytes()
            context.journal.noteAnswer(context, of: wire)
            wire.respond(payload)
        } catch {
            fail(error)
        }
    }

    /// Refuses: the status holds exactly one ErrorInfo.
    func fail(_ error: any Error) {
        context.fail(wire, error)
    }

    /// Answers with a value, or refuses.
    func complete<Value>(_ result: Result<Value, any Error>, _ encode: (Value) throws -> Response) {
        do {
            succeed(try encode(try result.get()))
        } catch {
            fail(error)
        }
    }
}

/// A call that is answered by a stream of messages.
struct StreamCall<Response: Message>: Sendable {
    let wire: ServerCall
    let context: CallContext

    var access: Access { context.access }
    var caller: Caller { Caller(wire.peer) }

    /// Ends the stream with a status.
    func fail(_ error: any Error) {
        context.fail(wire, error)
    }
}

extension CallContext {
    func fail(_ wire: ServerCall, _ error: any Error) {
        journal.note(error, self, of: wire)
        wire.fail(RPCFailure(WireFailure(error)))
    }
}

extension Caller {
    init(_ peer: PeerCredentials) {
        self.init(userID: peer.userID, groupID: peer.groupID, processID: peer.processID)
    }
}

extension RPCFailure {
    init(_ failure: WireFailure) {
        self.init(
            code: failure.code.rawValue, message: failure.message,
            details: [Detail(typeURL: WireFailure.errorInfoTypeURL, value: failure.errorInfo)])
    }
}

/// A call's request, whose bytes are let go. Fields that are not known are dropped: nobody reads them, and they may be long.
///
/// - Throws: ``Registry/Refusal`` ARGUMENT_INVALID for bytes that are no such message.
func decode<Request: Message>(_ wire: ServerCall, as _: Request.Type = Request.self) throws -> Request {
    do {
        var options = BinaryDecodingOptions()
        options.discardUnknownFields = true
        return try Request(serializedBytes: wire.takePayload(), options: options)
    } catch {
        throw Refusal(.argumentInvalid, "The request's payload is not a \(Request.protoMessageName) message.")
    }
}
