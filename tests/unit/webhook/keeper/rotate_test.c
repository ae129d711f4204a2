#include "tests/unit/webhook/keeper/keeper_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct keeper_policy seconds_policy(void)
{
    return (struct keeper_policy){
        .validity = 100, .renew_before = 40, .ca_validity = 400, .propagation = 10, .overlap = 20};
}

/* A view in which all is well: root 0 in force for long, its leaf in the Secret for long. */
static struct keeper_view good_view(const struct keeper_policy *policy)
{
    struct keeper_view view = {
        .now = WORLD_EPOCH,
        .now_ms = 1000000000,
        .clock_steady = true,
        .root_count = 2,
        .current = 0,
        .next = -1,
        .leaf_there = true,
        .leaf_fits = true,
        .leaf_not_before = WORLD_EPOCH - 10,
        .leaf_not_after = WORLD_EPOCH + (int64_t)policy->validity - 10,
        .leaf_issuers = 1,
        .leaf_since_ms = 0,
        .bundle_count = 3,
        .everywhere = 1,
        .anywhere = 1,
    };
    view.roots[0] = (struct keeper_root){WORLD_EPOCH - 10, WORLD_EPOCH + (int64_t)policy->ca_validity - 10, 0};
    view.roots[1] = (struct keeper_root){WORLD_EPOCH - 10, WORLD_EPOCH + (int64_t)policy->ca_validity, KEEPER_NEVER};
    return view;
}

#define IDLE_FOR(seconds) ((seconds)*UINT64_C(1000))

struct row {
    const char *name;
    void (*change)(struct keeper_view *view);
    enum keeper_step step;
    uint32_t bundle, old;
    uint64_t look_ms;
};

