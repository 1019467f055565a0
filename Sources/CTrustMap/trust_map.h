// Layout of trust.map: the file that the daemon writes and that brokers map read-only.
//
// Little-endian, natural alignment. Every change of this file, other than a comment, is a new
// TRUST_MAP_LAYOUT_VERSION: readers refuse any layout but their own. Only the first 16 bytes (magic, layout version,
// state) stay where they are for ever, so that a daemon can mark a map of any layout superseded.
//
//   header | instances (open addressing) | paths | strings | devices (open addressing)
//
// Who writes what, and when a reader may see it:
//
//   field                       written                       a reader takes it
//   header, immutable part      before the file has its name  after magic, layout, size and checksum were checked
//   state                       live at birth, superseded     first of all, in every attempt; superseded: ask
//   epoch                       odd while statuses change     before and after the words; unlike or odd: again
//   revision, heartbeat         any time                      one load
//   keys and periods of a slot  before its word               after its word was seen not to be 0
//   a device's path             before its word; then as it   between two equal, even epochs
//   word of a slot              last; then under the epoch    between two equal, even epochs
//
// A slot's key never changes and no slot gets a second key within one file: what goes keeps its slot, with a word
// that asks. The epoch of a new file is 2 and never 0 again, so that a mapping that was replaced by zeros cannot pass
// for a quiet map.
#ifndef TRUST_MAP_H
#define TRUST_MAP_H

#include <stddef.h>
#include <stdint.h>

#define TRUST_MAP_MAGIC 0x50414d5453555254ull  // "TRUSTMAP"
#define TRUST_MAP_LAYOUT_VERSION 1u

// state
#define TRUST_MAP_STATE_LIVE 1u
#define TRUST_MAP_STATE_SUPERSEDED 2u

// words: 0 is a slot that was never used; 1 to 239 is a verdict's raw reason, as in careg.h; then
#define TRUST_MAP_WORD_EMPTY 0u
#define TRUST_MAP_WORD_TRUSTED 1u
#define TRUST_MAP_WORD_DEVICE_EXPIRED 15u
#define TRUST_MAP_WORD_DEVICE_NOT_YET_VALID 16u
#define TRUST_MAP_WORD_LAST_REASON 239u
#define TRUST_MAP_WORD_ASK 255u  // known or known once, but the map cannot decide alone

#define TRUST_MAP_FIRST_EPOCH 2u

#define TRUST_MAP_INSTANCE_ID_BYTES 64u
#define TRUST_MAP_SERIAL_BYTES 256u  // text: two hex digits for each of 128 bytes
#define TRUST_MAP_PROBE_LIMIT 1024u  // slots a search looks at; what does not fit in there is not in the map
#define TRUST_MAP_TABLE_ALIGNMENT 4096u

typedef struct {
    // frozen for every layout
    uint64_t magic;
    uint32_t layout;
    uint32_t state;
    // immutable
    uint64_t generation;  // grows by one from map to map, for people
    uint64_t nonce;       // random: what tells this file from every other
    uint8_t boot_id[16];  // the boot that the heartbeat's clock counts from
    uint64_t hash_key[2];
    uint64_t file_bytes;
    uint64_t instance_offset;
    uint64_t path_offset;
    uint64_t string_offset;
    uint64_t device_offset;
    uint32_t instance_capacity;  // a power of two
    uint32_t path_capacity;
    uint32_t string_capacity;  // bytes
    uint32_t device_capacity;  // a power of two
    uint32_t longest_staleness_ms;
    uint32_t reserved0;
    uint64_t checksum;  // FNV-1a 64 of the header's bytes 0 to 11 and 16 to 127
    uint64_t reserved1[7];
    // hot: a cache line of its own
    uint64_t epoch;
    uint64_t revision;
    uint64_t heartbeat_ns;  // CLOCK_MONOTONIC
    uint64_t reserved2[5];
} trust_map_header;

typedef struct {
    uint8_t id[TRUST_MAP_INSTANCE_ID_BYTES];  // padded with zeros
    uint32_t length;
    uint32_t word;  // TRUSTED: live; ASK: deleted
} trust_map_instance;

typedef struct {
    uint64_t id;          // the registry's, never used again
    int64_t not_before;   // unix seconds, both ends included: all certificates above the device's, and the anchor
    int64_t not_after;
    uint32_t instance;    // slot
    uint32_t sn_offset;   // into the strings
    uint32_t sn_length;
    uint32_t word;
    uint64_t anchor;  // the registry's id of the CA certificate that the path ends at
    uint64_t reserved[2];
} trust_map_path;

typedef struct {
    uint64_t fingerprint[4];  // SHA-256 of the DER, its bytes as they are
    uint32_t instance;        // slot
    uint32_t path;            // slot
    int64_t not_before;       // unix seconds, both ends included: the device certificate's own
    int64_t not_after;
    uint32_t word;
    uint32_t reserved;
} trust_map_device;

#define TRUST_MAP_HEADER_BYTES 256
#define TRUST_MAP_CHECKED_BYTES 128
#define TRUST_MAP_INSTANCE_BYTES 72
#define TRUST_MAP_PATH_BYTES 64
#define TRUST_MAP_DEVICE_BYTES 64

