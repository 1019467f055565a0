import Testing

@testable import Verification

/// Equal byte strings have the same number, few or many.
@Suite struct NumberingTests {
    @Test(arguments: [1, 8, 9, 100]) func numbersTellStringsApartAndStay(count: Int) {
        var numbering = Numbering()
        let strings = (0..<count).map { index in Array("string \(index)".utf8) }
        let first = strings.map { numbering.number(of: $0) }
        #expect(first == Array(0..<count))
        #expect(strings.reversed().map { numbering.number(of: $0[...]) } == first.reversed())
        #expect(numbering.number(of: []) == count)
    }
}
