internal import CaregProto
internal import Foundation
internal import SwiftProtobuf
internal import Testing

@testable internal import caregctl

@Suite struct StatusReportTests {
    private let now = Date(timeIntervalSince1970: 1_800_000_000)

    /// A daemon of which nothing is to be said.
    private func status(_ change: (inout Careg_V1_DaemonStatus) -> Void = { _ in }) -> Careg_V1_DaemonStatus {
        var status = Careg_V1_DaemonStatus()
        status.revision = 10
        status.uptime.seconds = 3_600
        status.dataBytes = 1 << 20
        status.freeBytes = 1 << 30
        status.trustMaps = [
            .with {
                $0.file = "trust.map"
                $0.complete = true
                $0.heartbeatAge.nanos = 5
            }
        ]
        change(&status)
        return status
    }

    private func concerns(_ change: (inout Careg_V1_DaemonStatus) -> Void = { _ in }) -> [String] {
        StatusReport(status: status(change), now: now).concerns
    }

    private func limit(_ used: UInt64, of value: UInt64) -> [String] {
        concerns { status in
            status.limits = [
                .with {
                    $0.name = "instances"
                    $0.value = value
                    $0.used = used
                }
            ]
        }
    }

    private func backup(seconds: Int64, revision: UInt64) -> [String] {
        concerns {
            $0.lastBackup.time.seconds = 1_800_000_000 - seconds
            $0.lastBackup.revision = revision
        }
    }

    @Test func theFirstLineSaysThatAllIsWell() {
        #expect(concerns().isEmpty)
        #expect(StatusCommand.lines(status(), now: now, colour: false).hasPrefix("all is well\n\nversion:"))
    }

    @Test func theFirstLineSaysHowMuchIsNotWellAndTheNextOnesWhatToDo() {
        let text = StatusCommand.lines(
            status {
                $0.problems = ["The state folder's file system is full: make room.\nall is well"]
                $0.trustMaps = []
            }, now: now, colour: false)
        #expect(
            text.hasPrefix(
                """
                not all is well: 2 concerns
                - The state folder's file system is full: make room.\\u{a}all is well
                - There is no trust map: brokers ask the daemon about each device. The daemon's log says why.

                version:
                """), "\(text)")
    }

    @Test func aTrustMapThatDoesNotBeatIsStale() {
        let stale = concerns { $0.trustMaps[0].heartbeatAge.seconds = 2 }
        #expect(stale.count == 1 && stale[0].hasPrefix("trust.map is stale: its last heartbeat was 2s ago"))
        #expect(concerns { $0.trustMaps[0].heartbeatAge.seconds = 1 }.isEmpty)
        // An older daemon does not tell.
        #expect(concerns { $0.trustMaps[0].clearHeartbeatAge() }.isEmpty)
    }

    @Test func aLimitIsNearFromFourFifthsOn() {
        #expect(limit(79, of: 100).isEmpty)
        #expect(
            limit(80, of: 100) == [
                "The limit instances is near: 80 of 100 are in use (80 %). Raise it in caregd.conf, or find what takes so much."
            ])
        #expect(limit(100, of: 100)[0].contains("is reached: 100 of 100"))
        #expect(limit(818, of: 1_023).isEmpty && !limit(819, of: 1_023).isEmpty)
        #expect(limit(.max, of: .max).count == 1 && limit(0, of: 0).isEmpty && limit(0, of: 1).isEmpty)
        #expect(concerns { $0.limits = [.with { $0.value = 5 }] }.isEmpty)
    }

    @Test func tooLittleRoomForABackupIsAConcernUnlessTheDiskIsFull() {
        #expect(concerns { $0.freeBytes = (1 << 20) - 1 }.count == 1)
        #expect(concerns { $0.freeBytes = 1 << 20 }.isEmpty)
        #expect(
            concerns {
                $0.freeBytes = 1
                $0.diskFull = true
            }.isEmpty)
    }

    @Test func aBackupIsMissingAfterADayWithChanges() {
        let day: Int64 = 26 * 3_600
        #expect(backup(seconds: day - 1, revision: 1).isEmpty)
        let old = backup(seconds: day, revision: 9)
        #expect(old.count == 1 && old[0].hasPrefix("The last backup is 1d 2h old, and 1 change came since."), "\(old)")
        #expect(backup(seconds: day * 10, revision: 10).isEmpty)
        // A clock that was set back.
        #expect(backup(seconds: -day * 10, revision: 1).isEmpty)
        #expect(concerns { $0.uptime.seconds = day }[0].hasPrefix("No backup was ever taken"))
        #expect(
            concerns {
                $0.uptime.seconds = day
                $0.revision = 0
            }.isEmpty)
    }

    @Test func expiriesAreToldForEachSpan() {
        func cell(_ counts: UInt32...) -> Cell? {
            StatusReport(
                status: status {
                    $0.caExpiries = zip([0, 7, 30, 90] as [UInt32], counts).map { days, count in
                        .with {
                            $0.withinDays = days
                            $0.count = count
                        }
                    }
                }, now: now
            ).expiries
        }
        #expect(cell(1, 1, 3, 4)?.text == "1 expired, 0 within 7 days, 2 within 30 days, 3 within 90 days")
        #expect(cell(0, 0, 0, 0)?.text == "none within 90 days")
        #expect(cell() == nil)
    }
}
