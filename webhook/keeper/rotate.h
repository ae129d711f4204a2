/* What is to be done next, decided from what was read: pure, no clock, no network, no crypto. One step at a time, and
 * after each step everything is read again, so a keeper that dies anywhere goes on from what is there.
 *
 * What must hold at every moment: each leaf that a webhook may still serve (the Secret reaches it within `overlap`)
 * verifies against each caBundle that an API server may still use (a change reaches it within `propagation`). So:
 *
 *   - a root signs a leaf once it has been in every caBundle for `propagation` (or nobody trusts anything else yet);
 *   - a root leaves the caBundles once the leaf in the Secret has been of another root for `overlap`;
 *   - a root that somebody else put there, or that the present leaf needs, is kept as long.
 *
 * Both waits are counted on the monotonic clock, from the moment at which this process saw for itself what it waits
 * upon (observe.h): a clock that jumps, or a restart, makes them longer, never shorter. The clock of the wall decides
 * when something ends, and nothing else.
 *
 *   no root ─► MAKE_ROOT ─► MAKE_LEAF ─► PUBLISH ─► IDLE ─(leaf ends)─► MAKE_LEAF
 *                                                    │ (root ends)
 *                                                    ▼
 *   IDLE ◄─ PUBLISH ◄─ DROP_OLD ◄─(overlap)─ MAKE_LEAF ◄─ PROMOTE ◄─(propagation)─ PUBLISH ◄─ MAKE_NEXT
 */
#ifndef WEBHOOK_KEEPER_ROTATE_H
#define WEBHOOK_KEEPER_ROTATE_H

#include "common/pki/roots.h"
#include "webhook/keeper/policy.h"

#define KEEPER_NEVER      UINT64_MAX
#define KEEPER_OLD_MAX    8 /* roots that are kept beside the present and the next one */
#define KEEPER_BUNDLE_MAX 16
/* An idle keeper looks again after so long, whatever it was not told by a watch; and where something is due that cannot
 * be done. */
#define KEEPER_LOOK_MS UINT64_C(600000)
#define KEEPER_DUE_MS  UINT64_C(10000)

struct keeper_root {
    int64_t not_before, not_after; /* seconds since 1970 */
    uint64_t in_force_since_ms;    /* in every caBundle since then; KEEPER_NEVER: it is not */
};

/* What was read. A set of roots is a mask over roots[]; an index of -1 is no root. */
struct keeper_view {
    int64_t now;       /* clock of the wall, seconds */
    uint64_t now_ms;   /* monotonic */
    bool clock_steady; /* the clock of the wall did not jump lately: what it says counts */

    struct keeper_root roots[FL_ROOTS_MAX];
    size_t root_count;

    bool external; /* somebody else makes the certificate: `current` to `old` mean nothing, `given` are the roots */
    uint32_t given;
    int current, next; /* of the CA's Secret, each with its key; -1 also for what is of no use */
    uint32_t old;      /* and what else stands there: roots without a key that fits */

    bool leaf_there; /* parsed, with its key; its time is not looked at */
    bool leaf_fits;  /* for a server, with exactly the names that it must have */
    int64_t leaf_not_before, leaf_not_after;
    uint32_t leaf_issuers;  /* roots whose signature it bears */
    uint64_t leaf_since_ms; /* a leaf of these has been in the Secret since then */

    size_t bundle_count;           /* caBundles (webhooks of all configurations) that can be written */
    uint32_t everywhere, anywhere; /* roots in all of those, in one of those */
    size_t blocked;                /* caBundles that belong to another manager */
};

#define KEEPER_STEPS(X)                                                                                                \
    X(IDLE, "idle")                                                                                                    \
    X(MAKE_ROOT, "make root")                                                                                          \
    X(MAKE_NEXT, "make next root")                                                                                     \
    X(PUBLISH, "publish")                                                                                              \
    X(MAKE_LEAF, "make leaf")                                                                                          \
    X(PROMOTE, "promote next root")                                                                                    \
    X(DROP_OLD, "drop old roots")
#define KEEPER_STEP_ENUM(name, word) KEEPER_##name,
enum keeper_step { KEEPER_STEPS(KEEPER_STEP_ENUM) };
#undef KEEPER_STEP_ENUM

struct keeper_decision {
    enum keeper_step step;
    const char *why; /* for the log; of IDLE: what is waited for */
    uint32_t bundle; /* PUBLISH: what every caBundle shall hold */
    uint32_t old; /* MAKE_ROOT, MAKE_NEXT, PROMOTE, DROP_OLD: what the CA's Secret shall hold beside its keys' roots */
    int64_t not_after; /* MAKE_LEAF, MAKE_ROOT, MAKE_NEXT: the new one's end */
    uint64_t look_ms;  /* IDLE: look again in so many milliseconds */
};

struct keeper_decision keeper_rotate(const struct keeper_view *view, const struct keeper_policy *policy);
const char *keeper_step_word(enum keeper_step step);

static inline uint32_t keeper_bit(int index)
{
    return index >= 0 ? UINT32_C(1) << index : 0;
}

#endif
