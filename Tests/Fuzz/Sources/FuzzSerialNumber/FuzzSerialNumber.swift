import Certificates
import Fuzzer

@main struct FuzzSerialNumber {
    /// What people type, and what a certificate holds: the text of a number is the number.
    static func main() {
        fuzz { input in
            let inCertificate = SerialNumber(derContents: input)
            precondition((try? SerialNumber(text: inCertificate.text)) == inCertificate)
            let text = String(decoding: input, as: UTF8.self)
            guard let typed = try? SerialNumber(text: text), let prefix = try? SerialNumberPrefix(text: text) else {
                return precondition((try? SerialNumberPrefix(text: text)) == nil)
            }
            precondition((try? SerialNumber(text: typed.text)) == typed)
            // Zero has no sign, whatever was typed before it.
            if text.contains("-") == typed.isNegative {
                precondition(prefix.matches(typed) && !prefix.isBehind(typed))
            }
            precondition(!prefix.matches(inCertificate) || !prefix.isBehind(inCertificate))
        }
    }
}
