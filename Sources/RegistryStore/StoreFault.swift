public import LMDB

/// The store could not do its work: not a refusal of what was asked, but a fault that an operator must hear of.
public enum StoreFault: Error, Sendable {
    /// LMDB or the file system refused.
    case storage(LMDBError)
    /// A row is not what was written, or two tables disagree about it.
    case damaged(table: String, key: [UInt8], finding: Finding)

    /// What is wrong with a row.
    public enum Finding: String, Sendable {
        case checksum = "its checksum does not fit"
        case encoding = "it cannot be decoded"
        case missing = "another table names it, and it is missing"
        case unexpected = "no other table names it"
        case disagreement = "another table says otherwise of it"
        case counter = "a counter does not fit the rows"
        case order = "its key is out of order"
        case hashChain = "the chain of hashes is broken"
    }
}

extension StoreFault {
    /// There is no room on the disk, or none left of the address space: it passes when there is.
    public var isDiskFull: Bool {
        if case .storage(.diskFull) = self { true } else { false }
    }

    /// A commit failed in such a way that nobody knows whether it is on the disk.
    public var leavesCommitOpen: Bool {
        if case .storage(.system(_, operation: .commit)) = self { true } else { false }
    }

    /// What is on the disk is not what was written.
    public var isDamage: Bool {
        switch self {
        case .damaged, .storage(.damaged), .storage(.notADatabase): true
        case .storage: false
        }
    }
}

extension StoreFault: CustomStringConvertible {
    /// What went wrong, for a log line or a finding of `caregd check`.
    public var description: String {
        switch self {
        case .storage(let error): error.description
        case .damaged(let table, let key, let finding):
            "damaged row in table \(table), key \(hexText(key)): \(finding.rawValue)"
        }
    }
}

/// Lowercase hex, two digits a byte.
public func hexText(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}
