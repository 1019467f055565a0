#ifndef CAREG_FUZZER_H
#define CAREG_FUZZER_H

#include <stddef.h>
#include <stdint.h>

/// libFuzzer, as a function (FuzzerDriver of compiler-rt).
int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*callback)(const uint8_t *data, size_t size));

#endif
