// The header by itself, in C11 and in C++: what a user's compiler says to it. Prints the layout, for bindings that other
// languages write by hand.
#include <careg.h>
#include <stdio.h>

int main(void) {
    careg_options options = CAREG_OPTIONS_INIT;
    careg_verdict verdict = CAREG_VERDICT_INIT;
    printf("options %zu map %zu verdict %zu reason %zu valid_until %zu revision %zu ca_sn %zu session %zu %zu\n",
           options.size, offsetof(careg_options, map), verdict.size, offsetof(careg_verdict, reason),
           offsetof(careg_verdict, valid_until), offsetof(careg_verdict, revision), offsetof(careg_verdict, ca_sn),
           offsetof(careg_verdict, session), sizeof(careg_session));
    return 0;
}
