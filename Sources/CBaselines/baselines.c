#define _GNU_SOURCE
#include "CBaselines.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int cbaselines_pin(int process, int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (processor >= 0)
        CPU_SET(processor, &set);
    else
        for (int index = 0; index < CPU_SETSIZE; index++) CPU_SET(index, &set);
    return sched_setaffinity(process, sizeof(set), &set) == 0 ? 0 : -errno;
}

static int64_t nanoseconds_of(const struct timespec *time) {
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

int64_t cbaselines_process_nanoseconds(int process) {
    clockid_t clock;
    int code = clock_getcpuclockid(process, &clock);
    if (code != 0) return -code;
    struct timespec time;
    return clock_gettime(clock, &time) == 0 ? nanoseconds_of(&time) : -errno;
}

int64_t cbaselines_stolen_ticks(void) {
    FILE *file = fopen("/proc/stat", "r");
    if (file == NULL) return 0;
    long long values[8] = {0};
    int found = fscanf(
        file, "cpu %lld %lld %lld %lld %lld %lld %lld %lld", &values[0], &values[1], &values[2], &values[3], &values[4],
        &values[5], &values[6], &values[7]);
    fclose(file);
    return found == 8 ? values[7] : 0;
}

int64_t cbaselines_nanoseconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return nanoseconds_of(&time);
}

int cbaselines_connect(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -errno;
    if (connect(descriptor, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        int code = errno;
        close(descriptor);
        return -code;
    }
    return descriptor;
}

static int send_all(int descriptor, const uint8_t *bytes, size_t count) {
    while (count > 0) {
        ssize_t sent = send(descriptor, bytes, count, MSG_NOSIGNAL);
        if (sent <= 0) return sent < 0 ? -errno : -EPIPE;
        bytes += sent;
        count -= (size_t)sent;
    }
    return 0;
}

// MARK: Echo

enum { buffer_bytes = 1 << 16 };

static void echo(int descriptor, size_t request_bytes, size_t response_bytes) {
    size_t most = buffer_bytes / request_bytes + 2;
    uint8_t *input = malloc(buffer_bytes);
    uint8_t *answers = calloc(most, response_bytes);
    if (input == NULL || answers == NULL) return;
    size_t pending = 0;
    for (;;) {
        ssize_t count = recv(descriptor, input, buffer_bytes, 0);
        if (count <= 0) return;
        pending += (size_t)count;
        size_t whole = pending / request_bytes;
        pending -= whole * request_bytes;
        // A header that says how long it is, for the generator reads headers.
        for (size_t index = 0; index < whole; index++) {
            uint32_t length = (uint32_t)(response_bytes - 10);
            uint8_t *answer = answers + index * response_bytes;
            answer[0] = (uint8_t)(length >> 24);
            answer[1] = (uint8_t)(length >> 16);
            answer[2] = (uint8_t)(length >> 8);
            answer[3] = (uint8_t)length;
        }
        if (whole > 0 && send_all(descriptor, answers, whole * response_bytes) != 0) return;
    }
}

int cbaselines_echo_start(size_t request_bytes, size_t response_bytes, int *descriptor) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return -errno;
    int process = fork();
    if (process < 0) return -errno;
    if (process == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[0]);
        echo(ends[1], request_bytes, response_bytes);
        _exit(0);
    }
    close(ends[1]);
    *descriptor = ends[0];
    return process;
}

void cbaselines_echo_stop(int process, int descriptor) {
    close(descriptor);
    waitpid(process, NULL, 0);
}

// MARK: Load

static void stamp(uint8_t *frame, uint32_t *stream) {
    uint32_t id = *stream;
    frame[4] = (uint8_t)(id >> 24);
    frame[5] = (uint8_t)(id >> 16);
    frame[6] = (uint8_t)(id >> 8);
    frame[7] = (uint8_t)id;
    *stream = id + 2;
}

long cbaselines_round_trips(
    int descriptor, uint8_t *frame, size_t frame_bytes, size_t response_bytes, size_t count, uint32_t *stream,
    int64_t *nanoseconds) {
    uint8_t buffer[8192];
    long last = 0;
    for (size_t index = 0; index < count; index++) {
        int64_t start = cbaselines_nanoseconds();
        stamp(frame, stream);
        int code = send_all(descriptor, frame, frame_bytes);
        if (code != 0) return code;
        size_t received = 0;
        do {
            ssize_t read = recv(descriptor, buffer, sizeof(buffer), 0);
            if (read <= 0) return read < 0 ? -errno : -EPIPE;
            received += (size_t)read;
        } while (received < (response_bytes == 0 ? 10 : response_bytes));
        last = (long)received;
        if (nanoseconds != NULL) nanoseconds[index] = cbaselines_nanoseconds() - start;
    }
    return last;
}

typedef struct {
    size_t outstanding;
    // Of the answer that is being read.
    uint8_t header[10];
    size_t header_bytes;
    size_t rest;
    size_t length;
} lane;

