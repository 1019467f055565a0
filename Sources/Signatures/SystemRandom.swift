internal import COpenSSL

/// The system's generator of random bytes.
public enum SystemRandom {
    /// The generator has no bytes to give.
    public struct Unavailable: Error, Sendable {}

    /// Random bytes, fit for secrets.
    public static func bytes(_ count: Int) throws(Unavailable) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        // Safe: writes into the array as many bytes as it holds.
        let result = unsafe bytes.withUnsafeMutableBufferPointer {
            unsafe RAND_priv_bytes($0.baseAddress, Int32($0.count))
        }
        guard result == 1 else { throw Unavailable() }
        return bytes
    }
}
