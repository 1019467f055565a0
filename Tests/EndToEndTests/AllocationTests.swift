import Foundation
import Testing

/// How often the daemon asks the heap for memory: a number that does not depend on how busy the machine is. All threads of
/// the daemon together, for one call. A debug build, which this mostly is, takes more than a release build.
@Suite struct AllocationTests {
    /// A frame for a method that nobody has: read, looked up, answered.
    private static let mostPerFrame = 40.0
    /// A Verify of a known device. A release build takes none.
    private static let mostPerKnown = 60.0
    /// A first sight that registers nothing: the certificate read, a path searched, the signature checked.
    private static let mostPerFirstSight = 580.0
    /// One more certificate in the chain: read, and looked at by the search.
    private static let mostPerCertificate = 125.0

    @Test func theHotPathsAskTheHeapNoMoreOftenThanTheyDid() throws {
        guard let bytes = try? Data(contentsOf: URL(fileURLWithPath: program("caregd"))),
            !["__tsan_", "__asan_"].contains(where: { bytes.range(of: Data($0.utf8)) != nil })
        else {
            print("skipped: a sanitizer has a heap of its own")
            return
        }
        let shop = try CertificateShop()
        let counter = shop.path("allocations.so")
        let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../CaregTests/Programs/allocations.c").path
        guard let built = try? run("/usr/bin/cc", ["-shared", "-fPIC", "-O2", "-o", counter, source]),
            built.exit == 0
        else {
            print("skipped: there is no C compiler")
            return
        }
        let count = try shop.write(Data(count: 8))
        let daemon = try Daemon(started: false)
        try daemon.start(environment: ["LD_PRELOAD": counter, "CAREG_ALLOCATIONS": count])
        try daemon.createInstance("plant")
        let authority = try shop.eccAuthority("counted")
        try daemon.register(authority, with: "plant", from: shop)
        let known = try shop.device("known", by: authority)
        #expect(try daemon.verdict("plant", known).trusted == true)
        let fresh = try shop.der(of: shop.device("new", by: authority))
        let stranger = try shop.der(of: shop.device("stranger", by: shop.eccAuthority("elsewhere")))

        let client = try WireClient(path: daemon.brokerSocket)
        func allocations() throws -> UInt64 {
            try Data(contentsOf: URL(fileURLWithPath: count)).reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        func each(_ method: String, code: Int, _ request: ProtobufMessage.Builder) throws -> Double {
            func call(times: Int) throws {
                for _ in 0..<times {
                    let answer = try client.call(WireClient.verifier, method, request)
                    guard answer.code == code else { throw TestFailure("\(answer.code) \(answer.message)") }
                }
            }
            try call(times: 100)
            let before = try allocations()
            try #require(before > 1_000, "nothing was counted")
            try call(times: 1_000)
            return Double(try allocations() - before) / 1_000
        }
        func verify(_ chain: Data...) -> ProtobufMessage.Builder {
            chain.reduce(.init().text(1, "plant")) { $0.bytes(2, [UInt8]($1)) }
        }
        let frame = try each("Nothing", code: 12, .init())
        let hit = try each("Verify", code: 0, verify(shop.der(of: known)))
        let firstSight = try each("Verify", code: 0, verify(fresh).integer(3, 1))
        let longer = try each("Verify", code: 0, verify(fresh, stranger).integer(3, 1))
        print(
            "allocations: a frame \(frame), a known device \(hit), a first sight \(firstSight), "
                + "one more certificate \(longer - firstSight)")
        #expect(frame <= Self.mostPerFrame)
        #expect(hit <= Self.mostPerKnown)
        #expect(firstSight <= Self.mostPerFirstSight)
        #expect(longer - firstSight <= Self.mostPerCertificate)
    }
}
