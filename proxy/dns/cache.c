#include "proxy/dns/cache.h"

#include "proxy/dns/packet.h"

#include <errno.h>

#define OVERHEAD 64 /* malloc's, and the index's */

struct proxy_dns_entry {
    struct proxy_dns_entry *newer, *older;
    uint64_t stored_ms, expires_ms;
    uint32_t key_len, answer_len;
    char bytes[]; /* key, then answer */
};

static struct fl_span key_of(const struct proxy_dns_entry *entry)
{
    return fl_span_make(entry->bytes, entry->key_len);
}

static size_t size_of(size_t key_len, size_t answer_len)
{
    return sizeof(struct proxy_dns_entry) + key_len + answer_len + OVERHEAD;
}

void proxy_dns_cache_init(struct proxy_dns_cache *cache, size_t entries_max, size_t bytes_max)
{
    *cache = (struct proxy_dns_cache){.bytes_max = bytes_max};
    fl_map_init(&cache->entries, entries_max);
}

static void unlink_entry(struct proxy_dns_cache *cache, struct proxy_dns_entry *entry)
{
    *(entry->newer != NULL ? &entry->newer->older : &cache->newest) = entry->older;
    *(entry->older != NULL ? &entry->older->newer : &cache->oldest) = entry->newer;
}

static void link_newest(struct proxy_dns_cache *cache, struct proxy_dns_entry *entry)
{
    entry->newer = NULL;
    entry->older = cache->newest;
    *(cache->newest != NULL ? &cache->newest->newer : &cache->oldest) = entry;
    cache->newest = entry;
}

static void drop(struct proxy_dns_cache *cache, struct proxy_dns_entry *entry)
{
    fl_map_remove(&cache->entries, key_of(entry));
    unlink_entry(cache, entry);
    cache->bytes -= size_of(entry->key_len, entry->answer_len);
    free(entry);
}

void proxy_dns_cache_clear(struct proxy_dns_cache *cache)
{
    while (cache->oldest != NULL)
        drop(cache, cache->oldest);
    size_t max = cache->entries.max;
    fl_map_done(&cache->entries); /* its index goes back, too */
    fl_map_init(&cache->entries, max);
}

void proxy_dns_cache_done(struct proxy_dns_cache *cache)
{
    proxy_dns_cache_clear(cache);
    fl_map_done(&cache->entries);
}

void proxy_dns_cache_put(struct proxy_dns_cache *cache, struct fl_span key, struct fl_span answer, uint32_t ttl_s,
                         bool negative, uint64_t now_ms)
{
    size_t size = size_of(key.len, answer.len);
    uint32_t most = negative ? PROXY_DNS_CACHE_DENY_MAX : PROXY_DNS_CACHE_TTL_MAX;
    struct proxy_dns_entry *old = fl_map_get(&cache->entries, key);
    if (old != NULL)
        drop(cache, old);
    if (ttl_s == 0 || size > cache->bytes_max / 8 || cache->entries.max == 0)
        return;
    FL_CLEANUP(fl_cleanup_free) struct proxy_dns_entry *entry = malloc(sizeof(*entry) + key.len + answer.len);
    if (entry == NULL)
        return;
    while (cache->oldest != NULL &&
           (cache->entries.count >= cache->entries.max || cache->bytes + size > cache->bytes_max))
        drop(cache, cache->oldest);
    *entry = (struct proxy_dns_entry){
        .stored_ms = now_ms,
        .expires_ms = now_ms + 1000 * (uint64_t)(ttl_s < most ? ttl_s : most),
        .key_len = (uint32_t)key.len,
        .answer_len = (uint32_t)answer.len,
    };
    memcpy(entry->bytes, key.data, key.len);
    memcpy(entry->bytes + key.len, answer.data, answer.len);
    if (fl_map_put(&cache->entries, key_of(entry), entry) != 0)
        return;
    cache->bytes += size;
    link_newest(cache, fl_take(entry));
}

size_t proxy_dns_cache_get(struct proxy_dns_cache *cache, struct fl_span key, uint64_t now_ms, char *out)
{
    struct proxy_dns_entry *entry = fl_map_get(&cache->entries, key);
    if (entry == NULL)
        return 0;
    if (now_ms >= entry->expires_ms) {
        drop(cache, entry);
        return 0;
    }
    unlink_entry(cache, entry);
    link_newest(cache, entry);
    memcpy(out, entry->bytes + entry->key_len, entry->answer_len);
    proxy_dns_age(out, entry->answer_len, (uint32_t)((now_ms - entry->stored_ms) / 1000));
    return entry->answer_len;
}

void proxy_dns_cache_sweep(struct proxy_dns_cache *cache, uint64_t now_ms)
{
    for (struct proxy_dns_entry *entry = cache->oldest, *newer; entry != NULL; entry = newer) {
        newer = entry->newer;
        if (now_ms >= entry->expires_ms)
            drop(cache, entry);
    }
    if (cache->oldest == NULL)
        proxy_dns_cache_clear(cache);
}
