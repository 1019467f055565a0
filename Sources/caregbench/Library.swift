internal import CCareg
internal import Glibc

/// libcareg, loaded as a broker loads it: from beside this program.
@safe final class Library {
    typealias Open = @convention(c) (UnsafePointer<careg_options>?, UnsafeMutablePointer<OpaquePointer?>?) -> CInt
    typealias Check =
        @convention(c) (OpaquePointer?, UnsafePointer<UInt8>?, Int, UnsafeMutablePointer<careg_verdict>?) -> CInt
    typealias SessionCheck =
        @convention(c) (OpaquePointer?, UnsafePointer<careg_session>?, UnsafeMutablePointer<UInt32>?) -> CInt
    typealias Close = @convention(c) (OpaquePointer?) -> Void

    private let check: Check
    private let sessionCheck: SessionCheck
    private let close: Close
    private let handle: OpaquePointer

    /// Nil where the library was not built.
    init?(runtimeFolder: String, instance: String) throws {
        guard let library = unsafe dlopen(Workshop.program("libcareg.so"), RTLD_NOW) else { return nil }
        func symbol<Function>(_ name: String, _: Function.Type) throws -> Function {
            guard let symbol = unsafe dlsym(library, name) else { throw BenchFailure("libcareg has no \(name)") }
            return unsafe unsafeBitCast(symbol, to: Function.self)
        }
        let open = unsafe try symbol("careg_open", Open.self)
        unsafe check = unsafe try symbol("careg_check", Check.self)
        unsafe sessionCheck = unsafe try symbol("careg_session_check", SessionCheck.self)
        unsafe close = unsafe try symbol("careg_close", Close.self)
        var handle: OpaquePointer?
        let code = unsafe runtimeFolder.withCString { folder in
            unsafe instance.withCString { instance in
                var options = unsafe careg_options()
                unsafe options.size = MemoryLayout<careg_options>.size
                unsafe options.runtime_dir = unsafe folder
                unsafe options.instance = unsafe instance
                unsafe options.staleness_ms = 60_000
                return unsafe open(&options, &handle)
            }
        }
        guard code == 0, let handle = unsafe handle else { throw BenchFailure("careg_open: \(code)") }
        unsafe self.handle = unsafe handle
    }

    deinit { unsafe close(handle) }

    /// careg_check.
    @inline(__always)
    func check(_ der: [UInt8], _ verdict: inout careg_verdict) -> CInt {
        unsafe check(handle, der, der.count, &verdict)
    }

    /// careg_session_check: whether the answer is a yes.
    @inline(__always)
    func isTrusted(_ session: inout careg_session) -> Bool {
        var reason: UInt32 = 0
        return unsafe sessionCheck(handle, &session, &reason) == 0 && reason == UInt32(CAREG_REASON_TRUSTED)
    }
}
