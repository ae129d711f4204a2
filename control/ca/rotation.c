#include "control/ca/rotation.h"

#define SLACK_S 3600 /* clocks, and whoever was late to notice */

static unsigned newest_of(const struct control_rotation_root *roots)
{
    unsigned newest = 0;
    for (unsigned number = 1; number <= CONTROL_ROOTS_MAX; number++) {
        if (roots[number].there && (newest == 0 || roots[number].from >= roots[newest].from))
            newest = number;
    }
    return newest;
}

/* Behind the highest, or where one went. */
static unsigned free_number(const struct control_rotation_root *roots)
{
    unsigned highest = 0, lowest_free = 0;
    for (unsigned number = 1; number <= CONTROL_ROOTS_MAX; number++) {
        if (roots[number].there)
            highest = number;
        else if (lowest_free == 0)
            lowest_free = number;
    }
    return highest < CONTROL_ROOTS_MAX ? highest + 1 : lowest_free;
}

static bool is_due(const struct control_rotation_root *newest, int64_t overlap_s, int64_t validity_s, time_t now)
{
    int64_t life = newest->to - newest->from, before = life / 5;
    if (before < 2 * (overlap_s + validity_s))
        before = 2 * (overlap_s + validity_s);
    if (before > life / 2)
        before = life / 2;
    return now >= newest->to - before;
}

/* Whether a newer one has issued for so long that nothing of this one is valid any more. */
static bool is_over(const struct control_rotation_root *roots, unsigned number, int64_t over_s, time_t now)
{
    for (unsigned other = 1; other <= CONTROL_ROOTS_MAX; other++) {
        bool newer = roots[other].there && (roots[other].from > roots[number].from ||
                                            (roots[other].from == roots[number].from && other > number));
        if (newer && now > roots[other].from + over_s)
            return true;
    }
    return now > roots[number].to;
}

struct control_rotation control_rotation_plan(const struct control_rotation_root roots[CONTROL_ROOTS_MAX + 1],
                                              uint32_t overlap_s, uint32_t validity_s, bool asked, time_t now)
{
    struct control_rotation plan = {0};
    unsigned newest = newest_of(roots);
    int64_t over_s = (int64_t)overlap_s + validity_s + SLACK_S;
    for (unsigned number = 1; number <= CONTROL_ROOTS_MAX; number++) {
        if (roots[number].there && number != newest && is_over(roots, number, over_s, now))
            plan.drop |= 1u << number;
    }
    if (asked || newest == 0 || is_due(&roots[newest], overlap_s, validity_s, now))
        plan.make = free_number(roots);
    return plan;
}
