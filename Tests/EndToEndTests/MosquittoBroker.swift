import Foundation
import Glibc
import Testing

/// Where a program is that these tests need and that may not be installed.
private func installed(_ names: [String]) -> String? {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
    let folders = (path + ":/usr/local/sbin:/usr/sbin:/sbin").split(separator: ":")
    return names.first { name in
        !folders.contains { FileManager.default.isExecutableFile(atPath: "\($0)/\(name)") }
    }
}

/// A process under a sanitizer takes ten times as long, and its libraries cannot be loaded by one that is not.
let isSanitized = ProcessInfo.processInfo.environment["CAREG_SANITIZER"] != nil

/// Whether a real broker can be started here; a line in the tests' output says what is missing.
let hasMosquitto: Bool = {
    let missing = installed(["mosquitto", "python3", "openssl"])
    if let missing { print("skipped: \(missing) is not installed, which the tests with a real broker need") }
    return missing == nil && !isSanitized
}()

/// Whether a C compiler is here.
let hasCompiler: Bool = {
    let missing = installed(["cc", "python3", "openssl"])
    if let missing { print("skipped: \(missing) is not installed, which the tests with a broker in C need") }
    return missing == nil && !isSanitized
}()

/// CLOCK_MONOTONIC in milliseconds: the same for all processes.
func monotonicMilliseconds() -> Double {
    var time = timespec()
    _ = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) * 1000 + Double(time.tv_nsec) / 1_000_000
}

/// What happened, for people: printed line by line, and kept where `CAREG_TRANSCRIPT` names a file.
func transcript(_ line: String) {
    print("| \(line)")
    guard let path = ProcessInfo.processInfo.environment["CAREG_TRANSCRIPT"] else { return }
    let file = unsafe open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    guard file >= 0 else { return }
    let bytes = Array("\(line)\n".utf8)
    _ = unsafe write(file, bytes, bytes.count)
    close(file)
}

/// A device's certificate with the key that goes with it.
struct ShopDevice: Sendable {
    let name: String
    let key: String
    let certificate: String
    let serialNumber: String
}

extension ShopDevice {
    init(_ name: String, by issuer: Authority, from shop: CertificateShop) throws {
        self.name = name
        key = try shop.eccKey()
        certificate = try shop.device(name, by: issuer, key: key)
        serialNumber = try shop.serialNumber(of: certificate)
    }
}

/// A Mosquitto of its own, on a loopback port, with the plugin.
final class MosquittoBroker: Sendable {
    let port: Int
    let serverAuthority: Authority
    private let folder: String
    private let process: ChildProcess

