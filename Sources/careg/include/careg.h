// careg.h: is this device certificate trusted, now? The fast path of caregd for brokers on the same host.
//
// A broker opens one handle for each of its instances and keeps it as long as it runs:
//
//     careg_options options = CAREG_OPTIONS_INIT;
//     options.instance = "plant-7";
//     careg *trust;
//     if (careg_open(&options, &trust) != 0) ...
//
//     // at connect: the certificates as the device sent them, its own first
//     careg_verdict verdict = CAREG_VERDICT_INIT;
//     int code = careg_verify(trust, chain, lengths, count, &verdict);
//     bool is_trusted = code == CAREG_ANSWERED && verdict.reason == CAREG_REASON_TRUSTED;
//     client->trust = verdict.session;
//
//     // with every message
//     uint32_t reason;
//     int code = careg_session_check(trust, &client->trust, &reason);
//     if (code != CAREG_ANSWERED) code = careg_verify(...);  // the map does not say: ask
//
// All functions but careg_close may be called from any number of threads with one handle. The library starts no
// thread, installs no signal handler, raises no signal, writes nothing anywhere, and never ends its process. A process
// that forks after careg_open may go on using the handle on both sides: the child makes connections of its own.
// A handle holds no lock while it waits for the daemon.
//
// When a mutating call of the registry has returned (Unregister, for instance), no answer that these functions give to
// a call begun after that contradicts it.
#ifndef CAREG_H
#define CAREG_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// MARK: Return values

// The question was answered: see `reason`.
#define CAREG_ANSWERED 0
// careg_check and careg_session_check only: the map does not say, which is never a no. Ask with careg_verify.
#define CAREG_NOT_IN_MAP 1

// An argument is NULL, out of range, or of an unknown size.
#define CAREG_E_ARGUMENT (-1)
// No memory.
#define CAREG_E_MEMORY (-2)
// The trust map has had no sign of life of the daemon for longer than the staleness limit, and the daemon did not
// answer (careg_verify) or was not asked (the others).
#define CAREG_E_STALE (-3)
// No daemon answers at broker.sock.
#define CAREG_E_UNAVAILABLE (-4)
// The daemon did not answer within `timeout_ms`.
#define CAREG_E_TIMEOUT (-5)
// This process may not ask for this instance, may not connect to broker.sock, or may not read the trust map.
#define CAREG_E_DENIED (-6)
// What answers at broker.sock does not speak the protocol.
#define CAREG_E_PROTOCOL (-7)
// The daemon answered that it failed; its log tells why.
#define CAREG_E_FAULT (-8)
// The trust map is of another layout version: daemon and library do not belong together.
#define CAREG_E_LAYOUT (-9)
// What stands at the trust map's place is no trust map.
#define CAREG_E_FOREIGN (-10)
// The trust map is shorter than its header says.
#define CAREG_E_TRUNCATED (-11)
// The trust map's header contradicts itself.
#define CAREG_E_DAMAGED (-12)
// A system call failed that should not.
#define CAREG_E_SYSTEM (-13)

// MARK: Reasons

// Why a device certificate is trusted, or why not: the numbers of careg.v1.Reason. A later daemon may know more of
// them: whatever is not CAREG_REASON_TRUSTED is a no.
enum {
    CAREG_REASON_TRUSTED = 1,
    CAREG_REASON_INSTANCE_UNKNOWN = 2,
    CAREG_REASON_CERTIFICATE_MALFORMED = 3,
    CAREG_REASON_CERTIFICATE_TOO_LARGE = 4,
    CAREG_REASON_ALGORITHM_NOT_ALLOWED = 5,
    CAREG_REASON_CA_UNKNOWN = 6,
    CAREG_REASON_CA_OF_ANOTHER_INSTANCE = 7,
    CAREG_REASON_CA_INACTIVE = 8,
    CAREG_REASON_CA_EXPIRED = 9,
    CAREG_REASON_CA_NOT_YET_VALID = 10,
    CAREG_REASON_SIGNATURE_INVALID = 11,
    CAREG_REASON_CHAIN_INVALID = 12,
    CAREG_REASON_NAME_NOT_PERMITTED = 13,
    CAREG_REASON_USAGE_NOT_ALLOWED = 14,
    CAREG_REASON_DEVICE_EXPIRED = 15,
    CAREG_REASON_DEVICE_NOT_YET_VALID = 16,
    CAREG_REASON_DEVICE_INACTIVE = 17,
    CAREG_REASON_DEVICE_PENDING = 18,
    CAREG_REASON_DEVICE_NOT_REGISTERED = 19,
    CAREG_REASON_DEVICE_DELETED = 20,
    CAREG_REASON_DEVICE_SERIAL_REUSED = 21
};

