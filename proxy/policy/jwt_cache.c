#include "proxy/policy/jwt_cache.h"

#include "common/jose/jws.h"

#include <stddef.h>

struct entry {
    struct proxy_payload *payload; /* a reference */
    size_t token_len;
    char key[]; /* the provider's id, then the token */
};

#define KEY_MAX (sizeof(uint64_t) + FL_JWS_BYTES_MAX)

static struct fl_span key_of(const struct entry *entry)
{
    return fl_span_make(entry->key, sizeof(uint64_t) + entry->token_len);
}

static void forget(struct proxy_jwt_cache *cache, struct entry *entry)
{
    fl_map_remove(&cache->map, key_of(entry));
    cache->bytes -= entry->token_len;
    proxy_payload_unref(entry->payload);
    free(entry);
}

static bool forget_oldest(struct proxy_jwt_cache *cache)
{
    size_t cursor = 0;
    void *oldest;
    if (!fl_map_next(&cache->map, &cursor, NULL, &oldest))
        return false;
    forget(cache, oldest);
    return true;
}

void proxy_jwt_cache_init(struct proxy_jwt_cache *cache)
{
    *cache = (struct proxy_jwt_cache){0};
    fl_map_init(&cache->map, PROXY_JWT_CACHE_ENTRIES);
}

void proxy_jwt_cache_done(struct proxy_jwt_cache *cache)
{
    while (forget_oldest(cache))
        ;
    fl_map_done(&cache->map);
}

struct proxy_payload *proxy_jwt_cache_get(struct proxy_jwt_cache *cache, uint64_t provider, struct fl_span token,
                                          int64_t now_s)
{
    char key[KEY_MAX];
    if (cache == NULL || token.len == 0 || token.len > KEY_MAX - sizeof(provider))
        return NULL;
    memcpy(key, &provider, sizeof(provider));
    memcpy(key + sizeof(provider), token.data, token.len);
    struct entry *entry = fl_map_get(&cache->map, fl_span_make(key, sizeof(provider) + token.len));
    if (entry == NULL || now_s > entry->payload->expires_s) {
        cache->misses++;
        if (entry != NULL)
            forget(cache, entry);
        return NULL;
    }
    cache->hits++;
    return proxy_payload_ref(entry->payload);
}

void proxy_jwt_cache_put(struct proxy_jwt_cache *cache, uint64_t provider, struct fl_span token,
                         struct proxy_payload *payload)
{
    if (cache == NULL || token.len == 0 || token.len > KEY_MAX - sizeof(provider))
        return;
    while ((cache->map.count >= PROXY_JWT_CACHE_ENTRIES || cache->bytes + token.len > PROXY_JWT_CACHE_BYTES) &&
           forget_oldest(cache))
        ;
    struct entry *entry = malloc(offsetof(struct entry, key) + sizeof(provider) + token.len);
    if (entry == NULL)
        return;
    entry->token_len = token.len;
    memcpy(entry->key, &provider, sizeof(provider));
    memcpy(entry->key + sizeof(provider), token.data, token.len);
    if (fl_map_put(&cache->map, key_of(entry), entry) < 0) { /* memory, or it is there already */
        free(entry);
        return;
    }
    entry->payload = proxy_payload_ref(payload);
    cache->bytes += token.len;
}
