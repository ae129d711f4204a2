#include "proxy/admin/dump.h"

#include "common/base/print.h"
#include "common/xds/convert.h"
#include "proxy/config/assembly.h"
#include "proxy/config/messages.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DUMP_BYTES_MAX (256u << 20) /* memory for the messages of a dump */
#define RESOURCE_MAX   64
#define TYPE           "type.googleapis.com/envoy.admin.v3."

/* Where a dump has come to. */
enum part { PART_STATIC, PART_ACTIVE, PART_WARMING, PARTS };

struct proxy_dump {
    struct fl_print print;
    struct fl_arena arena;
    struct proxy_snapshot *snapshot; /* counted */
    const pb_bootstrap *bootstrap;
    const ProtobufCMessage *message; /* the same */
    struct proxy_assembly *assembly;
    struct fl_span resource; /* one list alone; empty: everything */
    char resource_text[RESOURCE_MAX];
    int type; /* -1: the bootstrap */
    enum part part;
    size_t cursor;
    bool begun; /* the list has its bracket */
    bool any;   /* … and an item */
};

static void put_message(struct proxy_dump *dump, const ProtobufCMessage *message)
{
    if (dump->print.result == 0)
        dump->print.result = fl_xds_print(message, dump->print.out);
}

/* {"@type":…, fields…}: an Any, whose bytes the printer decodes and prints. */
static void put_any(struct proxy_dump *dump, const char *type_url, struct fl_span bytes)
{
    pb_any any;
    google__protobuf__any__init(&any);
    any.type_url = (char *)(uintptr_t)type_url;
    any.value = (ProtobufCBinaryData){.len = bytes.len, .data = (uint8_t *)(uintptr_t)bytes.data};
    put_message(dump, &any.base);
}

static void put_static(struct proxy_dump *dump, enum fl_resource_type type, const ProtobufCMessage *message)
{
    struct fl_span bytes = {NULL, 0};
    if (dump->print.result == 0)
        dump->print.result = fl_xds_pack(message, &dump->arena, &bytes);
    if (dump->print.result == 0)
        put_any(dump, fl_resource_type_url(type), bytes);
}

/* What a type is called in the admin messages. */
static const struct words {
    const char *dump, *of_static, *active, *warming, *member, *item;
} words[FL_RESOURCE_TYPES] = {
    [FL_RESOURCE_CLUSTER] = {"ClustersConfigDump", "static_clusters", "dynamic_active_clusters",
                             "dynamic_warming_clusters", "cluster", "Cluster"},
    [FL_RESOURCE_ENDPOINTS] = {"EndpointsConfigDump", NULL, "dynamic_endpoint_configs", NULL, "endpoint_config",
                               "EndpointConfig"},
    [FL_RESOURCE_LISTENER] = {"ListenersConfigDump", "static_listeners", "dynamic_listeners", NULL, "listener",
                              "Listener"},
    [FL_RESOURCE_ROUTES] = {"RoutesConfigDump", NULL, "dynamic_route_configs", NULL, "route_config", "RouteConfig"},
    [FL_RESOURCE_SECRET] = {"SecretsConfigDump", NULL, "dynamic_active_secrets", "dynamic_warming_secrets", "secret",
                            "Secret"},
};

