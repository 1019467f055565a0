import CaregClient
import CaregProto
import Foundation
import SwiftProtobuf
import Testing

// The examples of CaregClient's documentation, word by word; `.ci/docs` compares them.

private func isTrusted(_ chain: [Data], instance: String, client: CaregClient) throws -> Bool {
    let answer = try client.verify(
        .with {
            $0.instanceID = instance
            $0.chain = chain
        })
    if !answer.verdict.trusted { print("refused: \(answer.verdict.reason), \(answer.verdict.detail)") }
    return answer.verdict.trusted
}

private func serialNumbers(ofInstance instance: String, client: CaregClient) throws -> [String] {
    var found: [String] = []
    var token = ""
    repeat {
        let page = try client.listCaCertificates(
            .with {
                $0.instanceID = instance
                $0.pageToken = token
            })
        found += page.caCertificates.map(\.sn)
        token = page.nextPageToken
    } while !token.isEmpty
    return found
}

private func createUnlessThere(_ instance: String, client: CaregClient) throws {
    do {
        _ = try client.createInstance(
            .with {
                $0.id = instance
                $0.edition = .professional
            })
    } catch let failure as CaregFailure where failure.reason == "INSTANCE_ALREADY_EXISTS" {
        // Somebody else was first.
    }
}

private func follow(from start: UInt64, history: String, client: CaregClient, _ take: (Careg_V1_Change) -> Bool) throws
{
    try client.watch(
        .with {
            $0.sinceRevision = start
            $0.historyID = history
        }
    ) { message in
        // The first message holds no change: it says where the stream begins.
        message.hasChange ? take(message.change) : true
    }
}

@Suite struct DocumentedClientTests {
    @Test func theExamplesOfTheDocumentationDoWhatTheySay() throws {
        let daemon = try TestDaemon()
        defer { daemon.stop() }
        let client = try daemon.client()
        try createUnlessThere("plant-1", client: client)
        try createUnlessThere("plant-1", client: client)
        #expect(try client.listInstances(.init()).instances.map(\.id) == ["plant-1"])
        #expect(throws: CaregFailure.self) { try createUnlessThere("no good name", client: client) }

        #expect(try serialNumbers(ofInstance: "plant-1", client: client).isEmpty)
        #expect(try !isTrusted([Data([0x30, 0])], instance: "plant-1", client: client))

        try daemon.createInstances("plant-2", "plant-3")
        var seen: [String] = []
        try follow(from: 1, history: "", client: client) { change in
            seen.append(change.instanceID)
            return seen.count < 2
        }
        #expect(seen == ["plant-2", "plant-3"])
    }
}
