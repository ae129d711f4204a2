/* Resources that several proxies see alike, made once: by type, name, and whose they are (generate.h, control_sharing).
 * What a change of the model touches is thrown out (control_cache_drop), the rest is served as it is: 1,000 proxies
 * cost one generation. Bounded by CONTROL_CACHE_MAX entries: beyond it everything is thrown out and made again as it is
 * asked for. */
#ifndef CONTROL_XDS_CACHE_H
#define CONTROL_XDS_CACHE_H

#include "control/xds/generate.h"

#define CONTROL_CACHE_MAX 262144

struct control_cache;

struct control_cache_stats {
    uint64_t entries, bytes; /* now */
    uint64_t hits, misses, uncached;
};

int control_cache_new(struct control_cache **ret_cache) FL_MUST_CHECK;
struct control_cache *control_cache_free(struct control_cache *cache);

/* As control_generate, from the cache where it may be. `settings` is control_generate_settings of the view. */
int control_cache_get(struct control_cache *cache, const struct control_view *view, uint64_t settings,
                      enum fl_resource_type type, struct fl_span name,
                      struct control_resource **ret_resource) FL_MUST_CHECK;

/* Thrown out, whoever they were made for. */
void control_cache_drop(struct control_cache *cache, enum fl_resource_type type, struct fl_span name);
void control_cache_drop_type(struct control_cache *cache, enum fl_resource_type type);

struct control_cache_stats control_cache_stats(const struct control_cache *cache);

#endif
