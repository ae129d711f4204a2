/* Tokens that were found good, by provider and bytes: a caller sends the same one again and again, and a signature
 * costs more than the rest of a request. Of one worker. Bounded in entries and bytes; the oldest go first, and so does
 * what has expired. Only good tokens are kept: nobody can fill it who cannot sign.
 */
#ifndef PROXY_POLICY_JWT_CACHE_H
#define PROXY_POLICY_JWT_CACHE_H

#include "common/base/map.h"
#include "proxy/policy/claims.h"

#define PROXY_JWT_CACHE_ENTRIES 256
#define PROXY_JWT_CACHE_BYTES   (512u << 10) /* of tokens */

struct proxy_jwt_cache {
    struct fl_map map;
    size_t bytes;
    uint64_t hits, misses;
};

void proxy_jwt_cache_init(struct proxy_jwt_cache *cache);
void proxy_jwt_cache_done(struct proxy_jwt_cache *cache); /* zeroed is fine */

/* A new reference, or NULL: not there, or expired by now. `cache` may be NULL. */
struct proxy_payload *proxy_jwt_cache_get(struct proxy_jwt_cache *cache, uint64_t provider, struct fl_span token,
                                          int64_t now_s) FL_MUST_CHECK;
/* Takes a reference of its own. Failing to keep it is no failure. `cache` may be NULL. */
void proxy_jwt_cache_put(struct proxy_jwt_cache *cache, uint64_t provider, struct fl_span token,
                         struct proxy_payload *payload);

#endif
