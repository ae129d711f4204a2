#include "proxy/snapshot/snapshot.h"

#include <errno.h>

struct proxy_snapshot *proxy_snapshot_new(struct proxy_graveyard *graveyard)
{
    return proxy_unit_new(sizeof(struct proxy_snapshot), PROXY_SNAPSHOT_MAX, graveyard);
}

struct proxy_snapshot *proxy_snapshot_ref(struct proxy_snapshot *snapshot)
{
    if (snapshot != NULL)
        proxy_unit_ref(&snapshot->unit);
    return snapshot;
}

struct proxy_snapshot *proxy_snapshot_unref(struct proxy_snapshot *snapshot)
{
    if (snapshot != NULL)
        proxy_unit_unref(&snapshot->unit);
    return NULL;
}

void fl_cleanup_proxy_snapshot(struct proxy_snapshot **snapshot)
{
    proxy_snapshot_unref(*snapshot);
}

/* -- by slot -- */

const struct proxy_cluster *proxy_snapshot_cluster(const struct proxy_snapshot *snapshot, uint32_t index)
{
    return index < snapshot->cluster_slots ? snapshot->clusters[index] : NULL;
}

const struct proxy_listener *proxy_snapshot_listener(const struct proxy_snapshot *snapshot, uint32_t index)
{
    return index < snapshot->listener_slots ? snapshot->listeners[index] : NULL;
}

const struct proxy_endpoints *proxy_snapshot_endpoints(const struct proxy_snapshot *snapshot,
                                                       const struct proxy_cluster *cluster)
{
    if (cluster->type != PROXY_CLUSTER_EDS)
        return &cluster->own;
    return cluster->slot->index < snapshot->cluster_slots ? snapshot->endpoints[cluster->slot->index] : NULL;
}

const struct proxy_route_table *proxy_snapshot_routes(const struct proxy_snapshot *snapshot,
                                                      const struct proxy_hcm_config *hcm,
                                                      const struct proxy_listener *listener,
                                                      struct proxy_unit **ret_unit)
{
    *ret_unit = listener->unit;
    if (hcm->rds == NULL)
        return hcm->routes;
    const struct proxy_routes *routes =
        hcm->rds->index < snapshot->routes_slots ? snapshot->routes[hcm->rds->index] : NULL;
    if (routes == NULL)
        return NULL;
    *ret_unit = routes->unit;
    return routes->table;
}

struct fl_tls_context *proxy_snapshot_tls(const struct proxy_snapshot *snapshot, const struct proxy_slot *setting)
{
    return setting->index < snapshot->tls_slots ? snapshot->tls[setting->index] : NULL;
}

/* -- by name, by address -- */

