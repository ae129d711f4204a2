#include "tests/unit/proxy/assembly_scratch.h"

#include "proxy/config/assembly_inner.h"

#include <stdlib.h>

static const struct resource *next(const struct proxy_assembly *assembly, enum fl_resource_type type, size_t *cursor)
{
    void *value = NULL;
    return fl_map_next(&assembly->resources[type], cursor, NULL, &value) ? value : NULL;
}

/* -- tables -- */

/* Whether `wanted` (of proxy_slots_bound values) is what the snapshot has. */
static bool is_same(const void *const *wanted, size_t bound, const void *const *values, size_t size)
{
    for (size_t i = 0; i < bound || i < size; i++)
        if ((i < bound ? wanted[i] : NULL) != (i < size ? values[i] : NULL))
            return false;
    return true;
}

static const void **table_of(const struct proxy_assembly *assembly, enum proxy_slot_kind kind, size_t *ret_bound)
{
    *ret_bound = proxy_slots_bound(assembly->slots, kind);
    const void **table = calloc(*ret_bound + 1, sizeof(*table));
    if (table == NULL)
        abort();
    return table;
}

static bool same_clusters(const struct proxy_assembly *assembly, const struct proxy_snapshot *last)
{
    const struct resource *one;
    size_t bound, count = 0;
    const void **clusters = table_of(assembly, PROXY_SLOT_CLUSTER, &bound);
    const void **endpoints = table_of(assembly, PROXY_SLOT_CLUSTER, &bound);
    for (size_t cursor = 0; (one = next(assembly, FL_RESOURCE_CLUSTER, &cursor)) != NULL;) {
        const struct proxy_cluster *cluster = one->active != NULL ? one->active->value : NULL;
        if (cluster == NULL)
            continue;
        count++;
        clusters[cluster->slot->index] = cluster;
        const struct resource *eds = cluster->type == PROXY_CLUSTER_EDS
                                         ? assembly_find(assembly, FL_RESOURCE_ENDPOINTS, cluster->eds_name)
                                         : NULL;
        if (eds != NULL && eds->active != NULL)
            endpoints[cluster->slot->index] = eds->active->value;
    }
    bool same = count == last->cluster_count &&
                is_same(clusters, bound, (const void *const *)last->clusters, last->cluster_slots) &&
                is_same(endpoints, bound, (const void *const *)last->endpoints, last->cluster_slots);
    free(clusters);
    free(endpoints);
    return same;
}

static bool same_listeners(const struct proxy_assembly *assembly, const struct proxy_snapshot *last)
{
    const struct resource *one;
    size_t bound, count = 0;
    const void **listeners = table_of(assembly, PROXY_SLOT_LISTENER, &bound);
    bool same = true;
    for (size_t cursor = 0; (one = next(assembly, FL_RESOURCE_LISTENER, &cursor)) != NULL;) {
        const struct proxy_listener *listener = one->active != NULL ? one->active->value : NULL;
        if (listener == NULL)
            continue;
        count++;
        listeners[listener->slot->index] = listener;
        const struct proxy_listener *found = proxy_snapshot_listener_of(last, &listener->address);
        same &= found != NULL && proxy_address_eq(&found->address, &listener->address);
    }
    same &= count == last->listener_count &&
            is_same(listeners, bound, (const void *const *)last->listeners, last->listener_slots);
    free(listeners);
    return same;
}

static bool same_routes(const struct proxy_assembly *assembly, const struct proxy_snapshot *last)
{
    const struct resource *one;
    size_t bound;
    const void **routes = table_of(assembly, PROXY_SLOT_ROUTES, &bound);
    for (size_t cursor = 0; (one = next(assembly, FL_RESOURCE_ROUTES, &cursor)) != NULL;) {
        const struct proxy_routes *table = one->active != NULL ? one->active->value : NULL;
        if (table != NULL)
            routes[table->slot->index] = table;
    }
    bool same = is_same(routes, bound, (const void *const *)last->routes, last->routes_slots);
    free(routes);
    return same;
}

static bool same_contexts(const struct proxy_assembly *assembly, const struct proxy_snapshot *last)
{
    void *value;
    size_t bound;
    const void **contexts = table_of(assembly, PROXY_SLOT_TLS, &bound);
    for (size_t cursor = 0; fl_map_next(&assembly->tls, &cursor, NULL, &value);) {
        const struct tls_entry *entry = value;
        contexts[entry->setting->slot->index] = entry->context;
    }
    bool same = is_same(contexts, bound, (const void *const *)last->tls, last->tls_slots);
    free(contexts);
    return same;
}

/* -- sums -- */

static bool same_sums(const struct proxy_assembly *assembly)
{
    const struct resource *one;
    uint64_t harmless = 0, ignored = 0;
    for (size_t type = 0; type < FL_RESOURCE_TYPES; type++) {
        for (size_t cursor = 0; (one = next(assembly, (enum fl_resource_type)type, &cursor)) != NULL;) {
            harmless += one->active != NULL ? one->active->harmless : 0;
            ignored += one->active != NULL ? one->active->ignored : 0;
        }
    }
    return harmless == assembly->harmless && ignored == assembly->ignored;
}

/* Those of secrets in force that hold one; what is not published yet does not count. */
static bool same_certs(const struct proxy_assembly *assembly, const struct proxy_snapshot *last)
{
    const struct resource *one;
    size_t count = assembly->base.cert_count;
    for (size_t cursor = 0; (one = next(assembly, FL_RESOURCE_SECRET, &cursor)) != NULL;)
        count +=
            !one->is_static && one->active != NULL && ((const struct proxy_secret *)one->active->value)->cert != NULL;
    return assembly->certs_touched || count == last->cert_count;
}

/* -- what waits -- */

static bool waits_rightly(const struct resource *resource)
{
    const struct build *build = resource->warming;
    for (size_t i = 0; i < build->need_count; i++) {
        const struct resource *need = build->needs[i];
        bool secret = need->type == FL_RESOURCE_SECRET;
        if (need->active == NULL && !(need->absent && !secret) && !(build->overdue && !secret))
            return true;
    }
    for (size_t i = 0; i < build->use_count; i++)
        if (build->uses[i]->context == NULL)
            return true;
    return false;
}

static bool same_waiting(const struct proxy_assembly *assembly)
{
    const struct resource *one;
    for (size_t type = 0; type < FL_RESOURCE_TYPES; type++) {
        size_t waiting = 0, listed = 0;
        for (size_t cursor = 0; (one = next(assembly, (enum fl_resource_type)type, &cursor)) != NULL;) {
            if (one->warming != NULL && !waits_rightly(one))
                return false;
            waiting += one->warming != NULL;
        }
        for (one = assembly->warming[type]; one != NULL; one = one->next_warming)
            listed += one->warming != NULL;
        if (waiting != listed)
            return false;
    }
    return true;
}

const char *assembly_scratch_differs(const struct proxy_assembly *assembly, const struct proxy_snapshot *last)
{
    if (!same_waiting(assembly))
        return "what waits";
    if (!same_sums(assembly))
        return "sums";
    if (last == NULL)
        return NULL;
    if (!same_clusters(assembly, last))
        return "clusters";
    if (!same_listeners(assembly, last))
        return "listeners";
    if (!same_routes(assembly, last))
        return "routes";
    if (!same_contexts(assembly, last))
        return "contexts";
    return same_certs(assembly, last) ? NULL : "certificates";
}
