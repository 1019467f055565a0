import Fuzzer

@testable import RegistryStore

@main struct FuzzRecord {
    /// A row as a disk may hand it back: the first byte tells the table. What was read is written with the same content.
    static func main() {
        fuzz { input in
            let content = Array(input.dropFirst())
            switch (input.first ?? 0) % 9 {
            case 0: check(InstanceRecord.self, content)
            case 1: check(CodeRecord.self, content)
            case 2: check(CaRecord.self, content)
            case 3: check(DeviceRecord.self, content)
            case 4: check(PathRecord.self, content)
            case 5: check(IntermediateRecord.self, content)
            case 6: check(ListedDevice.self, content)
            case 7: check(ChangeRecord.self, content)
            default: check(MetaRecord.self, content)
            }
        }
    }

    private static func check<Record: StoredRecord>(_: Record.Type, _ content: [UInt8]) {
        guard let record = read(Record.self, content) else { return }
        let written = write(record)
        // A serial number without a byte is zero, which is written with one.
        precondition(written.count <= content.count + 1)
        guard let again = read(Record.self, written) else { preconditionFailure("what was written is not read") }
        precondition(write(again) == written)
    }

    private static func read<Record: StoredRecord>(_: Record.Type, _ content: [UInt8]) -> Record? {
        var reader = RecordReader(content[...])
        guard let record = try? Record(from: &reader), (try? reader.end()) != nil else { return nil }
        return record
    }

    private static func write(_ record: some StoredRecord) -> [UInt8] {
        var writer = RecordWriter()
        record.encode(into: &writer)
        return writer.bytes
    }
}
