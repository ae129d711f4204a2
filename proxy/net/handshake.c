#include "proxy/net/handshake.h"

#include <assert.h>

static void run(struct fl_deferred *deferred);
static void on_timer(struct fl_timer *timer);

/* --- lists ------------------------------------------------------------------------------------------------------ */

static void set_count(uint32_t *count, uint32_t value)
{
    __atomic_store_n(count, value, __ATOMIC_RELAXED);
}

static struct proxy_handshake_list *list_of(struct proxy_handshakes *handshakes, enum proxy_handshake_stage stage)
{
    switch (stage) {
    case PROXY_HANDSHAKE_WAITING:
        return &handshakes->waiting;
    case PROXY_HANDSHAKE_READY:
        return &handshakes->ready;
    case PROXY_HANDSHAKE_SILENT:
        return &handshakes->silent;
    case PROXY_HANDSHAKE_NONE:
    case PROXY_HANDSHAKE_LEFT:
        break;
    }
    return NULL;
}

static void unlist(struct proxy_handshake_list *list, struct proxy_handshake *handshake)
{
    if (handshake->next != NULL)
        handshake->next->previous = handshake->previous;
    else
        list->last = handshake->previous;
    if (handshake->previous != NULL)
        handshake->previous->next = handshake->next;
    else
        list->first = handshake->next;
    handshake->next = handshake->previous = NULL;
}

static void enlist(struct proxy_handshake_list *list, struct proxy_handshake *handshake)
{
    handshake->previous = list->last;
    if (list->last != NULL)
        list->last->next = handshake;
    else
        list->first = handshake;
    list->last = handshake;
}

static void move(struct proxy_handshakes *handshakes, struct proxy_handshake *handshake,
                 enum proxy_handshake_stage stage)
{
    struct proxy_handshake_list *from = list_of(handshakes, handshake->stage), *to = list_of(handshakes, stage);
    if (from != NULL)
        unlist(from, handshake);
    if (to != NULL)
        enlist(to, handshake);
    if (handshake->stage == PROXY_HANDSHAKE_WAITING)
        set_count(&handshakes->waiting_count, handshakes->waiting_count - 1);
    if (stage == PROXY_HANDSHAKE_WAITING)
        set_count(&handshakes->waiting_count, handshakes->waiting_count + 1);
    handshake->stage = stage;
    handshake->since_ms = fl_loop_now_ms(handshakes->loop);
}

static void give_place(struct proxy_handshakes *handshakes, struct proxy_handshake *handshake)
{
    if (handshake->placed)
        set_count(&handshakes->places, handshakes->places - 1);
    handshake->placed = false;
}

/* --- what is next ----------------------------------------------------------------------------------------------- */

static bool can_begin(const struct proxy_handshakes *handshakes)
{
    return handshakes->waiting.first != NULL && handshakes->places < PROXY_HANDSHAKE_PLACES;
}

/* A step in the next turn, which does not wait; or a look at who is silent. */
static void schedule(struct proxy_handshakes *handshakes)
{
    if (handshakes->ready.first != NULL || can_begin(handshakes)) {
        if (!handshakes->is_scheduled)
            fl_loop_defer(handshakes->loop, &handshakes->deferred, run);
        handshakes->is_scheduled = true;
        return;
    }
    const struct proxy_handshake *silent = handshakes->silent.first;
    if (handshakes->waiting.first == NULL || silent == NULL || fl_timer_is_set(&handshakes->timer))
        return;
    uint64_t due = silent->since_ms + PROXY_HANDSHAKE_SILENT_MS, now = fl_loop_now_ms(handshakes->loop);
    fl_timer_set(handshakes->loop, &handshakes->timer, due > now ? due - now : 1, on_timer);
}

