internal import CEpoll

/// Who is at the other end of a Unix socket, as the kernel noted it when the peer connected.
public struct PeerCredentials: Hashable, Sendable {
    /// The effective user id.
    public var userID: UInt32
    /// The effective group id.
    public var groupID: UInt32
    /// The process; 0 where it is of another namespace.
    public var processID: Int32
    /// The supplementary groups, from SO_PEERGROUPS: SO_PEERCRED leaves them out.
    public var groups: [UInt32]

    public init(userID: UInt32, groupID: UInt32, processID: Int32, groups: [UInt32]) {
        self.userID = userID
        self.groupID = groupID
        self.processID = processID
        self.groups = groups
    }

    /// The credentials of the peer of a connected socket; nil where the kernel does not tell.
    init?(ofPeerOf descriptor: Int32) {
        self.init(userID: 0, groupID: 0, processID: 0, groups: [])
        // Safe: the kernel writes one value through each pointer, for the duration of the call.
        let result = unsafe cepoll_socket_credentials(descriptor, &userID, &groupID, &processID)
        guard result == 0 else { return nil }
        // The number of groups is bounded by the kernel (65,536): most processes have fewer than 64.
        var capacity = 64
        while true {
            var list = [UInt32](repeating: 0, count: capacity)
            let count = unsafe list.withUnsafeMutableBufferPointer {
                unsafe Int(cepoll_socket_groups(descriptor, $0.baseAddress, $0.count))
            }
            guard count >= 0 else { return nil }
            if count <= capacity {
                groups = Array(list.prefix(count))
                return
            }
            capacity = count
        }
    }
}
