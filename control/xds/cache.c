#include "control/xds/cache.h"

#include "common/base/map.h"

#include <errno.h>

/* What one name is, for each kind of view that asked. */
struct variant {
    struct variant *next;
    uint64_t scope;
    struct control_resource *resource; /* a reference */
};

struct entry {
    struct variant *variants;
    size_t name_len;
    char name[];
};

struct control_cache {
    struct fl_map types[FL_RESOURCE_TYPES]; /* entries by name */
    struct fl_arena arena;                  /* for the making of one resource */
    struct control_cache_stats stats;
};

int control_cache_new(struct control_cache **ret_cache)
{
    struct control_cache *cache = calloc(1, sizeof(*cache));
    if (cache == NULL)
        return -ENOMEM;
    for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES; type++)
        fl_map_init(&cache->types[type], FL_MAP_MAX);
    fl_arena_init(&cache->arena, CONTROL_GENERATE_ARENA_MAX);
    *ret_cache = cache;
    return 0;
}

struct control_cache *control_cache_free(struct control_cache *cache)
{
    if (cache == NULL)
        return NULL;
    for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES; type++) {
        control_cache_drop_type(cache, type);
        fl_map_done(&cache->types[type]);
    }
    fl_arena_done(&cache->arena);
    free(cache);
    return NULL;
}

static void free_entry(struct control_cache *cache, struct entry *entry)
{
    for (struct variant *variant = entry->variants, *next; variant != NULL; variant = next) {
        next = variant->next;
        cache->stats.entries--;
        cache->stats.bytes -= variant->resource->bytes.len;
        control_resource_unref(variant->resource);
        free(variant);
    }
    free(entry);
}

void control_cache_drop(struct control_cache *cache, enum fl_resource_type type, struct fl_span name)
{
    struct entry *entry = fl_map_remove(&cache->types[type], name);
    if (entry != NULL)
        free_entry(cache, entry);
}

void control_cache_drop_type(struct control_cache *cache, enum fl_resource_type type)
{
    struct fl_map *map = &cache->types[type];
    struct fl_span name;
    void *entry;
    for (size_t cursor = 0; fl_map_next(map, &cursor, &name, &entry);) {
        fl_map_remove(map, name);
        free_entry(cache, entry);
    }
    fl_map_done(map);
    fl_map_init(map, FL_MAP_MAX);
}

static struct entry *entry_make(struct fl_map *map, struct fl_span name)
{
    struct entry *entry = malloc(sizeof(*entry) + name.len);
    if (entry == NULL)
        return NULL;
    *entry = (struct entry){.name_len = name.len};
    memcpy(entry->name, name.data, name.len);
    if (fl_map_put(map, fl_span_make(entry->name, name.len), entry) == 0)
        return entry;
    free(entry);
    return NULL;
}

/* Without memory to keep it, it is made again next time. */
static void keep(struct control_cache *cache, uint64_t scope, struct control_resource *resource)
{
    struct fl_map *map = &cache->types[resource->type];
    if (cache->stats.entries >= CONTROL_CACHE_MAX)
        for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES; type++)
            control_cache_drop_type(cache, type);
    struct entry *entry = fl_map_get(map, resource->name);
    struct variant *variant = malloc(sizeof(*variant));
    if (entry == NULL && variant != NULL)
        entry = entry_make(map, resource->name);
    if (entry == NULL || variant == NULL) {
        free(variant);
        return;
    }
    *variant = (struct variant){entry->variants, scope, control_resource_ref(resource)};
    entry->variants = variant;
    cache->stats.entries++;
    cache->stats.bytes += resource->bytes.len;
}

static struct control_resource *find(const struct control_cache *cache, enum fl_resource_type type, struct fl_span name,
                                     uint64_t scope)
{
    const struct entry *entry = fl_map_get(&cache->types[type], name);
    for (const struct variant *variant = entry != NULL ? entry->variants : NULL; variant != NULL;
         variant = variant->next)
        if (variant->scope == scope)
            return variant->resource;
    return NULL;
}

int control_cache_get(struct control_cache *cache, const struct control_view *view, uint64_t settings,
                      enum fl_resource_type type, struct fl_span name, struct control_resource **ret_resource)
{
    enum control_sharing sharing = control_generate_sharing(view, type, name);
    uint64_t scope = sharing == CONTROL_SHARED_NAMESPACE ? settings : (uint64_t)view->role;
    struct control_resource *known = sharing != CONTROL_SHARED_NOT ? find(cache, type, name, scope) : NULL;
    if (known != NULL) {
        cache->stats.hits++;
        *ret_resource = control_resource_ref(known);
        return 0;
    }
    int result = control_generate(view, type, name, &cache->arena, ret_resource);
    fl_arena_reset(&cache->arena);
    *(sharing != CONTROL_SHARED_NOT ? &cache->stats.misses : &cache->stats.uncached) += 1;
    if (result == 0 && *ret_resource != NULL && sharing != CONTROL_SHARED_NOT)
        keep(cache, scope, *ret_resource);
    return result;
}

struct control_cache_stats control_cache_stats(const struct control_cache *cache)
{
    return cache->stats;
}
