/* A small world for the pure part of the keeper: a CA's Secret, a leaf's Secret, caBundles, and who may still use what.
 * Roots are numbers; the worst case of every bounded delay is looked at: a webhook serves any leaf that stood in the
 * Secret within `overlap`, an API server uses any caBundle that stood in its configuration within `propagation`.
 */
#ifndef TESTS_UNIT_WEBHOOK_KEEPER_WORLD_H
#define TESTS_UNIT_WEBHOOK_KEEPER_WORLD_H

#include "webhook/keeper/observe.h"

#define WORLD_ROOTS   4096
#define WORLD_BUNDLES 3 /* caBundles: webhooks of all configurations */
#define WORLD_PAST    64
#define WORLD_SET     32

struct world_set { /* of roots */
    int roots[WORLD_SET];
    size_t count;
};

struct world_leaf {
    bool there;
    int root;
    int64_t not_before, not_after;
    uint64_t until_ms; /* it was replaced then; 0: it is the present one */
};

struct world_bundle {
    struct world_set roots;
    uint64_t until_ms;
};

struct world {
    struct keeper_policy policy;
    uint64_t now_ms; /* true time; the epoch is WORLD_EPOCH */
    struct {
        int64_t not_before, not_after;
    } roots[WORLD_ROOTS];
    int root_count;
    /* Secrets, with their versions */
    int current, next; /* -1: none of use */
    struct world_set old;
    uint64_t ca_version;
    struct world_leaf leaf;
    uint64_t leaf_version;
    struct world_bundle bundles[WORLD_BUNDLES];
    uint64_t bundle_version[WORLD_BUNDLES];
    bool blocked[WORLD_BUNDLES];
    size_t bundle_count;
    /* what may still be in use */
    struct world_leaf past_leaves[WORLD_PAST];
    struct world_bundle past_bundles[WORLD_BUNDLES][WORLD_PAST];
    size_t past_leaf, past_bundle[WORLD_BUNDLES];
    uint64_t steps; /* taken so far */
};

#define WORLD_EPOCH INT64_C(1800000000)

struct world_keeper { /* one process */
    struct keeper_memory memory;
    int64_t clock_error; /* of its clock of the wall, seconds */
    uint64_t monotonic;  /* where its monotonic clock began */
    /* what it read, and has not acted upon */
    bool has_read;
    struct keeper_view view;
    int root_of[FL_ROOTS_MAX]; /* view's index → the world's number */
    uint64_t ca_version, leaf_version, bundle_version[WORLD_BUNDLES];
};

void world_init(struct world *world);
void world_read(struct world *world, struct world_keeper *keeper);
/* Acts on what it read, unless somebody else was quicker. */
struct keeper_decision world_act(struct world *world, struct world_keeper *keeper);
struct keeper_decision world_step(struct world *world, struct world_keeper *keeper);
/* Steps and waits until nothing is to be done for KEEPER_LOOK_MS; false: not within `steps`. */
bool world_settle(struct world *world, struct world_keeper *keeper, int steps);

int world_make_root(struct world *world, int64_t not_before, int64_t not_after);
void world_set_leaf(struct world *world, struct world_leaf leaf);
void world_set_bundle(struct world *world, size_t index, const struct world_set *set);
bool world_set_has(const struct world_set *set, int root);
void world_set_add(struct world_set *set, int root);

/* The invariant: every leaf that may be served verifies against every caBundle that may be used, by signature, and,
 * where the clock of the wall is right, in time. A caBundle without any root (nobody ever trusted us) counts for
 * nothing. */
bool world_verifies(const struct world *world, bool time_too);

#endif
