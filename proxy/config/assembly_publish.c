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

/* Secrets are waited for however long it takes. */
static bool is_missing(const struct resource *need, bool overdue)
{
    return !is_here(need) && !(overdue && need->type != FL_RESOURCE_SECRET);
}

/* What it waits for: a need, or a TLS setting that its secrets do not fit; both NULL: nothing. */
static void find_missing(const struct build *build, const struct resource **ret_need, const struct tls_entry **ret_use)
{
    *ret_need = NULL;
    *ret_use = NULL;
    for (size_t i = 0; i < build->need_count && *ret_need == NULL; i++) {
        if (is_missing(build->needs[i], false))
            *ret_need = build->needs[i];
    }
    for (size_t i = 0; i < build->use_count && *ret_need == NULL && *ret_use == NULL; i++) {
        if (build->uses[i]->context == NULL)
            *ret_use = build->uses[i];
    }
}

/* What was missing the last time mostly still is: then nothing else is looked at. */
static bool is_warm(struct build *build, bool overdue)
{
    if (build->missed < build->need_count && is_missing(build->needs[build->missed], overdue))
        return false;
    for (build->missed = 0; build->missed < build->need_count; build->missed++)
        if (is_missing(build->needs[build->missed], overdue))
            return false;
    for (size_t i = 0; i < build->use_count; i++)
        if (build->uses[i]->context == NULL)
            return false;
    return true;
}

const char *assembly_waits_for(const struct resource *resource, char *room, size_t size)
{
    const struct resource *need;
    const struct tls_entry *use;
    find_missing(resource->warming, &need, &use);
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
    struct resource *next = NULL;
    for (struct resource *resource = assembly->warming[type]; resource != NULL; resource = next) {
        struct build *warming = resource->warming;
        next = resource->next_warming;
        warming->overdue |= is_overdue(warming, now_ms);
        if (is_warm(warming, warming->overdue))
            assembly_promote(assembly, resource);
        else if (warming->since_ms == 0)
            warming->since_ms = now_ms;
    }
}

uint64_t proxy_assembly_due_ms(const struct proxy_assembly *assembly)
{
    uint64_t due = UINT64_MAX;
    for (size_t i = 0; i < FL_RESOURCE_TYPES; i++) {
        for (const struct resource *one = assembly->warming[i]; one != NULL; one = one->next_warming) {
            const struct build *warming = one->warming;
            /* Who is overdue waits for secrets alone: time does not help. */
            if (warming->since_ms != 0 && !warming->overdue && warming->since_ms + PROXY_ASSEMBLY_WARMING_MS < due)
                due = warming->since_ms + PROXY_ASSEMBLY_WARMING_MS;
        }
    }
    return due;
}

/* -- certificates -- */

static void release_unit(void *unit)
{
    proxy_unit_unref(unit);
}

/* Those of secrets, which are held. A static one is among the bootstrap's. */
static int add_secrets(struct proxy_assembly *assembly, struct certs *certs)
{
    void *value;
    int result = 0;
    for (size_t cursor = 0; fl_map_next(&assembly->resources[FL_RESOURCE_SECRET], &cursor, NULL, &value);) {
        const struct resource *resource = value;
        const struct build *build = resource->active;
        const struct proxy_secret *secret = build != NULL ? build->value : NULL;
        if (resource->is_static || secret == NULL || secret->cert == NULL)
            continue;
        certs->list[certs->count++] = secret->info;
        result = proxy_unit_hold(&certs->unit, proxy_unit_ref(build->unit), release_unit);
        if (result < 0)
            break;
    }
    return result;
}

/* Those of the bootstrap's files, and those of secrets. */
static int make_certs(struct proxy_assembly *assembly)
{
    if (assembly->certs != NULL && !assembly->certs_touched)
        return 0;
    struct base *base = &assembly->base;
    struct certs *certs = proxy_unit_new(sizeof(*certs), PROXY_SNAPSHOT_MAX, NULL);
    if (certs == NULL)
        return -ENOMEM;
    size_t max = base->cert_count + assembly->resources[FL_RESOURCE_SECRET].count;
    certs->list = fl_arena_array(&certs->unit.arena, max, sizeof(*certs->list));
    int result = certs->list == NULL ? -ENOMEM : 0;
    if (result == 0 && base->unit != NULL)
        result = proxy_unit_hold(&certs->unit, proxy_unit_ref(base->unit), release_unit);
    for (size_t i = 0; result == 0 && i < base->cert_count; i++)
        certs->list[certs->count++] = base->certs[i];
    if (result == 0)
        result = add_secrets(assembly, certs);
    if (result < 0) {
        proxy_unit_unref(&certs->unit);
        return result;
    }
    proxy_unit_unref(assembly->certs != NULL ? &assembly->certs->unit : NULL);
    assembly->certs = certs;
    assembly->certs_touched = false;
    return 0;
}

