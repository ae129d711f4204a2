/* From resources to snapshots: what is warm becomes active, and what is active becomes tables. */
#include "proxy/config/assembly_inner.h"

#include <errno.h>
#include <stdio.h>

/* The order in which resources become active within one publish: what is referred to first. */
static const enum fl_resource_type order[] = {FL_RESOURCE_SECRET, FL_RESOURCE_ENDPOINTS, FL_RESOURCE_CLUSTER,
                                              FL_RESOURCE_ROUTES, FL_RESOURCE_LISTENER};

void assembly_base_done(struct base *base)
{
    proxy_unit_unref(fl_take(base->unit));
}

/* -- warming -- */

static bool is_here(const struct resource *need)
{
    return need->active != NULL || (need->absent && need->type != FL_RESOURCE_SECRET);
}

/* What it waits for: a need, or a TLS setting that its secrets do not fit; both NULL: nothing. Secrets are waited for
 * however long it takes. */
static void find_missing(const struct build *build, bool overdue, const struct resource **ret_need,
                         const struct tls_entry **ret_use)
{
    *ret_need = NULL;
    *ret_use = NULL;
    for (size_t i = 0; i < build->need_count && *ret_need == NULL; i++) {
        const struct resource *need = build->needs[i];
        if (!is_here(need) && !(overdue && need->type != FL_RESOURCE_SECRET))
            *ret_need = need;
    }
    for (size_t i = 0; i < build->use_count && *ret_need == NULL && *ret_use == NULL; i++) {
        if (build->uses[i]->context == NULL)
            *ret_use = build->uses[i];
    }
}

static bool is_warm(const struct build *build, bool overdue)
{
    const struct resource *need;
    const struct tls_entry *use;
    find_missing(build, overdue, &need, &use);
    return need == NULL && use == NULL;
}

const char *assembly_waits_for(const struct resource *resource, char *room, size_t size)
{
    const struct resource *need;
    const struct tls_entry *use;
    find_missing(resource->warming, false, &need, &use);
    if (need != NULL)
        snprintf(room, size, "%s %.*s", fl_resource_type_word(need->type), FL_SPAN_ARG(need->name));
    else if (use != NULL)
        snprintf(room, size, "TLS: %s", use->reason != NULL ? use->reason : "not made yet");
    else
        return NULL;
    return room;
}

static bool is_overdue(const struct build *build, uint64_t now_ms)
{
    return build->since_ms != 0 && now_ms - build->since_ms >= PROXY_ASSEMBLY_WARMING_MS;
}

static void promote(struct proxy_assembly *assembly, enum fl_resource_type type, uint64_t now_ms)
{
    void *value;
    for (size_t cursor = 0; fl_map_next(&assembly->resources[type], &cursor, NULL, &value);) {
        struct resource *resource = value;
        struct build *warming = resource->warming;
        if (warming == NULL)
            continue;
        warming->overdue |= is_overdue(warming, now_ms);
        if (is_warm(warming, warming->overdue)) {
            struct build *before = resource->active;
            resource->active = fl_take(resource->warming);
            build_free(assembly, before);
        } else if (warming->since_ms == 0) {
            warming->since_ms = now_ms;
        }
    }
}

uint64_t proxy_assembly_due_ms(const struct proxy_assembly *assembly)
{
    uint64_t due = UINT64_MAX;
    for (size_t i = 0; i < FL_RESOURCE_TYPES; i++) {
        void *value;
        for (size_t cursor = 0; fl_map_next(&assembly->resources[i], &cursor, NULL, &value);) {
            const struct build *warming = ((const struct resource *)value)->warming;
            /* Who is overdue waits for secrets alone: time does not help. */
            if (warming != NULL && warming->since_ms != 0 && !warming->overdue &&
                warming->since_ms + PROXY_ASSEMBLY_WARMING_MS < due)
                due = warming->since_ms + PROXY_ASSEMBLY_WARMING_MS;
        }
    }
    return due;
}

/* -- tables -- */

/* A snapshot counts its units by one array. */
struct members {
    struct proxy_unit **units;
    size_t count;
};

static void release_members(void *object)
{
    const struct members *members = object;
    for (size_t i = 0; i < members->count; i++)
        proxy_unit_unref(members->units[i]);
}

static void release_contexts(void *object)
{
    struct proxy_snapshot *snapshot = object;
    for (size_t i = 0; i < snapshot->tls_slots; i++)
        fl_tls_context_unref(snapshot->tls[i]);
}

static void join(struct members *members, struct proxy_unit *unit)
{
    members->units[members->count++] = proxy_unit_ref(unit);
}

static size_t count_active(const struct proxy_assembly *assembly)
{
    size_t count = 0;
    for (size_t i = 0; i < FL_RESOURCE_TYPES; i++)
        count += assembly->resources[i].count;
    return count;
}

