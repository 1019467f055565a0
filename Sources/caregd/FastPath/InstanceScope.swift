/// The instances that one trust map, and one anchors folder, holds.
enum InstanceScope: Equatable, Sendable {
    /// What no caller rule restricts.
    case allBut(Set<String>)
    /// What a group that is restricted may ask for.
    case only(Set<String>)

    func includes(_ instance: String) -> Bool {
        switch self {
        case .allBut(let others): !others.contains(instance)
        case .only(let instances): instances.contains(instance)
        }
    }
}
