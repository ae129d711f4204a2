/* The bootstrap: its static resources are compiled beside those that are in force, then they take their places at once,
 * and what the new one does not have goes. What did not change stays the unit that it was. */
#include "proxy/config/assembly_inner.h"

#include <errno.h>
#include <stdlib.h>

struct staged {
    struct resource *resource; /* `wanted` counts it meanwhile */
    struct build *build;       /* NULL: the one in force stays */
};

struct staging {
    struct proxy_assembly *assembly;
    struct compile compile;
    struct staged *list;
    size_t count;
    struct fl_map clusters; /* names; values: anything */
    struct base base;
};

/* -- one resource -- */

/* A secret of the same message may have come from files that are others now. */
static bool same_files(enum fl_resource_type type, const void *before, const void *value)
{
    return type != FL_RESOURCE_SECRET ||
           ((const struct proxy_secret *)before)->digest == ((const struct proxy_secret *)value)->digest;
}

static bool is_unchanged(const struct resource *resource, const struct compile *compile, const void *value,
                         struct fl_span wire)
{
    return resource->is_static && resource->active != NULL && !compile->reads_files && !resource->active->reads_files &&
           fl_packed_eq(&resource->active->wire, wire) && same_files(resource->type, resource->active->value, value);
}

static int keep(struct staging *staging, enum fl_resource_type type, struct fl_span name, const void *value,
                struct fl_span wire)
{
    struct compile *compile = &staging->compile;
    struct resource *resource;
    int result = assembly_intern(staging->assembly, type, name, &resource);
    if (result == -ENOSPC)
        return compile_fail(compile, "more than %u of a type", PROXY_ASSEMBLY_RESOURCES_MAX);
    if (result < 0)
        return compile_no_memory(compile);
    struct staged *staged = &staging->list[staging->count++];
    *staged = (struct staged){.resource = resource};
    resource->wanted++;
    if (is_unchanged(resource, compile, value, wire)) {
        proxy_unit_unref(fl_take(compile->unit));
        return 0;
    }
    return build_new(staging->assembly, compile, type, value, wire, FL_SPAN(""), &staged->build);
}

static int compile_static(struct staging *staging, enum fl_resource_type type, const ProtobufCMessage *message,
                          const void **ret_value)
{
    struct compile *compile = &staging->compile;
    struct fl_span wire;
    compile_begin(compile, proxy_unit_new(sizeof(struct proxy_unit), PROXY_UNIT_MAX, staging->assembly->graveyard));
    if (compile->unit == NULL)
        return compile_no_memory(compile);
    int result = build_value(compile, type, message, ret_value);
    if (result == 0 && fl_xds_pack(message, &compile->scratch, &wire) != 0)
        result = compile_no_memory(compile);
    struct fl_span name = build_name(type, message);
    if (result == 0 && type == FL_RESOURCE_LISTENER) /* one without a name is called by its address */
        name = ((const struct proxy_listener *)*ret_value)->name;
    if (result == 0 && name.len > PROXY_ASSEMBLY_NAME_MAX)
        result = compile_fail_at(compile, "name", "is longer than %u bytes", PROXY_ASSEMBLY_NAME_MAX);
    if (result == 0)
        result = keep(staging, type, name, *ret_value, wire);
    proxy_unit_unref(fl_take(compile->unit));
    return result;
}

/* -- secrets, clusters, listeners -- */

static bool has_dynamic(const pb_bootstrap *bootstrap)
{
    return bootstrap->dynamic_resources != NULL &&
           (bootstrap->dynamic_resources->ads_config != NULL || bootstrap->dynamic_resources->lds_config != NULL ||
            bootstrap->dynamic_resources->cds_config != NULL);
}

static int check_secret(struct staging *staging, const pb_bootstrap *bootstrap, const pb_secret *message)
{
    struct compile *compile = &staging->compile;
    if (has_dynamic(bootstrap) && (strcmp(message->name, FL_RESOURCE_NAME_OWN_CERTIFICATE) == 0 ||
                                   strcmp(message->name, FL_RESOURCE_NAME_TRUST_BUNDLE) == 0))
        return compile_fail_at(compile, "name", "\"%s\" is of our own identity", message->name);
    for (size_t i = 0; i < staging->count; i++)
        if (fl_span_eq_str(staging->list[i].resource->name, message->name))
            return compile_fail_at(compile, "name", "a secret \"%s\" is there already", message->name);
    return 0;
}