static void put_version(struct proxy_dump *dump, enum fl_resource_type type, struct fl_span version,
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

static void put_refusal(struct proxy_dump *dump, const struct proxy_resource_state *state)
{
    if (state->refused == NULL)
        return;
    fl_print(&dump->print, ",\"error_state\":{\"version_info\":");
    fl_print_json(&dump->print, state->refused_version);
    fl_print(&dump->print, ",\"details\":");
    fl_print_json(&dump->print, fl_span_str(state->refused));
    fl_print(&dump->print, "}");
}

static void put_waits(struct proxy_dump *dump, const struct proxy_resource_state *state)
{
    if (state->waits_for == NULL)
        return;
    fl_print(&dump->print, ",\"waits_for\":");
    fl_print_json(&dump->print, fl_span_str(state->waits_for));
}

/* Envoy's form of a listener: a name, and a state each for what is in force and what is warming. */
static void put_listener(struct proxy_dump *dump, const struct proxy_resource_state *state)
{
    fl_print(&dump->print, "\"name\":");
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

static void put_resource(struct proxy_dump *dump, const struct proxy_resource_state *state, bool warming)
{
    fl_print(&dump->print, "\"name\":");
    fl_print_json(&dump->print, state->name);
    fl_print(&dump->print, ",");
    put_version(dump, state->type, warming ? state->warming_version : state->active_version,
                warming ? &state->warming_wire : &state->active_wire);
    if (warming)
        put_waits(dump, state);
    put_refusal(dump, state);
    fl_print(&dump->print, "}");
}

/* -- one item after the other -- */

static const char *list_name(enum fl_resource_type type, enum part part)
{
    return part == PART_STATIC ? words[type].of_static : part == PART_ACTIVE ? words[type].active : words[type].warming;
}

/* Before an item: inside its list, or, where one list alone was asked for, an item of "configs" that says its type. */
static void begin_item(struct proxy_dump *dump)
{
    const struct words *word = &words[dump->type];
    fl_print(&dump->print, "%s{", dump->any ? "," : "");
    dump->any = true;
    if (dump->resource.len > 0)
        fl_print(&dump->print, "\"@type\":\"" TYPE "%s.%s%s\",", word->dump,
                 dump->part == PART_STATIC ? "Static" : "Dynamic", word->item);
}

/* False: there is none any more. */
static bool put_static_item(struct proxy_dump *dump)
{
    const Envoy__Config__Bootstrap__V3__Bootstrap__StaticResources *all = dump->bootstrap->static_resources;
    enum fl_resource_type type = (enum fl_resource_type)dump->type;
    bool listeners = type == FL_RESOURCE_LISTENER;
    if (all == NULL || dump->cursor >= (listeners ? all->n_listeners : all->n_clusters))
        return false;
    begin_item(dump);
    fl_print(&dump->print, "\"%s\":", words[type].member);
    put_static(dump, type, listeners ? &all->listeners[dump->cursor]->base : &all->clusters[dump->cursor]->base);
    fl_print(&dump->print, "}");
    dump->cursor++;
    return true;
}

static bool put_dynamic_item(struct proxy_dump *dump)
{
    struct proxy_resource_state state;
    bool listener = dump->type == FL_RESOURCE_LISTENER, warming = dump->part == PART_WARMING;
    while (dump->assembly != NULL && proxy_assembly_next_state(dump->assembly, &dump->cursor, &state)) {
        if (state.is_static || (int)state.type != dump->type ||
            (!listener && (warming ? state.warming_wire.len : state.active_wire.len) == 0))
            continue;
        begin_item(dump);
        if (listener)
            put_listener(dump, &state);
        else
            put_resource(dump, &state, warming);
        return true;
    }
    return false;
}

/* Whether the list that the dump stands at is part of it. */
static bool is_wanted(const struct proxy_dump *dump)
{
    enum fl_resource_type type = (enum fl_resource_type)dump->type;
    const char *name = list_name(type, dump->part);
    if (name == NULL || (dump->part != PART_STATIC && dump->assembly == NULL))
        return false;
    return dump->resource.len == 0 || fl_span_eq_str(dump->resource, name);
}

static void begin_list(struct proxy_dump *dump)
{
    enum fl_resource_type type = (enum fl_resource_type)dump->type;
    dump->begun = true;
    if (dump->resource.len > 0)
        return;
    dump->any = false;
    fl_print(&dump->print, ",\"%s\":[", list_name(type, dump->part));
}

static void begin_type(struct proxy_dump *dump)
{
    const struct words *word = &words[dump->type];
    if (dump->resource.len == 0 && (dump->assembly != NULL || word->of_static != NULL))
        fl_print(&dump->print, ",{\"@type\":\"" TYPE "%s\"", word->dump);
}

static void end_type(struct proxy_dump *dump)
{
    if (dump->resource.len == 0 && (dump->assembly != NULL || words[dump->type].of_static != NULL))
        fl_print(&dump->print, "}");
}

/* The next item, or the next list. */
static void advance(struct proxy_dump *dump)
{
    if (dump->part == PART_STATIC && !dump->begun && dump->cursor == 0)
        begin_type(dump);
    if (is_wanted(dump)) {
        if (!dump->begun)
            begin_list(dump);
        if (dump->part == PART_STATIC ? put_static_item(dump) : put_dynamic_item(dump))
            return;
        if (dump->resource.len == 0)
            fl_print(&dump->print, "]");
    }
    dump->begun = false;
    dump->cursor = 0;
    if (++dump->part == PARTS) {
        end_type(dump);
        dump->part = PART_STATIC;
        dump->type++;
    }
}

static void put_bootstrap(struct proxy_dump *dump)
{
    fl_print(&dump->print, "{\"configs\":[");
    if (dump->resource.len == 0 || fl_span_eq_str(dump->resource, "bootstrap")) {
        fl_print(&dump->print, "{\"@type\":\"" TYPE "BootstrapConfigDump\",\"bootstrap\":");
        put_message(dump, dump->message);
        fl_print(&dump->print, "}");
        dump->any = true;
    }
    dump->type = 0;
}

int proxy_dump_step(struct proxy_dump *dump, size_t bytes, struct fl_buf *out)
{
    size_t before = out->len;
    dump->print.out = out;
    if (dump->type < 0)
        put_bootstrap(dump);
    while (dump->print.result == 0 && dump->type < FL_RESOURCE_TYPES) {
        if (out->len - before >= bytes)
            return PROXY_DUMP_MORE;
        advance(dump);
    }
    fl_print(&dump->print, "]}\n");
    return dump->print.result;
}

/* -- life -- */

bool proxy_dump_has(struct fl_span resource)
{
    if (resource.len == 0 || fl_span_eq_str(resource, "bootstrap"))
        return true;
    for (int type = 0; type < FL_RESOURCE_TYPES; type++)
        for (int part = 0; part < PARTS; part++) {
            const char *name = list_name((enum fl_resource_type)type, (enum part)part);
            if (name != NULL && fl_span_eq_str(resource, name))
                return true;
        }
    return false;
}

int proxy_dump_new(struct proxy_snapshot *snapshot, struct proxy_assembly *assembly, struct fl_span resource,
                   struct proxy_dump **ret_dump)
{
    struct proxy_dump *dump = calloc(1, sizeof(*dump));
    ProtobufCMessage *message;
    if (dump == NULL)
        return -ENOMEM;
    dump->snapshot = proxy_snapshot_ref(snapshot);
    dump->assembly = assembly;
    dump->type = -1;
    dump->resource = fl_span_make(dump->resource_text, resource.len < RESOURCE_MAX ? resource.len : RESOURCE_MAX);
    if (resource.len > 0)
        memcpy(dump->resource_text, resource.data, dump->resource.len);
    fl_arena_init(&dump->arena, DUMP_BYTES_MAX);
    int result = fl_xds_unpack(&envoy__config__bootstrap__v3__bootstrap__descriptor, snapshot->bootstrap, &dump->arena,
                               NULL, &message, NULL);
    if (result != 0) {
        proxy_dump_free(dump);
        return result;
    }
    dump->message = message;
    dump->bootstrap = (const pb_bootstrap *)message;
    *ret_dump = dump;
    return 0;
}

struct proxy_dump *proxy_dump_free(struct proxy_dump *dump)
{
    if (dump == NULL)
        return NULL;
    fl_arena_done(&dump->arena);
    proxy_snapshot_unref(dump->snapshot);
    free(dump);
    return NULL;
}

int proxy_dump_print(struct proxy_snapshot *snapshot, struct proxy_assembly *assembly, struct fl_buf *out)
{
    struct proxy_dump *dump;
    int result = proxy_dump_new(snapshot, assembly, (struct fl_span){NULL, 0}, &dump);
    if (result != 0)
        return result;
    do
        result = proxy_dump_step(dump, SIZE_MAX, out);
    while (result == PROXY_DUMP_MORE);
    proxy_dump_free(dump);
    return result;
}
