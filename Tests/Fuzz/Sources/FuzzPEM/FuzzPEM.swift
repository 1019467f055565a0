import Certificates
import Fuzzer

@main struct FuzzPEM {
    /// Whatever is read out of a text can be written, and read again.
    static func main() {
        fuzz { input in
            guard let certificates = try? PEM.certificates(in: input) else { return }
            for der in certificates {
                guard let again = try? PEM.certificates(in: PEM.encode(der)) else {
                    preconditionFailure("a block that was read is not read again")
                }
                precondition(again == [der])
            }
            precondition(((try? PEM.certificate(in: input)) != nil) == (certificates.count == 1))
        }
    }
}
