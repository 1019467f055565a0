internal import Foundation
internal import Testing

@testable internal import caregctl

@Suite struct PEMStreamTests {
    private func block(_ body: String) -> String {
        "-----BEGIN CERTIFICATE-----\n\(body)\n-----END CERTIFICATE-----\n"
    }

    /// All blocks of a text that comes in pieces of some bytes.
    private func blocks(_ text: String, pieces: Int = .max) -> [PEMStream.Block] {
        var stream = PEMStream()
        var found: [PEMStream.Block] = []
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            stream.append(Array(rest.prefix(pieces)))
            rest = rest.dropFirst(pieces)
            while let block = stream.next() { found.append(block) }
        }
        if let last = stream.finish() { found.append(last) }
        return found
    }

    private func whole(_ number: Int, line: Int, _ text: String) -> PEMStream.Block {
        PEMStream.Block(number: number, line: line, contents: .certificate(Array(text.utf8)))
    }

    @Test(arguments: [1, 2, 7, 26, 27, 64, .max])
    func blocksComeInTheirOrderHoweverTheTextIsCut(pieces: Int) {
        let text = "subject=a\n" + block("AAAA") + "- --\n--- ---\n\n" + block("BBBB\nCCCC") + "the end -----BEGIN"
        #expect(
            blocks(text, pieces: pieces) == [whole(1, line: 2, block("AAAA")), whole(2, line: 8, block("BBBB\nCCCC"))])
    }

    @Test func aBlockOnOneLineAndOneWithCRLFAreWhole() {
        let line = "-----BEGIN CERTIFICATE-----AAAA-----END CERTIFICATE-----"
        #expect(blocks(line) == [whole(1, line: 1, line + "\n")])
        let crlf = block("AAAA").replacing("\n", with: "\r\n")
        #expect(blocks(crlf) == [whole(1, line: 1, crlf.dropLast() + "\n")])
    }

    @Test(arguments: [1, 30, .max])
    func otherBlocksAreLeftOut(pieces: Int) {
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
        let request = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
        #expect(blocks(key + request, pieces: pieces).isEmpty)
        #expect(blocks(key + block("AAAA") + request, pieces: pieces) == [whole(1, line: 4, block("AAAA"))])
    }

    @Test(arguments: [1, 30, .max])
    func aBlockWithoutAnEndIsNamedAndTheNextOneIsWhole(pieces: Int) {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n"
        #expect(
            blocks(broken + block("BBBB"), pieces: pieces) == [
                PEMStream.Block(
                    number: 1, line: 1, contents: .broken("it has no end before the next block begins")),
                whole(2, line: 3, block("BBBB")),
            ])
        #expect(
            blocks(block("BBBB") + broken, pieces: pieces) == [
                whole(1, line: 1, block("BBBB")),
                PEMStream.Block(number: 2, line: 4, contents: .broken("it has no end")),
            ])
    }

    @Test func aKeyInAnUnfinishedBlockIsNoPartOfACertificate() {
        let text =
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n"
            + block("BBBB")
        let found = blocks(text)
        #expect(found.count == 2 && found.last == whole(2, line: 6, block("BBBB")))
    }

    @Test func aBlockThatGrowsWithoutEndIsGivenUpAndWhatFollowsIsRead() {
        let text = "-----BEGIN CERTIFICATE-----\n" + String(repeating: "A", count: PEMStream.maximumByteCount + 70_000)
        let found = blocks(text + "\n" + block("BBBB"), pieces: 65_536)
        #expect(found.count == 2)
        #expect(found.first?.contents == .broken("it is larger than \(PEMStream.maximumByteCount) bytes"))
        #expect(found.last == whole(2, line: 3, block("BBBB")))
    }

    @Test func aTextAndAnEmptyOneHoldNone() {
        #expect(blocks("").isEmpty)
        #expect(blocks("------BEGIN CERTIFICATE----\n--").isEmpty)
    }
}
