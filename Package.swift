// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableExperimentalFeature("Lifetimes"),
]

// Generated code is as its generator writes it: our settings are not its.
let generatedSettings: [SwiftSetting] = [.enableUpcomingFeature("InternalImportsByDefault")]

// What is loaded into other people's processes is Embedded Swift: no runtime, no standard library beside it.
let embeddedSettings: [SwiftSetting] =
    settings + [.enableExperimentalFeature("Embedded"), .unsafeFlags(["-wmo"])]

// Without a list of what a library shows, the runtime's own functions would be seen by the whole process.
func embeddedLinking(exports: String, _ more: [String], release: [String] = []) -> [LinkerSetting] {
    let options = ["--gc-sections", "--version-script=\(Context.packageDirectory)/\(exports)"] + more
    return [
        .unsafeFlags(
            ["-enable-experimental-feature", "Embedded", "-wmo"] + options.flatMap { ["-Xlinker", $0] }),
        .unsafeFlags(release.flatMap { ["-Xlinker", $0] }, .when(configuration: .release)),
    ]
}

let protobuf = Target.Dependency.product(name: "SwiftProtobuf", package: "swift-protobuf")
let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let coreMetrics = Target.Dependency.product(name: "CoreMetrics", package: "swift-metrics")
let configuration = Target.Dependency.product(name: "Configuration", package: "swift-configuration")