static void as_it_is(struct keeper_view *view)
{
    (void)view;
}
static void nothing_is_there(struct keeper_view *view)
{
    view->current = -1;
    view->leaf_there = false;
    view->everywhere = view->anywhere = view->leaf_issuers = 0;
}
static void root_without_leaf(struct keeper_view *view)
{
    nothing_is_there(view);
    view->current = 0;
    view->roots[0].in_force_since_ms = KEEPER_NEVER;
}
static void leaf_without_bundle(struct keeper_view *view)
{
    view->everywhere = view->anywhere = 0;
}
static void leaf_ends(struct keeper_view *view)
{
    view->leaf_not_after = view->now + 40;
}
static void leaf_ends_in_a_second(struct keeper_view *view)
{
    view->leaf_not_after = view->now + 41;
}
static void leaf_ended(struct keeper_view *view)
{
    view->leaf_not_after = view->now - 5;
}
static void leaf_of_the_future(struct keeper_view *view)
{
    view->leaf_not_before = view->now + 1;
}
static void leaf_for_other_names(struct keeper_view *view)
{
    view->leaf_fits = false;
    view->roots[0].in_force_since_ms = view->now_ms;
}
static void leaf_as_long_as_its_root(struct keeper_view *view)
{
    view->roots[0].not_after = view->now + 30;
    view->leaf_not_after = view->now + 30;
    view->next = 1; /* which is on its way */
    view->everywhere = view->anywhere = 3;
    view->roots[1].in_force_since_ms = view->now_ms;
}
static void clock_jumped(struct keeper_view *view)
{
    view->clock_steady = false;
    view->now += 100 * 365 * 86400LL;
}
static void clock_jumped_and_bundle_gone(struct keeper_view *view)
{
    clock_jumped(view);
    view->everywhere = view->anywhere = 0;
}
static void root_ends(struct keeper_view *view)
{
    view->roots[0].not_after = view->now + 140;
}
static void root_ended(struct keeper_view *view)
{
    view->roots[0].not_after = view->now;
    view->leaf_not_after = view->now;
}
static void next_is_made(struct keeper_view *view)
{
    root_ends(view);
    view->next = 1;
}
static void next_is_published(struct keeper_view *view)
{
    next_is_made(view);
    view->everywhere = view->anywhere = 3;
    view->roots[1].in_force_since_ms = view->now_ms - 4000;
}
static void next_is_in_one_bundle(struct keeper_view *view)
{
    next_is_made(view);
    view->anywhere = 3;
}
static void next_is_in_force(struct keeper_view *view)
{
    next_is_published(view);
    view->roots[1].in_force_since_ms = view->now_ms - 10000;
}
static void next_is_in_force_and_one_is_blocked(struct keeper_view *view)
{
    next_is_in_force(view);
    view->blocked = 1;
}
static void blocked_and_the_root_cannot_renew(struct keeper_view *view)
{
    next_is_in_force_and_one_is_blocked(view);
    view->roots[0].not_after = view->now + 40;
    view->leaf_not_after = view->now + 40;
}
static void next_ended(struct keeper_view *view)
{
    next_is_in_force(view);
    view->roots[1].not_after = view->now;
}
static void promoted(struct keeper_view *view)
{
    next_is_in_force(view);
    view->current = 1;
    view->next = -1;
    view->old = 1;
}
static void promoted_and_bundle_was_wiped(struct keeper_view *view)
{
    promoted(view);
    view->everywhere = view->anywhere = 0;
    view->roots[0].in_force_since_ms = view->roots[1].in_force_since_ms = KEEPER_NEVER;
}
static void promoted_restarted(struct keeper_view *view)
{
    promoted(view);
    view->roots[1].in_force_since_ms = view->now_ms;
}
static void switched(struct keeper_view *view)
{
    promoted(view);
    view->leaf_issuers = 2;
    view->leaf_not_after = view->now + 100;
    view->leaf_since_ms = view->now_ms - 5000;
}
static void overlapped(struct keeper_view *view)
{
    switched(view);
    view->leaf_since_ms = view->now_ms - 20000;
}
static void dropped(struct keeper_view *view)
{
    overlapped(view);
    view->old = 0;
}
static void stranger_in_a_bundle(struct keeper_view *view)
{
    view->anywhere = 3;
}
static void stranger_while_not_settled(struct keeper_view *view)
{
    view->anywhere = 3;
    view->leaf_since_ms = view->now_ms - 1000;
}
static void ca_secret_lost(struct keeper_view *view)
{
    view->current = -1;
}
static void ca_secret_lost_but_next(struct keeper_view *view)
{
    next_is_published(view);
    view->current = -1;
}
static void both_secrets_lost(struct keeper_view *view)
{
    view->current = -1;
    view->leaf_there = false;
    view->leaf_issuers = 0;
}
static void both_lost_and_new_root_published(struct keeper_view *view)
{
    both_secrets_lost(view);
    view->current = 1;
    view->old = 1;
    view->everywhere = view->anywhere = 3;
    view->roots[1].in_force_since_ms = view->now_ms - 1000;
}
static void leaf_secret_lost(struct keeper_view *view)
{
    view->leaf_there = false;
    view->leaf_issuers = 0;
    view->roots[0].in_force_since_ms = view->now_ms; /* and the keeper has just started */
}
static void leaf_of_somebody_else(struct keeper_view *view)
{
    view->leaf_issuers = 0;
}
static void no_configuration(struct keeper_view *view)
{
    view->bundle_count = 0;
    view->everywhere = view->anywhere = 0;
    view->roots[0].in_force_since_ms = KEEPER_NEVER;
}
static void all_blocked_and_a_foreign_leaf(struct keeper_view *view)
{
    no_configuration(view);
    view->blocked = 3;
    view->leaf_issuers = 0;
}
static void external_as_it_is(struct keeper_view *view)
{
    view->external = true;
    view->current = -1;
    view->given = 1;
}
static void external_new_root(struct keeper_view *view)
{
    external_as_it_is(view);
    view->given = 2;
    view->leaf_issuers = 2;
    view->leaf_since_ms = view->now_ms;
}
static void external_overlapped(struct keeper_view *view)
{
    external_new_root(view);
    view->everywhere = view->anywhere = 3;
    view->leaf_since_ms = view->now_ms - 20000;
}
static void external_without_roots(struct keeper_view *view)
{
    external_as_it_is(view);
    view->given = 0;
    view->leaf_there = false;
}

