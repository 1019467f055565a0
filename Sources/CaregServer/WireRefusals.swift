internal import Registry
internal import TTRPC

extension Refusal {
    /// What the transport itself refuses, in the words of the contract.
    init(_ failure: ProtocolFailure) {
        switch failure {
        case .streamInvalid(let text):
            self.init(.streamInvalid, "The stream id is not valid: \(text).")
        case .requestMalformed:
            self.init(.argumentInvalid, "The frame does not hold a ttrpc Request message.")
        case .frameTooLarge(let limit):
            self.init(
                .limitReached, "A frame holds \(limit) bytes at most. The connection is closed.",
                metadata: ["limit": "frame_bytes"])
        case .requestTooLarge(let limit):
            self.init(
                .limitReached, "A request has \(limit) bytes at most.", metadata: ["limit": "request_bytes"])
        case .responseTooLarge(let limit):
            self.init(
                .limitReached, "The answer has more than \(limit) bytes. Ask for a smaller page.",
                metadata: ["limit": "frame_bytes"])
        case .serviceUnknown(let name):
            self.init(
                .methodUnknown,
                "There is no service \(Self.shown(name)); there are "
                    + ServiceName.allCases.map(\.rawValue).joined(separator: ", ") + ".")
        case .methodUnknown(let service, let method):
            self.init(.methodUnknown, "The service \(service) has no method \(Self.shown(method)).")
        case .deadlineExceeded:
            self.init(
                .deadlineExceeded,
                "The call's own deadline passed before it was answered. What it asked for may have been done.")
        case .tooManyRequests(let limit):
            self.init(
                .limitReached, "A connection has \(limit) calls in flight at most, and streams are among them.",
                metadata: ["limit": "requests_per_connection"])
        case .shuttingDown:
            self.init(.shuttingDown, "caregd is stopping. Connect again in a moment.")
        }
    }

    /// A peer's text in a sentence: short, and on one line.
    private static func shown(_ text: String) -> String {
        let plain = text.unicodeScalars.prefix(80).map { (0x21...0x7e).contains($0.value) ? Character($0) : "?" }
        return "“\(String(plain))”"
    }
}
