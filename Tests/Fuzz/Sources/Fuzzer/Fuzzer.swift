internal import CFuzzer
internal import Glibc

// Written once, before the only thread that reads it begins.
nonisolated(unsafe) private var target: ([UInt8]) -> Void = { _ in }

/// Hands inputs to `body` until libFuzzer has had enough. What fails traps, and is kept as a file.
public func fuzz(_ body: @escaping ([UInt8]) -> Void) -> Never {
    unsafe target = body
    var count = CommandLine.argc
    // Safe: the arguments live as long as the process, and the callback reads within the bounds that it is given.
    var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = unsafe CommandLine.unsafeArgv
    let status = unsafe LLVMFuzzerRunDriver(&count, &arguments) { bytes, size in
        unsafe target(Array(UnsafeBufferPointer(start: bytes, count: size)))
        return 0
    }
    exit(status)
}

/// Takes an input apart, piece by piece. An input that has ended is zeros without end.
public struct Pieces {
    private let bytes: [UInt8]
    private var position = 0

    public init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    public var isAtEnd: Bool { position >= bytes.count }

    public mutating func byte() -> UInt8 {
        guard position < bytes.count else { return 0 }
        position += 1
        return bytes[position - 1]
    }

    /// 0 up to, not including, `bound`.
    public mutating func number(below bound: Int) -> Int { Int(byte()) % bound }

    public mutating func pick<Element>(_ elements: [Element]) -> Element { elements[number(below: elements.count)] }

    /// As many bytes as the next one says.
    public mutating func some() -> [UInt8] { take(Int(byte())) }

    public mutating func take(_ count: Int) -> [UInt8] {
        let end = min(position + count, bytes.count)
        defer { position = end }
        return Array(bytes[position..<end])
    }

    public mutating func rest() -> [UInt8] { take(bytes.count) }
}
