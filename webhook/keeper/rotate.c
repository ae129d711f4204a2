#include "webhook/keeper/rotate.h"

#define SOON_MS UINT64_C(50) /* a wait that is over all but for a tick of the clock */

const char *keeper_step_word(enum keeper_step step)
{
#define STEP_CASE(name, word)                                                                                          \
    case KEEPER_##name:                                                                                                \
        return word;
    switch (step) {
        KEEPER_STEPS(STEP_CASE)
    default:
        return "?";
    }
#undef STEP_CASE
}

static uint64_t elapsed_ms(const struct keeper_view *view, uint64_t since_ms)
{
    return since_ms == KEEPER_NEVER || since_ms > view->now_ms ? 0 : view->now_ms - since_ms;
}

/* Milliseconds until `seconds` have passed since then; 0: they have. A wait that has not begun is a whole one. */
static uint64_t left_ms(const struct keeper_view *view, uint64_t since_ms, uint64_t seconds)
{
    uint64_t passed = elapsed_ms(view, since_ms), wait = seconds * 1000;
    if (since_ms == KEEPER_NEVER)
        return wait > 0 ? wait : SOON_MS;
    return passed >= wait ? 0 : wait - passed;
}

/* Milliseconds until the clock of the wall says `at`; 0: it does. */
static uint64_t until_ms(const struct keeper_view *view, int64_t at)
{
    if (at <= view->now)
        return 0;
    uint64_t seconds = (uint64_t)at - (uint64_t)view->now;
    return seconds > KEEPER_SECONDS_MAX ? KEEPER_LOOK_MS : seconds * 1000;
}

static const struct keeper_root *root_at(const struct keeper_view *view, int index)
{
    return index >= 0 ? &view->roots[index] : NULL;
}

static bool is_valid(const struct keeper_view *view, int index)
{
    const struct keeper_root *root = root_at(view, index);
    return root != NULL && root->not_before <= view->now && view->now < root->not_after;
}

/* Every API server knows this root, as far as caBundles can be written. */
static bool is_in_force(const struct keeper_view *view, const struct keeper_policy *policy, int index)
{
    const struct keeper_root *root = root_at(view, index);
    if (root == NULL)
        return false;
    if (view->bundle_count == 0)
        return view->blocked == 0; /* there is no configuration: nobody asks any webhook */
    return left_ms(view, root->in_force_since_ms, policy->propagation) == 0;
}

/* The roots of the leaf that is to be served: what the CA's Secret says, or the other manager's. */
static uint32_t wanted_issuers(const struct keeper_view *view)
{
    return view->external ? view->given : keeper_bit(view->current);
}

static bool leaf_is_of_wanted(const struct keeper_view *view)
{
    return view->leaf_there && (view->leaf_issuers & wanted_issuers(view)) != 0;
}

/* No webhook serves a leaf of another root any more. */
static bool is_settled(const struct keeper_view *view, const struct keeper_policy *policy)
{
    return leaf_is_of_wanted(view) && left_ms(view, view->leaf_since_ms, policy->overlap) == 0;
}

/* At most `max` of a set, those that end last: a root that ended verifies nothing. `needed` stay. */
static uint32_t trim(const struct keeper_view *view, uint32_t set, uint32_t needed, int max)
{
    while (__builtin_popcount(set) > max && (set & ~needed) != 0) {
        int first = -1;
        for (int i = 0; i < (int)view->root_count; i++) {
            if ((set & ~needed & keeper_bit(i)) != 0 &&
                (first < 0 || view->roots[i].not_after < view->roots[first].not_after))
                first = i;
        }
        set &= ~keeper_bit(first);
    }
    return set;
}

static uint32_t trim_old(const struct keeper_view *view, uint32_t old)
{
    return trim(view, old, view->leaf_issuers, KEEPER_OLD_MAX);
}

/* What every caBundle shall hold now. */
static uint32_t wanted_bundle(const struct keeper_view *view, const struct keeper_policy *policy)
{
    uint32_t ours = keeper_bit(view->current) | keeper_bit(view->next);
    uint32_t bundle = view->external ? view->given : ours | view->old;
    if (!is_settled(view, policy))
        bundle |= view->anywhere | view->leaf_issuers;
    return trim(view, bundle, ours | view->leaf_issuers, KEEPER_BUNDLE_MAX);
}