/* Who has been silent for too long holds no place any more. */
static void on_timer(struct fl_timer *timer)
{
    struct proxy_handshakes *handshakes = FL_CONTAINER_OF(timer, struct proxy_handshakes, timer);
    uint64_t now = fl_loop_now_ms(handshakes->loop);
    struct proxy_handshake *silent;
    while ((silent = handshakes->silent.first) != NULL && silent->since_ms + PROXY_HANDSHAKE_SILENT_MS <= now) {
        give_place(handshakes, silent);
        move(handshakes, silent, PROXY_HANDSHAKE_NONE);
    }
    schedule(handshakes);
}

static struct proxy_handshake *next_to_begin(struct proxy_handshakes *handshakes)
{
    uint64_t now = fl_loop_now_ms(handshakes->loop);
    bool late = handshakes->waiting.first->since_ms + PROXY_HANDSHAKE_OLD_MS < now;
    struct proxy_handshake *next = late && handshakes->newest ? handshakes->waiting.last : handshakes->waiting.first;
    handshakes->newest = late && !handshakes->newest;
    return next;
}

static struct proxy_handshake *next_step(struct proxy_handshakes *handshakes)
{
    bool begins = can_begin(handshakes);
    handshakes->was_ready = handshakes->ready.first != NULL && !(begins && handshakes->was_ready);
    if (handshakes->was_ready)
        return handshakes->ready.first;
    return begins ? next_to_begin(handshakes) : NULL;
}

static void do_step(struct proxy_handshakes *handshakes, struct proxy_handshake *handshake)
{
    uint64_t now = fl_loop_now_ms(handshakes->loop);
    bool first = !handshake->begun;
    move(handshakes, handshake, PROXY_HANDSHAKE_NONE);
    if (first) {
        handshake->begun = handshake->placed = true;
        handshake->placed_ms = now;
        set_count(&handshakes->places, handshakes->places + 1);
    }
    handshakes->steps++;
    handshakes->step(handshake, first);
    if (handshake->stage == PROXY_HANDSHAKE_LEFT)
        return;
    if (handshake->placed_ms + PROXY_HANDSHAKE_HELD_MS < now)
        give_place(handshakes, handshake);
    if (handshake->placed && handshake->stage == PROXY_HANDSHAKE_NONE)
        move(handshakes, handshake, PROXY_HANDSHAKE_SILENT);
}

/* The last thing of a turn: what it sent has gone out. */
static void run(struct fl_deferred *deferred)
{
    struct proxy_handshakes *handshakes = FL_CONTAINER_OF(deferred, struct proxy_handshakes, deferred);
    handshakes->is_scheduled = false;
    struct proxy_handshake *next = next_step(handshakes);
    if (next != NULL)
        do_step(handshakes, next);
    schedule(handshakes);
}

/* --- who comes and goes ----------------------------------------------------------------------------------------- */

void proxy_handshakes_init(struct proxy_handshakes *handshakes, struct fl_loop *loop,
                           void (*step)(struct proxy_handshake *handshake, bool first))
{
    *handshakes = (struct proxy_handshakes){.loop = loop, .step = step};
}

void proxy_handshakes_done(struct proxy_handshakes *handshakes)
{
    assert(handshakes->waiting.first == NULL && handshakes->ready.first == NULL && handshakes->silent.first == NULL);
    fl_timer_cancel(&handshakes->timer);
}

bool proxy_handshake_want(struct proxy_handshakes *handshakes, struct proxy_handshake *handshake)
{
    if (handshake->stage != PROXY_HANDSHAKE_NONE && handshake->stage != PROXY_HANDSHAKE_SILENT)
        return false;
    move(handshakes, handshake, handshake->begun ? PROXY_HANDSHAKE_READY : PROXY_HANDSHAKE_WAITING);
    schedule(handshakes);
    return !handshake->begun;
}

void proxy_handshake_leave(struct proxy_handshakes *handshakes, struct proxy_handshake *handshake)
{
    if (handshake->stage == PROXY_HANDSHAKE_LEFT)
        return;
    give_place(handshakes, handshake);
    move(handshakes, handshake, PROXY_HANDSHAKE_LEFT);
    schedule(handshakes);
}
