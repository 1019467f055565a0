internal import CaregServer
internal import Configuration
internal import Logging
internal import Registry
internal import RegistryStore
internal import Synchronization

/// What the daemon runs with, after flags, environment, file and defaults were laid over each other.
struct DaemonConfiguration: Sendable {
    /// nil: whatever the registry is of, `default` for a new one.
    var region: String?
    var logLevel: Logger.Level = .info
    var adminGroup: UInt32?
    var brokerGroup: UInt32?
    var metricsTextfile: String?
    var access = AccessPolicy()
    var limits = DaemonLimits()
    /// Each key with its value and where that came from.
    var listing: [Setting] = []

    /// Reads all layers.
    ///
    /// - Parameters:
    ///   - flags: what the command line sets.
    ///   - file: the configuration file; one that nobody named may be missing.
    /// - Throws: ``StartFailure`` where anything is not as it must be.
    static func load(
        flags: [Setting], environment: [String: String], file: String, isFileRequired: Bool
    ) throws(StartFailure) -> DaemonConfiguration {
        do throws(ConfigurationFault) {
            let written = try settings(ofFile: file, isRequired: isFileRequired)
            let variables = try settings(ofEnvironment: environment)
            for flag in flags where ConfigurationKey.named(flag.key) == nil {
                throw ConfigurationFault(origin: flag.origin, problem: ConfigurationFile.unknown(flag.key))
            }
            return try DaemonConfiguration(layers: [flags, variables, written])
        } catch {
            throw StartFailure(.configuration, error.description)
        }
    }

    private static func settings(ofFile path: String, isRequired: Bool) throws(ConfigurationFault) -> [Setting] {
        let bytes: [UInt8]?
        do throws(FileFault) {
            bytes = try Files.read(path, limit: ConfigurationFile.maximumBytes)
        } catch {
            throw ConfigurationFault(origin: path, problem: "the configuration file cannot be read: \(error)")
        }
        guard let bytes else {
            if isRequired { throw ConfigurationFault(origin: path, problem: "there is no such configuration file") }
            return []
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ConfigurationFault(origin: path, problem: "the configuration file is not UTF-8")
        }
        return try ConfigurationFile.parse(text, path: path)
    }

    /// Variables that begin with `CAREGD_`; one that sets no key is a mistake.
    private static func settings(ofEnvironment environment: [String: String]) throws(ConfigurationFault) -> [Setting] {
        var settings: [Setting] = []
        for (name, value) in environment.sorted(by: { $0.key < $1.key }) where name.hasPrefix("CAREGD_") {
            guard let key = ConfigurationKey.all.first(where: { $0.variable == name }) else {
                let nearest = ConfigurationKey.nearest(to: String(name.dropFirst(7)).lowercased())
                let hint = ConfigurationKey.all.first { $0.name == nearest }.map { "; did you mean \($0.variable)?" }
                throw ConfigurationFault(
                    origin: "environment", problem: "\(name) sets no key of the configuration" + (hint ?? ""))
            }
            settings.append(Setting(key: key.name, value: value, origin: "environment \(name)"))
        }
        return settings
    }

    private init(layers: [[Setting]]) throws(ConfigurationFault) {
        let layers = LayeredSettings(layers)
        for key in ConfigurationKey.all {
            let found = layers.setting(key)
            if let found {
                try take(found)
            }
            let all = key.name == ConfigurationKey.access.name ? layers.allSettings(key) : [found].compactMap { $0 }
            listing += all.isEmpty ? [Setting(key: key.name, value: defaultText(of: key), origin: "default")] : all
        }
        let rules = layers.allSettings(ConfigurationKey.access).flatMap { setting in
            setting.value.split(separator: ";").map { rule in
                Setting(key: setting.key, value: String(rule), origin: setting.origin)
            }
        }
        access = try AccessRules.policy(rules)
        guard limits.registry.codeLifetimeSeconds <= limits.registry.longestCodeLifetimeSeconds else {
            throw ConfigurationFault(
                origin: layers.setting(named: "code_lifetime_seconds")?.origin ?? "default",
                problem: "code_lifetime_seconds is more than longest_code_lifetime_seconds")
        }
    }

