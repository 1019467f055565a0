#pragma once
#include <stddef.h>
#include <stdint.h>

/* epoll, Unix sockets and eventfd, in shapes that Swift imports: no packed structs, no unions, no macros.
 * Functions that can fail return a negative errno. All descriptors are made close-on-exec. */

typedef struct {
    uint32_t events;
    uint64_t token;
} cepoll_event;

enum { cepoll_readable = 1, cepoll_writable = 2, cepoll_hung_up = 4 };

int cepoll_create(void);
/* Adds the descriptor, or changes what it is watched for: level-triggered. */
int cepoll_add(int epoll, int descriptor, uint32_t events, uint64_t token);
int cepoll_change(int epoll, int descriptor, uint32_t events, uint64_t token);
int cepoll_remove(int epoll, int descriptor);
/* At most 128 events. timeout_ms -1 waits for ever. An interrupted wait returns 0. */
int cepoll_wait(int epoll, cepoll_event *events, int capacity, int timeout_ms);

int cepoll_eventfd_create(void);
void cepoll_eventfd_signal(int descriptor);
void cepoll_eventfd_clear(int descriptor);

/* A listening stream socket at the path: nonblocking. */
int cepoll_socket_listen(const uint8_t *path, size_t length, uint32_t mode, int backlog);
/* A connected, blocking stream socket. -EAGAIN where the listener accepts nobody for 5 s. */
int cepoll_socket_connect(const uint8_t *path, size_t length);
int cepoll_socket_set_nonblocking(int descriptor);
int cepoll_socket_accept(int listener);
/* Neither ever blocks nor raises SIGPIPE. */
long cepoll_socket_receive(int descriptor, void *bytes, size_t capacity);
long cepoll_socket_send(int descriptor, const void *bytes, size_t count);
int cepoll_socket_finish_sending(int descriptor);
/* Bytes that were sent and that the peer has not read. */
long cepoll_socket_unread_by_peer(int descriptor);
/* Waits until the descriptor is readable or writable; 0 after the time. */
int cepoll_socket_poll(int descriptor, uint32_t events, int timeout_ms);
int cepoll_socket_credentials(int descriptor, uint32_t *user, uint32_t *group, int32_t *process);
/* The peer's supplementary groups: how many there are; filled in where they fit. */
int cepoll_socket_groups(int descriptor, uint32_t *groups, size_t capacity);

int cepoll_file_is_socket(const uint8_t *path, size_t length);
int cepoll_file_remove(const uint8_t *path, size_t length);
int cepoll_null_open(void);
void cepoll_close(int descriptor);
uint64_t cepoll_descriptor_limit(void);
int64_t cepoll_monotonic_nanoseconds(void);
/* The words for an errno; returns how many bytes they have. */
size_t cepoll_error_text(int error, uint8_t *text, size_t capacity);
