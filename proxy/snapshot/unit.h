/* A unit: an immutable piece of configuration that is counted by itself (one cluster, its endpoints, a route table, a
 * listener; a snapshot, too). Everything that it points to lives in its arena, or is held by it, and goes with the last
 * reference.
 *
 * References are atomic: any thread may take and drop them. What is large is not freed where traffic runs: a unit that
 * has a graveyard is only laid there by its last unref, and the graveyard's keeper (the main thread) frees it later.
 * The keeper may go first: then the last unref frees.
 */
#ifndef PROXY_SNAPSHOT_UNIT_H
#define PROXY_SNAPSHOT_UNIT_H

#include "common/base/arena.h"

struct proxy_graveyard; /* opaque */

struct proxy_unit {      /* the first member of what is counted */
    unsigned references; /* atomic */
    struct fl_arena arena;
    struct proxy_unit_hold *holds;     /* private from here */
    struct proxy_graveyard *graveyard; /* counted; NULL: the last unref frees */
    struct proxy_unit *next_dead;
};

/* `size` bytes, zeroed, that begin with a struct proxy_unit of one reference; `arena_max` bounds what its arena may
 * take. `graveyard` may be NULL. NULL when memory is out. */
void *proxy_unit_new(size_t size, size_t arena_max, struct proxy_graveyard *graveyard);
/* Thread-safe. Both accept NULL; unref returns NULL. */
struct proxy_unit *proxy_unit_ref(struct proxy_unit *unit);
struct proxy_unit *proxy_unit_unref(struct proxy_unit *unit);
void fl_cleanup_proxy_unit(struct proxy_unit **unit);

/* While it is being built: `release(object)` runs when the unit goes, the last one first. On failure (-ENOMEM) it has
 * been run already. */
int proxy_unit_hold(struct proxy_unit *unit, void *object, void (*release)(void *object)) FL_MUST_CHECK;

/* on_dead: any thread's, when something came into an empty graveyard: the keeper should sweep soon. It may be NULL.
 * NULL when memory is out. */
struct proxy_graveyard *proxy_graveyard_new(void (*on_dead)(void *owner), void *owner);
/* Frees what lies there. The keeper's thread alone. Returns how many units that were. */
size_t proxy_graveyard_sweep(struct proxy_graveyard *graveyard);
/* The keeper goes: sweeps, and from now on the last unref of a unit frees it. NULL is allowed; returns NULL. */
struct proxy_graveyard *proxy_graveyard_close(struct proxy_graveyard *graveyard);

#endif