static const struct build *next_active(const struct proxy_assembly *assembly, enum fl_resource_type type,
                                       size_t *cursor)
{
    void *value;
    while (fl_map_next(&assembly->resources[type], cursor, NULL, &value)) {
        if (((const struct resource *)value)->active != NULL)
            return ((const struct resource *)value)->active;
    }
    return NULL;
}

static void *table(struct proxy_assembly *assembly, struct proxy_snapshot *snapshot, enum proxy_slot_kind kind,
                   size_t *ret_size)
{
    *ret_size = proxy_slots_bound(assembly->slots, kind);
    return fl_arena_array(&snapshot->unit.arena, *ret_size, sizeof(void *));
}

static int fill_clusters(struct proxy_assembly *assembly, struct proxy_snapshot *snapshot, struct members *members)
{
    const struct proxy_cluster **clusters = table(assembly, snapshot, PROXY_SLOT_CLUSTER, &snapshot->cluster_slots);
    const struct proxy_endpoints **endpoints =
        fl_arena_array(&snapshot->unit.arena, snapshot->cluster_slots, sizeof(void *));
    if (clusters == NULL || endpoints == NULL)
        return -ENOMEM;
    const struct build *build;
    for (size_t cursor = 0; (build = next_active(assembly, FL_RESOURCE_CLUSTER, &cursor)) != NULL;) {
        const struct proxy_cluster *cluster = build->value;
        clusters[cluster->slot->index] = cluster;
        snapshot->cluster_count++;
        join(members, build->unit);
        if (cluster->type != PROXY_CLUSTER_EDS)
            continue;
        const struct resource *eds = assembly_find(assembly, FL_RESOURCE_ENDPOINTS, cluster->eds_name);
        if (eds != NULL && eds->active != NULL)
            endpoints[cluster->slot->index] = eds->active->value;
    }
    for (size_t cursor = 0; (build = next_active(assembly, FL_RESOURCE_ENDPOINTS, &cursor)) != NULL;)
        join(members, build->unit);
    snapshot->clusters = clusters;
    snapshot->endpoints = endpoints;
    return 0;
}

static int fill_listeners(struct proxy_assembly *assembly, struct proxy_snapshot *snapshot, struct members *members)
{
    const struct proxy_listener **listeners = table(assembly, snapshot, PROXY_SLOT_LISTENER, &snapshot->listener_slots);
    if (listeners == NULL)
        return -ENOMEM;
    const struct build *build;
    for (size_t cursor = 0; (build = next_active(assembly, FL_RESOURCE_LISTENER, &cursor)) != NULL;) {
        const struct proxy_listener *listener = build->value;
        listeners[listener->slot->index] = listener;
        snapshot->listener_count++;
        join(members, build->unit);
    }
    snapshot->listeners = listeners;
    return proxy_snapshot_index(snapshot);
}

static int fill_routes(struct proxy_assembly *assembly, struct proxy_snapshot *snapshot, struct members *members)
{
    const struct proxy_routes **routes = table(assembly, snapshot, PROXY_SLOT_ROUTES, &snapshot->routes_slots);
    if (routes == NULL)
        return -ENOMEM;
    const struct build *build;
    for (size_t cursor = 0; (build = next_active(assembly, FL_RESOURCE_ROUTES, &cursor)) != NULL;) {
        const struct proxy_routes *one = build->value;
        routes[one->slot->index] = one;
        join(members, build->unit);
    }
    snapshot->routes = routes;
    return 0;
}

static int fill_tls(struct proxy_assembly *assembly, struct proxy_snapshot *snapshot)
{
    struct fl_tls_context **contexts = table(assembly, snapshot, PROXY_SLOT_TLS, &snapshot->tls_slots);
    if (contexts == NULL) {
        snapshot->tls_slots = 0;
        return -ENOMEM;
    }
    snapshot->tls = contexts;
    void *value;
    for (size_t cursor = 0; fl_map_next(&assembly->tls, &cursor, NULL, &value);) {
        const struct tls_entry *entry = value;
        contexts[entry->setting->slot->index] = fl_tls_context_ref(entry->context);
    }
    return proxy_unit_hold(&snapshot->unit, snapshot, release_contexts);
}

/* Those of the bootstrap's files, and those of secrets. */
static int fill_certs(struct proxy_assembly *assembly, struct proxy_snapshot *snapshot, struct members *members)
{
    size_t max = assembly->base.cert_count + assembly->resources[FL_RESOURCE_SECRET].count, count = 0;
    struct proxy_cert_info *certs = fl_arena_array(&snapshot->unit.arena, max, sizeof(*certs));
    if (certs == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < assembly->base.cert_count; i++)
        certs[count++] = assembly->base.certs[i];
    const struct build *build;
    for (size_t cursor = 0; (build = next_active(assembly, FL_RESOURCE_SECRET, &cursor)) != NULL;) {
        const struct proxy_secret *secret = build->value;
        if (secret->cert == NULL)
            continue;
        certs[count++] = secret->info;
        join(members, build->unit);
    }
    snapshot->certs = certs;
    snapshot->cert_count = count;
    return 0;
}