/* The first in the list. */
static int read_secrets(struct staging *staging, const pb_bootstrap *bootstrap)
{
    pb_secret *const *messages = bootstrap->static_resources->secrets;
    size_t count = bootstrap->static_resources->n_secrets;
    struct compile *compile = &staging->compile;
    int result = 0;
    if (count > PROXY_ASSEMBLY_SECRETS_MAX)
        return compile_fail_at(compile, "secrets", "more than %u secrets", PROXY_ASSEMBLY_SECRETS_MAX);
    for (size_t i = 0; result == 0 && i < count; i++) {
        const void *value = NULL;
        struct compile_mark mark = compile_enter_at(compile, "secrets", i);
        result = check_secret(staging, bootstrap, messages[i]);
        if (result == 0)
            result = compile_static(staging, FL_RESOURCE_SECRET, &messages[i]->base, &value);
        if (result == 0)
            compile_leave(compile, mark);
    }
    return result;
}

/* The cluster that leads to the xDS server serves that alone (config/discovery.h reads it): nothing can be routed
 * there. */
static bool leads_to_server(const pb_bootstrap *bootstrap, const pb_cluster *cluster)
{
    const Envoy__Config__Core__V3__ApiConfigSource *ads =
        bootstrap->dynamic_resources != NULL ? bootstrap->dynamic_resources->ads_config : NULL;
    for (size_t i = 0; ads != NULL && i < ads->n_grpc_services; i++)
        if (ads->grpc_services[i]->target_specifier_case ==
                ENVOY__CONFIG__CORE__V3__GRPC_SERVICE__TARGET_SPECIFIER_ENVOY_GRPC &&
            strcmp(ads->grpc_services[i]->envoy_grpc->cluster_name, cluster->name) == 0)
            return true;
    return false;
}

/* Names first: listeners and clusters may name any of them. */
static int read_names(struct staging *staging, pb_cluster *const *messages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int result = fl_map_put(&staging->clusters, fl_span_str(messages[i]->name), messages[i]);
        if (result < 0 && result != -EEXIST) /* told when it is compiled */
            return compile_no_memory(&staging->compile);
    }
    return 0;
}

static int read_clusters(struct staging *staging, const pb_bootstrap *bootstrap)
{
    pb_cluster *const *messages = bootstrap->static_resources->clusters;
    size_t count = bootstrap->static_resources->n_clusters;
    struct compile *compile = &staging->compile;
    if (count > PROXY_CLUSTERS_MAX)
        return compile_fail_at(compile, "clusters", "more than %d clusters", PROXY_CLUSTERS_MAX);
    int result = read_names(staging, messages, count);
    for (size_t i = 0; result == 0 && i < count; i++) {
        const void *value = NULL;
        if (leads_to_server(bootstrap, messages[i]))
            continue;
        struct compile_mark mark = compile_enter_at(compile, "clusters", i);
        result = compile_static(staging, FL_RESOURCE_CLUSTER, &messages[i]->base, &value);
        if (result == 0 && fl_map_get(&staging->clusters, fl_span_str(messages[i]->name)) != messages[i])
            result = compile_fail_at(compile, "name", "a cluster \"%s\" is there already", messages[i]->name);
        if (result == 0)
            compile_leave(compile, mark);
    }
    return result;
}

static int check_listener(struct staging *staging, const struct proxy_listener *const *listeners, size_t index)
{
    struct compile *compile = &staging->compile;
    const struct proxy_listener *listener = listeners[index];
    for (size_t i = 0; i < index; i++) {
        if (fl_span_eq(listeners[i]->name, listener->name))
            return compile_fail_at(compile, "name", "a listener \"%s\" is there already", listener->name.data);
        if (listener->bind_to_port && listeners[i]->bind_to_port && proxy_address_port(&listener->address) != 0 &&
            proxy_address_eq(&listeners[i]->address, &listener->address))
            return compile_fail_at(compile, "address", "listeners[%zu] has the same address", i);
    }
    return 0;
}

/* The listener that a staged resource will have. */
static const struct proxy_listener *listener_of(const struct staged *staged)
{
    return (staged->build != NULL ? staged->build : staged->resource->active)->value;
}

