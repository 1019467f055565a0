// swift-tools-version: 6.2
import PackageDescription

// The rooms are compiled once more here, from the same files, with what libFuzzer wants to see: the package proper stays
// free of it. `-enable-testing` opens what is internal to a room.
let instrumented: [SwiftSetting] = [
    .unsafeFlags(["-parse-as-library", "-sanitize=fuzzer,address", "-enable-testing"]),
    .strictMemorySafety(),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableExperimentalFeature("Lifetimes"),
]

// Generated code is as its generator writes it: our settings are not its.
let generated: [SwiftSetting] = [
    .unsafeFlags(["-parse-as-library", "-sanitize=fuzzer,address"]), .enableUpcomingFeature("InternalImportsByDefault"),
]

let protobuf = Target.Dependency.product(name: "SwiftProtobuf", package: "swift-protobuf")

func room(_ name: String, _ dependencies: Target.Dependency...) -> Target {
    .target(name: name, dependencies: dependencies, path: "Rooms/\(name)", swiftSettings: instrumented)
}

func fuzzer(_ name: String, _ dependencies: Target.Dependency...) -> Target {
    .executableTarget(
        name: name, dependencies: ["Fuzzer"] + dependencies, swiftSettings: instrumented,
        linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])])
}

let package = Package(
    name: "fuzz",
    dependencies: [
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0")
    ],
    targets: [
        .systemLibrary(name: "CLMDB", path: "Rooms/CLMDB", pkgConfig: "lmdb"),
        .systemLibrary(name: "COpenSSL", path: "Rooms/COpenSSL", pkgConfig: "libcrypto"),
        .target(name: "CEpoll", path: "Rooms/CEpoll"),
        .target(name: "CThreads", path: "Rooms/CThreads"),
        room("Threads", "CThreads"),
        room("Certificates"),
        room("Signatures", "Certificates", "COpenSSL"),
        room("Verification", "Certificates"),
        room("LMDB", "CLMDB"),
        room("RegistryStore", "LMDB", "Certificates", "Signatures"),
        room("TTRPC", "CEpoll", "Threads"),
        .target(name: "CaregProto", dependencies: [protobuf], path: "Rooms/CaregProto", swiftSettings: generated),
        // Makes inputs, and is no target itself.
        .target(name: "TestPKI", dependencies: ["COpenSSL"], path: "Rooms/TestPKI"),

        .target(name: "CFuzzer"),
        .target(name: "Fuzzer", dependencies: ["CFuzzer"], swiftSettings: instrumented),
        fuzzer("FuzzCertificate", "Certificates"),
        fuzzer("FuzzNameConstraints", "Certificates", "Verification", "TestPKI"),
        fuzzer("FuzzPath", "Certificates", "Verification", "TestPKI"),
        fuzzer("FuzzPEM", "Certificates"),
        fuzzer("FuzzSerialNumber", "Certificates"),
        fuzzer("FuzzConnection", "TTRPC"),
        fuzzer("FuzzEnvelope", "TTRPC"),
        fuzzer("FuzzVerifyRequest", "CaregProto", protobuf),
        fuzzer("FuzzRecord", "RegistryStore", "Certificates", "Signatures"),

        fuzzer(
            "Seeds", "Certificates", "TestPKI", "TTRPC", "RegistryStore", "Signatures", "CaregProto", protobuf),
    ]
)
