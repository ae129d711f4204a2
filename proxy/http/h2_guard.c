/* Budgets of what a peer may do without cause (dataplane.md D5). Each kind has so many at once, wins some back with
 * time, and some with work: frames that carried something, heads and data of either direction. So a gRPC client that
 * PINGs with every message it reads is let alone, and one that does nothing but PING is not. The work is a counter that
 * the hot path increments; a budget is filled only when it has run out.
 *
 * What work has won waits until it is wanted: a server that has not run for a while reads a thousand small frames at
 * once, and says two WINDOW_UPDATEs for each of them at once too. */
#include "proxy/http/h2_inner.h"

#define WORK_KEPT 16384u /* frames of work that were not made use of yet, at most */

struct rule {
    uint32_t burst, rate, gain; /* at once; a second; for a frame of work */
    enum proxy_h2_error error;
};

static const struct rule rules[H2_KINDS] = {
    [H2_KIND_RESET] = {1000, 33, 0, PROXY_H2_ERROR_RESET_FLOOD},
    [H2_KIND_SETTINGS] = {100, 10, 0, PROXY_H2_ERROR_SETTINGS_FLOOD},
    [H2_KIND_PING] = {200, 10, 2, PROXY_H2_ERROR_PING_FLOOD},
    [H2_KIND_PRIORITY] = {500, 50, 10, PROXY_H2_ERROR_PRIORITY_FLOOD}, /* and unknown frames */
    [H2_KIND_EMPTY] = {100, 10, 0, PROXY_H2_ERROR_EMPTY_DATA_FLOOD},
    [H2_KIND_WINDOW] = {1000, 100, 10, PROXY_H2_ERROR_WINDOW_FLOOD},
};

void proxy_h2_guard_init(struct proxy_h2 *h2)
{
    for (size_t i = 0; i < H2_KINDS; i++)
        h2->budgets[i] = (struct h2_budget){.left = rules[i].burst, .at_ms = (uint32_t)h2->now_ms};
    h2->budgets[H2_KIND_RESET].left = h2->reset_burst;
}

/* As many frames of work as give `wanted` are used up; what they give. */
static uint64_t win_by_work(const struct proxy_h2 *h2, struct h2_budget *budget, uint32_t gain, uint64_t wanted)
{
    uint32_t done = h2->work - budget->work;
    if (gain == 0 || done == 0)
        return 0;
    uint32_t kept = done < WORK_KEPT ? done : WORK_KEPT;
    uint64_t useful = (wanted + gain - 1) / gain;
    uint32_t used = useful < kept ? (uint32_t)useful : kept;
    budget->work = h2->work - (kept - used);
    return (uint64_t)used * gain;
}

static uint32_t refill(const struct proxy_h2 *h2, struct h2_budget *budget, enum h2_kind kind)
{
    bool reset = kind == H2_KIND_RESET;
    uint64_t burst = reset ? h2->reset_burst : rules[kind].burst, rate = reset ? h2->reset_rate : rules[kind].rate;
    uint64_t elapsed = (uint32_t)h2->now_ms - budget->at_ms;
    uint64_t won = elapsed * rate / 1000;
    won = won < burst ? won : burst;
    won += win_by_work(h2, budget, rules[kind].gain, burst - won);
    if (won > 0)
        budget->at_ms = (uint32_t)h2->now_ms;
    return (uint32_t)won;
}

bool proxy_h2_spend(struct proxy_h2 *h2, enum h2_kind kind)
{
    struct h2_budget *budget = &h2->budgets[kind];
    if (budget->left == 0)
        budget->left = refill(h2, budget, kind);
    if (budget->left == 0) {
        proxy_h2_fail(h2, rules[kind].error);
        return false;
    }
    budget->left--;
    return true;
}