static int read_listeners(struct staging *staging, pb_listener *const *messages, size_t count)
{
    struct compile *compile = &staging->compile;
    if (count > PROXY_LISTENERS_MAX)
        return compile_fail_at(compile, "listeners", "more than %d listeners", PROXY_LISTENERS_MAX);
    const struct proxy_listener **listeners = fl_arena_array(&compile->scratch, count, sizeof(*listeners));
    if (listeners == NULL)
        return compile_no_memory(compile);
    int result = 0;
    for (size_t i = 0; result == 0 && i < count; i++) {
        const void *value = NULL;
        struct compile_mark mark = compile_enter_at(compile, "listeners", i);
        result = compile_static(staging, FL_RESOURCE_LISTENER, &messages[i]->base, &value);
        if (result == 0) {
            listeners[i] = listener_of(&staging->list[staging->count - 1]);
            result = check_listener(staging, listeners, i);
        }
        if (result == 0)
            compile_leave(compile, mark);
    }
    return result;
}

static int read_static(struct staging *staging, const pb_bootstrap *bootstrap)
{
    const Envoy__Config__Bootstrap__V3__Bootstrap__StaticResources *message = bootstrap->static_resources;
    if (message == NULL)
        return 0;
    struct compile *compile = &staging->compile;
    struct compile_mark mark = compile_enter(compile, "static_resources");
    staging->list = calloc(message->n_secrets + message->n_clusters + message->n_listeners + 1, sizeof(*staging->list));
    if (staging->list == NULL)
        return compile_no_memory(compile);
    if (!has_dynamic(bootstrap)) /* else clusters may come later */
        compile->known_clusters = &staging->clusters;
    int result = read_secrets(staging, bootstrap);
    if (result == 0)
        result = read_clusters(staging, bootstrap);
    if (result == 0)
        result = read_listeners(staging, message->listeners, message->n_listeners);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

/* -- what is no resource -- */

static int read_admin(struct compile *compile, const pb_bootstrap *bootstrap, struct base *base)
{
    if (bootstrap->admin == NULL || bootstrap->admin->address == NULL)
        return 0;
    struct compile_mark mark = compile_enter(compile, "admin");
    compile_enter(compile, "address");
    int result = compile_address(compile, bootstrap->admin->address, &base->admin, NULL);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

/* The files and certificates that were met, out of scratch memory. */
static int collect(struct compile *compile, struct base *base)
{
    struct proxy_watched_file *files = compile_array(compile, compile->files.count, sizeof(*files));
    struct proxy_cert_info *certs = compile_array(compile, compile->certs.count, sizeof(*certs));
    if (files == NULL || certs == NULL)
        return compile_no_memory(compile);
    void *value;
    int result = 0;
    for (size_t cursor = 0; result == 0 && fl_map_next(&compile->files, &cursor, NULL, &value);) {
        struct proxy_watched_file *file = &files[base->file_count++];
        *file = *(const struct proxy_watched_file *)value;
        result = compile_text(compile, file->path.data, &file->path);
    }
    for (size_t cursor = 0; result == 0 && fl_map_next(&compile->certs, &cursor, NULL, &value);) {
        struct proxy_cert_info *cert = &certs[base->cert_count++];
        *cert = *(const struct proxy_cert_info *)value;
        result = compile_text(compile, cert->path.data, &cert->path);
        if (result == 0 && cert->spiffe.len > 0)
            result = compile_text(compile, cert->spiffe.data, &cert->spiffe);
    }
    base->files = files;
    base->certs = certs;
    return result;
}

static int read_base(struct staging *staging, const pb_bootstrap *bootstrap, const struct proxy_compile_from *from)
{
    struct compile *compile = &staging->compile;
    struct base *base = &staging->base;
    if (has_dynamic(bootstrap) && !from->dynamic)
        return compile_fail_at(compile, "dynamic_resources", "nobody acts on dynamic_resources here");
    compile_begin(compile, base->unit);
    struct compile_mark mark = compile_enter(compile, "node");
    int result = compile_node(compile, bootstrap->node, &base->node);
    if (result != 0)
        return result;
    compile_leave(compile, mark);
    base->dynamic = from->dynamic;
    base->path = fl_arena_copy(&base->unit->arena, from->path);
    if (base->path.data == NULL || fl_xds_pack(&bootstrap->base, &base->unit->arena, &base->bootstrap) != 0)
        return compile_no_memory(compile);
    return read_admin(compile, bootstrap, base);
}

/* -- whole or nothing -- */

/* Cannot fail. */
static void commit(struct staging *staging)
{
    struct proxy_assembly *assembly = staging->assembly;
    for (size_t type = 0; type < FL_RESOURCE_TYPES; type++) {
        void *value;
        for (size_t cursor = 0; fl_map_next(&assembly->resources[type], &cursor, NULL, &value);)
            ((struct resource *)value)->was_static = ((struct resource *)value)->is_static;
    }
    assembly_tls_unstage(assembly, true);
    for (size_t i = 0; i < staging->count; i++) {
        struct resource *resource = staging->list[i].resource;
        resource->was_static = false;
        resource->is_static = true;
        resource->absent = false;
        if (staging->list[i].build == NULL)
            continue;
        assembly_put_in_force(assembly, resource, fl_take(staging->list[i].build));
        assembly_put_waiting(assembly, resource, NULL);
    }
    for (size_t type = 0; type < FL_RESOURCE_TYPES; type++) {
        void *value;
        for (size_t cursor = 0; fl_map_next(&assembly->resources[type], &cursor, NULL, &value);) {
            struct resource *resource = value;
            if (!resource->was_static)
                continue;
            resource->was_static = resource->is_static = false;
            assembly_put_in_force(assembly, resource, NULL);
            assembly_settle(assembly, resource);
        }
    }
    assembly_base_done(&assembly->base);
    assembly->base = staging->base;
    staging->base.unit = NULL;
    assembly->certs_touched = true;
    assembly->force = true;
}

static void staging_done(struct staging *staging)
{
    for (size_t i = 0; i < staging->count; i++) {
        build_free(staging->assembly, staging->list[i].build);
        staging->list[i].resource->wanted--;
        assembly_settle(staging->assembly, staging->list[i].resource);
    }
    free(staging->list);
    fl_map_done(&staging->clusters);
    assembly_tls_unstage(staging->assembly, false);
    assembly_base_done(&staging->base);
    compile_done(&staging->compile);
}

int proxy_assembly_bootstrap(struct proxy_assembly *assembly, const pb_bootstrap *bootstrap,
                             const struct proxy_compile_from *from, struct fl_err *err)
{
    struct fl_err unread = {0};
    struct fl_xds_report counting = {0};
    struct proxy_compile_from place = from != NULL ? *from : (struct proxy_compile_from){0};
    if (place.report == NULL)
        place.report = &counting;
    const struct compile_options options = {
        .slots = assembly->slots, .local = true, .from = place, .err = err != NULL ? err : &unread};
    struct staging staging = {.assembly = assembly};
    compile_init(&staging.compile, &options);
    fl_map_init(&staging.clusters, PROXY_CLUSTERS_MAX);
    staging.base.unit = proxy_unit_new(sizeof(struct proxy_unit), PROXY_UNIT_MAX, assembly->graveyard);
    int result = staging.base.unit == NULL ? compile_no_memory(&staging.compile) : 0;
    if (result == 0)
        result = read_base(&staging, bootstrap, &place);
    if (result == 0)
        result = read_static(&staging, bootstrap);
    if (result == 0) {
        compile_begin(&staging.compile, staging.base.unit);
        result = collect(&staging.compile, &staging.base);
    }
    if (result == 0) {
        staging.base.ignored = place.report->ignored;
        assembly_tls_stage(assembly, &staging.compile);
        commit(&staging);
    }
    staging.compile.unit = NULL;
    staging_done(&staging);
    return result;
}

static int again(struct proxy_assembly *assembly, struct fl_span bootstrap, struct fl_span path, uint64_t ignored,
                 struct fl_err *err)
{
    struct fl_arena arena;
    ProtobufCMessage *message;
    fl_arena_init(&arena, COMPILE_SCRATCH_MAX);
    int result =
        fl_xds_unpack(&envoy__config__bootstrap__v3__bootstrap__descriptor, bootstrap, &arena, NULL, &message, err);
    if (result == 0) {
        const struct proxy_compile_from from = {.path = path, .dynamic = assembly->base.dynamic};
        result = proxy_assembly_bootstrap(assembly, (const pb_bootstrap *)message, &from, err);
    }
    if (result == 0)
        assembly->base.ignored = ignored; /* what a file left out is not in the message */
    fl_arena_done(&arena);
    return result;
}

int proxy_assembly_refresh(struct proxy_assembly *assembly, struct fl_err *err)
{
    const struct base *base = &assembly->base;
    return again(assembly, base->bootstrap, base->path, base->ignored, err);
}

int proxy_assembly_restore(struct proxy_assembly *assembly, const struct proxy_snapshot *snapshot, struct fl_err *err)
{
    return again(assembly, snapshot->bootstrap, snapshot->path, snapshot->ignored_fields, err);
}