// MARK: Types

// An open fast path: one instance of one region's registry.
typedef struct careg careg;

// What careg_open is told. Set `size`, or begin with CAREG_OPTIONS_INIT: a later library then knows what it was given.
// What is 0 or NULL takes the default. Nothing is kept of the strings after careg_open.
typedef struct careg_options {
    size_t size;              // sizeof(careg_options)
    const char *runtime_dir;  // the daemon's runtime folder; default /run/caregd
    const char *instance;     // the instance's id; required
    uint32_t staleness_ms;    // how old the map's last sign of life may be, 1 to 3600000; default 5000. The daemon's
                              // configuration may limit it further
    uint32_t timeout_ms;      // how long careg_verify may wait for the daemon, 1 to 60000; default 1000
    const char *map;          // the map's file name in the runtime folder. Default: trust.map, or, where that does not
                              // hold the instance, whichever trust.GROUP.map this process may read and does
} careg_options;

#define CAREG_OPTIONS_INIT {sizeof(careg_options), NULL, NULL, 0, 0, NULL}

// What a session was trusted on: copy it beside the client, as it is. Its contents are the library's own. It speaks of
// the handle's instance only, outlives the daemon and the map, and stays good until the handle is closed.
typedef struct careg_session {
    uint64_t opaque[10];
} careg_session;

// Room for a CA certificate's serial number in text, and a NUL.
#define CAREG_SN_SIZE 264

// Where a verdict comes from.
enum {
    CAREG_SOURCE_MAP = 1,    // the trust map, without a call to anyone
    CAREG_SOURCE_DAEMON = 2  // the daemon
};

// An answer. Set `size`, or begin with CAREG_VERDICT_INIT. All other fields are set by an answered call only.
typedef struct careg_verdict {
    size_t size;              // sizeof(careg_verdict)
    uint32_t reason;          // CAREG_REASON_TRUSTED, or why not
    uint32_t source;          // CAREG_SOURCE_MAP or CAREG_SOURCE_DAEMON
    int64_t valid_until;      // unix seconds: the first moment at which time alone ends a yes; 0 where it does not
    uint64_t revision;        // the registry's revision that this speaks of
    char ca_sn[CAREG_SN_SIZE];  // serial number of the CA certificate: lowercase hex; empty where there is none
    careg_session session;    // for careg_session_check
} careg_verdict;

#define CAREG_VERDICT_INIT {sizeof(careg_verdict), 0, 0, 0, 0, {0}, {{0}}}

// Certificates that careg_verify takes at most. The daemon refuses chains of more than 16 with a verdict.
#define CAREG_CHAIN_LIMIT 64

// MARK: Functions

// Opens the fast path of an instance.
//
// It does not need a running daemon, a map, or a registered instance: what is missing is looked for again by every
// careg_verify. The file descriptors that it uses are closed on exec.
//
// Returns 0 and a handle in `*out`, to be closed with careg_close; or CAREG_E_ARGUMENT (an unknown size, an instance id
// that cannot be one, a number out of range, a path of the socket with more than 107 bytes), CAREG_E_MEMORY; `*out` is
// NULL then.
int careg_open(const careg_options *options, careg **out);

