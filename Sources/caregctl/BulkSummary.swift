internal import ArgumentParser
internal import CaregClient

/// What became of many registrations.
struct BulkSummary {
    private(set) var registered = 0
    /// Those that were there already, by the status that they have.
    private(set) var alreadyRegistered: [String: Int] = [:]
    /// Those that were refused, or could not be read, in the order in which that was known.
    private(set) var failures: [(source: String, failure: Failure)] = []
    /// Files without a certificate.
    var passedOver = 0
    /// What made going on useless; nil where everything was tried.
    var stop: Failure?
    /// Asked for, and not answered when the connection ended: they may be registered or not.
    var unanswered = 0
    /// Turned away by what made going on useless.
    private(set) var turnedAway = 0

    /// How many have been dealt with.
    var done: Int { registered + alreadyRegisteredCount + failures.count }
    /// Nothing was there to be registered.
    var isEmpty: Bool { done == 0 && turnedAway == 0 }
    var alreadyRegisteredCount: Int { alreadyRegistered.values.reduce(0, +) }

    mutating func noteRegistered() { registered += 1 }

    /// - Parameter status: as the daemon names it; nil where it does not.
    mutating func noteAlreadyRegistered(status: String?) { alreadyRegistered[status ?? "active", default: 0] += 1 }

    mutating func note(_ failure: Failure, of source: String) { failures.append((source, failure)) }

    /// - Returns: false where none of those that are left would fare better.
    mutating func note(_ refusal: CaregFailure, of source: String) -> Bool {
        guard Self.isHopeless(refusal) else {
            note(Failure(refusal), of: source)
            return true
        }
        turnedAway += 1
        stop = stop ?? Failure(refusal)
        return false
    }

    private static func isHopeless(_ refusal: CaregFailure) -> Bool {
        refusal.code == "UNAVAILABLE" || ["CALLER_NOT_ALLOWED", "DISK_FULL"].contains(refusal.reason)
    }

}

extension BulkSummary {
    /// `3 registered, 1 already there, 2 refused`, for a progress line.
    var inShort: String {
        "\(registered) registered, \(alreadyRegisteredCount) already there, \(failures.count) refused"
    }

    /// For standard error: one line for each that was refused.
    var complaints: [String] {
        failures.map { source, failure in
            // Our own sentences name the file.
            let message = failure.metadata["file"] == nil ? "\(source): \(failure.message)" : failure.message
            return "caregctl: \(TerminalText.escape(message)) (\(TerminalText.escape(failure.reason)))"
        }
    }

    /// For standard output.
    func lines(colour: Bool = Colour.isWanted) -> String {
        var pairs = [
            ("registered", Cell("\(registered)", registered > 0 ? .good : .plain)),
            ("already there", Cell("\(alreadyRegisteredCount)\(byStatus)")),
            ("refused", Cell("\(failures.count)\(byReason)", failures.isEmpty ? .plain : .bad)),
        ]
        if turnedAway > 0 { pairs.append(("turned away", Cell("\(turnedAway), and the rest not tried", .bad))) }
        if unanswered > 0 { pairs.append(("not answered", Cell("\(unanswered) (may be registered or not)", .bad))) }
        if passedOver > 0 { pairs.append(("passed over", Cell("\(passedOver) (no certificate in it)"))) }
        return Listing.lines(pairs, colour: colour)
    }

    private var byStatus: String {
        let others = alreadyRegistered.filter { $0.key != "active" }.sorted { $0.key < $1.key }
        return others.isEmpty ? "" : " (" + others.map { "\($0.value) \($0.key)" }.joined(separator: ", ") + ")"
    }

    private var byReason: String {
        let counts = failures.reduce(into: [:]) { $0[$1.failure.reason, default: 0] += 1 }
        let sorted = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        return sorted.isEmpty ? "" : " (" + sorted.map { "\($0.value) \($0.key)" }.joined(separator: ", ") + ")"
    }

    /// One document: counts, and each failure with its source.
    var json: String {
        let list = failures.map { "{\"source\":\(ProtobufJSON.quote($0.source)),\"error\":\($0.failure.json)}" }
        return "{\"registered\":\(registered),\"alreadyRegistered\":\(alreadyRegisteredCount),"
            + "\"refused\":\(failures.count),\"turnedAway\":\(turnedAway),\"unanswered\":\(unanswered),"
            + "\"passedOver\":\(passedOver),"
            + "\"failures\":[\(list.joined(separator: ","))]}"
    }

    /// Prints it.
    ///
    /// - Throws: what ended the work before its end; an exit status where something was refused.
    func report(as output: OutputFormat) throws {
        switch output {
        case .table:
            for line in complaints { StandardError.write(line: line) }
            try StandardOutput.write(lines())
        case .json: try StandardOutput.write(json + "\n")
        }
        if let stop { throw stop }
        if !failures.isEmpty { throw ExitCode(Failure.Exit.refused.rawValue) }
    }
}
