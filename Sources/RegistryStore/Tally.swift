/// How many rows of each kind belong to something.
public struct Tally: Sendable, Equatable {
    public var activeCas: Int64 = 0
    public var inactiveCas: Int64 = 0
    public var activeDevices: Int64 = 0
    public var inactiveDevices: Int64 = 0
    public var pendingDevices: Int64 = 0
    /// Tombstones.
    public var deletedDevices: Int64 = 0

    /// Nothing.
    public init() {}

    /// CA certificates, Active and Inactive.
    public var cas: Int64 { activeCas + inactiveCas }

    /// Device certificates without tombstones.
    public var devices: Int64 { activeDevices + inactiveDevices + pendingDevices }

    /// Device records with tombstones.
    public var deviceRecords: Int64 { devices + deletedDevices }

    /// The count of one device status.
    public subscript(status: DeviceStatus) -> Int64 {
        get {
            switch status {
            case .active: activeDevices
            case .inactive: inactiveDevices
            case .pending: pendingDevices
            case .deleted: deletedDevices
            }
        }
        set {
            switch status {
            case .active: activeDevices = newValue
            case .inactive: inactiveDevices = newValue
            case .pending: pendingDevices = newValue
            case .deleted: deletedDevices = newValue
            }
        }
    }

    /// The count of one CA status.
    public subscript(status: CaStatus) -> Int64 {
        get { status == .active ? activeCas : inactiveCas }
        set {
            switch status {
            case .active: activeCas = newValue
            case .inactive: inactiveCas = newValue
            }
        }
    }

    static func + (left: Tally, right: Tally) -> Tally {
        var sum = left
        sum.activeCas += right.activeCas
        sum.inactiveCas += right.inactiveCas
        for status in DeviceStatus.allCases {
            sum[status] += right[status]
        }
        return sum
    }
}

/// What a tally is kept of.
enum TallyOwner: Hashable, Sendable {
    case region
    case instance(InstanceNumber)
    case ca(CaID)
    case path(PathID)

    /// All whose tallies count a device record.
    static func owners(of record: DeviceRecord) -> [TallyOwner] {
        [.region, .instance(record.instance), .ca(record.ca), .path(record.path)]
    }

    var key: [UInt8] {
        switch self {
        case .region: [1]
        case .instance(let number): [2] + number.key
        case .ca(let id): [3] + id.key
        case .path(let id): [4] + id.key
        }
    }
}

extension Tally: StoredRecord {
    func encode(into writer: inout RecordWriter) {
        for count in [activeCas, inactiveCas, activeDevices, inactiveDevices, pendingDevices, deletedDevices] {
            writer.append(count)
        }
    }

    init(from reader: inout RecordReader) throws(RecordReader.Malformed) {
        activeCas = try reader.integer()
        inactiveCas = try reader.integer()
        activeDevices = try reader.integer()
        inactiveDevices = try reader.integer()
        pendingDevices = try reader.integer()
        deletedDevices = try reader.integer()
    }
}
