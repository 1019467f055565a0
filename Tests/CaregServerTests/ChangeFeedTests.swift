import CaregClient
import CaregProto
import Foundation
import Registry
import RegistryStore
import SwiftProtobuf
import Synchronization
import TTRPC
import Testing

@testable import CaregServer

/// Poll and Watch.
@Suite struct ChangeFeedTests {
    // MARK: Poll

    @Test func aPollWithoutAWaitAnswersAtOnce() throws {
        let daemon = try TestDaemon()
        let client = try daemon.client(.broker)
        let empty = try client.poll(.init())
        #expect(empty.changes.isEmpty && empty.revision == 0 && empty.historyID.count == 32)
        try daemon.createInstances("a", "b", "c")
        let page = try client.poll(
            .with {
                $0.sinceRevision = 1
                $0.limit = 1
            })
        #expect(page.changes.map(\.instanceID) == ["b"] && page.revision == 2)
    }

    @Test func aPollIsAnsweredByTheChangeThatItWaitsFor() throws {
        let daemon = try TestDaemon()
        let client = try daemon.client(.broker)
        let poll = Beside { try client.poll(.with { $0.maxWait.seconds = 30 }) }
        #expect(eventually { daemon.pollsWaiting == 1 })
        try daemon.createInstances("a")
        let page = try poll.value()
        #expect(page.changes.map(\.type) == [.instanceCreated] && page.revision == 1)
        #expect(eventually { daemon.pollsWaiting == 0 })
    }

    @Test func aPollIsAnsweredEmptyWhenItsTimeIsOver() throws {
        let daemon = try TestDaemon()
        let client = try daemon.client(.broker)
        let page = try client.poll(.with { $0.maxWait.nanos = 30_000_000 })
        #expect(page.changes.isEmpty && page.revision == 0)
        #expect(daemon.pollsWaiting == 0)
    }

    @Test func aPollWhoseCallerIsGoneIsForgotten() throws {
        let daemon = try TestDaemon()
        let client = try CaregClient(path: daemon.folder.appending(path: "broker").path, timeout: .milliseconds(200))
        #expect(throws: (any Error).self) { try client.poll(.with { $0.maxWait.seconds = 30 }) }
        #expect(eventually { daemon.pollsWaiting == 0 })
    }

    @Test func changesOfOthersMoveARestrictedPollOnWithoutAnsweringIt() throws {
        let daemon = try TestDaemon()
        daemon.services.setAccess(
            AccessPolicy(rules: [
                .init(subject: .user(geteuid()), services: [.verifier], instances: ["mine"]),
                .init(subject: .user(geteuid()), services: [.registry]),
            ]))
        let client = try daemon.client(.broker)
        let poll = Beside { try client.poll(.with { $0.maxWait.seconds = 30 }) }
        #expect(eventually { daemon.pollsWaiting == 1 })
        try daemon.createInstances("others", "more")
        #expect(daemon.pollsWaiting == 1)
        try daemon.createInstances("mine")
        let page = try poll.value()
        #expect(page.changes.map(\.instanceID) == ["mine"] && page.revision == 3)
    }

