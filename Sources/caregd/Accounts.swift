internal import Glibc

/// Users and groups of this host, by name or number.
enum Accounts {
    /// Bytes for one entry of the account database: a group may have many members.
    private static let entryBytes = 1 << 18

    /// The number of a group; nil where there is no group of that name.
    static func group(_ text: String) -> UInt32? {
        if let number = UInt32(text) { return number == .max ? nil : number }
        var entry = unsafe Glibc.group()
        var found: UnsafeMutablePointer<Glibc.group>?
        var buffer = [CChar](repeating: 0, count: entryBytes)
        let result = unsafe getgrnam_r(text, &entry, &buffer, buffer.count, &found)
        guard result == 0, unsafe found != nil else { return nil }
        return unsafe entry.gr_gid
    }

    /// Whether this process is of a group, and so may give files to it without a privilege.
    static func isOwn(group: UInt32) -> Bool {
        if getegid() == group { return true }
        var groups = [gid_t](repeating: 0, count: max(0, Int(getgroups(0, nil))))
        let count = unsafe getgroups(Int32(groups.count), &groups)
        return groups.prefix(max(0, Int(count))).contains(group)
    }

    /// The number of a user; nil where there is no user of that name.
    static func user(_ text: String) -> UInt32? {
        if let number = UInt32(text) { return number == .max ? nil : number }
        var entry = unsafe passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: entryBytes)
        let result = unsafe getpwnam_r(text, &entry, &buffer, buffer.count, &found)
        guard result == 0, unsafe found != nil else { return nil }
        return unsafe entry.pw_uid
    }
}
