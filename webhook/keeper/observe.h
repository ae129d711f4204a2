/* Since when: what this process saw with its own eyes, on the monotonic clock. As client-go does it with leases, no
 * time that somebody wrote down is believed; a new process begins anew, which makes waits longer, never shorter.
 */
#ifndef WEBHOOK_KEEPER_OBSERVE_H
#define WEBHOOK_KEEPER_OBSERVE_H

#include "webhook/keeper/rotate.h"

#define KEEPER_JUMP_SECONDS   300 /* a clock of the wall that is so far from where it should be has jumped */
#define KEEPER_STEADY_SECONDS 60  /* and counts again after so long */

typedef unsigned char keeper_digest[FL_CERT_FINGERPRINT_SIZE];

struct keeper_seen {
    keeper_digest digest;
    uint64_t since_ms;
};

struct keeper_memory {                      /* zeroed: has seen nothing */
    struct keeper_seen roots[FL_ROOTS_MAX]; /* in every caBundle */
    size_t root_count;
    struct keeper_seen issuer; /* of the leaf in the Secret */
    bool has_issuer;
    bool has_offset;
    int64_t offset; /* of the wall's clock against the monotonic one, seconds */
    uint64_t steady_from_ms;
};

/* Looks at a view that is filled in but for in_force_since_ms, leaf_since_ms and clock_steady, and fills in those.
 * digests[i] is the fingerprint of view->roots[i]. view->now and now_ms are those after the last thing was read. */
void keeper_observe(struct keeper_memory *memory, const keeper_digest *digests, struct keeper_view *view);

#endif
