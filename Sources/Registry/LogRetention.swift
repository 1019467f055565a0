public import RegistryStore

/// How the change log is kept from growing for ever.
public struct LogRetention: Sendable {
    /// Entries that one commit looks at: other commands wait for as long as that takes, some 20 ms.
    public static let rowsPerCommit = 4_000
    /// Each time adds an entry of its own: it is done for so many at the least.
    public static let leastRemoved = 100
}

extension Registry {
    /// Takes automatic device registrations that were made before `horizon` out of the change log, in as many commits as it
    /// takes. Entries that stand for them keep the chain of hashes whole, and the log tells that it was done.
    ///
    /// - Parameters:
    ///   - leastRemoved: entries without which a commit does nothing.
    ///   - mayGoOn: asked before each commit.
    ///   - completion: called once with the number of entries taken out, between two commits.
    public func compactLog(
        before horizon: WallTime, leastRemoved: Int = LogRetention.leastRemoved, caller: Caller,
        mayGoOn: @escaping @Sendable () -> Bool = { true },
        completion: @escaping @Sendable (Result<Int, any Error>) -> Void
    ) {
        compactLog(
            before: horizon, leastRemoved: leastRemoved, caller: caller, removed: 0, mayGoOn: mayGoOn,
            completion: completion)
    }

    private func compactLog(
        before horizon: WallTime, leastRemoved: Int, caller: Caller, removed: Int,
        mayGoOn: @escaping @Sendable () -> Bool, completion: @escaping @Sendable (Result<Int, any Error>) -> Void
    ) {
        guard mayGoOn() else { return completion(.success(removed)) }
        writer.submit(method: "compaction", caller: caller) { context in
            try context.compactLog(before: horizon, leastRemoved: leastRemoved)
        } completion: { result in
            switch result {
            case .failure(let error): completion(.failure(error))
            case .success(let report):
                let removed = removed + report.removed
                guard report.hasMore else { return completion(.success(removed)) }
                self.compactLog(
                    before: horizon, leastRemoved: leastRemoved, caller: caller, removed: removed, mayGoOn: mayGoOn,
                    completion: completion)
            }
        }
    }
}
