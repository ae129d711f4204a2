#include "control/ca/quota.h"

#include "common/base/siphash.h"

#include <errno.h>

/* Sets of a few ways, as a cache has them: a look at WAYS places, no chains, no allocation. */
#define WAYS 8
#define SETS (CONTROL_QUOTA_KEYS / WAYS)
#define UNIT 1000 /* of a bucket: a thousandth of a request, so that a rate is a number of units a millisecond */

struct bucket {
    uint64_t key; /* 0: free */
    uint64_t seen_ms;
    uint64_t units;
};

struct control_quota {
    uint64_t rate, full; /* units a millisecond; units */
    struct bucket sets[SETS][WAYS];
};

int control_quota_new(uint32_t rate, uint32_t burst, struct control_quota **ret_quota)
{
    struct control_quota *quota = calloc(1, sizeof(*quota));
    if (quota == NULL)
        return -ENOMEM;
    quota->rate = rate;
    quota->full = (uint64_t)(burst > 0 ? burst : 1) * UNIT;
    *ret_quota = quota;
    return 0;
}

struct control_quota *control_quota_free(struct control_quota *quota)
{
    free(quota);
    return NULL;
}

/* Its own, else a free one, else the one that was seen longest ago. */
static struct bucket *find(struct bucket *set, uint64_t key)
{
    struct bucket *chosen = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].key == key)
            return &set[i];
        if (chosen->key != 0 && (set[i].key == 0 || set[i].seen_ms < chosen->seen_ms))
            chosen = &set[i];
    }
    return chosen;
}

bool control_quota_take(struct control_quota *quota, struct fl_span key, uint64_t now_ms)
{
    if (quota->rate == 0)
        return true;
    uint64_t hash = fl_siphash(key) | 1; /* never 0 */
    struct bucket *bucket = find(quota->sets[(hash >> 32) % SETS], hash);
    if (bucket->key != hash)
        *bucket = (struct bucket){.key = hash, .seen_ms = now_ms, .units = quota->full};
    uint64_t missing = quota->full - bucket->units, passed = now_ms - bucket->seen_ms;
    bucket->units = passed >= missing / quota->rate + 1 ? quota->full : bucket->units + passed * quota->rate;
    bucket->seen_ms = now_ms;
    if (bucket->units > quota->full)
        bucket->units = quota->full;
    if (bucket->units < UNIT)
        return false;
    bucket->units -= UNIT;
    return true;
}
