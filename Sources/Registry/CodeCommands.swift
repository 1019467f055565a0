public import RegistryStore
public import Signatures

/// A registration code as it is shown: all of it once, when it is issued, and its beginning ever after.
public struct CodeView: Sendable {
    /// The whole code, or its first 8 characters.
    public var text: String
    public var instanceID: String
    public var hash: SHA256Digest
    public var record: CodeRecord
}

/// The form of registration codes.
public enum RegistrationCode {
    /// Random bytes of a code: 256 bits.
    public static let randomByteCount = 32
    /// Characters of a code: so many digits to the base 62 hold 256 bits. Short of the 64 that a CommonName may have.
    public static let characters = 43
    /// Characters that are kept in the clear, for lists and revocation.
    public static let prefixCharacters = 8

    private static let alphabet = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)

    /// Random bytes as a number to the base 62, most significant digit first: as random as they are.
    static func text(of random: [UInt8]) -> String {
        var number = random
        var digits: [UInt8] = []
        for _ in 0..<characters {
            var remainder = 0
            for index in number.indices {
                let value = remainder << 8 | Int(number[index])
                number[index] = UInt8(value / alphabet.count)
                remainder = value % alphabet.count
            }
            digits.append(alphabet[remainder])
        }
        return String(decoding: digits.reversed(), as: UTF8.self)
    }

    /// What is stored of a code.
    public static func hash(_ code: String) -> SHA256Digest {
        SHA256Digest(hashing: Array("careg registration code\n".utf8) + Array(code.utf8))
    }
}

extension CodeRecord {
    func isOpen(at now: WallTime) -> Bool {
        !isUsed && now < expireTime
    }
}

extension Registry {
    /// IssueRegistrationCode: INSTANCE_NOT_FOUND, EDITION_NOT_SUPPORTED, ARGUMENT_INVALID, LIMIT_REACHED.
    ///
    /// - Parameter lifetime: seconds; nil for the default.
    public func issueCode(
        instanceID: String, lifetime: Int64?, caller: Caller,
        completion: @escaping @Sendable (Result<CodeView, any Error>) -> Void
    ) {
        let text: String
        do {
            text = RegistrationCode.text(of: try randomBytes(RegistrationCode.randomByteCount))
        } catch {
            return completion(.failure(error))
        }
        let limits = limits
        writer.submit(method: "IssueRegistrationCode", caller: caller) { context in
            let instance = try context.store.snapshot.requireInstance(instanceID)
            try requireEdition(of: instance)
            let seconds = lifetime ?? limits.codeLifetimeSeconds
            guard (1...limits.longestCodeLifetimeSeconds).contains(seconds) else {
                throw Refusal(
                    .argumentInvalid,
                    "A registration code lives from 1 second to \(limits.longestCodeLifetimeSeconds / 86_400) days.")
            }
            try context.sweepCodes(of: instance, limits: limits)
            let record = CodeRecord(
                prefix: String(text.prefix(RegistrationCode.prefixCharacters)), createTime: context.now,
                expireTime: WallTime(milliseconds: context.now.milliseconds + seconds * 1_000),
                revision: try context.nextRevision(), isUsed: false)
            let hash = RegistrationCode.hash(text)
            try context.store.put(KeptCode(hash: hash, record: record), of: instance.number)
            _ = try context.record(.codeIssued, instance: instance)
            return CodeView(text: text, instanceID: instance.id, hash: hash, record: record)
        } completion: {
            completion($0)
        }
    }

    /// RevokeRegistrationCode: INSTANCE_NOT_FOUND, CODE_NOT_FOUND, ARGUMENT_INVALID.
    ///
    /// - Parameter prefix: the code or its beginning. Of a beginning longer than what is kept in the clear the rest is not
    ///   compared, since nothing is kept that would allow it: a whole code is told by its hash.
    public func revokeCode(
        instanceID: String, prefix: String, caller: Caller,
        completion: @escaping @Sendable (Result<CodeView, any Error>) -> Void
    ) {
        writer.submit(method: "RevokeRegistrationCode", caller: caller) { context in
            let snapshot = context.store.snapshot
            let instance = try snapshot.requireInstance(instanceID)
            var code = try snapshot.openCode(prefix, of: instance, at: context.now)
            try context.store.deleteCode(code.hash, of: instance.number)
            code.record.revision = try context.record(.codeRevoked, instance: instance)
            return CodeView(text: code.record.prefix, instanceID: instance.id, hash: code.hash, record: code.record)
        } completion: {
            completion($0)
        }
    }
}

