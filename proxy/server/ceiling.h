/* The memory ceiling: how much the process uses, against how much it may, decides what it lets go of (net/shed.h).
 * A pure state machine; who samples and who carries out stands in server/memory.h.
 *
 *   none ─75 %─► stop_reading ─85 %─► close_idle ─92 %─► refuse
 *
 * Up at once, as far as usage says. Down one stage at a time, when usage is 10 points below where the stage begins, and
 * PROXY_CEILING_HOLD_MS after the last change: what was let go of comes back slowly, and a stage does not flap.
 *
 * Between two samples a worker could read more than is left. So the data path's pools are bounded too: above half of
 * their room they are lean at once (as in stop_reading), and at their room's end a connection that wants more dies
 * alone (PROXY_END_MEMORY) before the process does.
 */
#ifndef PROXY_SERVER_CEILING_H
#define PROXY_SERVER_CEILING_H

#include "proxy/net/shed.h"

#include <stddef.h>
#include <stdint.h>

#define PROXY_CEILING_HOLD_MS  500u
#define PROXY_CEILING_LEAST    (16u << 20) /* a lower one could not even hold an idle proxy's peers */
#define PROXY_CEILING_ROOM_MIN (1u << 20)  /* that the pools of a worker always have */

struct proxy_ceiling { /* zeroed: without a limit */
    uint64_t limit;    /* bytes; 0: none, the stage stays none */
    enum proxy_shed stage;
    uint64_t changed_ms;
};

/* A sample. Returns the stage that now counts. */
enum proxy_shed proxy_ceiling_update(struct proxy_ceiling *ceiling, uint64_t used, uint64_t now_ms);

struct proxy_ceiling_room {
    size_t lean_above, max; /* of the pools of one worker; 0: no bound */
};

/* `used`: bytes of the process; `held`: of them in all pools; shared evenly by `workers`. */
struct proxy_ceiling_room proxy_ceiling_room(const struct proxy_ceiling *ceiling, uint64_t used, uint64_t held,
                                             unsigned workers);

#endif
