/* Answers that are known, each a whole message as its server sent it, for as long as it says itself. Pure: the clock is
 * passed in.
 *
 * A hit is a copy with its TTLs counted down by the seconds that it has lain here. Bounded in entries and in bytes
 * (what malloc gives for an entry and the index included, roughly); what was asked for the longest time ago goes first.
 * Nothing is served past its time, not even when no server answers: in a cluster an address that was given up can be
 * somebody else's a second later.
 */
#ifndef PROXY_DNS_CACHE_H
#define PROXY_DNS_CACHE_H

#include "common/base/map.h"

#define PROXY_DNS_CACHE_ENTRIES  2048u
#define PROXY_DNS_CACHE_BYTES    (1u << 20)
#define PROXY_DNS_CACHE_TTL_MAX  3600u /* seconds; whatever the answer says */
#define PROXY_DNS_CACHE_DENY_MAX 300u  /* of a denial: a name may be made any time */

struct proxy_dns_entry;

struct proxy_dns_cache { /* embedded */
    struct fl_map entries;
    struct proxy_dns_entry *newest, *oldest; /* by use */
    size_t bytes, bytes_max;
};

void proxy_dns_cache_init(struct proxy_dns_cache *cache, size_t entries_max, size_t bytes_max);
void proxy_dns_cache_done(struct proxy_dns_cache *cache);

/* Keeps a copy for ttl_s seconds from now_ms on, in place of what is there by this key. Where memory is out, or it is
 * larger than an eighth of the whole, nothing is kept: a cache never decides over an answer. */
void proxy_dns_cache_put(struct proxy_dns_cache *cache, struct fl_span key, struct fl_span answer, uint32_t ttl_s,
                         bool negative, uint64_t now_ms);

/* Copies a good answer to `out` (PROXY_DNS_MESSAGE_MAX bytes); its length, 0 where there is none. */
size_t proxy_dns_cache_get(struct proxy_dns_cache *cache, struct fl_span key, uint64_t now_ms, char *out) FL_MUST_CHECK;

/* Frees what is past its time; all. */
void proxy_dns_cache_sweep(struct proxy_dns_cache *cache, uint64_t now_ms);
void proxy_dns_cache_clear(struct proxy_dns_cache *cache);

static inline size_t proxy_dns_cache_count(const struct proxy_dns_cache *cache)
{
    return cache->entries.count;
}

#endif