static void fill_base(const struct proxy_assembly *assembly, struct proxy_snapshot *snapshot, struct members *members)
{
    const struct base *base = &assembly->base;
    snapshot->node = base->node;
    snapshot->admin = base->admin;
    snapshot->files = base->files;
    snapshot->file_count = base->file_count;
    snapshot->bootstrap = base->bootstrap;
    snapshot->path = base->path;
    snapshot->ignored_fields = base->ignored;
    join(members, base->unit);
    for (size_t i = 0; i < FL_RESOURCE_TYPES; i++) {
        const struct build *build;
        for (size_t cursor = 0; (build = next_active(assembly, (enum fl_resource_type)i, &cursor)) != NULL;) {
            snapshot->harmless_filters += build->harmless;
            snapshot->ignored_fields += build->ignored;
        }
    }
}

static int fill(struct proxy_assembly *assembly, struct proxy_snapshot *snapshot)
{
    struct members *members = fl_arena_alloc(&snapshot->unit.arena, sizeof(*members));
    if (members == NULL)
        return -ENOMEM;
    members->units = fl_arena_array(&snapshot->unit.arena, count_active(assembly) + 1, sizeof(struct proxy_unit *));
    if (members->units == NULL)
        return -ENOMEM;
    int result = proxy_unit_hold(&snapshot->unit, members, release_members);
    if (result < 0)
        return result;
    fill_base(assembly, snapshot, members);
    result = fill_clusters(assembly, snapshot, members);
    if (result == 0)
        result = fill_routes(assembly, snapshot, members);
    if (result == 0)
        result = fill_listeners(assembly, snapshot, members);
    if (result == 0)
        result = fill_tls(assembly, snapshot);
    return result == 0 ? fill_certs(assembly, snapshot, members) : result;
}

/* -- publish -- */

/* Slots that lead nowhere may have come at the end, or gone. */
static bool same_table(const void *a, size_t a_size, const void *b, size_t b_size)
{
    const void *const *longer = a_size > b_size ? a : b;
    size_t common = a_size < b_size ? a_size : b_size, more = a_size > b_size ? a_size : b_size;
    if (common > 0 && memcmp(a, b, common * sizeof(void *)) != 0)
        return false;
    for (size_t i = common; i < more; i++) {
        if (longer[i] != NULL)
            return false;
    }
    return true;
}

static bool is_same(const struct proxy_snapshot *a, const struct proxy_snapshot *b)
{
    return same_table(a->clusters, a->cluster_slots, b->clusters, b->cluster_slots) &&
           same_table(a->endpoints, a->cluster_slots, b->endpoints, b->cluster_slots) &&
           same_table(a->routes, a->routes_slots, b->routes, b->routes_slots) &&
           same_table(a->listeners, a->listener_slots, b->listeners, b->listener_slots) &&
           same_table(a->tls, a->tls_slots, b->tls, b->tls_slots) && a->bootstrap.data == b->bootstrap.data;
}

static int warm(struct proxy_assembly *assembly, uint64_t now_ms)
{
    for (size_t i = 0; i < FL_COUNT(order); i++) {
        promote(assembly, order[i], now_ms);
        int result = order[i] == FL_RESOURCE_SECRET ? assembly_make_contexts(assembly) : 0;
        if (result < 0)
            return result;
    }
    return 0;
}

int proxy_assembly_publish(struct proxy_assembly *assembly, uint64_t now_ms, struct proxy_snapshot **ret_snapshot,
                           struct fl_err *err)
{
    (void)proxy_graveyard_sweep(assembly->graveyard);
    int result = warm(assembly, now_ms);
    FL_CLEANUP(fl_cleanup_proxy_snapshot)
    struct proxy_snapshot *snapshot = result == 0 ? proxy_snapshot_new(assembly->graveyard) : NULL;
    if (snapshot == NULL)
        return fl_err_set(err, -ENOMEM, "out of memory");
    result = fill(assembly, snapshot);
    if (result < 0)
        return fl_err_set(err, result, "out of memory");
    if (!assembly->force && assembly->last != NULL && is_same(assembly->last, snapshot))
        return PROXY_ASSEMBLY_UNCHANGED;
    snapshot->version = ++assembly->version;
    assembly->force = false;
    proxy_snapshot_unref(assembly->last);
    assembly->last = proxy_snapshot_ref(snapshot);
    *ret_snapshot = fl_take(snapshot);
    return PROXY_ASSEMBLY_PUBLISHED;
}
