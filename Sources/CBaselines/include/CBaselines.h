#pragma once
#include <stddef.h>
#include <stdint.h>

/* What caregbench measures with and against, in plain C: a load generator for ttrpc frames, an echo server, a table.
 * Functions that can fail return a negative errno. */

/* Lets a process (0: this thread) run on one processor only; -1: on any. */
int cbaselines_pin(int process, int processor);
/* User and system time of a process, in nanoseconds. */
int64_t cbaselines_process_nanoseconds(int process);
/* Time that the hypervisor took from this machine's processors since it started, in ticks. */
int64_t cbaselines_stolen_ticks(void);
int64_t cbaselines_nanoseconds(void);

/* A connected, blocking stream socket. */
int cbaselines_connect(const char *path);
/* A child process at the other end of a socket, which answers so many bytes with so many others, a batch in one write. */
int cbaselines_echo_start(size_t request_bytes, size_t response_bytes, int *descriptor);
void cbaselines_echo_stop(int process, int descriptor);

/* Sends a Request frame and waits for the answer, count times; its stream id is set each time. The time of each goes to
 * nanoseconds, where that is not NULL. response_bytes 0: whatever comes first is the answer; returns its bytes. */
long cbaselines_round_trips(
    int descriptor, uint8_t *frame, size_t frame_bytes, size_t response_bytes, size_t count, uint32_t *stream,
    int64_t *nanoseconds);
/* Keeps so many calls outstanding on each connection until count calls are answered. frames: one after the other, used
 * in turn. good: the answers of at least least_response_bytes. spins: never sleeps, so that what it takes to wake the
 * generator is not measured; it needs a processor of its own. */
int cbaselines_pipeline(
    const int *descriptors, size_t connections, const uint8_t *frames, const size_t *frame_bytes, size_t frame_count,
    size_t least_response_bytes, size_t count, size_t outstanding, int spins, uint32_t *stream, size_t *good);

/* Open addressing with linear probing, entries of 64 bytes, the first 32 of which are a random key. */
typedef struct {
    size_t capacity;
    uint64_t *slots;
} cbaselines_table;
/* Capacity is a power of two. */
int cbaselines_table_make(cbaselines_table *table, size_t capacity);
void cbaselines_table_insert(cbaselines_table *table, const void *key);
/* 1 where the key is there. */
int cbaselines_table_find(const cbaselines_table *table, const void *key);
void cbaselines_table_free(cbaselines_table *table);

/* Two reads of the clock, as a check of a session has. */
uint64_t cbaselines_two_clocks(void);
