import Certificates
import Registry
import RegistryStore
import Signatures
import TestPKI

/// The registry as plain dictionaries: what the rules say, and nothing of how they are kept.
struct Model {
    struct Code {
        var text: String
        var createTime: WallTime
        var expireTime: WallTime
        var revision: Int
        var isUsed = false
    }

    struct Instance {
        var edition: Edition
        var createTime: WallTime
        var revision: Int
        var codes: [Code] = []
    }

    struct Ca {
        /// Never given twice.
        var number: Int
        /// Which of the cast's authorities it is.
        var authority: Int
        var instance: String
        var name: String
        var status: CaStatus
        var mode: DeviceRegistration
        var registerTime: WallTime
        var updateTime: WallTime
        var revision: Int
    }

    /// What makes a device known once in an instance.
    struct Identity: Hashable {
        var instance: String
        var signer: String
        var serial: SerialNumber
    }

    struct Device {
        /// Which of the cast's devices was seen first.
        var device: Int
        var ca: SerialNumber
        var intermediates: [Int]
        var status: DeviceStatus
        var registerTime: WallTime
        var updateTime: WallTime
        var revision: Int
    }

    /// A way from a device up to a CA record.
    struct Path {
        var ca: SerialNumber
        var intermediates: [Int]
    }

    let cast: ModelCast
    let limits: RegistryLimits
    var now = WallTime(milliseconds: 0)
    var instances: [String: Instance] = [:]
    var cas: [SerialNumber: Ca] = [:]
    var devices: [Identity: Device] = [:]
    /// One line for each revision.
    var log: [String] = []
    var lastNumber = 0

    init(cast: ModelCast, limits: RegistryLimits) {
        self.cast = cast
        self.limits = limits
    }

    var revision: Int { log.count }

    // MARK: Facts

    func authority(_ ca: Ca) -> ModelCast.Authority { cast.authorities[ca.authority] }

    func cas(of instance: String) -> [Ca] { cas.values.filter { $0.instance == instance } }

    func devices(of ca: SerialNumber) -> [Device] { devices.values.filter { $0.ca == ca } }

    func deviceCount(of ca: SerialNumber) -> Int { devices(of: ca).count { $0.status != .deleted } }

    func deviceCount(in instance: String) -> Int {
        devices.count { $0.key.instance == instance && $0.value.status != .deleted }
    }

    func identity(of device: Int, in instance: String) -> Identity {
        Identity(
            instance: instance, signer: cast.devices[device].signerName, serial: cast.devices[device].serial)
    }

    func isOpen(_ code: Code) -> Bool { !code.isUsed && now < code.expireTime }

    func openCodes(_ instance: String) -> [Code] { (instances[instance]?.codes ?? []).filter { isOpen($0) } }

    /// Every way up from a device within an instance, good or not.
    func paths(of device: Int, in instance: String, pool: Set<Int>) -> [Path] {
        func climb(_ name: [UInt8], _ key: String, _ below: [Int]) -> [Path] {
            let here = cas(of: instance).filter { authority($0).subject == name && authority($0).keyName == key }
                .map { Path(ca: authority($0).sn, intermediates: below) }
            let above = pool.filter { index in
                let candidate = cast.authorities[index]
                return candidate.subject == name && candidate.keyName == key && !below.contains(index)
            }
            return here
                + above.flatMap { index in
                    climb(cast.authorities[index].issuer, cast.authorities[index].signerName, below + [index])
                }
        }
        return climb(cast.devices[device].issuer, cast.devices[device].signerName, [])
    }

    /// The CA is Active, and no intermediate has the key of Inactive CAs alone.
    func isGood(_ path: Path, in instance: String) -> Bool {
        guard cas[path.ca]?.status == .active else { return false }
        return path.intermediates.allSatisfy { index in
            let same = cas(of: instance).filter { authority($0).keyName == cast.authorities[index].keyName }
            return same.isEmpty || same.contains { $0.status == .active }
        }
    }

    /// SNs of other Active CA certificates of the instance with the same key, or which issued it.
    func vouching(for ca: Ca) -> Set<String> {
        let own = authority(ca)
        let others = cas(of: ca.instance).filter { other in
            let theirs = authority(other)
            return other.number != ca.number && other.status == .active
                && (theirs.keyName == own.keyName
                    || theirs.subject == own.issuer && theirs.keyName == own.signerName)
        }
        return Set(others.map { authority($0).sn.text })
    }

    // MARK: Text

    static func text(_ edition: Edition) -> String { "\(edition)" }

    func text(instance id: String, _ instance: Instance) -> String {
        Self.instanceText(
            id: id, edition: instance.edition, createTime: instance.createTime, revision: instance.revision,
            cas: cas(of: id).count, devices: deviceCount(in: id))
    }

    static func instanceText(
        id: String, edition: Edition, createTime: WallTime, revision: Int, cas: Int, devices: Int
    ) -> String {
        "instance \(id) \(edition) created \(createTime.milliseconds) cas \(cas) devices \(devices) revision \(revision)"
    }

