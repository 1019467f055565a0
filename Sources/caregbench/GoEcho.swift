internal import Foundation

/// A server of the Go ttrpc package, which answers every call with the same bytes. Nil where there is no Go.
final class GoEcho {
    private static let library = "/usr/share/gocode"
    private let process = Process()
    let socket: String
    var processIdentifier: Int32 { process.processIdentifier }

    static var isThere: Bool {
        FileManager.default.isExecutableFile(atPath: "/usr/bin/go")
            && FileManager.default.fileExists(atPath: library + "/src/github.com/containerd/ttrpc/server.go")
    }

    init(folder: String, service: String, method: String, responseBytes: Int, processor: Int32) throws {
        let source = folder + "/goecho"
        try FileManager.default.createDirectory(atPath: source, withIntermediateDirectories: true)
        try Self.source.write(toFile: source + "/main.go", atomically: true, encoding: .utf8)
        let build = Process()
        build.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        build.arguments = [
            "-C", source, "GO111MODULE=off", "GOPATH=\(Self.library)", "GOCACHE=\(folder)/gocache", "CGO_ENABLED=0",
            "GOFLAGS=", "/usr/bin/go", "build", "-o", "goecho", ".",
        ]
        build.standardError = FileHandle.nullDevice
        try build.run()
        build.waitUntilExit()
        guard build.terminationStatus == 0 else { throw BenchFailure("the Go server does not build") }
        socket = folder + "/go.sock"
        process.executableURL = URL(fileURLWithPath: source + "/goecho")
        process.arguments = [socket, service, method, "\(responseBytes)"]
        try Processors.pinned(processor) { try process.run() }
        let deadline = nanoseconds() + 10e9
        while (try? LoadConnection(path: socket)) == nil {
            guard nanoseconds() < deadline, process.isRunning else {
                throw BenchFailure("the Go server does not start")
            }
            usleep(5_000)
        }
    }

    deinit {
        process.terminate()
        process.waitUntilExit()
    }

    private static let source = """
        package main

        import (
        \t"context"
        \t"fmt"
        \t"net"
        \t"os"
        \t"strconv"

        \t"github.com/containerd/ttrpc"
        )

        type payload struct {
        \tData []byte `protobuf:"bytes,1,opt,name=data,proto3"`
        }

        func (m *payload) Reset()         { *m = payload{} }
        func (m *payload) String() string { return fmt.Sprintf("%d bytes", len(m.Data)) }
        func (m *payload) ProtoMessage()  {}

        func main() {
        \tcount, _ := strconv.Atoi(os.Args[4])
        \tanswer := make([]byte, count)
        \tserver, err := ttrpc.NewServer()
        \tif err != nil {
        \t\tpanic(err)
        \t}
        \tserver.Register(os.Args[2], map[string]ttrpc.Method{
        \t\tos.Args[3]: func(_ context.Context, unmarshal func(interface{}) error) (interface{}, error) {
        \t\t\tvar request payload
        \t\t\tif err := unmarshal(&request); err != nil {
        \t\t\t\treturn nil, err
        \t\t\t}
        \t\t\treturn &payload{Data: answer}, nil
        \t\t},
        \t})
        \tlistener, err := net.Listen("unix", os.Args[1])
        \tif err != nil {
        \t\tpanic(err)
        \t}
        \tserver.Serve(context.Background(), listener)
        }

        """
}
