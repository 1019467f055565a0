internal import CaregClient
internal import Testing

@testable internal import caregctl

@Suite struct BulkSummaryTests {
    private func refusal(_ reason: String, code: Int = 3, _ message: String = "No.") -> CaregFailure {
        CaregFailure(codeNumber: code, reason: reason, message: message)
    }

    /// Notes a refusal of each source; gives whether the work goes on after each.
    private func note(_ refusals: [(source: String, CaregFailure)], in summary: inout BulkSummary) -> [Bool] {
        refusals.map { summary.note($1, of: $0) }
    }

    @Test func whatIsRefusedIsNamedWithItsReasonAndTheOthersGoOn() {
        var summary = BulkSummary()
        summary.noteRegistered()
        summary.noteAlreadyRegistered(status: "active")
        summary.noteAlreadyRegistered(status: "inactive")
        let goesOn = note(
            [
                ("a\u{1b}.crt", refusal("NOT_A_CA", "No\ntrusted: yes")), ("b.crt", refusal("CODE_USED")),
                ("c.crt", refusal("NOT_A_CA")),
            ], in: &summary)
        #expect(goesOn == [true, true, true])
        summary.note(.cannotRead("d.crt", "it is gone"), of: "d.crt")
        #expect(summary.done == 7 && !summary.isEmpty && summary.stop == nil)
        #expect(
            summary.lines(colour: false) == """
                registered:    1
                already there: 2 (1 inactive)
                refused:       4 (2 NOT_A_CA, 1 CODE_USED, 1 FILE_NOT_READABLE)

                """)
        #expect(
            summary.complaints == [
                "caregctl: a\\u{1b}.crt: No\\u{a}trusted: yes (NOT_A_CA)", "caregctl: b.crt: No. (CODE_USED)",
                "caregctl: c.crt: No. (NOT_A_CA)", "caregctl: d.crt cannot be read: it is gone (FILE_NOT_READABLE)",
            ])
    }

    @Test(arguments: [("DISK_FULL", 8), ("CALLER_NOT_ALLOWED", 7), ("SHUTTING_DOWN", 14)])
    func whatWouldBefallAllOthersTooEndsTheWork(reason: String, code: Int) throws {
        var summary = BulkSummary()
        summary.noteRegistered()
        let refusal = refusal(reason, code: code)
        let goesOn = note([("a.crt", refusal), ("b.crt", refusal)], in: &summary)
        #expect(goesOn == [false, false])
        #expect(summary.stop?.reason == reason && summary.failures.isEmpty && summary.turnedAway == 2)
        #expect(summary.lines(colour: false).hasSuffix("refused:       0\nturned away:   2, and the rest not tried\n"))
        let stop = try #require(summary.stop)
        #expect(throws: stop) { try summary.report(as: .json) }
    }

    @Test(arguments: [("LIMIT_REACHED", 8), ("CODE_MISMATCH", 7)])
    func whatBefallsOneEndsNothing(reason: String, code: Int) {
        var summary = BulkSummary()
        let goesOn = note([("a.crt", refusal(reason, code: code))], in: &summary)
        #expect(goesOn == [true])
        #expect(summary.stop == nil && summary.failures.count == 1)
    }

    @Test func inJSONItIsOneDocument() {
        var summary = BulkSummary()
        summary.noteRegistered()
        summary.passedOver = 3
        summary.unanswered = 4
        _ = note([("a\"\n.crt", refusal("NOT_A_CA"))], in: &summary)
        #expect(
            summary.json
                == #"{"registered":1,"alreadyRegistered":0,"refused":1,"turnedAway":0,"unanswered":4,"passedOver":3,"#
                + #""failures":[{"source":"a\"\n.crt","error":"#
                + #"{"code":"INVALID_ARGUMENT","reason":"NOT_A_CA","message":"No.","metadata":{}}}]}"#)
    }
}