let package = Package(
    name: "caregd",
    products: [
        .executable(name: "caregd", targets: ["caregd"]),
        .executable(name: "caregctl", targets: ["caregctl"]),
        .executable(name: "caregbench", targets: ["caregbench"]),
        .library(name: "CaregClient", targets: ["CaregClient"]),
        .library(name: "careg", type: .dynamic, targets: ["CaregExports"]),
        .library(name: "mosquitto_careg", type: .dynamic, targets: ["MosquittoCareg"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
    ],
    targets: [
        // C
        .systemLibrary(name: "CLMDB", pkgConfig: "lmdb", providers: [.apt(["liblmdb-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CTrustMap"),
        .systemLibrary(
            name: "CCareg", path: "Sources/careg/include", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CMosquitto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .target(name: "CEpoll"),
        .target(name: "CThreads"),
        .target(name: "CBaselines"),

        // Threads
        .target(name: "Threads", dependencies: ["CThreads"], swiftSettings: settings),

        // Certificates and verdicts
        .target(name: "Certificates", swiftSettings: settings),
        .target(name: "Signatures", dependencies: ["Certificates", "COpenSSL"], swiftSettings: settings),
        .target(name: "Verification", dependencies: ["Certificates"], swiftSettings: settings),

        // The registry
        .target(name: "LMDB", dependencies: ["CLMDB"], swiftSettings: settings),
        .target(
            name: "RegistryStore", dependencies: ["LMDB", "Certificates", "Signatures"], swiftSettings: settings),
        .target(
            name: "Registry",
            dependencies: ["RegistryStore", "Certificates", "Signatures", "Verification", "Threads"],
            swiftSettings: settings),
        .target(name: "TrustMap", dependencies: ["CTrustMap"], swiftSettings: settings),
        .target(name: "TrustAnchors", swiftSettings: settings),

        // The wire
        .target(name: "TTRPC", dependencies: ["CEpoll", "Threads"], swiftSettings: settings),
        .target(name: "CaregProto", dependencies: [protobuf], swiftSettings: generatedSettings),
        .target(
            name: "CaregClient", dependencies: ["CaregProto", "TTRPC", protobuf], swiftSettings: settings),
        .target(
            name: "CaregServer",
            dependencies: [
                "CaregProto", "TTRPC", "Registry", "RegistryStore", "Verification", "Signatures",
                "Certificates", "TrustMap", "Threads", protobuf, logging, coreMetrics,
            ], swiftSettings: settings),

        // Programs
        .executableTarget(
            name: "caregd",
            dependencies: [
                "CaregServer", "Registry", "RegistryStore", "TrustMap", "TrustAnchors", "TTRPC", "Signatures",
                "Verification", "Certificates", "Threads", argumentParser, logging, configuration,
            ], swiftSettings: settings),
        .executableTarget(
            name: "caregctl",
            dependencies: ["CaregClient", "CaregProto", "TrustAnchors", protobuf, argumentParser],
            swiftSettings: settings),
        .executableTarget(
            name: "caregbench",
            dependencies: [
                "CaregClient", "CaregProto", "Registry", "RegistryStore", "LMDB", "TrustMap", "Signatures",
                "Certificates",
                "COpenSSL", "CBaselines", "CCareg", protobuf, argumentParser,
            ], exclude: ["README.md"], swiftSettings: settings),

        // What brokers load
        .target(
            name: "careg", dependencies: ["CTrustMap", "CCareg"],
            exclude: ["include", "system", "exports", "careg.pc"], swiftSettings: embeddedSettings),
        .target(
            name: "CaregExports", dependencies: ["careg"], path: "Sources/careg/exports", exclude: ["careg.map"],
            swiftSettings: embeddedSettings,
            linkerSettings: embeddedLinking(
                exports: "Sources/careg/exports/careg.map", ["-soname=libcareg.so"],
                // In debug a sanitizer's own functions are found when the library is loaded.
                release: ["-z", "defs"])),
        .target(
            name: "MosquittoCareg", dependencies: ["careg", "CCareg", "CMosquitto"], exclude: ["exports.map"],
            swiftSettings: embeddedSettings,
            linkerSettings: embeddedLinking(
                exports: "Sources/MosquittoCareg/exports.map", ["-soname=mosquitto_careg.so"])),

        // Tests
        // libcareg's sources once more, with the standard library around them.
        .target(
            name: "CaregHosted", dependencies: ["CTrustMap", "CCareg"], path: "Tests/CaregHosted",
            exclude: ["include", "system", "exports", "careg.pc"], swiftSettings: settings),
        .testTarget(
            name: "CaregTests", dependencies: ["CaregHosted", "CCareg", "TrustMap"], exclude: ["Programs"],
            swiftSettings: settings),
        .target(
            name: "TestPKI", dependencies: ["COpenSSL"], path: "Tests/TestPKI", swiftSettings: settings),
        .testTarget(name: "CertificatesTests", dependencies: ["Certificates", "TestPKI"], swiftSettings: settings),
        .testTarget(
            name: "SignaturesTests", dependencies: ["Signatures", "Certificates", "TestPKI"], swiftSettings: settings),
        .testTarget(
            name: "VerificationTests",
            dependencies: ["Verification", "Signatures", "Certificates", "TestPKI", "COpenSSL"],
            swiftSettings: settings),
        .testTarget(
            name: "RegistryStoreTests", dependencies: ["RegistryStore", "Signatures", "Certificates"],
            swiftSettings: settings),
        .testTarget(
            name: "RegistryTests",
            dependencies: [
                "Registry", "RegistryStore", "Verification", "Signatures", "Certificates", "TestPKI",
            ], swiftSettings: settings),
        .testTarget(
            name: "CaregServerTests",
            dependencies: [
                "CaregServer", "CaregClient", "CaregProto", "Registry", "RegistryStore", "LMDB", "Verification",
                "Signatures", "Certificates", "TTRPC", "TrustMap", protobuf, logging, coreMetrics,
            ], swiftSettings: settings),
        .testTarget(
            name: "CaregdTests",
            dependencies: [
                "caregd", "CaregServer", "Registry", "RegistryStore", "Verification", "Signatures", "Certificates",
                "TrustMap", "TestPKI", logging,
            ], swiftSettings: settings),
        .testTarget(name: "ThreadsTests", dependencies: ["Threads"], swiftSettings: settings),
        .testTarget(
            name: "TTRPCTests", dependencies: ["TTRPC", "CEpoll"], swiftSettings: settings),
        .testTarget(name: "TrustMapTests", dependencies: ["TrustMap", "CTrustMap"], swiftSettings: settings),
        .testTarget(
            name: "CaregctlTests", dependencies: ["caregctl", "CaregProto", "TrustAnchors", protobuf],
            swiftSettings: settings),
        .testTarget(
            name: "EndToEndTests", dependencies: ["caregd", "caregctl", "RegistryStore", "Signatures", "TestPKI"],
            exclude: ["Programs", "Fixtures"], swiftSettings: settings),
    ]
)
