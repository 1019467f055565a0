import Foundation
import Glibc
import Synchronization
import TestPKI

/// Figures of a run of the kill test.
struct KillFigures: CustomStringConvertible {
    var rounds = 0
    var acknowledged = 0
    /// Changes without an answer that are not there.
    var failed = 0
    /// Changes without an answer that are there.
    var failedButPersisted = 0
    /// Automatic registrations that were answered less than 100 ms before the kill, and are not there.
    var lateRegistrationsLost = 0
    /// Calls that a stopping daemon refused.
    var refusedByStop = 0
    var killedInStart = 0
    var killedInStop = 0
    var byMethod: [String: Int] = [:]
    var persistedByMethod: [String: Int] = [:]

    var description: String {
        func list(_ counts: [String: Int]) -> String {
            counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
        }
        return
            "\(rounds) rounds, \(acknowledged) changes acknowledged, \(failed) failed, \(failedButPersisted) failed but "
            + "persisted, \(lateRegistrationsLost) late registrations lost, \(refusedByStop) refused by a stop, "
            + "\(killedInStart) kills in a start, \(killedInStop) in a stop; acknowledged: \(list(byMethod)); "
            + "failed but persisted: \(list(persistedByMethod))"
    }
}

/// Counts the acknowledged changes of all clients, and tells when there are enough.
private final class KillProgress: Sendable {
    private let left: Mutex<Int>
    private let reached = DispatchSemaphore(value: 0)
    let isKilled = Atomic(false)

    init(target: Int) {
        left = Mutex(target)
        if target == 0 { reached.signal() }
    }

    func note() {
        let isReached = left.withLock { left in
            left -= 1
            return left == 0
        }
        if isReached { reached.signal() }
    }

    func wait(seconds: Int) -> Bool { reached.wait(timeout: .now() + .seconds(seconds)) == .success }
}

/// A daemon, and the plots that clients work on.
struct KillEstate {
    static let connections = 6
    static let plotsPerConnection = 3
    /// The registry may lose an automatic registration whose verdict is no older than this.
    static let lateSeconds = 0.1

    let daemon: Daemon
    private(set) var plots: [KillPlot]
    /// The log was compared up to here, where its hash was this one.
    private var revision: UInt64 = 0
    private var hash = ""
    private(set) var figures: KillFigures

    init(figures: KillFigures) throws {
        daemon = try Daemon()
        plots = (0..<Self.connections * Self.plotsPerConnection).map { KillPlot(number: $0) }
        self.figures = figures
    }

    // MARK: A round

    /// Works on all plots at once, kills the daemon somewhere in the middle, starts it again and compares.
    mutating func round(_ generator: inout SeededGenerator) throws {
        figures.rounds += 1
        let killTime = try loadAndKill(&generator)
        if generator.oneIn(8) {
            figures.killedInStart += 1
            try daemon.crashInStart(milliseconds: Int32(generator.below(40)))
        }
        let check = try daemon.offline("check")
        guard check.exit == 0 else { throw TestFailure("\(check)") }
        try daemon.start()
        try compare(killTime: killTime)
    }

    private mutating func loadAndKill(_ generator: inout SeededGenerator) throws -> Date {
        let progress = KillProgress(target: generator.below(120))
        let outcomes = Mutex<[Int: Result<[KillPlot], TestFailure>]>([:])
        let group = DispatchGroup()
        for connection in 0..<Self.connections {
            let share = Array(plots[connection * Self.plotsPerConnection..<(connection + 1) * Self.plotsPerConnection])
            let path = daemon.adminSocket
            let seed = generator.next()
            group.enter()
            Thread.detachNewThread {
                let outcome = Self.work(share, seed: seed, path: path, progress: progress)
                outcomes.withLock { $0[connection] = outcome }
                group.leave()
            }
        }
        let isReached = progress.wait(seconds: 20)
        // The kill comes at any instant: whole milliseconds as a wait for an end that does not come, then a short count.
        let isEnded = try daemon.hasEnded(within: Int32(generator.below(4)))
        let instant = Date(timeIntervalSinceNow: Double(generator.below(1_000)) / 1_000_000)
        while Date() < instant {}
        progress.isKilled.store(true, ordering: .sequentiallyConsistent)
        if generator.oneIn(8) {
            figures.killedInStop += 1
            daemon.signalTermination()
            _ = try daemon.hasEnded(within: Int32(generator.below(6)))
        }
        try daemon.crash()
        let killTime = Date()
        guard group.wait(timeout: .now() + 30) == .success else { throw TestFailure("a client does not end") }
        for (connection, outcome) in outcomes.withLock({ $0 }) {
            plots.replaceSubrange(
                connection * Self.plotsPerConnection..<(connection + 1) * Self.plotsPerConnection,
                with: try outcome.get())
        }
        guard isReached, !isEnded else {
            throw TestFailure("the daemon ended or stood still by itself:\n\(daemon.log.suffix(3000))")
        }
        return killTime
    }

