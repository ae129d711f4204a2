/* From a message to a build: the unit with what it refers to. */
#include "proxy/config/assembly_inner.h"

#include "proxy/route/table.h"

#include <errno.h>
#include <stdlib.h>

/* -- by type -- */

const ProtobufCMessageDescriptor *build_type(enum fl_resource_type type)
{
    static const ProtobufCMessageDescriptor *const types[FL_RESOURCE_TYPES] = {
        [FL_RESOURCE_CLUSTER] = &envoy__config__cluster__v3__cluster__descriptor,
        [FL_RESOURCE_ENDPOINTS] = &envoy__config__endpoint__v3__cluster_load_assignment__descriptor,
        [FL_RESOURCE_LISTENER] = &envoy__config__listener__v3__listener__descriptor,
        [FL_RESOURCE_ROUTES] = &envoy__config__route__v3__route_configuration__descriptor,
        [FL_RESOURCE_SECRET] = &envoy__extensions__transport_sockets__tls__v3__secret__descriptor,
    };
    return types[type];
}

struct fl_span build_name(enum fl_resource_type type, const ProtobufCMessage *message)
{
    switch (type) {
    case FL_RESOURCE_CLUSTER:
        return fl_span_str(((const pb_cluster *)message)->name);
    case FL_RESOURCE_ENDPOINTS:
        return fl_span_str(((const pb_assignment *)message)->cluster_name);
    case FL_RESOURCE_LISTENER:
        return fl_span_str(((const pb_listener *)message)->name);
    case FL_RESOURCE_ROUTES:
        return fl_span_str(((const pb_route_config *)message)->name);
    case FL_RESOURCE_SECRET:
        return fl_span_str(((const pb_secret *)message)->name);
    case FL_RESOURCE_TYPES:
        break;
    }
    return (struct fl_span){NULL, 0};
}

static int endpoints_value(struct compile *compile, const pb_assignment *message, const void **ret_value)
{
    struct proxy_endpoints *endpoints = compile_array(compile, 1, sizeof(*endpoints));
    if (endpoints == NULL)
        return compile_no_memory(compile);
    int result = compile_endpoints(compile, message, endpoints);
    *ret_value = endpoints;
    return result;
}

static int routes_value(struct compile *compile, const pb_route_config *message, const void **ret_value)
{
    struct proxy_routes *routes = compile_array(compile, 1, sizeof(*routes));
    const struct proxy_slot *slot;
    if (routes == NULL)
        return compile_no_memory(compile);
    routes->unit = compile->unit;
    int result = compile_routes(compile, message, &routes->table);
    if (result == 0) /* its number is its as long as it lives, whoever else names it */
        result = compile_slot(compile, PROXY_SLOT_ROUTES, fl_span_str(message->name), &slot);
    if (result == 0)
        routes->slot = slot;
    *ret_value = routes;
    return result;
}

int build_value(struct compile *compile, enum fl_resource_type type, const ProtobufCMessage *message,
                const void **ret_value)
{
    const struct proxy_cluster *cluster = NULL;
    const struct proxy_listener *listener = NULL;
    const struct proxy_secret *secret = NULL;
    int result;
    switch (type) {
    case FL_RESOURCE_CLUSTER:
        result = compile_cluster(compile, (const pb_cluster *)message, &cluster);
        *ret_value = cluster;
        return result;
    case FL_RESOURCE_ENDPOINTS:
        return endpoints_value(compile, (const pb_assignment *)message, ret_value);
    case FL_RESOURCE_LISTENER:
        result = compile_listener(compile, (const pb_listener *)message, &listener);
        *ret_value = listener;
        return result;
    case FL_RESOURCE_ROUTES:
        return routes_value(compile, (const pb_route_config *)message, ret_value);
    case FL_RESOURCE_SECRET:
        result = compile_secret(compile, (const pb_secret *)message, &secret);
        *ret_value = secret;
        return result;
    case FL_RESOURCE_TYPES:
        break;
    }
    return -EINVAL;
}

/* -- builds -- */

struct build *build_free(struct proxy_assembly *assembly, struct build *build)
{
    if (build == NULL)
        return NULL;
    for (size_t i = 0; i < build->need_count; i++) {
        struct resource *need = build->needs[i];
        if (--need->wanted == 0)
            assembly->wants_version++;
        assembly_settle(assembly, need);
    }
    for (size_t i = 0; i < build->use_count; i++) {
        struct tls_entry *entry = build->uses[i];
        if (--entry->users == 0) {
            fl_map_remove(&assembly->tls, entry->setting->slot->name);
            assembly_hide_context(assembly, entry);
            assembly_tls_free(entry);
        }
    }
    assembly->dns_version += build->is_dns;
    assembly->bytes -= build->size;
    proxy_unit_unref(build->unit);
    free(build->version);
    free(build->needs);
    free(build->uses);
    free(build);
    return NULL;
}