static void each_state_has_its_step(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"all is well", as_it_is, KEEPER_IDLE, 0, 0, IDLE_FOR(50)},
        {"nothing is there", nothing_is_there, KEEPER_MAKE_ROOT, 0, 0, 0},
        {"a root, no leaf, no caBundle", root_without_leaf, KEEPER_MAKE_LEAF, 0, 0, 0},
        {"no caBundle", leaf_without_bundle, KEEPER_PUBLISH, 1, 0, 0},
        {"the leaf ends", leaf_ends, KEEPER_MAKE_LEAF, 0, 0, 0},
        {"the leaf ends in a second", leaf_ends_in_a_second, KEEPER_IDLE, 0, 0, IDLE_FOR(1)},
        {"the leaf ended", leaf_ended, KEEPER_MAKE_LEAF, 0, 0, 0},
        {"the leaf is not valid yet", leaf_of_the_future, KEEPER_MAKE_LEAF, 0, 0, 0},
        {"the leaf is for other names", leaf_for_other_names, KEEPER_MAKE_LEAF, 0, 0, 0},
        {"a leaf cannot outlive its root", leaf_as_long_as_its_root, KEEPER_IDLE, 0, 0, IDLE_FOR(10)},
        {"the clock jumped", clock_jumped, KEEPER_IDLE, 0, 0, IDLE_FOR(1)},
        {"the clock jumped, no caBundle", clock_jumped_and_bundle_gone, KEEPER_PUBLISH, 1, 0, 0},
        {"the root ends", root_ends, KEEPER_MAKE_NEXT, 0, 0, 0},
        {"the root ended", root_ended, KEEPER_MAKE_NEXT, 0, 0, 0},
        {"the next root is made", next_is_made, KEEPER_PUBLISH, 3, 0, 0},
        {"the next root is in one of three", next_is_in_one_bundle, KEEPER_PUBLISH, 3, 0, 0},
        {"the next root is on its way", next_is_published, KEEPER_IDLE, 0, 0, IDLE_FOR(6)},
        {"the next root is in force", next_is_in_force, KEEPER_PROMOTE, 0, 1, 0},
        {"a caBundle is another's", next_is_in_force_and_one_is_blocked, KEEPER_IDLE, 0, 0, IDLE_FOR(10)},
        {"another's, and the root ends", blocked_and_the_root_cannot_renew, KEEPER_PROMOTE, 0, 1, 0},
        {"the next root ended", next_ended, KEEPER_MAKE_NEXT, 0, 2, 0},
        {"promoted", promoted, KEEPER_MAKE_LEAF, 0, 0, 0},
        {"promoted, caBundle wiped", promoted_and_bundle_was_wiped, KEEPER_PUBLISH, 3, 0, 0},
        {"promoted, keeper restarted", promoted_restarted, KEEPER_IDLE, 0, 0, IDLE_FOR(10)},
        {"the leaf is switched", switched, KEEPER_IDLE, 0, 0, IDLE_FOR(15)},
        {"the overlap is over", overlapped, KEEPER_DROP_OLD, 0, 0, 0},
        {"the old root is dropped", dropped, KEEPER_PUBLISH, 2, 0, 0},
        {"a stranger's root", stranger_in_a_bundle, KEEPER_PUBLISH, 1, 0, 0},
        {"a stranger's root, not settled", stranger_while_not_settled, KEEPER_PUBLISH, 3, 0, 0},
        {"the CA's Secret is lost", ca_secret_lost, KEEPER_MAKE_ROOT, 0, 1, 0},
        {"the root is lost, the next one not", ca_secret_lost_but_next, KEEPER_PROMOTE, 0, 1, 0},
        {"both Secrets are lost", both_secrets_lost, KEEPER_MAKE_ROOT, 0, 1, 0},
        {"both lost: old leaves are served", both_lost_and_new_root_published, KEEPER_IDLE, 0, 0, IDLE_FOR(9)},
        {"the leaf's Secret is lost", leaf_secret_lost, KEEPER_MAKE_LEAF, 0, 0, 0},
        {"the leaf is somebody else's", leaf_of_somebody_else, KEEPER_MAKE_LEAF, 0, 0, 0},
        {"there is no configuration", no_configuration, KEEPER_IDLE, 0, 0, IDLE_FOR(50)},
        {"everything is another's", all_blocked_and_a_foreign_leaf, KEEPER_IDLE, 0, 0, IDLE_FOR(10)},
        {"external", external_as_it_is, KEEPER_IDLE, 0, 0, KEEPER_LOOK_MS},
        {"external: a new root", external_new_root, KEEPER_PUBLISH, 3, 0, 0},
        {"external: overlapped", external_overlapped, KEEPER_PUBLISH, 2, 0, 0},
        {"external: no root", external_without_roots, KEEPER_IDLE, 0, 0, KEEPER_LOOK_MS},
    };
    const struct keeper_policy policy = seconds_policy();
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct keeper_view view = good_view(&policy);
        rows[i].change(&view);
        struct keeper_decision decision = keeper_rotate(&view, &policy);
        if (decision.step != rows[i].step || decision.bundle != rows[i].bundle || decision.old != rows[i].old ||
            decision.look_ms != rows[i].look_ms || decision.why == NULL)
            fail_msg("%s: %s (%s), bundle %x, old %x, %llu ms", rows[i].name, keeper_step_word(decision.step),
                     decision.why, decision.bundle, decision.old, (unsigned long long)decision.look_ms);
    }
}

