import Foundation
import Glibc
import Testing

/// A tmpfs of a few MiB over a folder, gone when this object is.
private final class SmallFileSystem {
    let path: String
    private var ballast: String { path + "/ballast" }

    init(_ path: String, bytes: Int) throws {
        self.path = path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let mounted = try run("mount", ["-t", "tmpfs", "-o", "size=\(bytes),mode=0755", "none", path])
        guard mounted.exit == 0 else { throw TestFailure("\(mounted)") }
    }

    deinit { _ = try? run("umount", ["-l", path]) }

    /// Fills it to the last page.
    func fill() throws {
        let filled = try run("dd", ["if=/dev/zero", "of=" + ballast, "bs=4096"])
        guard filled.exit != 0 else { throw TestFailure("the file system of \(path) took all there is") }
    }

    func makeRoom() throws { try FileManager.default.removeItem(atPath: ballast) }
}

/// The daemon on file systems without room.
@Suite(.enabled(if: geteuid() == 0, "only root can mount a small file system"))
struct FullDiskTests {
    private func create(_ id: String, _ client: WireClient) throws -> WireResponse {
        try client.call(WireClient.registry, "CreateInstance", .init().text(1, id).integer(2, 2))
    }

    /// Creates instances until there is no room for one more; gives their ids.
    private func createUntilFull(_ daemon: Daemon) throws -> [String] {
        let client = try WireClient(path: daemon.adminSocket)
        var created: [String] = []
        for number in 0..<5_000 {
            let response = try create("filler-\(number)", client)
            if response.code != 0 {
                #expect(response.code == 8 && response.reason == "DISK_FULL", "\(response)")
                return created
            }
            created.append("filler-\(number)")
        }
        throw TestFailure("5000 instances found room on a full file system")
    }

    @Test func onAFullDiskTheDaemonStopsAndStartsAndAnswersAndChangesNothing() throws {
        let daemon = try Daemon(started: false)
        let disk = try SmallFileSystem(daemon.stateFolder, bytes: 8 << 20)
        defer { try? daemon.crash() }
        let shop = try CertificateShop()
        try daemon.start()
        try daemon.createInstance("plant")
        let authority = try shop.eccAuthority("CA")
        try daemon.register(authority, with: "plant", from: shop)
        let known = try shop.device("known", by: authority)
        let unknown = try shop.device("unknown", by: authority)
        #expect(try daemon.verdict("plant", known).registered == true)
        try disk.fill()
        let created = try createUntilFull(daemon)
        let many = ["--cert", unknown, "--cert", try shop.device("another", by: authority)]
        let bulk = try daemon.caregctl(["device", "register", "--instance", "plant"] + many)
        #expect(bulk.exit == 1 && bulk.text.contains("registered:    0\n"), "\(bulk)")
        #expect(bulk.text.contains("turned away:   2, and the rest not tried\n"), "\(bulk)")
        #expect(bulk.errorText.hasSuffix("(DISK_FULL)\n"), "\(bulk)")

        for isCrash in [true, false, true] {
            if isCrash {
                try daemon.crash()
            } else {
                #expect(try daemon.terminate() == 0, "\(daemon.log.suffix(2000))")
            }
            try daemon.start()
            let client = try WireClient(path: daemon.adminSocket)
            for id in created + ["plant"] {
                #expect(try client.call(WireClient.registry, "GetInstance", .init().text(1, id)).code == 0, "\(id)")
            }
            #expect(try daemon.json("ca", "show", authority.serialNumber)["status"]?.text == "STATUS_ACTIVE")
            #expect(try daemon.verdict("plant", known).reason == "TRUSTED")
            let first = try daemon.verdict("plant", unknown)
            #expect(first.reason == "TRUSTED" && first.registered == false, "\(first.json)")
            #expect(try daemon.refusal("instance", "create", "more", "--edition", "standard").reason == "DISK_FULL")
            let unregister = try daemon.refusal("ca", "unregister", authority.serialNumber)
            #expect(unregister.reason == "DISK_FULL" && unregister.code == "RESOURCE_EXHAUSTED", "\(unregister)")
            #expect(try daemon.json("status")["diskFull"]?.flag == true)
            #expect(try daemon.verdict("plant", known).reason == "TRUSTED", "what was refused has not happened")
        }
        try disk.makeRoom()
        try daemon.json("ca", "unregister", authority.serialNumber)
        #expect(try daemon.json("status")["diskFull"]?.flag == false)
        #expect(try daemon.verdict("plant", known).reason == "CA_INACTIVE")
        #expect(try daemon.terminate() == 0)
        let check = try daemon.offline("check")
        #expect(check.exit == 0, "\(check)")
    }

