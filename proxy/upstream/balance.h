/* Which endpoint of a cluster takes the next request: pure, over weights and what is under way.
 */
#ifndef PROXY_UPSTREAM_BALANCE_H
#define PROXY_UPSTREAM_BALANCE_H

#include "common/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum proxy_balance { PROXY_BALANCE_ROUND_ROBIN, PROXY_BALANCE_LEAST_REQUEST, PROXY_BALANCE_RANDOM };

struct proxy_balance_item {
    uint32_t weight;   /* 0: takes nothing (unhealthy) */
    uint32_t priority; /* only the lowest one that has a weight is used */
    uint32_t active;   /* requests or connections under way */
    int64_t credit;    /* of weighted round robin; begins at 0 */
};

/* An index, or `count` where no item takes anything. `random` is any number. Round robin is smooth: with the weights
 * 2, 1 it goes a, b, a. Least request compares two drawn at random, by (active + 1) / weight. */
size_t proxy_balance_pick(enum proxy_balance policy, struct proxy_balance_item *items, size_t count, uint64_t random);

#endif
