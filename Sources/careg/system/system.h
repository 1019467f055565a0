// The system calls of libcareg, where Swift cannot make them itself: variadic functions, macros, and what is deprecated.
//
// Failures are negative errno values, so that nobody reads errno late. Nothing here blocks but the waits, which say so.
#ifndef CAREG_SYSTEM_H
#define CAREG_SYSTEM_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <openssl/sha.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

// MARK: Clocks

static inline uint64_t careg_system_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline int64_t careg_system_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec;
}

// MARK: Memory

// Asks for a cache line that will be read soon; the address need not be good.
static inline void careg_system_prefetch(const void *address) { __builtin_prefetch(address); }

// MARK: Digest

// SHA-256 with its state on the stack: no heap, no lock, no context to share between threads. The functions are
// deprecated in favour of ones that look their algorithm up by name, on the heap, at every call.
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wdeprecated-declarations"
static inline void careg_system_sha256(const void *bytes, size_t count, uint64_t digest[4]) {
    SHA256_CTX state;
    SHA256_Init(&state);
    SHA256_Update(&state, bytes, count);
    SHA256_Final((unsigned char *)digest, &state);
}
#pragma clang diagnostic pop

// MARK: Files

// Opens a regular file for reading; whatever else stands there is refused without being touched.
static inline int careg_system_open(const char *path, int64_t *size) {
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (file < 0) return -errno;
    struct stat status;
    if (fstat(file, &status) != 0) {
        int code = errno;
        close(file);
        return -code;
    }
    if (!S_ISREG(status.st_mode)) {
        close(file);
        return -EINVAL;
    }
    *size = (int64_t)status.st_size;
    return file;
}

static inline int64_t careg_system_read(int file, void *bytes, size_t count, int64_t offset) {
    ssize_t result = pread(file, bytes, count, (off_t)offset);
    return result < 0 ? -errno : (int64_t)result;
}

static inline void careg_system_close(int file) { close(file); }

// What tells a socket from all others that there are: 0 where it is none.
static inline uint64_t careg_system_socket_identity(int file) {
    struct stat status;
    if (fstat(file, &status) != 0 || !S_ISSOCK(status.st_mode)) return 0;
    return (uint64_t)status.st_ino;
}

// Closes a socket where the number still is that socket: a host that has closed all its descriptors may have given it away.
static inline void careg_system_close_socket(int file, uint64_t identity) {
    if (identity != 0 && careg_system_socket_identity(file) == identity) close(file);
}

static inline void *careg_system_map(int file, size_t size) {
    void *base = mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0);
    return base == MAP_FAILED ? NULL : base;
}

// Puts zeros in a mapping's place that take no memory: whoever still reads there sees a map that is not live.
static inline int careg_system_blank(const void *base, size_t size) {
    void *place = (void *)(uintptr_t)base;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    return mmap(place, size, PROT_READ, flags, -1, 0) == MAP_FAILED ? -errno : 0;
}

static inline void careg_system_unmap(const void *base, size_t size) { munmap((void *)(uintptr_t)base, size); }

// Memory of our own that a forked child finds zeroed, where the kernel can do that (Linux 4.14).
static inline void *careg_system_wiped_on_fork(size_t size) {
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) return NULL;
    madvise(base, size, MADV_WIPEONFORK);
    return base;
}

// MARK: Folders

static inline void *careg_system_open_folder(const char *path) {
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return NULL;
    DIR *stream = fdopendir(folder);
    if (stream == NULL) close(folder);
    return stream;
}

// The next name, until the next call; NULL at the end.
static inline const char *careg_system_next_name(void *folder) {
    struct dirent *entry = readdir((DIR *)folder);
    return entry == NULL ? NULL : entry->d_name;
}

static inline void careg_system_close_folder(void *folder) { closedir((DIR *)folder); }

// MARK: Sockets

// The longest path of a Unix socket, without its NUL.
#define CAREG_SYSTEM_SOCKET_PATH_BYTES 107

// Connects without waiting; -EAGAIN: the listener's queue is full.
_Static_assert(sizeof(((struct sockaddr_un *)0)->sun_path) == CAREG_SYSTEM_SOCKET_PATH_BYTES + 1, "");

static inline int careg_system_connect(const char *path) {
    struct sockaddr_un address;
    memset(&address, 0, sizeof(address));
    address.sun_family = AF_UNIX;
    size_t length = strlen(path);
    if (length >= sizeof(address.sun_path)) return -ENAMETOOLONG;
    memcpy(address.sun_path, path, length);
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connection < 0) return -errno;
    if (connect(connection, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        int code = errno;
        close(connection);
        return -code;
    }
    return connection;
}

// Sends what fits; a peer that is gone is -EPIPE, never a signal.
static inline int64_t careg_system_send(int connection, struct iovec *parts, size_t count) {
    struct msghdr message;
    memset(&message, 0, sizeof(message));
    message.msg_iov = parts;
    message.msg_iovlen = count;
    ssize_t result = sendmsg(connection, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return result < 0 ? -errno : (int64_t)result;
}

static inline int64_t careg_system_receive(int connection, void *bytes, size_t count) {
    ssize_t result = recv(connection, bytes, count, MSG_DONTWAIT);
    return result < 0 ? -errno : (int64_t)result;
}

static inline struct timespec careg_system_timespec(uint64_t nanoseconds) {
    struct timespec time;
    time.tv_sec = (time_t)(nanoseconds / 1000000000u);
    time.tv_nsec = (long)(nanoseconds % 1000000000u);
    return time;
}

// Waits until a connection can be read (or written), or has ended, or time is over: 1, 0, or negative.
static inline int careg_system_wait(int connection, int for_writing, uint64_t nanoseconds) {
    struct pollfd polled;
    polled.fd = connection;
    polled.events = for_writing ? POLLOUT : POLLIN;
    polled.revents = 0;
    // Whole milliseconds, and one more rather than none: a wait of 0 would be a loop.
    uint64_t milliseconds = nanoseconds / 1000000u + 1;
    int result = poll(&polled, 1, milliseconds > 3600000u ? 3600000 : (int)milliseconds);
    return result < 0 ? -errno : result;
}

// MARK: Threads and processes

static inline uint32_t careg_system_process(void) { return (uint32_t)getpid(); }

static inline void careg_system_yield(void) { sched_yield(); }

// Waits for some time.
static inline void careg_system_pause(uint64_t nanoseconds) {
    struct timespec time = careg_system_timespec(nanoseconds);
    nanosleep(&time, NULL);
}

// Waits while a word has a value, until it is woken or time is over.
static inline void careg_system_wait_while(const void *word, uint32_t value, uint64_t nanoseconds) {
    struct timespec time = careg_system_timespec(nanoseconds);
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &time, NULL, 0);
}

static inline void careg_system_wake_one(const void *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#endif