static bool root_is_due(const struct keeper_view *view, const struct keeper_policy *policy)
{
    const struct keeper_root *root = root_at(view, view->current);
    return !is_valid(view, view->current) ||
           until_ms(view, root->not_after - (int64_t)keeper_policy_ca_renew_before(policy)) == 0;
}

static bool leaf_ends(const struct keeper_view *view, const struct keeper_policy *policy)
{
    return until_ms(view, view->leaf_not_after - (int64_t)policy->renew_before) == 0;
}

/* The next leaf's end. */
static int64_t leaf_end(const struct keeper_view *view, const struct keeper_policy *policy)
{
    const struct keeper_root *root = root_at(view, view->current);
    int64_t end = view->now + (int64_t)policy->validity;
    return root != NULL && root->not_after < end ? root->not_after : end;
}

/* Why a leaf is to be made; NULL: it is good as it is. */
static const char *leaf_is_due(const struct keeper_view *view, const struct keeper_policy *policy)
{
    if (!view->leaf_there)
        return "there is no leaf of use";
    if (!leaf_is_of_wanted(view))
        return "the leaf is of another root";
    if (!view->leaf_fits)
        return "the leaf is for other names";
    if (view->now < view->leaf_not_before)
        return "the leaf is not valid yet";
    if (leaf_ends(view, policy) && leaf_end(view, policy) > view->leaf_not_after)
        return "the leaf ends soon";
    return NULL;
}

/* Whether the present root may sign at once. A leaf of the same root as the one before changes nothing for anybody;
 * where no leaf is and no caBundle has another root, nobody can be served by anything else. A caBundle that cannot be
 * written has the old root alone: as long as the old leaf lasts, it stays. */
static bool may_sign(const struct keeper_view *view, const struct keeper_policy *policy)
{
    if (!is_valid(view, view->current))
        return false;
    uint32_t others = view->anywhere & ~keeper_bit(view->current);
    if (leaf_is_of_wanted(view) || (!view->leaf_there && others == 0 && view->blocked == 0))
        return true;
    return is_in_force(view, policy, view->current) &&
           (view->blocked == 0 || !view->leaf_there || leaf_ends(view, policy));
}

static bool may_promote(const struct keeper_view *view, const struct keeper_policy *policy)
{
    if (!is_valid(view, view->next) || !is_in_force(view, policy, view->next))
        return false;
    if (view->blocked == 0 || !is_valid(view, view->current))
        return true;
    return until_ms(view, root_at(view, view->current)->not_after - (int64_t)policy->renew_before) == 0;
}

/* What is due already, and cannot be done, is looked at again soon. */
static void look_in(struct keeper_decision *decision, uint64_t ms)
{
    if (ms == 0)
        ms = KEEPER_DUE_MS;
    if (ms < decision->look_ms)
        decision->look_ms = ms;
}

static struct keeper_decision idle(const struct keeper_view *view, const struct keeper_policy *policy)
{
    struct keeper_decision decision = {.step = KEEPER_IDLE, .why = "nothing to do", .look_ms = KEEPER_LOOK_MS};
    const struct keeper_root *current = root_at(view, view->current), *next = root_at(view, view->next);
    if (!view->clock_steady) {
        decision.why = "the clock to be steady";
        decision.look_ms = 1000;
        return decision;
    }
    if (view->external && view->given == 0)
        decision.why = "somebody to put roots into the Secret";
    if (leaf_is_of_wanted(view) && !is_settled(view, policy)) {
        decision.why = "every webhook to serve the leaf";
        look_in(&decision, left_ms(view, view->leaf_since_ms, policy->overlap));
    }
    if (view->external)
        return decision;
    if (view->leaf_there)
        look_in(&decision, until_ms(view, view->leaf_not_after - (int64_t)policy->renew_before));
    if (current != NULL && next == NULL)
        look_in(&decision, until_ms(view, current->not_after - (int64_t)keeper_policy_ca_renew_before(policy)));
    if (current != NULL && leaf_is_due(view, policy) != NULL) {
        decision.why = "every API server to know the root";
        look_in(&decision, left_ms(view, current->in_force_since_ms, policy->propagation));
    }
    if (next != NULL) {
        decision.why = "every API server to know the next root";
        look_in(&decision, left_ms(view, next->in_force_since_ms, policy->propagation));
    }
    return decision;
}

