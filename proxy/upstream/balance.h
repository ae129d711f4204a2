/* Which endpoint of a cluster takes the next request: pure, over weights, what is under way and who is ejected.
 *
 * Of the priorities the lowest is used that has enough hosts left: where the share of those that are not ejected falls
 * below the panic threshold, the next one is tried; where none has enough, the lowest one takes it, ejected or not
 * (panic): hosts that answer badly are better than the last good one overrun. Without a threshold (0) the ejected never
 * take anything.
 */
#ifndef PROXY_UPSTREAM_BALANCE_H
#define PROXY_UPSTREAM_BALANCE_H

#include "common/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROXY_BALANCE_CHOICES_MAX 16u

enum proxy_balance { PROXY_BALANCE_ROUND_ROBIN, PROXY_BALANCE_LEAST_REQUEST, PROXY_BALANCE_RANDOM };

struct proxy_balance_rules {
    enum proxy_balance policy;
    uint32_t choices;       /* of least request: hosts drawn; 0 counts as 2, at most PROXY_BALANCE_CHOICES_MAX */
    uint32_t panic_percent; /* 0: never */
};

struct proxy_balance_item {
    uint32_t weight;   /* 0: takes nothing (unhealthy) */
    uint32_t priority; /* the lowest one is used, as above */
    uint32_t active;   /* requests or connections under way */
    bool ejected;
    bool tried;     /* taken only where there is no other: a retry goes to another host */
    int64_t credit; /* of weighted round robin; begins at 0 */
};

/* An index, or `count` where no item takes anything. `random` is any number. Round robin is smooth: with the weights
 * 2, 1 it goes a, b, a. Least request compares those drawn at random, by (active + 1) / weight. */
size_t proxy_balance_pick(const struct proxy_balance_rules *rules, struct proxy_balance_item *items, size_t count,
                          uint64_t random);

#endif
