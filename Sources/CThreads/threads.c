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

static _Thread_local int makes_way;

int cthread_begin_making_way(int more_niceness, uint64_t slice_nanoseconds) {
    errno = 0;
    int nice = getpriority(PRIO_PROCESS, 0) + more_niceness;
    if (errno != 0) return -errno;
    if (nice > 19) nice = 19;
    if (more_niceness != 0 && setpriority(PRIO_PROCESS, 0, nice) != 0) return -errno;
    struct scheduling wanted = {
        .size = sizeof wanted, .policy = SCHED_OTHER, .nice = nice, .runtime = slice_nanoseconds};
    struct scheduling got = {.size = sizeof got};
    if (syscall(SYS_sched_setattr, 0, &wanted, 0) != 0) return -errno;
    if (syscall(SYS_sched_getattr, 0, &got, sizeof got, 0) != 0) return -errno;
    /* A kernel that knows no such slices takes what it is asked for, and tells of none. To yield costs a whole slice: one of
     * 3 ms, for a piece of work of 0.1 ms, would starve the thread beside others that do not. */
    makes_way = got.runtime == slice_nanoseconds;
    return makes_way ? 0 : -EOPNOTSUPP;
}

void cthread_make_way(void) {
    if (makes_way) sched_yield();
}