static void fresh_install_is_ready_without_waiting(void **state)
{
    (void)state;
    struct world world;
    struct world_keeper keeper = {0};
    static const enum keeper_step steps[] = {KEEPER_MAKE_ROOT, KEEPER_MAKE_LEAF, KEEPER_PUBLISH, KEEPER_IDLE};
    world_init(&world);
    for (size_t i = 0; i < FL_COUNT(steps); i++)
        assert_int_equal(world_step(&world, &keeper).step, steps[i]);
    assert_true(world_verifies(&world, true));
}

static void twenty_years_of_one_keeper(void **state)
{
    (void)state;
    struct world world;
    struct world_keeper keeper = {0};
    uint64_t idle = 0, end = 20 * 365 * KEEPER_DAY * 1000;
    world_init(&world);
    while (world.now_ms < end) {
        struct keeper_decision decision = world_step(&world, &keeper);
        if (!world_verifies(&world, true))
            fail_msg("at %llu s", (unsigned long long)(world.now_ms / 1000));
        if (decision.step == KEEPER_IDLE) {
            assert_true(decision.look_ms > 0);
            world.now_ms += decision.look_ms;
            idle++;
        }
    }
    assert_in_range(world.root_count, 20, 25);
    /* A leaf every 20 days, four or five steps for each root: it writes no more than that. */
    assert_in_range(world.steps - idle, 365, 365 + 6 * 25 + 10);
}

/* Crashes at every step of a rotation, with a new process each time. */
static void a_crash_at_every_step(void **state)
{
    (void)state;
    for (int crash_at = 0; crash_at < 40; crash_at++) {
        struct world world;
        struct world_keeper keeper = {0};
        world_init(&world);
        world.policy = seconds_policy();
        for (int step = 0; step < 400; step++) {
            if (step % 40 == crash_at)
                keeper = (struct world_keeper){.monotonic = world.now_ms};
            struct keeper_decision decision = world_step(&world, &keeper);
            if (!world_verifies(&world, true))
                fail_msg("crash at %d, step %d", crash_at, step);
            if (decision.step == KEEPER_IDLE)
                world.now_ms += decision.look_ms;
        }
        assert_true(world.root_count > 2);
    }
}

static void a_keeper_that_was_away_for_two_years(void **state)
{
    (void)state;
    struct world world;
    struct world_keeper keeper = {0};
    world_init(&world);
    assert_true(world_settle(&world, &keeper, 100));
    int root = world.current;
    world.now_ms += 2 * 365 * KEEPER_DAY * 1000;
    keeper = (struct world_keeper){.monotonic = world.now_ms};
    for (int i = 0; i < 30; i++) {
        struct keeper_decision decision = world_step(&world, &keeper);
        assert_true(world_verifies(&world, false)); /* ended, but never of a root that is not trusted */
        if (decision.step == KEEPER_IDLE)
            world.now_ms += decision.look_ms;
    }
    assert_true(world_settle(&world, &keeper, 100));
    assert_true(world.current != root);
    assert_true(world_verifies(&world, true));
    assert_int_equal(world.bundles[0].roots.count, 1);
}

static void a_clock_that_jumps_and_comes_back(void **state)
{
    (void)state;
    struct world world;
    struct world_keeper keeper = {0};
    world_init(&world);
    assert_true(world_settle(&world, &keeper, 100));
    int roots = world.root_count;
    uint64_t version = world.leaf_version;
    keeper.clock_error = 3 * 365 * 86400LL;
    for (int i = 0; i < 30; i++) {
        assert_int_equal(world_step(&world, &keeper).step, KEEPER_IDLE);
        world.now_ms += 1000;
    }
    keeper.clock_error = 0;
    assert_true(world_settle(&world, &keeper, 200));
    assert_int_equal(world.root_count, roots);
    assert_int_equal(world.leaf_version, version);
}

