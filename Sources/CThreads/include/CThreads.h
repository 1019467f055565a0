#pragma once
#include <stdint.h>

/* Threads, in shapes that Swift imports. Functions that can fail return a negative errno. */

/* Starts a detached thread. Signals are blocked in it, so that they reach the threads that wait for them, but for those of
 * its own faults. Of the name, 15 bytes are shown. */
int cthread_start(const char *name, void (*body)(void *), void *context);

/* The calling thread makes way from now on: cthread_make_way lets others go first, where the kernel knows slices that a
 * thread may ask for (Linux 6.12). It is nicer by so much in either case. */
int cthread_begin_making_way(int more_niceness, uint64_t slice_nanoseconds);
void cthread_make_way(void);