// Counts the answers in what was received.
static size_t answers(lane *lane, const uint8_t *bytes, size_t count, size_t least, size_t *good) {
    size_t found = 0;
    while (count > 0) {
        if (lane->header_bytes < 10) {
            size_t taken = 10 - lane->header_bytes < count ? 10 - lane->header_bytes : count;
            memcpy(lane->header + lane->header_bytes, bytes, taken);
            lane->header_bytes += taken;
            bytes += taken;
            count -= taken;
            if (lane->header_bytes < 10) break;
            lane->length = (size_t)lane->header[0] << 24 | (size_t)lane->header[1] << 16 |
                           (size_t)lane->header[2] << 8 | lane->header[3];
            lane->rest = lane->length;
        }
        size_t taken = lane->rest < count ? lane->rest : count;
        lane->rest -= taken;
        bytes += taken;
        count -= taken;
        if (lane->rest == 0) {
            lane->header_bytes = 0;
            found++;
            if (lane->length + 10 >= least) (*good)++;
        }
    }
    return found;
}

int cbaselines_pipeline(
    const int *descriptors, size_t connections, const uint8_t *frames, const size_t *frame_bytes, size_t frame_count,
    size_t least_response_bytes, size_t count, size_t outstanding, int spins, uint32_t *stream, size_t *good) {
    lane *lanes = calloc(connections, sizeof(lane));
    struct pollfd *polled = calloc(connections, sizeof(struct pollfd));
    const uint8_t **starts = calloc(frame_count, sizeof(uint8_t *));
    uint8_t *input = malloc(buffer_bytes);
    uint8_t *output = NULL;
    size_t longest = 0;
    const uint8_t *start = frames;
    int code = -ENOMEM;
    if (lanes == NULL || polled == NULL || starts == NULL || input == NULL) goto end;
    for (size_t index = 0; index < frame_count; index++) {
        starts[index] = start;
        start += frame_bytes[index];
        if (frame_bytes[index] > longest) longest = frame_bytes[index];
    }
    output = malloc(longest * outstanding);
    if (output == NULL) goto end;
    for (size_t index = 0; index < connections; index++) {
        polled[index].fd = descriptors[index];
        polled[index].events = POLLIN;
    }
    size_t started = 0;
    size_t answered = 0;
    *good = 0;
    code = 0;
    while (answered < count) {
        for (size_t index = 0; index < connections; index++) {
            lane *lane = &lanes[index];
            size_t bytes = 0;
            while (started < count && lane->outstanding < outstanding) {
                const size_t next = started % frame_count;
                memcpy(output + bytes, starts[next], frame_bytes[next]);
                stamp(output + bytes, stream);
                bytes += frame_bytes[next];
                lane->outstanding++;
                started++;
            }
            if (bytes > 0 && (code = send_all(descriptors[index], output, bytes)) != 0) goto end;
        }
        if (!spins && connections > 1 && poll(polled, (nfds_t)connections, 30000) <= 0) {
            code = -ETIMEDOUT;
            goto end;
        }
        for (size_t index = 0; index < connections; index++) {
            if (!spins && connections > 1 && polled[index].revents == 0) continue;
            ssize_t read = recv(descriptors[index], input, buffer_bytes, spins ? MSG_DONTWAIT : 0);
            if (read < 0 && errno == EAGAIN) continue;
            if (read <= 0) {
                code = read < 0 ? -errno : -EPIPE;
                goto end;
            }
            size_t found = answers(&lanes[index], input, (size_t)read, least_response_bytes, good);
            lanes[index].outstanding -= found;
            answered += found;
        }
    }
end:
    free(lanes);
    free(polled);
    free(starts);
    free(input);
    free(output);
    return code;
}

// MARK: Table

enum { slot_words = 8 };

int cbaselines_table_make(cbaselines_table *table, size_t capacity) {
    table->capacity = capacity;
    table->slots = calloc(capacity, slot_words * sizeof(uint64_t));
    return table->slots == NULL ? -ENOMEM : 0;
}

static uint64_t *find(const cbaselines_table *table, const void *key, int *is_there) {
    uint64_t first;
    memcpy(&first, key, sizeof(first));
    size_t slot = (size_t)first & (table->capacity - 1);
    for (;;) {
        uint64_t *entry = table->slots + slot * slot_words;
        if (entry[7] == 0 || memcmp(entry, key, 32) == 0) {
            *is_there = entry[7] != 0;
            return entry;
        }
        slot = (slot + 1) & (table->capacity - 1);
    }
}

void cbaselines_table_insert(cbaselines_table *table, const void *key) {
    int is_there;
    uint64_t *entry = find(table, key, &is_there);
    memcpy(entry, key, 32);
    entry[7] = 1;
}

int cbaselines_table_find(const cbaselines_table *table, const void *key) {
    int is_there;
    find(table, key, &is_there);
    return is_there;
}

void cbaselines_table_free(cbaselines_table *table) {
    free(table->slots);
    table->slots = NULL;
}

uint64_t cbaselines_two_clocks(void) {
    struct timespec real;
    struct timespec monotonic;
    clock_gettime(CLOCK_REALTIME, &real);
    clock_gettime(CLOCK_MONOTONIC, &monotonic);
    return (uint64_t)(real.tv_sec ^ monotonic.tv_nsec);
}
