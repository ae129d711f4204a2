#include "proxy/admin/dump.h"

#include "common/base/print.h"
#include "common/xds/convert.h"
#include "proxy/config/assembly.h"
#include "proxy/config/messages.h"

#include <errno.h>
#include <stdio.h>

#define DUMP_BYTES_MAX (256u << 20) /* memory for the messages of a dump */
#define TYPE           "type.googleapis.com/envoy.admin.v3."

struct dump {
    struct fl_print print;
    struct fl_arena arena;
    const pb_bootstrap *bootstrap;
    struct proxy_assembly *assembly;
};

static void put_message(struct dump *dump, const ProtobufCMessage *message)
{
    if (dump->print.result == 0)
        dump->print.result = fl_xds_print(message, dump->print.out);
}

/* {"@type":…, fields…}: an Any, whose bytes the printer decodes and prints. */
static void put_any(struct dump *dump, const char *type_url, struct fl_span bytes)
{
    pb_any any;
    google__protobuf__any__init(&any);
    any.type_url = (char *)(uintptr_t)type_url;
    any.value = (ProtobufCBinaryData){.len = bytes.len, .data = (uint8_t *)(uintptr_t)bytes.data};
    put_message(dump, &any.base);
}

static void put_static(struct dump *dump, enum fl_resource_type type, const ProtobufCMessage *message)
{
    struct fl_span bytes = {NULL, 0};
    if (dump->print.result == 0)
        dump->print.result = fl_xds_pack(message, &dump->arena, &bytes);
    if (dump->print.result == 0)
        put_any(dump, fl_resource_type_url(type), bytes);
}

/* What a type is called in the admin messages. */
static const struct words {
    const char *dump, *of_static, *active, *warming, *member;
} words[FL_RESOURCE_TYPES] = {
    [FL_RESOURCE_CLUSTER] = {"ClustersConfigDump", "static_clusters", "dynamic_active_clusters",
                             "dynamic_warming_clusters", "cluster"},
    [FL_RESOURCE_ENDPOINTS] = {"EndpointsConfigDump", NULL, "dynamic_endpoint_configs", NULL, "endpoint_config"},
    [FL_RESOURCE_LISTENER] = {"ListenersConfigDump", "static_listeners", "dynamic_listeners", NULL, "listener"},
    [FL_RESOURCE_ROUTES] = {"RoutesConfigDump", NULL, "dynamic_route_configs", NULL, "route_config"},
    [FL_RESOURCE_SECRET] = {"SecretsConfigDump", NULL, "dynamic_active_secrets", "dynamic_warming_secrets", "secret"},
};

static void put_statics(struct dump *dump, enum fl_resource_type type)
{
    const Envoy__Config__Bootstrap__V3__Bootstrap__StaticResources *all = dump->bootstrap->static_resources;
    bool listeners = type == FL_RESOURCE_LISTENER;
    fl_print(&dump->print, ",\"%s\":[", words[type].of_static);
    for (size_t i = 0; all != NULL && i < (listeners ? all->n_listeners : all->n_clusters); i++) {
        fl_print(&dump->print, "%s{\"%s\":", i > 0 ? "," : "", words[type].member);
        put_static(dump, type, listeners ? &all->listeners[i]->base : &all->clusters[i]->base);
        fl_print(&dump->print, "}");
    }
    fl_print(&dump->print, "]");
}

static void put_version(struct dump *dump, enum fl_resource_type type, struct fl_span version,
                        const struct fl_packed *packed)
{
    struct fl_arena arena;
    fl_arena_init(&arena, PROXY_ASSEMBLY_RESOURCE_BYTES + 16);
    struct fl_span wire = fl_unpack(packed, &arena);
    if (wire.data == NULL && dump->print.result == 0)
        dump->print.result = -ENOMEM;
    fl_print(&dump->print, "\"version_info\":");
    fl_print_json(&dump->print, version);
    fl_print(&dump->print, ",\"%s\":", words[type].member);
    put_any(dump, fl_resource_type_url(type), wire);
    fl_arena_done(&arena);
}