/// EDITION_NOT_SUPPORTED for an instance that may not register CA certificates.
func requireEdition(of instance: InstanceRecord) throws {
    guard instance.edition.mayRegister else {
        throw Refusal(
            .editionNotSupported,
            "The instance \(quoted(instance.id)) has the standard edition; CA certificates need professional or platinum.",
            metadata: ["instance_id": instance.id])
    }
}

extension Snapshot {
    /// The one open code that begins with `prefix`.
    func openCode(_ prefix: String, of instance: InstanceRecord, at now: WallTime) throws -> KeptCode {
        guard (1...64).contains(prefix.utf8.count) else {
            throw Refusal(
                .argumentInvalid, "Give the registration code or its beginning: 1 to 64 characters.")
        }
        var fits: [KeptCode] = []
        try codes(of: instance.number) { code in
            guard code.record.isOpen(at: now) else { return true }
            // Of a longer beginning only what is kept can be compared; the whole code is told by its hash.
            let isWhole = prefix.utf8.count >= RegistrationCode.characters
            let kept = String(prefix.prefix(RegistrationCode.prefixCharacters))
            if isWhole ? code.hash == RegistrationCode.hash(prefix) : code.record.prefix.hasPrefix(kept) {
                fits.append(code)
            }
            return fits.count < 2
        }
        guard let first = fits.first else {
            throw Refusal(
                .codeNotFound,
                "No open registration code of the instance \(quoted(instance.id)) begins so. Codes that were used or have "
                    + "expired need no revocation.",
                metadata: ["instance_id": instance.id])
        }
        guard fits.count == 1 else {
            throw Refusal(
                .argumentInvalid,
                "More than one open registration code of the instance \(quoted(instance.id)) begins so. Give more of it.",
                metadata: ["instance_id": instance.id])
        }
        return first
    }

    /// Checks a verification certificate's CommonName against the codes of an instance.
    ///
    /// - Returns: the hash of the code.
    /// - Throws: ``Refusal`` CODE_MISMATCH, CODE_USED, CODE_EXPIRED.
    func requireCode(_ text: String?, of instance: InstanceRecord, at now: WallTime) throws -> SHA256Digest {
        let mismatch = Refusal(
            .codeMismatch,
            "The verification certificate's CommonName is not a registration code of the instance \(quoted(instance.id)). "
                + "Issue a code for it and sign a certificate whose only CommonName is that code.",
            metadata: ["instance_id": instance.id])
        guard let text else { throw mismatch }
        // The lookup is by hash: how long it takes says nothing about how much of a guess was right.
        let hash = RegistrationCode.hash(text)
        guard let record = try code(hash, of: instance.number) else { throw mismatch }
        if record.isUsed {
            throw Refusal(
                .codeUsed, "This registration code was used already. Issue a new one.",
                metadata: ["instance_id": instance.id])
        }
        guard now < record.expireTime else {
            throw Refusal(
                .codeExpired, "This registration code has expired. Issue a new one.",
                metadata: ["instance_id": instance.id])
        }
        return hash
    }
}

extension CommandContext {
    /// Forgets codes that are long over, and refuses where the open ones are at their limit.
    func sweepCodes(of instance: InstanceRecord, limits: RegistryLimits) throws {
        var open = 0
        var stale: [SHA256Digest] = []
        let memory = limits.expiredCodeMemorySeconds * 1_000
        try store.snapshot.codes(of: instance.number) { code in
            if code.record.isOpen(at: now) { open += 1 }
            let forgetAfter = code.record.expireTime.milliseconds + (code.record.isUsed ? 0 : memory)
            if now.milliseconds >= forgetAfter { stale.append(code.hash) }
            return true
        }
        guard open < limits.openCodesPerInstance else {
            throw Refusal(
                .limitReached,
                "The instance \(quoted(instance.id)) has \(open) open registration codes, which is the limit. Revoke some.",
                metadata: ["instance_id": instance.id, "limit": "open_codes_per_instance"])
        }
        for hash in stale {
            try store.deleteCode(hash, of: instance.number)
        }
    }
}
