internal import ArgumentParser
internal import CaregClient
internal import CaregProto
internal import Foundation
internal import SwiftProtobuf
internal import Testing

@testable internal import caregctl

@Suite struct TextTests {
    @Test(arguments: [
        "a\nb", "a\rb", "a\u{1b}b", "a\u{202e}b", "a\u{2028}b", "a\u{2029}b", "a\u{85}b", "a\u{200b}b",
        "a\u{fffd}b", "a\u{7f}b", "a\u{2066}b", "a\u{feff}b", "a\u{e0041}b", "a\u{a0}b", "a\r\nb", "a\u{34f}b",
    ])
    func whatCouldForgeALineIsEscaped(_ text: String) {
        let escaped = TerminalText.escape(text)
        #expect(escaped.hasPrefix("a\\u{"))
        #expect(escaped.hasSuffix("}b"))
        #expect(escaped.unicodeScalars.allSatisfy { $0.isASCII && $0.value >= 0x20 && $0.value != 0x7f })
    }

    @Test func ordinaryTextStaysAsItIs() {
        #expect(TerminalText.escape("CN=Grüße, 株式会社 \\ é") == "CN=Grüße, 株式会社 \\ é")
    }

    @Test func columnsAreAlignedByWhatATerminalShows() {
        var table = Table(["A", "B"], colour: false)
        #expect(
            table.lines([[Cell("xyz"), Cell("1")], [Cell("株"), Cell("2")], [Cell("a\nb"), Cell("3")]])
                == "A        B\nxyz      1\n株       2\na\\u{a}b  3\n")
    }

    @Test func aSecondPageHasNoHeaderAndIsNoNarrower() {
        var table = Table(["A", "B"], colour: false)
        #expect(table.lines([[Cell("xyz"), Cell("1")]]) == "A    B\nxyz  1\n")
        #expect(table.lines([[Cell("x"), Cell("2")]]) == "x    2\n")
    }

    @Test func onANarrowTerminalFreeTextIsCutAndSerialNumbersAreNot() {
        let row = [Cell("0123456789abcdef"), Cell("the first line"), Cell("CN=a long subject, O=株式会社")]
        func lines(_ columns: Int?) -> String {
            var table = Table(["SN", "NAME", "SUBJECT"], colour: false, columns: columns)
            return table.lines([row])
        }
        #expect(
            lines(nil) == "SN                NAME            SUBJECT\n"
                + "0123456789abcdef  the first line  CN=a long subject, O=株式会社\n")
        #expect(lines(nil) == lines(63))
        #expect(lines(50).split(separator: "\n")[1] == "0123456789abcdef  the first line  CN=a long subje…")
        #expect(lines(40).split(separator: "\n")[1] == "0123456789abcdef  the first…  CN=a long…")
        #expect(lines(10).split(separator: "\n")[1] == "0123456789abcdef  the fir…  CN=a lo…")
        for columns in 36...80 {
            #expect(lines(columns).split(separator: "\n").allSatisfy { TerminalText.width(String($0)) <= columns })
        }
    }

    @Test func aCutTextFitsItsColumns() {
        #expect(TerminalText.cut("abc", columns: 3) == "abc")
        #expect(TerminalText.cut("abcd", columns: 3) == "ab…")
        #expect(TerminalText.cut("株式会社", columns: 4) == "株…")
        #expect(TerminalText.cut("ab", columns: 1) == "…")
    }

    @Test func aProgressLineReplacesTheOneBeforeAndNeverWraps() {
        #expect(ProgressLine.line("1 of 2", columns: 80) == "\r1 of 2\u{1b}[K")
        #expect(ProgressLine.line("a\nbcdefgh", columns: 9) == "\ra\\u{a}b…\u{1b}[K")
    }

    @Test(
        arguments: [
            (0, "now"), (1, "in 1s"), (-1, "1s ago"), (-11_100, "3h 5m ago"), (172_799, "in 1d 23h"),
            (172_800, "in 2d"),
            (31_536_000, "in 365d"), (315_360_000 - 60, "in 10y"), (63_158_400, "in 2y"), (-63_158_400, "2y ago"),
        ] as [(Int64, String)])
    func timesAreToldByTheirDistance(seconds: Int64, text: String) {
        let now = Date(timeIntervalSince1970: 1_767_225_600.5)
        #expect(Readable.relative(Google_Protobuf_Timestamp(seconds: 1_767_225_600 + seconds), now: now) == text)
    }

    @Test(arguments: [
        ("lst", "list"), ("isntance", "instance"), ("reg", "register"), ("unregistr", "unregister"), ("lisst", "list"),
        ("LIST", "list"),
    ])
    func theNearestNameIsFound(_ text: String, _ name: String) {
        #expect(NearestName.of(text, among: ["list", "instance", "register", "unregister", "show"]) == name)
    }

    @Test(arguments: ["x", "frobnicate", "", "sh0wcase"])
    func whatIsNearNoneIsNotGuessed(_ text: String) {
        #expect(NearestName.of(text, among: ["list", "show", "ca"]) == nil)
    }

    @Test func colourDoesNotMoveColumns() {
        var table = Table(["A", "B"], colour: true)
        #expect(table.lines([[Cell("ok", .good), Cell("1")]]) == "A   B\n\u{1b}[32mok\u{1b}[0m  1\n")
    }

    @Test func aSubjectWithANewlineCannotForgeAVerdict() {
        var verdict = Careg_V1_Verdict()
        verdict.detail = "no\ntrusted: yes"
        verdict.reason = .caUnknown
        let lines = VerifyCommand.lines(verdict)
        #expect(lines.hasPrefix("trusted:        no\nreason:         CA_UNKNOWN\n"))
        #expect(lines.contains("no\\u{a}trusted: yes\n"))
    }

    @Test func aRefusalIsOneLine() {
        let failure = Failure(
            CaregFailure(
                codeNumber: 6, reason: "SN_ALREADY_REGISTERED", message: "The SN is\nregistered.",
                metadata: ["sn": "0a", "instance_id": "b"]))
        #expect(failure.exit == .refused)
        #expect(failure.text(as: .table) == "caregctl: The SN is\\u{a}registered. (SN_ALREADY_REGISTERED)")
        #expect(
            failure.text(as: .json)
                == #"{"error":{"code":"ALREADY_EXISTS","reason":"SN_ALREADY_REGISTERED","#
                + #""message":"The SN is\nregistered.","metadata":{"instance_id":"b","sn":"0a"}}}"#)
    }

    @Test func theExitCodeSaysWhy() {
        #expect(Failure(CaregFailure(codeNumber: 7, reason: "CALLER_NOT_ALLOWED", message: "")).exit == .notAllowed)
        #expect(Failure(CaregFailure(codeNumber: 7, reason: "CODE_MISMATCH", message: "")).exit == .refused)
        let missing = Failure(CaregConnectionError.noDaemon(path: "/x/admin.sock", errno: ENOENT))
        #expect(missing.exit == .noDaemon)
        #expect(missing.message.contains("/x/admin.sock"))
        #expect(Failure(CaregConnectionError.noDaemon(path: "/x", errno: EACCES)).exit == .notAllowed)
        #expect(Failure(CaregConnectionError.connectionLost("end")).exit == .noDaemon)
    }

    @Test func deletingSaysWhoStillVouches() {
        var certificate = Careg_V1_CaCertificate()
        certificate.sn = "0a"
        certificate.deviceCount = 3
        certificate.vouchedBy = ["0b"]
        let sentences = CaCommand.Delete.consequences(certificate)
        #expect(sentences.count == 2)
        #expect(sentences[0].contains("3 device certificates"))
        #expect(sentences[1].contains("0b vouches for it: its devices stay trusted through that one"))
    }

    @Test func statusesAndReasonsAreReadable() {
        #expect(Readable.status(.active).text == "active")
        #expect(Readable.constant(Careg_V1_Reason.caOfAnotherInstance, of: "Reason") == "CA_OF_ANOTHER_INSTANCE")
        #expect(Readable.words(Careg_V1_ChangeType.caRegistered, of: "ChangeType") == "ca registered")
        let now = Date(timeIntervalSince1970: 1_767_225_600)
        // 2026-01-01T00:00:00Z, wherever the test runs.
        let parts = Readable.time(Google_Protobuf_Timestamp(seconds: 1_767_225_600, nanos: 5), now: now)
            .split(separator: " ", maxSplits: 3)
        let text = parts.prefix(3).joined(separator: " ")
        let format = DateFormatter()
        format.locale = Locale(identifier: "en_US_POSIX")
        format.dateFormat = "yyyy-MM-dd HH:mm:ss Z"
        #expect(format.date(from: text) == now, "\(text)")
        #expect(parts.last == "(now)")
        #expect(Readable.duration(seconds: 273_605) == "3d 4h")
        #expect(Readable.duration(seconds: 0) == "0s")
    }
}

