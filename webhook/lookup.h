/* Namespaces of an API server: all of them followed by a watch, and one of them asked for at once where what is known
 * may be too old for a decision (a namespace that was made or labelled a moment ago).
 *
 * Whoever asks gets an answer that was given after he asked: who comes while one is under way waits for the next, and
 * all of those share it. So there are two requests at most for a namespace before an answer, each of WEBHOOK_LOOKUP_MS.
 *
 *   ask ──► no request under way: one is sent ──► its answer: into the set, everybody is told
 *      └──► one is under way: waits; when it has ended, the next is sent for all who wait
 */
#ifndef WEBHOOK_LOOKUP_H
#define WEBHOOK_LOOKUP_H

#include "common/kube/client.h"
#include "webhook/namespace.h"
#include "webhook/stats.h"

struct webhook_lookup;

/* Embedded in who waits; linked while he does. */
struct webhook_wait {
    /* Called once: the set holds what the API server said, or, with `err`, it could not be learnt. */
    void (*done)(struct webhook_wait *wait, const struct fl_err *err);
    struct webhook_wait *next, **link;
};

/* Takes *access over. Starts the watch at once; the API server need not be there. 0 or a negative errno. */
int webhook_lookup_new(struct fl_loop *loop, struct webhook_stats *stats, struct fl_kube_access *access,
                       struct webhook_lookup **ret_lookup, struct fl_err *err) FL_MUST_CHECK;
/* Nobody is told any more; who waits is unlinked. Returns NULL. */
struct webhook_lookup *webhook_lookup_free(struct webhook_lookup *lookup);

const struct webhook_namespaces *webhook_lookup_namespaces(const struct webhook_lookup *lookup);
/* A list has been complete since the start. */
bool webhook_lookup_synced(const struct webhook_lookup *lookup);

/* wait->done comes later, never from within; 0, or a negative errno with the reason, and it never comes. */
int webhook_lookup_ask(struct webhook_lookup *lookup, struct fl_span name, struct webhook_wait *wait,
                       struct fl_err *err) FL_MUST_CHECK;
/* wait->done does not come any more. Idempotent; a zeroed one is fine. */
void webhook_lookup_forget(struct webhook_wait *wait);

#endif
