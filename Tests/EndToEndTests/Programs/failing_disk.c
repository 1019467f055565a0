// Preloaded into the daemon: calls on the registry's data file fail as those of a broken disk do, from the moment at
// which the file CAREG_FAULT_FILE is there. It holds the name of the fault and the error number: "sync 5".
// CAREG_FAULT_SUFFIX: the end of the path of another file than registry.mdb.
//
//   sync   fdatasync and fsync
//   stall  they do not return while the file is there
//   data   writes of pages
//   meta   writes of LMDB's meta pages, which stand in the first 8192 bytes; the bytes reach the page cache
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { META_BYTES = 8192 };

// The error number of the fault, or 0 where there is none on this file.
static int fault(const char *name, int file) {
    const char *path = getenv("CAREG_FAULT_FILE");
    int trigger = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (trigger < 0) return 0;
    char text[64] = "";
    ssize_t count = read(trigger, text, sizeof text - 1);
    close(trigger);
    char wanted[16] = "";
    int number = 0;
    if (count <= 0 || sscanf(text, "%15s %d", wanted, &number) != 2 || strcmp(wanted, name) != 0) return 0;

    char link[64], target[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, target, sizeof target - 1);
    const char *suffix = getenv("CAREG_FAULT_SUFFIX");
    if (!suffix) suffix = "/registry.mdb";
    size_t suffixLength = strlen(suffix);
    if (length < (ssize_t)suffixLength) return 0;
    return memcmp(target + length - suffixLength, suffix, suffixLength) == 0 ? number : 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int failWith(int number) {
    errno = number;
    return -1;
}

static void stall(int file) {
    const struct timespec moment = {.tv_nsec = 5000000};
    while (fault("stall", file)) nanosleep(&moment, NULL);
}

int fdatasync(int file) {
    stall(file);
    int number = fault("sync", file);
    return number ? failWith(number) : REAL(fdatasync)(file);
}

int fsync(int file) {
    stall(file);
    int number = fault("sync", file);
    return number ? failWith(number) : REAL(fsync)(file);
}

static ssize_t positioned(int file, const void *bytes, size_t count, off_t offset) {
    if (offset >= META_BYTES) {
        int number = fault("data", file);
        return number ? failWith(number) : REAL(pwrite)(file, bytes, count, offset);
    }
    ssize_t written = REAL(pwrite)(file, bytes, count, offset);
    int number = fault("meta", file);
    return number ? failWith(number) : written;
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
    return positioned(file, bytes, count, offset);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off_t offset) {
    return positioned(file, bytes, count, offset);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    int number = fault("data", file);
    return number ? failWith(number) : REAL(writev)(file, parts, count);
}