@Suite struct ArgumentTypeTests {
    @Test(arguments: [("90s", 90), ("15m", 900), ("12h", 43200), ("30d", 2_592_000), ("2w", 1_209_600)])
    func durationsHaveUnits(_ text: String, _ seconds: Int) {
        #expect(DurationArgument(argument: text)?.seconds == Int64(seconds))
    }

    @Test(arguments: ["", "30", "d", "-1d", "1.5d", "1 d", "1y", "99999999999999999999d", "9000000000000000000w", "٣d"])
    func anythingElseIsNoDuration(_ text: String) {
        #expect(DurationArgument(argument: text) == nil)
    }

    @Test func expiresWithinCountsFromNow() {
        let now = Date(timeIntervalSince1970: 1000)
        #expect(DurationArgument(argument: "1d")?.timestamp(after: now).seconds == 87400)
        #expect(DurationArgument(argument: "500000w")?.timestamp(after: now).seconds == 253_402_300_799)
    }

    @Test(arguments: ["2026-01-01T00:00:00Z", "2026-01-01t01:00:00+01:00", "1767225600"])
    func momentsAreRFC3339OrUnixSeconds(_ text: String) {
        #expect(TimeArgument(argument: text)?.timestamp.seconds == 1_767_225_600)
    }

    @Test func theSocketIsChosenInTheOrderThatIsPromised() {
        func choose(_ option: String?, _ environment: [String: String], _ user: UInt32) -> String {
            SocketPath.choose(option: option, environment: environment, user: user)
        }
        let all = ["CAREG_SOCKET": "/e", "XDG_RUNTIME_DIR": "/run/user/7"]
        #expect(choose("/o", all, 7) == "/o")
        #expect(choose(nil, all, 7) == "/e")
        #expect(choose(nil, ["XDG_RUNTIME_DIR": "/run/user/7"], 7) == "/run/user/7/caregd/admin.sock")
        #expect(choose(nil, [:], 7) == "/tmp/caregd-7/admin.sock")
        #expect(choose(nil, ["XDG_RUNTIME_DIR": "/run/user/0"], 0) == "/run/caregd/admin.sock")
    }
}

