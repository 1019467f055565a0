import Certificates
import Dispatch
import Registry
import RegistryStore
import Signatures
import Synchronization
import TestPKI
import Testing
import Verification

/// Callers at once: one commit for many, one winner of two.
@Suite struct ConcurrencyTests {
    @Test func sixtyFourCallersAtOnceShareCommits() throws {
        let bench = try Bench()
        try bench.createInstance("plant")
        let registry = bench.registry
        let before = registry.writer.statistics
        let callers = 64
        let each = 10
        let answers = (0..<callers * each).map { _ in Answer<InstanceView>() }
        DispatchQueue.concurrentPerform(iterations: callers) { caller in
            for call in 0..<each {
                let done = DispatchSemaphore(value: 0)
                let answer = answers[caller * each + call]
                registry.createInstance(id: "c-\(caller)-\(call)", edition: .standard, caller: Bench.caller) {
                    answer.set($0)
                    done.signal()
                }
                // Handed in by as many as the machine has threads for; the answer is waited for where there are few.
                if call == each - 1 { done.wait() }
            }
        }
        registry.writer.flush()
        for answer in answers { _ = try answer.get() }
        let statistics = registry.writer.statistics
        let commands = statistics.commands - before.commands
        let commits = statistics.commits - before.commits
        #expect(commands == UInt64(callers * each))
        #expect(commits < commands / 2, "\(commits) commits of \(commands) commands")
        #expect(statistics.largestGroup > 1 && statistics.waiting == 0)
        #expect(try bench.revision() == 1 + UInt64(callers * each))
        try bench.expectSound()
    }

    @Test func commandsThatWaitAreDecidedInOneCommitInTheirOrder() throws {
        let bench = try Bench()
        try bench.createInstance("plant")
        let before = bench.registry.writer.statistics
        let answers = (0..<64).map { _ in Answer<CodeView>() }
        bench.inOneCommit { registry in
            for answer in answers {
                registry.issueCode(instanceID: "plant", lifetime: nil, caller: Bench.caller) { answer.set($0) }
            }
        }
        let revisions = try answers.map { try $0.get().record.revision.number }
        #expect(revisions == (0..<64).map { UInt64($0) + 2 })
        let statistics = bench.registry.writer.statistics
        #expect(statistics.commits == before.commits + 1 && statistics.largestGroup == 64)
        #expect(Set(try bench.log().suffix(64).map(\.time)).count == 1)
    }

    @Test func aCommitHoldsItsLimitOfCommandsAtMost() throws {
        var limits = RegistryLimits()
        limits.commandsPerCommit = 10
        let bench = try Bench(limits: limits)
        let answers = (0..<25).map { _ in Answer<InstanceView>() }
        bench.inOneCommit { registry in
            for (number, answer) in answers.enumerated() {
                registry.createInstance(id: "i-\(number)", edition: .standard, caller: Bench.caller) { answer.set($0) }
            }
        }
        for answer in answers { _ = try answer.get() }
        let statistics = bench.registry.writer.statistics
        #expect(statistics.commits == 3 && statistics.largestGroup == 10)
    }

    @Test func tooMuchThatWaitsIsRefusedAndFirstSightsStandUnregisteredBefore() throws {
        var limits = RegistryLimits()
        limits.waitingCommandBytes = 20_000
        let bench = try Bench(limits: limits)
        let root = authority(1)
        try bench.createInstance("plant")
        try bench.register(root, with: "plant")
        let answers = (0..<100).map { _ in Answer<InstanceView>() }
        let (early, late) = (Answer<Verdict>(), Answer<Verdict>())
        bench.inOneCommit { registry in
            func see(_ name: TestName, _ answer: Answer<Verdict>) {
                let question = VerifyQuestion(
                    instanceID: "plant", chain: [root.device(name).der], isDryRun: false, at: nil, hearsOf: nil)
                registry.verify(question, tools: VerificationTools(), caller: Bench.caller) { answer.set($0) }
            }
            see("early", early)
            for (number, answer) in answers.enumerated() {
                registry.createInstance(id: "i-\(number)", edition: .standard, caller: Bench.caller) { answer.set($0) }
                if number == 50 { see("late", late) }
            }
        }
        #expect(try early.get().isTrusted && early.get().registered)
        #expect(try late.get().isTrusted && !late.get().registered)
        let made = answers.prefix { (try? $0.get()) != nil }.count
        #expect((60..<80).contains(made), "\(made)")
        for answer in answers.dropFirst(made) {
            let refusal = #expect(throws: Refusal.self) { try answer.get() }
            #expect(refusal?.reason == .limitReached && refusal?.metadata["limit"] == "waiting_command_bytes")
        }
        #expect(bench.registry.writer.statistics.waitingBytes == 0)
        // There is room again.
        #expect(try bench.verify(root.device("late"), with: "plant").registered)
        try bench.createInstance("later")
    }

