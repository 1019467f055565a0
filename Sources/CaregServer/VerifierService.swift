internal import CaregProto
internal import Certificates
internal import Registry
internal import RegistryStore
internal import Signatures
internal import SwiftProtobuf
internal import Verification

/// careg.v1.VerifierService: decode, ask, encode. Poll and Watch are the ``ChangeFeed``'s.
struct VerifierService: Sendable {
    let registry: Registry
    let limits: ServiceLimits
    let feed: ChangeFeed
    let metrics: ServiceMetrics
    /// What is decided without a look at a table; nil where no trust map is kept.
    let known: KnownVerify?

    // MARK: Verify

    /// The fast lane: answers where no signature has to be checked, or refuses. False where the call waits for a thread.
    func verifyKnown(_ request: Careg_V1_VerifyRequest, _ call: Call<Careg_V1_VerifyResponse>) throws -> Bool {
        let question = try question(request, call)
        let verdict: Verdict?
        if let known {
            // What no map trusts is new, most often. A look at the tables would keep the known ones behind it waiting.
            verdict = known.verdict(on: question).flatMap { registry.isReadable(question.chain) ? $0 : nil }
        } else {
            verdict = try registry.verifyAtOnce(question)
        }
        guard let verdict else { return false }
        if known == nil { metrics.countSearched(registered: verdict.registered) } else { metrics.countKnown() }
        tell(verdict, question, call)
        return true
    }

    func verify(
        _ request: Careg_V1_VerifyRequest, _ call: Call<Careg_V1_VerifyResponse>, turn: VerificationTurn
    ) throws {
        let question = try question(request, call)
        registry.verify(question, tools: turn.tools, caller: call.caller, again: turn.again) { result in
            switch result {
            case .success(let verdict):
                metrics.countSearched(registered: verdict.registered)
                tell(verdict, question, call)
            case .failure(let error): call.fail(error)
            }
        }
    }

    private func question(
        _ request: Careg_V1_VerifyRequest, _ call: Call<Careg_V1_VerifyResponse>
    ) throws -> VerifyQuestion {
        try call.access.require(request.instanceID)
        guard !request.hasAt || request.dryRun else {
            throw Refusal(
                .argumentInvalid, "Another time than now can be asked for in a dry run only.", metadata: ["field": "at"]
            )
        }
        return VerifyQuestion(
            instanceID: request.instanceID, chain: request.chain.map { Array($0) }, isDryRun: request.dryRun,
            at: request.hasAt ? try Instant(request.at, field: "at") : nil,
            hearsOf: call.access.mayHearOfOthers ? nil : call.access.instances)
    }

    private func tell(_ verdict: Verdict, _ question: VerifyQuestion, _ call: Call<Careg_V1_VerifyResponse>) {
        metrics.count(verdict.reason, instanceID: question.instanceID)
        call.succeed(.with { $0.verdict = Careg_V1_Verdict(verdict) })
    }

    // MARK: Trust anchors

    func listTrustAnchors(
        _ request: Careg_V1_ListTrustAnchorsRequest, _ call: Call<Careg_V1_ListTrustAnchorsResponse>
    ) throws {
        try call.access.require(request.instanceID)
        let tokens = PageTokens(query: "anchors", request.instanceID)
        let cursor = try tokens.open(request.pageToken).map { SerialNumber(isNegative: false, magnitude: $0) }
        let page = try registry.trustAnchors(
            of: request.instanceID, after: cursor, pageSize: try limits.pageSize(request.pageSize),
            pageBytes: limits.anchorPageBytes)
        let all = try page.rows.map { try Careg_V1_CaCertificate($0, .der) }
        let rows = all.fitting(bytes: limits.anchorPageBytes) { $0.sizeEstimate }
        let next = rows.count < all.count ? page.rows[rows.count - 1].record.serialNumber : page.next
        call.succeed(
            .with {
                $0.trustAnchors = rows
                $0.nextPageToken = tokens.seal(next?.magnitude)
                $0.totalSize = UInt32(clamping: page.totalSize)
            })
    }

    // MARK: Changes

    func poll(_ request: Careg_V1_PollRequest, _ call: Call<Careg_V1_PollResponse>) throws {
        guard request.maxWait.seconds >= 0, request.maxWait.nanos >= 0 else {
            throw Refusal(
                .argumentInvalid, "A Poll waits from 0 to \(limits.longestPollSeconds) seconds.",
                metadata: ["field": "max_wait"])
        }
        let seconds = min(request.maxWait.seconds, limits.longestPollSeconds)
        let milliseconds = seconds * 1_000 + Int64(min(request.maxWait.nanos, 999_999_999) / 1_000_000)
        feed.poll(
            ChangeFeed.Poll(
                call: call, since: Revision(request.sinceRevision), historyID: request.historyID,
                limit: try limits.pageSize(request.limit),
                waitMilliseconds: min(milliseconds, limits.longestPollSeconds * 1_000)))
    }

    func watch(_ request: Careg_V1_WatchRequest, _ call: StreamCall<Careg_V1_WatchResponse>) throws {
        feed.watch(call, since: Revision(request.sinceRevision), historyID: request.historyID)
    }
}

extension Careg_V1_Verdict {
    init(_ verdict: Verdict) {
        self.init()
        trusted = verdict.isTrusted
        reason = Careg_V1_Reason(rawValue: Int(verdict.reason.rawValue)) ?? .unspecified
        caSn = verdict.ca?.text ?? ""
        deviceSn = verdict.device?.text ?? ""
        fingerprint = verdict.fingerprint?.hex ?? ""
        if let end = verdict.validUntil, let time = Google_Protobuf_Timestamp(end) { validUntil = time }
        revision = verdict.revision.number
        registered = verdict.registered
        detail = verdict.detail
    }
}
