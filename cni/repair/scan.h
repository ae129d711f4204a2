/* Seeing processes start where nobody tells: a look every half second that costs one read while nothing was started.
 *
 * <proc>/loadavg ends with the pid given out last in the reader's pid namespace. Unchanged: nothing was started.
 * Changed: the pids since then are looked at, and those that were young at the last look again, for a process exists
 * before it becomes the sidecar (a runtime creates the container first, and starts it when it is told to). A full look
 * over the folder comes now and then, and instead of a range that is longer than the folder. Pids start again
 * from the bottom when they reach the top; the range does so too.
 *
 * Only the process's name (comm) is read here: on_named gets those that bear the proxy's. Names are claims.
 */
#ifndef CNI_REPAIR_SCAN_H
#define CNI_REPAIR_SCAN_H

#include "common/base/cleanup.h"
#include "common/base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CNI_SCAN_RANGE 2048 /* new pids that are looked at one by one; more: a full look */
#define CNI_SCAN_YOUNG                                                                                                 \
    1024 /* pids that are looked at again (a power of two times 32); of more the eldest are left to the full look */
#define CNI_SCAN_YOUNG_MS 10000 /* for how long; a container that is created but not started stays young */

enum cni_scan_outcome {
    CNI_SCAN_FULL = 1, /* a full look is due: the first, or too many pids to go one by one */
};

struct cni_scan_young {
    pid_t pid;
    uint64_t until_ms;
};

struct cni_scan {
    int proc;    /* not owned: the folder */
    int loadavg; /* owned */
    pid_t last;  /* the pid given out last, as of the last look; 0: not known */
    pid_t pid_max;
    void (*on_named)(void *owner, pid_t pid);
    void *owner;
    struct cni_scan_young *young; /* owned; grows up to CNI_SCAN_YOUNG */
    size_t young_count, young_room;
    uint64_t ticks, looks, full_looks; /* counted: ticks, names read, full looks */
};

/* `proc` is a descriptor of a /proc of the caller's own pid namespace. on_named must not call into the scan. 0 or a
 * negative errno. */
int cni_scan_init(struct cni_scan *scan, int proc, void (*on_named)(void *owner, pid_t pid), void *owner,
                  struct fl_err *err) FL_MUST_CHECK;
void cni_scan_done(struct cni_scan *scan);

/* The look of every half second. 0, CNI_SCAN_FULL or a negative errno. */
int cni_scan_tick(struct cni_scan *scan, uint64_t now_ms) FL_MUST_CHECK;
/* Every process there is. 0 or a negative errno. */
int cni_scan_full(struct cni_scan *scan, uint64_t now_ms) FL_MUST_CHECK;

/* The last field of the text; 0 where it has none. Pure. */
pid_t cni_scan_parse_last(const char *text, size_t len);

#endif
