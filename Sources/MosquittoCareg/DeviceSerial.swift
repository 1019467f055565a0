// The serial number of a certificate that OpenSSL has parsed already, for the log.

extension LogLine {
    /// The serial number as the registry writes it: lowercase hex, two digits a byte, `-` before a negative one.
    ///
    /// RFC 5280 section 4.1: Certificate is a SEQUENCE that begins with TBSCertificate, a SEQUENCE that begins with an
    /// optional version, context tag 0, and the serial number, an INTEGER.
    mutating func add(serialOf der: UnsafeRawBufferPointer) {
        guard let certificate = unsafe element(of: der, tag: 0x30),
            let body = unsafe element(of: certificate, tag: 0x30)
        else { return unsafe add("?") }
        var rest = unsafe body
        if let version = unsafe element(of: body, tag: 0xa0), let start = version.baseAddress,
            let bodyStart = body.baseAddress
        {
            let used = unsafe start + version.count - bodyStart
            unsafe rest = unsafe UnsafeRawBufferPointer(rebasing: body[used...])
        }
        guard let serial = unsafe element(of: rest, tag: 0x02), unsafe !serial.isEmpty,
            serial.count <= PluginLimits.serialBytes + 1
        else { return unsafe add("?") }
        unsafe add(integer: serial)
    }

    /// A two's complement integer, most significant byte first.
    private mutating func add(integer bytes: UnsafeRawBufferPointer) {
        let isNegative = unsafe bytes[0] & 0x80 != 0
        if isNegative { unsafe add("-") }
        // The magnitude of a negative one: all bits the other way round, and 1. The carry stops at the last byte that
        // is not 0.
        var last = bytes.count &- 1
        while last > 0, unsafe bytes[last] == 0 { last &-= 1 }
        var isBegun = false
        for index in 0..<bytes.count {
            var byte = unsafe bytes[index]
            if isNegative { byte = index < last ? ~byte : (index == last ? ~byte &+ 1 : 0) }
            if byte == 0, !isBegun, index < bytes.count &- 1 { continue }
            isBegun = true
            add(hex: byte)
        }
    }

    /// The contents of the element at the beginning.
    private func element(of bytes: UnsafeRawBufferPointer, tag: UInt8) -> UnsafeRawBufferPointer? {
        guard bytes.count >= 2, unsafe bytes[0] == tag else { return nil }
        var length = unsafe Int(bytes[1])
        var start = 2
        if length >= 0x80 {
            let lengthBytes = length & 0x7f
            guard lengthBytes >= 1, lengthBytes <= 3, bytes.count >= 2 &+ lengthBytes else { return nil }
            length = 0
            for index in 0..<lengthBytes { length = unsafe length &<< 8 | Int(bytes[2 &+ index]) }
            start &+= lengthBytes
        }
        guard length <= bytes.count &- start else { return nil }
        return unsafe UnsafeRawBufferPointer(rebasing: bytes[start..<(start &+ length)])
    }
}
