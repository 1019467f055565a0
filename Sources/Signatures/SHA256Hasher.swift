internal import COpenSSL

/// SHA-256 of bytes that come in parts (FIPS 180-4). Its state is on the stack: nothing is allocated.
@safe public struct SHA256Hasher {
    private var context = SHA256_CTX()

    /// Of nothing so far.
    public init() {
        unsafe SHA256_Init(&context)
    }

    /// The next part.
    public mutating func update(_ part: Span<UInt8>) {
        // Safe: reads the span for the duration of the call.
        unsafe part.withUnsafeBufferPointer { source in
            _ = unsafe SHA256_Update(&context, source.baseAddress, source.count)
        }
    }

    /// The digest of all parts, one after the other.
    public consuming func finish() -> SHA256Digest {
        var words: InlineArray<4, UInt64> = [0, 0, 0, 0]
        // Safe: writes 32 bytes into the temporary.
        unsafe withUnsafeTemporaryAllocation(byteCount: SHA256Digest.byteCount, alignment: 8) { target in
            unsafe SHA256_Final(target.baseAddress?.assumingMemoryBound(to: UInt8.self), &context)
            for index in 0..<4 {
                words[index] = unsafe UInt64(bigEndian: target.load(fromByteOffset: 8 * index, as: UInt64.self))
            }
        }
        return SHA256Digest(words: words)
    }
}
