/// One setting as somebody wrote it.
struct Setting: Equatable, Sendable {
    var key: String
    var value: String
    /// Where it stands, for people: `/etc/caregd/caregd.conf:12`.
    var origin: String
}

/// A configuration that cannot be used: where, and what is wrong with it.
struct ConfigurationFault: Error, Equatable, CustomStringConvertible {
    var origin: String
    var problem: String

    var description: String { "\(origin): \(problem)" }
}

/// The configuration file: `key = value` lines, `#` comments, blank lines.
enum ConfigurationFile {
    /// Bytes of a configuration file at most.
    static let maximumBytes = 1 << 20

    /// The settings of a file's text, in order. Values may stand in double quotes.
    static func parse(_ text: String, path: String) throws(ConfigurationFault) -> [Setting] {
        var settings: [Setting] = []
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let origin = "\(path):\(index + 1)"
            let content = trim(line)
            if content.isEmpty || content.hasPrefix("#") { continue }
            guard let equals = content.firstIndex(of: "=") else {
                throw ConfigurationFault(origin: origin, problem: "a line is “key = value”, and this one has no “=”")
            }
            let key = String(trim(content[..<equals]))
            let value = unquote(trim(content[content.index(after: equals)...]))
            guard ConfigurationKey.named(key) != nil else {
                throw ConfigurationFault(origin: origin, problem: unknown(key))
            }
            if let earlier = settings.first(where: { $0.key == key }), key != ConfigurationKey.access.name {
                throw ConfigurationFault(origin: origin, problem: "\(key) was set before, at \(earlier.origin)")
            }
            settings.append(Setting(key: key, value: value, origin: origin))
        }
        return settings
    }

    /// The sentence about a key that is none, with the one that was probably meant.
    static func unknown(_ key: String) -> String {
        guard let nearest = ConfigurationKey.nearest(to: key) else { return "there is no key “\(key)”" }
        return "there is no key “\(key)”; did you mean “\(nearest)”?"
    }

    private static func trim(_ text: Substring) -> Substring {
        var text = text
        while let first = text.first, first.isWhitespace { text.removeFirst() }
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return text
    }

    private static func unquote(_ text: Substring) -> String {
        guard text.count >= 2, text.first == "\"", text.last == "\"" else { return String(text) }
        return String(text.dropFirst().dropLast())
    }
}
