/* Which destinations are subscribed to on demand: the table behind discovery on demand, with its bounds. Pure: time
 * comes as a number, what is to be done goes out as answers.
 *
 *   question ──► known? ──► asked already ──► (wait)
 *                  │
 *                  └─ new: too many at once ──► refuse;  table full ──► the least recently used goes ──► subscribe
 *
 * A destination that was used within PROXY_DEMAND_BUSY_MS, or is being asked for, does not go to make room: then the
 * new one is refused. Idle ones go after idle_ms.
 */
#ifndef PROXY_CONFIG_DEMAND_H
#define PROXY_CONFIG_DEMAND_H

#include "common/base/cleanup.h"
#include "common/base/span.h"

#include <stdbool.h>
#include <stdint.h>

#define PROXY_DEMAND_IDLE_MS  300000u
#define PROXY_DEMAND_MAX      4096u
#define PROXY_DEMAND_BUSY_MS  10000u
#define PROXY_DEMAND_RATE     200u /* new subscriptions a second … */
#define PROXY_DEMAND_BURST    400u /* … after so many at once */
#define PROXY_DEMAND_NAME_MAX 80u  /* "outbound|[ffff:…]:65535" */

struct proxy_demand;

struct proxy_demand_options {
    size_t max;       /* 0: PROXY_DEMAND_MAX */
    uint64_t idle_ms; /* 0: PROXY_DEMAND_IDLE_MS */
    /* When a destination was used last, as workers know it; asked before one goes. NULL: questions alone count. */
    uint64_t (*used_ms)(void *owner, struct fl_span name);
    void *owner;
};

enum proxy_demand_answer {
    PROXY_DEMAND_KNOWN = 1, /* it is subscribed to, and was answered */
    PROXY_DEMAND_WAIT = 2,  /* it is being asked for */
    PROXY_DEMAND_NEW = 3,   /* subscribe to it; *ret_evicted, where not empty, is given up for it */
    PROXY_DEMAND_FLOOD = 4, /* refused: too many new ones */
    PROXY_DEMAND_FULL = 5,  /* refused: the table is full of what is in use */
};

struct proxy_demand_entry { /* as one looks at it */
    struct fl_span name;
    uint64_t since_ms; /* subscribed */
    uint64_t used_ms;  /* last use, or question */
    bool answered;
};

int proxy_demand_new(const struct proxy_demand_options *options, struct proxy_demand **ret_demand) FL_MUST_CHECK;
struct proxy_demand *proxy_demand_free(struct proxy_demand *demand); /* NULL is allowed; returns NULL */

/* Somebody wants to go there. An answer, or -ENOMEM. `evicted` has room for a name; its length is 0 where none goes. */
int proxy_demand_ask(struct proxy_demand *demand, struct fl_span name, uint64_t now_ms,
                     char evicted[PROXY_DEMAND_NAME_MAX], size_t *ret_evicted) FL_MUST_CHECK;
/* Taken from an earlier life, beyond the rate. 0, -ENOMEM, -ENOSPC. */
int proxy_demand_restore(struct proxy_demand *demand, struct fl_span name, uint64_t now_ms) FL_MUST_CHECK;
/* The server has answered. */
void proxy_demand_answered(struct proxy_demand *demand, struct fl_span name);
/* It is gone (TTL, given up). */
void proxy_demand_forget(struct proxy_demand *demand, struct fl_span name);
bool proxy_demand_has(const struct proxy_demand *demand, struct fl_span name);

/* One that is idle for too long; call until false, and forget what it names. */
bool proxy_demand_idle(struct proxy_demand *demand, uint64_t now_ms, struct fl_span *ret_name);
/* When to look for idle ones again; UINT64_MAX: never. */
uint64_t proxy_demand_due(const struct proxy_demand *demand);

size_t proxy_demand_count(const struct proxy_demand *demand);
/* In the order of last use, the longest ago first; *cursor starts at NULL. */
bool proxy_demand_each(const struct proxy_demand *demand, const void **cursor, struct proxy_demand_entry *ret_entry);

#endif
