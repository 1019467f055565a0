internal import CMosquitto

/// One line for the broker's log, built in place: what does not fit is left out.
struct LogLine {
    private var bytes = InlineArray<1_024, CChar>(repeating: 0)
    private var count = 0

    private mutating func add(byte: UInt8) {
        // The last byte stays the NUL.
        guard count < PluginLimits.lineBytes - 1 else { return }
        bytes[count] = CChar(bitPattern: byte)
        count &+= 1
    }

    mutating func add(_ text: StaticString) {
        for index in 0..<text.utf8CodeUnitCount { add(byte: unsafe text.utf8Start[index]) }
    }

    /// A text that others have chosen: control characters cannot forge a line or a colour.
    mutating func add(escaping text: UnsafePointer<CChar>, limit: Int) {
        var next = unsafe text
        var left = limit
        while unsafe next.pointee != 0, left > 0 {
            let byte = unsafe UInt8(bitPattern: next.pointee)
            add(byte: byte < 0x20 || byte == 0x7f ? 0x3f : byte)
            unsafe next += 1
            left &-= 1
        }
    }

    /// A text of ours.
    mutating func add(_ text: UnsafePointer<CChar>?) {
        guard let text = unsafe text else { return }
        unsafe add(escaping: text, limit: PluginLimits.lineBytes)
    }

    mutating func add(_ number: UInt32) {
        var divisor: UInt32 = 1_000_000_000
        var isBegun = false
        while divisor > 0 {
            let digit = number / divisor % 10
            if digit != 0 || isBegun || divisor == 1 {
                add(byte: 0x30 &+ UInt8(truncatingIfNeeded: digit))
                isBegun = true
            }
            divisor /= 10
        }
    }

    mutating func add(hex byte: UInt8) {
        add(digit: byte &>> 4)
        add(digit: byte & 15)
    }

    private mutating func add(digit: UInt8) { add(byte: digit < 10 ? 0x30 &+ digit : 0x57 &+ digit) }

    func log(_ level: CInt) {
        let span = bytes.span
        unsafe span.withUnsafeBufferPointer { unsafe careg_mosquitto_log(level, $0.baseAddress) }
    }
}
