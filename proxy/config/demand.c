#include "proxy/config/demand.h"

#include "common/base/map.h"

#include <errno.h>

struct entry { /* in a list by last use */
    struct entry *older, *newer;
    uint64_t since_ms, used_ms;
    bool answered;
    struct fl_span name;
    char text[PROXY_DEMAND_NAME_MAX];
};

struct proxy_demand {
    struct proxy_demand_options options;
    struct fl_map entries;
    struct entry *oldest, *newest;
    uint64_t tokens_m; /* thousandths of a new subscription that may be made now */
    uint64_t filled_ms;
};

/* --- the list --------------------------------------------------------------------------------------------------- */

static void take_out(struct proxy_demand *demand, struct entry *entry)
{
    *(entry->older != NULL ? &entry->older->newer : &demand->oldest) = entry->newer;
    *(entry->newer != NULL ? &entry->newer->older : &demand->newest) = entry->older;
    entry->older = entry->newer = NULL;
}

/* Behind the last one that was not used later: usually at the end. */
static void put_in(struct proxy_demand *demand, struct entry *entry)
{
    struct entry *before = demand->newest;
    while (before != NULL && before->used_ms > entry->used_ms)
        before = before->older;
    entry->older = before;
    entry->newer = before != NULL ? before->newer : demand->oldest;
    *(entry->older != NULL ? &entry->older->newer : &demand->oldest) = entry;
    *(entry->newer != NULL ? &entry->newer->older : &demand->newest) = entry;
}

static void touch(struct proxy_demand *demand, struct entry *entry, uint64_t used_ms)
{
    if (used_ms <= entry->used_ms)
        return;
    take_out(demand, entry);
    entry->used_ms = used_ms;
    put_in(demand, entry);
}

/* The least recently used one. Workers do not tell of each use, so those at the front are looked at until one stays
 * there. NULL: there is none. */
static struct entry *find_oldest(struct proxy_demand *demand)
{
    for (size_t i = 0; demand->options.used_ms != NULL && i < demand->entries.count; i++) {
        uint64_t used_ms = demand->options.used_ms(demand->options.owner, demand->oldest->name);
        if (used_ms <= demand->oldest->used_ms)
            break;
        touch(demand, demand->oldest, used_ms);
    }
    return demand->oldest;
}

static void drop(struct proxy_demand *demand, struct entry *entry)
{
    fl_map_remove(&demand->entries, entry->name);
    take_out(demand, entry);
    free(entry);
}

static int add(struct proxy_demand *demand, struct fl_span name, uint64_t now_ms)
{
    if (name.len > PROXY_DEMAND_NAME_MAX)
        return -ENAMETOOLONG;
    struct entry *entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return -ENOMEM;
    memcpy(entry->text, name.data, name.len);
    entry->name = fl_span_make(entry->text, name.len);
    entry->since_ms = entry->used_ms = now_ms;
    int result = fl_map_put(&demand->entries, entry->name, entry);
    if (result < 0) {
        free(entry);
        return result;
    }
    put_in(demand, entry);
    return 0;
}

/* --- questions -------------------------------------------------------------------------------------------------- */

static bool take_token(struct proxy_demand *demand, uint64_t now_ms)
{
    uint64_t passed = now_ms > demand->filled_ms ? now_ms - demand->filled_ms : 0;
    uint64_t most = PROXY_DEMAND_BURST * UINT64_C(1000);
    demand->filled_ms = now_ms;
    demand->tokens_m = passed > most ? most : demand->tokens_m + passed * PROXY_DEMAND_RATE;
    if (demand->tokens_m > most)
        demand->tokens_m = most;
    if (demand->tokens_m < 1000)
        return false;
    demand->tokens_m -= 1000;
    return true;
}

static bool may_go(const struct entry *entry, uint64_t now_ms)
{
    return entry->used_ms + PROXY_DEMAND_BUSY_MS <= now_ms;
}