    /// - Parameters:
    ///   - authorities: what TLS trusts: a line of the configuration; the live folder of the instance where left out.
    ///   - options: lines of the configuration.
    init(
        _ daemon: Daemon, _ shop: CertificateShop, instance: String = "plant", authorities: String? = nil,
        _ options: String...
    ) throws {
        folder = try makeTemporaryFolder()
        port = try Self.freePort()
        serverAuthority = try shop.eccAuthority("Server CA")
        let key = try shop.eccKey()
        let certificate = try shop.issue(
            key: key, subject: "/CN=localhost", by: serverAuthority, extensions: "subjectAltName=DNS:localhost")
        let lines =
            [
                // The broker would drop to a user that may not look into the test's folders.
                geteuid() == 0 ? "user root" : "",
                "per_listener_settings false", "log_dest stderr", "log_type all", "connection_messages true",
                "plugin \(programFolder)/libmosquitto_careg.so", "plugin_opt_instance \(instance)",
                "plugin_opt_runtime_dir \(daemon.runtimeFolder)",
            ] + options.filter { !$0.hasPrefix("listener ") }
            + [
                "listener \(port) 127.0.0.1", "certfile \(certificate)", "keyfile \(key)",
                authorities ?? "capath \(daemon.runtimeFolder)/anchors/\(instance)", "require_certificate true",
            ] + options.filter { $0.hasPrefix("listener ") }.map { String($0.dropFirst("listener ".count)) }
        let configuration = "\(folder)/mosquitto.conf"
        try lines.joined(separator: "\n").write(toFile: configuration, atomically: true, encoding: .utf8)
        let log = unsafe open("\(folder)/log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        defer { close(log) }
        let path = (ProcessInfo.processInfo.environment["PATH"] ?? "") + ":/usr/sbin:/usr/local/sbin"
        process = try ChildProcess(
            "/usr/bin/env", ["mosquitto", "-c", configuration], environment: ["PATH": path], output: log, errors: log)
        let deadline = Date(timeIntervalSinceNow: 20)
        while !Self.accepts(port) {
            if process.hasEnded(within: 20) { throw TestFailure("mosquitto has ended:\n\(self.log)") }
            if Date() > deadline { throw TestFailure("mosquitto does not accept:\n\(self.log)") }
        }
    }

    deinit {
        process.signal(SIGTERM)
        _ = try? process.wait(seconds: 10)
        removeTemporaryFolder(folder)
    }

    var log: String { (try? String(contentsOfFile: "\(folder)/log", encoding: .utf8)) ?? "" }

    /// The plugin's own lines, without their time.
    var pluginLines: [String] {
        log.split(separator: "\n").compactMap { line in line.range(of: "careg: ").map { String(line[$0.lowerBound...]) }
        }
    }

    private static func freePort() throws -> Int {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = Self.loopback(port: 0)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                unsafe bind(listener, generic, size) == 0 && getsockname(listener, generic, &size) == 0
            }
        }
        guard result else { throw TestFailure("no free port: errno \(errno)") }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    private static func loopback(port: Int) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return address
    }

    private static func accepts(_ port: Int) -> Bool {
        let connection = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { close(connection) }
        var address = loopback(port: port)
        return unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                unsafe connect(connection, generic, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }
}

/// An MQTT client of one device, which does what it is told: a small program in Python, for its TLS sessions.
final class MosquittoClient {
    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()
    private var buffered = Data()
    private let script: String
    let name: String

    init(_ device: ShopDevice, at broker: MosquittoBroker, name: String? = nil) throws {
        self.name = name ?? device.name
        script = try makeTemporaryFolder() + "/client.py"
        try Self.program.write(toFile: script, atomically: true, encoding: .utf8)
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [
            "python3", script, "\(broker.port)", self.name, device.certificate, device.key,
            broker.serverAuthority.certificate,
        ]
        process.standardInput = input
        process.standardOutput = output
        try process.run()
    }

    deinit {
        // A runner's threads hold signals back, and so may their children.
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        removeTemporaryFolder((script as NSString).deletingLastPathComponent)
    }

    /// Tells it something, and gives its answer.
    @discardableResult
    func say(_ words: String) throws -> String {
        try start(words)
        return try answer()
    }

    func start(_ words: String) throws { try input.fileHandleForWriting.write(contentsOf: Data("\(words)\n".utf8)) }

    func answer() throws -> String {
        while true {
            if let end = buffered.firstIndex(of: 0x0a) {
                let text = String(decoding: buffered[..<end], as: UTF8.self)
                buffered = Data(buffered[buffered.index(after: end)...])
                return text
            }
            let more = output.fileHandleForReading.availableData
            guard !more.isEmpty else { throw TestFailure("the client of \(name) is gone") }
            buffered += more
        }
    }

    /// "new", "resumed" with a good CONNACK; or what was in the way.
    func connect(_ options: String = "") throws -> String { try say("connect \(options)") }

    /// Waits for the end of the connection in the background: tell it before, and ask for the answer after.
    func startWaitingForTheEnd() throws { try start("await-end 20") }

    /// CLOCK_MONOTONIC of the end of the connection, milliseconds.
    func end() throws -> Double {
        let words = try answer().split(separator: " ")
        guard words.first == "ended", words.count == 2, let time = Double(words[1]) else {
            throw TestFailure("not ended: \(words)")
        }
        return time
    }

