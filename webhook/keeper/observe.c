#include "webhook/keeper/observe.h"

static uint64_t since(const struct keeper_memory *memory, const keeper_digest digest, uint64_t now_ms)
{
    for (size_t i = 0; i < memory->root_count; i++) {
        if (memcmp(memory->roots[i].digest, digest, sizeof(keeper_digest)) == 0)
            return memory->roots[i].since_ms;
    }
    return now_ms;
}

/* What is not in every caBundle any more is forgotten. */
static void observe_roots(struct keeper_memory *memory, const keeper_digest *digests, struct keeper_view *view)
{
    struct keeper_seen seen[FL_ROOTS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < view->root_count; i++) {
        bool there = view->bundle_count > 0 && (view->everywhere & keeper_bit((int)i)) != 0;
        view->roots[i].in_force_since_ms = there ? since(memory, digests[i], view->now_ms) : KEEPER_NEVER;
        if (there) {
            memcpy(seen[count].digest, digests[i], sizeof(keeper_digest));
            seen[count++].since_ms = view->roots[i].in_force_since_ms;
        }
    }
    memcpy(memory->roots, seen, count * sizeof(seen[0]));
    memory->root_count = count;
}

/* The one whose digest comes first, where the leaf bears more than one signature that counts (which no leaf does). */
static int issuer_of(const keeper_digest *digests, const struct keeper_view *view)
{
    int issuer = -1;
    for (int i = 0; i < (int)view->root_count; i++) {
        if ((view->leaf_issuers & keeper_bit(i)) != 0 &&
            (issuer < 0 || memcmp(digests[i], digests[issuer], sizeof(keeper_digest)) < 0))
            issuer = i;
    }
    return issuer;
}

static void observe_leaf(struct keeper_memory *memory, const keeper_digest *digests, struct keeper_view *view)
{
    int issuer = view->leaf_there ? issuer_of(digests, view) : -1;
    if (issuer < 0) {
        memory->has_issuer = false;
        view->leaf_since_ms = KEEPER_NEVER;
        return;
    }
    if (!memory->has_issuer || memcmp(memory->issuer.digest, digests[issuer], sizeof(keeper_digest)) != 0) {
        memory->has_issuer = true;
        memory->issuer.since_ms = view->now_ms;
        memcpy(memory->issuer.digest, digests[issuer], sizeof(keeper_digest));
    }
    view->leaf_since_ms = memory->issuer.since_ms;
}

static void observe_clock(struct keeper_memory *memory, struct keeper_view *view)
{
    int64_t offset = view->now - (int64_t)(view->now_ms / 1000);
    int64_t moved = memory->has_offset ? offset - memory->offset : 0;
    if (moved > KEEPER_JUMP_SECONDS || moved < -KEEPER_JUMP_SECONDS)
        memory->steady_from_ms = view->now_ms + KEEPER_STEADY_SECONDS * 1000;
    memory->has_offset = true;
    memory->offset = offset;
    view->clock_steady = view->now_ms >= memory->steady_from_ms;
}

void keeper_observe(struct keeper_memory *memory, const keeper_digest *digests, struct keeper_view *view)
{
    observe_roots(memory, digests, view);
    observe_leaf(memory, digests, view);
    observe_clock(memory, view);
}
