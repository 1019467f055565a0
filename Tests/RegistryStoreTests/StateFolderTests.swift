import Glibc
import RegistryStore
import Testing

/// What a state folder takes for a registry, and what it never does.
@Suite struct StateFolderTests {
    /// A folder of its own for each test, gone with it.
    final class Place {
        let path: String

        init() throws {
            var template = Array("/tmp/careg-store-XXXXXX".utf8CString)
            try #require(unsafe mkdtemp(&template) != nil)
            path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }

        deinit { removeTree(path) }

        var state: String { path + "/state" }
        var dataFile: String { state + "/registry.mdb" }

        func open(region: String? = nil, historyID: String = String(repeating: "a", count: 32)) throws -> Opened {
            let folder = try StateFolder(path: state, creates: true)
            let store = try folder.openRegistry(
                region: region, newHistoryID: { historyID }, isSound: { _ in false })
            return Opened(folder: folder, store: store)
        }
    }

    struct Opened {
        let folder: StateFolder
        let store: Store

        func createInstance(_ id: String) throws {
            try store.write { transaction in
                let record = try transaction.insertInstance(
                    id: id, edition: .platinum, createTime: now, revision: try transaction.revision().next)
                try transaction.append(
                    ChangeRecord(
                        kind: .instanceCreated, time: now, method: "CreateInstance", caller: caller,
                        instanceID: record.id))
            }
        }

        var identity: Store.Identity {
            get throws { try store.read { try $0.identity() } }
        }
    }

    @Test func aFolderThatIsMissingIsMadeForThisUserAloneAndHoldsANewRegistry() throws {
        let place = try Place()
        let opened = try place.open()
        var status = stat()
        #expect(unsafe stat(place.state, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o700)
        #expect(try opened.identity.region == "default")
        #expect(try opened.folder.marker()?.historyID == opened.identity.historyID)
    }

    @Test func aRegistryIsFoundAgainWhateverRegionIsLeftOut() throws {
        let place = try Place()
        do {
            let opened = try place.open(region: "north")
            try opened.createInstance("plant")
        }
        let again = try place.open()
        #expect(try again.identity.region == "north")
        #expect(try again.store.read { try $0.instance("plant") } != nil)
    }

    @Test func aSecondOneOnTheSameFolderIsRefusedAndTheFirstGoesOn() throws {
        let place = try Place()
        let opened = try place.open()
        let fault = #expect(throws: StateFault.self) { try StateFolder(path: place.state, creates: true) }
        guard case .locked = fault else { throw Unexpected(fault) }
        try opened.createInstance("plant")
    }

    enum Damage: CaseIterable {
        case missing, empty, cut, foreign, headOnly
    }

    @Test(arguments: Damage.allCases)
    func aDataFileThatIsNotWholeIsNeverTakenForANewRegistry(damage: Damage) throws {
        let place = try Place()
        do {
            try place.open().createInstance("plant")
        }
        var status = stat()
        try #require(unsafe stat(place.dataFile, &status) == 0)
        switch damage {
        case .missing: unsafe unlink(place.dataFile)
        case .empty: unsafe truncate(place.dataFile, 0)
        case .cut: unsafe truncate(place.dataFile, status.st_size / 2)
        case .headOnly: unsafe truncate(place.dataFile, 4_096)
        case .foreign: try overwrite(place.dataFile, with: [UInt8](repeating: 0x41, count: Int(status.st_size)))
        }
        let fault = #expect(throws: StateFault.self) { try place.open() }
        switch (fault, damage) {
        case (.dataMissing, .missing), (.dataEmpty, .empty), (.dataCut, .cut), (.dataCut, .headOnly),
            (.dataForeign, .foreign):
            break
        default: throw Unexpected(fault)
        }
        #expect(fault?.description.contains("caregd restore") == true, "it says what to do")
    }

    @Test func aFileThatIsShorterThanItsPagesIsGoodWhereAWalkSaysSo() throws {
        let place = try Place()
        do {
            try place.open().createInstance("plant")
        }
        var status = stat()
        try #require(unsafe stat(place.dataFile, &status) == 0)
        unsafe truncate(place.dataFile, status.st_size - 1)
        let folder = try StateFolder(path: place.state, creates: false)
        var walked: [String] = []
        try folder.requireDataFile { file in
            walked.append(file)
            return true
        }
        #expect(walked == [place.dataFile])
    }

    @Test func aRegistryOfAnotherRegionIsRefused() throws {
        let place = try Place()
        do {
            _ = try place.open(region: "north")
        }
        let fault = #expect(throws: StateFault.self) { try place.open(region: "south") }
        guard case .otherRegion(_, "north", "south") = fault else { throw Unexpected(fault) }
    }

