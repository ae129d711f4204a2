#include "common/loop/wheel.h"

#include <stddef.h>

void fl_wheel_init(struct fl_wheel *wheel, uint64_t now_ms)
{
    *wheel = (struct fl_wheel){.tick = now_ms / FL_WHEEL_TICK_MS};
    wheel->due_end = &wheel->due;
}

/* Rounded up: a timer is never early. */
static uint64_t timer_tick(const struct fl_timer *timer)
{
    uint64_t tick = timer->deadline_ms / FL_WHEEL_TICK_MS + (timer->deadline_ms % FL_WHEEL_TICK_MS != 0);
    return tick < FL_WHEEL_TICK_MAX ? tick : FL_WHEEL_TICK_MAX;
}

static unsigned digit(uint64_t tick, unsigned level)
{
    return (unsigned)(tick >> (level * FL_WHEEL_BITS)) & (FL_WHEEL_SLOTS - 1);
}

static void push_due(struct fl_wheel *wheel, struct fl_timer *timer)
{
    timer->next = NULL;
    timer->link = wheel->due_end;
    *wheel->due_end = timer;
    wheel->due_end = &timer->next;
}

static void place(struct fl_wheel *wheel, struct fl_timer *timer)
{
    uint64_t tick = timer_tick(timer);
    if (tick <= wheel->tick) {
        push_due(wheel, timer);
        return;
    }
    unsigned level = (63u - (unsigned)__builtin_clzll(tick ^ wheel->tick)) / FL_WHEEL_BITS;
    unsigned slot = digit(tick, level);
    struct fl_timer **head = &wheel->slots[level][slot];
    timer->next = *head;
    timer->link = head;
    if (timer->next != NULL)
        timer->next->link = &timer->next;
    *head = timer;
    wheel->occupied[level] |= UINT64_C(1) << slot;
}

void fl_wheel_add(struct fl_wheel *wheel, struct fl_timer *timer)
{
    place(wheel, timer);
    wheel->count++;
}

void fl_wheel_add_due(struct fl_wheel *wheel, struct fl_timer *timer)
{
    push_due(wheel, timer);
    wheel->count++;
}

/* A slot that lost its last timer is unmarked, or it would wake the process for nothing. */
static void unmark(struct fl_wheel *wheel, const void *head)
{
    size_t offset = (size_t)((uintptr_t)head - (uintptr_t)wheel->slots); /* huge where head is elsewhere */
    if (offset >= sizeof(wheel->slots))
        return;
    size_t index = offset / sizeof(struct fl_timer *);
    wheel->occupied[index / FL_WHEEL_SLOTS] &= ~(UINT64_C(1) << (index % FL_WHEEL_SLOTS));
}

void fl_wheel_remove(struct fl_wheel *wheel, struct fl_timer *timer)
{
    *timer->link = timer->next;
    if (timer->next != NULL)
        timer->next->link = timer->link;
    else if (wheel->due_end == &timer->next)
        wheel->due_end = timer->link;
    else
        unmark(wheel, timer->link);
    timer->next = NULL;
    timer->link = NULL;
    wheel->count--;
}

/* The lowest level that holds something, and its next slot; false where the wheel is empty (due timers apart). */
static bool next_slot(const struct fl_wheel *wheel, unsigned *ret_level, unsigned *ret_slot)
{
    for (unsigned level = 0; level < FL_WHEEL_LEVELS; level++) {
        if (wheel->occupied[level] != 0) {
            *ret_level = level;
            *ret_slot = (unsigned)__builtin_ctzll(wheel->occupied[level]);
            return true;
        }
    }
    return false;
}

/* The first tick of a slot: the present tick's higher digits, the slot's own, zeros below. */
static uint64_t slot_tick(const struct fl_wheel *wheel, unsigned level, unsigned slot)
{
    unsigned above = (level + 1) * FL_WHEEL_BITS;
    uint64_t high = wheel->tick >> above << above;
    return high | (uint64_t)slot << (level * FL_WHEEL_BITS);
}

/* Seen from the slot's first tick, each of its timers is due or belongs on a lower level. */
static void empty_slot(struct fl_wheel *wheel, unsigned level, unsigned slot)
{
    struct fl_timer *timer = wheel->slots[level][slot];
    wheel->slots[level][slot] = NULL;
    wheel->occupied[level] &= ~(UINT64_C(1) << slot);
    while (timer != NULL) {
        struct fl_timer *next = timer->next;
        place(wheel, timer);
        timer = next;
    }
}

static void advance(struct fl_wheel *wheel, uint64_t target)
{
    unsigned level;
    unsigned slot;
    while (next_slot(wheel, &level, &slot)) {
        uint64_t tick = slot_tick(wheel, level, slot);
        if (tick > target)
            break;
        wheel->tick = tick;
        empty_slot(wheel, level, slot);
    }
    if (target > wheel->tick)
        wheel->tick = target;
}

void fl_wheel_run(struct fl_wheel *wheel, uint64_t now_ms)
{
    advance(wheel, now_ms / FL_WHEEL_TICK_MS);
    if (wheel->due == NULL)
        return;
    wheel->running = wheel->due;
    wheel->running->link = &wheel->running;
    wheel->due = NULL;
    wheel->due_end = &wheel->due;
    while (wheel->running != NULL) {
        struct fl_timer *timer = wheel->running;
        fl_wheel_remove(wheel, timer);
        timer->loop = NULL;
        timer->on_due(timer);
    }
}

uint64_t fl_wheel_next_ms(const struct fl_wheel *wheel)
{
    unsigned level;
    unsigned slot;
    if (wheel->due != NULL)
        return 0;
    return next_slot(wheel, &level, &slot) ? slot_tick(wheel, level, slot) * FL_WHEEL_TICK_MS : UINT64_MAX;
}
