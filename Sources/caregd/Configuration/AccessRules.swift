internal import CaregServer
internal import Registry

/// The access rules as an operator writes them, one to a line of the configuration:
///
///     access = group:plant-a instances=plant-1,plant-2
///     access = user:monitor services=admin
///     access = others:deny
///
/// A rule names a user or a group, by name or number; what it leaves out is everything.
enum AccessRules {
    static func policy(_ settings: [Setting]) throws(ConfigurationFault) -> AccessPolicy {
        var policy = AccessPolicy()
        for setting in settings {
            let words = setting.value.split(whereSeparator: \.isWhitespace).map(String.init)
            guard let subject = words.first else { continue }
            if subject == "others:deny" || subject == "others:allow" {
                guard words.count == 1 else { throw fault(setting, "others:deny and others:allow stand alone") }
                policy.admitsOthers = subject == "others:allow"
            } else {
                policy.rules.append(try rule(words, setting))
            }
        }
        return policy
    }

    private static func rule(_ words: [String], _ setting: Setting) throws(ConfigurationFault) -> AccessPolicy.Rule {
        var rule = AccessPolicy.Rule(subject: try subject(words[0], setting))
        for word in words.dropFirst() {
            let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2 else {
                throw fault(setting, "“\(word)” is neither services=LIST nor instances=LIST")
            }
            let list = parts[1].split(separator: ",").map(String.init)
            switch parts[0] {
            case "services":
                rule.services = []
                for name in list { rule.services.insert(try service(name, setting)) }
            case "instances":
                for id in list where !InstanceID.isValid(id) { throw fault(setting, "“\(id)” is no instance id") }
                rule.instances = Set(list)
            default: throw fault(setting, "“\(parts[0])” is neither services nor instances")
            }
        }
        return rule
    }

    private static func subject(_ word: String, _ setting: Setting) throws(ConfigurationFault) -> AccessPolicy.Subject {
        let parts = word.split(separator: ":", maxSplits: 1).map(String.init)
        guard parts.count == 2 else {
            throw fault(setting, "a rule begins with user:NAME, group:NAME, others:deny or others:allow")
        }
        switch parts[0] {
        case "user":
            guard let number = Accounts.user(parts[1]) else { throw fault(setting, "there is no user “\(parts[1])”") }
            return .user(number)
        case "group":
            guard let number = Accounts.group(parts[1]) else { throw fault(setting, "there is no group “\(parts[1])”") }
            return .group(number)
        default: throw fault(setting, "a rule begins with user:NAME, group:NAME, others:deny or others:allow")
        }
    }

    private static func service(_ name: String, _ setting: Setting) throws(ConfigurationFault) -> ServiceName {
        switch name {
        case "registry": .registry
        case "verifier": .verifier
        case "admin": .admin
        default:
            throw fault(setting, "“\(name)” is no service: they are registry, verifier and admin")
        }
    }

    private static func fault(_ setting: Setting, _ problem: String) -> ConfigurationFault {
        ConfigurationFault(origin: setting.origin, problem: "\(setting.key): \(problem)")
    }
}
