import CTrustMap
import Testing

@Suite struct LayoutTests {
    @Test func theLayoutHasTheSizesThatReadersOfEveryLanguageCountOn() {
        #expect(MemoryLayout<trust_map_header>.size == 256)
        #expect(MemoryLayout<trust_map_instance>.size == 72)
        #expect(MemoryLayout<trust_map_path>.size == 64)
        #expect(MemoryLayout<trust_map_device>.size == 64)
        #expect(TRUST_MAP_OFFSET_STATE == 12)
        #expect(TRUST_MAP_OFFSET_EPOCH % 64 == 0)
    }
}
