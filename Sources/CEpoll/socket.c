#define _GNU_SOURCE
#include "CEpoll.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { CONNECT_SECONDS = 5 };

static int address(struct sockaddr_un *address, const uint8_t *path, size_t length) {
    if (length == 0 || length >= sizeof address->sun_path) return -ENAMETOOLONG;
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, length);
    return 0;
}

int cepoll_socket_listen(const uint8_t *path, size_t length, uint32_t mode, int backlog) {
    struct sockaddr_un where;
    int error = address(&where, path, length);
    if (error < 0) return error;
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) return -errno;
    /* The file is born without any right, so nobody gets in before its mode is set; and the umask cannot cut the
     * mode. fchmod before bind limits the mode the file is born with: the process-wide umask stays as it is. */
    if (fchmod(descriptor, 0) == 0 && bind(descriptor, (struct sockaddr *)&where, sizeof where) == 0) {
        if (chmod(where.sun_path, mode) == 0 && listen(descriptor, backlog) == 0) return descriptor;
        error = -errno;
        unlink(where.sun_path);
    } else {
        error = -errno;
    }
    close(descriptor);
    return error;
}

int cepoll_socket_connect(const uint8_t *path, size_t length) {
    struct sockaddr_un where;
    int error = address(&where, path, length);
    if (error < 0) return error;
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -errno;
    /* A listener that accepts nobody, and whose queue is full, would hold us for ever. */
    struct timeval patience = {.tv_sec = CONNECT_SECONDS};
    int result = setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (result == 0) {
        do {
            result = connect(descriptor, (struct sockaddr *)&where, sizeof where);
        } while (result < 0 && errno == EINTR);
    }
    if (result == 0) return descriptor;
    error = -errno;
    close(descriptor);
    return error;
}

int cepoll_socket_set_nonblocking(int descriptor) {
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0 || fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
    return fcntl(descriptor, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

int cepoll_socket_accept(int listener) {
    int descriptor = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    return descriptor < 0 ? -errno : descriptor;
}

long cepoll_socket_receive(int descriptor, void *bytes, size_t capacity) {
    ssize_t count;
    do {
        count = recv(descriptor, bytes, capacity, MSG_DONTWAIT);
    } while (count < 0 && errno == EINTR);
    return count < 0 ? -errno : count;
}

long cepoll_socket_send(int descriptor, const void *bytes, size_t count) {
    ssize_t sent;
    do {
        sent = send(descriptor, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

int cepoll_socket_finish_sending(int descriptor) {
    return shutdown(descriptor, SHUT_WR) < 0 ? -errno : 0;
}

long cepoll_socket_unread_by_peer(int descriptor) {
    int bytes = 0;
    return ioctl(descriptor, SIOCOUTQ, &bytes) < 0 ? -errno : bytes;
}

int cepoll_socket_poll(int descriptor, uint32_t events, int timeout_ms) {
    struct pollfd watched = {.fd = descriptor};
    if (events & cepoll_readable) watched.events |= POLLIN;
    if (events & cepoll_writable) watched.events |= POLLOUT;
    int count = poll(&watched, 1, timeout_ms);
    return count < 0 ? -errno : count;
}

int cepoll_socket_credentials(int descriptor, uint32_t *user, uint32_t *group, int32_t *process) {
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0) return -errno;
    *user = credentials.uid;
    *group = credentials.gid;
    *process = credentials.pid;
    return 0;
}

int cepoll_socket_groups(int descriptor, uint32_t *groups, size_t capacity) {
    _Static_assert(sizeof(gid_t) == sizeof(uint32_t), "a group id has 32 bits");
    socklen_t length = (socklen_t)(capacity * sizeof(gid_t));
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERGROUPS, groups, &length) < 0 && errno != ERANGE) return -errno;
    return (int)(length / sizeof(gid_t));
}

int cepoll_file_is_socket(const uint8_t *path, size_t length) {
    struct sockaddr_un where;
    int error = address(&where, path, length);
    if (error < 0) return error;
    struct stat status;
    if (lstat(where.sun_path, &status) < 0) return -errno;
    return S_ISSOCK(status.st_mode) ? 1 : 0;
}

int cepoll_file_remove(const uint8_t *path, size_t length) {
    struct sockaddr_un where;
    int error = address(&where, path, length);
    if (error < 0) return error;
    return unlink(where.sun_path) < 0 ? -errno : 0;
}

int cepoll_null_open(void) {
    int descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}

void cepoll_close(int descriptor) {
    close(descriptor);
}
