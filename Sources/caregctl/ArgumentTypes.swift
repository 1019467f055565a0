internal import ArgumentParser
internal import CaregProto
internal import Foundation
internal import SwiftProtobuf

/// A span of time with its unit: `90s 15m 12h 30d 2w`.
struct DurationArgument: ExpressibleByArgument, Equatable {
    let seconds: Int64

    init?(argument: String) {
        let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604_800]
        guard let last = argument.last, let unit = units[last] else { return nil }
        let digits = argument.dropLast()
        guard !digits.isEmpty, digits.allSatisfy({ $0.isASCII && $0.isNumber }), let number = Int64(digits) else {
            return nil
        }
        let (product, overflow) = number.multipliedReportingOverflow(by: unit)
        // What protobuf's Duration holds: 10,000 years.
        guard !overflow, product <= 315_576_000_000 else { return nil }
        seconds = product
    }

    var message: Google_Protobuf_Duration {
        Google_Protobuf_Duration(seconds: seconds, nanos: 0)
    }

    /// The moment that lies this far ahead, at most the end of the year 9999.
    func timestamp(after now: Date) -> Google_Protobuf_Timestamp {
        let end: Int64 = 253_402_300_799
        return Google_Protobuf_Timestamp(seconds: min(end, Int64(now.timeIntervalSince1970) + seconds), nanos: 0)
    }
}

/// A moment: RFC 3339, or unix seconds.
struct TimeArgument: ExpressibleByArgument, Equatable {
    let timestamp: Google_Protobuf_Timestamp

    init?(argument: String) {
        if let seconds = Int64(argument) {
            timestamp = Google_Protobuf_Timestamp(seconds: seconds, nanos: 0)
            return
        }
        let text = argument.uppercased()
        guard text.utf8.allSatisfy({ "0123456789-+:.TZ".utf8.contains($0) }),
            let parsed = try? Google_Protobuf_Timestamp(jsonString: "\"\(text)\"")
        else { return nil }
        timestamp = parsed
    }
}

/// A serial number as an operator types it, or its beginning. The daemon judges it.
struct SerialNumberArgument: ExpressibleByArgument, Equatable {
    let text: String

    init?(argument: String) {
        text = argument.trimmingCharacters(in: .whitespaces)
    }
}

/// How many rows a list prints at most.
struct LimitArgument: ExpressibleByArgument, Equatable {
    let count: Int

    init?(argument: String) {
        guard let count = Int(argument), count > 0 else { return nil }
        self.count = count
    }
}

enum EditionArgument: String, ExpressibleByArgument, CaseIterable {
    case standard
    case professional
    case platinum

    var message: Careg_V1_Edition {
        switch self {
        case .standard: .standard
        case .professional: .professional
        case .platinum: .platinum
        }
    }
}

enum StatusArgument: String, ExpressibleByArgument, CaseIterable {
    case active
    case inactive
    case pending

    var message: Careg_V1_Status {
        switch self {
        case .active: .active
        case .inactive: .inactive
        case .pending: .pending
        }
    }

    init?(argument: String) {
        self.init(rawValue: argument.lowercased())
    }
}

enum DeviceRegistrationArgument: String, ExpressibleByArgument, CaseIterable {
    case automatic
    case pending
    case explicit

    var message: Careg_V1_DeviceRegistration {
        switch self {
        case .automatic: .automatic
        case .pending: .pending
        case .explicit: .explicit
        }
    }
}

enum CertificateFormat: String, ExpressibleByArgument, CaseIterable {
    case pem
    case der
}
