import CCareg
import Foundation
import Testing
import TrustMap

/// The library as it is delivered: seen from other languages, and by what it shows and needs.
@Suite(.enabled(if: isLibraryLoadable)) struct LibraryTests {
    private func names(_ library: String, _ options: [String]) throws -> [String] {
        let result = try run("nm", ["-D"] + options + ["\(productFolder)/\(library)"])
        #expect(result.exit == 0, "\(result)")
        return result.output.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            // Capital letters are what others see.
            guard words.count >= 2, let kind = words.dropLast().last, kind == kind.uppercased() || kind == "w" else {
                return nil
            }
            return words.last.map { String($0.split(separator: "@")[0]) }
        }
    }

    @Test func theLibraryShowsItsFunctionsAndNothingElse() throws {
        let shown = try names("libcareg.so", ["--defined-only"])
        let header = try String(contentsOfFile: "\(includeFolder)/careg.h", encoding: .utf8)
        let declared = header.split(separator: "\n").filter { !$0.hasPrefix("//") && !$0.hasPrefix("#") }.compactMap {
            $0.firstMatch(of: /\b(careg_[a-z_]+)\(/).map { String($0.1) }
        }
        #expect(Set(shown) == Set(declared))
        #expect(shown.allSatisfy { $0.hasPrefix("careg_") })
        #expect(shown.count == 9)
    }

    @Test func thePluginShowsWhatTheBrokerCalls() throws {
        let shown = try names("libmosquitto_careg.so", ["--defined-only"])
        #expect(Set(shown) == ["mosquitto_plugin_version", "mosquitto_plugin_init", "mosquitto_plugin_cleanup"])
        let needed = try run("nm", ["-D", "--undefined-only", "\(productFolder)/libmosquitto_careg.so"]).output
        let others = needed.split(separator: "\n").compactMap { $0.split(separator: " ").last }.filter {
            !$0.contains("@GLIBC") && !$0.contains("@OPENSSL") && !$0.hasPrefix("_ITM_") && $0 != "__gmon_start__"
        }
        #expect(others.allSatisfy { $0.hasPrefix("mosquitto_") }, "\(others)")
    }

    @Test(arguments: ["libcareg.so", "libmosquitto_careg.so"])
    func nothingButLibcAndLibcryptoIsNeeded(library: String) throws {
        let result = try run("readelf", ["-d", "\(productFolder)/\(library)"])
        let needed = result.output.matches(of: /\(NEEDED\).*\[(.*)\]/).map { String($0.1) }
        #expect(needed.allSatisfy { $0.hasPrefix("libc.so") || $0.hasPrefix("libcrypto.so") }, "\(needed)")
        let names = try names(library, ["--undefined-only"])
        let unwanted: Set<String> = [
            "pthread_create", "sigaction", "signal", "abort", "exit", "printf", "fprintf", "write", "raise", "kill",
        ]
        #expect(unwanted.isDisjoint(with: names), "\(unwanted.intersection(names))")
    }

    @Test func theHeaderIsGoodForCAndForCxxAndItsLayoutIsTheDocumentedOne() throws {
        let place = try Place()
        let built = try compile(program("header.c"), into: place.folder, ["-pedantic", "-std=c11"])
        let layout = try run(built, []).output
        let expected =
            "options 40 map 32 verdict 376 reason 8 valid_until 16 revision 24 ca_sn 32 session 296 80\n"
        #expect(layout == expected)
        for compiler in ["g++", "clang++"] {
            guard installed(compiler) != nil else { continue }
            let result = try run(
                compiler,
                ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c++", "-I", includeFolder]
                    + ["\(includeFolder)/careg.h"])
            #expect(result.exit == 0, "\(result)")
        }
    }

    @Test func manyThreadsAndForkedProcessesGetTheirOwnAnswers() throws {
        let place = try Place()
        let daemon = try FakeDaemon(place) { question, _ in
            .response(Protobuf.verdict(reason: UInt64(question.chain[0][0])))
        }
        defer { daemon.stop() }
        let result = try run(try compile(program("forking.c"), into: place.folder), [place.folder])
        #expect(result.exit == 0 && result.output == "wrong 0 failures 0\n", "\(result)")
    }

    /// A map with one trusted device and one that is barred, and files that stand for their certificates.
    private func makeDevices(in place: Place) throws -> (TrustMapWriter, [String]) {
        let writer = try place.makeWriter()
        writer.put(device(1), revision: 2)
        writer.put(device(2, .refused(reason: 17)), revision: 3)
        let files = try (1...2).map { number in
            let path = place.path("\(number).der")
            try Data(certificate(number)).write(to: URL(fileURLWithPath: path))
            return path
        }
        return (writer, files)
    }

    @Test func pythonUsesItAsDocumented() throws {
        guard installed("python3") != nil else { return }
        let place = try Place()
        let (writer, files) = try makeDevices(in: place)
        try documentedCode("python").write(
            toFile: place.path("careg_python.py"), atomically: true, encoding: .utf8)
        let script = place.path("reader.py")
        try FileManager.default.copyItem(atPath: program("reader.py"), toPath: script)
        writer.heartbeat()
        let result = try run(
            "python3", [script, "\(productFolder)/libcareg.so", place.folder, "plant"] + files,
            environment: ["PYTHONDONTWRITEBYTECODE": "1"])
        #expect(result.exit == 0 && result.output == "0 1 0a1b 1\n0 17 0a1b 17\n", "\(result)")
    }

    @Test func goUsesItAsDocumented() throws {
        guard installed("go") != nil else { return }
        let place = try Place()
        let (writer, files) = try makeDevices(in: place)
        let source = place.path("reader.go")
        try documentedCode("go").write(toFile: source, atomically: true, encoding: .utf8)
        let environment = [
            "CGO_CFLAGS": "-I\(includeFolder)", "CGO_LDFLAGS": "-L\(productFolder) -Wl,-rpath,\(productFolder)",
            "CGO_ENABLED": "1", "GO111MODULE": "off", "GOFLAGS": "", "GOCACHE": place.path("go-cache"),
            "GOPATH": place.path("go"),
        ]
        let built = place.path("reader")
        let building = try run("go", ["build", "-o", built, source], environment: environment)
        #expect(building.exit == 0, "\(building)")
        writer.heartbeat()
        let result = try run(built, [place.folder, "plant"] + files)
        #expect(result.exit == 0 && result.output == "0 1 0a1b\n0 17 0a1b\n", "\(result)")
    }

    @Test func theDocumentedBrokerInCCompiles() throws {
        let place = try Place()
        let source = place.path("tls_broker.c")
        try documentedCode("c").write(toFile: source, atomically: true, encoding: .utf8)
        let built = try compile(source, into: place.folder, ["-lssl", "-lcrypto"])
        #expect(try run(built, []).exit == 64)
    }
}
