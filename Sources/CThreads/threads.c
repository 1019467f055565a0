#define _GNU_SOURCE
#include "CThreads.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct start {
    void (*body)(void *);
    void *context;
    char name[16];
};

static void *run(void *argument) {
    struct start start = *(struct start *)argument;
    free(argument);
    pthread_setname_np(pthread_self(), start.name);
    start.body(start.context);
    return NULL;
}

static const int faults[] = {SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGABRT};

int cthread_start(const char *name, void (*body)(void *), void *context) {
    struct start *start = calloc(1, sizeof *start);
    if (start == NULL) return -ENOMEM;
    start->body = body;
    start->context = context;
    strncpy(start->name, name, sizeof start->name - 1);
    sigset_t all, before;
    sigfillset(&all);
    /* A fault of the thread's own is told by its handler, not by the kernel's word alone. */
    for (size_t index = 0; index < sizeof faults / sizeof *faults; index++) sigdelset(&all, faults[index]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    int error = pthread_create(&thread, NULL, run, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        free(start);
        return -error;
    }
    pthread_detach(thread);
    return 0;
}

/* sched_setattr(2); glibc has had it since 2.41. */
struct scheduling {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime;
    uint64_t deadline;
    uint64_t period;
};

#define RESET_ON_FORK 1u /* SCHED_FLAG_RESET_ON_FORK */

/* Nanoseconds between two yields at least; 0: the thread does not yield. */
static _Thread_local uint64_t least_work;
static _Thread_local uint64_t last_yield;

static uint64_t monotonic_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int cthread_begin_yielding(int more_niceness, uint64_t slice_nanoseconds) {
    int policy = sched_getscheduler(0);
    if (policy < 0) return -errno;
    /* Who runs the service under another policy has chosen it for all threads. */
    if ((policy & ~SCHED_RESET_ON_FORK) != SCHED_OTHER) return -EOPNOTSUPP;
    errno = 0;
    int nice = getpriority(PRIO_PROCESS, 0) + more_niceness;
    if (errno != 0) return -errno;
    if (nice > 19) nice = 19;
    if (more_niceness != 0 && setpriority(PRIO_PROCESS, 0, nice) != 0) return -errno;
    struct scheduling now = {.size = sizeof now};
    if (syscall(SYS_sched_getattr, 0, &now, sizeof now, 0) != 0) return -errno;
    /* Threads that this one starts have slices as the system gives them. */
    struct scheduling wanted = {
        .size = sizeof wanted,
        .policy = SCHED_OTHER,
        .flags = now.flags | RESET_ON_FORK,
        .nice = nice,
        .runtime = slice_nanoseconds};
    if (syscall(SYS_sched_setattr, 0, &wanted, 0) != 0) return -errno;
    if (syscall(SYS_sched_getattr, 0, &now, sizeof now, 0) != 0) return -errno;
    /* A kernel that knows no such slices takes what it is asked for, and tells of none. To yield costs what is left of a
     * slice: of one of 3 ms it would starve the thread beside others that do not. */
    if (now.runtime != slice_nanoseconds) return -EOPNOTSUPP;
    least_work = slice_nanoseconds / 2;
    return 0;
}

void cthread_yield(void) {
    if (least_work == 0 || monotonic_nanoseconds() - last_yield < least_work) return;
    sched_yield();
    last_yield = monotonic_nanoseconds();
}