static void put_refusal(struct dump *dump, const struct proxy_resource_state *state)
{
    if (state->refused == NULL)
        return;
    fl_print(&dump->print, ",\"error_state\":{\"version_info\":");
    fl_print_json(&dump->print, state->refused_version);
    fl_print(&dump->print, ",\"details\":");
    fl_print_json(&dump->print, fl_span_str(state->refused));
    fl_print(&dump->print, "}");
}

static void put_waits(struct dump *dump, const struct proxy_resource_state *state)
{
    if (state->waits_for == NULL)
        return;
    fl_print(&dump->print, ",\"waits_for\":");
    fl_print_json(&dump->print, fl_span_str(state->waits_for));
}

/* Envoy's form of a listener: a name, and a state each for what is in force and what is warming. */
static void put_listener(struct dump *dump, const struct proxy_resource_state *state)
{
    fl_print(&dump->print, "{\"name\":");
    fl_print_json(&dump->print, state->name);
    if (state->active_wire.len > 0) {
        fl_print(&dump->print, ",\"active_state\":{");
        put_version(dump, state->type, state->active_version, &state->active_wire);
        fl_print(&dump->print, "}");
    }
    if (state->warming_wire.len > 0) {
        fl_print(&dump->print, ",\"warming_state\":{");
        put_version(dump, state->type, state->warming_version, &state->warming_wire);
        fl_print(&dump->print, "}");
    }
    put_waits(dump, state);
    put_refusal(dump, state);
    fl_print(&dump->print, "}");
}

static void put_resource(struct dump *dump, const struct proxy_resource_state *state, bool warming)
{
    fl_print(&dump->print, "{\"name\":");
    fl_print_json(&dump->print, state->name);
    fl_print(&dump->print, ",");
    put_version(dump, state->type, warming ? state->warming_version : state->active_version,
                warming ? &state->warming_wire : &state->active_wire);
    if (warming)
        put_waits(dump, state);
    put_refusal(dump, state);
    fl_print(&dump->print, "}");
}

static void put_dynamics(struct dump *dump, enum fl_resource_type type, const char *list, bool warming)
{
    struct proxy_resource_state state;
    bool first = true;
    fl_print(&dump->print, ",\"%s\":[", list);
    for (size_t cursor = 0; proxy_assembly_next_state(dump->assembly, &cursor, &state);) {
        bool listener = type == FL_RESOURCE_LISTENER;
        if (state.is_static || state.type != type ||
            (!listener && (warming ? state.warming_wire.len : state.active_wire.len) == 0))
            continue;
        fl_print(&dump->print, "%s", first ? "" : ",");
        first = false;
        if (listener)
            put_listener(dump, &state);
        else
            put_resource(dump, &state, warming);
    }
    fl_print(&dump->print, "]");
}

static void put_type(struct dump *dump, enum fl_resource_type type)
{
    if (dump->assembly == NULL && words[type].of_static == NULL)
        return;
    fl_print(&dump->print, ",{\"@type\":\"" TYPE "%s\"", words[type].dump);
    if (words[type].of_static != NULL)
        put_statics(dump, type);
    if (dump->assembly != NULL) {
        put_dynamics(dump, type, words[type].active, false);
        if (words[type].warming != NULL)
            put_dynamics(dump, type, words[type].warming, true);
    }
    fl_print(&dump->print, "}");
}

int proxy_dump_print(const struct proxy_snapshot *snapshot, struct proxy_assembly *assembly, struct fl_buf *out)
{
    struct dump dump = {.print = {.out = out}, .assembly = assembly};
    ProtobufCMessage *message;
    fl_arena_init(&dump.arena, DUMP_BYTES_MAX);
    dump.print.result = fl_xds_unpack(&envoy__config__bootstrap__v3__bootstrap__descriptor, snapshot->bootstrap,
                                      &dump.arena, NULL, &message, NULL);
    if (dump.print.result == 0) {
        dump.bootstrap = (const pb_bootstrap *)message;
        fl_print(&dump.print, "{\"configs\":[{\"@type\":\"" TYPE "BootstrapConfigDump\",\"bootstrap\":");
        put_message(&dump, message);
        fl_print(&dump.print, "}");
        for (int type = 0; type < FL_RESOURCE_TYPES; type++)
            put_type(&dump, (enum fl_resource_type)type);
        fl_print(&dump.print, "]}\n");
    }
    fl_arena_done(&dump.arena);
    return dump.print.result;
}