    /// One connection: a call under way for each of its plots, until the daemon is gone.
    private static func work(
        _ share: [KillPlot], seed: UInt64, path: String, progress: KillProgress
    ) -> Result<[KillPlot], TestFailure> {
        var plots = share
        var generator = SeededGenerator(seed: seed)
        var streams: [UInt32: Int] = [:]
        func isKilled() -> Bool { progress.isKilled.load(ordering: .sequentiallyConsistent) }
        do {
            let client: WireClient
            do {
                client = try WireClient(path: path)
            } catch {
                return isKilled() ? .success(plots) : .failure(TestFailure("\(error)"))
            }
            func send(_ index: Int) throws {
                let operation = plots[index].choose(&generator)
                let request = operation.request(plots[index].id, plots[index].cast)
                plots[index].underWay = operation
                let stream = client.takeStream()
                streams[stream] = index
                try client.sendRequest(operation.service, operation.method, request, stream: stream)
            }
            do {
                for index in plots.indices { try send(index) }
            } catch {
                guard isKilled() else { throw error }
            }
            while true {
                let received: WireFrame?
                do {
                    received = try client.receive(seconds: 15)
                } catch {
                    guard isKilled() else { throw error }
                    received = nil
                }
                guard let frame = received else { break }
                guard let index = streams.removeValue(forKey: frame.stream) else {
                    throw TestFailure("an answer on stream \(frame.stream)")
                }
                let refused = plots[index].refusedByStop
                if try plots[index].take(WireResponse(frame)) { progress.note() }
                // What is sent after a kill is lost; the answers that came before it are still to be read.
                if plots[index].refusedByStop == refused { try? send(index) }
            }
            guard isKilled() else { throw TestFailure("the connection was closed") }
            return .success(plots)
        } catch {
            return .failure(error as? TestFailure ?? TestFailure("\(error)"))
        }
    }

    // MARK: Comparison

    /// Compares the log, every list and every verdict with what was acknowledged.
    private mutating func compare(killTime: Date) throws {
        let client = try WireClient(path: daemon.adminSocket)
        let records = try log(client)
        let last = revision + UInt64(records.count)
        for (index, record) in records.enumerated() where record.integer(1) != revision + UInt64(index) + 1 {
            throw TestFailure("the log has revision \(record.integer(1)) after \(revision + UInt64(index))")
        }
        for index in plots.indices {
            var plot = plots[index]
            try requireAcknowledged(&plot, records, last: last, killTime: killTime)
            plots[index] = plot
        }
        try settleUnderWay(records)
        try compareLists(client)
        for plot in plots { try compareVerdicts(plot, client) }
        try requireIntact(client, last: last)
        revision = last
    }

    /// Reads the log after the last comparison.
    private func log(_ client: WireClient) throws -> [ProtobufMessage] {
        try pages(
            client, WireClient.admin, "ListAuditRecords", ProtobufMessage.Builder().integer(1, revision), at: (1, 2))
    }

