/* Who asks whether the proxy has started a moment before it has: answered when it has, or after PROXY_STARTWAIT_MS with
 * how it is then.
 *
 * The kubelet's startup probe asks once a second, counted from before the pod had a sandbox; a question that comes
 * 10 ms too early and is answered "no" at once costs the pod's start a second. Kept waiting for less than that second,
 * questions come as often as they did, so that a sidecar's patience (start_seconds) is what it was, and there is nearly
 * always one that waits. A postStart hook (`fairlead-proxy wait`) hears of the start at once in the same way.
 *
 * Only time changes, never the answer: it is made when it is given.
 */
#ifndef PROXY_ADMIN_STARTWAIT_H
#define PROXY_ADMIN_STARTWAIT_H

#include "common/loop/loop.h"
#include "proxy/admin/serving.h"

#define PROXY_STARTWAIT_MS 900 /* below the startup probe's period (common/mesh/container.h) and its timeout */

struct proxy_startwait;

struct proxy_startwait_options {
    struct fl_loop *loop;
    int (*fill)(void *owner, struct proxy_answer *answer); /* how it is now; not 0: a 500 */
    void *owner;
};

/* 0 or -ENOMEM. */
int proxy_startwait_new(const struct proxy_startwait_options *options,
                        struct proxy_startwait **ret_startwait) FL_MUST_CHECK;
/* Whoever waits is closed. NULL is allowed; returns NULL. */
struct proxy_startwait *proxy_startwait_free(struct proxy_startwait *startwait);

/* From a handler: defers `answer`. 0 or -ENOMEM. How many wait is bounded by the serving's connections. */
int proxy_startwait_begin(struct proxy_startwait *startwait, struct proxy_answer *answer) FL_MUST_CHECK;

/* It has started: all who wait are answered with the loop's next turn. From anywhere on the loop. */
void proxy_startwait_end(struct proxy_startwait *startwait);

#endif
