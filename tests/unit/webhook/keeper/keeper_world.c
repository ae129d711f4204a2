#include "tests/unit/webhook/keeper/keeper_world.h"

#include <assert.h>

bool world_set_has(const struct world_set *set, int root)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->roots[i] == root)
            return true;
    }
    return false;
}

void world_set_add(struct world_set *set, int root)
{
    if (root < 0 || world_set_has(set, root))
        return;
    assert(set->count < WORLD_SET);
    set->roots[set->count++] = root;
}

void world_init(struct world *world)
{
    *world = (struct world){.current = -1, .next = -1, .now_ms = 1000, .bundle_count = 2};
    keeper_policy_init(&world->policy);
}

int world_make_root(struct world *world, int64_t not_before, int64_t not_after)
{
    assert(world->root_count < WORLD_ROOTS);
    world->roots[world->root_count].not_before = not_before;
    world->roots[world->root_count].not_after = not_after;
    return world->root_count++;
}

void world_set_leaf(struct world *world, struct world_leaf leaf)
{
    if (world->leaf.there) {
        world->leaf.until_ms = world->now_ms;
        world->past_leaves[world->past_leaf++ % WORLD_PAST] = world->leaf;
    }
    world->leaf = leaf;
    world->leaf_version++;
}

void world_set_bundle(struct world *world, size_t index, const struct world_set *set)
{
    struct world_bundle *bundle = &world->bundles[index];
    bundle->until_ms = world->now_ms;
    world->past_bundles[index][world->past_bundle[index]++ % WORLD_PAST] = *bundle;
    *bundle = (struct world_bundle){.roots = *set};
    world->bundle_version[index]++;
}

/* The view's index of a root, which is added where it is new. */
static int index_of(const struct world *world, struct world_keeper *keeper, int root)
{
    struct keeper_view *view = &keeper->view;
    if (root < 0)
        return -1;
    for (size_t i = 0; i < view->root_count; i++) {
        if (keeper->root_of[i] == root)
            return (int)i;
    }
    assert(view->root_count < FL_ROOTS_MAX);
    keeper->root_of[view->root_count] = root;
    view->roots[view->root_count].not_before = world->roots[root].not_before;
    view->roots[view->root_count].not_after = world->roots[root].not_after;
    return (int)view->root_count++;
}

static uint32_t mask_of(const struct world *world, struct world_keeper *keeper, const struct world_set *set)
{
    uint32_t mask = 0;
    for (size_t i = 0; i < set->count; i++)
        mask |= keeper_bit(index_of(world, keeper, set->roots[i]));
    return mask;
}

static struct world_set set_of(const struct world_keeper *keeper, uint32_t mask)
{
    struct world_set set = {.count = 0};
    for (size_t i = 0; i < keeper->view.root_count; i++) {
        if ((mask & keeper_bit((int)i)) != 0)
            world_set_add(&set, keeper->root_of[i]);
    }
    return set;
}

static int64_t wall(const struct world *world, const struct world_keeper *keeper)
{
    return WORLD_EPOCH + (int64_t)(world->now_ms / 1000) + keeper->clock_error;
}

void world_read(struct world *world, struct world_keeper *keeper)
{
    struct keeper_view *view = &keeper->view;
    keeper_digest digests[FL_ROOTS_MAX] = {{0}};
    *view = (struct keeper_view){.everywhere = UINT32_MAX};
    for (size_t i = 0; i < world->bundle_count; i++) {
        keeper->bundle_version[i] = world->bundle_version[i];
        if (world->blocked[i]) {
            view->blocked++;
            continue;
        }
        uint32_t mask = mask_of(world, keeper, &world->bundles[i].roots);
        view->everywhere &= mask;
        view->anywhere |= mask;
        view->bundle_count++;
    }
    if (view->bundle_count == 0)
        view->everywhere = 0;
    keeper->leaf_version = world->leaf_version;
    view->leaf_there = view->leaf_fits = world->leaf.there;
    if (world->leaf.there) {
        view->leaf_issuers = keeper_bit(index_of(world, keeper, world->leaf.root));
        view->leaf_not_before = world->leaf.not_before;
        view->leaf_not_after = world->leaf.not_after;
    }
    keeper->ca_version = world->ca_version;
    view->current = index_of(world, keeper, world->current);
    view->next = index_of(world, keeper, world->next);
    view->old = mask_of(world, keeper, &world->old) & ~keeper_bit(view->current) & ~keeper_bit(view->next);
    view->now = wall(world, keeper);
    view->now_ms = world->now_ms - keeper->monotonic;
    for (size_t i = 0; i < view->root_count; i++)
        memcpy(digests[i], &keeper->root_of[i], sizeof(int));
    keeper_observe(&keeper->memory, digests, view);
    keeper->has_read = true;
}

