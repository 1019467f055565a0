internal import ArgumentParser
internal import CaregClient
internal import CaregProto
internal import SwiftProtobuf

/// A list method's answer.
protocol ListResponse: SwiftProtobuf.Message {
    associatedtype Row
    var rows: [Row] { get set }
    var nextPageToken: String { get set }
    var totalSize: UInt32 { get set }
}

extension Careg_V1_ListInstancesResponse: ListResponse {
    var rows: [Careg_V1_Instance] {
        get { instances }
        set { instances = newValue }
    }
}

extension Careg_V1_ListRegistrationCodesResponse: ListResponse {
    var rows: [Careg_V1_RegistrationCode] {
        get { registrationCodes }
        set { registrationCodes = newValue }
    }
}

extension Careg_V1_ListCaCertificatesResponse: ListResponse {
    var rows: [Careg_V1_CaCertificate] {
        get { caCertificates }
        set { caCertificates = newValue }
    }
}

extension Careg_V1_ListDeviceCertificatesResponse: ListResponse {
    var rows: [Careg_V1_DeviceCertificate] {
        get { deviceCertificates }
        set { deviceCertificates = newValue }
    }
}

extension Careg_V1_ListAuditRecordsResponse: ListResponse {
    var rows: [Careg_V1_AuditRecord] {
        get { auditRecords }
        set { auditRecords = newValue }
    }
}

extension Careg_V1_ListRefusalsResponse: ListResponse {
    var rows: [Careg_V1_RefusalRecord] {
        get { refusals }
        set { refusals = newValue }
    }
}

extension Careg_V1_ListTrustAnchorsResponse: ListResponse {
    var rows: [Careg_V1_CaCertificate] {
        get { trustAnchors }
        set { trustAnchors = newValue }
    }
}

/// How much of a list is printed.
struct PagingOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Print this many rows at most. (default: all)", valueName: "n"))
    var limit: LimitArgument?

    @Option(help: ArgumentHelp("Go on where a list with --limit ended.", valueName: "token"))
    var pageToken: String?
}

/// Walks the pages of a list.
struct Paging {
    /// What the daemon gives at once.
    static let maximumPageSize = 1000

    var limit: Int?
    var pageToken = ""

    /// Calls for page after page until the list or the limit ends. A page may be short, or empty, although more follow.
    ///
    /// - Parameters:
    ///   - fetch: calls with a page size and a page token.
    ///   - onPage: takes each page; its `nextPageToken` is empty on the last.
    func forEachPage<Response: ListResponse>(
        fetch: (UInt32, String) throws -> Response, onPage: (Response) throws -> Void
    ) throws {
        var token = pageToken
        var remaining = limit
        while true {
            let pageSize = min(Self.maximumPageSize, remaining ?? Self.maximumPageSize)
            let page = try fetch(UInt32(pageSize), token)
            try onPage(page)
            if let left = remaining { remaining = max(0, left - page.rows.count) }
            if page.nextPageToken.isEmpty || remaining == 0 { return }
            guard page.nextPageToken != token else {
                throw CaregConnectionError.protocolViolation("a list names the same page twice")
            }
            token = page.nextPageToken
        }
    }

    /// All pages as one answer, with the last one's `nextPageToken` and `totalSize`.
    func collect<Response: ListResponse>(fetch: (UInt32, String) throws -> Response) throws -> Response {
        var all = Response()
        try forEachPage(fetch: fetch) { page in
            all.rows += page.rows
            all.nextPageToken = page.nextPageToken
            all.totalSize = page.totalSize
        }
        return all
    }

    /// Prints a list: page by page as a table, or as one JSON document.
    func printList<Response: ListResponse>(
        as output: OutputFormat, header: [String], row: (Response.Row) -> [Cell],
        fetch: (UInt32, String) throws -> Response
    ) throws {
        switch output {
        case .json: try StandardOutput.write(ProtobufJSON.encode(collect(fetch: fetch)) + "\n")
        case .table:
            var table = Table(header)
            var nextPageToken = ""
            try forEachPage(fetch: fetch) { page in
                try StandardOutput.write(table.lines(page.rows.map(row)))
                nextPageToken = page.nextPageToken
            }
            if !nextPageToken.isEmpty {
                StandardError.write(line: "there are more: --page-token \(TerminalText.escape(nextPageToken))")
            }
        }
    }
}

extension Paging {
    init(_ options: PagingOptions) {
        self.init(limit: options.limit?.count, pageToken: options.pageToken ?? "")
    }
}