// Offsets by name: Embedded Swift has no key paths, and atomics need addresses.
#define TRUST_MAP_OFFSET_LAYOUT 8
#define TRUST_MAP_OFFSET_STATE 12
#define TRUST_MAP_OFFSET_GENERATION 16
#define TRUST_MAP_OFFSET_NONCE 24
#define TRUST_MAP_OFFSET_BOOT_ID 32
#define TRUST_MAP_OFFSET_HASH_KEY 48
#define TRUST_MAP_OFFSET_CHECKSUM 128
#define TRUST_MAP_OFFSET_EPOCH 192
#define TRUST_MAP_OFFSET_REVISION 200
#define TRUST_MAP_OFFSET_HEARTBEAT 208
#define TRUST_MAP_INSTANCE_OFFSET_LENGTH 64
#define TRUST_MAP_INSTANCE_OFFSET_WORD 68
#define TRUST_MAP_PATH_OFFSET_NOT_BEFORE 8
#define TRUST_MAP_PATH_OFFSET_NOT_AFTER 16
#define TRUST_MAP_PATH_OFFSET_INSTANCE 24
#define TRUST_MAP_PATH_OFFSET_SN_OFFSET 28
#define TRUST_MAP_PATH_OFFSET_SN_LENGTH 32
#define TRUST_MAP_PATH_OFFSET_WORD 36
#define TRUST_MAP_DEVICE_OFFSET_INSTANCE 32
#define TRUST_MAP_DEVICE_OFFSET_PATH 36
#define TRUST_MAP_DEVICE_OFFSET_NOT_BEFORE 40
#define TRUST_MAP_DEVICE_OFFSET_NOT_AFTER 48
#define TRUST_MAP_DEVICE_OFFSET_WORD 56

#define TRUST_MAP_ASSERT(condition) _Static_assert(condition, #condition)
TRUST_MAP_ASSERT(sizeof(trust_map_header) == TRUST_MAP_HEADER_BYTES);
TRUST_MAP_ASSERT(sizeof(trust_map_instance) == TRUST_MAP_INSTANCE_BYTES);
TRUST_MAP_ASSERT(sizeof(trust_map_path) == TRUST_MAP_PATH_BYTES);
TRUST_MAP_ASSERT(sizeof(trust_map_device) == TRUST_MAP_DEVICE_BYTES);
TRUST_MAP_ASSERT(offsetof(trust_map_header, layout) == TRUST_MAP_OFFSET_LAYOUT);
TRUST_MAP_ASSERT(offsetof(trust_map_header, state) == TRUST_MAP_OFFSET_STATE);
TRUST_MAP_ASSERT(offsetof(trust_map_header, generation) == TRUST_MAP_OFFSET_GENERATION);
TRUST_MAP_ASSERT(offsetof(trust_map_header, nonce) == TRUST_MAP_OFFSET_NONCE);
TRUST_MAP_ASSERT(offsetof(trust_map_header, boot_id) == TRUST_MAP_OFFSET_BOOT_ID);
TRUST_MAP_ASSERT(offsetof(trust_map_header, hash_key) == TRUST_MAP_OFFSET_HASH_KEY);
TRUST_MAP_ASSERT(offsetof(trust_map_header, checksum) == TRUST_MAP_OFFSET_CHECKSUM);
TRUST_MAP_ASSERT(TRUST_MAP_CHECKED_BYTES == TRUST_MAP_OFFSET_CHECKSUM);
TRUST_MAP_ASSERT(offsetof(trust_map_header, epoch) == TRUST_MAP_OFFSET_EPOCH);
TRUST_MAP_ASSERT(TRUST_MAP_OFFSET_EPOCH % 64 == 0);
TRUST_MAP_ASSERT(offsetof(trust_map_header, revision) == TRUST_MAP_OFFSET_REVISION);
TRUST_MAP_ASSERT(offsetof(trust_map_header, heartbeat_ns) == TRUST_MAP_OFFSET_HEARTBEAT);
TRUST_MAP_ASSERT(offsetof(trust_map_instance, length) == TRUST_MAP_INSTANCE_OFFSET_LENGTH);
TRUST_MAP_ASSERT(offsetof(trust_map_instance, word) == TRUST_MAP_INSTANCE_OFFSET_WORD);
TRUST_MAP_ASSERT(offsetof(trust_map_path, not_before) == TRUST_MAP_PATH_OFFSET_NOT_BEFORE);
TRUST_MAP_ASSERT(offsetof(trust_map_path, not_after) == TRUST_MAP_PATH_OFFSET_NOT_AFTER);
TRUST_MAP_ASSERT(offsetof(trust_map_path, instance) == TRUST_MAP_PATH_OFFSET_INSTANCE);
TRUST_MAP_ASSERT(offsetof(trust_map_path, sn_offset) == TRUST_MAP_PATH_OFFSET_SN_OFFSET);
TRUST_MAP_ASSERT(offsetof(trust_map_path, sn_length) == TRUST_MAP_PATH_OFFSET_SN_LENGTH);
TRUST_MAP_ASSERT(offsetof(trust_map_path, word) == TRUST_MAP_PATH_OFFSET_WORD);
TRUST_MAP_ASSERT(offsetof(trust_map_device, instance) == TRUST_MAP_DEVICE_OFFSET_INSTANCE);
TRUST_MAP_ASSERT(offsetof(trust_map_device, path) == TRUST_MAP_DEVICE_OFFSET_PATH);
TRUST_MAP_ASSERT(offsetof(trust_map_device, not_before) == TRUST_MAP_DEVICE_OFFSET_NOT_BEFORE);
TRUST_MAP_ASSERT(offsetof(trust_map_device, not_after) == TRUST_MAP_DEVICE_OFFSET_NOT_AFTER);
TRUST_MAP_ASSERT(offsetof(trust_map_device, word) == TRUST_MAP_DEVICE_OFFSET_WORD);
TRUST_MAP_ASSERT(TRUST_MAP_OFFSET_STATE % 4 == 0 && TRUST_MAP_INSTANCE_BYTES % 8 == 0);

#endif
