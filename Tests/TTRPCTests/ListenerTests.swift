import CEpoll
import Foundation
import TTRPC
import Testing

/// Socket files: made, taken over, and left alone.
@Suite struct ListenerTests {
    private let folder: URL
    private let path: String

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "ttrpc-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        path = folder.appending(path: "s").path
    }

    private func bind(_ path: String, mode: UInt32 = 0o600) throws -> Listener {
        try Listener.bind(path: path, mode: mode, label: "main", usesReserve: true)
    }

    @Test(arguments: [0o600, 0o660, 0o666] as [UInt32]) func theModeIsTheOneAskedForWhateverTheUmask(mode: UInt32)
        throws
    {
        let listener = try bind(path, mode: mode)
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect((attributes[.posixPermissions] as? NSNumber)?.uint32Value == mode)
        cepoll_close(listener.descriptor)
    }

    @Test func aDeadSocketIsTakenOver() throws {
        cepoll_close(try bind(path).descriptor)
        #expect(FileManager.default.fileExists(atPath: path))
        cepoll_close(try bind(path).descriptor)
    }

    @Test func aSocketWhereSomebodyAnswersIsNot() throws {
        let listener = try bind(path)
        #expect(throws: SocketError.addressInUse(path: path)) { try bind(path) }
        cepoll_close(listener.descriptor)
    }

    @Test func aFileThatIsNoSocketIsLeftAlone() throws {
        try Data("text".utf8).write(to: URL(fileURLWithPath: path))
        #expect(throws: SocketError.occupied(path: path)) { try bind(path) }
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "text")
    }

    @Test func aPathThatCannotBeIsRefused() throws {
        for bad in ["", String(repeating: "x", count: 108), "a\u{0}b"] {
            #expect(throws: SocketError.pathInvalid(path: bad, limit: 107)) { try bind(bad) }
        }
        #expect(throws: SocketError.system(operation: "bind \(path)/s", errno: ENOENT)) { try bind(path + "/s") }
    }

    @Test func anInheritedSocketsFileIsNotRemoved() throws {
        let made = try bind(path)
        let inherited = Listener(descriptor: made.descriptor, label: "main", usesReserve: true, isInherited: true)
        let server = Server(
            limits: ServerLimits(),
            methods: [Method(service: "test.Service", name: "Echo", kind: .unary) { $0.respond($0.payload) }],
            failure: TestServer.failure)
        try server.start([inherited])
        let client = try RawClient(path)
        try client.send(requestFrame(1, "Echo", [1]))
        #expect(try client.answer().status == 0)
        server.shutDown(within: .seconds(5))
        #expect(FileManager.default.fileExists(atPath: path))
    }
}
