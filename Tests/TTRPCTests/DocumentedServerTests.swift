import Foundation
import TTRPC
import Testing

// The example of TTRPC's documentation, word by word; `.ci/docs` compares them.

private func greetings(atSocket path: String) throws -> Server {
    let greet = Method(service: "example.v1.GreetingService", name: "Greet", kind: .unary) { call in
        call.respond(Array("hello, ".utf8) + call.payload)
    }
    let count = Method(service: "example.v1.GreetingService", name: "Count", kind: .serverStream) { call in
        // Where a message is not taken the peer reads slowly: onWritable says when to go on.
        for number: UInt8 in 1...3 where call.send([number]) != .sent { return }
        call.finish()
    }
    let server = Server(limits: ServerLimits(), methods: [greet, count]) { failure in
        RPCFailure(code: 12, message: "\(failure)")
    }
    try server.start([try Listener.bind(path: path, mode: 0o660, label: "main", usesReserve: false)])
    return server
}

private func greet(_ name: String, atSocket path: String) throws -> String {
    let client = try Client(path: path)
    let answer = try client.call(
        service: "example.v1.GreetingService", method: "Greet", payload: Array(name.utf8), timeout: .seconds(5))
    return String(decoding: answer, as: UTF8.self)
}

@Suite struct DocumentedServerTests {
    @Test func theExampleOfTheDocumentationDoesWhatItSays() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "ttrpc-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appending(path: "s").path
        let server = try greetings(atSocket: path)
        defer { server.shutDown(within: .seconds(1)) }
        #expect(try greet("pump", atSocket: path) == "hello, pump")

        let client = try Client(path: path)
        var numbers: [UInt8] = []
        try client.stream(service: "example.v1.GreetingService", method: "Count", payload: []) { message in
            numbers += message
            return true
        }
        #expect(numbers == [1, 2, 3])
        let failure = #expect(throws: ClientError.self) {
            try client.call(service: "example.v1.GreetingService", method: "None", payload: [], timeout: .seconds(5))
        }
        guard case .refused(let refusal) = failure else {
            Issue.record("\(String(describing: failure))")
            return
        }
        #expect(refusal.code == 12)
    }
}