    /// Each change that was answered is in the log at its revision; an automatic registration may be missing where it was
    /// answered just before the kill.
    private mutating func requireAcknowledged(
        _ plot: inout KillPlot, _ records: [ProtobufMessage], last: UInt64, killTime: Date
    ) throws {
        for (revision, entry) in plot.acknowledged.sorted(by: { $0.key < $1.key }) {
            let found =
                revision > self.revision && revision <= last
                ? KillEntry(records[Int(revision - self.revision) - 1]) : nil
            if found == entry {
                figures.acknowledged += 1
                figures.byMethod[entry.method, default: 0] += 1
            } else if !forget(&plot, revision: revision, killTime: killTime) {
                throw TestFailure(
                    "\(entry) was acknowledged as revision \(revision); the log ends at \(last) and has there "
                        + "\(String(describing: found))")
            }
        }
        guard plot.highestRevision <= last else {
            throw TestFailure("the registry went back from revision \(plot.highestRevision) to \(last)")
        }
        figures.refusedByStop += plot.refusedByStop
        plot.refusedByStop = 0
    }

    /// Takes an automatic registration back that may be lost.
    private mutating func forget(_ plot: inout KillPlot, revision: UInt64, killTime: Date) -> Bool {
        for (index, ca) in plot.cas {
            for (number, device) in ca.devices where device.revision == revision {
                guard let since = device.automaticSince, killTime.timeIntervalSince(since) <= Self.lateSeconds else {
                    return false
                }
                plot.cas[index]?.devices[number] = nil
                plot.acknowledged[revision] = nil
                figures.lateRegistrationsLost += 1
                return true
            }
        }
        return false
    }

    /// What no answer told is in the log whole, as what its plot had under way, or it is not there.
    private mutating func settleUnderWay(_ records: [ProtobufMessage]) throws {
        let numbers = Dictionary(uniqueKeysWithValues: plots.enumerated().map { ($1.id, $0) })
        for record in records {
            let entry = KillEntry(record)
            guard let index = numbers[entry.instance] else { throw TestFailure("\(entry) is nobody's") }
            if plots[index].acknowledged[record.integer(1)] == entry { continue }
            guard let operation = plots[index].underWay,
                case .change(let expected, _) = plots[index].expectation(operation), expected == entry
            else {
                throw TestFailure(
                    "\(entry) is in the log at \(record.integer(1)); its plot has "
                        + "\(String(describing: plots[index].underWay)) under way")
            }
            // The beginning of a code is in the lists alone: it is filled in when they are compared.
            plots[index].apply(operation, revision: record.integer(1), answered: false)
            plots[index].underWay = nil
            figures.failedButPersisted += 1
            figures.persistedByMethod[operation.method, default: 0] += 1
        }
        for index in plots.indices {
            if let operation = plots[index].underWay, case .change = plots[index].expectation(operation) {
                figures.failed += 1
            }
            plots[index].underWay = nil
            plots[index].acknowledged = [:]
        }
    }

    private mutating func requireIntact(_ client: WireClient, last: UInt64) throws {
        // The hash that was kept proves that the history before it is the same.
        let kept = ProtobufMessage.Builder().integer(1, hash.isEmpty ? 0 : revision).text(2, hash)
        let answer = try client.call(WireClient.admin, "VerifyAuditLog", kept)
        let found = try answer.payload.message(1)
        guard answer.code == 0, found.integer(1) == 1, found.integer(3) == last else {
            throw TestFailure("the log is not intact up to \(last): \(answer) \(found.text(7))")
        }
        hash = found.text(5)
        let status = try client.call(WireClient.admin, "GetStatus").payload.message(1)
        guard status.integer(4) == last else {
            throw TestFailure("the status says revision \(status.integer(4)), the log \(last)")
        }
    }

