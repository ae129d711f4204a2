#include "proxy/snapshot/unit.h"

#include <errno.h>
#include <stdlib.h>

struct proxy_unit_hold {
    struct proxy_unit_hold *next;
    void *object;
    void (*release)(void *object);
};

/* `dead` is a stack that many push to and one takes whole. Once the keeper has gone it holds CLOSED for good: who would
 * push sees that in the same step, so nothing can be laid into a grave that nobody visits any more. */
struct proxy_graveyard {
    size_t references; /* atomic: the keeper's, and one of each unit */
    struct proxy_unit *dead;
    void (*on_dead)(void *owner);
    void *owner;
};

static struct proxy_unit closed_mark;
#define CLOSED (&closed_mark)

/* -- graveyards -- */

static void graveyard_unref(struct proxy_graveyard *graveyard)
{
    if (graveyard != NULL && __atomic_sub_fetch(&graveyard->references, 1, __ATOMIC_ACQ_REL) == 0)
        free(graveyard);
}

struct proxy_graveyard *proxy_graveyard_new(void (*on_dead)(void *owner), void *owner)
{
    struct proxy_graveyard *graveyard = calloc(1, sizeof(*graveyard));
    if (graveyard != NULL)
        *graveyard = (struct proxy_graveyard){.references = 1, .on_dead = on_dead, .owner = owner};
    return graveyard;
}

static void unit_free(struct proxy_unit *unit)
{
    for (const struct proxy_unit_hold *hold = unit->holds; hold != NULL; hold = hold->next)
        hold->release(hold->object);
    fl_arena_done(&unit->arena); /* the holds live there too */
    graveyard_unref(unit->graveyard);
    free(unit);
}

/* False: the keeper has gone. */
static bool bury(struct proxy_graveyard *graveyard, struct proxy_unit *unit)
{
    struct proxy_unit *head = __atomic_load_n(&graveyard->dead, __ATOMIC_ACQUIRE);
    do {
        if (head == CLOSED)
            return false;
        unit->next_dead = head;
    } while (!__atomic_compare_exchange_n(&graveyard->dead, &head, unit, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    if (head == NULL && graveyard->on_dead != NULL)
        graveyard->on_dead(graveyard->owner);
    return true;
}

static size_t free_all(struct proxy_unit *dead)
{
    size_t count = 0;
    while (dead != NULL) {
        struct proxy_unit *unit = dead;
        dead = unit->next_dead;
        unit_free(unit);
        count++;
    }
    return count;
}

/* What goes may be the last to hold others, which then lie there too: a snapshot and its units. */
size_t proxy_graveyard_sweep(struct proxy_graveyard *graveyard)
{
    size_t total = 0, count;
    do {
        count = free_all(__atomic_exchange_n(&graveyard->dead, NULL, __ATOMIC_ACQ_REL));
        total += count;
    } while (count > 0);
    return total;
}

struct proxy_graveyard *proxy_graveyard_close(struct proxy_graveyard *graveyard)
{
    if (graveyard == NULL)
        return NULL;
    free_all(__atomic_exchange_n(&graveyard->dead, CLOSED, __ATOMIC_ACQ_REL));
    graveyard_unref(graveyard);
    return NULL;
}

/* -- units -- */

void *proxy_unit_new(size_t size, size_t arena_max, struct proxy_graveyard *graveyard)
{
    struct proxy_unit *unit = calloc(1, size);
    if (unit == NULL)
        return NULL;
    fl_arena_init(&unit->arena, arena_max);
    unit->references = 1;
    unit->graveyard = graveyard;
    if (graveyard != NULL)
        __atomic_fetch_add(&graveyard->references, 1, __ATOMIC_RELAXED);
    return unit;
}

struct proxy_unit *proxy_unit_ref(struct proxy_unit *unit)
{
    if (unit != NULL)
        __atomic_fetch_add(&unit->references, 1, __ATOMIC_RELAXED);
    return unit;
}

struct proxy_unit *proxy_unit_unref(struct proxy_unit *unit)
{
    if (unit == NULL || __atomic_sub_fetch(&unit->references, 1, __ATOMIC_ACQ_REL) > 0)
        return NULL;
    if (unit->graveyard == NULL || !bury(unit->graveyard, unit))
        unit_free(unit);
    return NULL;
}

void fl_cleanup_proxy_unit(struct proxy_unit **unit)
{
    proxy_unit_unref(*unit);
}

int proxy_unit_hold(struct proxy_unit *unit, void *object, void (*release)(void *object))
{
    struct proxy_unit_hold *hold = fl_arena_alloc(&unit->arena, sizeof(*hold));
    if (hold == NULL) {
        release(object);
        return -ENOMEM;
    }
    *hold = (struct proxy_unit_hold){.next = unit->holds, .object = object, .release = release};
    unit->holds = hold;
    return 0;
}