/* Each of these once did harm somewhere: garbage, loss and edits, and it comes right again without one failure that the
 * edit itself did not cause. */
static void others_edit_and_it_comes_right(void **state)
{
    (void)state;
    for (int edit = 0; edit < 8; edit++) {
        struct world world;
        struct world_keeper keeper = {0};
        struct world_set stranger = {.count = 0}, none = {.count = 0};
        world_init(&world);
        assert_true(world_settle(&world, &keeper, 100));
        bool lasting = true; /* the invariant holds through it */
        world_set_add(&stranger, world_make_root(&world, WORLD_EPOCH - 1, WORLD_EPOCH + 1000000000));
        if (edit == 0 || edit == 2)
            world.current = -1, world.ca_version++;
        if (edit == 1 || edit == 2)
            world_set_leaf(&world, (struct world_leaf){.there = false});
        if (edit == 3) {
            world_set_bundle(&world, 0, &stranger);
            lasting = false;
        }
        if (edit == 4) {
            world_set_bundle(&world, 1, &none);
        }
        if (edit == 5) {
            world_set_leaf(&world, (struct world_leaf){true, stranger.roots[0], 0, WORLD_EPOCH + 10000000, 0});
            lasting = false;
        }
        if (edit == 6)
            world.next = stranger.roots[0], world.ca_version++;
        if (edit == 7) {
            world.current = stranger.roots[0];
            world.ca_version++;
        }
        for (int i = 0; i < 200; i++) {
            struct keeper_decision decision = world_step(&world, &keeper);
            if (lasting && !world_verifies(&world, true))
                fail_msg("edit %d, step %d (%s)", edit, i, keeper_step_word(decision.step));
            if (decision.step == KEEPER_IDLE)
                world.now_ms += decision.look_ms;
        }
        assert_true(world_settle(&world, &keeper, 200));
        assert_true(world_verifies(&world, true));
        for (size_t i = 0; i < world.bundle_count; i++) {
            assert_int_equal(world.bundles[i].roots.count, 1);
            assert_int_equal(world.bundles[i].roots.roots[0], world.current);
        }
    }
}

static uint64_t draw(uint64_t *seed, uint64_t below)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed % below;
}

/* What others do to the Secrets at random. The caBundles are left alone here: what somebody writes there is in force
 * before any keeper can do something about it. */
static void disturb(struct world *world, uint64_t *seed)
{
    switch (draw(seed, 6)) {
    case 0:
        world->current = -1;
        break;
    case 1:
        world->next = -1;
        break;
    case 2:
        world->current = world->next = -1;
        world->old = (struct world_set){.count = 0};
        break;
    case 3:
        world->old = (struct world_set){.count = 0};
        break;
    default:
        world_set_leaf(world, (struct world_leaf){.there = false});
        break;
    }
    world->ca_version++;
}

static struct keeper_policy random_policy(uint64_t *seed)
{
    struct keeper_policy policy = {.propagation = draw(seed, 20), .overlap = draw(seed, 40)};
    policy.renew_before = policy.propagation + policy.overlap + 1 + draw(seed, 50);
    policy.validity = policy.renew_before + 1 + draw(seed, 200);
    policy.ca_validity = 2 * keeper_policy_ca_renew_before(&policy) + draw(seed, 500);
    assert_int_equal(keeper_policy_check(&policy, NULL), 0);
    return policy;
}

enum trouble { CALM = 0, CRASHES = 1, EDITS = 2, CLOCKS = 4 };

/* One random life. CALM: one keeper, which acts in time. CRASHES: two that both believe to be the one, each acting on
 * what it read at any time before, dying anywhere. EDITS: others edit Secrets. CLOCKS: the clocks of the wall are
 * wrong. */
