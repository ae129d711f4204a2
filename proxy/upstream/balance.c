#include "proxy/upstream/balance.h"

/* The priority in use, and how much weight it has in all. */
static uint64_t total_weight(const struct proxy_balance_item *items, size_t count, uint32_t *ret_priority)
{
    uint64_t total = 0;
    uint32_t priority = UINT32_MAX;
    for (size_t i = 0; i < count; i++) {
        if (items[i].weight == 0 || items[i].priority > priority)
            continue;
        if (items[i].priority < priority)
            total = 0;
        priority = items[i].priority;
        total += items[i].weight;
    }
    *ret_priority = priority;
    return total;
}

static bool takes(const struct proxy_balance_item *item, uint32_t priority)
{
    return item->weight > 0 && item->priority == priority;
}

static size_t round_robin(struct proxy_balance_item *items, size_t count, uint32_t priority, uint64_t total)
{
    size_t best = count;
    for (size_t i = 0; i < count; i++) {
        if (!takes(&items[i], priority))
            continue;
        items[i].credit += items[i].weight;
        if (best == count || items[i].credit > items[best].credit)
            best = i;
    }
    items[best].credit -= (int64_t)total;
    return best;
}

static size_t by_weight(const struct proxy_balance_item *items, size_t count, uint32_t priority, uint64_t at)
{
    for (size_t i = 0; i < count; i++) {
        if (!takes(&items[i], priority))
            continue;
        if (at < items[i].weight)
            return i;
        at -= items[i].weight;
    }
    return count;
}

static size_t by_position(const struct proxy_balance_item *items, size_t count, uint32_t priority, uint64_t at)
{
    for (size_t i = 0; i < count; i++) {
        if (takes(&items[i], priority) && at-- == 0)
            return i;
    }
    return count;
}

static size_t least_request(const struct proxy_balance_item *items, size_t count, uint32_t priority, uint64_t random)
{
    uint64_t candidates = 0;
    for (size_t i = 0; i < count; i++)
        candidates += takes(&items[i], priority);
    size_t a = by_position(items, count, priority, (random & UINT32_MAX) % candidates);
    size_t b = by_position(items, count, priority, (random >> 32) % candidates);
    uint64_t load_a = ((uint64_t)items[a].active + 1) * items[b].weight;
    uint64_t load_b = ((uint64_t)items[b].active + 1) * items[a].weight;
    return load_b < load_a ? b : a;
}

size_t proxy_balance_pick(enum proxy_balance policy, struct proxy_balance_item *items, size_t count, uint64_t random)
{
    uint32_t priority;
    uint64_t total = total_weight(items, count, &priority);
    if (total == 0)
        return count;
    switch (policy) {
    case PROXY_BALANCE_LEAST_REQUEST:
        return least_request(items, count, priority, random);
    case PROXY_BALANCE_RANDOM:
        return by_weight(items, count, priority, random % total);
    case PROXY_BALANCE_ROUND_ROBIN:
        break;
    }
    return round_robin(items, count, priority, total);
}