static int fill_certs(struct proxy_assembly *assembly, struct proxy_snapshot *snapshot)
{
    int result = make_certs(assembly);
    if (result == 0)
        result = proxy_unit_hold(&snapshot->unit, proxy_unit_ref(&assembly->certs->unit), release_unit);
    if (result < 0)
        return result;
    snapshot->certs = assembly->certs->list;
    snapshot->cert_count = assembly->certs->count;
    return 0;
}

/* -- the snapshot -- */

static int fill_base(const struct proxy_assembly *assembly, struct proxy_snapshot *snapshot)
{
    const struct base *base = &assembly->base;
    snapshot->node = base->node;
    snapshot->admin = base->admin;
    snapshot->files = base->files;
    snapshot->file_count = base->file_count;
    snapshot->bootstrap = base->bootstrap;
    snapshot->path = base->path;
    snapshot->ignored_fields = base->ignored + assembly->ignored;
    snapshot->harmless_filters = assembly->harmless;
    return base->unit != NULL ? proxy_unit_hold(&snapshot->unit, proxy_unit_ref(base->unit), release_unit) : 0;
}

/* The tables of the kind; a snapshot's own are typed. */
#define FREEZE(kind, member, size)                                                                                     \
    (result = result == 0 ? proxy_table_freeze(&assembly->tables[kind], &snapshot->unit, &values, &(size)) : result,   \
     snapshot->member = result == 0 ? (void *)(uintptr_t)values : NULL)

static int fill_tables(struct proxy_assembly *assembly, struct proxy_snapshot *snapshot)
{
    const void *const *values = NULL;
    size_t endpoint_slots = 0;
    int result = 0;
    FREEZE(PROXY_TABLE_LISTENERS, listeners, snapshot->listener_slots);
    FREEZE(PROXY_TABLE_CLUSTERS, clusters, snapshot->cluster_slots);
    FREEZE(PROXY_TABLE_ENDPOINTS, endpoints, endpoint_slots);
    FREEZE(PROXY_TABLE_ROUTES, routes, snapshot->routes_slots);
    FREEZE(PROXY_TABLE_TLS, tls, snapshot->tls_slots);
    snapshot->listener_count = assembly->tables[PROXY_TABLE_LISTENERS].count;
    snapshot->cluster_count = assembly->tables[PROXY_TABLE_CLUSTERS].count;
    return result;
}

/* `same_listeners`: as in the last snapshot. */
static int fill(struct proxy_assembly *assembly, struct proxy_snapshot *snapshot, bool same_listeners)
{
    int result = fill_base(assembly, snapshot);
    if (result == 0)
        result = fill_tables(assembly, snapshot);
    if (result == 0)
        result = proxy_snapshot_index(snapshot, same_listeners ? assembly->last : NULL);
    return result == 0 ? fill_certs(assembly, snapshot) : result;
}

/* -- publish -- */

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

static bool has_changed(struct proxy_assembly *assembly)
{
    bool any = assembly->force || assembly->last == NULL;
    for (size_t i = 0; i < PROXY_TABLE_KINDS; i++)
        any |= proxy_table_changed(&assembly->tables[i]);
    return any;
}

int proxy_assembly_publish(struct proxy_assembly *assembly, uint64_t now_ms, struct proxy_snapshot **ret_snapshot,
                           struct fl_err *err)
{
    (void)proxy_graveyard_sweep(assembly->graveyard);
    int result = warm(assembly, now_ms);
    if (result < 0)
        return fl_err_set(err, result, "out of memory");
    if (!has_changed(assembly))
        return PROXY_ASSEMBLY_UNCHANGED;
    bool same_listeners =
        !assembly->force && assembly->last != NULL && !assembly->tables[PROXY_TABLE_LISTENERS].touched;
    FL_CLEANUP(fl_cleanup_proxy_snapshot)
    struct proxy_snapshot *snapshot = proxy_snapshot_new(assembly->graveyard);
    result = snapshot != NULL ? fill(assembly, snapshot, same_listeners) : -ENOMEM;
    if (result < 0) {
        assembly->force = true; /* pages may have been renewed: there is something to publish */
        return fl_err_set(err, result, "out of memory");
    }
    snapshot->version = ++assembly->version;
    assembly->force = false;
    proxy_snapshot_unref(assembly->last);
    assembly->last = proxy_snapshot_ref(snapshot);
    *ret_snapshot = fl_take(snapshot);
    return PROXY_ASSEMBLY_PUBLISHED;
}
