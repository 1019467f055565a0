internal import Certificates
internal import RegistryStore
public import Signatures
internal import Verification

/// What one thread verifies with: it gets faster with what it has met, and answers the same.
public final class VerificationTools {
    /// The thread's checker.
    public let signatures = SignatureVerifier()
    let authorities = AuthorityCache()

    /// Has met nothing yet.
    public init() {}
}

/// A registered CA certificate, read.
final class RegisteredAuthority: Sendable {
    let record: CaRecord
    let anchor: TrustAnchor

    init(_ record: CaRecord) throws {
        self.record = record
        anchor = try TrustAnchor(record)
    }
}

/// Instances and CA certificates that were read before, for one thread. They are as the snapshot that is asked about shows
/// them: what is kept is of one epoch (``RegistryStore/Snapshot/authorityEpoch``), and is dropped with it. A row that was sound
/// when it was read, and is damaged on the disk since, is found by whoever reads it next.
final class AuthorityCache {
    /// Instances, and CA certificates, that are kept.
    private static let maximumCount = 256
    /// Bytes of the CA certificates that are kept: each thread has its own.
    private static let maximumBytes = 1 << 20

    private struct Name: Hashable {
        var instance: InstanceNumber
        /// SHA-256 of the subject.
        var subject: SHA256Digest
    }

    private var epoch: AuthorityEpoch?
    private var instances: [String: InstanceRecord] = [:]
    private var authorities: [Name: [RegisteredAuthority]] = [:]
    private var authorityCount = 0
    private var authorityBytes = 0
    private var revision: (commit: UInt64, revision: Revision)?

    /// An instance by its id.
    func instance(_ id: String, in snapshot: Snapshot) throws -> InstanceRecord? {
        let mayKeep = mayKeep(of: snapshot)
        if mayKeep, let known = instances[id] { return known }
        guard let instance = try snapshot.instance(id) else { return nil }
        if mayKeep {
            if instances.count >= Self.maximumCount { instances = [:] }
            instances[id] = instance
        }
        return instance
    }

    /// The CA certificates of an instance with a subject.
    func authorities(
        named subject: [UInt8], of instance: InstanceNumber, in snapshot: Snapshot
    ) throws -> [RegisteredAuthority] {
        let name = Name(instance: instance, subject: SHA256Digest(hashing: subject))
        let mayKeep = mayKeep(of: snapshot)
        if mayKeep, let known = authorities[name] { return known }
        let read = try snapshot.cas(subjectHash: name.subject, of: instance).map(RegisteredAuthority.init)
        if mayKeep { keep(read, as: name) }
        return read
    }

    private func keep(_ read: [RegisteredAuthority], as name: Name) {
        let bytes = read.reduce(0) { $0 + $1.record.der.count }
        // Names that nobody has registered are not kept: whoever makes them up would drive the others out.
        guard (1...Self.maximumCount).contains(read.count), bytes <= Self.maximumBytes else { return }
        if authorityCount + read.count > Self.maximumCount || authorityBytes + bytes > Self.maximumBytes {
            dropAuthorities()
        }
        authorities[name] = read
        authorityCount += read.count
        authorityBytes += bytes
    }

    /// The revision that a snapshot shows.
    func revision(of snapshot: Snapshot) throws -> Revision {
        guard mayKeep(of: snapshot) else { return try snapshot.revision() }
        if let revision, revision.commit == snapshot.commit { return revision.revision }
        let read = try snapshot.revision()
        revision = (snapshot.commit, read)
        return read
    }

    private func mayKeep(of snapshot: Snapshot) -> Bool {
        guard let epoch = snapshot.authorityEpoch else { return false }
        if self.epoch != epoch {
            instances = [:]
            dropAuthorities()
            revision = nil
            self.epoch = epoch
        }
        return true
    }

    private func dropAuthorities() {
        authorities.removeAll(keepingCapacity: true)
        authorityCount = 0
        authorityBytes = 0
    }
}
