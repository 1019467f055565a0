/// The arguments as the parser wants them: the global options behind the verb, negative serial numbers as positionals.
struct CommandLineArguments: Equatable {
    /// What the parser gets.
    private(set) var arguments: [String]
    /// The same without the global options.
    private(set) var argumentsWithoutGlobalOptions: [String]
    /// Every global option has a value that means something.
    private(set) var hasWellFormedGlobalOptions = true
    /// What `--output` asks for; known before the parser has found anything wrong.
    private(set) var output: OutputFormat = .table

    /// Options that stand alone; every other one takes the argument behind it as its value.
    static let flags: Set<String> = ["--yes", "--dry-run", "--force", "--help", "--version"]
    /// Whose verbs take serial numbers; elsewhere `-0a` may be a file.
    private static let nouns: Set<String> = ["ca", "device"]
    /// Options that may stand before the verb.
    private static let global: Set<String> = ["--socket", "--output"]

    init(_ raw: [String]) {
        var kept: [String] = []
        var moved: [String] = []
        var literal: [String] = []
        var index = raw.startIndex
        while index < raw.endIndex {
            let argument = raw[index]
            index += 1
            if argument == "--" {
                literal = Array(raw[(index - 1)...])
                break
            }
            let name = String(argument.prefix { $0 != "=" })
            let takesValue = argument.hasPrefix("--") && name == argument && !Self.flags.contains(name)
            let value = takesValue && index < raw.endIndex && raw[index] != "--" ? raw[index] : nil
            if value != nil { index += 1 }
            if Self.global.contains(name) {
                moved.append(contentsOf: Self.joined(argument, value))
                let given = value ?? String(argument.dropFirst(name.count + 1))
                if given.isEmpty { hasWellFormedGlobalOptions = false }
                if name == "--output" {
                    if let format = OutputFormat(rawValue: given) {
                        output = format
                    } else {
                        hasWellFormedGlobalOptions = false
                    }
                }
            } else if argument.hasPrefix("-"), value == nil, Self.nouns.contains(kept.first ?? ""),
                Self.isNegativeSerialNumber(argument)
            {
                // The parser would take it for a short option. A blank before a serial number means nothing.
                kept.append(" " + argument)
            } else {
                kept.append(contentsOf: Self.joined(argument, value))
            }
        }
        arguments = kept + moved + literal
        argumentsWithoutGlobalOptions = kept + literal
    }

    /// An option and its value as one argument where the parser would take the value for an option.
    private static func joined(_ option: String, _ value: String?) -> [String] {
        guard let value else { return [option] }
        return isNegativeSerialNumber(value) ? ["\(option)=\(value)"] : [option, value]
    }

    /// `-` and hex digits, as operators type them: with `0x`, colons and blanks. `-h` is not one.
    static func isNegativeSerialNumber(_ argument: String) -> Bool {
        guard argument.hasPrefix("-") else { return false }
        var digits = argument.dropFirst()
        if digits.hasPrefix("0x") || digits.hasPrefix("0X") { digits = digits.dropFirst(2) }
        guard let first = digits.first, first.isASCII, first.isHexDigit else { return false }
        return digits.allSatisfy { $0 == ":" || $0 == " " || ($0.isASCII && $0.isHexDigit) }
    }
}
