import Foundation
import Testing

/// The ttrpc client of Go, as Debian packages it, against the daemon.
@Suite struct GoClientTests {
    /// Where Debian's packages of Go libraries are.
    private static let library = "/usr/share/gocode"

    private static var isGoThere: Bool {
        FileManager.default.isExecutableFile(atPath: "/usr/bin/go")
            && FileManager.default.fileExists(atPath: library + "/src/github.com/containerd/ttrpc/client.go")
    }

    @Test(.enabled(if: isGoThere, "go, or golang-github-containerd-ttrpc-dev, is not installed"))
    func theGoClientIsServed() throws {
        let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let folder = tests.deletingLastPathComponent().appending(path: ".build/go")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let client = folder.appending(path: "goclient-\(UUID().uuidString.prefix(8))").path
        defer { try? FileManager.default.removeItem(atPath: client) }
        let settings = [
            "GO111MODULE=off", "GOPATH=\(Self.library)", "GOCACHE=\(folder.path)/cache", "CGO_ENABLED=0", "GOFLAGS=",
        ]
        let source = tests.appending(path: "GoClient").path
        let built = try run(
            "/usr/bin/env", ["-C", source] + settings + ["/usr/bin/go", "build", "-o", client, "."], seconds: 120)
        #expect(built.exit == 0, "\(built)")

        let daemon = try Daemon()
        let result = try run(client, ["daemon", daemon.adminSocket, daemon.brokerSocket], seconds: 60)
        #expect(result.exit == 0 && result.text.hasSuffix("the connection lives\n"), "\(result)\n\(daemon.log)")
    }
}