static void write_ca(struct world *world, const struct world_keeper *keeper, const struct keeper_decision *decision)
{
    if (keeper->ca_version != world->ca_version)
        return; /* 409 */
    int64_t from = wall(world, keeper) - (int64_t)KEEPER_BACKDATE_SECONDS;
    if (decision->step == KEEPER_MAKE_ROOT) {
        world->current = world_make_root(world, from, decision->not_after);
        world->next = -1;
    } else if (decision->step == KEEPER_MAKE_NEXT) {
        world->next = world_make_root(world, from, decision->not_after);
    } else if (decision->step == KEEPER_PROMOTE) {
        world->current = world->next;
        world->next = -1;
    }
    world->old = set_of(keeper, decision->old);
    world->ca_version++;
}

static void write_leaf(struct world *world, const struct world_keeper *keeper, const struct keeper_decision *decision)
{
    if (keeper->leaf_version != world->leaf_version)
        return;
    world_set_leaf(world, (struct world_leaf){.there = true,
                                              .root = keeper->root_of[keeper->view.current],
                                              .not_before = wall(world, keeper) - (int64_t)KEEPER_BACKDATE_SECONDS,
                                              .not_after = decision->not_after});
}

static void write_bundles(struct world *world, const struct world_keeper *keeper, uint32_t mask)
{
    struct world_set set = set_of(keeper, mask);
    for (size_t i = 0; i < world->bundle_count; i++) {
        if (!world->blocked[i] && keeper->bundle_version[i] == world->bundle_version[i])
            world_set_bundle(world, i, &set);
    }
}

struct keeper_decision world_act(struct world *world, struct world_keeper *keeper)
{
    struct keeper_decision decision = keeper_rotate(&keeper->view, &world->policy);
    keeper->has_read = false;
    world->steps++;
    if (decision.step == KEEPER_MAKE_LEAF)
        write_leaf(world, keeper, &decision);
    else if (decision.step == KEEPER_PUBLISH)
        write_bundles(world, keeper, decision.bundle);
    else if (decision.step != KEEPER_IDLE)
        write_ca(world, keeper, &decision);
    return decision;
}

struct keeper_decision world_step(struct world *world, struct world_keeper *keeper)
{
    world_read(world, keeper);
    return world_act(world, keeper);
}

bool world_settle(struct world *world, struct world_keeper *keeper, int steps)
{
    for (; steps > 0; steps--) {
        struct keeper_decision decision = world_step(world, keeper);
        if (decision.step != KEEPER_IDLE)
            continue;
        if (decision.look_ms == KEEPER_LOOK_MS && world->next < 0 && world->old.count == 0)
            return true;
        world->now_ms += decision.look_ms;
    }
    return false;
}

static bool pair_verifies(const struct world *world, const struct world_leaf *leaf, const struct world_bundle *bundle,
                          bool time_too)
{
    if (!leaf->there || bundle->roots.count == 0)
        return true;
    int64_t now = WORLD_EPOCH + (int64_t)(world->now_ms / 1000);
    if (!world_set_has(&bundle->roots, leaf->root))
        return false;
    return !time_too || (leaf->not_before <= now && now < leaf->not_after &&
                         world->roots[leaf->root].not_before <= now && now < world->roots[leaf->root].not_after);
}

static bool is_in_use(const struct world *world, uint64_t until_ms, uint64_t delay)
{
    return until_ms == 0 || until_ms + delay * 1000 > world->now_ms;
}

static bool leaf_verifies(const struct world *world, const struct world_leaf *leaf, bool time_too)
{
    for (size_t i = 0; i < world->bundle_count; i++) {
        if (!pair_verifies(world, leaf, &world->bundles[i], time_too))
            return false;
        for (size_t past = 0; past < WORLD_PAST && past < world->past_bundle[i]; past++) {
            const struct world_bundle *bundle = &world->past_bundles[i][past];
            if (is_in_use(world, bundle->until_ms, world->policy.propagation) &&
                !pair_verifies(world, leaf, bundle, time_too))
                return false;
        }
    }
    return true;
}

bool world_verifies(const struct world *world, bool time_too)
{
    if (!leaf_verifies(world, &world->leaf, time_too))
        return false;
    for (size_t past = 0; past < WORLD_PAST && past < world->past_leaf; past++) {
        const struct world_leaf *leaf = &world->past_leaves[past];
        if (is_in_use(world, leaf->until_ms, world->policy.overlap) && !leaf_verifies(world, leaf, time_too))
            return false;
    }
    return true;
}
