#include "proxy/upstream/balance.h"

/* Which items may be taken now. */
struct field {
    uint32_t priority;
    bool ejected_too, tried_too;
    uint64_t weight, hosts; /* of those that may */
};

static bool takes(const struct proxy_balance_item *item, const struct field *field)
{
    return item->weight > 0 && item->priority == field->priority && (!item->ejected || field->ejected_too) &&
           (!item->tried || field->tried_too);
}

/* The lowest priority from `from` on that has a host with a weight: false where there is none. */
static bool next_priority(const struct proxy_balance_item *items, size_t count, uint64_t from, uint32_t *ret_priority)
{
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        if (items[i].weight == 0 || items[i].priority < from || (found && items[i].priority >= *ret_priority))
            continue;
        *ret_priority = items[i].priority;
        found = true;
    }
    return found;
}

static bool has_enough(const struct proxy_balance_item *items, size_t count, uint32_t priority, uint32_t panic_percent)
{
    uint64_t hosts = 0, left = 0;
    for (size_t i = 0; i < count; i++) {
        bool counts = items[i].weight > 0 && items[i].priority == priority;
        hosts += counts;
        left += counts && !items[i].ejected;
    }
    return left > 0 && left * 100 >= hosts * panic_percent;
}

static void measure(const struct proxy_balance_item *items, size_t count, struct field *field)
{
    field->weight = field->hosts = 0;
    for (size_t i = 0; i < count; i++) {
        if (!takes(&items[i], field))
            continue;
        field->weight += items[i].weight;
        field->hosts++;
    }
}

/* False: nobody. */
static bool choose_field(const struct proxy_balance_item *items, size_t count, uint32_t panic_percent,
                         struct field *field)
{
    uint32_t priority = 0, lowest = 0;
    bool any = next_priority(items, count, 0, &priority), found = any;
    lowest = priority;
    while (found && !has_enough(items, count, priority, panic_percent))
        found = next_priority(items, count, (uint64_t)priority + 1, &priority);
    if (!any || (!found && panic_percent == 0))
        return false;
    field->priority = found ? priority : lowest;
    field->ejected_too = !found;
    field->tried_too = false;
    measure(items, count, field);
    if (field->hosts > 0)
        return true;
    field->tried_too = true; /* they were all tried */
    measure(items, count, field);
    return field->hosts > 0;
}

static size_t round_robin(struct proxy_balance_item *items, size_t count, const struct field *field)
{
    size_t best = count;
    for (size_t i = 0; i < count; i++) {
        if (!takes(&items[i], field))
            continue;
        items[i].credit += items[i].weight;
        if (best == count || items[i].credit > items[best].credit)
            best = i;
    }
    items[best].credit -= (int64_t)field->weight;
    return best;
}

static size_t by_weight(const struct proxy_balance_item *items, size_t count, const struct field *field, uint64_t at)
{
    for (size_t i = 0; i < count; i++) {
        if (!takes(&items[i], field))
            continue;
        if (at < items[i].weight)
            return i;
        at -= items[i].weight;
    }
    return count;
}

static size_t by_position(const struct proxy_balance_item *items, size_t count, const struct field *field, uint64_t at)
{
    for (size_t i = 0; i < count; i++) {
        if (takes(&items[i], field) && at-- == 0)
            return i;
    }
    return count;
}

/* One number of the caller's makes several (splitmix64). */
static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static size_t least_request(const struct proxy_balance_item *items, size_t count, const struct field *field,
                            uint32_t choices, uint64_t random)
{
    if (choices == 0)
        choices = 2;
    if (choices > PROXY_BALANCE_CHOICES_MAX)
        choices = PROXY_BALANCE_CHOICES_MAX;
    size_t best = by_position(items, count, field, next_random(&random) % field->hosts);
    for (uint32_t i = 1; i < choices; i++) {
        size_t other = by_position(items, count, field, next_random(&random) % field->hosts);
        uint64_t load_best = ((uint64_t)items[best].active + 1) * items[other].weight;
        uint64_t load_other = ((uint64_t)items[other].active + 1) * items[best].weight;
        if (load_other < load_best)
            best = other;
    }
    return best;
}

size_t proxy_balance_pick(const struct proxy_balance_rules *rules, struct proxy_balance_item *items, size_t count,
                          uint64_t random)
{
    struct field field;
    if (!choose_field(items, count, rules->panic_percent, &field))
        return count;
    switch (rules->policy) {
    case PROXY_BALANCE_LEAST_REQUEST:
        return least_request(items, count, &field, rules->choices, random);
    case PROXY_BALANCE_RANDOM:
        return by_weight(items, count, &field, random % field.weight);
    case PROXY_BALANCE_ROUND_ROBIN:
        break;
    }
    return round_robin(items, count, &field);
}
