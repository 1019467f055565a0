import Foundation
import Glibc
import Testing

/// The folder of what was built: beside the running tests.
let productFolder: String = {
    let files = FileManager.default
    let starts =
        [try? files.destinationOfSymbolicLink(atPath: "/proc/self/exe")] + CommandLine.arguments.map(Optional.some)
    for case .some(let start) in starts where start.hasPrefix("/") {
        var url = URL(fileURLWithPath: start)
        while url.path != "/" {
            url.deleteLastPathComponent()
            if files.fileExists(atPath: url.appendingPathComponent("libcareg.so").path) { return url.path }
        }
    }
    return "."
}()

/// Whether the library can be loaded into any program: one that a sanitizer has gone through cannot.
let isLibraryLoadable: Bool = {
    guard let bytes = try? Data(contentsOf: URL(fileURLWithPath: "\(productFolder)/libcareg.so")) else {
        // Then the tests say what is missing.
        return true
    }
    let isSanitized = ["__tsan_", "__asan_"].contains { bytes.range(of: Data($0.utf8)) != nil }
    if isSanitized { print("skipped: libcareg.so was built with a sanitizer, and other programs cannot load it") }
    return !isSanitized
}()

let sourceFolder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
let packageFolder = sourceFolder.deletingLastPathComponent().deletingLastPathComponent()
let includeFolder = packageFolder.appendingPathComponent("Sources/careg/include").path

struct ProgramResult: CustomStringConvertible {
    let exit: Int32
    let output: String
    let description: String
}

/// Where a program is that may not be installed; nil, and a line in the test's output, where it is not.
func installed(_ name: String) -> String? {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin").split(separator: ":")
    let found = folders.map { "\($0)/\(name)" }.first { FileManager.default.isExecutableFile(atPath: $0) }
    if found == nil { print("skipped: \(name) is not installed") }
    return found
}

@discardableResult
func run(
    _ program: String, _ arguments: [String], environment: [String: String] = [:], input: Data? = nil
) throws -> ProgramResult {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    let text = String(decoding: data, as: UTF8.self)
    let status = process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus
    return ProgramResult(
        exit: status, output: text,
        description: "`\(program) \(arguments.joined(separator: " "))` ended with \(status)\n\(text)")
}

/// Compiles a C program against the built library.
func compile(_ source: String, into folder: String, _ options: [String] = []) throws -> String {
    let target = "\(folder)/\(URL(fileURLWithPath: source).deletingPathExtension().lastPathComponent)"
    let result = try run(
        "cc",
        [
            "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-g", "-I", includeFolder, source, "-o", target,
            "-L", productFolder, "-Wl,-rpath,\(productFolder)", "-lcareg", "-lpthread",
        ] + options)
    guard result.exit == 0 else { throw TestFailure(result.description) }
    return target
}

func program(_ name: String) -> String { sourceFolder.appendingPathComponent("Programs/\(name)").path }

/// The code of one language on the page that shows brokers how to use the library.
func documentedCode(_ language: String) throws -> String {
    let page = packageFolder.appendingPathComponent("Sources/careg/Documentation.docc/careg.md")
    let text = try String(contentsOf: page, encoding: .utf8)
    let start = try #require(text.range(of: "```\(language)\n"))
    let end = try #require(text.range(of: "\n```", range: start.upperBound..<text.endIndex))
    return String(text[start.upperBound..<end.lowerBound]) + "\n"
}
