/* For tests that run under emulation (qemu's, of a user's program: ./test arm64), where the kernel is this machine's
 * behind a translation of every system call. ctest sets FL_EMULATED there; on a machine of that kind nothing is
 * skipped.
 *
 *     SKIP_UNDER_EMULATION("seccomp: the filter would judge the emulator's own calls");
 *
 * is the first line of a cmocka test that cannot run so: it counts as skipped, and the output has the reason.
 */
#ifndef TESTS_SUPPORT_EMULATION_H
#define TESTS_SUPPORT_EMULATION_H

#include <stdio.h>
#include <stdlib.h>

#define SKIP_UNDER_EMULATION(reason)                                                                                   \
    do {                                                                                                               \
        if (getenv("FL_EMULATED") != NULL) {                                                                           \
            print_message("skipped under emulation: %s\n", reason);                                                    \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)

/* The same for a whole program, first in main(). */
#define SKIP_ALL_UNDER_EMULATION(reason)                                                                               \
    do {                                                                                                               \
        if (getenv("FL_EMULATED") != NULL) {                                                                           \
            puts("skipped under emulation: " reason);                                                                  \
            return EMULATION_SKIPPED;                                                                                  \
        }                                                                                                              \
    } while (0)
#define EMULATION_SKIPPED 77

/* How many times as long something may take: waits that are there to fail, not to assert a time, are multiplied by it.
 */
static inline unsigned emulation_patience(void)
{
    return getenv("FL_EMULATED") != NULL ? 20 : 1;
}

#endif