    private static let program = """
        import socket, ssl, struct, sys, time

        port, name, certificate, key, authority = int(sys.argv[1]), *sys.argv[2:6]
        context = ssl.create_default_context(cafile=authority)
        context.load_cert_chain(certificate, key)
        connection, session, waiting = None, None, []


        def text(value):
            return struct.pack(">H", len(value)) + value.encode()


        def packet(kind, body):
            length, rest = b"", len(body)
            while True:
                rest, digit = divmod(rest, 128)
                length += bytes([digit | (128 if rest else 0)])
                if not rest:
                    return bytes([kind]) + length + body


        def read(count):
            data = b""
            while len(data) < count:
                more = connection.recv(count - len(data))
                if not more:
                    raise EOFError
                data += more
            return data


        def receive(seconds):
            connection.settimeout(seconds)
            kind = read(1)[0]
            length = shift = 0
            while True:
                digit = read(1)[0]
                length |= (digit & 127) << shift
                shift += 7
                if digit < 128:
                    return kind, read(length)


        def receive_other(seconds):
            # What is not a message: messages wait for whoever asks for them.
            while True:
                kind, body = receive(seconds)
                if kind & 0xF0 != 0x30:
                    return kind, body
                waiting.append((kind, body))


        def connect(*options):
            global connection, session
            waiting.clear()
            if connection:
                connection.close()
            raw = socket.create_connection(("127.0.0.1", port), timeout=20)
            try:
                connection = context.wrap_socket(
                    raw, server_hostname="localhost", session=session if "resume" in options else None)
                # MQTT 3.1.1; clean session unless told otherwise; keep alive of a minute.
                flags, payload = (0 if "keep" in options else 2), text(name)
                if "will" in options:
                    flags |= 0x04
                    payload += text("will") + text("gone: " + name)
                for option in options:
                    if option.startswith("user="):
                        user, password = option[5:].split(":")
                        flags |= 0xC0
                        payload += text(user) + text(password)
                connection.sendall(packet(0x10, text("MQTT") + bytes([4, flags, 0, 60]) + payload))
                kind, body = receive(20)
            except ssl.SSLError as error:
                return "no tls " + (error.reason or str(error))
            except (EOFError, OSError) as error:
                return "no tls or no answer " + type(error).__name__
            if body[1] != 0:
                return "refused %d" % body[1]
            session = connection.session
            return "resumed" if connection.session_reused else "new"


        def publish(topic, message, quality="1"):
            connection.sendall(
                packet(0x30 | int(quality.rstrip("r")) << 1 | quality.endswith("r"),
                       text(topic) + (b"\\0\\7" if quality[0] != "0" else b"") + message.encode()))
            if quality[0] == "0":
                return "sent"
            return "acknowledged" if receive_other(20)[0] == 0x40 else "strange"


        def subscribe(topic):
            connection.sendall(packet(0x82, b"\\0\\1" + text(topic) + b"\\1"))
            kind, body = receive_other(20)
            return "granted" if kind == 0x90 and body[2] < 128 else "denied"


        def message(seconds):
            try:
                while True:
                    kind, body = waiting.pop(0) if waiting else receive(float(seconds))
                    if kind & 0xF0 == 0x30:
                        length = struct.unpack(">H", body[:2])[0]
                        start = 2 + length
                        if kind & 6:
                            connection.sendall(packet(0x40, body[start:start + 2]))
                            start += 2
                        return "message %s %s" % (body[2:2 + length].decode(), body[start:].decode())
            except TimeoutError:
                return "nothing"


        def ping():
            connection.sendall(packet(0xC0, b""))
            return "alive" if receive_other(20)[0] == 0xD0 else "strange"


        def await_end(seconds):
            try:
                while True:
                    receive(float(seconds))
            except TimeoutError:
                return "open"
            except (EOFError, OSError):
                return "ended %f" % (time.monotonic() * 1000)


        def vanish():
            # Without a DISCONNECT: the broker sends the last will.
            connection.close()
            return "vanished"


        verbs = {"connect": connect, "publish": publish, "subscribe": subscribe, "message": message, "ping": ping,
                 "await-end": await_end, "vanish": vanish}
        for line in sys.stdin:
            verb, *words = line.split()
            try:
                print(verbs[verb](*words), flush=True)
            except (EOFError, OSError) as error:
                print("ended %f" % (time.monotonic() * 1000), flush=True)
        """
}