    @Test(arguments: [UInt64(1), 99, .max]) func aRevisionBeyondTheLastIsAhead(revision: UInt64) throws {
        let daemon = try TestDaemon()
        defer { daemon.stop() }
        let client = try daemon.client(.broker)
        let failure = #expect(throws: CaregFailure.self) { try client.poll(.with { $0.sinceRevision = revision }) }
        #expect(failure?.reason == "REVISION_AHEAD" && failure?.codeNumber == 11)
        let watch = #expect(throws: CaregFailure.self) {
            try client.watch(.with { $0.sinceRevision = revision }) { _ in true }
        }
        #expect(watch?.reason == "REVISION_AHEAD")
    }

    @Test func aRevisionOfAnotherHistoryIsAhead() throws {
        let daemon = try TestDaemon()
        try daemon.createInstances("a")
        let client = try daemon.client(.broker)
        let failure = #expect(throws: CaregFailure.self) {
            try client.poll(.with { $0.historyID = String(repeating: "f", count: 32) })
        }
        #expect(failure?.reason == "REVISION_AHEAD")
        let own = try client.poll(.init()).historyID
        #expect(try client.poll(.with { $0.historyID = own }).changes.count == 1)
    }

    @Test func aNegativeWaitAndTooManyRowsAreRefused() throws {
        let daemon = try TestDaemon()
        defer { daemon.stop() }
        let client = try daemon.client(.broker)
        for request in [
            Careg_V1_PollRequest.with { $0.maxWait.seconds = -1 }, .with { $0.maxWait.nanos = -1 },
            .with { $0.limit = 1_001 },
        ] {
            let failure = #expect(throws: CaregFailure.self) { try client.poll(request) }
            #expect(failure?.reason == "ARGUMENT_INVALID")
        }
    }

    @Test func pollsThatWaitKeepNoRoomFromOtherAnswers() throws {
        let daemon = try TestDaemon()
        // More than the room for all unsent answers, were each to keep that of its own.
        let waiting = try (0..<24).map { _ in
            let client = try daemon.client(.broker)
            return Beside {
                try client.poll(
                    .with {
                        $0.limit = 1_000
                        $0.maxWait.seconds = 30
                    })
            }
        }
        #expect(eventually { daemon.pollsWaiting == 24 })
        #expect(try daemon.client(.broker).poll(.init()).changes.isEmpty)
        _ = try daemon.client().getStatus(.init())
        try daemon.createInstances("a")
        for poll in waiting { #expect(try poll.value().revision == 1) }
    }

    @Test func pollsPastTheirLimitAreRefused() throws {
        var limits = ServiceLimits()
        limits.waitingPolls = 4
        let daemon = try TestDaemon(limits: limits)
        // One caller may have half of them.
        let waiting = try (0..<2).map { _ in
            let client = try daemon.client(.broker)
            return Beside { try client.poll(.with { $0.maxWait.seconds = 30 }) }
        }
        #expect(eventually { daemon.pollsWaiting == 2 })
        let client = try daemon.client(.broker)
        let failure = #expect(throws: CaregFailure.self) { try client.poll(.with { $0.maxWait.seconds = 30 }) }
        #expect(failure?.reason == "LIMIT_REACHED" && failure?.metadata["limit"] == "waiting_polls")
        try daemon.createInstances("a")
        for poll in waiting { #expect(try poll.value().revision == 1) }
    }

    @Test func aPollThatWaitsIsAnsweredWhenTheDaemonStops() throws {
        let daemon = try TestDaemon()
        let client = try daemon.client(.broker)
        let poll = Beside { try client.poll(.with { $0.maxWait.seconds = 30 }) }
        #expect(eventually { daemon.pollsWaiting == 1 })
        daemon.services.stop()
        #expect(try poll.value().changes.isEmpty)
        #expect(try client.poll(.with { $0.maxWait.seconds = 30 }).changes.isEmpty)
    }

    // MARK: Watch

    @Test func aWatchBeginsWhereItWasToldAndMissesNothing() throws {
        let daemon = try TestDaemon()
        try daemon.createInstances("a", "b")
        let messages = Arrivals<Careg_V1_WatchResponse>()
        let client = try daemon.client(.broker)
        let watch = Beside {
            try client.watch(.with { $0.sinceRevision = 1 }) { message in
                messages.add(message)
                return true
            }
        }
        let head = try messages.next()
        #expect(!head.hasChange && head.revision == 1 && head.historyID.count == 32)
        #expect(try messages.next().change.instanceID == "b")
        for number in 0..<50 {
            try daemon.createInstances("c\(number)")
            let message = try messages.next()
            #expect(message.change.instanceID == "c\(number)" && message.revision == UInt64(number) + 3)
        }
        daemon.services.stop()
        let failure = #expect(throws: CaregFailure.self) { try watch.value() }
        #expect(failure?.codeNumber == 14 && failure?.reason == "SHUTTING_DOWN")
    }

    @Test func aWatchOfALongLogGetsAllOfItInOrder() throws {
        var limits = ServiceLimits()
        limits.changesPerTurn = 7
        limits.keptChanges = 5
        let daemon = try TestDaemon(limits: limits)
        try daemon.fill(instances: 500)
        let client = try daemon.client(.broker)
        var revisions: [UInt64] = []
        try client.watch(.init()) { message in
            if message.hasChange { revisions.append(message.change.revision) }
            return message.revision < 500
        }
        #expect(revisions == Array(1...500))
    }

    @Test func manyWatchersThatFollowSeeEachChangeOnce() throws {
        var limits = ServiceLimits()
        limits.keptChanges = 16
        let daemon = try TestDaemon(limits: limits)
        let watches = try (0..<8).map { _ in
            let client = try daemon.client(.broker)
            return Beside {
                var revisions: [UInt64] = []
                try client.watch(.init()) { message in
                    if message.hasChange { revisions.append(message.change.revision) }
                    return message.revision < 300
                }
                return revisions
            }
        }
        #expect(eventually { daemon.watchersOpen == 8 })
        try daemon.fill(instances: 300)
        for watch in watches { #expect(try watch.value() == Array(1...300)) }
        #expect(eventually { daemon.watchersOpen == 0 })
    }

    @Test func aWatcherThatDoesNotReadHoldsUpNobody() throws {
        let daemon = try TestDaemon()
        let release = DispatchSemaphore(value: 0)
        let isStuck = DispatchSemaphore(value: 0)
        let slow = try daemon.client(.broker)
        let watch = Beside {
            var count = 0
            try slow.watch(.init()) { message in
                if !message.hasChange {
                    isStuck.signal()
                    release.wait()
                }
                count += 1
                return message.revision < 6_000
            }
            return count
        }
        #expect(isStuck.wait(timeout: .now() + 10) == .success)
        try daemon.fill(instances: 6_000)
        let fast = try daemon.client(.broker)
        var last: UInt64 = 0
        try fast.watch(.with { $0.sinceRevision = 5_000 }) { message in
            last = message.revision
            return last < 6_000
        }
        #expect(last == 6_000)
        release.signal()
        #expect(try watch.value() == 6_001)
    }

    @Test func watchersPastTheirLimitAreRefused() throws {
        var limits = ServiceLimits()
        limits.watchers = 2
        let daemon = try TestDaemon(limits: limits)
        let first = try daemon.client(.broker)
        let watch = Beside { try first.watch(.init()) { !$0.hasChange } }
        #expect(eventually { daemon.watchersOpen == 1 })
        let second = try daemon.client(.broker)
        let failure = #expect(throws: CaregFailure.self) { try second.watch(.init()) { _ in true } }
        #expect(failure?.reason == "LIMIT_REACHED" && failure?.metadata["limit"] == "watchers")
        try daemon.createInstances("a")
        try watch.value()
    }
}

extension TestDaemon {
    var pollsWaiting: Int { gauge("careg_polls_waiting") }
    var watchersOpen: Int { gauge("careg_watchers") }

    func gauge(_ name: String) -> Int {
        let text = (try? services.metricsText) ?? ""
        for line in text.split(separator: "\n") where line.hasPrefix(name + " ") {
            return Int(line.dropFirst(name.count + 1)) ?? -1
        }
        return -1
    }

    /// Makes many changes, several to a commit.
    func fill(instances: Int) throws {
        let group = DispatchGroup()
        let failures = Mutex<[any Error]>([])
        let caller = Caller(userID: 0, groupID: 0, processID: 1)
        for number in 0..<instances {
            group.enter()
            registry.createInstance(id: "filler-\(number)", edition: .platinum, caller: caller) { result in
                if case .failure(let error) = result { failures.withLock { $0.append(error) } }
                group.leave()
            }
        }
        guard group.wait(timeout: .now() + 60) == .success else { throw Beside<Int>.Late() }
        if let failure = failures.withLock({ $0.first }) { throw failure }
    }
}
