// With allocations.c preloaded: what careg_check and careg_session_check ask the heap for.
//
//     heapless FOLDER CERTIFICATE
#define _GNU_SOURCE
#include <careg.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **arguments) {
    if (count != 3) return 2;
    unsigned long (*allocations)(void) = (unsigned long (*)(void))dlsym(RTLD_DEFAULT, "allocation_count");
    FILE *file = fopen(arguments[2], "rb");
    if (allocations == NULL || file == NULL) return 3;
    static unsigned char der[65536];
    size_t length = fread(der, 1, sizeof(der), file);
    careg_options options = CAREG_OPTIONS_INIT;
    options.runtime_dir = arguments[1];
    options.instance = "plant";
    options.staleness_ms = 60000;
    careg *trust;
    if (careg_open(&options, &trust) != 0) return 4;
    careg_verdict verdict = CAREG_VERDICT_INIT;
    unsigned long before = allocations();
    for (int round = 0; round < 1000; round++) {
        uint32_t reason;
        if (careg_check(trust, der, length, &verdict) != CAREG_ANSWERED) return 5;
        if (verdict.reason != CAREG_REASON_TRUSTED) return 6;
        if (careg_session_check(trust, &verdict.session, &reason) != CAREG_ANSWERED) return 7;
        // Nobody's.
        if (careg_check(trust, der, length - 1, &verdict) != CAREG_NOT_IN_MAP) return 8;
    }
    unsigned long used = allocations() - before;
    // That the counter counts at all.
    void *volatile block = malloc(1);
    int counts = allocations() > before + used;
    free(block);
    careg_close(trust);
    printf("%lu %d\n", used, counts);
    return 0;
}