static void one_life(uint64_t number, unsigned trouble)
{
    uint64_t seed = number * 2654435761u + 88172645463325252u;
    struct world world;
    struct world_keeper keepers[2] = {0};
    world_init(&world);
    world.policy = random_policy(&seed);
    world.bundle_count = 1 + draw(&seed, WORLD_BUNDLES);
    uint64_t clock_error = (trouble & CRASHES) != 0 ? 50 : 2000; /* two that disagree for ever get nowhere */
    int edits = (trouble & EDITS) != 0 ? 5 : 0;
    for (int i = 0; i < 600; i++) {
        struct world_keeper *keeper = &keepers[(trouble & CRASHES) != 0 ? draw(&seed, 2) : 0];
        if ((trouble & CRASHES) != 0 && draw(&seed, 40) == 0)
            *keeper = (struct world_keeper){.monotonic = world.now_ms};
        if ((trouble & CLOCKS) != 0 && draw(&seed, 60) == 0)
            keeper->clock_error = (int64_t)draw(&seed, 2 * clock_error) - (int64_t)clock_error;
        if (edits > 0 && draw(&seed, 50) == 0 && edits-- > 0)
            disturb(&world, &seed);
        struct keeper_decision decision = {.step = KEEPER_IDLE, .look_ms = 1000};
        if ((trouble & CRASHES) == 0)
            decision = world_step(&world, keeper);
        else if (!keeper->has_read)
            world_read(&world, keeper);
        else
            decision = world_act(&world, keeper);
        if (!world_verifies(&world, trouble == CALM))
            fail_msg("life %llu, trouble %u, step %d: after %s", (unsigned long long)number, trouble, i,
                     keeper_step_word(decision.step));
        if (decision.step == KEEPER_IDLE && (trouble == CALM || draw(&seed, 3) == 0))
            world.now_ms += 1 + draw(&seed, decision.look_ms + 1);
    }
    struct world_keeper last = {.monotonic = world.now_ms};
    for (int i = 0; i < 100; i++) {
        struct keeper_decision decision = world_step(&world, &last);
        if (decision.step == KEEPER_IDLE)
            world.now_ms += decision.look_ms;
    }
    if (!world_verifies(&world, true))
        fail_msg("life %llu, trouble %u, does not come right", (unsigned long long)number, trouble);
}

static void every_leaf_verifies_against_every_bundle(void **state)
{
    (void)state;
    for (uint64_t number = 1; number <= 1500; number++) {
        for (unsigned trouble = CALM; trouble <= (CRASHES | EDITS | CLOCKS); trouble++)
            one_life(number, trouble);
    }
}

static void policies_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *name, *option;
        struct keeper_policy policy;
    } rows[] = {
        {"a leaf of one second", "--validity", {1, 1, 400, 0, 0}},
        {"no renewal", "--renew-before", {100, 0, 400, 0, 0}},
        {"a root of eleven years", "--ca-validity", {100, 40, 11 * 366 * KEEPER_DAY, 0, 0}},
        {"an overlap of eight days", "--overlap", {100, 40, 400, 0, 8 * KEEPER_DAY}},
        {"a propagation of eight days", "--propagation", {100, 40, 400, 8 * KEEPER_DAY, 0}},
        {"renewed at once", "--renew-before", {100, 100, 400, 10, 20}},
        {"no time for the waits", "--renew-before", {100, 30, 400, 10, 20}},
        {"a root too short", "--ca-validity", {100, 40, 279, 10, 20}},
    };
    struct keeper_policy policy;
    keeper_policy_init(&policy);
    assert_int_equal(keeper_policy_check(&policy, NULL), 0);
    policy = (struct keeper_policy){100, 40, 280, 10, 20};
    assert_int_equal(keeper_policy_check(&policy, NULL), 0);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_err err = {0};
        if (keeper_policy_check(&rows[i].policy, &err) >= 0 ||
            strncmp(err.text, rows[i].option, strlen(rows[i].option)))
            fail_msg("%s: %s", rows[i].name, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_state_has_its_step),
        cmocka_unit_test(fresh_install_is_ready_without_waiting),
        cmocka_unit_test(twenty_years_of_one_keeper),
        cmocka_unit_test(a_crash_at_every_step),
        cmocka_unit_test(a_keeper_that_was_away_for_two_years),
        cmocka_unit_test(a_clock_that_jumps_and_comes_back),
        cmocka_unit_test(others_edit_and_it_comes_right),
        cmocka_unit_test(every_leaf_verifies_against_every_bundle),
        cmocka_unit_test(policies_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