    /// Waits until the status says of the fast path what `isWanted` wants, or a bounded time is over.
    private func awaitProblems(_ daemon: Daemon, _ isWanted: ([String]) -> Bool) throws -> [String] {
        let deadline = Date(timeIntervalSinceNow: 15)
        var problems: [String] = []
        repeat {
            problems = (try daemon.json("status")["problems"]?.elements ?? []).compactMap(\.text)
        } while !isWanted(problems) && Date() < deadline
        return problems
    }

    @Test func aTrustMapThatCannotGrowLeavesTheDaemonServingAndSayingSo() throws {
        let daemon = try Daemon(started: false)
        let memory = try SmallFileSystem(daemon.runtimeFolder, bytes: 8 << 20)
        defer { try? daemon.crash() }
        let shop = try CertificateShop()
        try daemon.start()
        #expect(try awaitProblems(daemon) { $0.isEmpty } == [])
        try memory.fill()
        // More instances than the map began with: it would have to be made again, larger.
        let client = try WireClient(path: daemon.adminSocket)
        var answers: Set<UInt32> = []
        for number in 0..<600 {
            answers.insert(
                try client.sendRequest(
                    WireClient.registry, "CreateInstance", .init().text(1, "plant-\(number)").integer(2, 2)))
        }
        while !answers.isEmpty {
            let frame = try client.frame()
            let response = try WireResponse(frame)
            #expect(response.code == 0, "\(response)")
            answers.remove(frame.stream)
        }
        let problems = try awaitProblems(daemon) { $0.contains { $0.contains("trust.map") } }
        #expect(problems.contains { $0.contains("trust.map") }, "\(problems)")

        // An instance that found no room in the map.
        let authority = try shop.eccAuthority("CA")
        try daemon.register(authority, with: "plant-599", from: shop)
        let device = try shop.device("device", by: authority)
        #expect(try daemon.verdict("plant-599", device).registered == true)
        #expect(try daemon.verdict("plant-599", device).reason == "TRUSTED")
        try daemon.json("ca", "unregister", authority.serialNumber)
        #expect(try daemon.verdict("plant-599", device).reason == "CA_INACTIVE")

        try memory.makeRoom()
        let left = try awaitProblems(daemon) { $0.isEmpty }
        #expect(left == [], "there is room again")
        #expect(try daemon.terminate() == 0)
    }

    @Test func aRuntimeFolderThatIsFullAtTheStartLeavesTheDaemonServingAndSayingSo() throws {
        let daemon = try Daemon(started: false)
        let memory = try SmallFileSystem(daemon.runtimeFolder, bytes: 4 << 20)
        defer { try? daemon.crash() }
        try memory.fill()
        let shop = try CertificateShop()
        try daemon.start()
        let problems = try awaitProblems(daemon) { $0.contains { $0.contains("trust.map") } }
        #expect(problems.contains { $0.contains("trust.map") }, "\(problems)")
        try daemon.createInstance("plant")
        let authority = try shop.eccAuthority("CA")
        try daemon.register(authority, with: "plant", from: shop)
        let device = try shop.device("device", by: authority)
        #expect(try daemon.verdict("plant", device).registered == true)
        #expect(try daemon.verdict("plant", device).reason == "TRUSTED")

        try memory.makeRoom()
        let left = try awaitProblems(daemon) { $0.isEmpty }
        #expect(left == [], "there is room again")
        let anchors = try String(contentsOfFile: daemon.runtimeFolder + "/anchors/plant.pem", encoding: .utf8)
        #expect(anchors.contains("BEGIN CERTIFICATE"))
        #expect(try daemon.terminate() == 0)
    }
}