// Looks a device certificate up in the trust map: its SHA-256 and a few loads, no system call, no heap, no wait.
//
// `der` is the device certificate's DER of `length` bytes. A hit says exactly what Verify would say at that moment.
//
// Returns CAREG_ANSWERED; CAREG_NOT_IN_MAP, which is never a no: not known, not to be decided from the map alone, or
// the map is being replaced; CAREG_E_STALE; CAREG_E_ARGUMENT; or why there is no map to look in: CAREG_E_DENIED,
// CAREG_E_LAYOUT, CAREG_E_FOREIGN, CAREG_E_TRUNCATED, CAREG_E_DAMAGED, CAREG_E_MEMORY, CAREG_E_SYSTEM (no file at all
// is CAREG_NOT_IN_MAP). Whatever is not CAREG_ANSWERED: ask with careg_verify.
int careg_check(careg *handle, const uint8_t *der, size_t length, careg_verdict *out);

// Decides on a device certificate: from the trust map, else by asking the daemon at broker.sock, which registers the
// device where its CA certificate says so.
//
// `chain` holds `count` DER certificates of `lengths` bytes: the device's own first, then any others that it sent, in
// any order. The map decides only where the others are in the shape of certificates and within the default limits (16
// certificates, 65,536 bytes each, 262,144 together); otherwise the daemon says what is wrong. It also opens the map, or moves over to the one that takes the place of one that is superseded.
//
// It takes `timeout_ms` at most. Where the daemon refuses connections it returns at once, unless the map says that
// another daemon is starting: then it tries again until its time is over. A daemon that does not answer is left alone
// for some time, which grows from 10 ms to 1 s (to 5 s after a timeout), unless the map shows a sign of life.
//
// Returns CAREG_ANSWERED; CAREG_E_STALE (the map has had no sign of life for longer than the staleness limit, and the
// daemon did not answer: the default is to refuse; a device that the map bars has been answered with that reason);
// CAREG_E_UNAVAILABLE, CAREG_E_TIMEOUT, CAREG_E_DENIED, CAREG_E_PROTOCOL, CAREG_E_FAULT; CAREG_E_ARGUMENT;
// CAREG_E_MEMORY; CAREG_E_SYSTEM. Only CAREG_ANSWERED with CAREG_REASON_TRUSTED is a yes.
int careg_verify(
    careg *handle, const uint8_t *const *chain, const size_t *lengths, size_t count, careg_verdict *out);

// Tells the present reason of a session: is what was trusted at connect still trusted? Two reads of the clock and a few
// loads: cheap enough for every message.
//
// Returns CAREG_ANSWERED and `*reason`; CAREG_NOT_IN_MAP, where careg_verify with the certificate gives an answer and
// the next session; CAREG_E_STALE; CAREG_E_ARGUMENT (also for a session that no verdict gave).
int careg_session_check(const careg *handle, const careg_session *session, uint32_t *reason);

// Tells whether anything has changed: for brokers that look for sessions to end.
//
// As long as `*statuses` stays the same, no session whose verdict came from the map has got another answer, other than
// through the passing of its `valid_until`; as long as `*revision` stays the same too, no session at all. Neither number
// means anything else. Either pointer may be NULL.
//
// Returns 0; CAREG_NOT_IN_MAP where there is no map; CAREG_E_STALE; CAREG_E_ARGUMENT. The numbers are set in any case but
// the last, and differ from those of a good map.
int careg_changes(const careg *handle, uint64_t *statuses, uint64_t *revision);

// Closes a handle, and all that it holds. No other call may be using it, and none may after that. NULL is fine.
void careg_close(careg *handle);

// The name of a reason, without its prefix: "CA_INACTIVE"; "UNKNOWN" for a number that is none. Never NULL, never freed.
const char *careg_reason_name(uint32_t reason);

// The name of a return value: "CAREG_E_STALE"; "CAREG_E_UNKNOWN" for a number that is none. Never NULL, never freed.
const char *careg_error_name(int code);

// The library's version: "1.0.0". Never NULL, never freed.
const char *careg_version(void);

#ifdef __cplusplus
}
#endif

#endif
