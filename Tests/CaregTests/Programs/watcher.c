// Reads a trust map while another process changes it, and compares each answer with a ledger that the writer keeps in
// shared memory: a word for each device, of which the lowest two bits say what is so for sure (0: refused, 2: trusted),
// or that it is being changed (1); the rest counts the changes.
//
//     watcher FOLDER LEDGER DEVICES [FILES]
//
// FILES: a folder with 0.der, 1.der, ... ; without it the certificates are texts that the writer knows. One more argument
// makes it ask the daemon for as long as a second.
//
// It ends when the ledger's last word is not 0, and prints what it has seen. An answer that contradicts the ledger is a
// violation.
#include <careg.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static careg *trust;
static uint64_t *ledger;
static long device_count;

struct seen {
    unsigned long trusted, refused, asked, stale, other, violations;
};

struct certificate {
    size_t length;
    uint8_t bytes[4096];
};

static struct certificate *certificates;

static int read_certificates(const char *folder) {
    certificates = calloc((size_t)device_count, sizeof(*certificates));
    for (long number = 0; number < device_count; number++) {
        struct certificate *certificate = &certificates[number];
        if (folder == NULL) {
            certificate->length = (size_t)snprintf(
                (char *)certificate->bytes, sizeof(certificate->bytes), "device certificate number %ld", number);
            continue;
        }
        char path[4096];
        snprintf(path, sizeof(path), "%s/%ld.der", folder, number);
        FILE *file = fopen(path, "rb");
        if (file == NULL) return 0;
        certificate->length = fread(certificate->bytes, 1, sizeof(certificate->bytes), file);
        fclose(file);
    }
    return 1;
}

static uint64_t load(const uint64_t *word) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint64_t value = __atomic_load_n(word, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return value;
}

static void count(struct seen *seen, long device, uint64_t before, uint64_t after, int code, uint32_t reason) {
    int is_yes = code == CAREG_ANSWERED && reason == CAREG_REASON_TRUSTED;
    int is_no = code == CAREG_ANSWERED && reason != CAREG_REASON_TRUSTED;
    if (is_yes) seen->trusted++;
    else if (is_no) seen->refused++;
    else if (code == CAREG_NOT_IN_MAP || code == CAREG_E_UNAVAILABLE) seen->asked++;
    else if (code == CAREG_E_STALE) seen->stale++;
    else seen->other++;
    if (before != after) return;
    if ((is_yes && (before & 3) == 0) || (is_no && (before & 3) == 2)) {
        seen->violations++;
        fprintf(stderr, "device %ld: %s %s, ledger %lu\n", device, careg_error_name(code),
                careg_reason_name(reason), (unsigned long)before);
    }
}

static void *watch(void *argument) {
    struct seen *seen = calloc(1, sizeof(*seen));
    unsigned long state = (unsigned long)(uintptr_t)argument * 2654435761u + 1;
    careg_session *sessions = calloc((size_t)device_count, sizeof(*sessions));
    char *has_session = calloc((size_t)device_count, 1);
    while (load(&ledger[device_count]) == 0) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        long device = (long)((state >> 33) % (unsigned long)device_count);
        size_t length = certificates[device].length;
        const uint8_t *der = certificates[device].bytes;
        careg_verdict verdict = CAREG_VERDICT_INIT;
        uint32_t reason = 0;
        uint64_t before = load(&ledger[device]);
        int code;
        if ((state >> 20) % 3 == 0 && has_session[device]) {
            code = careg_session_check(trust, &sessions[device], &reason);
        } else {
            code = careg_check(trust, der, length, &verdict);
            // Moving over is careg_verify's; there is no daemon here.
            if (code != CAREG_ANSWERED) code = careg_verify(trust, &der, &length, 1, &verdict);
            reason = verdict.reason;
            if (code == CAREG_ANSWERED) {
                sessions[device] = verdict.session;
                has_session[device] = 1;
            }
        }
        count(seen, device, before, load(&ledger[device]), code, reason);
    }
    free(sessions);
    free(has_session);
    return seen;
}

int main(int count_of, char **arguments) {
    if (count_of < 4) return 64;
    device_count = atol(arguments[3]);
    if (!read_certificates(count_of > 4 ? arguments[4] : NULL)) return 66;
    int file = open(arguments[2], O_RDWR);
    size_t bytes = (size_t)(device_count + 1) * sizeof(uint64_t);
    ledger = mmap(NULL, bytes, PROT_READ, MAP_SHARED, file, 0);
    if (ledger == MAP_FAILED) return 66;
    careg_options options = CAREG_OPTIONS_INIT;
    options.runtime_dir = arguments[1];
    options.instance = "plant";
    options.timeout_ms = count_of > 5 ? 1000 : 20;
    options.staleness_ms = 60000;
    if (careg_open(&options, &trust) != 0) return 1;
    puts("ready");
    fflush(stdout);
    pthread_t threads[3];
    for (long index = 0; index < 3; index++) pthread_create(&threads[index], NULL, watch, (void *)(index + 1));
    struct seen all = {0, 0, 0, 0, 0, 0};
    for (int index = 0; index < 3; index++) {
        struct seen *seen;
        pthread_join(threads[index], (void **)&seen);
        all.trusted += seen->trusted;
        all.refused += seen->refused;
        all.asked += seen->asked;
        all.stale += seen->stale;
        all.other += seen->other;
        all.violations += seen->violations;
        free(seen);
    }
    careg_close(trust);
    free(certificates);
    printf("trusted %lu refused %lu asked %lu stale %lu other %lu violations %lu\n", all.trusted, all.refused,
           all.asked, all.stale, all.other, all.violations);
    return all.violations != 0;
}