    private mutating func take(_ setting: Setting) throws(ConfigurationFault) {
        switch setting.key {
        case ConfigurationKey.region.name:
            guard Self.isRegion(setting.value) else {
                throw fault(setting, "must be 1 to 64 characters out of A-Z a-z 0-9 - _ .")
            }
            region = setting.value
        case ConfigurationKey.logLevel.name:
            guard let level = Logger.Level(rawValue: setting.value.lowercased()) else {
                let names = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
                throw fault(setting, "must be one of \(names)")
            }
            logLevel = level
        case ConfigurationKey.adminGroup.name: adminGroup = try group(setting)
        case ConfigurationKey.brokerGroup.name: brokerGroup = try group(setting)
        case ConfigurationKey.metricsTextfile.name:
            guard setting.value.isEmpty || setting.value.hasPrefix("/") else {
                throw fault(setting, "must be an absolute path")
            }
            metricsTextfile = setting.value.isEmpty ? nil : setting.value
        default:
            guard let limit = LimitKey.all.first(where: { $0.name == setting.key }) else { return }
            let digits = setting.value.filter { $0 != "_" }
            guard let value = Int(digits), limit.range.contains(value) else {
                throw fault(
                    setting, "must be a whole number from \(limit.range.lowerBound) to \(limit.range.upperBound)")
            }
            limits[keyPath: limit.place] = value
        }
    }

    private func fault(_ setting: Setting, _ rule: String) -> ConfigurationFault {
        ConfigurationFault(origin: setting.origin, problem: "\(setting.key) \(rule), and is “\(setting.value)”")
    }

    private func group(_ setting: Setting) throws(ConfigurationFault) -> UInt32? {
        if setting.value.isEmpty { return nil }
        guard let number = Accounts.group(setting.value) else {
            throw fault(setting, "must be a group of this host")
        }
        return number
    }

    private func defaultText(of key: ConfigurationKey) -> String {
        if let limit = LimitKey.all.first(where: { $0.name == key.name }) {
            return String(DaemonLimits()[keyPath: limit.place])
        }
        return key.name == ConfigurationKey.logLevel.name ? Logger.Level.info.rawValue : ""
    }

    private static func isRegion(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                    true
                default: false
                }
            }
    }
}

/// The layers, the first of which counts, as providers of one `ConfigReader`; its reports tell which layer a value is of.
private struct LayeredSettings {
    private let layers: [[Setting]]
    private let reader: ConfigReader
    private let witness = Witness()

    private final class Witness: AccessReporter {
        private let layer = Mutex<Int?>(nil)

        func report(_ event: AccessEvent) {
            // Providers are asked in order, and no further than to the first that has a value.
            let answered = event.providerResults.count - 1
            layer.withLock { $0 = answered }
        }

        var last: Int? { layer.withLock { $0 } }
    }

    init(_ layers: [[Setting]]) {
        self.layers = layers
        let providers = layers.enumerated().map { index, settings in
            var values: [AbsoluteConfigKey: ConfigValue] = [:]
            for setting in settings {
                guard let key = ConfigurationKey.named(setting.key) else { continue }
                values[AbsoluteConfigKey(key.components)] = ConfigValue(.string(setting.value), isSecret: false)
            }
            return InMemoryProvider(name: "layer \(index)", values: values) as any ConfigProvider
        }
        reader = ConfigReader(providers: providers, accessReporter: witness)
    }

    func setting(_ key: ConfigurationKey) -> Setting? {
        guard let value = reader.string(forKey: ConfigKey(key.components)), let layer = witness.last,
            layers.indices.contains(layer)
        else { return nil }
        return layers[layer].last { $0.key == key.name && $0.value == value }
    }

    func setting(named name: String) -> Setting? {
        ConfigurationKey.named(name).flatMap { setting($0) }
    }

    /// All settings of a key that may stand more than once, of the layer that counts.
    func allSettings(_ key: ConfigurationKey) -> [Setting] {
        guard setting(key) != nil, let layer = witness.last, layers.indices.contains(layer) else { return [] }
        return layers[layer].filter { $0.key == key.name }
    }
}
