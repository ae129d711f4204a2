/* A disk that forgets: what may lie on it when the power goes at any step of a writer, and a writer whose Nth operation
 * fails.
 *
 * Test programs that are linked with fl_power_test (tests/unit/cni) have their open, openat, mkdirat, write, fchmod,
 * fsync, renameat, renameat2, unlinkat, flock and close pass here. While recording, each operation below the root is
 * noted. A power cut after the Nth leaves what was synced; of what was not, anything: so each cut has variants, in
 * which none of the pending operations reached the disk, all of them, the names without the contents, the contents
 * without the names, each alone, all but each, and all with the contents cut in half.
 *
 *     power_start(root);
 *     result = cni_thing_install(…);
 *     power_stop();
 *     POWER_EACH_CUT(cut, variant) {
 *         power_restore(cut, variant, elsewhere);
 *         … whatever must hold, holds in `elsewhere` …
 *     }
 */
#ifndef TESTS_SUPPORT_POWER_H
#define TESTS_SUPPORT_POWER_H

#include <stdbool.h>
#include <stddef.h>

/* Takes what lies under `root` (an absolute path, as the code under test will name it) as synced, and records. Folders
 * that were opened before are not followed. */
void power_start(const char *root);
/* Stops, and fails the test where the tree is not what the record says: something wrote past the wrapped calls. */
void power_stop(void);

size_t power_operations(void);
size_t power_variants(size_t cut); /* 0 ≤ cut ≤ power_operations() */
/* Makes `folder` anew, holding what the disk holds after the first `cut` operations. */
void power_restore(size_t cut, size_t variant, const char *folder);
/* "7 (variant 3): renameat .fairlead.x.tmp → x": for messages. One static buffer. */
const char *power_describe(size_t cut, size_t variant);

#define POWER_EACH_CUT(cut, variant)                                                                                   \
    for (size_t cut = 0; cut <= power_operations(); cut++)                                                             \
        for (size_t variant = 0; variant < power_variants(cut); variant++)

/* The nth wrapped call from now on (1: the next) fails with `error`, once, without being done; close is not counted. */
void power_fail_at(size_t nth, int error);
bool power_failed(void); /* whether it came to that */

/* Called before each renameat and renameat2, where set: what another writer does at the worst moment. */
extern void (*power_before_rename)(const char *name, const char *target);

/* A folder for temporary ones: in memory where there is such a place, because thousands of trees are made. */
const char *power_place(void);

#endif
