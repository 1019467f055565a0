internal import CCareg
internal import CCaregSystem

// The one call of the protocol that the library makes, in bytes: careg.v1.VerifierService/Verify over ttrpc.

/// A question for Verify.
@safe struct Question {
    let instance: MapInstanceID
    let chain: UnsafePointer<UnsafePointer<UInt8>?>
    let lengths: UnsafePointer<Int>
    let count: Int

    private static let service: StaticString = "careg.v1.VerifierService"
    private static let method: StaticString = "Verify"
    private static let requestType: UInt8 = 1

    /// nil where the arguments of careg_verify do not make sense.
    init?(
        _ instance: MapInstanceID, _ chain: UnsafePointer<UnsafePointer<UInt8>?>, _ lengths: UnsafePointer<Int>,
        _ count: Int
    ) {
        guard count > 0, count <= Limits.chain else { return nil }
        var total = 0
        for index in 0..<count {
            let length = unsafe lengths[index]
            guard length >= 0, length <= Limits.chainBytes else { return nil }
            guard unsafe length == 0 || chain[index] != nil else { return nil }
            total &+= length
        }
        guard total <= Limits.chainBytes else { return nil }
        self.instance = instance
        unsafe self.chain = unsafe chain
        unsafe self.lengths = unsafe lengths
        self.count = count
    }

    /// Writes the Request frame as parts: heads of ours, and the certificates where they lie.
    ///
    /// - Returns: the number of parts.
    func encode(into buffer: ConnectionBuffer, stream: UInt32, timeout: UInt64) -> Int {
        var verifyBytes = 2 &+ Int(instance.length)
        for index in 0..<count {
            let length = unsafe lengths[index]
            verifyBytes &+= 1 &+ ByteWriter.varintBytes(UInt64(length)) &+ length
        }
        let serviceBytes = Self.service.utf8CodeUnitCount
        let methodBytes = Self.method.utf8CodeUnitCount
        // One head of 2 bytes each for the names; the payload comes last, so that certificates stand at the end.
        let requestBytes =
            2 &+ serviceBytes &+ 2 &+ methodBytes &+ 1 &+ ByteWriter.varintBytes(timeout) &+ 1
            &+ ByteWriter.varintBytes(UInt64(verifyBytes)) &+ verifyBytes

        var writer = unsafe ByteWriter(buffer.heads)
        writer.bigEndian(UInt32(truncatingIfNeeded: requestBytes))
        writer.bigEndian(stream)
        writer.byte(Self.requestType)
        writer.byte(0)
        writer.text(field: 1, Self.service)
        writer.text(field: 2, Self.method)
        writer.byte(4 &<< 3)
        writer.varint(timeout)
        writer.byte(3 &<< 3 | 2)
        writer.varint(UInt64(verifyBytes))
        writer.byte(1 &<< 3 | 2)
        writer.byte(UInt8(truncatingIfNeeded: instance.length))
        for index in 0..<Int(instance.length) {
            writer.byte(UInt8(truncatingIfNeeded: instance.words[index / 8] &>> UInt64((index % 8) &* 8)))
        }
        var part = 0
        var start = 0
        for index in 0..<count {
            let length = unsafe lengths[index]
            writer.byte(2 &<< 3 | 2)
            writer.varint(UInt64(length))
            unsafe buffer.parts[part] = unsafe iovec(
                iov_base: writer.address(of: start), iov_len: writer.count &- start)
            unsafe buffer.parts[part &+ 1] = unsafe iovec(
                iov_base: UnsafeMutableRawPointer(mutating: chain[index]), iov_len: length)
            part &+= 2
            start = writer.count
        }
        return part
    }
}

/// Takes a Response apart.
///
/// - Parameter frame: the frame's data; the verdict points into it.
func decodeAnswer(_ frame: UnsafeRawBufferPointer) -> (ExchangeOutcome, DaemonVerdict) {
    let nothing = DaemonVerdict()
    var response = unsafe FieldReader(frame)
    var status: Int32 = 0
    var payload = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    while let field = response.next() {
        switch (field.number, field.isBytes) {
        case (1, true):
            guard let code = unsafe statusCode(field.bytes) else { return (.unintelligible, nothing) }
            status = code
        case (2, true): unsafe payload = unsafe field.bytes
        default: break
        }
    }
    guard response.isGood else { return (.unintelligible, nothing) }
    if status != 0 { return (.refused(returnValue(ofStatus: status)), nothing) }
    var answer = unsafe FieldReader(payload)
    var verdict: DaemonVerdict?
    while let field = answer.next() {
        if field.number == 1 && field.isBytes { verdict = unsafe decodeVerdict(field.bytes) }
    }
    guard answer.isGood, let verdict = verdict else { return (.unintelligible, nothing) }
    return (.answered, verdict)
}

/// The numbers of google.rpc.Code that the library tells apart.
private func returnValue(ofStatus code: Int32) -> CInt {
    switch code {
    case 1, 4: return CAREG_E_TIMEOUT  // cancelled, deadline exceeded
    case 3, 8: return CAREG_E_ARGUMENT  // invalid argument, resource exhausted: a chain over the daemon's limits
    case 7, 16: return CAREG_E_DENIED  // permission denied, unauthenticated
    case 12: return CAREG_E_PROTOCOL  // unimplemented
    case 14: return CAREG_E_UNAVAILABLE  // unavailable: it is shutting down
    default: return CAREG_E_FAULT
    }
}

private func statusCode(_ bytes: UnsafeRawBufferPointer) -> Int32? {
    var reader = unsafe FieldReader(bytes)
    var code: Int32 = 0
    while let field = reader.next() {
        if field.number == 1 && !field.isBytes { code = Int32(truncatingIfNeeded: field.value) }
    }
    return reader.isGood ? code : nil
}

/// nil where it is no verdict, or contradicts itself: that is not a yes.
private func decodeVerdict(_ bytes: UnsafeRawBufferPointer) -> DaemonVerdict? {
    var reader = unsafe FieldReader(bytes)
    var verdict = DaemonVerdict()
    while let field = reader.next() {
        switch (field.number, field.isBytes) {
        case (1, false): verdict.isTrusted = field.value != 0
        case (2, false):
            guard let reason = UInt32(exactly: field.value) else { return nil }
            verdict.reason = reason
        case (3, true): unsafe verdict.serial = unsafe field.bytes
        case (6, true):
            guard let seconds = unsafe timestampSeconds(field.bytes) else { return nil }
            verdict.validUntil = seconds
        case (7, false): verdict.revision = field.value
        default: break
        }
    }
    guard reader.isGood, MapView.isReason(verdict.reason) else { return nil }
    guard verdict.isTrusted == (verdict.reason == UInt32(CAREG_REASON_TRUSTED)) else { return nil }
    guard unsafe verdict.serial.count < Int(CAREG_SN_SIZE) else { return nil }
    for index in unsafe 0..<verdict.serial.count {
        let byte = unsafe verdict.serial[index]
        let isDigit = byte >= 0x30 && byte <= 0x39
        let isLetter = byte >= 0x61 && byte <= 0x66
        guard isDigit || isLetter || byte == 0x2d else { return nil }
    }
    return verdict
}

private func timestampSeconds(_ bytes: UnsafeRawBufferPointer) -> Int64? {
    var reader = unsafe FieldReader(bytes)
    var seconds: Int64 = 0
    while let field = reader.next() {
        if field.number == 1 && !field.isBytes { seconds = Int64(bitPattern: field.value) }
    }
    return reader.isGood ? seconds : nil
}