    @Test func aRefusalAmongManyTouchesNobodyElse() throws {
        let bench = try Bench()
        try bench.createInstance("taken")
        let answers = (0..<9).map { _ in Answer<InstanceView>() }
        bench.inOneCommit { registry in
            for (number, answer) in answers.enumerated() {
                let id = number % 3 == 1 ? "taken" : "i-\(number)"
                registry.createInstance(id: id, edition: .standard, caller: Bench.caller) { answer.set($0) }
            }
        }
        for (number, answer) in answers.enumerated() {
            if number % 3 == 1 {
                let refusal = #expect(throws: Refusal.self) { try answer.get() }
                #expect(refusal?.reason == .instanceAlreadyExists)
            } else {
                _ = try answer.get()
            }
        }
        #expect(try bench.revision() == 7)
    }

    // MARK: Races

    /// Registers several uploads from as many threads, and gives the answers.
    private func race(_ bench: Bench, _ uploads: [CaUpload]) -> [Result<CaView, any Error>] {
        let answers = uploads.map { _ in Answer<CaView>() }
        let registry = bench.registry
        DispatchQueue.concurrentPerform(iterations: uploads.count) { index in
            let answer = answers[index]
            registry.registerCa(uploads[index], signatures: SignatureVerifier(), caller: Bench.caller) {
                answer.set($0)
            }
        }
        registry.writer.flush()
        return answers.map { answer in Result { try answer.get() } }
    }

