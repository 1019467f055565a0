import Foundation
import TTRPC
import Testing

/// The ttrpc client of Go, as Debian packages it, against our server.
@Suite struct GoClientTests {
    @Test(.enabled(if: GoClient.isThere, "go, or golang-github-containerd-ttrpc-dev, is not installed"))
    func theGoClientIsServed() throws {
        // The request's payload is a message, whose one field tells the size as text.
        let large = Method(service: "test.Service", name: "LargeText", kind: .unary) { call in
            let count = Int(String(decoding: call.payload.dropFirst(2), as: UTF8.self)) ?? 0
            call.respond([UInt8](repeating: 0x61, count: count))
        }
        let server = try TestServer(extra: [large])
        let program = try GoClient.build()
        defer { try? FileManager.default.removeItem(atPath: program) }
        let (status, output) = try GoClient.run(program, ["transport", server.path])
        #expect(status == 0, "\(output)")
        #expect(output.hasSuffix("a client may close with a call in flight\n"), "\(output)")
        #expect(eventually { server.isAtRest() })
    }
}

enum GoClient {
    /// Where Debian's packages of Go libraries are.
    private static let library = "/usr/share/gocode"

    static var isThere: Bool {
        FileManager.default.isExecutableFile(atPath: "/usr/bin/go")
            && FileManager.default.fileExists(atPath: library + "/src/github.com/containerd/ttrpc/client.go")
    }

    /// Compiles Tests/GoClient; what was compiled before is kept in Go's cache.
    static func build() throws -> String {
        let files = FileManager.default
        let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let source = tests.appending(path: "GoClient")
        let folder = tests.deletingLastPathComponent().appending(path: ".build/go")
        try files.createDirectory(at: folder, withIntermediateDirectories: true)
        let program = folder.appending(path: "goclient-\(UUID().uuidString.prefix(8))").path
        let settings = [
            "GO111MODULE=off", "GOPATH=\(library)", "GOCACHE=\(folder.path)/cache", "CGO_ENABLED=0", "GOFLAGS=",
        ]
        let (status, output) = try run(
            "/usr/bin/env", ["-C", source.path] + settings + ["/usr/bin/go", "build", "-o", program, "."])
        guard status == 0 else { throw RawClientError(description: "go build: \(output)") }
        return program
    }

    /// Runs a program to its end; gives its exit status, and all that it said.
    static func run(_ program: String, _ arguments: [String]) throws -> (Int32, String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: output, as: UTF8.self))
    }
}
