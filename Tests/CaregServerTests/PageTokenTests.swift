import Registry
import Testing

@testable import CaregServer

/// Page tokens and page sizes.
@Suite struct PageTokenTests {
    @Test func aTokenLeadsBackToItsCursor() throws {
        let tokens = PageTokens(query: "cas", "plant", "")
        for cursor in [[UInt8(1)], [0, 255, 7], [UInt8](repeating: 9, count: 500)] {
            #expect(try tokens.open(tokens.seal(cursor)) == cursor)
        }
        #expect(tokens.seal(nil) == "")
        #expect(try tokens.open("") == nil)
    }

    @Test func aTokenOfAnotherQueryIsRefused() {
        let token = PageTokens(query: "cas", "plant", "a").seal([1, 2, 3])
        for other in [
            PageTokens(query: "cas", "plant", "b"), PageTokens(query: "cas", "planta", ""),
            PageTokens(query: "devices", "plant", "a"),
        ] {
            let refusal = #expect(throws: Refusal.self) { try other.open(token) }
            #expect(refusal?.reason == .pageTokenInvalid)
        }
    }

    @Test(arguments: ["x", "00", "zz00", "0011223344556677", "00112233445566778", String(repeating: "0", count: 5_000)])
    func whatIsNoTokenIsRefused(text: String) {
        let refusal = #expect(throws: Refusal.self) { try PageTokens(query: "cas").open(text) }
        #expect(refusal?.reason == .pageTokenInvalid)
    }

    @Test func pageSizesHaveADefaultAndALimit() throws {
        let limits = ServiceLimits()
        #expect(try limits.pageSize(0) == 100)
        #expect(try limits.pageSize(1) == 1)
        #expect(try limits.pageSize(1_000) == 1_000)
        for size in [UInt32(1_001), .max] {
            let refusal = #expect(throws: Refusal.self) { try limits.pageSize(size) }
            #expect(refusal?.reason == .argumentInvalid)
        }
    }

    @Test func aPageEndsWhereItsBytesDoAndHasOneRowAtLeast() {
        #expect([10, 10, 10].fitting(bytes: 25) { $0 } == [10, 10])
        #expect([10, 10, 10].fitting(bytes: 30) { $0 } == [10, 10, 10])
        #expect([99, 1].fitting(bytes: 30) { $0 } == [99])
        #expect([Int]().fitting(bytes: 30) { $0 } == [])
    }
}