int proxy_demand_ask(struct proxy_demand *demand, struct fl_span name, uint64_t now_ms,
                     char evicted[PROXY_DEMAND_NAME_MAX], size_t *ret_evicted)
{
    struct entry *entry = fl_map_get(&demand->entries, name);
    *ret_evicted = 0;
    if (entry != NULL) {
        touch(demand, entry, now_ms);
        return entry->answered ? PROXY_DEMAND_KNOWN : PROXY_DEMAND_WAIT;
    }
    struct entry *going = demand->entries.count >= demand->options.max ? find_oldest(demand) : NULL;
    if (going != NULL && !may_go(going, now_ms))
        return PROXY_DEMAND_FULL;
    if (!take_token(demand, now_ms))
        return PROXY_DEMAND_FLOOD;
    int result = add(demand, name, now_ms);
    if (result < 0)
        return result;
    if (going != NULL) {
        *ret_evicted = going->name.len;
        memcpy(evicted, going->text, going->name.len);
        drop(demand, going);
    }
    return PROXY_DEMAND_NEW;
}

int proxy_demand_restore(struct proxy_demand *demand, struct fl_span name, uint64_t now_ms)
{
    if (fl_map_get(&demand->entries, name) != NULL)
        return 0;
    if (demand->entries.count >= demand->options.max)
        return -ENOSPC;
    int result = add(demand, name, now_ms);
    if (result == 0)
        proxy_demand_answered(demand, name);
    return result;
}

void proxy_demand_answered(struct proxy_demand *demand, struct fl_span name)
{
    struct entry *entry = fl_map_get(&demand->entries, name);
    if (entry != NULL)
        entry->answered = true;
}

void proxy_demand_forget(struct proxy_demand *demand, struct fl_span name)
{
    struct entry *entry = fl_map_get(&demand->entries, name);
    if (entry != NULL)
        drop(demand, entry);
}

bool proxy_demand_has(const struct proxy_demand *demand, struct fl_span name)
{
    return fl_map_get(&demand->entries, name) != NULL;
}

/* --- time and looking ------------------------------------------------------------------------------------------- */

static bool is_idle(const struct proxy_demand *demand, const struct entry *entry, uint64_t now_ms)
{
    return entry != NULL && entry->used_ms + demand->options.idle_ms <= now_ms;
}

bool proxy_demand_idle(struct proxy_demand *demand, uint64_t now_ms, struct fl_span *ret_name)
{
    if (!is_idle(demand, demand->oldest, now_ms) || !is_idle(demand, find_oldest(demand), now_ms))
        return false;
    *ret_name = demand->oldest->name;
    return true;
}

uint64_t proxy_demand_due(const struct proxy_demand *demand)
{
    return demand->oldest != NULL ? demand->oldest->used_ms + demand->options.idle_ms : UINT64_MAX;
}

size_t proxy_demand_count(const struct proxy_demand *demand)
{
    return demand->entries.count;
}

bool proxy_demand_each(const struct proxy_demand *demand, const void **cursor, struct proxy_demand_entry *ret_entry)
{
    const struct entry *entry = *cursor != NULL ? ((const struct entry *)*cursor)->newer : demand->oldest;
    if (entry == NULL)
        return false;
    *cursor = entry;
    *ret_entry = (struct proxy_demand_entry){
        .name = entry->name, .since_ms = entry->since_ms, .used_ms = entry->used_ms, .answered = entry->answered};
    return true;
}

/* --- life ------------------------------------------------------------------------------------------------------- */

int proxy_demand_new(const struct proxy_demand_options *options, struct proxy_demand **ret_demand)
{
    struct proxy_demand *demand = calloc(1, sizeof(*demand));
    if (demand == NULL)
        return -ENOMEM;
    demand->options = *options;
    if (demand->options.max == 0)
        demand->options.max = PROXY_DEMAND_MAX;
    if (demand->options.idle_ms == 0)
        demand->options.idle_ms = PROXY_DEMAND_IDLE_MS;
    fl_map_init(&demand->entries, demand->options.max + 1); /* the new one comes before the old one goes */
    demand->tokens_m = PROXY_DEMAND_BURST * UINT64_C(1000);
    *ret_demand = demand;
    return 0;
}

struct proxy_demand *proxy_demand_free(struct proxy_demand *demand)
{
    if (demand == NULL)
        return NULL;
    while (demand->oldest != NULL)
        drop(demand, demand->oldest);
    fl_map_done(&demand->entries);
    free(demand);
    return NULL;
}