    private func winner(
        _ results: [Result<CaView, any Error>], losers reason: RefusalReason,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> CaView {
        var winners: [CaView] = []
        var refusals: [Refusal] = []
        for result in results {
            switch result {
            case .success(let view): winners.append(view)
            case .failure(let error): refusals.append(try #require(error as? Refusal, sourceLocation: sourceLocation))
            }
        }
        try #require(winners.count == 1, sourceLocation: sourceLocation)
        for refusal in refusals {
            #expect(refusal.reason == reason, sourceLocation: sourceLocation)
            if reason != .codeUsed {
                #expect(
                    refusal.metadata["instance_id"] == winners[0].record.instanceID
                        && refusal.metadata["sn"] == winners[0].record.serialNumber.text,
                    "the loser names the holder", sourceLocation: sourceLocation)
            }
        }
        return winners[0]
    }

    @Test func ofTwoRegistrationsOfOneSNAtOnceOneWinsAndTheLoserNamesTheHolder() throws {
        for round in 0..<10 {
            let bench = try Bench()
            let instances = ["plant", "other"]
            for instance in instances { try bench.createInstance(instance) }
            let uploads = try instances.enumerated().map { index, instance in
                bench.upload(
                    authority(10 * round + index, serial: [0x55]), instance, code: try bench.issueCode(instance).text)
            }
            let winner = try winner(race(bench, uploads), losers: .snAlreadyRegistered)
            let loser = winner.record.instanceID == "plant" ? "other" : "plant"
            #expect(try bench.openCodes(loser).count == 1 && bench.openCodes(winner.record.instanceID).isEmpty)
            try bench.expectSound()
        }
    }

    @Test func ofManyRegistrationsOfOneCertificateAtOnceOneWins() throws {
        let bench = try Bench()
        let instances = (0..<8).map { "instance-\($0)" }
        for instance in instances { try bench.createInstance(instance) }
        let ca = authority(1)
        let uploads = try instances.map { bench.upload(ca, $0, code: try bench.issueCode($0).text) }
        _ = try winner(race(bench, uploads), losers: .caAlreadyRegistered)
        try bench.expectSound()
    }

    @Test func ofManyInstancesWithOneKeyAtOnceOneWins() throws {
        let bench = try Bench()
        let instances = (0..<8).map { "instance-\($0)" }
        for instance in instances { try bench.createInstance(instance) }
        let uploads = try instances.enumerated().map { index, instance in
            bench.upload(
                authority(1, serial: [UInt8(index + 1)]), instance, code: try bench.issueCode(instance).text)
        }
        _ = try winner(race(bench, uploads), losers: .caOfAnotherInstance)
        try bench.expectSound()
    }

    @Test func oneCodeLetsOneOfManyIn() throws {
        let bench = try Bench()
        try bench.createInstance("plant")
        let code = try bench.issueCode("plant").text
        let uploads = (1...8).map { bench.upload(authority($0), "plant", code: code) }
        _ = try winner(race(bench, uploads), losers: .codeUsed)
        #expect(try bench.registry.instance("plant").tally.cas == 1)
        try bench.expectSound()
    }

    @Test func anInstanceIsNotDeletedUnderARegistration() throws {
        let bench = try Bench()
        try bench.createInstance("plant")
        let upload = bench.upload(authority(1), "plant", code: try bench.issueCode("plant").text)
        let registered = Answer<CaView>()
        let deleted = Answer<InstanceView>()
        bench.inOneCommit { registry in
            registry.registerCa(upload, signatures: SignatureVerifier(), caller: Bench.caller) { registered.set($0) }
            registry.deleteInstance(id: "plant", caller: Bench.caller) { deleted.set($0) }
        }
        _ = try registered.get()
        #expect(throws: Refusal.self) { try deleted.get() }

        let late = Answer<CaView>()
        try bench.delete(authority(1))
        let second = bench.upload(authority(2), "plant", code: try bench.issueCode("plant").text)
        bench.inOneCommit { registry in
            registry.deleteInstance(id: "plant", caller: Bench.caller) { _ in }
            registry.registerCa(second, signatures: SignatureVerifier(), caller: Bench.caller) { late.set($0) }
        }
        let refusal = #expect(throws: Refusal.self) { try late.get() }
        #expect(refusal?.reason == .instanceNotFound)
        try bench.expectSound()
    }

    @Test func anInstanceOfTheSameNameIsAnotherOneForARegistrationUnderWay() throws {
        let bench = try Bench()
        try bench.createInstance("plant")
        let upload = bench.upload(authority(1), "plant", code: try bench.issueCode("plant").text)
        let late = Answer<CaView>()
        bench.inOneCommit { registry in
            registry.deleteInstance(id: "plant", caller: Bench.caller) { _ in }
            registry.createInstance(id: "plant", edition: .platinum, caller: Bench.caller) { _ in }
            registry.registerCa(upload, signatures: SignatureVerifier(), caller: Bench.caller) { late.set($0) }
        }
        let refusal = #expect(throws: Refusal.self) { try late.get() }
        #expect(refusal?.reason == .codeMismatch)
        try bench.expectSound()
    }

    @Test func verdictsWhileTheWriterWorksNeverContradictWhatWasAnswered() throws {
        let bench = try Bench()
        try bench.createInstance("plant")
        let ca = authority(1)
        try bench.register(ca, with: "plant")
        let device = ca.device()
        try bench.registerDevice(device, with: "plant")
        let registry = bench.registry
        /// What was answered last; nil while a change is under way.
        let state = Mutex<(round: Int, isTrusted: Bool?)>((0, true))
        let contradictions = Collected<String>()
        let rounds = 60
        DispatchQueue.concurrentPerform(iterations: 4) { thread in
            if thread == 0 {
                for round in 0..<rounds {
                    let isTrusted = round % 2 == 1
                    state.withLock { $0.isTrusted = nil }
                    let done = DispatchSemaphore(value: 0)
                    let completion: @Sendable (Result<CaView, any Error>) -> Void = { _ in
                        state.withLock { $0 = (round + 1, isTrusted) }
                        done.signal()
                    }
                    if isTrusted {
                        registry.activateCa(ca.serialNumber, caller: Bench.caller, completion: completion)
                    } else {
                        registry.unregisterCa(ca.serialNumber, caller: Bench.caller, completion: completion)
                    }
                    done.wait()
                }
                return
            }
            let tools = VerificationTools()
            while state.withLock({ $0.round }) < rounds {
                let before = state.withLock { $0 }
                let answer = Answer<Verdict>()
                registry.verify(
                    VerifyQuestion(instanceID: "plant", chain: [device.der], isDryRun: true, at: nil, hearsOf: nil),
                    tools: tools, caller: Bench.caller
                ) { answer.set($0) }
                let after = state.withLock { $0 }
                // Nothing began or ended in between: the verdict must be what was answered.
                if let expected = before.isTrusted, before.round == after.round, after.isTrusted != nil,
                    (try? answer.get().isTrusted) != expected
                {
                    contradictions.append("round \(before.round)")
                }
            }
        }
        #expect(contradictions.all.isEmpty)
    }
}