int proxy_name_compare(struct fl_span a, struct fl_span b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

const struct proxy_cluster *proxy_snapshot_cluster_named(const struct proxy_snapshot *snapshot, struct fl_span name)
{
    for (size_t i = 0; i < snapshot->cluster_slots; i++) {
        if (snapshot->clusters[i] != NULL && fl_span_eq(snapshot->clusters[i]->name, name))
            return snapshot->clusters[i];
    }
    return NULL;
}

const struct proxy_listener *proxy_snapshot_listener_named(const struct proxy_snapshot *snapshot, struct fl_span name)
{
    for (size_t i = 0; i < snapshot->listener_slots; i++) {
        if (snapshot->listeners[i] != NULL && fl_span_eq(snapshot->listeners[i]->name, name))
            return snapshot->listeners[i];
    }
    return NULL;
}

/* Open addressing, at most half full. Of two with one address the one that binds to no port is found: it exists to be
 * handed connections. */
static void index_put(uint32_t *table, size_t size, const struct proxy_snapshot *snapshot, uint32_t index)
{
    const struct proxy_listener *listener = snapshot->listeners[index];
    size_t at = proxy_address_hash(&listener->address) & (size - 1);
    while (table[at] != PROXY_SLOT_NONE) {
        const struct proxy_listener *other = snapshot->listeners[table[at]];
        if (proxy_address_eq(&other->address, &listener->address)) {
            if (other->bind_to_port)
                table[at] = index;
            return;
        }
        at = (at + 1) & (size - 1);
    }
    table[at] = index;
}

static size_t index_size(const struct proxy_snapshot *snapshot)
{
    size_t size = 16;
    while (size < snapshot->listener_count * 2)
        size *= 2;
    return size;
}

int proxy_snapshot_index(struct proxy_snapshot *snapshot, const struct proxy_snapshot *same)
{
    size_t size = same != NULL ? same->by_address_size : index_size(snapshot);
    uint32_t *table = fl_arena_array(&snapshot->unit.arena, size, sizeof(*table));
    if (table == NULL)
        return -ENOMEM;
    snapshot->by_address = table;
    snapshot->by_address_size = size;
    if (same != NULL) {
        memcpy(table, same->by_address, size * sizeof(*table));
        return 0;
    }
    for (size_t i = 0; i < size; i++)
        table[i] = PROXY_SLOT_NONE;
    for (uint32_t i = 0; i < snapshot->listener_slots; i++) {
        if (snapshot->listeners[i] != NULL)
            index_put(table, size, snapshot, i);
    }
    return 0;
}

static const struct proxy_listener *index_find(const struct proxy_snapshot *snapshot,
                                               const struct proxy_address *address)
{
    size_t mask = snapshot->by_address_size - 1;
    for (size_t at = proxy_address_hash(address) & mask; snapshot->by_address[at] != PROXY_SLOT_NONE;
         at = (at + 1) & mask) {
        const struct proxy_listener *listener = snapshot->listeners[snapshot->by_address[at]];
        if (proxy_address_eq(&listener->address, address))
            return listener;
    }
    return NULL;
}

const struct proxy_listener *proxy_snapshot_listener_of(const struct proxy_snapshot *snapshot,
                                                        const struct proxy_address *address)
{
    if (snapshot->by_address_size == 0)
        return NULL;
    const struct proxy_listener *found = index_find(snapshot, address);
    if (found != NULL)
        return found;
    struct proxy_address any = {0};
    any.any.sa_family = address->any.sa_family; /* 0.0.0.0 or :: */
    proxy_address_set_port(&any, proxy_address_port(address));
    found = index_find(snapshot, &any);
    if (found != NULL || address->any.sa_family == AF_INET6)
        return found;
    any = (struct proxy_address){.any.sa_family = AF_INET6}; /* :: with ipv4_compat */
    proxy_address_set_port(&any, proxy_address_port(address));
    found = index_find(snapshot, &any);
    return found != NULL && found->ipv4_compat ? found : NULL;
}

/* -- clusters -- */

static bool has_label(const struct proxy_endpoint *endpoint, const struct proxy_label *wanted)
{
    for (size_t i = 0; i < endpoint->transport_count; i++) {
        if (fl_span_eq(endpoint->transport[i].key, wanted->key))
            return fl_span_eq(endpoint->transport[i].value, wanted->value);
    }
    return false;
}

const struct proxy_slot *proxy_cluster_transport(const struct proxy_cluster *cluster,
                                                 const struct proxy_endpoint *endpoint)
{
    for (size_t i = 0; i < cluster->match_count; i++) {
        const struct proxy_transport_match *match = &cluster->matches[i];
        size_t fits = 0;
        while (fits < match->criteria_count && has_label(endpoint, &match->criteria[fits]))
            fits++;
        if (fits == match->criteria_count)
            return match->tls;
    }
    return cluster->tls;
}

/* -- files -- */

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool proxy_snapshot_files_changed(const struct proxy_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->file_count; i++) {
        const struct stat *old = &snapshot->files[i].status;
        struct stat now = {0};
        if (stat(snapshot->files[i].path.data, &now) != 0)
            now = (struct stat){0};
        if (now.st_dev != old->st_dev || now.st_ino != old->st_ino || now.st_size != old->st_size ||
            !same_time(now.st_mtim, old->st_mtim) || !same_time(now.st_ctim, old->st_ctim))
            return true;
    }
    return false;
}