@Suite struct PagingTests {
    /// Serves rows 0..<count in pages of at most `step`.
    private func page(of count: Int, step: Int, _ size: UInt32, _ token: String) -> Careg_V1_ListInstancesResponse {
        let start = Int(token) ?? 0
        let end = min(count, start + min(step, Int(size)))
        var response = Careg_V1_ListInstancesResponse()
        response.instances = (start..<end).map { number in
            var instance = Careg_V1_Instance()
            instance.id = String(number)
            return instance
        }
        response.nextPageToken = end < count ? String(end) : ""
        response.totalSize = UInt32(count)
        return response
    }

    @Test func withoutALimitAllPagesAreTaken() throws {
        let all = try Paging().collect { page(of: 2500, step: 700, $0, $1) }
        #expect(all.instances.map(\.id) == (0..<2500).map(String.init))
        #expect(all.nextPageToken.isEmpty)
        #expect(all.totalSize == 2500)
    }

    @Test(arguments: [1, 10, 999, 1000, 1001, 2400])
    func aLimitIsReachedOverShortPagesAndNeverPassed(_ limit: Int) throws {
        let some = try Paging(limit: limit).collect { page(of: 2500, step: 7, $0, $1) }
        #expect(some.instances.count == limit)
        #expect(some.nextPageToken == String(limit))
    }

    @Test func aListThatRunsInCirclesEnds() {
        #expect(throws: CaregConnectionError.self) {
            try Paging().collect { _, _ in
                var response = Careg_V1_ListInstancesResponse()
                response.nextPageToken = "again"
                return response
            }
        }
    }
}
