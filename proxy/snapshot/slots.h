/* Slots: small numbers for names. A listener, cluster, route table or TLS setting is known to the data path by its
 * slot, so that what names it stays valid when it changes, comes or goes, and a worker finds its state by index.
 *
 * A slot is counted: by every unit that names it (proxy_slots_hold) and by whoever interned it. Its number is given to
 * another name only when no unit that could mean the old one is alive, so a number read from a unit that one holds is
 * never mistaken. The struct stays where it is as long as it is counted.
 *
 * Names are interned on the main thread; slots may be released on any (there is a lock, which nobody waits for).
 */
#ifndef PROXY_SNAPSHOT_SLOTS_H
#define PROXY_SNAPSHOT_SLOTS_H

#include "proxy/snapshot/unit.h"

#include <stdint.h>

#define PROXY_SLOT_NONE     UINT32_MAX
#define PROXY_SLOT_TOUCH_MS 250u
#define PROXY_SLOTS_MAX     65536u /* of a kind, those that are counted by old units only included */

enum proxy_slot_kind { PROXY_SLOT_LISTENER, PROXY_SLOT_CLUSTER, PROXY_SLOT_ROUTES, PROXY_SLOT_TLS, PROXY_SLOT_KINDS };

struct proxy_slots;

struct proxy_slot {
    struct fl_span name; /* NUL-terminated */
    uint32_t index;
    enum proxy_slot_kind kind;
    /* When it was used last, CLOCK_MONOTONIC; 0: never. Workers write it (proxy_slot_touch), the main thread reads it
     * to let idle subscriptions expire. Atomic. */
    uint64_t used_ms;
    uint32_t references; /* private from here; under the lock */
    struct proxy_slots *slots;
};

struct proxy_slots *proxy_slots_new(void); /* NULL when memory is out */
/* The owner goes; the memory goes with the last slot. NULL is allowed; returns NULL. */
struct proxy_slots *proxy_slots_free(struct proxy_slots *slots);

/* Finds or makes it, counted once for the caller. 0, -ENOSPC where PROXY_SLOTS_MAX are in use, -ENOMEM. */
int proxy_slots_intern(struct proxy_slots *slots, enum proxy_slot_kind kind, struct fl_span name,
                       struct proxy_slot **ret_slot) FL_MUST_CHECK;
void proxy_slot_release(struct proxy_slot *slot); /* NULL is allowed */
/* The same, counted for as long as the unit lives. */
int proxy_slots_hold(struct proxy_slots *slots, enum proxy_slot_kind kind, struct fl_span name, struct proxy_unit *unit,
                     const struct proxy_slot **ret_slot) FL_MUST_CHECK;

/* NULL where there is none. Not counted: valid while something else counts it. */
struct proxy_slot *proxy_slots_find(struct proxy_slots *slots, enum proxy_slot_kind kind, struct fl_span name);
/* All indexes of the kind are below it. */
uint32_t proxy_slots_bound(struct proxy_slots *slots, enum proxy_slot_kind kind);

/* Exact to PROXY_SLOT_TOUCH_MS. */
void proxy_slot_touch(const struct proxy_slot *slot, uint64_t now_ms);
uint64_t proxy_slot_used_ms(const struct proxy_slot *slot);

#endif