    func text(ca: Ca) -> String {
        Self.caText(
            sn: authority(ca).sn.text, instance: ca.instance, name: ca.name, status: ca.status, mode: ca.mode,
            registerTime: ca.registerTime, updateTime: ca.updateTime, revision: ca.revision,
            fingerprint: authority(ca).entity.fingerprint, devices: deviceCount(of: authority(ca).sn))
    }

    static func caText(
        sn: String, instance: String, name: String, status: CaStatus, mode: DeviceRegistration, registerTime: WallTime,
        updateTime: WallTime, revision: Int, fingerprint: SHA256Digest, devices: Int
    ) -> String {
        "ca \(sn) \(instance) '\(name)' \(status) \(mode) registered \(registerTime.milliseconds) "
            + "updated \(updateTime.milliseconds) revision \(revision) \(fingerprint.hex.prefix(8)) devices \(devices)"
    }

    func text(device: Device, in instance: String) -> String {
        let certificate = cast.devices[device.device]
        return Self.deviceText(
            ca: device.ca.text, sn: certificate.serial.text, instance: instance, status: device.status,
            registerTime: device.registerTime, updateTime: device.updateTime, revision: device.revision,
            fingerprint: certificate.entity.fingerprint)
    }

    static func deviceText(
        ca: String, sn: String, instance: String, status: DeviceStatus, registerTime: WallTime, updateTime: WallTime,
        revision: Int, fingerprint: SHA256Digest
    ) -> String {
        "device \(ca) \(sn) \(instance) \(status) registered \(registerTime.milliseconds) "
            + "updated \(updateTime.milliseconds) revision \(revision) \(fingerprint.hex.prefix(8))"
    }

    static func codeText(prefix: String, instance: String, createTime: WallTime, expireTime: WallTime, revision: Int)
        -> String
    {
        "code \(prefix) \(instance) created \(createTime.milliseconds) expires \(expireTime.milliseconds) "
            + "revision \(revision)"
    }

    func text(code: Code, of instance: String) -> String {
        Self.codeText(
            prefix: String(code.text.prefix(8)), instance: instance, createTime: code.createTime,
            expireTime: code.expireTime, revision: code.revision)
    }

    static func entryText(
        revision: Int, kind: ChangeKind, method: String, time: WallTime, instance: String, ca: String, device: String,
        fingerprint: SHA256Digest?, status: UInt8
    ) -> String {
        "\(revision) \(kind) \(method) \(time.milliseconds) \(instance) ca \(ca) device \(device) "
            + "\(fingerprint?.hex.prefix(8) ?? "-") status \(status)"
    }

    // MARK: Changes

    /// Writes the one entry of a change.
    mutating func record(
        _ kind: ChangeKind, _ method: String, instance: String, ca: Int? = nil, device: Int? = nil, status: UInt8 = 0
    ) {
        let authority = ca.map { cast.authorities[$0] }
        let certificate = device.map { cast.devices[$0] }
        log.append(
            Self.entryText(
                revision: revision + 1, kind: kind, method: method, time: now, instance: instance,
                ca: authority?.sn.text ?? "", device: certificate?.serial.text ?? "",
                fingerprint: certificate?.entity.fingerprint ?? authority?.entity.fingerprint, status: status))
    }

    /// Stores a device Active or Pending on a path, over a tombstone where there is one.
    mutating func store(
        _ device: Int, in instance: String, on path: Path, _ status: DeviceStatus, _ method: String
    ) -> Device {
        let record = Device(
            device: device, ca: path.ca, intermediates: path.intermediates, status: status, registerTime: now,
            updateTime: now, revision: revision + 1)
        devices[identity(of: device, in: instance)] = record
        self.record(
            .deviceRegistered, method, instance: instance, ca: cas[path.ca]?.authority, device: device,
            status: status.rawValue)
        return record
    }

    // MARK: All that can be seen

    /// Every list, counter and entry, as lines.
    func observed() -> [String] {
        var lines = instances.keys.sorted().map { text(instance: $0, instances[$0] ?? emptyInstance) }
        for id in instances.keys.sorted() {
            lines += openCodes(id).map { text(code: $0, of: id) }.sorted()
        }
        for sn in cas.keys.sorted(by: { $0.text < $1.text }) {
            guard let ca = cas[sn] else { continue }
            lines.append(text(ca: ca) + " vouching \(vouching(for: ca).sorted())")
            lines += devices(of: sn).filter { $0.status != .deleted }.map { text(device: $0, in: ca.instance) }.sorted()
            let count = DeviceStatus.allCases.map { status in devices(of: sn).count { $0.status == status } }
            lines.append("devices of \(sn.text): \(count)")
        }
        for id in instances.keys.sorted() {
            let active = cas(of: id).filter { $0.status == .active }.map { authority($0).sn.text }.sorted()
            lines.append("anchors of \(id): \(active)")
        }
        lines.append(
            "figures \(instances.count) \(cas.values.count { $0.status == .active }) "
                + "\(cas.values.count { $0.status == .inactive }) "
                + "\(DeviceStatus.allCases.map { status in devices.values.count { $0.status == status } })")
        return lines + log
    }

    private var emptyInstance: Instance {
        Instance(edition: .standard, createTime: WallTime(milliseconds: 0), revision: 0)
    }
}
