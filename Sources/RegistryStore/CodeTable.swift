public import Signatures

/// A code's row with its key.
public struct KeptCode: Sendable {
    /// SHA-256 of the code.
    public var hash: SHA256Digest
    public var record: CodeRecord

    /// Both fields.
    public init(hash: SHA256Digest, record: CodeRecord) {
        self.hash = hash
        self.record = record
    }
}

extension Snapshot {
    /// The code of an instance that has this hash.
    public func code(_ hash: SHA256Digest, of instance: InstanceNumber) throws -> CodeRecord? {
        try tables.codes.get(transaction, instance.key + hash.bytes)
    }

    /// The codes of an instance, used and expired ones too, those after `cursor`, until `body` returns false.
    public func codes(
        of instance: InstanceNumber, after cursor: SHA256Digest? = nil, _ body: (KeptCode) throws -> Bool
    ) throws {
        let start = cursor.map { instance.key + $0.bytes + [0] }
        try tables.codes.scan(transaction, prefix: instance.key, from: start) { key, record in
            guard let hash = SHA256Digest(bytes: Array(key.dropFirst(instance.key.count))) else {
                throw StoreFault.damaged(table: tables.codes.name, key: key, finding: .encoding)
            }
            return try body(KeptCode(hash: hash, record: record))
        }
    }
}

extension StoreTransaction {
    /// Puts a code, new or changed.
    public func put(_ code: KeptCode, of instance: InstanceNumber) throws {
        try tables.codes.put(transaction, instance.key + code.hash.bytes, code.record)
    }

    /// Forgets a code.
    public func deleteCode(_ hash: SHA256Digest, of instance: InstanceNumber) throws {
        try tables.codes.delete(transaction, instance.key + hash.bytes)
    }

    func deleteCodes(of instance: InstanceNumber) throws {
        var hashes: [SHA256Digest] = []
        try snapshot.codes(of: instance) { code in
            hashes.append(code.hash)
            return true
        }
        for hash in hashes {
            try deleteCode(hash, of: instance)
        }
    }
}
