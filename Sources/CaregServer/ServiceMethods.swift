internal import CaregProto
internal import Registry
internal import SwiftProtobuf
internal import Synchronization
internal import TTRPC
internal import Threads

/// Where calls are worked on. Event loops must not wait: what may take more than a moment goes elsewhere.
struct Workplaces: Sendable {
    /// Signature checks. Each thread has its tools, with the keys and the CA certificates that it has met.
    let verification: WorkerPool<VerificationTools>
    /// Pages, the status, the metrics.
    let queries: WorkerPool<Void>
    /// Copies, which last as long as their reader takes.
    let copies: WorkerPool<Void>
    /// Walks of the audit log: one at a time.
    let audits: WorkerPool<Void>
    let backups = BackupCounter()

    init(_ limits: ServiceLimits) throws(ThreadError) {
        // They stand back behind the event loops: a storm of new devices must not keep the known ones waiting.
        verification = try WorkerPool(
            label: "verification", threads: limits.verificationThreads, capacity: limits.waitingVerifications,
            scheduling: .yielding(niceness: 5)
        ) { VerificationTools() }
        queries = try WorkerPool(
            label: "queries", threads: limits.queryThreads, capacity: limits.waitingQueries, makeTool: {})
        // A copy does not wait for another one: one too many is refused when it begins.
        copies = try WorkerPool(
            label: "copies", threads: limits.backups + 1, capacity: limits.waitingQueries, makeTool: {})
        audits = try WorkerPool(label: "audits", threads: 1, capacity: limits.waitingAudits, makeTool: {})
    }
}

/// Every method of careg.v1: who answers it, and where.
struct ServiceMethods: Sendable {
    let policy: PolicyInForce
    let journal: CallJournal
    let workplaces: Workplaces

    /// The table. `changes`: the method changes the registry.
    func all(
        registry: RegistryService, verifier: VerifierService, admin: AdminService, backup: BackupService
    ) -> [TTRPC.Method] {
        // By its usual rows: a page of larger ones takes more room than it asked for, once.
        let rows = { @Sendable (count: UInt32, bytes: Int) in registry.limits.expectedRows(count) * bytes }
        return [
            change(.registry, "CreateInstance", registry.createInstance),
            glance(.registry, "GetInstance", registry.getInstance),
            query(.registry, "ListInstances", answerBytes: { rows($0.pageSize, 256) }, registry.listInstances),
            change(.registry, "UpdateInstance", registry.updateInstance),
            change(.registry, "DeleteInstance", registry.deleteInstance),
            change(.registry, "IssueRegistrationCode", registry.issueRegistrationCode),
            query(.registry, "ListRegistrationCodes", registry.listRegistrationCodes),
            change(.registry, "RevokeRegistrationCode", registry.revokeRegistrationCode),
            verification(
                .registry, "RegisterCaCertificate", changes: true, registry.registerCaCertificate),
            verification(.registry, "GetCaCertificate", changes: false, registry.getCaCertificate),
            query(
                .registry, "ListCaCertificates", answerBytes: { rows($0.pageSize, 1_024) },
                registry.listCaCertificates),
            change(.registry, "UpdateCaCertificate", registry.updateCaCertificate),
            change(.registry, "ActivateCaCertificate", registry.activateCaCertificate),
            change(.registry, "UnregisterCaCertificate", registry.unregisterCaCertificate),
            change(.registry, "DeleteCaCertificate", registry.deleteCaCertificate),
            verification(
                .registry, "RegisterDeviceCertificate", changes: true, registry.registerDeviceCertificate),
            glance(.registry, "GetDeviceCertificate", registry.getDeviceCertificate),
            query(
                .registry, "ListDeviceCertificates", answerBytes: { rows($0.pageSize, 768) },
                registry.listDeviceCertificates),
            change(.registry, "ActivateDeviceCertificate", registry.activateDeviceCertificate),
            change(.registry, "DeactivateDeviceCertificate", registry.deactivateDeviceCertificate),
            change(.registry, "DeleteDeviceCertificate", registry.deleteDeviceCertificate),

            verification(
                .verifier, "Verify", changes: false, inPlace: verifier.known?.handler, atOnce: verifier.verifyKnown,
                verifier.verify),
            query(
                .verifier, "ListTrustAnchors", answerBytes: { rows($0.pageSize, 4_096) }, verifier.listTrustAnchors),
            // It may wait for long: no room is kept for its answer meanwhile, or a few would keep it from all others.
            query(.verifier, "Poll", answerBytes: { _ in 0 }, verifier.poll),
            stream(.verifier, "Watch", verifier.watch),

            query(.admin, "GetStatus", admin.getStatus),
            query(.admin, "GetMetrics", admin.getMetrics),
            query(.admin, "ListAuditRecords", answerBytes: { rows($0.pageSize, 640) }, admin.listAuditRecords),
            query(.admin, "ListRefusals", admin.listRefusals),
            query(.admin, "VerifyAuditLog", in: workplaces.audits, limit: "waiting_audits", admin.verifyAuditLog),
            stream(.admin, "Backup", in: workplaces.copies, backup.backup),
        ]
    }

