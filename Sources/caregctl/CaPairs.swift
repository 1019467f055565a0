/// CA certificates of a folder, each with its verification certificate.
///
/// Two files of one folder are a pair where one has the other's name and `verification` behind it: `line1.crt` goes with
/// `line1-verification.crt`, `line1.verification.pem` or `line1_verification.der`, whatever their case and endings. And so
/// are `CA.*` and `verificationCert.*` of a folder in it, which then gives the pair its name.
struct CaPairs: Equatable {
    struct Pair: Equatable {
        /// What people call it.
        var name: String
        /// Paths.
        var ca: String
        var verification: String
    }

    /// A file without a partner.
    struct Lonely: Equatable {
        var file: String
        /// What is wrong with it, a sentence that names it.
        var sentence: String
    }

    private(set) var pairs: [Pair] = []
    private(set) var lonely: [Lonely] = []

    private static let separators: Set<Character> = ["-", ".", "_"]
    private static let word = "verification"
    private static let proofStems: Set<String> = ["verificationcert", "verification-cert", "verification"]

    /// - Throws: ``Failure`` where the folder cannot be read.
    init(folder: String) throws {
        addAll(try CertificateFolder.files(in: folder), name: "CA", in: folder)
        for name in try CertificateFolder.folders(in: folder) {
            addAll(try CertificateFolder.files(in: "\(folder)/\(name)"), name: name, in: "\(folder)/\(name)")
        }
    }

    /// The pairs of a folder that holds files of these names.
    init(names: [String], in folder: String) {
        addAll(names, name: "CA", in: folder)
    }

    /// - Parameter name: of the pair that goes by the names `CA` and `verificationCert`.
    private mutating func addAll(_ names: [String], name: String, in folder: String) {
        let authorities = names.filter { Self.stem($0).lowercased() == "ca" }
        let proofs = names.filter { Self.proofStems.contains(Self.stem($0).lowercased()) }
        if let ca = authorities.first, let proof = proofs.first, authorities.count == 1, proofs.count == 1 {
            pairs.append(Pair(name: name, ca: "\(folder)/\(ca)", verification: "\(folder)/\(proof)"))
        } else if proofs.isEmpty {
            // CA.crt may go with CA-verification.crt.
            return addByName(names, in: folder)
        } else {
            for file in authorities + proofs {
                note(
                    "\(folder)/\(file)",
                    authorities.isEmpty
                        ? "has no CA certificate beside it: CA.crt, for example"
                        : "is one of several CA.* and verificationCert.* in its folder: keep one of each")
            }
        }
        addByName(names.filter { !authorities.contains($0) && !proofs.contains($0) }, in: folder)
    }

    private mutating func addByName(_ names: [String], in folder: String) {
        var proofs: [String: [String]] = [:]
        var authorities: [(stem: String, file: String)] = []
        for name in names {
            let stem = Self.stem(name)
            if let subject = Self.subject(of: stem) {
                proofs[subject, default: []].append(name)
            } else {
                authorities.append((stem, name))
            }
        }
        let taken = Dictionary(grouping: authorities, by: \.stem)
        for (stem, file) in authorities {
            let path = "\(folder)/\(file)"
            let partners = proofs[stem, default: []]
            let twins = taken[stem, default: []].map(\.file)
            if let proof = partners.first, partners.count == 1, twins.count == 1 {
                pairs.append(Pair(name: stem, ca: path, verification: "\(folder)/\(proof)"))
            } else if partners.isEmpty {
                note(path, "has no verification certificate beside it: \(stem)-verification.crt, for example")
            } else {
                let all = (twins + partners).joined(separator: ", ")
                note(path, "is not the only one that goes by its name: keep one pair of \(all)")
            }
        }
        for (stem, files) in proofs.sorted(by: { $0.key < $1.key }) where taken[stem] == nil {
            for file in files {
                note("\(folder)/\(file)", "has no CA certificate beside it: \(stem).crt, for example")
            }
        }
    }

    /// - Parameter what: is wrong with the file.
    private mutating func note(_ file: String, _ what: String) {
        lonely.append(Lonely(file: file, sentence: "\(file) \(what)"))
    }

    /// The name without its ending.
    private static func stem(_ name: String) -> String {
        name.lastIndex(of: ".").map { String(name[..<$0]) } ?? name
    }

    /// The stem of the CA certificate that a verification certificate is for; nil where it is none by its name.
    private static func subject(of stem: String) -> String? {
        guard stem.lowercased().hasSuffix(word) else { return nil }
        let front = stem.dropLast(word.count)
        guard let separator = front.last, separators.contains(separator), front.count > 1 else { return nil }
        return String(front.dropLast())
    }
}
