import Foundation
import Testing

/// What the paths that every message takes ask the heap for: nothing.
@Suite struct AllocationTests {
    @Test func aLookInTheMapAllocatesNothing() throws {
        guard isLibraryLoadable, installed("cc") != nil else { return }
        let place = try Place()
        let writer = try place.makeWriter()
        writer.put(device(1), revision: 2)
        let file = place.path("device.der")
        try Data(certificate(1)).write(to: URL(fileURLWithPath: file))
        let counter = place.path("allocations.so")
        let built = try run("cc", ["-shared", "-fPIC", "-O2", "-o", counter, program("allocations.c")])
        #expect(built.exit == 0, "\(built)")
        let result = try run(
            compile(program("heapless.c"), into: place.folder, ["-ldl"]), [place.folder, file],
            environment: ["LD_PRELOAD": counter])
        #expect(result.exit == 0 && result.output == "0 1\n", "\(result)")
    }
}