    private mutating func compareLists(_ client: WireClient) throws {
        let instances = try pages(client, WireClient.registry, "ListInstances", .init(), size: 1, token: 2, at: (1, 2))
        try requireSame(
            "instances",
            instances.map { row in
                "\(row.text(1)) edition \(row.integer(2)) cas \(row.integer(4)) devices \(row.integer(5)) "
                    + "revision \(row.integer(6))"
            },
            plots.compactMap { plot in
                plot.instance.map { instance in
                    "\(plot.id) edition \(instance.edition) cas \(plot.cas.count) devices \(plot.deviceCount) "
                        + "revision \(instance.revision)"
                }
            })
        for index in plots.indices where plots[index].instance != nil {
            let codes = try pages(
                client, WireClient.registry, "ListRegistrationCodes",
                ProtobufMessage.Builder().text(1, plots[index].id),
                at: (1, 2))
            for code in codes {
                if let position = plots[index].codes.firstIndex(where: {
                    $0.prefix.isEmpty && $0.revision == code.integer(5)
                }) {
                    plots[index].codes[position].prefix = code.text(1)
                }
            }
            try requireSame(
                "codes of \(plots[index].id)", codes.map { "\($0.text(1)) revision \($0.integer(5))" },
                plots[index].codes.map { "\($0.prefix) revision \($0.revision)" })
        }
        let cas = try pages(client, WireClient.registry, "ListCaCertificates", .init(), size: 6, token: 7, at: (1, 2))
        try requireSame(
            "CA certificates",
            cas.map { row in
                "\(row.text(1)) \(row.text(2)) '\(row.text(3))' status \(row.integer(4)) \(row.text(5)) "
                    + "mode \(row.integer(12)) devices \(row.integer(17)) revision \(row.integer(18))"
            },
            plots.flatMap { plot in
                plot.cas.map { index, ca in
                    let certificate = plot.cast.authorities[index]
                    return "\(certificate.serialNumber) \(plot.id) '\(ca.name)' status \(ca.status) "
                        + "\(certificate.fingerprint) mode \(ca.mode) devices \(ca.deviceCount) revision \(ca.revision)"
                }
            })
        for plot in plots {
            for (index, ca) in plot.cas { try compareDevices(of: ca, index, plot, client) }
        }
    }

    private func compareDevices(
        of ca: KillPlot.Ca, _ index: Int, _ plot: KillPlot, _ client: WireClient
    ) throws {
        let authority = plot.cast.authorities[index].serialNumber
        let rows = try pages(
            client, WireClient.registry, "ListDeviceCertificates", ProtobufMessage.Builder().text(1, authority),
            size: 6, token: 7, at: (1, 2))
        try requireSame(
            "devices of \(authority)",
            rows.map { "\($0.text(2)) \($0.text(4)) status \($0.integer(5)) revision \($0.integer(14))" },
            ca.devices.compactMap { number, device in
                let certificate = plot.cast.devices[index][number]
                return device.status.map {
                    "\(certificate.serialNumber) \(certificate.fingerprint) status \($0) revision \(device.revision)"
                }
            })
    }

    /// Asks about every device: tombstones are in no list.
    private func compareVerdicts(_ plot: KillPlot, _ client: WireClient) throws {
        for index in 0..<KillCast.authorityCount {
            for number in 0..<KillCast.deviceCount {
                let question = KillOperation.verify(index, number).request(plot.id, plot.cast).integer(3, 1)
                let verdict = try client.call(WireClient.verifier, "Verify", question).payload.message(1)
                guard verdict.integer(2) == plot.verdict(index, number) else {
                    throw TestFailure(
                        "\(plot.id): the verdict on device \(number) of CA \(index) is \(verdict.integer(2)) "
                            + "\(verdict.text(9)), expected \(plot.verdict(index, number))")
                }
            }
        }
    }

    private func requireSame(_ what: String, _ seen: [String], _ expected: [String]) throws {
        let missing = Set(expected).subtracting(seen)
        let extra = Set(seen).subtracting(expected)
        guard missing.isEmpty, extra.isEmpty, seen.count == expected.count else {
            throw TestFailure(
                "\(what) differ after the restart\n  acknowledged and not there: \(missing.sorted())\n  there: "
                    + "\(extra.sorted())")
        }
    }

    /// All pages of a list.
    ///
    /// - Parameters:
    ///   - size: field numbers of page_size and page_token in the request.
    ///   - at: field numbers of the rows and of next_page_token in the answer.
    private func pages(
        _ client: WireClient, _ service: String, _ method: String, _ request: ProtobufMessage.Builder, size: Int = 2,
        token: Int = 3, at: (rows: Int, next: Int)
    ) throws -> [ProtobufMessage] {
        var rows: [ProtobufMessage] = []
        var next: [UInt8] = []
        repeat {
            let answer = try client.call(service, method, request.integer(size, 1_000).bytes(token, next))
            guard answer.code == 0 else { throw TestFailure("\(method): \(answer)") }
            rows += try answer.payload.messages(at.rows)
            next = answer.payload.bytes(at.next)
        } while !next.isEmpty
        return rows
    }
}
