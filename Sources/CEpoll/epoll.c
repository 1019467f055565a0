#define _GNU_SOURCE
#include "CEpoll.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static uint32_t mask(uint32_t events) {
    return ((events & cepoll_readable) ? EPOLLIN : 0) | ((events & cepoll_writable) ? EPOLLOUT : 0);
}

int cepoll_create(void) {
    int descriptor = epoll_create1(EPOLL_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}

static int control(int epoll, int operation, int descriptor, uint32_t events, uint64_t token) {
    struct epoll_event event = {.events = mask(events), .data.u64 = token};
    return epoll_ctl(epoll, operation, descriptor, &event) < 0 ? -errno : 0;
}

int cepoll_add(int epoll, int descriptor, uint32_t events, uint64_t token) {
    return control(epoll, EPOLL_CTL_ADD, descriptor, events, token);
}

int cepoll_change(int epoll, int descriptor, uint32_t events, uint64_t token) {
    return control(epoll, EPOLL_CTL_MOD, descriptor, events, token);
}

int cepoll_remove(int epoll, int descriptor) {
    return control(epoll, EPOLL_CTL_DEL, descriptor, 0, 0);
}

int cepoll_wait(int epoll, cepoll_event *events, int capacity, int timeout_ms) {
    struct epoll_event raw[128];
    int count = epoll_wait(epoll, raw, capacity < 128 ? capacity : 128, timeout_ms);
    if (count < 0) return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < count; i++) {
        uint32_t bits = raw[i].events;
        events[i].events = ((bits & EPOLLIN) ? cepoll_readable : 0) | ((bits & EPOLLOUT) ? cepoll_writable : 0)
            | ((bits & (EPOLLHUP | EPOLLERR)) ? cepoll_hung_up : 0);
        events[i].token = raw[i].data.u64;
    }
    return count;
}

int cepoll_eventfd_create(void) {
    int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return descriptor < 0 ? -errno : descriptor;
}

void cepoll_eventfd_signal(int descriptor) {
    uint64_t one = 1;
    while (write(descriptor, &one, sizeof one) < 0 && errno == EINTR) {}
}

void cepoll_eventfd_clear(int descriptor) {
    uint64_t count;
    while (read(descriptor, &count, sizeof count) < 0 && errno == EINTR) {}
}

uint64_t cepoll_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY) return UINT32_MAX;
    return limit.rlim_cur;
}

int64_t cepoll_monotonic_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

size_t cepoll_error_text(int error, uint8_t *text, size_t capacity) {
    char buffer[128];
    const char *words = strerror_r(error, buffer, sizeof buffer);
    size_t length = strlen(words);
    if (length > capacity) length = capacity;
    memcpy(text, words, length);
    return length;
}
