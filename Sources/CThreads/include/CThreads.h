#pragma once
#include <stdint.h>

/* Threads, in shapes that Swift imports. Functions that can fail return a negative errno. */

/* Starts a detached thread. Signals are blocked in it, so that they reach the threads that wait for them, but for those of
 * its own faults. Of the name, 15 bytes are shown. */
int cthread_start(const char *name, void (*body)(void *), void *context);

/* The calling thread is nicer by so much from now on, and cthread_yield lets others go first, where the kernel knows slices
 * of a processor that a thread may ask for (Linux 6.12). Nothing changes where the thread's policy is not the usual one. */
int cthread_begin_yielding(int more_niceness, uint64_t slice_nanoseconds);
/* Not more often than twice a slice. */
void cthread_yield(void);