    // MARK: Kinds of methods

    typealias Unary<Request, Response: Message> = @Sendable (Request, Call<Response>) throws -> Void
    typealias Streaming<Request, Response: Message> = @Sendable (Request, StreamCall<Response>) throws -> Void
    typealias Verifying<Request, Response: Message> =
        @Sendable (Request, Call<Response>, VerificationTurn) throws -> Void

    /// Answered on the event loop: a look at a record or two.
    private func glance<Request: Message, Response: Message>(
        _ service: ServiceName, _ name: String, _ body: @escaping Unary<Request, Response>
    ) -> TTRPC.Method {
        unary(service, name, changes: false) { wire, context in
            let call = Call<Response>(wire: wire, context: context)
            call.attempt { try body(try decode(wire), call) }
        }
    }

    /// Handed to the writer, which answers.
    private func change<Request: Message, Response: Message>(
        _ service: ServiceName, _ name: String, _ body: @escaping Unary<Request, Response>
    ) -> TTRPC.Method {
        unary(service, name, changes: true) { wire, context in
            let call = Call<Response>(wire: wire, context: context)
            call.attempt { try body(try decode(wire), call) }
        }
    }

    /// Answered on a query thread.
    ///
    /// - Parameter answerBytes: how large the answer may become: the work begins when there is room for it. 0: at once.
    private func query<Request: Message, Response: Message>(
        _ service: ServiceName, _ name: String, in pool: WorkerPool<Void>? = nil, limit: String = "waiting_queries",
        answerBytes: @escaping @Sendable (Request) -> Int = { _ in 65_536 }, _ body: @escaping Unary<Request, Response>
    ) -> TTRPC.Method {
        let pool = pool ?? workplaces.queries
        return unary(service, name, changes: false) { wire, context in
            let call = Call<Response>(wire: wire, context: context)
            call.attempt {
                let request: Request = try decode(wire)
                let bytes = answerBytes(request)
                take(call, in: pool, limit: limit, answerBytes: bytes) { try body(request, call) }
            }
        }
    }

    private func take<Response: Message>(
        _ call: Call<Response>, in pool: WorkerPool<Void>, limit: String, answerBytes: Int,
        _ body: @escaping @Sendable () throws -> Void
    ) {
        call.attempt {
            try pool.take(call.wire, limit: limit) {
                let hasRoom =
                    answerBytes == 0
                    || call.wire.takeRoom(forAnswerOf: answerBytes) {
                        take(call, in: pool, limit: limit, answerBytes: answerBytes, body)
                    }
                if hasRoom { call.attempt(body) }
            }
        }
    }

