import Certificates
import Foundation
import Logging
import Registry
import RegistryStore
import Signatures
import Synchronization
import TestPKI
import Testing
import TrustMap
import Verification

@testable import caregd

/// A registry with its fast path, in a folder of its own; the clock stands still.
final class TestRegion {
    let place: Place
    let store: Store
    private(set) var fastPath: FastPath
    private(set) var registry: Registry
    private let tools = VerificationTools()
    private let caller = Caller(userID: 1, groupID: 2, processID: 3)
    private var lastNumber = UInt8(0)

    init(restrictions: FastPath.Restrictions = [:], maximumDevices: Int = 100_000) throws {
        place = try Place()
        store = try Store(
            path: place.path + "/data",
            creating: Store.Identity(region: "test", historyID: String(repeating: "0", count: 32)))
        (fastPath, registry) = try Self.open(place, store, restrictions, maximumDevices)
    }

    private static func open(
        _ place: Place, _ store: Store, _ restrictions: FastPath.Restrictions, _ maximumDevices: Int
    ) throws -> (FastPath, Registry) {
        let restricted = restrictions.values.reduce(into: Set<String>()) { $0.formUnion($1) }
        let fastPath = try FastPath(
            settings: FastPath.Settings(
                runtimeFolder: place.path, group: nil, maximumDevices: maximumDevices, stalenessMilliseconds: 60_000),
            restrictions: restrictions, restricted: restricted, store: store, logger: Logger(label: "test"))
        let counter = Atomic<UInt64>(1)
        let number = { @Sendable in counter.add(1, ordering: .relaxed).oldValue }
        let registry = try Registry(
            store: store, limits: RegistryLimits(), clock: { WallTime(milliseconds: TestTime.now * 1_000) },
            randomBytes: { count in
                let value = number()
                return (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64($0 % 8 * 8)) }
            }, mirrors: [fastPath], onFatal: { Issue.record("fatal: \($0)") })
        return (fastPath, registry)
    }

    /// The fast path as a daemon that starts makes it.
    func restart() throws {
        registry.writer.flush()
        (fastPath, registry) = try Self.open(place, store, [:], 100_000)
    }

    /// Other access rules, as a SIGHUP brings them.
    func restrict(_ restrictions: FastPath.Restrictions) throws {
        let restricted = restrictions.values.reduce(into: Set<String>()) { $0.formUnion($1) }
        try registry.writer.betweenCommits {
            try store.read { snapshot in
                try fastPath.setRestrictions(restrictions, restricted: restricted, snapshot: snapshot)
            }
        }
    }

    func fill() {
        fastPath.tend(registry, mayGoOn: { true })
    }

    // MARK: Commands

    private final class Answer<Value: Sendable>: Sendable {
        let result = Mutex<Result<Value, any Error>?>(nil)
    }

    private func waiting<Value: Sendable>(
        _ body: (@escaping @Sendable (Result<Value, any Error>) -> Void) -> Void
    ) throws -> Value {
        let answer = Answer<Value>()
        body { result in answer.result.withLock { $0 = result } }
        registry.writer.flush()
        return try #require(answer.result.withLock { $0 }).get()
    }

    func createInstance(_ id: String) throws {
        _ = try waiting { registry.createInstance(id: id, edition: .platinum, caller: caller, completion: $0) }
    }

    func deleteInstance(_ id: String) throws {
        _ = try waiting { registry.deleteInstance(id: id, caller: caller, completion: $0) }
    }

    @discardableResult
    func register(
        _ authority: Entity, with instance: String, mode: DeviceRegistration = .automatic
    ) throws -> SerialNumber {
        let code = try waiting {
            registry.issueCode(instanceID: instance, lifetime: nil, caller: caller, completion: $0)
        }
        let proof = authority.issue(TestName(stringLiteral: code.text), key: .p256(800), [])
        let upload = CaUpload(
            instanceID: instance, caCertificate: authority.der, verificationCertificate: proof.der, name: "",
            deviceRegistration: mode)
        let view = try waiting {
            registry.registerCa(upload, signatures: tools.signatures, caller: caller, completion: $0)
        }
        return view.record.serialNumber
    }

    func unregister(_ ca: SerialNumber) throws {
        _ = try waiting { registry.unregisterCa(ca, caller: caller, completion: $0) }
    }

    func activate(_ ca: SerialNumber) throws {
        _ = try waiting { registry.activateCa(ca, caller: caller, completion: $0) }
    }

    func delete(_ ca: SerialNumber) throws {
        _ = try waiting { registry.deleteCa(ca, caller: caller, completion: $0) }
    }

    enum DeviceChange: CaseIterable {
        case activate, deactivate, delete
    }

    func change(_ device: Entity, of ca: SerialNumber, _ change: DeviceChange) throws {
        let selector = DeviceSelector(
            ca: ca, serialNumber: try Certificate(der: device.der).serialNumber, fingerprint: nil)
        _ = try waiting { completion in
            switch change {
            case .activate: registry.activateDevice(selector, caller: caller, completion: completion)
            case .deactivate: registry.deactivateDevice(selector, caller: caller, completion: completion)
            case .delete: registry.deleteDevice(selector, caller: caller, completion: completion)
            }
        }
    }

    func registerDevice(_ chain: [Entity], with instance: String) throws {
        let upload = DeviceUpload(
            instanceID: instance, certificate: chain[0].der, chain: chain.dropFirst().map(\.der))
        _ = try waiting {
            registry.registerDevice(upload, tools: tools, caller: caller, completion: $0)
        }
    }

    func verify(_ chain: [Entity], of instance: String, isDryRun: Bool = false) throws -> Verdict {
        let question = VerifyQuestion(
            instanceID: instance, chain: chain.map(\.der), isDryRun: isDryRun, at: nil, hearsOf: nil)
        return try waiting { registry.verify(question, tools: tools, caller: caller, completion: $0) }
    }

    // MARK: The fast path

    /// What a map says of a device; nil: ask.
    func look(up device: Entity, of instance: String, in file: String = "trust.map") throws -> VerdictReason? {
        let reader = try TrustMapReader(path: "\(place.path)/\(file)")
        let digest = SHA256Digest(hashing: device.der).bytes
        let key = try #require(MapFingerprint(digest: digest))
        do throws(TrustMapReadingFault) {
            return try reader.look(up: key, of: instance, at: TestTime.now).reason.flatMap(VerdictReason.init)
        } catch {
            if error == .instanceUnknown { return nil }
            throw error
        }
    }

    /// The certificates in an instance's bundle.
    func anchorCount(of instance: String, in folder: String = "anchors") throws -> Int {
        let count = try place.text("\(folder)/\(instance).pem").components(separatedBy: "BEGIN CERTIFICATE").count - 1
        let hashed = try place.names("\(folder)/\(instance)")
        #expect(hashed.count == count, "\(hashed)")
        return count
    }
}
