internal import CEpoll

extension Connection {
    /// Whether the peer owes the rest of a frame, or leaves answers unread, for longer than it may.
    ///
    /// While others wait for room in the request budget, a frame has to be whole in that time, and who holds some of that
    /// room and sends nothing has less time; otherwise any progress is enough. Time in which reading was paused does not
    /// count. While others wait for room for their answers, a peer has less time to read what it has.
    func isStalled(at now: Int64, isShort: Bool, isRoomShort: Bool) -> Bool {
        let stall = limits.stall.nanoseconds
        // Only what the socket has refused: the rest of this turn's output was not even offered to it.
        if countedUnsent > 0 {
            // The kernel tells of room late, so ask it what the peer has read.
            let unread = Int(cepoll_socket_unread_by_peer(descriptor))
            if unread < unreadByPeer { outputNanoseconds = now }
            unreadByPeer = unread
            let patience = isRoomShort ? limits.stallWhereRoomIsShort.nanoseconds : stall
            if now - outputNanoseconds >= patience { return true }
        }
        guard phase == .open, state.isInsideFrame, pause == .none, !inputEnded else {
            frameNanoseconds = now
            return false
        }
        if watchedFrame != state.frameCount {
            watchedFrame = state.frameCount
            frameNanoseconds = now
        }
        guard isShort else { return now - inputNanoseconds >= stall }
        let patience = charged > 0 ? limits.stallWhereRequestsWait.nanoseconds : stall
        return now - inputNanoseconds >= patience || now - frameNanoseconds >= stall
    }
}