    /// Answered on a verification thread, unless `inPlace` or `atOnce` has answered.
    private func verification<Request: Message, Response: Message>(
        _ service: ServiceName, _ name: String, changes: Bool, inPlace: InPlaceHandler? = nil,
        atOnce: @escaping @Sendable (Request, Call<Response>) throws -> Bool = { _, _ in false },
        _ body: @escaping Verifying<Request, Response>
    ) -> TTRPC.Method {
        let pool = workplaces.verification
        return unary(service, name, changes: changes, inPlace: inPlace) { wire, context in
            let call = Call<Response>(wire: wire, context: context)
            call.attempt {
                let request: Request = try decode(wire)
                if try atOnce(request, call) { return }
                let again: Registry.OnVerificationThread = { work in
                    call.attempt { try pool.take(wire, limit: "waiting_verifications") { work($0) } }
                }
                try pool.take(wire, limit: "waiting_verifications") { tools in
                    call.attempt {
                        try body(request, call, VerificationTurn(tools: tools, again: again))
                    }
                }
            }
        }
    }

    private func unary(
        _ service: ServiceName, _ name: String, changes: Bool, inPlace: InPlaceHandler? = nil,
        _ body: @escaping @Sendable (ServerCall, CallContext) -> Void
    ) -> TTRPC.Method {
        TTRPC.Method(service: service.rawValue, name: name, kind: .unary, inPlace: inPlace) { wire in
            admit(wire, to: service, name, changes: changes, body)
        }
    }

    /// Answered by a stream, from the event loop or from threads that may block.
    private func stream<Request: Message, Response: Message>(
        _ service: ServiceName, _ name: String, in pool: WorkerPool<Void>? = nil,
        _ body: @escaping Streaming<Request, Response>
    ) -> TTRPC.Method {
        TTRPC.Method(service: service.rawValue, name: name, kind: .serverStream) { wire in
            admit(wire, to: service, name, changes: false) { wire, context in
                let call = StreamCall<Response>(wire: wire, context: context)
                call.attempt {
                    let request: Request = try decode(wire)
                    guard let pool else { return try body(request, call) }
                    try pool.take(wire, limit: "waiting_queries") {
                        call.attempt { try body(request, call) }
                    }
                }
            }
        }
    }

    // MARK: Who may

    private func admit(
        _ wire: ServerCall, to service: ServiceName, _ name: String, changes: Bool,
        _ body: (ServerCall, CallContext) -> Void
    ) {
        let request = journal.nextRequest()
        func context(_ access: Access) -> CallContext {
            CallContext(request: request, method: name, changes: changes, access: access, journal: journal)
        }
        do {
            body(wire, context(try policy.current.access(of: wire, to: service)))
        } catch {
            context(Access(instances: [], mayHearOfOthers: false)).fail(wire, error)
        }
    }
}

/// A turn on a verification thread.
struct VerificationTurn {
    /// The thread's.
    let tools: VerificationTools
    /// For another turn, of this thread or another one. A call that is over by then gets none.
    let again: Registry.OnVerificationThread
}

extension Call {
    fileprivate func attempt(_ body: () throws -> Void) {
        do {
            try body()
        } catch {
            fail(error)
        }
    }
}

extension StreamCall {
    fileprivate func attempt(_ body: () throws -> Void) {
        do {
            try body()
        } catch {
            fail(error)
        }
    }
}

extension WorkerPool {
    /// Hands in a call. One that has ended when its turn comes is left out, and what it holds goes when it ends: callers who
    /// do not wait for answers fill no queue.
    ///
    /// - Throws: ``Registry/Refusal`` LIMIT_REACHED.
    fileprivate func take(_ wire: ServerCall, limit: String, _ work: @escaping Work) throws {
        let held = HeldWork(work)
        // Before the work can begin, which may want to know of the end itself.
        wire.onOver { _ = held.take() }
        let isTaken = submit(for: Contender(wire.peer)) { tool in
            guard let work = held.take(), !wire.isOver else { return }
            work(tool)
        }
        guard isTaken else {
            throw Refusal(
                .limitReached, "\(capacity) calls wait for a thread already. Try again in a moment.",
                metadata: ["limit": limit])
        }
    }

    /// Work that one of two takes: the thread whose turn it is, or the end of its call.
    private final class HeldWork: Sendable {
        private let work: Mutex<Work?>

        init(_ work: @escaping Work) { self.work = Mutex(work) }

        func take() -> Work? {
            work.withLock { work in
                defer { work = nil }
                return work
            }
        }
    }
}
