/* The shell of the memory ceiling (ceiling.h), and how the process gets small again. On the main thread.
 *
 * Every PROXY_MEMORY_LOOK_MS (PROXY_MEMORY_SOON_MS above half of the limit) what is resident is read from
 * /proc/self/statm, the stage follows, and the workers are told. Where the process has used next to no CPU since the
 * last look, but some since it last rested, it rests: freed memory goes back to the system, and so do the pages of
 * program text, which come back from the page cache as they are used (dataplane.md, B7: three megabytes of a sidecar
 * that idles). Only segments that are mapped for reading alone are given up: relocated data is ours, and would be lost.
 */
#ifndef PROXY_SERVER_MEMORY_H
#define PROXY_SERVER_MEMORY_H

#include "common/loop/timer.h"
#include "proxy/server/ceiling.h"

#define PROXY_MEMORY_LOOK_MS 2000u
#define PROXY_MEMORY_SOON_MS 100u
#define PROXY_MEMORY_IDLE_US 4000u /* of CPU between two looks is rest; more since the last rest is worth another */
#define PROXY_MEMORY_PERCENT 90u   /* of the control group's limit */

struct server;

struct proxy_memory {
    struct proxy_ceiling ceiling;
    struct fl_timer timer;
    uint64_t cpu_us;                /* used at the last look */
    uint64_t rested_us;             /* … when it had rested; 0: not yet */
    struct proxy_ceiling_room told; /* the workers */
    enum proxy_shed told_stage;
};

/* `limit`: bytes that the process may use; 0: no ceiling. */
void proxy_memory_start(struct server *server, uint64_t limit);
void proxy_memory_stop(struct server *server);
/* What is resident; 0 where that cannot be read. */
uint64_t proxy_memory_resident(void);
/* Gives up what can be given up, the main thread's unused stack as well: it calls this. Returns the bytes of text that
 * were given up. */
size_t proxy_memory_rest(void);

#endif
