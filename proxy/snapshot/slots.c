#include "proxy/snapshot/slots.h"

#include "common/base/map.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/* Of a kind: the slots by index, the free indexes as a stack (the lowest are given first where it is empty). */
struct table {
    struct fl_map by_name;
    uint32_t *unused; /* as many as `cap`, so that giving an index back cannot fail */
    uint32_t unused_count, bound, cap;
};

struct proxy_slots {
    pthread_mutex_t lock;
    struct table tables[PROXY_SLOT_KINDS];
    size_t alive; /* slots */
    bool orphaned;
};

struct proxy_slots *proxy_slots_new(void)
{
    struct proxy_slots *slots = calloc(1, sizeof(*slots));
    if (slots == NULL)
        return NULL;
    pthread_mutex_init(&slots->lock, NULL);
    for (size_t i = 0; i < PROXY_SLOT_KINDS; i++)
        fl_map_init(&slots->tables[i].by_name, PROXY_SLOTS_MAX);
    return slots;
}

static void destroy(struct proxy_slots *slots)
{
    for (size_t i = 0; i < PROXY_SLOT_KINDS; i++) {
        fl_map_done(&slots->tables[i].by_name);
        free(slots->tables[i].unused);
    }
    pthread_mutex_destroy(&slots->lock);
    free(slots);
}

struct proxy_slots *proxy_slots_free(struct proxy_slots *slots)
{
    if (slots == NULL)
        return NULL;
    pthread_mutex_lock(&slots->lock);
    slots->orphaned = true;
    bool last = slots->alive == 0;
    pthread_mutex_unlock(&slots->lock);
    if (last)
        destroy(slots);
    return NULL;
}

/* Makes room for one more index. */
static int grow(struct table *table)
{
    if (table->unused_count > 0 || table->bound < table->cap)
        return 0;
    uint32_t cap = table->cap == 0 ? 16 : table->cap * 2;
    uint32_t *unused = realloc(table->unused, cap * sizeof(*unused));
    if (unused == NULL)
        return -ENOMEM;
    table->unused = unused;
    table->cap = cap;
    return 0;
}

static int make(struct proxy_slots *slots, enum proxy_slot_kind kind, struct fl_span name, struct proxy_slot **ret_slot)
{
    struct table *table = &slots->tables[kind];
    struct proxy_slot *slot = malloc(sizeof(*slot) + name.len + 1);
    int result = slot != NULL ? grow(table) : -ENOMEM;
    if (result == 0) {
        char *text = (char *)(slot + 1);
        if (name.len > 0)
            memcpy(text, name.data, name.len);
        text[name.len] = '\0';
        *slot = (struct proxy_slot){.name = fl_span_make(text, name.len), .kind = kind, .slots = slots};
        result = fl_map_put(&table->by_name, slot->name, slot);
    }
    if (result < 0) {
        free(slot);
        return result;
    }
    slot->index = table->unused_count > 0 ? table->unused[--table->unused_count] : table->bound++;
    slots->alive++;
    *ret_slot = slot;
    return 0;
}

int proxy_slots_intern(struct proxy_slots *slots, enum proxy_slot_kind kind, struct fl_span name,
                       struct proxy_slot **ret_slot)
{
    pthread_mutex_lock(&slots->lock);
    struct proxy_slot *slot = fl_map_get(&slots->tables[kind].by_name, name);
    int result = slot != NULL ? 0 : make(slots, kind, name, &slot);
    if (result == 0) {
        slot->references++;
        *ret_slot = slot;
    }
    pthread_mutex_unlock(&slots->lock);
    return result;
}

void proxy_slot_release(struct proxy_slot *slot)
{
    if (slot == NULL)
        return;
    struct proxy_slots *slots = slot->slots;
    struct table *table = &slots->tables[slot->kind];
    pthread_mutex_lock(&slots->lock);
    bool last = --slot->references == 0;
    if (last) {
        fl_map_remove(&table->by_name, slot->name);
        table->unused[table->unused_count++] = slot->index;
        slots->alive--;
    }
    bool over = slots->orphaned && slots->alive == 0;
    pthread_mutex_unlock(&slots->lock);
    if (last)
        free(slot);
    if (over)
        destroy(slots);
}

static void release(void *slot)
{
    proxy_slot_release(slot);
}

int proxy_slots_hold(struct proxy_slots *slots, enum proxy_slot_kind kind, struct fl_span name, struct proxy_unit *unit,
                     const struct proxy_slot **ret_slot)
{
    struct proxy_slot *slot;
    int result = proxy_slots_intern(slots, kind, name, &slot);
    if (result == 0)
        result = proxy_unit_hold(unit, slot, release);
    if (result == 0)
        *ret_slot = slot;
    return result;
}

struct proxy_slot *proxy_slots_find(struct proxy_slots *slots, enum proxy_slot_kind kind, struct fl_span name)
{
    pthread_mutex_lock(&slots->lock);
    struct proxy_slot *slot = fl_map_get(&slots->tables[kind].by_name, name);
    pthread_mutex_unlock(&slots->lock);
    return slot;
}

uint32_t proxy_slots_bound(struct proxy_slots *slots, enum proxy_slot_kind kind)
{
    pthread_mutex_lock(&slots->lock);
    uint32_t bound = slots->tables[kind].bound;
    pthread_mutex_unlock(&slots->lock);
    return bound;
}

/* Written at most a few times a second: every connection of every worker comes by. */
void proxy_slot_touch(const struct proxy_slot *slot, uint64_t now_ms)
{
    uint64_t *used = (uint64_t *)(uintptr_t)&slot->used_ms;
    if (now_ms - __atomic_load_n(used, __ATOMIC_RELAXED) >= PROXY_SLOT_TOUCH_MS)
        __atomic_store_n(used, now_ms, __ATOMIC_RELAXED);
}

uint64_t proxy_slot_used_ms(const struct proxy_slot *slot)
{
    return __atomic_load_n(&slot->used_ms, __ATOMIC_RELAXED);
}
