public import RegistryStore

/// An instance with what it holds.
public struct InstanceView: Sendable {
    public var record: InstanceRecord
    public var tally: Tally
}

extension Registry {
    /// CreateInstance: INSTANCE_ID_INVALID, INSTANCE_ALREADY_EXISTS, LIMIT_REACHED.
    public func createInstance(
        id: String, edition: Edition, caller: Caller,
        completion: @escaping @Sendable (Result<InstanceView, any Error>) -> Void
    ) {
        let limit = limits.instances
        writer.submit(method: "CreateInstance", caller: caller) { context in
            guard InstanceID.isValid(id) else {
                throw Refusal(
                    .instanceIDInvalid,
                    "An instance id has 1 to 64 characters out of A-Z a-z 0-9 - _; \(quoted(id)) is none.")
            }
            let snapshot = context.store.snapshot
            guard try snapshot.instance(id) == nil else {
                throw Refusal(
                    .instanceAlreadyExists, "The instance \(quoted(id)) exists already.",
                    metadata: ["instance_id": id])
            }
            guard try snapshot.instanceCount() < limit else {
                throw Refusal(
                    .limitReached, "The region holds \(limit) instances already, which is its limit.",
                    metadata: ["limit": "instances"])
            }
            let record = try context.store.insertInstance(
                id: id, edition: edition, createTime: context.now, revision: context.nextRevision())
            _ = try context.record(.instanceCreated, instance: record)
            return InstanceView(record: record, tally: Tally())
        } completion: {
            completion($0)
        }
    }

    /// UpdateInstance: INSTANCE_NOT_FOUND, INSTANCE_NOT_EMPTY.
    public func updateInstance(
        id: String, edition: Edition, caller: Caller,
        completion: @escaping @Sendable (Result<InstanceView, any Error>) -> Void
    ) {
        writer.submit(method: "UpdateInstance", caller: caller) { context in
            var record = try context.store.snapshot.requireInstance(id)
            let tally = try context.store.tally(of: record.number)
            if record.edition == edition { return InstanceView(record: record, tally: tally) }
            guard edition.mayRegister || tally.cas == 0 else {
                throw Refusal(
                    .instanceNotEmpty,
                    "The instance \(quoted(id)) holds \(tally.cas) CA certificates, which the standard edition may not. "
                        + "Delete them first.",
                    metadata: ["instance_id": id, "ca_count": String(tally.cas)])
            }
            record.edition = edition
            record.revision = try context.nextRevision()
            try context.store.update(record)
            _ = try context.record(.instanceUpdated, instance: record)
            return InstanceView(record: record, tally: tally)
        } completion: {
            completion($0)
        }
    }

    /// DeleteInstance: INSTANCE_NOT_FOUND, INSTANCE_NOT_EMPTY.
    public func deleteInstance(
        id: String, caller: Caller, completion: @escaping @Sendable (Result<InstanceView, any Error>) -> Void
    ) {
        writer.submit(method: "DeleteInstance", caller: caller) { context in
            var record = try context.store.snapshot.requireInstance(id)
            let tally = try context.store.tally(of: record.number)
            guard tally.cas == 0 else {
                throw Refusal(
                    .instanceNotEmpty,
                    "The instance \(quoted(id)) still holds \(tally.cas) CA certificates. Delete them first.",
                    metadata: ["instance_id": id, "ca_count": String(tally.cas)])
            }
            try context.store.delete(record)
            record.revision = try context.record(.instanceDeleted, instance: record)
            return InstanceView(record: record, tally: tally)
        } completion: {
            completion($0)
        }
    }

    /// GetInstance: INSTANCE_NOT_FOUND.
    public func instance(_ id: String) throws -> InstanceView {
        try read { snapshot in
            let record = try snapshot.requireInstance(id)
            return InstanceView(record: record, tally: try snapshot.tally(of: record.number))
        }
    }
}