static int count_needs(struct proxy_assembly *assembly, const struct compile *compile, struct build *build)
{
    size_t count = 0;
    for (const struct compile_need *need = compile->needs; need != NULL; need = need->next)
        count++;
    build->needs = calloc(count + 1, sizeof(struct resource *));
    if (build->needs == NULL)
        return -ENOMEM;
    for (const struct compile_need *need = compile->needs; need != NULL; need = need->next) {
        struct resource *resource;
        int result = assembly_intern(assembly, need->type, need->name, &resource);
        if (result < 0)
            return result;
        if (resource->wanted++ == 0)
            assembly->wants_version++;
        if (need->source != PROXY_WANT_NONE)
            resource->source = need->source;
        build->needs[build->need_count++] = resource;
    }
    return 0;
}

static int tls_intern(struct proxy_assembly *assembly, struct proxy_tls_setting *setting, struct tls_entry **ret_entry)
{
    *ret_entry = fl_map_get(&assembly->tls, setting->slot->name);
    if (*ret_entry != NULL)
        return 0;
    struct tls_entry *entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return -ENOMEM;
    entry->setting = proxy_tls_setting_ref(setting);
    entry->context = fl_tls_context_ref(setting->context);
    int result = proxy_table_reserve(&assembly->tables[PROXY_TABLE_TLS], setting->slot->index);
    if (result == 0)
        result = fl_map_put(&assembly->tls, setting->slot->name, entry);
    if (result < 0) {
        assembly_tls_free(entry);
        return result;
    }
    assembly_show_context(assembly, entry);
    assembly->contexts_touched = true;
    *ret_entry = entry;
    return 0;
}

static int count_uses(struct proxy_assembly *assembly, const struct compile *compile, struct build *build)
{
    size_t count = 0;
    for (const struct compile_use *use = compile->uses; use != NULL; use = use->next)
        count++;
    build->uses = calloc(count + 1, sizeof(struct tls_entry *));
    if (build->uses == NULL)
        return -ENOMEM;
    for (const struct compile_use *use = compile->uses; use != NULL; use = use->next) {
        struct tls_entry *entry;
        int result = tls_intern(assembly, use->setting, &entry);
        if (result < 0)
            return result;
        entry->users++;
        build->uses[build->use_count++] = entry;
    }
    return 0;
}

static int fill(struct proxy_assembly *assembly, struct compile *compile, struct fl_span wire, struct fl_span version,
                struct build *build)
{
    if (!fl_pack(wire, &compile->scratch, &build->unit->arena, &build->wire))
        return compile_no_memory(compile);
    build->version = fl_span_dup(version);
    int result = build->version != NULL ? count_needs(assembly, compile, build) : -ENOMEM;
    if (result == 0)
        result = count_uses(assembly, compile, build);
    if (result == -ENOSPC)
        return fl_err_set(compile->err, result, "more than %u names are in use", PROXY_ASSEMBLY_RESOURCES_MAX);
    if (result < 0)
        return compile_no_memory(compile);
    size_t size = build->unit->arena.used + sizeof(*build) + build->need_count * sizeof(*build->needs);
    if (size > PROXY_ASSEMBLY_BYTES - assembly->bytes)
        return fl_err_set(compile->err, -ENOSPC, "all resources together are larger than the limit");
    build->size = size;
    assembly->bytes += size;
    return 0;
}

int build_new(struct proxy_assembly *assembly, struct compile *compile, enum fl_resource_type type, const void *value,
              struct fl_span wire, struct fl_span version, struct build **ret_build)
{
    struct build *build = calloc(1, sizeof(*build));
    if (build == NULL) {
        proxy_unit_unref(fl_take(compile->unit));
        return compile_no_memory(compile);
    }
    *build = (struct build){
        .unit = compile->unit, .value = value, .harmless = compile->harmless, .reads_files = compile->reads_files};
    build->is_dns = type == FL_RESOURCE_CLUSTER && ((const struct proxy_cluster *)value)->dns != NULL;
    assembly->dns_version += build->is_dns;
    int result = assembly_reserve(assembly, type, value) < 0 ? compile_no_memory(compile)
                                                             : fill(assembly, compile, wire, version, build);
    compile->unit = NULL;
    if (result < 0)
        build_free(assembly, build);
    else
        *ret_build = build;
    return result;
}
