internal import Testing

@testable internal import caregctl

@Suite struct CaPairsTests {
    private func pairs(_ names: String...) -> CaPairs { CaPairs(names: names, in: "f") }

    private func pair(_ name: String, _ ca: String, _ verification: String) -> CaPairs.Pair {
        CaPairs.Pair(name: name, ca: "f/\(ca)", verification: "f/\(verification)")
    }

    @Test(arguments: ["a-verification.crt", "a.verification.pem", "a_Verification.DER", "a-VERIFICATION.cer"])
    func aFileAndItsNameWithVerificationBehindItAreAPair(proof: String) {
        let found = pairs(proof, "a.crt")
        #expect(found.pairs == [pair("a", "a.crt", proof)])
        #expect(found.lonely.isEmpty)
    }

    @Test func theNamesOfTheGuideAreAPairBesideOthers() {
        let found = pairs("CA.crt", "b.verification.crt", "b.crt", "verificationCert.crt")
        #expect(
            found.pairs == [pair("CA", "CA.crt", "verificationCert.crt"), pair("b", "b.crt", "b.verification.crt")])
        #expect(found.lonely.isEmpty)
        #expect(pairs("CA.crt", "CA-verification.crt").pairs == [pair("CA", "CA.crt", "CA-verification.crt")])
    }

    @Test func aFileWithoutAPartnerIsNamedInASentence() {
        #expect(
            pairs("a.crt", "b-verification.crt").lonely.map(\.sentence) == [
                "f/a.crt has no verification certificate beside it: a-verification.crt, for example",
                "f/b-verification.crt has no CA certificate beside it: b.crt, for example",
            ])
        #expect(
            pairs("verificationCert.crt").lonely.map(\.sentence) == [
                "f/verificationCert.crt has no CA certificate beside it: CA.crt, for example"
            ])
        #expect(pairs("CA.crt").lonely.map(\.file) == ["f/CA.crt"])
        #expect(pairs("-verification.crt").lonely.map(\.file) == ["f/-verification.crt"])
    }

    @Test func whereTwoFilesGoByOneNameNoneIsTaken() {
        for found in [
            pairs("a.crt", "a.pem", "a-verification.crt"), pairs("a.crt", "a-verification.crt", "a.verification.crt"),
        ] {
            #expect(found.pairs.isEmpty && !found.lonely.isEmpty)
            #expect(found.lonely[0].sentence.contains("is not the only one that goes by its name"))
        }
        let found = pairs("CA.crt", "CA.pem", "verificationCert.crt")
        #expect(found.pairs.isEmpty && found.lonely.count == 3)
        #expect(found.lonely.allSatisfy { $0.sentence.contains("keep one of each") })
    }
}
