// Forks while other threads of the process are in the middle of calls, and asks on both sides.
//
//     forking FOLDER
//
// What answers at broker.sock tells as the reason the first byte of the certificate.
#include <careg.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static careg *trust;
static int is_over;
static unsigned long wrong;

static int ask(uint8_t number) {
    uint8_t bytes[300] = {number};
    const uint8_t *chain[1] = {bytes};
    size_t lengths[1] = {sizeof(bytes)};
    careg_verdict verdict = CAREG_VERDICT_INIT;
    int code = careg_verify(trust, chain, lengths, 1, &verdict);
    return code == CAREG_ANSWERED && verdict.reason == number;
}

static void *keep_asking(void *argument) {
    uint8_t number = (uint8_t)(uintptr_t)argument;
    while (!__atomic_load_n(&is_over, __ATOMIC_ACQUIRE)) {
        if (!ask(number)) __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 2) return 64;
    careg_options options = CAREG_OPTIONS_INIT;
    options.runtime_dir = arguments[1];
    options.instance = "plant";
    options.timeout_ms = 30000;
    if (careg_open(&options, &trust) != 0) return 1;
    pthread_t threads[4];
    for (long index = 0; index < 4; index++) {
        pthread_create(&threads[index], NULL, keep_asking, (void *)(index + 2));
    }
    int failures = 0;
    for (int round = 0; round < 30; round++) {
        pid_t child = fork();
        if (child < 0) return 1;
        if (child == 0) {
            int bad = 0;
            int file = -1;
            if (round % 3 == 0) {
                // What daemons do: the numbers that the parent's connections had are this child's own now.
                for (int number = 3; number < 64; number++) close(number);
                file = open(arguments[1], O_RDONLY | O_DIRECTORY);
                for (int number = 0; number < 8; number++) dup(file);
            }
            for (int question = 0; question < 20; question++) {
                if (!ask((uint8_t)(100 + (round + question) % 100))) bad++;
            }
            // A grandchild too.
            if (round % 10 == 0) {
                pid_t grandchild = fork();
                if (grandchild == 0) _exit(ask(77) ? 0 : 1);
                int status = 1;
                waitpid(grandchild, &status, 0);
                bad += status != 0;
            }
            careg_close(trust);
            for (int number = file; file >= 0 && number < file + 9; number++) {
                struct stat status;
                bad += fstat(number, &status) != 0 || !S_ISDIR(status.st_mode);
            }
            _exit(bad);
        }
        int status = 1;
        waitpid(child, &status, 0);
        failures += status != 0;
    }
    __atomic_store_n(&is_over, 1, __ATOMIC_RELEASE);
    for (int index = 0; index < 4; index++) pthread_join(threads[index], NULL);
    careg_close(trust);
    printf("wrong %lu failures %d\n", wrong, failures);
    return wrong != 0 || failures != 0;
}
