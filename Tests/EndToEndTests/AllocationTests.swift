import Foundation
import Testing

/// How often the daemon asks the heap for memory: a number that does not depend on how busy the machine is.
@Suite struct AllocationTests {
    /// For one Verify of a known device, all threads of the daemon together. A release build takes none; a debug build, which
    /// this mostly is, takes 52, each time.
    private static let mostPerVerify = 60.0

    @Test func aVerifyOfAKnownDeviceAsksTheHeapNoMoreOftenThanItDid() throws {
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
        let device = try shop.device("device", by: authority)
        #expect(try daemon.verdict("plant", device).trusted == true)

        let client = try WireClient(path: daemon.brokerSocket)
        let der = [UInt8](try shop.der(of: device))
        func verify(_ calls: Int) throws {
            for _ in 0..<calls {
                let answer = try client.call(
                    WireClient.verifier, "Verify", .init().text(1, "plant").bytes(2, der))
                guard answer.code == 0 else { throw TestFailure("\(answer.message)") }
            }
        }
        func allocations() throws -> UInt64 {
            try Data(contentsOf: URL(fileURLWithPath: count)).reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        try verify(100)
        let before = try allocations()
        try verify(1_000)
        let each = Double(try allocations() - before) / 1_000
        print("allocations for a Verify of a known device: \(each)")
        #expect(before > 1_000, "nothing was counted")
        #expect(each <= Self.mostPerVerify)
    }
}