/* The Secret of the CA, as far as it can be mended without waiting. */
static bool mend_root(const struct keeper_view *view, const struct keeper_policy *policy,
                      struct keeper_decision *decision)
{
    uint32_t known = view->old | view->anywhere | view->leaf_issuers;
    if (view->current < 0 && view->next >= 0) {
        decision->step = KEEPER_PROMOTE;
        decision->why = "the root is of no use, the next one is";
        decision->old = trim_old(view, known & ~keeper_bit(view->next));
        return true;
    }
    if (view->current < 0) {
        decision->step = KEEPER_MAKE_ROOT;
        decision->why = "there is no root of use";
        decision->not_after = view->now + (int64_t)policy->ca_validity;
        decision->old = trim_old(view, known);
        return true;
    }
    return false;
}

static bool take_turn(const struct keeper_view *view, const struct keeper_policy *policy,
                      struct keeper_decision *decision)
{
    if (view->next >= 0 && may_promote(view, policy)) {
        decision->step = KEEPER_PROMOTE;
        decision->why = "every API server knows the next root";
        decision->old = trim_old(view, (view->old | keeper_bit(view->current)) & ~keeper_bit(view->next));
        return true;
    }
    bool spoilt = view->next >= 0 && !is_valid(view, view->next);
    bool full = __builtin_popcount(wanted_bundle(view, policy)) >= KEEPER_BUNDLE_MAX;
    if (full && is_valid(view, view->current)) /* until the overlap makes room */
        return false;
    if ((view->next < 0 && root_is_due(view, policy)) || spoilt) {
        decision->step = KEEPER_MAKE_NEXT;
        decision->why = spoilt                          ? "the next root is not valid"
                        : is_valid(view, view->current) ? "the root ends soon"
                                                        : "the root is not valid";
        decision->old = trim_old(view, view->old | keeper_bit(spoilt ? view->next : -1));
        decision->not_after = view->now + (int64_t)policy->ca_validity;
        return true;
    }
    return false;
}

static bool make_leaf(const struct keeper_view *view, const struct keeper_policy *policy,
                      struct keeper_decision *decision)
{
    const char *why = leaf_is_due(view, policy);
    if (why == NULL || !may_sign(view, policy))
        return false;
    decision->step = KEEPER_MAKE_LEAF;
    decision->why = why;
    decision->not_after = leaf_end(view, policy);
    return true;
}

static bool publish(const struct keeper_view *view, const struct keeper_policy *policy,
                    struct keeper_decision *decision)
{
    uint32_t bundle = wanted_bundle(view, policy);
    if (view->bundle_count == 0 || wanted_issuers(view) == 0 ||
        (view->everywhere == bundle && view->anywhere == bundle))
        return false;
    decision->step = KEEPER_PUBLISH;
    decision->why = view->anywhere == 0                 ? "there is no caBundle"
                    : (bundle & ~view->everywhere) != 0 ? "a root is missing"
                                                        : "a root is not needed any more";
    decision->bundle = bundle;
    return true;
}

struct keeper_decision keeper_rotate(const struct keeper_view *view, const struct keeper_policy *policy)
{
    struct keeper_decision decision = {.step = KEEPER_IDLE};
    /* By a clock that just jumped nothing is made: it may be set right again in a moment. */
    if (view->external || !view->clock_steady)
        return publish(view, policy, &decision) ? decision : idle(view, policy);
    if (mend_root(view, policy, &decision))
        return decision;
    /* Without any leaf, or under the same root, the leaf comes first: a webhook that starts waits for it. */
    if (make_leaf(view, policy, &decision))
        return decision;
    if (view->old != 0 && is_settled(view, policy)) {
        decision.step = KEEPER_DROP_OLD;
        decision.why = "every webhook serves the leaf of the new root";
        return decision;
    }
    if (publish(view, policy, &decision) || take_turn(view, policy, &decision))
        return decision;
    return idle(view, policy);
}
