internal import ArgumentParser
internal import CaregClient
internal import CaregProto
internal import Foundation

/// What a shell may put behind the words that were typed: asked of the daemon.
///
/// A shell waits for it while somebody types. It takes a second at most, and where there is no daemon, or it refuses,
/// nothing is offered and nothing is said.
enum LiveCompletion {
    /// Offers at most: more would only fill the screen.
    private static let mostRows: UInt32 = 1000
    private static let patience: Duration = .seconds(1)

    /// Ids of instances.
    static var instances: CompletionKind {
        kind { client, _, _ in
            var request = Careg_V1_ListInstancesRequest()
            request.pageSize = mostRows
            return try client.listInstances(request).instances.map(\.id)
        }
    }

    /// Serial numbers of CA certificates: of the instance that was named, if one was.
    static var authorities: CompletionKind {
        kind { client, words, beginning in
            var request = Careg_V1_ListCaCertificatesRequest()
            request.instanceID = words.value(of: "--instance") ?? ""
            request.snPrefix = beginning
            request.pageSize = mostRows
            return try client.listCaCertificates(request).caCertificates.map(\.sn)
        }
    }

    /// Serial numbers of device certificates under the CA certificate that stands before.
    static var devices: CompletionKind {
        kind { client, words, beginning in
            guard let caSn = words.positionals.dropFirst(2).first else { return [] }
            var request = Careg_V1_ListDeviceCertificatesRequest()
            request.caSn = caSn
            request.snPrefix = beginning
            request.pageSize = mostRows
            return try client.listDeviceCertificates(request).deviceCertificates.map(\.sn)
        }
    }

    /// The beginnings of the open codes of the instance that stands before.
    static var codes: CompletionKind {
        kind { client, words, _ in
            guard let instance = words.positionals.dropFirst(2).first else { return [] }
            var request = Careg_V1_ListRegistrationCodesRequest()
            request.instanceID = instance
            request.pageSize = mostRows
            return try client.listRegistrationCodes(request).registrationCodes.map(\.code)
        }
    }

    /// - Parameter find: gets the words before the one that is completed, and what is typed of that.
    private static func kind(
        _ find: @escaping @Sendable (CaregClient, CompletedWords, String) throws -> [String]
    ) -> CompletionKind {
        .custom { words, index, typed in
            endInTime()
            let before = CompletedWords(Array(words.prefix(index)))
            let path = SocketPath.choose(option: before.value(of: "--socket"))
            guard let client = try? CaregClient(path: path, timeout: patience),
                let found = try? find(client, before, typed)
            else { return [] }
            // A shell reads a line each, and some take a colon for the beginning of a description.
            return found.filter { $0.hasPrefix(typed) && !$0.contains(where: { $0.isNewline || $0 == ":" }) }
        }
    }

    /// Ends this process silently where something hangs that no deadline reaches.
    private static func endInTime() {
        signal(SIGALRM) { _ in _exit(0) }
        alarm(2)
    }
}

/// The words of a command line that is being typed.
struct CompletedWords {
    /// Without options and their values: the noun, the verb, their arguments.
    private(set) var positionals: [String] = []
    private var values: [String: String] = [:]

    /// - Parameter words: the program's name first.
    init(_ words: [String]) {
        var rest = words.dropFirst()
        while let word = rest.popFirst() {
            guard word.hasPrefix("--"), word.count > 2 else {
                if word != "--" { positionals.append(word) }
                continue
            }
            if let equals = word.firstIndex(of: "=") {
                values[String(word[..<equals])] = String(word[word.index(after: equals)...])
            } else if !CommandLineArguments.flags.contains(word) {
                // bash makes a word of its own of the sign.
                if rest.first == "=" { rest.removeFirst() }
                if let value = rest.popFirst() { values[word] = value }
            }
        }
    }

    func value(of option: String) -> String? { values[option] }
}
