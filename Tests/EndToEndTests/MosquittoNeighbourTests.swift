import Foundation
import Glibc
import Testing

/// Other brokers than Mosquitto: the documentation's broker in C, with the real daemon.
@Suite(.enabled(if: hasCompiler)) struct MosquittoNeighbourTests {
    private static let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    /// A TLS client that says a line and hears it, and may resume its last session.
    private static let client = """
        import socket, ssl, sys

        port, certificate, key, authority = int(sys.argv[1]), *sys.argv[2:5]
        context = ssl.create_default_context(cafile=authority)
        context.load_cert_chain(certificate, key)
        session = None
        for line in sys.stdin:
            words = line.split()
            try:
                with context.wrap_socket(
                    socket.create_connection(("127.0.0.1", port), timeout=20), server_hostname="localhost",
                    session=session if "resume" in words else None) as connection:
                    for word in words:
                        connection.sendall(word.encode())
                        if not connection.recv(100):
                            raise EOFError
                    session = connection.session
                    print("resumed" if connection.session_reused else "new", flush=True)
            except (OSError, EOFError) as error:
                print("refused", flush=True)
        """

    @Test func aBrokerInCThatAsksTheLibraryInOpenSSLsPlace() throws {
        let daemon = try Daemon()
        let shop = try CertificateShop()
        try daemon.createInstance("plant")
        let root = try shop.eccAuthority("Root")
        try daemon.register(root, with: "plant", from: shop)
        // It sends its intermediate along: no registration beforehand, for the library sees the whole chain.
        let workshop = try shop.intermediate("Workshop CA", under: root)
        let device = try ShopDevice("deep", by: workshop, from: shop)
        let chain = try shop.write(
            try shop.readText(device.certificate) + shop.readText(workshop.certificate), suffix: "crt")

        let serverAuthority = try shop.eccAuthority("Server CA")
        let serverKey = try shop.eccKey()
        let serverCertificate = try shop.issue(
            key: serverKey, subject: "/CN=localhost", by: serverAuthority, extensions: "subjectAltName=DNS:localhost")
        let log = shop.path("broker.log")
        let descriptor = unsafe open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        defer { close(descriptor) }
        let broker = try ChildProcess(
            try compileBroker(into: shop), [serverCertificate, serverKey, daemon.runtimeFolder, "plant"],
            output: descriptor, errors: descriptor)
        let port = try waitForPort(log, broker)

        func connect(_ words: String) throws -> String {
            let script = try shop.write(Self.client, suffix: "py")
            let input = try shop.write(words + "\n")
            let command =
                "exec python3 \(script) \(port) \(chain) \(device.key) \(serverAuthority.certificate) <\(input)"
            return try run("sh", ["-c", command]).text
        }
        #expect(try connect("hello again") == "new\n")
        #expect(try connect("one\nresume two") == "new\nresumed\n")
        try daemon.json("ca", "unregister", root.serialNumber)
        #expect(try connect("one\nresume two") == "refused\nrefused\n")
        try daemon.json("ca", "activate", root.serialNumber)
        #expect(try connect("one") == "new\n")
        let lines = try shop.readText(log)
        transcript("a broker in C: \(lines.split(separator: "\n").dropFirst().joined(separator: "; "))")
        #expect(lines.contains("TRUSTED, ca sn \(root.serialNumber)"))
        #expect(lines.contains("CA_INACTIVE, ca sn \(root.serialNumber)"))
        #expect(lines.contains("resumed"))
    }

    /// The code on the library's page, as it stands there.
    private func compileBroker(into shop: CertificateShop) throws -> String {
        let page = Self.package.appendingPathComponent("Sources/careg/Documentation.docc/careg.md").path
        let text = try shop.readText(page)
        let start = try #require(text.range(of: "```c\n"))
        let end = try #require(text.range(of: "\n```", range: start.upperBound..<text.endIndex))
        let source = try shop.write(String(text[start.upperBound..<end.lowerBound]) + "\n", suffix: "c")
        let target = shop.path("tls_broker")
        let result = try run(
            "cc",
            [
                "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-I",
                Self.package.appendingPathComponent("Sources/careg/include").path, source, "-o", target, "-L",
                programFolder, "-Wl,-rpath,\(programFolder)", "-lcareg", "-lssl", "-lcrypto",
            ])
        guard result.exit == 0 else { throw TestFailure("\(result)") }
        return target
    }

    private func waitForPort(_ log: String, _ broker: ChildProcess) throws -> Int {
        let deadline = Date(timeIntervalSinceNow: 20)
        while Date() < deadline {
            let text = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
            if let line = text.split(separator: "\n").first, line.hasPrefix("port "), text.contains("\n"),
                let port = Int(line.dropFirst(5))
            {
                return port
            }
            if broker.hasEnded(within: 20) { break }
        }
        throw TestFailure("the broker does not start: \((try? String(contentsOfFile: log, encoding: .utf8)) ?? "")")
    }
}
