// Tells the thread sanitizer of Swift's Mutex. Preloaded by .ci/long; needs no sanitizer itself.
//
// A Mutex that nobody waits for is taken and given back by atomics in our own code, which the sanitizer sees. One that
// somebody waits for is handed over by the kernel, in the standard library, which is built without it: what the mutex
// guards would look like a race. These functions stand in front of the library's, and say what they do.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>

typedef void note(void *);
static note *acquired, *released;

// In a program without the sanitizer there is nobody to tell.
__attribute__((constructor)) static void find(void) {
    acquired = (note *)dlsym(RTLD_DEFAULT, "__tsan_acquire");
    released = (note *)dlsym(RTLD_DEFAULT, "__tsan_release");
}

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *self
// Synchronization._MutexHandle._lockSlow(UInt32), _unlockSlow() and _tryLockSlow() -> Bool
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"
#define TRY_LOCK "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"

typedef SWIFT void lock_function(uint32_t thread, SELF);
typedef SWIFT void unlock_function(SELF);
typedef SWIFT _Bool try_lock_function(SELF);

SWIFT void lock_slow(uint32_t thread, SELF) __asm__(LOCK);
SWIFT void lock_slow(uint32_t thread, SELF) {
    ((lock_function *)dlsym(RTLD_NEXT, LOCK))(thread, self);
    if (acquired) acquired(self);
}

SWIFT void unlock_slow(SELF) __asm__(UNLOCK);
SWIFT void unlock_slow(SELF) {
    if (released) released(self);
    ((unlock_function *)dlsym(RTLD_NEXT, UNLOCK))(self);
}

SWIFT _Bool try_lock_slow(SELF) __asm__(TRY_LOCK);
SWIFT _Bool try_lock_slow(SELF) {
    _Bool taken = ((try_lock_function *)dlsym(RTLD_NEXT, TRY_LOCK))(self);
    if (taken && acquired) acquired(self);
    return taken;
}