    @Test func aDataFileOfAnotherHistoryIsRefused() throws {
        let place = try Place()
        let other = try Place()
        do {
            try place.open().createInstance("plant")
            try other.open(historyID: String(repeating: "b", count: 32)).createInstance("plant")
        }
        try overwrite(place.dataFile, with: try contents(of: other.dataFile))
        let fault = #expect(throws: StateFault.self) { try place.open() }
        guard case .otherHistory = fault else { throw Unexpected(fault) }
    }

    @Test func anOldCopyOfTheDataFileIsRefused() throws {
        let place = try Place()
        var old: [UInt8] = []
        do {
            let opened = try place.open()
            try opened.createInstance("first")
        }
        old = try contents(of: place.dataFile)
        do {
            let opened = try place.open()
            try opened.createInstance("second")
            try opened.folder.noteRevision(of: opened.store)
        }
        try overwrite(place.dataFile, with: old)
        let fault = #expect(throws: StateFault.self) { try place.open() }
        guard case .older(_, Revision(1), Revision(2)) = fault else { throw Unexpected(fault) }
    }

    @Test func aMarkerThatCannotBeReadIsNoReasonToBeginAnew() throws {
        let place = try Place()
        do {
            _ = try place.open()
        }
        try overwrite(place.state + "/registry.id", with: Array("?".utf8))
        unsafe unlink(place.dataFile)
        let fault = #expect(throws: StateFault.self) { try place.open() }
        guard case .markerDamaged = fault else { throw Unexpected(fault) }
    }

    @Test func aRestoreGoesOnAboveBothRevisionsInANewHistoryAndKeepsTheOldState() throws {
        let place = try Place()
        let copy = place.path + "/copy"
        do {
            let opened = try place.open()
            try opened.createInstance("first")
            let file = unsafe open(copy, O_WRONLY | O_CREAT | O_EXCL, 0o600)
            defer { close(file) }
            try opened.store.copy(to: file)
            for number in 0..<4 { try opened.createInstance("later-\(number)") }
        }
        let folder = try StateFolder(path: place.state, creates: false)
        try folder.takeIn(copy)
        let fresh = String(repeating: "c", count: 32)
        let report: RestoreReport
        var lines: [String] = []
        do {
            let former = try Store(path: place.dataFile, creating: nil, isReadOnly: true)
            let incoming = try Store(path: folder.incomingFile, creating: nil)
            try RestoreComparison.run(former: former, incoming: incoming) { lines.append($0) }
            report = try incoming.write {
                try $0.becomePresent(above: Revision(5), historyID: fresh, time: now, caller: caller)
            }
        }
        #expect(lines == (0..<4).map { "instance later-\($0): is no more" })
        #expect(report.revision == Revision(6))
        let kept = try folder.replaceData(
            with: Store.Identity(region: "default", historyID: fresh), revision: report.revision, time: now)
        let keptFolder = try #require(kept)
        #expect(try DataFile.condition(path: keptFolder + "/registry.mdb") == .whole)

        let store = try folder.openRegistry(region: nil, newHistoryID: { "" }, isSound: { _ in false })
        #expect(try store.read { try $0.identity() }.historyID == fresh)
        #expect(try store.read { try $0.revision() } == Revision(6))
        #expect(try store.read { try $0.lastChange() }?.kind == .registryRestored)
        #expect(try store.check().isSound)
    }
}

private struct Unexpected: Error, CustomStringConvertible {
    let description: String

    init(_ value: (any Error)?) { description = "unexpected: \(value.map { "\($0)" } ?? "nothing")" }
}

private let now = WallTime(milliseconds: 1_800_000_000_000)
private let caller = Caller(userID: 1, groupID: 2, processID: 3)

private func contents(of path: String) throws -> [UInt8] {
    try #require(try Files.read(path, limit: 1 << 30))
}

private func overwrite(_ path: String, with bytes: [UInt8]) throws {
    let file = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    try #require(file >= 0)
    defer { close(file) }
    try Files.write(bytes, to: file, path: path)
}

private func removeTree(_ path: String) {
    guard let folder = unsafe opendir(path) else {
        unsafe unlink(path)
        return
    }
    var names: [String] = []
    while let entry = unsafe readdir(folder) {
        let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
            unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
        }
        if name != ".", name != ".." { names.append(name) }
    }
    unsafe closedir(folder)
    for name in names { removeTree("\(path)/\(name)") }
    unsafe rmdir(path)
}
